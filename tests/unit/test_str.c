/* test_str.c - cutting, finding and the parsers that take everything or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static str s(const char *text) { return str_from_cstr(text); }

static void order_is_bytewise_then_by_length(void **state) {
    (void)state;
    assert_true(str_cmp(s("abc"), s("abd")) < 0);
    assert_true(str_cmp(s("abc"), s("ab")) > 0);
    assert_true(str_cmp(s("ab"), s("abc")) < 0);
    assert_int_equal(str_cmp(s("abc"), s("abc")), 0);
    assert_int_equal(str_cmp((str){0}, s("")), 0);
    assert_true(str_cmp(s("\x80"), s("a")) > 0);
}

static void prefixes_and_suffixes(void **state) {
    (void)state;
    assert_true(str_starts_with(s("blk.0.attn"), s("blk.")));
    assert_false(str_starts_with(s("bl"), s("blk")));
    assert_true(str_ends_with(s("model.gguf"), s(".gguf")));
    assert_false(str_ends_with(s("gguf"), s(".gguf")));
    assert_true(str_starts_with((str){0}, s("")));
    assert_true(str_ends_with(s("a"), (str){0}));
}

static void finding_starts_where_told(void **state) {
    (void)state;
    assert_int_equal(str_find(s("abcabc"), s("bc"), 0), 1);
    assert_int_equal(str_find(s("abcabc"), s("bc"), 2), 4);
    assert_int_equal(str_find(s("abcabc"), s("bc"), 5), SIZE_MAX);
    assert_int_equal(str_find(s("aaab"), s("aab"), 0), 1);
    assert_int_equal(str_find(s("abc"), s(""), 3), 3);
    assert_int_equal(str_find(s("abc"), s(""), 4), SIZE_MAX);
    assert_int_equal(str_find(s("abc"), s("abcd"), 0), SIZE_MAX);
    assert_int_equal(str_find((str){0}, s("a"), 0), SIZE_MAX);
    assert_int_equal(str_find((str){0}, (str){0}, 0), 0);
}

static void slices_are_clamped(void **state) {
    (void)state;
    assert_true(str_eq_cstr(str_slice(s("abcdef"), 1, 3), "bc"));
    assert_true(str_eq_cstr(str_slice(s("abcdef"), 4, 100), "ef"));
    assert_true(str_eq_cstr(str_slice(s("abcdef"), 5, 2), ""));
    assert_true(str_eq_cstr(str_slice(s("abc"), SIZE_MAX, SIZE_MAX), ""));
    assert_int_equal(str_slice((str){0}, 3, 9).len, 0);
}

static void trimming_takes_ascii_space_from_both_ends(void **state) {
    (void)state;
    assert_true(str_eq_cstr(str_trim(s(" \t\n a b \r\v\f")), "a b"));
    assert_true(str_eq_cstr(str_trim(s("   ")), ""));
    assert_int_equal(str_trim((str){0}).len, 0);
}

static void hash_is_the_same_everywhere(void **state) {
    (void)state;
    /* Fixed values: files and tests may rely on them. */
    assert_int_equal(str_hash(s("")), 0x83916c6e186a52cbu);
    assert_int_equal(str_hash(s("a")), 0x94ad753a04ac0368u);
    assert_int_equal(str_hash(s("the warp threads stand still")), 0xed88d5903760032eu);
    assert_true(str_hash(STR_LIT("a")) != str_hash(STR_LIT("a\0")));
    assert_true(str_hash(STR_LIT("\0")) != str_hash(STR_LIT("\0\0")));
}

static void hash_spreads_similar_keys(void **state) {
    (void)state;
    unsigned in_bucket[64] = {0};
    for (unsigned i = 0; i < 6400; i++) {
        const char key[4] = {'k', (char)('0' + i / 640), (char)('0' + i / 10 % 64),
                             (char)('0' + i % 10)};
        in_bucket[str_hash(str_from(key, sizeof key)) % 64]++;
    }
    for (int i = 0; i < 64; i++) {
        assert_in_range(in_bucket[i], 50, 160);
    }
}

