/* Promises of text/utf8.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "text/utf8.h"

static void every_scalar_value_survives_encoding_and_decoding(void **state) {
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp >= 0xD800 && cp < 0xE000) {
            continue;
        }
        char bytes[4];
        const size_t len = utf8_encode(bytes, cp);
        size_t n = 0;
        assert_int_equal(utf8_decode(str_from(bytes, len), &n), cp);
        assert_int_equal(n, len);
        assert_true(utf8_is_valid(str_from(bytes, len)));
    }
}

static void malformed_sequences_end_at_their_maximal_subpart(void **state) {
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        {"\x80", 1},
        {"\xBF\x80", 1},
        {"\xC0\x80", 1},
        {"\xC1\xBF", 1},
        {"\xC3", 1},
        {"\xC3(", 1},
        {"\xE0\x80\x80", 1},
        {"\xE2\x82", 2},
        {"\xE2\x82(", 2},
        {"\xED\xA0\x80", 1},
        {"\xF0\x80\x80\x80", 1},
        {"\xF0\x9F\x98", 3},
        {"\xF0\x9F\x98x", 3},
        {"\xF4\x90\x80\x80", 1},
        {"\xF5\x80\x80\x80", 1},
        {"\xFF", 1},
    };
    for (size_t i = 0; i < WEFT_LEN(cases); i++) {
        size_t n = 0;
        const str s = str_from_cstr(cases[i].bytes);
        assert_true(utf8_decode(s, &n) == UTF8_INVALID);
        assert_int_equal(n, cases[i].n);
        assert_false(utf8_is_valid(s));
    }
}

static void valid_prefix_stops_at_the_first_malformed_byte(void **state) {
    assert_int_equal(utf8_valid_prefix(STR_LIT("")), 0);
    assert_int_equal(utf8_valid_prefix(STR_LIT("plain text, long enough for words")), 33);
    assert_int_equal(utf8_valid_prefix(STR_LIT("plain text \xE4\xB8\x96 and \xE4\xB8")), 19);
    assert_int_equal(utf8_valid_prefix(STR_LIT("\xFFplain")), 0);
}

static void complete_prefix_leaves_out_only_what_can_still_be_completed(void **state) {
    assert_int_equal(utf8_complete_prefix(STR_LIT("")), 0);
    assert_int_equal(utf8_complete_prefix(STR_LIT("abc")), 3);
    assert_int_equal(utf8_complete_prefix(STR_LIT("ab\xC3")), 2);
    assert_int_equal(utf8_complete_prefix(STR_LIT("ab\xC3\xA9")), 4);
    assert_int_equal(utf8_complete_prefix(STR_LIT("ab\xF0\x9F\x98")), 2);
    assert_int_equal(utf8_complete_prefix(STR_LIT("ab\xF0\x9F\x98\x80")), 6);
    assert_int_equal(utf8_complete_prefix(STR_LIT("ab\xE0\x80")), 4);   /* overlong: never */
    assert_int_equal(utf8_complete_prefix(STR_LIT("ab\xED\xA0")), 4);   /* surrogate: never */
    assert_int_equal(utf8_complete_prefix(STR_LIT("\x80\x80\x80")), 3); /* no lead byte */
    assert_int_equal(utf8_complete_prefix(STR_LIT("\xFF")), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_survives_encoding_and_decoding),
        cmocka_unit_test(malformed_sequences_end_at_their_maximal_subpart),
        cmocka_unit_test(valid_prefix_stops_at_the_first_malformed_byte),
        cmocka_unit_test(complete_prefix_leaves_out_only_what_can_still_be_completed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
