/* test_engine.c - many requests on one engine: nobody's answer depends on the others, and every way
 * to leave is clean.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "answer.h"
#include "base/check.h"
#include "base/mem.h"
#include "gate.h"

#define CLIENTS 16u

static const char llama[] = TINY_MODELS_DIR "/llama_gqa.gguf";
static const char gemma3[] = TINY_MODELS_DIR "/gemma3.gguf";
static const int32_t prompt[] = {262, '1', '2', '3'};

static void sleep_a_little(void) {
    const struct timespec t = {.tv_nsec = 200000};
    nanosleep(&t, NULL);
}

/* ---- many clients ---- */

typedef struct client {
    const answer_engine *e;
    int32_t prompt[64];
    uint32_t n_prompt;
    float temperature;
    answer alone, among;
} client;

static client clients[CLIENTS];

static weft_request_options client_options(const client *c) {
    weft_request_options o = answer_options(c->prompt, c->n_prompt, 40);
    o.temperature = c->temperature;
    o.seed = c->n_prompt;
    o.has_seed = true;
    o.frequency_penalty = c->temperature > 0 ? 0.5f : 0;
    return o;
}

static void *client_main(void *arg) {
    client *c = arg;
    for (int round = 0; round < 3; round++) {
        const weft_request_options o = client_options(c);
        c->among = answer_ask(c->e, &o);
    }
    return NULL;
}

static void expect_uncrossed(const char *path) {
    pthread_t threads[CLIENTS];
    answer_engine e;
    answer_open(&e, path, 1, 8);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        client *c = &clients[i];
        c->n_prompt = 1 + i * 4;
        c->temperature = i % 4 == 3 ? 1.5f : 0.0f;
        for (uint32_t j = 0; j < c->n_prompt; j++) {
            c->prompt[j] = (int32_t)((i * 37 + j * 11 + j * j * i) % 256);
        }
        const weft_request_options o = client_options(c);
        c->alone = answer_ask(&e, &o);
    }
    answer_close(&e);
    answer_open(&e, path, 5, CLIENTS);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i].e = &e;
        assert_int_equal(pthread_create(&threads[i], NULL, client_main, &clients[i]), 0);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        const answer *a = &clients[i].alone, *b = &clients[i].among;
        assert_int_equal(b->finish, WEFT_FINISH_LENGTH);
        assert_int_equal(b->n_ids, 40);
        assert_memory_equal(a->ids, b->ids, sizeof a->ids);
        assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs); /* to the bit */
        assert_string_equal(a->text, b->text);
    }
    answer_close(&e);
}

static void sixteen_clients_get_their_own_answers(void **state) {
    (void)state;
    expect_uncrossed(llama);
    expect_uncrossed(gemma3);
}

typedef struct turns {
    atomic_uint n_ready, n_turns;
    uint32_t ready_now, ready_most; /* the engine's thread; of one turn */
} turns;

static void note_ready(void *user) {
    turns *t = user;
    atomic_fetch_add(&t->n_ready, 1);
    t->ready_now++;
}

static void note_turn(void *user) {
    turns *t = user;
    assert_true(t->ready_now > 0);
    t->ready_most = t->ready_now > t->ready_most ? t->ready_now : t->ready_most;
    t->ready_now = 0;
    atomic_fetch_add(&t->n_turns, 1);
}

/* Sixteen readers keep asking, so that nearly every token is told of. */
static void a_step_of_sixteen_tokens_is_one_turn(void **state) {
    (void)state;
    turns t = {0};
    answer_engine e;
    weft_error err = {0};
    weft_event ev;
    weft_engine_stats s;
    weft_request *rqs[CLIENTS];
    uint32_t n_done = 0;
    weft_engine_options eo = weft_engine_options_default();
    weft_request_options o = answer_options(prompt, 4, 60);
    eo.seqs = CLIENTS;
    eo.on_turn = note_turn;
    eo.turn_user = &t;
    assert_int_equal(weft_runtime_create(&e.rt, NULL, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&e.en, e.rt, llama, &eo, &err), WEFT_OK);
    o.on_ready = note_ready;
    o.user = &t;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        rqs[i] = answer_submit(&e, &o);
    }
    while (n_done < CLIENTS) {
        for (uint32_t i = 0; i < CLIENTS; i++) {
            n_done += weft_request_poll(rqs[i], &ev) == WEFT_OK && ev.is_done;
        }
    }
    answer_settle(&e);
    weft_engine_stats_now(e.en, &s);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        weft_request_release(&rqs[i]);
    }
    answer_close(&e); /* after it nothing is told: the counts stand */
    assert_int_equal(s.generated_tokens, CLIENTS * 60);
    assert_true(atomic_load(&t.n_turns) <= s.steps);
    assert_true(atomic_load(&t.n_ready) > 2 * atomic_load(&t.n_turns));
    assert_true(t.ready_most > CLIENTS / 2);
}

