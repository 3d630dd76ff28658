/* test_attn_split.c - every row of a batch is somebody's task, long ones are cut, the rest is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout/attn_split.h"

#define SEQS 40u

static const attn_shape shape = {
    .n_heads = 32, .n_kv_heads = 8, .v_dim = 64, .n_threads = 64, .partial_floats = 1 << 24};

static attn_share share_of(uint32_t n_rows, uint32_t kv_end) {
    return (attn_share){.n_rows = n_rows, .kv_end = kv_end};
}

/* Walks over all tasks: each belongs to the share that says so, and each share has its number. */
static void expect_covered(const attn_share *shares, uint32_t n, attn_tasks t, uint32_t heads) {
    uint32_t task = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t n_tiles = (shares[i].n_rows + t.tile_rows - 1) / t.tile_rows;
        const uint32_t n_own =
            shares[i].n_parts - (shares[i].n_members > 0 ? 0 : shares[i].n_shared);
        const uint32_t n_tasks = (shares[i].n_parts > 0 ? n_own : n_tiles) * heads;
        assert_int_equal(shares[i].task_first, task);
        for (uint32_t j = 0; j < n_tasks; j++, task++) {
            assert_ptr_equal(attn_share_of(shares, n, task), &shares[i]);
        }
    }
    assert_int_equal(t.n_tasks, task);
}

static void a_long_context_among_short_ones_is_cut(void **state) {
    (void)state;
    attn_share shares[SEQS];
    for (uint32_t i = 0; i < SEQS; i++) {
        shares[i] = share_of(1, i == 17 ? 100000 : 90 + i);
    }
    const attn_tasks t = attn_split(&shape, shares, SEQS);
    assert_int_equal(t.n_split, 1);
    assert_int_equal(shares[17].n_parts, (100000 + ATTN_SPLIT_LEN - 1) / ATTN_SPLIT_LEN);
    assert_int_equal(shares[17].partial_first, 0);
    expect_covered(shares, SEQS, t, shape.n_kv_heads);
}

static void nothing_is_cut_when_every_thread_has_its_share(void **state) {
    (void)state;
    attn_share shares[SEQS];
    for (uint32_t i = 0; i < SEQS; i++) {
        shares[i] = share_of(1, 4000 + i);
    }
    attn_shape few = shape;
    few.n_threads = 2;
    assert_int_equal(attn_split(&few, shares, SEQS).n_split, 0);
    few.n_threads = 1;
    const attn_tasks t = attn_split(&few, shares, 1);
    assert_int_equal(t.n_split, 0);
    expect_covered(shares, 1, t, shape.n_kv_heads);
}

static void a_window_is_cut_from_where_it_begins(void **state) {
    (void)state;
    attn_share s = {.n_rows = 1, .kv_begin = 3000, .kv_end = 5000};
    attn_split(&shape, &s, 1);
    assert_int_equal(s.n_parts, 4999 / 512 - 3000 / 512 + 1);
}

static void prompts_get_smaller_tiles_rather_than_parts(void **state) {
    (void)state;
    attn_share s = share_of(512, 8192);
    const attn_tasks t = attn_split(&shape, &s, 1);
    assert_int_equal(s.n_parts, 0);
    assert_int_equal(t.tile_rows, 32); /* 16 tiles for 8 heads, two tasks a thread */
    expect_covered(&s, 1, t, shape.n_kv_heads);
}

static void without_room_a_sequence_stays_whole(void **state) {
    (void)state;
    attn_share shares[2] = {share_of(1, 4096), share_of(1, 4096)};
    attn_shape tight = shape;
    tight.partial_floats = attn_partial_floats(&shape, 1, 8);
    const attn_tasks t = attn_split(&tight, shares, 2);
    assert_int_equal(shares[0].n_parts, 8);
    assert_int_equal(shares[1].n_parts, 0);
    expect_covered(shares, 2, t, shape.n_kv_heads);
}

