/* test_sched.c - who runs next: admission by slots and pages, decode before prefill, first come
 * first served. Long random traffic is tests/sim/sim_sched.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sched/sched.h"

#define CTX 256u

static sched *s;
static kv_seqs *kv;

static void open_with(uint32_t seqs_max, uint32_t queue_max, uint32_t rows, uint32_t n_pages) {
    weft_error err = {0};
    const sched_config sc = {seqs_max, queue_max, rows};
    const kv_config kc = {.n_groups = 1,
                          .groups = {{.n_pages = n_pages}},
                          .seqs_max = seqs_max,
                          .ctx_max = CTX,
                          .chunk_max = rows};
    assert_int_equal(sched_create(&s, &sc, &err), WEFT_OK);
    assert_int_equal(kv_seqs_create(&kv, &kc, &err), WEFT_OK);
}

static int teardown(void **state) {
    (void)state;
    kv_seqs_destroy(&kv);
    sched_destroy(&s);
    return 0;
}

static sched_step next(void) {
    const sched_step step = sched_next(s, kv);
    sched_check(s, kv);
    kv_seqs_check(kv);
    return step;
}

static void expect_item(const sched_step *step, uint32_t i, sched_id id, uint32_t from,
                        uint32_t n_rows, bool is_sampled) {
    assert_true(i < step->n_items);
    assert_int_equal(step->items[i].id, id);
    assert_int_equal(step->items[i].from, from);
    assert_int_equal(step->items[i].n_rows, n_rows);
    assert_int_equal(step->items[i].is_sampled, is_sampled);
    assert_true(kv_seq_tokens(kv, step->items[i].seq) >= from + n_rows);
}

static void a_prompt_runs_in_chunks_and_then_row_by_row(void **state) {
    (void)state;
    open_with(2, 4, 10, 100);
    assert_true(sched_try_submit(s, 7, NULL, 24, 40));
    assert_int_equal(sched_waiting(s), 1);
    sched_step step = next();
    assert_int_equal(step.n_items, 1);
    assert_int_equal(step.n_rows, 10);
    assert_int_equal(step.n_sampled, 0);
    expect_item(&step, 0, 7, 0, 10, false);
    sched_advance(s, kv);
    step = next();
    expect_item(&step, 0, 7, 10, 10, false);
    sched_advance(s, kv);
    step = next();
    expect_item(&step, 0, 7, 20, 4, true);
    assert_int_equal(step.n_sampled, 1);
    for (uint32_t i = 24; i < 40; i++) {
        sched_advance(s, kv);
        step = next();
        assert_int_equal(step.n_items, 1);
        expect_item(&step, 0, 7, i, 1, true);
    }
    assert_true(sched_finish(s, kv, 7));
    assert_int_equal(sched_running(s), 0);
}

static void a_prompt_of_one_token_is_sampled_at_once(void **state) {
    (void)state;
    open_with(1, 1, 4, 10);
    assert_true(sched_try_submit(s, 1, NULL, 1, 1));
    const sched_step step = next();
    expect_item(&step, 0, 1, 0, 1, true);
    sched_advance(s, kv);
    assert_true(sched_finish(s, kv, 1));
}

static void decode_rows_come_before_prompt_tokens(void **state) {
    (void)state;
    open_with(3, 8, 8, 100);
    assert_true(sched_try_submit(s, 1, NULL, 4, 30));
    sched_step step = next();
    expect_item(&step, 0, 1, 0, 4, true);
    sched_advance(s, kv);
    assert_true(sched_try_submit(s, 2, NULL, 20, 30));
    assert_true(sched_try_submit(s, 3, NULL, 20, 30));
    step = next();
    assert_int_equal(step.n_items, 2);
    assert_int_equal(step.n_rows, 8);
    expect_item(&step, 0, 1, 4, 1, true);
    expect_item(&step, 1, 2, 0, 7, false); /* the oldest prompt takes what is left */
    sched_advance(s, kv);
    step = next();
    expect_item(&step, 0, 1, 5, 1, true);
    expect_item(&step, 1, 2, 7, 7, false);
    sched_advance(s, kv);
    step = next();
    assert_int_equal(step.n_items, 3);
    expect_item(&step, 1, 2, 14, 6, true);
    expect_item(&step, 2, 3, 0, 1, false); /* the budget goes to its last row */
    sched_advance(s, kv);
    step = next();
    expect_item(&step, 0, 1, 7, 1, true);
    expect_item(&step, 1, 2, 20, 1, true);
    expect_item(&step, 2, 3, 1, 6, false);
    for (sched_id id = 1; id <= 3; id++) {
        assert_true(sched_finish(s, kv, id));
    }
}

static void a_budget_of_one_row_a_sequence_still_moves_everyone(void **state) {
    (void)state;
    open_with(2, 4, 2, 100);
    assert_true(sched_try_submit(s, 1, NULL, 1, 50));
    assert_true(sched_try_submit(s, 2, NULL, 5, 50));
    for (uint32_t i = 0; i < 5; i++) {
        const sched_step step = next();
        assert_int_equal(step.n_rows, 2);
        expect_item(&step, 0, 1, i, 1, true);
        expect_item(&step, 1, 2, i, 1, i == 4);
        sched_advance(s, kv);
    }
    sched_finish(s, kv, 1);
    sched_finish(s, kv, 2);
}