/* ---- leaving ---- */

static void a_queued_request_can_be_cancelled(void **state) {
    (void)state;
    gate g;
    answer_engine e;
    answer_open(&e, llama, 1, 8);
    weft_request *first = gate_stop_engine(&e, &g, 5);
    const weft_request_options o = answer_options(prompt, 4, 10);
    weft_request *second = answer_submit(&e, &o), *third = answer_submit(&e, &o);
    weft_request_cancel(second);
    gate_open(&g);
    const answer a = answer_collect(second), b = answer_collect(third);
    assert_int_equal(a.finish, WEFT_FINISH_CANCELLED);
    assert_int_equal(a.usage.completion_tokens, 0);
    assert_int_equal(b.finish, WEFT_FINISH_LENGTH);
    assert_int_equal(answer_collect(first).finish, WEFT_FINISH_LENGTH);
    weft_request_release(&first);
    weft_request_release(&second);
    weft_request_release(&third);
    answer_close(&e);
    gate_deinit(&g);
}

static void a_prompt_can_be_cancelled_half_way(void **state) {
    (void)state;
    static int32_t long_prompt[480];
    bool was_half_way = false;
    answer_engine e;
    answer_open(&e, gemma3, 1, 8);
    for (int i = 0; i < 100 && !was_half_way; i++) {
        const weft_request_options o = answer_options(long_prompt, 480, 10);
        weft_request *rq = answer_submit(&e, &o);
        while (weft_request_usage(rq).prefill_ns == 0) {
            sleep_a_little();
        }
        weft_request_cancel(rq);
        const answer a = answer_collect(rq);
        was_half_way = a.finish == WEFT_FINISH_CANCELLED && a.n_ids == 0;
        weft_request_release(&rq);
    }
    assert_true(was_half_way);
    answer_close(&e);
}

static void a_running_answer_can_be_cancelled(void **state) {
    (void)state;
    bool was_running = false;
    answer_engine e;
    answer_open(&e, gemma3, 1, 8);
    for (int i = 0; i < 100 && !was_running; i++) {
        weft_event ev;
        const weft_request_options o = answer_options(prompt, 4, 500);
        weft_request *rq = answer_submit(&e, &o);
        assert_int_equal(weft_request_wait(rq, &ev, -1), WEFT_OK);
        weft_request_cancel(rq);
        const answer a = answer_collect(rq);
        was_running = a.finish == WEFT_FINISH_CANCELLED && a.usage.completion_tokens < 500;
        assert_true(a.usage.completion_tokens > 0);
        weft_request_release(&rq);
    }
    assert_true(was_running);
    answer_close(&e);
}

static void a_full_queue_says_not_now(void **state) {
    (void)state;
    gate g;
    weft_error err = {0};
    weft_request *refused = NULL;
    uint32_t running = 0, waiting = 0;
    answer_engine e;
    answer_open(&e, llama, 1, 2);
    weft_request *first = gate_stop_engine(&e, &g, 5);
    const weft_request_options o = answer_options(prompt, 4, 3);
    weft_request *second = answer_submit(&e, &o), *third = answer_submit(&e, &o);
    weft_engine_load(e.en, &running, &waiting);
    assert_int_equal(running, 1);
    assert_int_equal(waiting, 2);
    assert_int_equal(weft_request_submit(&refused, e.en, &o, &err), WEFT_AGAIN);
    assert_null(refused);
    assert_string_equal(err.message, "2 requests are waiting, the queue holds no more");
    gate_open(&g);
    assert_int_equal(answer_collect(third).finish, WEFT_FINISH_LENGTH);
    assert_int_equal(answer_ask(&e, &o).finish, WEFT_FINISH_LENGTH); /* now there is room */
    weft_request_release(&first);
    weft_request_release(&second);
    weft_request_release(&third);
    answer_close(&e);
    gate_deinit(&g);
}

static void requests_may_be_released_at_any_time(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    weft_event ev;
    answer_engine e;
    answer_open(&e, llama, 2, 32);
    for (int i = 0; i < 20; i++) {
        const weft_request_options o = answer_options(prompt, 4, 100);
        weft_request *at_once = answer_submit(&e, &o);
        weft_request *running = answer_submit(&e, &o);
        weft_request_release(&at_once);
        assert_null(at_once);
        assert_int_equal(weft_request_wait(running, &ev, -1), WEFT_OK);
        weft_request_release(&running);
    }
    weft_request_release(&(weft_request *){NULL});
    const weft_request_options o = answer_options(prompt, 4, 5);
    assert_int_equal(answer_ask(&e, &o).n_ids, 5); /* the engine is well */
    answer_close(&e);
    assert_int_equal(mem_stats_total().live_bytes, live);
}

