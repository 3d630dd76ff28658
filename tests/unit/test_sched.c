/* test_sched.c - who runs next: admission by slots and pages, decode before prefill, who gives way to
 * whom, and shares between clients. Long random traffic is tests/sim/sim_sched.c.
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

#define MS 1000000ull

static sched *s;
static kv_seqs *kv;
static uint64_t now_ns;

/* Without a limit by time: rows up to the budget. */
static void open_with(uint32_t seqs_max, uint32_t queue_max, uint32_t rows, uint32_t n_pages) {
    weft_error err = {0};
    const sched_config sc = {seqs_max, queue_max, rows, UINT64_MAX};
    now_ns = 0;
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
    for (sched_id id = 0; id < 2000; id++) {
        sched_finish(s, kv, id); /* what a failed test has left */
    }
    kv_seqs_destroy(&kv);
    sched_destroy(&s);
    return 0;
}

static bool submit(sched_id id, uint32_t n_prompt, uint32_t n_max) {
    const sched_request rq = {.id = id, .n_prompt = n_prompt, .n_max = n_max};
    return sched_try_submit(s, &rq, now_ns);
}

static void submit_of(sched_id id, uint64_t client, int32_t priority, uint32_t n_prompt,
                      uint32_t n_max) {
    const sched_request rq = {
        .id = id, .n_prompt = n_prompt, .n_max = n_max, .client = client, .priority = priority};
    assert_true(sched_try_submit(s, &rq, now_ns));
}

static void advance(void) {
    sched_advance(s, kv, 10 * MS);
    now_ns += 10 * MS;
}

