/* test_act.c - sizes of activation rows, and their groups. What a row's blocks hold is proven by
 * tests/kcheck/check_act.c. */
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
        assert_true(act_row_bytes(ACT_Q9, k) >= k / 32 * sizeof(act_block_q16));
        assert_true(act_row_bytes(ACT_BF16, k) >= k * sizeof(uint16_t));
        assert_true(act_row_bytes(ACT_SPLIT, k) >= k / 32 * sizeof(act_block_split));
        assert_true(act_row_bytes(ACT_Q8_256, k) >= (k + 255) / 256 * sizeof(act_block_q8_256));
        assert_true(act_row_bytes(ACT_STEPS, k) >= (k + 255) / 256 * sizeof(act_block_steps));
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
        assert_true(act_row_bytes(ACT_SPLIT, k) >= act_row_bytes(ACT_Q9, k));
        const uint64_t integers = act_workspace_bytes(3, k, false);
        assert_int_equal(act_workspace_bytes(3, k, true), integers + 3 * floats);
        const uint64_t both = integers - 3 * act_row_bytes(ACT_Q12, k);
        assert_true(both >= 3 * 2 * (act_row_bytes(ACT_Q8, k) + act_row_bytes(ACT_Q8_256, k)));
        assert_true(both >= 3 * 2 * (act_row_bytes(ACT_Q8, k) + act_row_bytes(ACT_STEPS, k)));
        assert_true(both >= 3 * (2 * act_row_bytes(ACT_Q8, k) + act_row_bytes(ACT_Q16, k)));
        assert_true(integers >= 3 * 3 * (act_row_bytes(ACT_Q8, k) + act_row_bytes(ACT_STEPS, k)));
    }
}

static act_block_q12 some_block(size_t seed) {
    act_block_q12 block = {.scale = (float)seed + 0.5f};
    for (size_t i = 0; i < sizeof(block.codes); i++) {
        block.codes[i / 64][i % 64] = (int8_t)(7 * seed + i);
    }
    for (size_t b = 0; b < 8; b++) {
        for (size_t i = 0; i < 4; i++) {
            block.sums[b][i] = (uint16_t)(100 * seed + 4 * b + i);
        }
        block.neg_sums[b][0] = (int16_t)(10 * seed + b);
        block.neg_sums[b][1] = (int16_t)(20 * seed + b);
    }
    return block;
}

static void groups_hold_each_rows_blocks(void **state) {
    (void)state;
    enum { BLOCKS = 3 };
    char group[ACT_GROUP_ROWS * BLOCKS * sizeof(act_block_q12)];
    for (size_t n = 1; n <= ACT_GROUP_ROWS; n++) {
        for (size_t i = 0; i < n * BLOCKS; i++) {
            const act_block_q12 block = some_block(i);
            act_group_put(group, n, i / BLOCKS, i % BLOCKS, &block);
        }
        for (size_t i = 0; i < n * BLOCKS; i++) {
            const act_block_q12 want = some_block(i);
            act_block_q12 got;
            act_group_get(&got, group, n, i / BLOCKS, i % BLOCKS);
            assert_memory_equal(&got, &want, sizeof(want));
        }
    }
}

static void a_group_of_one_row_is_its_blocks(void **state) {
    (void)state;
    act_block_q12 group[2] = {{.scale = 0}};
    const act_block_q12 want[2] = {some_block(1), some_block(2)};
    act_group_put(group, 1, 0, 0, &want[0]);
    act_group_put(group, 1, 0, 1, &want[1]);
    assert_memory_equal(group, want, sizeof(want));
}

static void the_last_group_is_what_is_left(void **state) {
    (void)state;
    assert_int_equal(act_group_first(15), 0);
    assert_int_equal(act_group_first(16), 16);
    assert_int_equal(act_group_rows(0, 5), 5);
    assert_int_equal(act_group_rows(15, 40), 16);
    assert_int_equal(act_group_rows(39, 40), 8);
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
        cmocka_unit_test(groups_hold_each_rows_blocks),
        cmocka_unit_test(a_group_of_one_row_is_its_blocks),
        cmocka_unit_test(the_last_group_is_what_is_left),
        cmocka_unit_test(rows_too_long_are_zero_bytes),
        cmocka_unit_test(forms_follow_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