static void closing_ends_what_was_released_and_still_runs(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    for (int i = 0; i < 10; i++) {
        answer_engine e;
        answer_open(&e, llama, 2, 32);
        for (int j = 0; j < 8; j++) {
            const weft_request_options o = answer_options(prompt, 4, 500);
            weft_request *rq = answer_submit(&e, &o);
            weft_request_release(&rq);
        }
        answer_close(&e);
    }
    assert_int_equal(mem_stats_total().live_bytes, live);
    weft_engine_close(&(weft_engine *){NULL});
}

static void waiting_ends_at_the_timeout(void **state) {
    (void)state;
    gate g;
    weft_event ev;
    answer_engine e;
    answer_open(&e, llama, 1, 8);
    weft_request *first = gate_stop_engine(&e, &g, 5);
    const weft_request_options o = answer_options(prompt, 4, 3);
    weft_request *second = answer_submit(&e, &o);
    assert_int_equal(weft_request_poll(second, &ev), WEFT_AGAIN);
    assert_int_equal(weft_request_wait(second, &ev, 0), WEFT_AGAIN);
    assert_int_equal(weft_request_wait(second, &ev, 20), WEFT_AGAIN);
    gate_open(&g);
    assert_int_equal(answer_collect(second).n_ids, 3);
    weft_request_release(&first);
    weft_request_release(&second);
    answer_close(&e);
    gate_deinit(&g);
}

/* ---- shared beginnings ---- */

static void expect_same(const answer *a, const answer *b) {
    assert_int_equal(a->n_ids, b->n_ids);
    assert_memory_equal(a->ids, b->ids, sizeof a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs); /* bits */
}

static void a_cached_prompt_gives_the_same_bits(void **state) {
    (void)state;
    static const char *const models[] = {llama, gemma3};
    int32_t long_prompt[100];
    for (size_t m = 0; m < 2; m++) {
        answer_engine e;
        answer_open(&e, models[m], 4, 16);
        for (int32_t i = 0; i < 100; i++) {
            long_prompt[i] = 5 + i * 7 % 200;
        }
        const weft_request_options o = answer_options(long_prompt, 100, 60);
        const answer cold = answer_ask(&e, &o);
        const answer warm = answer_ask(&e, &o);
        assert_int_equal(cold.usage.cached_tokens, 0);
        assert_int_equal(warm.usage.cached_tokens, 96);
        expect_same(&cold, &warm);
        /* A second turn: the whole first one, answer included, is known. */
        int32_t turn[170];
        memcpy(turn, long_prompt, sizeof long_prompt);
        memcpy(turn + 100, cold.ids, 60 * sizeof *turn);
        memcpy(turn + 160, prompt, 4 * sizeof *turn);
        const weft_request_options second = answer_options(turn, 164, 20);
        const answer known = answer_ask(&e, &second);
        assert_int_equal(known.usage.cached_tokens,
                         144); /* the last token of the answer never ran */
        answer_close(&e);
        answer_open(&e, models[m], 4, 16);
        const answer unknown = answer_ask(&e, &second);
        assert_int_equal(unknown.usage.cached_tokens, 0);
        expect_same(&known, &unknown);
        answer_close(&e);
    }
}

static void a_prompt_that_arrives_often_is_run_once(void **state) {
    (void)state;
    gate g;
    int32_t long_prompt[100];
    weft_request *rqs[4];
    answer_engine e;
    answer_open(&e, llama, 5, 16);
    for (int32_t i = 0; i < 100; i++) {
        long_prompt[i] = 5 + i * 7 % 200;
    }
    weft_request *first = gate_stop_engine(&e, &g, 5); /* the others arrive while it stands */
    const weft_request_options o = answer_options(long_prompt, 100, 10);
    for (int i = 0; i < 4; i++) {
        rqs[i] = answer_submit(&e, &o);
    }
    gate_open(&g);
    answer answers[4];
    uint32_t n_cached = 0;
    for (int i = 0; i < 4; i++) {
        answers[i] = answer_collect(rqs[i]);
        n_cached += answers[i].usage.cached_tokens;
        expect_same(&answers[0], &answers[i]);
        weft_request_release(&rqs[i]);
    }
    assert_int_equal(n_cached, 3 * 96);
    weft_request_release(&first);
    answer_close(&e);
    gate_deinit(&g);
}

/* ---- giving way ---- */