/* Of equal sequences all are cut or none needs to be: the planned room is enough. */
static void the_workspace_holds_what_is_cut(void **state) {
    (void)state;
    for (uint32_t n_threads = 2; n_threads <= 128; n_threads *= 2) {
        for (uint32_t n = 1; n <= SEQS; n++) {
            attn_share shares[SEQS];
            attn_shape s = shape;
            s.n_threads = n_threads;
            s.partial_floats =
                (attn_workspace_bytes(&s, n, 4096) - n * sizeof(attn_share)) / sizeof(float);
            for (uint32_t i = 0; i < n; i++) {
                shares[i] = share_of(1, 4096);
            }
            const attn_tasks t = attn_split(&s, shares, n);
            const bool is_needed = n * s.n_kv_heads < 2 * n_threads;
            assert_int_equal(t.n_split, is_needed ? n : 0);
        }
    }
}

/* Sequences 10 to 29 have four parts in common, 30 to 35 a part and three blocks; the rest none, or
 * so few that each had better read them itself. */
static void fill_groups(attn_share *shares) {
    for (uint32_t i = 0; i < SEQS; i++) {
        shares[i] = share_of(1, 2060 + i);
        shares[i].n_common = i > 10 && i < 30    ? 4 * ATTN_SPLIT_LEN
                             : i >= 30 && i < 36 ? ATTN_SPLIT_LEN + 3 * ATTN_BLOCK_LEN + 16 + i
                             : i > 0             ? ATTN_NEAR_LEN + 16
                                                 : 0;
    }
}

/* No two records overlap, and none lies outside. */
static void expect_records_apart(const attn_share *shares, const attn_shape *s) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < SEQS; i++) {
        if (shares[i].n_members > 0) {
            assert_true(shares[i].shared_first >= end);
            end = shares[i].shared_first +
                  attn_partial_floats(s, shares[i].n_members, shares[i].n_shared);
        }
        if (shares[i].n_parts > 0) {
            assert_true(shares[i].partial_first >= end);
            end = shares[i].partial_first + attn_partial_floats(s, 1, shares[i].n_parts);
        }
    }
    assert_true(end <= s->partial_floats);
}

static void a_common_beginning_makes_a_group(void **state) {
    (void)state;
    attn_share shares[SEQS];
    attn_shape few = shape;
    few.n_threads = 2;
    fill_groups(shares);
    attn_tasks t = attn_split(&few, shares, SEQS);
    assert_int_equal(t.n_split, 20 + 5 + 1);
    for (uint32_t i = 0; i < SEQS; i++) {
        const bool is_long = i >= 10 && i < 30, is_short = i >= 30 && i < 36;
        assert_int_equal(shares[i].n_shared, is_long ? 4 : is_short ? 2 : 0);
        assert_int_equal(shares[i].shared_end, is_long    ? 4 * ATTN_SPLIT_LEN
                                               : is_short ? ATTN_SPLIT_LEN + 3 * ATTN_BLOCK_LEN
                                                          : 0);
        assert_int_equal(shares[i].n_parts, is_long || is_short ? 5 : 0);
        assert_int_equal(shares[i].n_members, i == 10 ? 20 : i == 30 ? 6 : 0);
        assert_true(shares[i].n_shared == 0 || shares[i].leader == (is_long ? 10 : 30));
    }
    expect_covered(shares, SEQS, t, few.n_kv_heads);
    expect_records_apart(shares, &few);
    few.partial_floats = attn_partial_floats(&few, 20, 9) - 1; /* no room for the first */
    fill_groups(shares);
    t = attn_split(&few, shares, SEQS);
    assert_int_equal(shares[10].n_members, 0);
    assert_int_equal(shares[10].n_parts, 0);
    expect_covered(shares, SEQS, t, few.n_kv_heads);
    expect_records_apart(shares, &few);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_context_among_short_ones_is_cut),
        cmocka_unit_test(nothing_is_cut_when_every_thread_has_its_share),
        cmocka_unit_test(a_window_is_cut_from_where_it_begins),
        cmocka_unit_test(prompts_get_smaller_tiles_rather_than_parts),
        cmocka_unit_test(without_room_a_sequence_stays_whole),
        cmocka_unit_test(the_workspace_holds_what_is_cut),
        cmocka_unit_test(a_common_beginning_makes_a_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
