/* Promises of vocab/vocab_threes.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vocab/vocab_threes.h"

static void only_the_first_group_is_short(void **state) {
    static const char *const groups[][4] = {
        {"1"}, {"12"}, {"123"}, {"1", "234"}, {"12", "345", "678"}, {"123", "456"}};
    static const char *const numbers[] = {"1", "12", "123", "1234", "12345678", "123456"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        vocab_threes t = vocab_threes_of(str_from_cstr(numbers[i]));
        str group;
        size_t n = 0;
        for (; vocab_threes_next(&t, &group); n++) {
            assert_true(groups[i][n] != NULL && str_eq_cstr(group, groups[i][n]));
        }
        assert_null(groups[i][n]);
    }
}

static void digits_of_several_bytes_count_once(void **state) {
    vocab_threes t = vocab_threes_of(STR_LIT("\u0661\u0662\u0663\u0664"));
    str group;
    assert_true(vocab_threes_next(&t, &group) && str_eq_cstr(group, "\u0661"));
    assert_true(vocab_threes_next(&t, &group) && str_eq_cstr(group, "\u0662\u0663\u0664"));
    assert_false(vocab_threes_next(&t, &group));
}

static void nothing_has_no_group(void **state) {
    vocab_threes t = vocab_threes_of(STR_LIT(""));
    str group;
    assert_false(vocab_threes_next(&t, &group));
}

static void patterns_are_found_whole(void **state) {
    assert_non_null(vocab_threes_find(STR_LIT("\\d{1,3}(?=(?:\\d{3})*\\b)")));
    assert_true(vocab_threes_find(STR_LIT("(?=(\\d{3})+(?!\\d))"))->is_border);
    assert_null(vocab_threes_find(STR_LIT("\\d{1,3}")));
    assert_null(vocab_threes_find((str){0}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first_group_is_short),
        cmocka_unit_test(digits_of_several_bytes_count_once),
        cmocka_unit_test(nothing_has_no_group),
        cmocka_unit_test(patterns_are_found_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