/* Memory for two whole contexts, shared by several requests that together want more. */
static void open_short(answer_engine *e, const char *path, uint32_t seqs) {
    weft_error err = {0};
    weft_engine_options eo = weft_engine_options_default();
    weft_runtime_options ro = weft_runtime_options_default();
    ro.n_threads = 2;
    eo.batch_rows = 16; /* so that a sliding group's share is small beside the full one's */
    assert_int_equal(weft_runtime_create(&e->rt, &ro, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&e->en, e->rt, path, &eo, &err), WEFT_OK);
    eo.kv_mem_bytes = 2 * weft_engine_info_now(e->en).planned.kv_pool_bytes;
    eo.seqs = seqs;
    weft_engine_close(&e->en);
    assert_int_equal(weft_engine_open(&e->en, e->rt, path, &eo, &err), WEFT_OK);
}

static void who_gave_way_goes_on_with_the_same_bits(void **state) {
    (void)state;
    static const char *const models[] = {llama, gemma3};
    static int32_t prompts[4][100];
    static answer alone[4], among[4];
    weft_request *rqs[4];
    for (size_t m = 0; m < 2; m++) {
        answer_engine e;
        weft_engine_stats s;
        uint32_t n_preempted = 0;
        open_short(&e, models[m], 4);
        for (int i = 0; i < 4; i++) {
            for (int32_t j = 0; j < 100; j++) {
                prompts[i][j] = 5 + (i + 3) * j * 7 % 200;
            }
            weft_request_options o = answer_options(prompts[i], 100, 300);
            o.temperature = i % 2 == 0 ? 0 : 1;
            o.frequency_penalty = i == 3 ? 0.5f : 0;
            o.has_seed = true;
            o.seed = 7;
            alone[i] = answer_ask(&e, &o);
        }
        for (int i = 0; i < 4; i++) {
            weft_request_options o = answer_options(prompts[i], 100, 300);
            o.temperature = i % 2 == 0 ? 0 : 1;
            o.frequency_penalty = i == 3 ? 0.5f : 0;
            o.has_seed = true;
            o.seed = 7;
            rqs[i] = answer_submit(&e, &o);
        }
        for (int i = 0; i < 4; i++) {
            among[i] = answer_collect(rqs[i]);
            n_preempted += among[i].usage.preemptions;
            weft_request_release(&rqs[i]);
            assert_int_equal(among[i].finish, WEFT_FINISH_LENGTH);
            expect_same(&alone[i], &among[i]);
        }
        weft_engine_stats_now(e.en, &s);
        assert_true(n_preempted > 0);
        assert_int_equal(s.preemptions, n_preempted);
        answer_close(&e);
    }
}

static void a_deadline_ends_what_runs_and_what_waits(void **state) {
    (void)state;
    gate g;
    weft_engine_stats s;
    answer_engine e;
    answer_open(&e, llama, 1, 8);
    weft_request *first = gate_stop_engine(&e, &g, 5);
    weft_request_options o = answer_options(prompt, 4, 500);
    o.deadline_ms = 1;
    weft_request *waiting = answer_submit(&e, &o);
    for (int i = 0; i < 20; i++) {
        sleep_a_little();
    }
    gate_open(&g);
    const answer a = answer_collect(waiting);
    assert_int_equal(a.finish, WEFT_FINISH_DEADLINE);
    assert_int_equal(a.n_ids, 0);
    assert_int_equal(answer_collect(first).finish, WEFT_FINISH_LENGTH);
    o = answer_options(prompt, 4, 500);
    o.on_ready = NULL;
    o.deadline_ms = 3;
    weft_request *running = answer_submit(&e, &o);
    const answer b = answer_collect(running);
    assert_true(b.finish == WEFT_FINISH_DEADLINE || b.n_ids == 500);
    answer_settle(&e);
    weft_engine_stats_now(e.en, &s);
    assert_true(s.finished[WEFT_FINISH_DEADLINE] >= 1);
    weft_request_release(&first);
    weft_request_release(&waiting);
    weft_request_release(&running);
    answer_close(&e);
    gate_deinit(&g);
}

static void choices_of_one_prompt_share_its_pages(void **state) {
    (void)state;
    gate g;
    int32_t long_prompt[200];
    weft_engine_stats s;
    weft_request *rqs[4];
    answer_engine e;
    answer_open(&e, llama, 5, 8);
    for (int32_t i = 0; i < 200; i++) {
        long_prompt[i] = 5 + i * 7 % 200;
    }
    weft_request *first = gate_stop_engine(&e, &g, 5);
    for (uint32_t i = 0; i < 4; i++) {
        weft_request_options o = answer_options(long_prompt, 200, 20);
        o.temperature = 1.5f;
        o.has_seed = true;
        o.choice = i;
        rqs[i] = answer_submit(&e, &o);
    }
    gate_open(&g);
    answer answers[4];
    for (int i = 0; i < 4; i++) {
        answers[i] = answer_collect(rqs[i]);
        weft_request_release(&rqs[i]);
    }
    assert_memory_not_equal(answers[0].ids, answers[1].ids, 20 * sizeof(int32_t));
    weft_engine_stats_now(e.en, &s);
    assert_int_equal(s.prefix_hits, 3 * 192);
    weft_request_release(&first);
    answer_close(&e);
    gate_deinit(&g);
}

