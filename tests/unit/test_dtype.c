/* test_dtype.c - the table of formats can be searched both ways and sizes do not overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tensor/tensor.h"
#include "weft/dtype.h"

static void every_format_is_found_by_its_number_and_name(void **state) {
    (void)state;
    for (unsigned i = 0; i < WEFT_DTYPE_COUNT; i++) {
        const weft_dtype_info *info = weft_dtype_info_of((weft_dtype)i);
        assert_int_equal(weft_dtype_from_gguf(info->gguf_id),
                         info->gguf_id == WEFT_DTYPE_NO_GGUF ? WEFT_DTYPE_COUNT : i);
        assert_int_equal(weft_dtype_from_name(info->name), i);
        assert_true(info->block_len > 0);
        assert_true(info->block_bytes > 0);
    }
}

static void names_compare_without_regard_to_case(void **state) {
    (void)state;
    assert_int_equal(weft_dtype_from_name("q4_k"), WEFT_DTYPE_Q4_K);
    assert_int_equal(weft_dtype_from_name("bf16"), WEFT_DTYPE_BF16);
    assert_int_equal(weft_dtype_from_name("iQ2_xxs"), WEFT_DTYPE_IQ2_XXS);
}

static void what_is_unknown_gives_count(void **state) {
    (void)state;
    assert_int_equal(weft_dtype_from_gguf(4), WEFT_DTYPE_COUNT); /* Q4_2, withdrawn */
    assert_int_equal(weft_dtype_from_gguf(WEFT_DTYPE_NO_GGUF), WEFT_DTYPE_COUNT);
    assert_int_equal(weft_dtype_from_name(""), WEFT_DTYPE_COUNT);
    assert_int_equal(weft_dtype_from_name("Q4"), WEFT_DTYPE_COUNT);
    assert_int_equal(weft_dtype_from_name("Q4_KX"), WEFT_DTYPE_COUNT);
    assert_int_equal(weft_dtype_from_name(NULL), WEFT_DTYPE_COUNT);
}

static void rows_take_whole_blocks(void **state) {
    (void)state;
    assert_int_equal(dtype_row_bytes(WEFT_DTYPE_Q4_1, 576), 18 * 20);
    assert_int_equal(dtype_row_bytes(WEFT_DTYPE_Q6_K, 2048), 8 * 210);
    assert_int_equal(dtype_row_bytes(WEFT_DTYPE_F16, 7), 14);
    assert_int_equal(dtype_row_bytes(WEFT_DTYPE_NVFP4, 128), 72);
    assert_int_equal(dtype_row_bytes(WEFT_DTYPE_F8_E4M3, 256), 264);
    assert_int_equal(dtype_row_bytes_checked(WEFT_DTYPE_Q8_0, 64), 68);
}

static void rows_that_do_not_fit_are_zero_bytes(void **state) {
    (void)state;
    assert_int_equal(dtype_row_bytes_checked(WEFT_DTYPE_Q8_0, 33), 0);
    assert_int_equal(dtype_row_bytes_checked(WEFT_DTYPE_F32, UINT64_MAX), 0);
    assert_int_equal(dtype_row_bytes_checked(WEFT_DTYPE_Q8_0, UINT64_MAX - 31), 0);
    assert_true(dtype_row_bytes_checked(WEFT_DTYPE_F32, UINT64_MAX / 4) == SIZE_MAX / 4 * 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_found_by_its_number_and_name),
        cmocka_unit_test(names_compare_without_regard_to_case),
        cmocka_unit_test(what_is_unknown_gives_count),
        cmocka_unit_test(rows_take_whole_blocks),
        cmocka_unit_test(rows_that_do_not_fit_are_zero_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