static void unsigned_numbers_are_whole_or_refused(void **state) {
    (void)state;
    uint64_t v = 7;
    assert_true(str_parse_u64(s("0"), &v));
    assert_int_equal(v, 0);
    assert_true(str_parse_u64(s("00018446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    v = 7;
    const char *const bad[] = {"",
                               " 1",
                               "1 ",
                               "+1",
                               "-1",
                               "1x",
                               "0x10",
                               "1.0",
                               "18446744073709551616",
                               "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(str_parse_u64(s(bad[i]), &v));
    }
    assert_false(str_parse_u64(STR_LIT("1\0"), &v));
    assert_false(str_parse_u64((str){0}, &v));
    assert_int_equal(v, 7);
}

static void signed_numbers_reach_both_ends(void **state) {
    (void)state;
    int64_t v = 7;
    assert_true(str_parse_i64(s("-9223372036854775808"), &v));
    assert_true(v == INT64_MIN);
    assert_true(str_parse_i64(s("9223372036854775807"), &v));
    assert_true(v == INT64_MAX);
    assert_true(str_parse_i64(s("-0"), &v));
    assert_int_equal(v, 0);
    assert_true(str_parse_i64(s("-1"), &v));
    assert_int_equal(v, -1);
    v = 7;
    assert_false(str_parse_i64(s("9223372036854775808"), &v));
    assert_false(str_parse_i64(s("-9223372036854775809"), &v));
    assert_false(str_parse_i64(s("-"), &v));
    assert_false(str_parse_i64(s("--1"), &v));
    assert_false(str_parse_i64(s(""), &v));
    assert_int_equal(v, 7);
}

static void floats_are_decimal_and_finite(void **state) {
    (void)state;
    double v = 7;
    assert_true(str_parse_f64(s("0.1"), &v));
    assert_true(v == 0.1);
    assert_true(str_parse_f64(s("-1.5e-3"), &v));
    assert_true(v == -1.5e-3);
    assert_true(str_parse_f64(s("+.5"), &v));
    assert_true(v == 0.5);
    assert_true(str_parse_f64(s("10."), &v));
    assert_true(v == 10);
    assert_true(str_parse_f64(s("1e-400"), &v));
    assert_true(v == 0);
    v = 7;
    const char *const bad[] = {"",      ".",  "-",  "e5",   "1e",    "1e+", "inf", "nan",
                               "0x1p3", " 1", "1 ", "1.5x", "1e999", "1,5", "1..2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(str_parse_f64(s(bad[i]), &v));
    }
    char digits[300];
    memset(digits, '1', sizeof digits);
    assert_false(str_parse_f64(str_from(digits, sizeof digits), &v));
    assert_true(v == 7);
}

static void float_text_need_not_end_with_nul(void **state) {
    (void)state;
    double v = 0;
    assert_true(str_parse_f64(str_from("1.25999", 4), &v));
    assert_true(v == 1.25);
}

static void sizes_have_units_of_1024(void **state) {
    (void)state;
    const struct {
        const char *text;
        uint64_t want;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"12B", 12},
        {"512K", 512u << 10},
        {"512k", 512u << 10},
        {"1.5G", (uint64_t)3 << 29},
        {"2GiB", (uint64_t)2 << 30},
        {"2gb", (uint64_t)2 << 30},
        {"0.1K", 102},
        {"1.0009765625K", 1025},
        {"3T", (uint64_t)3 << 40},
        {"1.00000000000000000000000000001P", (uint64_t)1 << 50},
        {"8192P", (uint64_t)1 << 63},
        {"9223372036854775808", (uint64_t)1 << 63},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 7;
        assert_true(str_parse_bytes(s(good[i].text), &v));
        assert_true(v == good[i].want);
    }
}

static void sizes_that_are_wrong_are_refused(void **state) {
    (void)state;
    uint64_t v = 7;
    const char *const bad[] = {"",
                               "K",
                               ".5G",
                               "1.G",
                               "1.5",
                               "1.5B",
                               "-1K",
                               "1 K",
                               "1KK",
                               "1iB",
                               "1Ki",
                               "1KiBs",
                               "1X",
                               "8192.1P",
                               "8193P",
                               "9223372036854775809",
                               "99999999999999999999K",
                               "1e3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(str_parse_bytes(s(bad[i]), &v));
    }
    assert_false(str_parse_bytes(STR_LIT("1\0"), &v));
    assert_int_equal(v, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_bytewise_then_by_length),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(finding_starts_where_told),
        cmocka_unit_test(slices_are_clamped),
        cmocka_unit_test(trimming_takes_ascii_space_from_both_ends),
        cmocka_unit_test(hash_is_the_same_everywhere),
        cmocka_unit_test(hash_spreads_similar_keys),
        cmocka_unit_test(unsigned_numbers_are_whole_or_refused),
        cmocka_unit_test(signed_numbers_reach_both_ends),
        cmocka_unit_test(floats_are_decimal_and_finite),
        cmocka_unit_test(float_text_need_not_end_with_nul),
        cmocka_unit_test(sizes_have_units_of_1024),
        cmocka_unit_test(sizes_that_are_wrong_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