static void without_shared_prefixes_every_prompt_is_run_whole(void **state) {
    (void)state;
    answer_engine e, shared;
    weft_engine *none = NULL;
    weft_error err = {0};
    int32_t long_prompt[100];
    for (int32_t i = 0; i < 100; i++) {
        long_prompt[i] = 5 + i * 7 % 200;
    }
    const weft_request_options o = answer_options(long_prompt, 100, 20);
    weft_engine_options eo = weft_engine_options_default();
    eo.shares_no_prefix = true;
    assert_int_equal(weft_runtime_create(&e.rt, NULL, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&e.en, e.rt, llama, &eo, &err), WEFT_OK);
    answer_open(&shared, llama, 4, 16);
    const answer known = answer_ask(&shared, &o);
    for (int i = 0; i < 2; i++) {
        const answer whole = answer_ask(&e, &o);
        assert_int_equal(whole.usage.cached_tokens, 0);
        expect_same(&whole, &known);
    }
    answer_close(&shared);
    eo.kv_cache_dir = "/tmp";
    assert_int_equal(weft_engine_open(&none, e.rt, llama, &eo, &err), WEFT_INVALID);
    assert_non_null(strstr(err.message, "choose one"));
    answer_close(&e);
}

/* ---- what it tells ---- */

static uint64_t sum_of(const uint64_t *counts, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += counts[i];
    }
    return sum;
}

static void misses_are_explained(void **state) {
    (void)state;
    int32_t tokens[100];
    answer_engine e;
    answer_open(&e, gemma3, 2, 8);
    for (int32_t i = 0; i < 100; i++) {
        tokens[i] = 5 + i * 7 % 200;
    }
    weft_request_options o = answer_options(tokens, 100, 3);
    weft_usage u = answer_ask(&e, &o).usage;
    assert_int_equal(u.miss, WEFT_MISS_NEW);
    assert_int_equal(u.miss_at, 0);
    u = answer_ask(&e, &o).usage;
    assert_int_equal(u.cached_tokens, 96);
    assert_int_equal(u.miss, WEFT_MISS_PARTIAL);
    tokens[37]++;
    u = answer_ask(&e, &o).usage;
    assert_int_equal(u.cached_tokens, 32);
    assert_int_equal(u.miss, WEFT_MISS_DIVERGED);
    assert_int_equal(u.miss_at, 37);
    tokens[0]++;
    u = answer_ask(&e, &o).usage;
    assert_int_equal(u.miss, WEFT_MISS_NEW);
    answer_close(&e);
}

static void statistics_add_up(void **state) {
    (void)state;
    weft_engine_stats s;
    weft_error err = {0};
    weft_request *refused = NULL;
    answer_engine e;
    answer_open(&e, llama, 2, 8);
    weft_request_options o = answer_options(prompt, 4, 10);
    for (int i = 0; i < 5; i++) {
        answer_ask(&e, &o);
    }
    o.priority = WEFT_PRIORITY_MAX + 1;
    assert_int_equal(weft_request_submit(&refused, e.en, &o, &err), WEFT_INVALID);
    assert_string_equal(err.message, "priority is 9, wanted -8 to 8");
    o = answer_options(prompt, 4, 1000);
    assert_int_equal(weft_request_submit(&refused, e.en, &o, &err), WEFT_LIMIT);
    answer_settle(&e);
    weft_engine_stats_now(e.en, &s);
    assert_int_equal(s.prompt_tokens, 20);
    assert_int_equal(s.generated_tokens, 50);
    assert_int_equal(s.prefix_queries, 20);
    assert_int_equal(s.prefix_hits + sum_of(s.prefix_misses, WEFT_MISS_COUNT), 20);
    assert_int_equal(s.steps, 50);
    assert_int_equal(s.finished[WEFT_FINISH_LENGTH], 5);
    assert_int_equal(s.rejected[WEFT_REJECT_INVALID], 1);
    assert_int_equal(s.rejected[WEFT_REJECT_TOO_LONG], 1);
    assert_int_equal(s.first_token_s.count, 5);
    assert_int_equal(s.inter_token_s.count, 45);
    assert_int_equal(s.end_to_end_s.count, 5);
    assert_int_equal(sum_of(s.step_rows.counts, WEFT_HISTOGRAM_BUCKETS + 1), 50);
    assert_true(s.first_token_s.bounds[0] > 0);
    assert_true(weft_histogram_quantile(&s.end_to_end_s, 0.5) >=
                weft_histogram_quantile(&s.first_token_s, 0.5));
    assert_true(s.tokens_per_s > 0);
    assert_int_equal(s.running + s.waiting, 0);
    assert_int_equal(s.waiting_tokens, 0);
    assert_int_equal(s.n_groups, 1);
    assert_true(s.pages[0].total > 0);
    assert_int_equal(s.pages[0].used, 0);
    assert_int_equal(weft_engine_retry_after_ms(e.en), 1000);
    answer_close(&e);
}

