/* test_act.c - sizes of activation rows. Their content is proven by tests/kcheck/check_act.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout/act.h"
#include "layout/pack.h"

static void rows_hold_all_blocks(void **state) {
    (void)state;
    for (uint64_t k = 32; k <= 16384; k += 32) {
        assert_true(act_row_bytes(ACT_F32, k) >= k * sizeof(float));
        assert_true(act_row_bytes(ACT_Q8, k) >= k / 32 * sizeof(act_block_q8));
        assert_true(act_row_bytes(ACT_Q16, k) >= k / 32 * sizeof(act_block_q16));
        assert_true(act_row_bytes(ACT_BF16, k) >= k * sizeof(uint16_t));
        assert_true(act_row_bytes(ACT_SPLIT, k) >= k / 32 * sizeof(act_block_split));
        assert_true(act_row_bytes(ACT_Q8_256, k) >= (k + 255) / 256 * sizeof(act_block_q8_256));
        assert_true(act_row_bytes(ACT_Q12, k) >= (k + 255) / 256 * sizeof(act_block_q12));
    }
    assert_true(act_row_bytes(ACT_F32, 7) >= 28);
    assert_true(act_row_bytes(ACT_SPLIT, 33) >= 2 * sizeof(act_block_split));
}

static void rows_are_an_odd_number_of_cache_lines(void **state) {
    (void)state;
    for (uint64_t k = 32; k <= 16384; k += 32) {
        for (int form = 0; form < ACT_FORM_COUNT; form++) {
            assert_int_equal(act_row_bytes((act_form)form, k) % 128, 64);
        }
    }
}

static void workspaces_hold_forms_side_by_side_and_halves(void **state) {
    (void)state;
    for (uint64_t k = 32; k <= 16384; k += 32) {
        const uint64_t floats = act_row_bytes(ACT_BF16, k) + act_row_bytes(ACT_SPLIT, k);
        const uint64_t both = act_workspace_bytes(3, k) - 3 * (floats + act_row_bytes(ACT_Q12, k));
        assert_true(both >= 3 * 2 * (act_row_bytes(ACT_Q8, k) + act_row_bytes(ACT_Q8_256, k)));
        assert_true(both >= 3 * (2 * act_row_bytes(ACT_Q8, k) + act_row_bytes(ACT_Q16, k)));
    }
}

static void rows_too_long_are_zero_bytes(void **state) {
    (void)state;
    for (int form = 0; form < ACT_FORM_COUNT; form++) {
        assert_int_equal(act_row_bytes((act_form)form, UINT64_MAX), 0);
    }
}

static void forms_follow_the_weights(void **state) {
    (void)state;
    assert_int_equal(act_form_of(WEFT_DTYPE_F32), ACT_F32);
    assert_int_equal(act_form_of(WEFT_DTYPE_BF16), ACT_F32);
    assert_int_equal(act_form_of(WEFT_DTYPE_Q8_0), ACT_Q16);
    assert_int_equal(act_form_of(WEFT_DTYPE_Q4_K), ACT_Q8);
    assert_int_equal(act_form_of(WEFT_DTYPE_Q5_0), ACT_Q8);
    assert_int_equal(act_form_of(WEFT_DTYPE_IQ4_XS), ACT_Q8);
    assert_int_equal(act_form_of(WEFT_DTYPE_F8_E4M3), ACT_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold_all_blocks),
        cmocka_unit_test(rows_are_an_odd_number_of_cache_lines),
        cmocka_unit_test(workspaces_hold_forms_side_by_side_and_halves),
        cmocka_unit_test(rows_too_long_are_zero_bytes),
        cmocka_unit_test(forms_follow_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
