/* test_tensor.c - views point into what they view. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tensor/tensor.h"

static uint8_t storage[4096];

static void a_tensor_has_rows_without_gaps(void **state) {
    (void)state;
    const tensor t = tensor_of(storage, WEFT_DTYPE_Q4_0, 5, 64);
    assert_int_equal(t.stride_bytes, 36);
    assert_int_equal(t.rows, 5);
    assert_int_equal(t.cols, 64);
    assert_ptr_equal(t.data, storage);
}

static void a_view_of_rows_starts_at_its_first_row(void **state) {
    (void)state;
    const tensor t = tensor_of(storage, WEFT_DTYPE_F32, 8, 16);
    const tensor v = tensor_rows(t, 3, 2);
    assert_ptr_equal(v.data, storage + 3 * 64);
    assert_int_equal(v.rows, 2);
    assert_int_equal(v.cols, 16);
    assert_int_equal(v.stride_bytes, t.stride_bytes);
    assert_int_equal(tensor_rows(t, 8, 0).rows, 0);
}

static void a_view_of_columns_keeps_the_stride(void **state) {
    (void)state;
    const tensor t = tensor_of(storage, WEFT_DTYPE_Q8_0, 4, 128);
    const tensor v = tensor_cols(t, 32, 64);
    assert_ptr_equal(v.data, storage + 34);
    assert_int_equal(v.cols, 64);
    assert_int_equal(v.stride_bytes, 4 * 34);
    assert_ptr_equal(tensor_rows(v, 1, 1).data, storage + 34 + 4 * 34);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tensor_has_rows_without_gaps),
        cmocka_unit_test(a_view_of_rows_starts_at_its_first_row),
        cmocka_unit_test(a_view_of_columns_keeps_the_stride),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
