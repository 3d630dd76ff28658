/* turns_weft.c - weft's side of turns.py: generates until it is killed, and counts.
 *
 *   turns_weft MODEL.gguf COUNT [SEQUENCES [THREADS]]
 *
 * SEQUENCES (1) requests of four tokens run together, each to TURN_TOKENS, again and again. COUNT is
 * the file of turns.h.
 */
#include "turns.h"
#include "weft/weft.h"

#define SEQUENCES_MAX 256u
#define PROMPT_TOKENS 4u
#define TURN_TOKENS 96u

static weft_error err;

static void must(weft_status status) {
    if (status != WEFT_OK) {
        fprintf(stderr, "turns_weft: %s\n", err.message);
        exit(1);
    }
}

static weft_request *submit(weft_engine *en, uint32_t seq) {
    const int32_t from = 5 + (int32_t)seq;
    const int32_t prompt[PROMPT_TOKENS] = {5, from + 1, from + 2, from + 3};
    weft_request_options o = weft_request_options_default();
    weft_request *rq = NULL;
    o.prompt = prompt;
    o.n_prompt = PROMPT_TOKENS;
    o.max_tokens = TURN_TOKENS;
    o.temperature = 0;
    o.ignore_eos = true;
    must(weft_request_submit(&rq, en, &o, &err));
    return rq;
}

/* One turn of n requests, counted whenever the last of them has another token. */
static void generate(weft_engine *en, uint32_t n, turns_count *count) {
    weft_request *rq[SEQUENCES_MAX];
    const uint64_t before = count->tokens;
    for (uint32_t i = 0; i < n; i++) {
        rq[i] = submit(en, i);
    }
    for (uint32_t waited = n; waited > 0; waited--) {
        for (weft_event ev = {0}; !ev.is_done;) {
            uint64_t made = 0;
            must(weft_request_wait(rq[waited - 1], &ev, -1));
            for (uint32_t i = 0; i < n; i++) {
                made += weft_request_usage(rq[i]).completion_tokens;
            }
            turns_made(count, before + made);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        weft_request_release(&rq[i]);
    }
}

int main(int argc, char **argv) {
    weft_runtime *rt = NULL;
    weft_engine *en = NULL;
    if (argc < 3 || argc > 5) {
        fprintf(stderr, "usage: turns_weft MODEL.gguf COUNT [SEQUENCES [THREADS]]\n");
        return 2;
    }
    const unsigned long n = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    if (n == 0 || n > SEQUENCES_MAX) {
        fprintf(stderr, "turns_weft: %s sequences, from 1 to %u are possible\n", argv[3],
                SEQUENCES_MAX);
        return 2;
    }
    weft_runtime_options ro = weft_runtime_options_default();
    ro.n_threads = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    weft_engine_options eo = weft_engine_options_default();
    eo.seqs = (uint32_t)n;
    eo.ctx = 256;
    must(weft_runtime_create(&rt, &ro, &err));
    must(weft_engine_open(&en, rt, argv[1], &eo, &err));
    turns_count *count = turns_open(argv[2]);
    for (;;) {
        generate(en, (uint32_t)n, count);
    }
}
