/* test_cpu.c - flags build on one another; masks are read and written by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"

static void detected_flags_bring_what_they_build_on(void **state) {
    (void)state;
    const uint32_t f = cpu_flags_detect();
    assert_int_equal(f, cpu_flags_detect());
    const uint32_t on_avx512 = CPU_AVX512VNNI | CPU_AVX512BF16 | CPU_AMX;
    assert_true((f & on_avx512) == 0 || (f & CPU_AVX512) != 0);
    assert_true((f & CPU_AMXBF16) == 0 || (f & CPU_AMX) != 0);
    assert_true((f & CPU_FASTBF16) == 0 || (f & CPU_AVX512BF16) != 0);
    assert_true((f & CPU_FASTBF16) == 0 || (f & CPU_AVX512VBMI) != 0);
    assert_true((f & (CPU_FASTBF16 | CPU_AVX512VBMI)) == 0 || (f & CPU_AVX512VNNI) != 0);
    assert_true((f & (CPU_AVX512 | CPU_AVXVNNI)) == 0 || (f & CPU_AVX2) != 0);
    assert_true((f & CPU_I8MM) == 0 || (f & CPU_DOTPROD) != 0);
    assert_true((f & CPU_DOTPROD) == 0 || (f & CPU_NEON) != 0);
    assert_true((f & CPU_AVX2) == 0 || (f & CPU_NEON) == 0);
#if defined(__aarch64__)
    assert_true((f & CPU_NEON) != 0);
#endif
#if defined(__x86_64__)
    if ((f & CPU_AVX2) != 0) {
        assert_true(__builtin_cpu_supports("avx2"));
        assert_true(__builtin_cpu_supports("fma"));
    }
    if ((f & CPU_AVX512) != 0) {
        assert_true(__builtin_cpu_supports("avx512bw"));
        assert_true(__builtin_cpu_supports("avx512vl"));
    } else {
        assert_false(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
    }
#endif
}

static void masks_are_read_by_name(void **state) {
    (void)state;
    const struct {
        const char *text;
        uint32_t want;
    } good[] = {
        {"none", 0},
        {"all", CPU_FLAGS_ALL},
        {"avx2", CPU_AVX2},
        {"avx2,avx512", CPU_AVX2 | CPU_AVX512},
        {" avx2 , avxvnni ", CPU_AVX2 | CPU_AVXVNNI},
        {"neon,dotprod,i8mm", CPU_NEON | CPU_DOTPROD | CPU_I8MM},
        {"0x3", 3},
        {"0xFFFFFFFF", UINT32_MAX},
        {"0x0", 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint32_t mask = 99;
        assert_true(cpu_mask_parse(str_from_cstr(good[i].text), &mask));
        assert_int_equal(mask, good[i].want);
    }
}

static void unknown_names_are_refused(void **state) {
    (void)state;
    const char *const bad[] = {"",   "avx",         "avx2,", ",avx2", "avx2 avx512",
                               "0x", "0x123456789", "0xg",   "3",     "AVX2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint32_t mask = 99;
        assert_false(cpu_mask_parse(str_from_cstr(bad[i]), &mask));
        assert_int_equal(mask, 99);
    }
}

static void formatted_flags_are_whole_names(void **state) {
    (void)state;
    char text[64];
    cpu_flags_format(CPU_AVX2 | CPU_AVX512, text, sizeof text);
    assert_string_equal(text, "avx2 avx512");
    cpu_flags_format(0, text, sizeof text);
    assert_string_equal(text, "");
    cpu_flags_format(CPU_AVX2 | CPU_AVX512, text, 8);
    assert_string_equal(text, "avx2");
    cpu_flags_format(CPU_AVX2, text, 1);
    assert_string_equal(text, "");
}

static void the_processor_has_a_name(void **state) {
    (void)state;
    char name[128] = "";
    cpu_name(name, sizeof name);
    assert_true(strlen(name) > 0);
    char four[4];
    cpu_name(four, sizeof four);
    assert_true(strlen(four) < 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detected_flags_bring_what_they_build_on),
        cmocka_unit_test(masks_are_read_by_name),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(formatted_flags_are_whole_names),
        cmocka_unit_test(the_processor_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
