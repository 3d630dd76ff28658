/* same.c - one request, one answer, to the bit, whatever else the engine does: a line a check, exits 1
 * when one fails.
 *
 *   same MODEL.gguf [FOLDER]
 *
 * 32 requests, greedy and seeded, some that begin alike, the last four for so long that their rows
 * attend it together, are answered one by one on one thread.
 * Then again on two; all at once, on two and on three; with steps of few rows, so that prompts run
 * in small chunks; with every prompt already known; with so little memory that requests must give
 * way to each other; and, where there is a FOLDER to keep pages in, after a restart. Token ids and
 * the bits of their log probabilities must be those of the first time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

#define N 32u
#define PROMPT_MAX 240u
#define LONG_PROMPT 600u /* more than a part of attention (layout/attn_split.h) */
#define CTX 768u

typedef struct trial {
    const char *what;
    uint32_t n_threads, seqs, batch_rows;
    bool is_together, is_twice, is_short;
    const char *dir;
} trial;

static int32_t prompts[N][LONG_PROMPT];
static weft_request_options options[N];
static answer first[N];

/* Tokens that any vocabulary has; every fourth request begins like the one before it. */
static void make_requests(void) {
    for (uint32_t i = 0; i < N; i++) {
        const bool is_long = i + 4 >= N;
        const uint32_t n = is_long ? LONG_PROMPT - i % 3 : 20 + i * 37 % (PROMPT_MAX - 20);
        for (uint32_t j = 0; j < n; j++) {
            const bool is_alike = is_long ? i + 4 > N && j < 560 : i % 4 == 3 && j < 100;
            prompts[i][j] =
                is_alike ? prompts[i - 1][j] : (int32_t)(300 + (i * 131 + j * j * 7) % 5000);
        }
        options[i] = answer_options(prompts[i], n, i < 4 ? 180 : 16);
        options[i].temperature = i % 3 == 0 ? 0.9f : 0;
        options[i].frequency_penalty = i % 5 == 0 ? 0.4f : 0;
        options[i].has_seed = true;
        options[i].seed = i;
    }
}

static bool open_engine(answer_engine *e, const char *path, const trial *t, uint64_t kv_mem_bytes) {
    weft_error err;
    weft_runtime_options ro = weft_runtime_options_default();
    weft_engine_options eo = weft_engine_options_default();
    ro.n_threads = t->n_threads;
    eo.ctx = CTX;
    eo.seqs = t->seqs;
    eo.batch_rows = t->batch_rows;
    eo.kv_mem_bytes = kv_mem_bytes;
    eo.kv_cache_dir = t->dir;
    if (weft_runtime_create(&e->rt, &ro, &err) != WEFT_OK ||
        weft_engine_open(&e->en, e->rt, path, &eo, &err) != WEFT_OK) {
        fprintf(stderr, "same: %s\n", err.message);
        return false;
    }
    return true;
}

static bool is_same(const answer *a, const answer *b) {
    return a->n_ids > 0 && a->n_ids == b->n_ids && a->finish == b->finish &&
           memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids) == 0 &&
           memcmp(a->logprobs, b->logprobs, a->n_ids * sizeof *a->logprobs) == 0;
}

static void answer_all(const answer_engine *e, const trial *t, answer *out, weft_usage *sum) {
    weft_request *rqs[N];
    *sum = (weft_usage){0};
    for (uint32_t i = 0; i < N && t->is_together; i++) {
        rqs[i] = answer_submit(e, &options[i]);
    }
    for (uint32_t i = 0; i < N; i++) {
        out[i] = t->is_together ? answer_collect(rqs[i]) : answer_ask(e, &options[i]);
        sum->cached_tokens += out[i].usage.cached_tokens;
        sum->preemptions += out[i].usage.preemptions;
        if (t->is_together) {
            weft_request_release(&rqs[i]);
        }
    }
}

static bool run(const char *path, const trial *t) {
    static answer answers[N];
    answer_engine e = {0};
    weft_usage sum;
    uint64_t kv_mem_bytes = 0;
    if (t->is_short) { /* what one whole context takes */
        const trial one = {.n_threads = t->n_threads, .seqs = 1, .batch_rows = t->batch_rows};
        if (!open_engine(&e, path, &one, 0)) {
            return false;
        }
        kv_mem_bytes = weft_engine_info_now(e.en).planned.kv_pool_bytes;
        answer_close(&e);
    }
    if (!open_engine(&e, path, t, kv_mem_bytes)) {
        return false;
    }
    answer_all(&e, t, answers, &sum);
    if (t->is_twice) {
        answer_all(&e, t, answers, &sum);
    }
    answer_close(&e);
    uint32_t n_same = 0;
    for (uint32_t i = 0; i < N; i++) {
        n_same += is_same(&first[i], &answers[i]);
    }
    const bool is_good = n_same == N && (!t->is_short || sum.preemptions > 0) &&
                         (!t->is_twice || sum.cached_tokens > 0);
    printf("%-4s %s: %u of %u answers have the same bits; %u tokens from the cache, %u times given "
           "way\n",
           is_good ? "ok" : "FAIL", t->what, n_same, N, sum.cached_tokens, sum.preemptions);
    fflush(stdout);
    return is_good;
}

int main(int argc, char **argv) {
    const char *dir = argc == 3 ? argv[2] : NULL;
    const trial alone = {.n_threads = 1, .seqs = 1};
    const trial trials[] = {
        {.what = "two threads, one by one", .n_threads = 2, .seqs = 1},
        {.what = "32 at once", .n_threads = 2, .seqs = N, .is_together = true},
        {.what = "32 at once, three threads", .n_threads = 3, .seqs = N, .is_together = true},
        {.what = "chunks of few rows",
         .n_threads = 2,
         .seqs = 8,
         .batch_rows = 11,
         .is_together = true},
        {.what = "known prompts", .n_threads = 2, .seqs = N, .is_together = true, .is_twice = true},
        {.what = "short of memory",
         .n_threads = 2,
         .seqs = N,
         .batch_rows = 64,
         .is_together = true,
         .is_short = true},
        {.what = "kept on disk", .n_threads = 2, .seqs = N, .is_together = true, .dir = dir},
        {.what = "after a restart", .n_threads = 2, .seqs = N, .is_together = true, .dir = dir},
    };
    const size_t n_trials = sizeof trials / sizeof trials[0] - (dir == NULL ? 2 : 0);
    answer_engine e = {0};
    weft_usage sum;
    bool is_good = true;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: same MODEL.gguf [FOLDER]\n");
        return 2;
    }
    make_requests();
    if (!open_engine(&e, argv[1], &alone, 0)) {
        return 1;
    }
    answer_all(&e, &alone, first, &sum);
    answer_close(&e);
    for (size_t i = 0; i < n_trials; i++) {
        is_good &= run(argv[1], &trials[i]);
    }
    return is_good ? 0 : 1;
}