static void prompts_that_wait_are_counted_in_tokens(void **state) {
    (void)state;
    gate g;
    weft_error err = {0};
    weft_request *refused = NULL;
    weft_engine_options eo = weft_engine_options_default();
    answer_engine e = {0};
    eo.queue_tokens = 10;
    assert_int_equal(weft_runtime_create(&e.rt, NULL, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&e.en, e.rt, llama, &eo, &err), WEFT_OK);
    weft_request *first = gate_stop_engine(&e, &g, 5);
    static int32_t long_prompt[20];
    const weft_request_options o = answer_options(long_prompt, 20, 3);
    weft_request *second = answer_submit(&e, &o); /* longer than the limit, but alone */
    assert_int_equal(weft_request_submit(&refused, e.en, &o, &err), WEFT_AGAIN);
    assert_string_equal(err.message, "prompts of 20 tokens are waiting and this one has 20, the "
                                     "queue holds 10");
    gate_open(&g);
    assert_int_equal(answer_collect(second).finish, WEFT_FINISH_LENGTH);
    weft_engine_stats s;
    answer_settle(&e);
    weft_engine_stats_now(e.en, &s);
    assert_int_equal(s.rejected[WEFT_REJECT_QUEUE_TOKENS], 1);
    weft_request_release(&first);
    weft_request_release(&second);
    answer_close(&e);
    gate_deinit(&g);
}

/* ---- memory ---- */

static void note_allocs(void *user) {
    uint64_t *allocs = user;
    *allocs = mem_stats_total().allocs;
}

/* With everything on that needs storage: penalties, log probabilities, filters. on_ready is called
 * with the first token, and not again because nobody polls. */
static void a_hundred_tokens_allocate_nothing(void **state) {
    (void)state;
    uint64_t allocs = 0;
    answer_engine e;
    answer_open(&e, gemma3, 1, 8);
    weft_request_options o = answer_options(prompt, 4, 101);
    o.temperature = 1;
    o.top_k = 50;
    o.top_p = 0.9f;
    o.min_p = 0.01f;
    o.repetition_penalty = 1.1f;
    o.n_top_logprobs = 20;
    o.on_ready = note_allocs;
    o.user = &allocs;
    weft_request *rq = answer_submit(&e, &o);
    while (weft_request_usage(rq).completion_tokens < 101) {
        sleep_a_little();
    }
    assert_int_equal(mem_stats_total().allocs, allocs);
    assert_int_equal(answer_collect(rq).n_ids, 101);
    weft_request_release(&rq);
    answer_close(&e);
}

#define MANY 16u

/* Each with other settings; one comes too late, and one is cancelled while it waits. */
static weft_request *submit_one_of_many(const answer_engine *e, uint32_t i) {
    static const weft_logit_bias bias[] = {{5, 2}, {6, -2}};
    static int32_t prompts[MANY][200];
    for (uint32_t j = 0; j < 200; j++) {
        prompts[i][j] = (int32_t)(5 + (j < 64 ? 0 : i) + j * 7 % 200); /* they begin alike */
    }
    weft_request_options o = answer_options(prompts[i], 80 + 7 * i, 150);
    o.temperature = i % 2 == 0 ? 0 : 0.9f;
    o.top_k = i % 4 < 2 ? 0 : 40;
    o.top_p = i % 4 < 2 ? 1 : 0.9f;
    o.min_p = i % 3 == 0 ? 0.01f : 0;
    o.repetition_penalty = i % 8 < 4 ? 1 : 1.1f;
    o.presence_penalty = o.frequency_penalty = i % 8 < 6 ? 0 : 0.5f;
    o.has_logprobs = i % 3 != 1;
    o.n_top_logprobs = i % 3 == 2 ? 20 : 0;
    o.bias = bias;
    o.n_bias = i % 5 == 0 ? 2 : 0;
    o.client = i % 3;
    o.priority = (int32_t)(i % 2);
    o.deadline_ms = i == MANY - 1 ? 1 : 0;
    weft_request *rq = answer_submit(e, &o);
    if (i == MANY - 2) {
        weft_request_cancel(rq);
    }
    return rq;
}

/* They come while the engine stands still and go their whole way with nobody polling: taken in, read
 * back from disk, admitted, turned out and admitted again, prompts in chunks beside answers, written
 * to disk, ended. Everything they need was there at submit. */
