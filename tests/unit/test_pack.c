/* test_pack.c - packed sizes: exact for whole panels, and 0 rather than an overflow.
 *
 * That packing loses nothing is the kernels' promise; tests/kcheck/check_pack.c proves it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout/pack.h"
#include "tensor/tensor.h"

static void packed_weights_are_as_large_as_their_file_rows(void **state) {
    (void)state;
    for (unsigned i = 0; i < WEFT_DTYPE_COUNT; i++) {
        const weft_dtype dtype = (weft_dtype)i;
        if (!pack_is_supported(dtype)) {
            continue;
        }
        assert_int_equal(pack_weight_bytes(dtype, 4096, 2048),
                         4096 * (uint64_t)dtype_row_bytes(dtype, 2048));
    }
}

static void panels_are_rounded_to_the_alignment(void **state) {
    (void)state;
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_Q8_0, 576), 16 * 18 * 34);
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_Q8_0, 32), 576); /* 544 */
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_F16, 33), 1088); /* 1056 */
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_Q4_0, 96), 896); /* 864 */
}

static void the_last_panel_is_whole(void **state) {
    (void)state;
    assert_int_equal(pack_panel_count(1), 1);
    assert_int_equal(pack_panel_count(16), 1);
    assert_int_equal(pack_panel_count(17), 2);
    assert_int_equal(pack_weight_bytes(WEFT_DTYPE_F32, 17, 16), 2 * 16 * 16 * 4);
}

static void what_cannot_be_packed_has_no_size(void **state) {
    (void)state;
    assert_false(pack_is_supported(WEFT_DTYPE_I32));
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_I32, 256), 0);
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_Q4_K, 128), 0);
    assert_int_equal(pack_weight_bytes(WEFT_DTYPE_I32, 16, 256), 0);
}

static void sizes_that_overflow_are_zero(void **state) {
    (void)state;
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_F32, UINT64_MAX / 16), 0);
    assert_int_equal(pack_panel_bytes(WEFT_DTYPE_F32, UINT64_MAX), 0);
    assert_int_equal(pack_weight_bytes(WEFT_DTYPE_F32, UINT64_MAX, 1024), 0);
    assert_int_equal(pack_panel_count(UINT64_MAX), UINT64_MAX / 16 + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_weights_are_as_large_as_their_file_rows),
        cmocka_unit_test(panels_are_rounded_to_the_alignment),
        cmocka_unit_test(the_last_panel_is_whole),
        cmocka_unit_test(what_cannot_be_packed_has_no_size),
        cmocka_unit_test(sizes_that_overflow_are_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
