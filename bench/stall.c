/* stall.c - what a long prompt does to answers that are running, and what they do to it.
 *
 *   stall MODEL.gguf [RUNNING] [PROMPT] [THREADS]
 *
 * RUNNING (8) requests generate; a prompt of PROMPT (4000) tokens arrives among them. Printed are the
 * time between tokens before (median) and meanwhile (99th percentile), the prompt's time to its
 * first token alone and among the others, and both ratios. The first should stay below 2, the
 * second below 3. Tokens are drawn at random: only geometry matters.
 */
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "weft/weft.h"

#define RUNNING_MAX 64u
#define GAPS_MAX 65536u
#define SHORT_PROMPT 64u

typedef struct stall {
    weft_runtime *rt;
    weft_engine *en;
    uint32_t n_running, n_prompt;
    weft_request *running[RUNNING_MAX];
    uint32_t n_seen[RUNNING_MAX];
    uint64_t last_ns[RUNNING_MAX];
    sem_t ready; /* something arrived */
    double gaps_ms[GAPS_MAX];
    uint32_t n_gaps;
    uint64_t random;
} stall;

static void on_ready(void *ready) { (void)sem_post(ready); }

static weft_request *submit(stall *s, uint32_t n_prompt, uint32_t max_tokens) {
    int32_t *prompt = malloc(n_prompt * sizeof *prompt);
    weft_request_options o = weft_request_options_default();
    weft_request *rq = NULL;
    weft_error err;
    const uint32_t n_vocab = weft_engine_info_now(s->en).n_vocab;
    for (uint32_t i = 0; prompt != NULL && i < n_prompt; i++) {
        s->random = s->random * 6364136223846793005u + 1442695040888963407u;
        prompt[i] = (int32_t)((s->random >> 33) % n_vocab);
    }
    o.prompt = prompt;
    o.n_prompt = n_prompt;
    o.max_tokens = max_tokens;
    o.temperature = 0;
    o.ignore_eos = true;
    o.on_ready = on_ready;
    o.user = &s->ready;
    if (prompt == NULL || weft_request_submit(&rq, s->en, &o, &err) != WEFT_OK) {
        fprintf(stderr, "stall: %s\n", prompt == NULL ? "out of memory" : err.message);
        exit(1);
    }
    free(prompt);
    return rq;
}

/* Notes every new token of the running answers. Sleeps till there are some: looking every fraction of
 * a millisecond takes a fifth of two cores' speed. */
static void watch(stall *s) {
    weft_event ev;
    while (sem_wait(&s->ready) != 0) {
    }
    for (uint32_t i = 0; i < s->n_running; i++) {
        if (weft_request_poll(s->running[i], &ev) != WEFT_OK) {
            continue;
        }
        const uint64_t now = clock_now_ns();
        const uint32_t n = weft_request_usage(s->running[i]).completion_tokens;
        if (n > s->n_seen[i] && s->n_seen[i] > 0 && s->n_gaps < GAPS_MAX) {
            s->gaps_ms[s->n_gaps++] = clock_seconds(now - s->last_ns[i]) * 1e3;
        }
        if (n > s->n_seen[i]) {
            s->n_seen[i] = n;
            s->last_ns[i] = now;
        }
    }
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(stall *s, double q) {
    qsort(s->gaps_ms, s->n_gaps, sizeof *s->gaps_ms, by_size);
    return s->n_gaps > 0 ? s->gaps_ms[(uint32_t)(q * (s->n_gaps - 1))] : 0;
}

static double first_token_ms(const weft_request *rq) {
    const weft_usage u = weft_request_usage(rq);
    return clock_seconds(u.queued_ns + u.prefill_ns) * 1e3;
}

static double run_alone(stall *s) {
    weft_event ev;
    weft_request *rq = submit(s, s->n_prompt, 1);
    while (weft_request_wait(rq, &ev, -1) == WEFT_OK && !ev.is_done) {
    }
    const double ms = first_token_ms(rq);
    weft_request_release(&rq);
    return ms;
}

static void measure(stall *s) {
    const double alone_ms = run_alone(s);
    const uint32_t room = weft_engine_info_now(s->en).ctx - SHORT_PROMPT;
    for (uint32_t i = 0; i < s->n_running; i++) {
        s->running[i] = submit(s, SHORT_PROMPT, room);
    }
    for (uint32_t first = 0; first < s->n_running;) {
        watch(s);
        for (first = 0; first < s->n_running && s->n_seen[first] > 20; first++) {
        }
    }
    s->n_gaps = 0;
    while (s->n_gaps < 40 * s->n_running) {
        watch(s);
    }
    const double before_ms = quantile(s, 0.5);
    weft_engine_stats stats[2];
    weft_engine_stats_now(s->en, &stats[0]);
    s->n_gaps = 0;
    weft_request *rq = submit(s, s->n_prompt, 1);
    while (weft_request_usage(rq).completion_tokens == 0) {
        watch(s);
    }
    const double among_ms = first_token_ms(rq), p99_ms = quantile(s, 0.99);
    weft_engine_stats_now(s->en, &stats[1]);
    printf(
        "%u running: %.1f ms between tokens; with a prompt of %u tokens 50%% %.1f, 99%% %.1f ms: "
        "%.2f times\n"
        "the prompt's first token: alone after %.0f ms, among them after %.0f ms: %.2f times, in "
        "%" PRIu64 " steps\n",
        s->n_running, before_ms, s->n_prompt, quantile(s, 0.5), p99_ms, p99_ms / before_ms,
        alone_ms, among_ms, among_ms / alone_ms, stats[1].steps - stats[0].steps);
    weft_request_release(&rq);
    for (uint32_t i = 0; i < s->n_running; i++) {
        weft_request_release(&s->running[i]);
    }
}

int main(int argc, char **argv) {
    const struct timespec settle = {.tv_sec = 5}; /* an idle engine makes its memory ready */
    static stall s = {.n_running = 8, .n_prompt = 4000, .random = 1};
    weft_error err;
    weft_runtime_options ro = weft_runtime_options_default();
    weft_engine_options eo = weft_engine_options_default();
    if (argc < 2 || argc > 5) {
        fprintf(stderr, "usage: stall MODEL.gguf [RUNNING] [PROMPT] [THREADS]\n");
        return 2;
    }
    s.n_running = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : s.n_running;
    s.n_prompt = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : s.n_prompt;
    ro.n_threads = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    if (s.n_running == 0 || s.n_running > RUNNING_MAX || s.n_prompt == 0) {
        fprintf(stderr, "stall: wanted 1 to %u running and a prompt\n", RUNNING_MAX);
        return 2;
    }
    eo.seqs = s.n_running + 1;
    eo.kv_mem_bytes = (uint64_t)1 << 30;
    if (weft_runtime_create(&s.rt, &ro, &err) != WEFT_OK ||
        weft_engine_open(&s.en, s.rt, argv[1], &eo, &err) != WEFT_OK) {
        fprintf(stderr, "stall: %s\n", err.message);
        return 1;
    }
    if (sem_init(&s.ready, 0, 0) != 0) {
        fprintf(stderr, "stall: no semaphore\n");
        return 1;
    }
    nanosleep(&settle, NULL);
    measure(&s);
    weft_engine_close(&s.en);
    weft_runtime_destroy(&s.rt);
    return 0;
}
