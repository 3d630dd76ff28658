/* Promises of text/regex_pattern.h. That what comes out means what Oniguruma means is asked of the
 * package tokenizers, in tests/vocab/test_tokenizer_json.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/regex_pattern.h"

static weft_status translate(buf *out, const char *pattern, weft_error *err) {
    buf_init(out, MEM_TEST, 1u << 20);
    return regex_pattern_translate(out, str_from_cstr(pattern), NULL, err);
}

static void becomes(const char *pattern, const char *wanted) {
    buf out;
    assert_int_equal(translate(&out, pattern, NULL), WEFT_OK);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_deinit(&out);
}

static void is_refused(const char *pattern, weft_status wanted, const char *said) {
    buf out;
    weft_error err;
    assert_int_equal(translate(&out, pattern, &err), wanted);
    assert_non_null(strstr(err.message, said));
    assert_non_null(strstr(err.message, pattern));
    buf_deinit(&out);
}

static void what_means_the_same_stays(void **state) {
    static const char *const same[] = {
        "",
        "a|b+?c*+",
        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
        "\\p{N}{1,3}",
        "(?i:'s)",
        "(?=x)(?<!y)",
        "\\d\\D\\[\\]",
        "(a)?(?(1)b|c)",
        "(?<n>a)\\k<n>(?>b)",
        "[a\\-\\]]",
        "x{2,}",
        "\\",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        becomes(same[i], same[i]);
    }
}

static void classes_of_plain_members_stay_classes(void **state) {
    becomes("\\s", "[\\t-\\r\\x{85}\\p{Z}]");
    becomes("[^\\sx]", "[^\\t-\\r\\x{85}\\p{Z}x]");
    becomes("\\H", "[^0-9A-Fa-f]");
    becomes("[[:xdigit:]_]", "[0-9A-Fa-f_]");
    becomes("[]a]", "[\\]a]");
    becomes("\\u0041", "\\x{0041}");
}

static void complements_in_classes_become_alternatives(void **state) {
    becomes("[\\H]", "(?:(?:[^0-9A-Fa-f]))");
    becomes("[x\\H]", "(?:(?:[x]|[^0-9A-Fa-f]))");
    becomes("[^x\\H]", "(?:(?!(?:[x]|[^0-9A-Fa-f]))(?s:.))");
    becomes("[ab&&[bc]]", "(?:(?=[ab])(?:[bc]))");
    becomes("[\\H^]", "(?:(?:[\\^]|[^0-9A-Fa-f]))");
}

static void scripts_are_scripts_and_not_their_extensions(void **state) {
    becomes("\\p{Han}", "\\p{sc:Han}");
    becomes("[\\P{Han}\\p{^Thai}]", "[\\P{sc:Han}\\P{sc:Thai}]");
    becomes("\\p{Lu}\\p{Alphabetic}", "\\p{Lu}\\p{Alphabetic}");
}

static void intervals_repeat_as_often_as_they_can(void **state) {
    becomes("a{1,3}+", "a{1,}");
    becomes("a{,3}", "a{0,3}");
    becomes("a{,3}+", "a{0,}");
    becomes("(?m)a(?i-m:b)", "(?s:a(?i-s:b))");
}

static void a_repeat_of_a_repeat_gets_brackets(void **state) {
    becomes("a{2}+", "(?:a{2})+");
    becomes("xa{2,3}+y", "x(?:a{2,3})+y");
    becomes("a{2}?", "(?:a{2})?");
    becomes("a{2,3}?", "a{2,3}?");
    becomes("a{1,3}+?", "(?:a{1,3})+?");
    becomes("a{1,3}++", "a{1,}+");
    becomes("a{3,1}", "a{1,3}+");
    becomes("a{3,1}?", "(?:a{1,3}+)?");
    becomes("a+?{2}*", "(?:(?:a+?){2})*");
    becomes("\u00e9{2}{3}", "(?:\u00e9{2}){3}");
    becomes("(a|[bc]){2}+", "(?:(a|[bc]){2})+");
    becomes("\\x{61}{2}+\\x61{2}+", "(?:\\x{61}{2})+(?:\\x61{2})+");
    becomes("\\p{L}{2}+\\s{2}+", "(?:\\p{L}{2})+(?:[\\t-\\r\\x{85}\\p{Z}]{2})+");
    becomes("a{,}{b}{", "a\\{,}\\{b}\\{");
}

static void options_end_with_the_group_around_them(void **state) {
    becomes("a(?i)b|c", "a(?i:b|c)");
    becomes("(a(?i)b|c)d", "(a(?i:b|c))d");
    becomes("(?x) a b # c [\n d", "(?:abd)");
    becomes("(?x: a{2} + )[ ]b ", "(?:(?:a{2})+)[ ]b ");
    becomes("(?#a[b)c", "c");
}

static void what_has_no_spelling_is_refused(void **state) {
    char deep[700] = "a";
    memset(deep + 1, '+', 600);
    buf out;
    assert_int_equal(translate(&out, deep, NULL), WEFT_LIMIT);
    buf_deinit(&out);
    memset(deep, '(', 400);
    assert_int_equal(translate(&out, deep, NULL), WEFT_LIMIT);
    buf_deinit(&out);
    is_refused("[a", WEFT_FORMAT, "without its ]");
    is_refused("[[[[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]]]]", WEFT_LIMIT, "nested more than");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_means_the_same_stays),
        cmocka_unit_test(classes_of_plain_members_stay_classes),
        cmocka_unit_test(complements_in_classes_become_alternatives),
        cmocka_unit_test(scripts_are_scripts_and_not_their_extensions),
        cmocka_unit_test(intervals_repeat_as_often_as_they_can),
        cmocka_unit_test(a_repeat_of_a_repeat_gets_brackets),
        cmocka_unit_test(options_end_with_the_group_around_them),
        cmocka_unit_test(what_has_no_spelling_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
