/* test_keep.c - an engine whose pages are kept on disk: what comes back is the same to the bit, and
 * who waits for it keeps nobody waiting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "answer.h"
#include "base/mem.h"
#include "engine/keep.h"
#include "engine/runtime_impl.h"
#include "gate.h"

static const char llama[] = TINY_MODELS_DIR "/llama_gqa.gguf";
static const char gemma3[] = TINY_MODELS_DIR "/gemma3.gguf";
static const int32_t prompt[] = {262, '1', '2', '3'};

static void expect_same(const answer *a, const answer *b) {
    assert_int_equal(a->n_ids, b->n_ids);
    assert_memory_equal(a->ids, b->ids, sizeof a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs); /* bits */
}

static void remove_dir(const char *dir) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* act_type: what the runtime is said to use; not every processor has both. */
static void open_keeping(answer_engine *e, const char *path, const char *dir, weft_dtype kv_type,
                         weft_dtype act_type) {
    weft_error err = {0};
    weft_engine_options eo = weft_engine_options_default();
    eo.kv_cache_dir = dir;
    eo.kv_type = kv_type;
    assert_int_equal(weft_runtime_create(&e->rt, NULL, &err), WEFT_OK);
    e->rt->act_type = act_type;
    if (weft_engine_open(&e->en, e->rt, path, &eo, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
}

/* Tokens of the prompt that an engine opened like this finds. */
static uint32_t known_to(const char *path, const char *dir, weft_dtype kv_type, weft_dtype act_type,
                         const weft_request_options *o) {
    answer_engine e;
    open_keeping(&e, path, dir, kv_type, act_type);
    const answer a = answer_ask(&e, o);
    answer_close(&e);
    return a.usage.cached_tokens;
}

/* Three requests that know pages come in while the engine stands still; nobody polls. */
static void expect_turns_without_allocation(const answer_engine *e, const int32_t *long_prompt,
                                            uint32_t n_known) {
    gate g;
    weft_request *rqs[3];
    weft_request *first = gate_stop_engine(e, &g, 20);
    for (uint32_t i = 0; i < 3; i++) {
        const weft_request_options o = answer_options(long_prompt, 200 - 40 * i, 20);
        rqs[i] = answer_submit(e, &o);
    }
    const uint64_t allocs = mem_stats_total().allocs;
    gate_open(&g);
    answer_settle(e);
    assert_int_equal(mem_stats_total().allocs, allocs);
    assert_int_equal(answer_collect(rqs[0]).usage.cached_tokens, n_known);
    for (uint32_t i = 0; i < 3; i++) {
        weft_request_release(&rqs[i]);
    }
    weft_request_release(&first);
    gate_deinit(&g);
}

static void writing_and_reading_pages_allocates_nothing(void **state) {
    (void)state;
    int32_t long_prompt[200];
    char dir[] = "/tmp/weft-pages-XXXXXX";
    assert_non_null(mkdtemp(dir));
    for (int32_t i = 0; i < 200; i++) {
        long_prompt[i] = 5 + i * 7 % 200;
    }
    for (uint32_t start = 0; start < 2; start++) {
        answer_engine e;
        open_keeping(&e, gemma3, dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32);
        expect_turns_without_allocation(&e, long_prompt, start * 192);
        answer_close(&e);
    }
    remove_dir(dir);
}

static void a_known_beginning_outlives_the_engine(void **state) {
    (void)state;
    static const char *const models[] = {llama, gemma3};
    int32_t long_prompt[200];
    for (int32_t i = 0; i < 200; i++) {
        long_prompt[i] = 5 + i * 7 % 200;
    }
    for (size_t m = 0; m < 2; m++) {
        weft_engine_stats s;
        answer_engine e;
        char dir[] = "/tmp/weft-pages-XXXXXX";
        assert_non_null(mkdtemp(dir));
        const weft_request_options o = answer_options(long_prompt, 200, 60);
        open_keeping(&e, models[m], dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32);
        const answer cold = answer_ask(&e, &o);
        assert_int_equal(cold.usage.cached_tokens, 0);
        answer_close(&e);
        open_keeping(&e, models[m], dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32);
        const answer warm = answer_ask(&e, &o);
        weft_engine_stats_now(e.en, &s);
        assert_int_equal(warm.usage.cached_tokens, 192);
        assert_int_equal(s.recalled_tokens, 192);
        expect_same(&cold, &warm);
        answer_close(&e);
        /* Other bytes are never used, and the first ones are still there. */
        assert_int_equal(known_to(models[m], dir, WEFT_DTYPE_F32, WEFT_DTYPE_F32, &o), 0);
        assert_int_equal(known_to(models[m], dir, WEFT_DTYPE_F16, WEFT_DTYPE_BF16, &o), 0);
        assert_int_equal(known_to(models[1 - m], dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32, &o), 0);
        assert_int_equal(known_to(models[m], dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32, &o), 192);
        remove_dir(dir);
    }
}

/* An engine that stands still and has nothing in its cache, and on disk most of a prompt and 96
 * tokens of another. */
typedef struct recalling {
    answer_engine e;
    char dir[24];
    int32_t long_prompt[480], short_prompt[480];
    gate before, within; /* before: where it stands; within: for the test */
    weft_request *idle;
} recalling;

static void open_recalling(recalling *r) {
    snprintf(r->dir, sizeof r->dir, "/tmp/weft-pages-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    for (int32_t i = 0; i < 480; i++) {
        r->long_prompt[i] = 5 + i * 7 % 200;
        r->short_prompt[i] = 5 + i * 11 % 200;
    }
    const weft_request_options first = answer_options(r->long_prompt, 480, 1);
    const weft_request_options second = answer_options(r->short_prompt, 100, 1);
    open_keeping(&r->e, llama, r->dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32);
    answer_ask(&r->e, &first);
    answer_close(&r->e); /* now it is written, and buffers are free */
    open_keeping(&r->e, llama, r->dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32);
    answer_ask(&r->e, &second);
    answer_close(&r->e);
    open_keeping(&r->e, llama, r->dir, WEFT_DTYPE_F16, WEFT_DTYPE_F32);
    r->idle = gate_stop_engine(&r->e, &r->before, 1); /* its last token: nothing runs then */
}

static void close_recalling(recalling *r) {
    weft_request_release(&r->idle);
    answer_close(&r->e);
    gate_deinit(&r->before);
    gate_deinit(&r->within);
    remove_dir(r->dir);
}

static uint64_t recalled_tokens(const answer_engine *e) {
    weft_engine_stats s;
    weft_engine_stats_now(e->en, &s);
    return s.recalled_tokens;
}

/* Three arrive together while nothing runs. Who has nothing on disk passes the others and stops the
 * engine in its first turn, in the middle of their recall; both are over in the next. */
static void who_recalls_keeps_nobody_waiting_and_can_leave(void **state) {
    (void)state;
    recalling r;
    open_recalling(&r);
    weft_request_options o = answer_options(r.long_prompt, 480, 10);
    weft_request *cancelled = answer_submit(&r.e, &o);
    o.deadline_ms = 100;
    weft_request *late = answer_submit(&r.e, &o);
    o = answer_options(prompt, 4, 1);
    weft_request *other = gate_submit(&r.e, &r.within, &o);
    gate_open(&r.before);
    gate_wait(&r.within);
    assert_int_equal(recalled_tokens(&r.e), 8 * 16);
    weft_request_cancel(cancelled);
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL); /* past the deadline */
    gate_open(&r.within);
    const answer a = answer_collect(cancelled), b = answer_collect(late);
    assert_int_equal(a.finish, WEFT_FINISH_CANCELLED);
    assert_int_equal(b.finish, WEFT_FINISH_DEADLINE);
    assert_int_equal(a.n_ids + b.n_ids, 0);
    assert_int_equal(recalled_tokens(&r.e), 8 * 16);
    assert_int_equal(answer_collect(other).finish, WEFT_FINISH_LENGTH);
    weft_request_release(&cancelled);
    weft_request_release(&late);
    weft_request_release(&other);
    close_recalling(&r);
}

static void a_higher_class_recalls_first(void **state) {
    (void)state;
    recalling r;
    open_recalling(&r);
    weft_request_options o = answer_options(r.long_prompt, 480, 10);
    weft_request *low = answer_submit(&r.e, &o);
    o = answer_options(r.short_prompt, 100, 10);
    o.priority = 1;
    weft_request *high = gate_submit(&r.e, &r.within, &o);
    gate_open(&r.before);
    gate_wait(&r.within);
    assert_int_equal(recalled_tokens(&r.e), 8 * 16); /* six pages of its own, two of the other */
    gate_open(&r.within);
    assert_int_equal(answer_collect(high).usage.cached_tokens, 96);
    assert_true(answer_collect(low).usage.cached_tokens > 8 * 16);
    weft_request_release(&low);
    weft_request_release(&high);
    close_recalling(&r);
}

enum { N_ORIGINS = 11 };

static void all_that_moves_bits_changes_the_fingerprint(void **state) {
    (void)state;
    plan plans[N_ORIGINS];
    keep_origin origins[N_ORIGINS];
    uint64_t sums[N_ORIGINS];
    for (uint32_t i = 0; i < N_ORIGINS; i++) {
        plans[i] = (plan){.kv_type = WEFT_DTYPE_F16,
                          .n_groups = 1,
                          .groups = {{.n_layers = 4, .layer_page_bytes = 4096}}};
        origins[i] = (keep_origin){.model = 7,
                                   .version = "1",
                                   .numerics = 1,
                                   .cpu = "avx2",
                                   .act_type = WEFT_DTYPE_F32,
                                   .plan = &plans[i]};
    }
    origins[1].model = 8;
    origins[2].version = "2";
    origins[3].numerics = 2;
    origins[4].cpu = "avx2 avx512";
    origins[5].act_type = WEFT_DTYPE_BF16;
    plans[6].kv_type = WEFT_DTYPE_F32;
    plans[7].groups[0].window = 512;
    plans[8].groups[0].layer_page_bytes = 8192;
    plans[9].groups[0].n_layers = 5;
    plans[10].n_groups = 2;
    for (uint32_t i = 0; i < N_ORIGINS; i++) {
        sums[i] = keep_fingerprint(&origins[i]);
        assert_true(sums[i] == keep_fingerprint(&origins[i]));
        for (uint32_t j = 0; j < i; j++) {
            if (sums[j] == sums[i]) {
                fail_msg("origins %u and %u have the same fingerprint", j, i);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_moves_bits_changes_the_fingerprint),
        cmocka_unit_test(a_known_beginning_outlives_the_engine),
        cmocka_unit_test(writing_and_reading_pages_allocates_nothing),
        cmocka_unit_test(who_recalls_keeps_nobody_waiting_and_can_leave),
        cmocka_unit_test(a_higher_class_recalls_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
