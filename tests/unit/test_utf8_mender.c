/* Promises of text/utf8_mender.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "text/utf8_mender.h"

#define BROKEN "\xEF\xBF\xBD"

/* What Python gives for bytes.decode("utf-8", errors="replace"). */
static const struct {
    const char *bytes;
    const char *wanted;
} cases[] = {
    {"", ""},
    {"a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80z", "a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80z"},
    {"\xFF", BROKEN},
    {"a\xE4\xB8z", "a" BROKEN "z"},
    {"\xF0\x9F\x98", BROKEN},
    {"\x80\x80", BROKEN BROKEN},
    {"\xE0\x80\x80", BROKEN BROKEN BROKEN},
    {"\xF0\x9F\xE4\xB8\x96", BROKEN "\xE4\xB8\x96"},
    {"\xED\xA0\x80", BROKEN BROKEN BROKEN},
};

/* In two parts, cut at every place. */
static void however_the_bytes_come_the_text_is_the_same(void **state) {
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        const str bytes = str_from_cstr(cases[i].bytes);
        for (size_t cut = 0; cut <= bytes.len; cut++) {
            buf out;
            utf8_mender m = {0};
            buf_init(&out, MEM_TEST, 100);
            utf8_mender_push(&m, str_slice(bytes, 0, cut), &out);
            utf8_mender_push(&m, str_slice(bytes, cut, bytes.len), &out);
            utf8_mender_flush(&m, &out);
            assert_string_equal(buf_cstr(&out), cases[i].wanted);
            buf_deinit(&out);
        }
    }
}

static void only_an_unfinished_character_waits(void **state) {
    buf out;
    utf8_mender m = {0};
    buf_init(&out, MEM_TEST, 100);
    utf8_mender_push(&m, STR_LIT("ab\xE4\xB8"), &out);
    assert_string_equal(buf_cstr(&out), "ab");
    utf8_mender_push(&m, STR_LIT("\xAD\xC3"), &out);
    assert_string_equal(buf_cstr(&out), "ab\xE4\xB8\xAD");
    utf8_mender_flush(&m, &out);
    assert_string_equal(buf_cstr(&out), "ab\xE4\xB8\xAD" BROKEN);
    utf8_mender_flush(&m, &out);
    assert_string_equal(buf_cstr(&out), "ab\xE4\xB8\xAD" BROKEN);
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_the_bytes_come_the_text_is_the_same),
        cmocka_unit_test(only_an_unfinished_character_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
