/* answer.c - submits, waits for every event and keeps all of it. */
#include "answer.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

static void require(weft_status status, const weft_error *err) {
    if (status != WEFT_OK) {
        fprintf(stderr, "%s\n", err->message);
    }
    WEFT_ASSERT(status == WEFT_OK);
}

void answer_open(answer_engine *e, const char *path, uint32_t seqs, uint32_t queue) {
    weft_error err;
    weft_runtime_options ro = weft_runtime_options_default();
    weft_engine_options eo = weft_engine_options_default();
    ro.n_threads = 2;
    eo.seqs = seqs;
    eo.queue = queue;
    eo.batch_rows = 32;
    require(weft_runtime_create(&e->rt, &ro, &err), &err);
    require(weft_engine_open(&e->en, e->rt, path, &eo, &err), &err);
}

void answer_close(answer_engine *e) {
    weft_engine_close(&e->en);
    weft_runtime_destroy(&e->rt);
}

weft_request_options answer_options(const int32_t *prompt, size_t n_prompt, uint32_t max_tokens) {
    weft_request_options o = weft_request_options_default();
    o.prompt = prompt;
    o.n_prompt = n_prompt;
    o.max_tokens = max_tokens;
    o.temperature = 0;
    o.has_logprobs = true;
    o.ignore_eos = true;
    return o;
}

weft_request *answer_submit(const answer_engine *e, const weft_request_options *o) {
    weft_error err;
    weft_request *rq = NULL;
    require(weft_request_submit(&rq, e->en, o, &err), &err);
    return rq;
}

answer answer_collect(weft_request *rq) {
    answer a = {.finish = WEFT_FINISH_NONE};
    weft_event ev = {0};
    while (!ev.is_done) {
        const weft_status status = weft_request_wait(rq, &ev, -1);
        WEFT_ASSERT(status == WEFT_OK);
        WEFT_ASSERT(a.text_len + ev.text_len < sizeof a.text);
        memcpy(a.text + a.text_len, ev.text, ev.text_len);
        a.text_len += ev.text_len;
        for (size_t i = 0; i < ev.n_logprobs; i++) {
            WEFT_ASSERT(a.n_ids < ANSWER_TOKENS_MAX);
            a.ids[a.n_ids] = ev.logprobs[i].token.token;
            a.logprobs[a.n_ids++] = ev.logprobs[i].token.logprob;
        }
        a.n_events++;
    }
    a.finish = ev.finish;
    a.usage = weft_request_usage(rq);
    const weft_status after = weft_request_wait(rq, &ev, 0);
    WEFT_ASSERT(after == WEFT_AGAIN);
    return a;
}

void answer_settle(const answer_engine *e) {
    uint32_t running = 1, waiting = 0;
    while (running + waiting > 0) {
        weft_engine_load(e->en, &running, &waiting);
        sched_yield();
    }
}

answer answer_ask(const answer_engine *e, const weft_request_options *o) {
    weft_request *rq = answer_submit(e, o);
    const answer a = answer_collect(rq);
    weft_request_release(&rq);
    return a;
}