static void expect_steps_without_allocation(const answer_engine *e) {
    gate g;
    weft_engine_stats stats;
    weft_request *rqs[MANY];
    uint32_t n_done = 0;
    weft_request *first = gate_stop_engine(e, &g, 200);
    for (uint32_t i = 0; i < MANY; i++) {
        rqs[i] = submit_one_of_many(e, i);
    }
    const uint64_t allocs = mem_stats_total().allocs;
    gate_open(&g);
    answer_settle(e);
    assert_int_equal(mem_stats_total().allocs, allocs);
    uint32_t n_preempted = weft_request_usage(first).preemptions;
    for (uint32_t i = 0; i < MANY; i++) {
        const answer a = answer_collect(rqs[i]);
        n_preempted += a.usage.preemptions;
        n_done += a.finish == WEFT_FINISH_LENGTH && a.usage.completion_tokens == 150;
        weft_request_release(&rqs[i]);
    }
    assert_int_equal(n_done, MANY - 2);
    assert_true(n_preempted > 0);
    weft_engine_stats_now(e->en, &stats);
    assert_int_equal(stats.preemptions, n_preempted);
    weft_request_release(&first);
    gate_deinit(&g);
}

static void no_step_allocates(void **state) {
    (void)state;
    static const char *const models[] = {llama, gemma3};
    for (size_t i = 0; i < WEFT_LEN(models); i++) {
        answer_engine e;
        open_short(&e, models[i], 6);
        expect_steps_without_allocation(&e);
        answer_close(&e);
    }
}