static void admission_waits_for_a_slot(void **state) {
    (void)state;
    open_with(2, 4, 16, 100);
    for (sched_id id = 1; id <= 4; id++) {
        assert_true(sched_try_submit(s, id, NULL, 4, 16));
    }
    next();
    assert_int_equal(sched_running(s), 2);
    assert_int_equal(sched_waiting(s), 2);
    sched_advance(s, kv);
    assert_true(sched_finish(s, kv, 1));
    const sched_step step = next();
    assert_int_equal(sched_running(s), 2);
    expect_item(&step, 1, 3, 0, 4, true);
    for (sched_id id = 2; id <= 4; id++) {
        assert_true(sched_finish(s, kv, id));
    }
}

static void a_large_request_at_the_head_is_not_overtaken(void **state) {
    (void)state;
    open_with(4, 4, 16, 10);
    assert_true(sched_try_submit(s, 1, NULL, 4, 96)); /* 6 of 10 pages */
    assert_true(sched_try_submit(s, 2, NULL, 4, 80)); /* 5 pages: must wait */
    assert_true(sched_try_submit(s, 3, NULL, 4, 16)); /* would fit, but comes later */
    next();
    assert_int_equal(sched_running(s), 1);
    assert_int_equal(sched_waiting(s), 2);
    sched_advance(s, kv);
    assert_true(sched_finish(s, kv, 1));
    const sched_step step = next();
    assert_int_equal(step.n_items, 2);
    expect_item(&step, 0, 2, 0, 4, true);
    expect_item(&step, 1, 3, 0, 4, true);
    assert_true(sched_finish(s, kv, 2));
    assert_true(sched_finish(s, kv, 3));
}

static void a_full_queue_refuses(void **state) {
    (void)state;
    open_with(1, 2, 4, 100);
    assert_true(sched_try_submit(s, 1, NULL, 4, 8));
    assert_true(sched_try_submit(s, 2, NULL, 4, 8));
    assert_false(sched_try_submit(s, 3, NULL, 4, 8));
    next(); /* the first leaves the queue */
    assert_true(sched_try_submit(s, 3, NULL, 4, 8));
    assert_false(sched_try_submit(s, 4, NULL, 4, 8));
    for (sched_id id = 1; id <= 3; id++) {
        assert_true(sched_finish(s, kv, id));
    }
}

static void requests_end_wherever_they_are(void **state) {
    (void)state;
    open_with(2, 8, 8, 100);
    for (sched_id id = 1; id <= 5; id++) {
        assert_true(sched_try_submit(s, id, NULL, 12, 20));
    }
    assert_false(sched_finish(s, kv, 99));
    assert_true(sched_finish(s, kv, 4)); /* in the middle of the queue */
    next();
    sched_advance(s, kv);
    assert_true(sched_finish(s, kv, 1)); /* in the middle of its prompt */
    assert_false(sched_finish(s, kv, 1));
    sched_step step = next();
    expect_item(&step, 0, 2, 0, 8, false);
    assert_true(sched_finish(s, kv, 2)); /* planned, and the step failed */
    step = next();
    expect_item(&step, 0, 3, 0, 8, false);
    sched_advance(s, kv);
    assert_true(sched_finish(s, kv, 5));
    assert_true(sched_finish(s, kv, 3));
    step = next();
    assert_int_equal(step.n_items, 0);
    assert_int_equal(kv_pool_available(kv_seqs_pool(kv, 0)), 100);
}

static void senseless_configurations_are_refused(void **state) {
    (void)state;
    weft_error err = {0};
    const sched_config configs[] = {{0, 1, 1}, {1, 0, 1}, {4, 1, 3}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sched_create(&s, &configs[i], &err), WEFT_INVALID);
        assert_null(s);
    }
    assert_string_equal(err.message, "scheduler of 4 sequences, 1 waiting, 3 rows: wanted at least "
                                     "one of each and a row for every sequence");
}

static void creation_survives_every_failing_allocation(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    const sched_config config = {4, 4, 4};
    for (int64_t nth = 0; nth < 4; nth++) {
        weft_error err = {0};
        mem_fail_after(nth);
        assert_int_equal(sched_create(&s, &config, &err), WEFT_NOMEM);
        mem_fail_after(-1);
        assert_null(s);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_prompt_runs_in_chunks_and_then_row_by_row, teardown),
        cmocka_unit_test_teardown(a_prompt_of_one_token_is_sampled_at_once, teardown),
        cmocka_unit_test_teardown(decode_rows_come_before_prompt_tokens, teardown),
        cmocka_unit_test_teardown(a_budget_of_one_row_a_sequence_still_moves_everyone, teardown),
        cmocka_unit_test_teardown(admission_waits_for_a_slot, teardown),
        cmocka_unit_test_teardown(a_large_request_at_the_head_is_not_overtaken, teardown),
        cmocka_unit_test_teardown(a_full_queue_refuses, teardown),
        cmocka_unit_test_teardown(requests_end_wherever_they_are, teardown),
        cmocka_unit_test(senseless_configurations_are_refused),
        cmocka_unit_test(creation_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