static sched_step next(void) {
    const sched_step step = sched_next(s, kv, now_ns);
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
    assert_true(submit(7, 24, 40));
    assert_int_equal(sched_waiting(s), 1);
    sched_step step = next();
    assert_int_equal(step.n_items, 1);
    assert_int_equal(step.n_rows, 10);
    assert_int_equal(step.n_sampled, 0);
    expect_item(&step, 0, 7, 0, 10, false);
    advance();
    step = next();
    expect_item(&step, 0, 7, 10, 10, false);
    advance();
    step = next();
    expect_item(&step, 0, 7, 20, 4, true);
    assert_int_equal(step.n_sampled, 1);
    for (uint32_t i = 24; i < 40; i++) {
        advance();
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
    assert_true(submit(1, 1, 1));
    const sched_step step = next();
    expect_item(&step, 0, 1, 0, 1, true);
    advance();
    assert_true(sched_finish(s, kv, 1));
}

static void decode_rows_come_before_prompt_tokens(void **state) {
    (void)state;
    open_with(3, 8, 8, 100);
    assert_true(submit(1, 4, 30));
    sched_step step = next();
    expect_item(&step, 0, 1, 0, 4, true);
    advance();
    assert_true(submit(2, 20, 30));
    assert_true(submit(3, 20, 30));
    step = next();
    assert_int_equal(step.n_items, 2);
    assert_int_equal(step.n_rows, 8);
    expect_item(&step, 0, 1, 4, 1, true);
    expect_item(&step, 1, 2, 0, 7, false); /* the oldest prompt takes what is left */
    advance();
    step = next();
    expect_item(&step, 0, 1, 5, 1, true);
    expect_item(&step, 1, 2, 7, 7, false);
    advance();
    step = next();
    assert_int_equal(step.n_items, 3);
    expect_item(&step, 1, 2, 14, 6, true);
    expect_item(&step, 2, 3, 0, 1, false); /* the budget goes to its last row */
    advance();
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
    assert_true(submit(1, 1, 50));
    assert_true(submit(2, 5, 50));
    for (uint32_t i = 0; i < 5; i++) {
        const sched_step step = next();
        assert_int_equal(step.n_rows, 2);
        expect_item(&step, 0, 1, i, 1, true);
        expect_item(&step, 1, 2, i, 1, i == 4);
        advance();
    }
    sched_finish(s, kv, 1);
    sched_finish(s, kv, 2);
}

static void admission_waits_for_a_slot(void **state) {
    (void)state;
    open_with(2, 4, 16, 100);
    for (sched_id id = 1; id <= 4; id++) {
        assert_true(submit(id, 4, 16));
    }
    next();
    assert_int_equal(sched_running(s), 2);
    assert_int_equal(sched_waiting(s), 2);
    advance();
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
    open_with(4, 4, 128, 10);
    assert_true(submit(1, 96, 96)); /* 6 of 10 pages */
    assert_true(submit(2, 80, 80)); /* 5 pages: must wait */
    assert_true(submit(3, 4, 16));  /* would fit, but comes later */
    next();
    assert_int_equal(sched_running(s), 1);
    assert_int_equal(sched_waiting(s), 2);
    advance();
    assert_true(sched_finish(s, kv, 1));
    const sched_step step = next();
    assert_int_equal(step.n_items, 2);
    expect_item(&step, 0, 2, 0, 80, true);
    expect_item(&step, 1, 3, 0, 4, true);
    assert_true(sched_finish(s, kv, 2));
    assert_true(sched_finish(s, kv, 3));
}

static void a_full_queue_refuses(void **state) {
    (void)state;
    open_with(1, 2, 4, 100);
    assert_int_equal(sched_retry_ms(s), 1000);
    for (sched_id id = 1; id <= 3; id++) { /* one that may run, two that wait */
        assert_true(submit(id, 4, 8));
    }
    assert_false(submit(4, 4, 8));
    next();
    assert_false(submit(4, 4, 8));
    assert_int_equal(sched_queued(s), 2);
    assert_true(sched_finish(s, kv, 1));
    assert_true(submit(4, 4, 8));
    assert_false(submit(5, 4, 8));
    for (sched_id id = 2; id <= 4; id++) {
        assert_true(sched_finish(s, kv, id));
    }
}

/* ---- giving way ---- */

/* Runs steps until one holds an item of the request. Returns it. */
static sched_item run_until(sched_id id) {
    for (int i = 0; i < 1000; i++) {
        const sched_step step = next();
        for (uint32_t j = 0; j < step.n_items; j++) {
            if (step.items[j].id == id) {
                const sched_item item = step.items[j];
                advance();
                return item;
            }
        }
        advance();
    }
    fail_msg("request %d never ran", (int)id);
    return (sched_item){0};
}

static void the_youngest_gives_way_and_comes_back(void **state) {
    (void)state;
    kv_unit units[2][CTX];
    open_with(2, 4, 64, 12);
    for (sched_id id = 1; id <= 2; id++) {
        for (uint32_t i = 0; i < CTX; i++) {
            units[id - 1][i] = id * 1000 + i;
        }
        const sched_request rq = {
            .id = id, .units = units[id - 1], .n_prompt = 16, .n_max = 16 + 144};
        assert_true(sched_try_submit(s, &rq, now_ns)); /* 10 of 12 pages each in the end */
    }
    sched_step step = next();
    assert_int_equal(step.n_items, 2); /* though both cannot fit to their ends */
    uint32_t n_preempted = 0, at = 0;
    while (n_preempted == 0) {
        advance();
        step = next();
        n_preempted = step.n_preempted;
        at++;
    }
    assert_int_equal(step.n_items, 1);
    expect_item(&step, 0, 1, 15 + at, 1, true); /* the older one never notices */
    assert_int_equal(sched_waiting(s), 1);
    for (; at < 144; at++) {
        advance();
        step = next();
        assert_int_equal(step.n_items, 1);
        assert_int_equal(step.n_preempted, 0); /* and the younger is not let in to be thrown out */
    }
    advance();
    assert_true(sched_finish(s, kv, 1));
    const sched_item back = run_until(2);
    assert_int_equal(back.n_preempted, 1);
    assert_true(back.prefix.n_tokens >= 16); /* goes on from what the tree still had */
    assert_int_equal(back.from, back.prefix.n_tokens);
    assert_true(back.is_sampled); /* all its tokens in one go, then the next one */
    assert_true(back.from + back.n_rows > 64);
    assert_true(sched_finish(s, kv, 2));
}

static void a_higher_priority_takes_the_place(void **state) {
    (void)state;
    open_with(2, 8, 64, 100);
    submit_of(1, 0, 0, 8, 40);
    submit_of(2, 0, -1, 8, 40);
    next();
    advance();
    submit_of(3, 0, 1, 8, 40);
    submit_of(4, 0, 0, 8, 40);
    const sched_step step = next();
    assert_int_equal(step.n_preempted, 1);
    assert_int_equal(step.n_items, 2);
    expect_item(&step, 0, 1, 8, 1, true);
    expect_item(&step, 1, 3, 0, 8, true);
    advance();
    assert_true(sched_finish(s, kv, 1));
    run_until(4); /* before 2, which came earlier */
    assert_int_equal(sched_waiting(s), 1);
    for (sched_id id = 2; id <= 4; id++) {
        assert_true(sched_finish(s, kv, id));
    }
}

static void a_class_that_waits_gets_a_turn(void **state) {
    (void)state;
    open_with(1, 300, 64, 100);
    submit_of(1, 0, 0, 1, 2);
    submit_of(2, 0, -2, 1, 2);
    sched_id running = 1;
    for (sched_id id = 3; id < 300; id++) { /* somebody of the higher class always waits */
        submit_of(id, 0, 0, 1, 2);
        const sched_step step = next();
        if (step.items[0].id == 2) {
            break;
        }
        expect_item(&step, 0, running, 0, 1, true);
        advance();
        now_ns += 1000 * MS;
        assert_true(sched_finish(s, kv, running));
        running = running == 1 ? 3 : running + 1;
    }
    assert_in_range(now_ns / 1000000000, 60, 62); /* two classes up took a minute */
    assert_true(sched_finish(s, kv, 2));
    for (sched_id id = 3; id < 300; id++) {
        sched_finish(s, kv, id);
    }
}

/* ---- clients ---- */

static void a_newcomer_does_not_wait_behind_a_crowd(void **state) {
    (void)state;
    open_with(4, 100, 64, 400);
    for (sched_id id = 1; id <= 50; id++) {
        submit_of(id, 1, 0, 8, 200);
    }
    next();
    advance();
    submit_of(99, 2, 0, 8, 200);
    const sched_step step = next(); /* one of four places is its own at once */
    assert_int_equal(step.n_preempted, 1);
    expect_item(&step, 3, 99, 0, 8, true);
    advance();
    submit_of(98, 2, 0, 8, 200); /* a second one waits its turn */
    assert_int_equal(next().n_preempted, 0);
    advance();
    for (sched_id id = 1; id <= 99; id++) {
        sched_finish(s, kv, id);
    }
    assert_int_equal(sched_running(s) + sched_waiting(s), 0);
}

static void clients_are_served_alike(void **state) {
    (void)state;
    uint32_t n_finished[3] = {0}, n_rows[3] = {0}, n_there[3] = {0};
    sched_id id = 1, client_of[2000];
    open_with(4, 200, 64, 400);
    for (uint32_t i = 0; i < 2000; i++) {
        client_of[i] = 0;
    }
    for (int i = 0; i < 1200; i++) { /* client 1 floods, 2 sends long ones, both always wait */
        for (uint64_t c = 1; c <= 2; c++) {
            if (n_there[c] < 40 && id < 2000) {
                n_there[c]++;
                client_of[id] = c;
                submit_of(id++, c, 0, c == 1 ? 4 : 40, c == 1 ? 12 : 80);
            }
        }
        const sched_step step = next();
        sched_item items[4];
        const uint32_t n = step.n_items;
        memcpy(items, step.items, n * sizeof *items);
        advance();
        for (uint32_t j = 0; j < n; j++) {
            const uint64_t c = client_of[items[j].id];
            n_rows[c] += items[j].from == 0 ? items[j].n_rows : (uint32_t)SCHED_DECODE_COST;
            if (items[j].from + items[j].n_rows >= (c == 1 ? 12u : 80u)) {
                n_finished[c]++;
                n_there[c]--;
                sched_finish(s, kv, items[j].id);
            }
        }
    }
    assert_true(n_finished[1] > 4 * n_finished[2]); /* shorter ones, so more of them */
    assert_in_range(n_rows[1] * 100 / n_rows[2], 80, 125);
    while (--id > 0) {
        sched_finish(s, kv, id);
    }
}

static void a_passed_deadline_is_reported_wherever_it_is(void **state) {
    (void)state;
    sched_id id = 0;
    open_with(1, 8, 64, 100);
    for (sched_id i = 1; i <= 3; i++) {
        const sched_request rq = {
            .id = i, .n_prompt = 4, .n_max = 100, .deadline_ns = i == 2 ? 0 : i * 20 * MS};
        assert_true(sched_try_submit(s, &rq, now_ns));
    }
    next();
    advance();
    assert_false(sched_try_expired(s, now_ns, &id));
    assert_true(sched_try_expired(s, 20 * MS, &id));
    assert_int_equal(id, 1); /* running */
    assert_true(sched_finish(s, kv, 1));
    assert_false(sched_try_expired(s, 59 * MS, &id));
    assert_true(sched_try_expired(s, 60 * MS, &id));
    assert_int_equal(id, 3); /* waiting */
    assert_true(sched_finish(s, kv, 3));
    assert_true(sched_finish(s, kv, 2));
}

static void a_short_prompt_passes_a_long_one(void **state) {
    (void)state;
    open_with(2, 8, 16, 100);
    assert_true(submit(1, 200, 240));
    next();
    advance();
    assert_true(submit(2, 8, 40));
    const sched_step step = next();
    assert_int_equal(step.n_items, 2);
    expect_item(&step, 0, 1, 16, 8, false); /* half of the rows stay with who came first */
    expect_item(&step, 1, 2, 0, 8, true);
    advance();
    sched_finish(s, kv, 1);
    sched_finish(s, kv, 2);
}

static void requests_end_wherever_they_are(void **state) {
    (void)state;
    open_with(2, 8, 8, 100);
    for (sched_id id = 1; id <= 5; id++) {
        assert_true(submit(id, 12, 20));
    }
    assert_false(sched_finish(s, kv, 99));
    assert_true(sched_finish(s, kv, 4)); /* in the middle of the queue */
    next();
    advance();
    assert_true(sched_finish(s, kv, 1)); /* in the middle of its prompt */
    assert_false(sched_finish(s, kv, 1));
    sched_step step = next();
    expect_item(&step, 0, 2, 0, 8, false);
    assert_true(sched_finish(s, kv, 2)); /* planned, and the step failed */
    step = next();
    expect_item(&step, 0, 3, 0, 8, false);
    advance();
    assert_true(sched_finish(s, kv, 5));
    assert_true(sched_finish(s, kv, 3));
    step = next();
    assert_int_equal(step.n_items, 0);
    assert_int_equal(kv_pool_available(kv_seqs_pool(kv, 0)), 100);
}

static void senseless_configurations_are_refused(void **state) {
    (void)state;
    weft_error err = {0};
    const sched_config configs[] = {{0, 1, 1, 0}, {1, 0, 1, 0}, {4, 1, 3, 0}};
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
    const sched_config config = {4, 4, 4, 0};
    for (int64_t nth = 0; nth < 5; nth++) {
        weft_error err = {0};
        mem_fail_after(nth);
        assert_int_equal(sched_create(&s, &config, &err), WEFT_NOMEM);
        mem_fail_after(-1);
        assert_null(s);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
}

/* Two of one client begin the same and arrive together: the second is parked and runs one row. What
 * it was charged for the rest is given back, and its client is the next in turn. */
static void what_was_parked_pays_for_what_it_runs(void **state) {
    (void)state;
    static kv_unit units[41];
    for (uint32_t i = 0; i < 41; i++) {
        units[i] = 100 + i;
    }
    open_with(3, 4, 100, 100);
    const sched_request alike = {.id = 1, .units = units, .n_prompt = 33, .n_max = 40, .client = 1};
    sched_request second = alike;
    second.id = 2;
    assert_true(sched_try_submit(s, &alike, now_ns));
    assert_true(sched_try_submit(s, &second, now_ns));
    submit_of(3, 2, 0, 50, 60);
    sched_step step = next();
    assert_int_equal(step.n_rows, 33 + 50);
    advance();
    step = next();
    assert_int_equal(step.n_items, 3);
    expect_item(&step, 2, 2, 32, 1, true);
    advance();
    assert_true(sched_finish(s, kv, 1));
    submit_of(4, 2, 0, 4, 8); /* 54 rows for its client so far */
    submit_of(5, 1, 0, 4, 8); /* 40; without what was given back, 72 */
    step = next();
    assert_int_equal(step.n_items, 3);
    assert_int_equal(step.items[2].id, 5);
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
        cmocka_unit_test_teardown(the_youngest_gives_way_and_comes_back, teardown),
        cmocka_unit_test_teardown(a_higher_priority_takes_the_place, teardown),
        cmocka_unit_test_teardown(a_class_that_waits_gets_a_turn, teardown),
        cmocka_unit_test_teardown(a_newcomer_does_not_wait_behind_a_crowd, teardown),
        cmocka_unit_test_teardown(clients_are_served_alike, teardown),
        cmocka_unit_test_teardown(a_passed_deadline_is_reported_wherever_it_is, teardown),
        cmocka_unit_test_teardown(what_was_parked_pays_for_what_it_runs, teardown),
        cmocka_unit_test_teardown(a_short_prompt_passes_a_long_one, teardown),
        cmocka_unit_test_teardown(requests_end_wherever_they_are, teardown),
        cmocka_unit_test(senseless_configurations_are_refused),
        cmocka_unit_test(creation_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