static void opening_survives_every_failing_allocation(void **state) {
    (void)state;
    weft_error err = {0};
    weft_runtime *rt = NULL;
    weft_runtime_options ro = weft_runtime_options_default();
    weft_engine_options eo = weft_engine_options_default();
    const uint64_t live_before = mem_stats_total().live_bytes;
    ro.n_threads = 1;
    eo.ctx = 64;
    for (int64_t nth = 0; rt == NULL; nth++) {
        mem_fail_after(nth);
        const weft_status status = weft_runtime_create(&rt, &ro, &err);
        mem_fail_after(-1);
        assert_true(status == (rt != NULL ? WEFT_OK : WEFT_NOMEM));
        assert_true(rt != NULL || mem_stats_total().live_bytes == live_before);
    }
    const uint64_t live = mem_stats_total().live_bytes;
    const uint64_t allocs = mem_stats_total().allocs;
    weft_engine *en = NULL;
    assert_int_equal(weft_engine_open(&en, rt, llama, &eo, &err), WEFT_OK);
    const int64_t n_allocs = (int64_t)(mem_stats_total().allocs - allocs);
    weft_engine_close(&en);
    assert_true(n_allocs > 50);
    for (int64_t nth = 0; nth < n_allocs; nth++) {
        mem_fail_after(nth);
        const weft_status status = weft_engine_open(&en, rt, llama, &eo, &err);
        mem_fail_after(-1);
        weft_engine_close(&en); /* a few can be done without: compiled regular expressions */
        if (status != WEFT_OK && (status != WEFT_NOMEM || strstr(err.message, "memory") == NULL)) {
            fail_msg("allocation %lld: '%s'", (long long)nth, err.message);
        }
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    weft_runtime_destroy(&rt);
    assert_int_equal(mem_stats_total().live_bytes, live_before);
}

static void engines_share_the_budget_of_their_runtime(void **state) {
    (void)state;
    weft_error err = {0};
    weft_runtime *rt = NULL;
    weft_engine *first = NULL, *second = NULL;
    weft_runtime_options ro = weft_runtime_options_default();
    weft_engine_options eo = weft_engine_options_default();
    eo.ctx = 64;
    ro.n_threads = 2;
    assert_int_equal(weft_runtime_create(&rt, &ro, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&first, rt, llama, &eo, &err), WEFT_OK);
    const uint64_t one = weft_engine_info_now(first).planned.total_bytes;
    weft_engine_close(&first);
    weft_runtime_destroy(&rt);
    ro.mem_bytes = one + one / 2;
    assert_int_equal(weft_runtime_create(&rt, &ro, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&first, rt, llama, &eo, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&second, rt, llama, &eo, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "of the memory budget"));
    assert_null(second);
    weft_engine_close(&first);
    assert_int_equal(weft_engine_open(&second, rt, llama, &eo, &err), WEFT_OK);
    weft_engine_close(&second);
    weft_runtime_destroy(&rt);
}

/* Loading packs on the pool while another engine's steps want it too. */
static void an_engine_can_be_opened_while_another_answers(void **state) {
    (void)state;
    weft_error err = {0};
    answer_engine e;
    answer_open(&e, gemma3, 1, 8);
    const weft_request_options o = answer_options(prompt, 4, 300);
    const answer alone = answer_ask(&e, &o);
    weft_request *rq = answer_submit(&e, &o);
    for (int i = 0; i < 5; i++) {
        weft_engine *other = NULL;
        const weft_request_options short_one = answer_options(prompt, 4, 5);
        weft_engine_options eo = weft_engine_options_default();
        eo.batch_rows = 64 + 32 * (uint32_t)i; /* each needs a larger workspace */
        assert_int_equal(weft_engine_open(&other, e.rt, llama, &eo, &err), WEFT_OK);
        const answer_engine second = {e.rt, other};
        assert_int_equal(answer_ask(&second, &short_one).n_ids, 5);
        weft_engine_close(&other);
    }
    const answer among = answer_collect(rq);
    assert_memory_equal(among.ids, alone.ids, sizeof alone.ids);
    weft_request_release(&rq);
    answer_close(&e);
}

static void what_cannot_be_opened_is_named(void **state) {
    (void)state;
    weft_error err = {0};
    weft_runtime *rt = NULL;
    weft_engine *en = NULL;
    weft_engine_options eo = weft_engine_options_default();
    assert_int_equal(weft_runtime_create(&rt, NULL, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&en, rt, "/no/such/file.gguf", NULL, &err), WEFT_NOTFOUND);
    assert_non_null(strstr(err.message, "/no/such/file.gguf"));
    eo.queue = 65537;
    assert_int_equal(weft_engine_open(&en, rt, llama, &eo, &err), WEFT_INVALID);
    assert_string_equal(err.message, "queue of 65537 requests, wanted at most 65536");
    eo = weft_engine_options_default();
    eo.ctx = 513;
    assert_int_equal(weft_engine_open(&en, rt, llama, &eo, &err), WEFT_LIMIT);
    assert_string_equal(err.message, "context of 513 positions, but the model's maximum is 512");
    assert_null(en);
    weft_runtime_destroy(&rt);
    weft_runtime_destroy(&rt);
}

static bool stop_loading(void *user, uint64_t done_bytes, uint64_t total_bytes) {
    uint64_t *seen = user;
    WEFT_ASSERT(done_bytes >= *seen && done_bytes <= total_bytes);
    *seen = done_bytes;
    return done_bytes < total_bytes / 2;
}

static void loading_can_be_cancelled(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    uint64_t seen = 0;
    weft_error err = {0};
    weft_runtime *rt = NULL;
    weft_engine *en = NULL;
    weft_engine_options eo = weft_engine_options_default();
    eo.progress = stop_loading;
    eo.progress_user = &seen;
    assert_int_equal(weft_runtime_create(&rt, NULL, &err), WEFT_OK);
    assert_int_equal(weft_engine_open(&en, rt, llama, &eo, &err), WEFT_CANCELLED);
    assert_true(seen > 0);
    weft_runtime_destroy(&rt);
    assert_int_equal(mem_stats_total().live_bytes, live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cached_prompt_gives_the_same_bits),
        cmocka_unit_test(a_prompt_that_arrives_often_is_run_once),
        cmocka_unit_test(who_gave_way_goes_on_with_the_same_bits),
        cmocka_unit_test(a_deadline_ends_what_runs_and_what_waits),
        cmocka_unit_test(choices_of_one_prompt_share_its_pages),
        cmocka_unit_test(without_shared_prefixes_every_prompt_is_run_whole),
        cmocka_unit_test(misses_are_explained),
        cmocka_unit_test(statistics_add_up),
        cmocka_unit_test(prompts_that_wait_are_counted_in_tokens),
        cmocka_unit_test(sixteen_clients_get_their_own_answers),
        cmocka_unit_test(a_step_of_sixteen_tokens_is_one_turn),
        cmocka_unit_test(a_queued_request_can_be_cancelled),
        cmocka_unit_test(a_prompt_can_be_cancelled_half_way),
        cmocka_unit_test(a_running_answer_can_be_cancelled),
        cmocka_unit_test(a_full_queue_says_not_now),
        cmocka_unit_test(requests_may_be_released_at_any_time),
        cmocka_unit_test(closing_ends_what_was_released_and_still_runs),
        cmocka_unit_test(waiting_ends_at_the_timeout),
        cmocka_unit_test(a_hundred_tokens_allocate_nothing),
        cmocka_unit_test(no_step_allocates),
        cmocka_unit_test(opening_survives_every_failing_allocation),
        cmocka_unit_test(engines_share_the_budget_of_their_runtime),
        cmocka_unit_test(an_engine_can_be_opened_while_another_answers),
        cmocka_unit_test(what_cannot_be_opened_is_named),
        cmocka_unit_test(loading_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
