/* request.c - a request's options, outbox and text.
 *
 * The engine's thread appends token ids; turning them into text and looking for stop strings
 * happens on the caller's thread, in poll. Text that could still become a stop string is held
 * back: everything from the first place where the rest of the text is a prefix of one. When a stop
 * string is complete the text ends before it and the engine is told to let go.
 */
#include "engine/request_impl.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"

#define TEXT_BYTES_MAX (256u << 20)
#define SEED_BITS 53 /* what a JSON number carries exactly */

weft_request_options weft_request_options_default(void) {
    return (weft_request_options){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

static void unlock_and_drop(weft_request *rq);

/* ---- submit ---- */

static weft_status check_tokens(const weft_request_options *o, uint32_t n_vocab, uint32_t ctx,
                                weft_error *err) {
    if (o->n_prompt == 0 || o->prompt == NULL) {
        return weft_fail(err, WEFT_INVALID, "the prompt is empty, wanted at least one token");
    }
    if (o->n_prompt >= ctx) {
        return weft_fail(err, WEFT_LIMIT,
                         "the prompt has %zu tokens, but the context holds %u and the answer needs "
                         "at least one",
                         o->n_prompt, ctx);
    }
    if (o->max_tokens > ctx - o->n_prompt) {
        return weft_fail(err, WEFT_LIMIT,
                         "the prompt has %zu tokens and max_tokens is %u, together more than the "
                         "context of %u; at most %zu would fit",
                         o->n_prompt, o->max_tokens, ctx, ctx - o->n_prompt);
    }
    for (size_t i = 0; i < o->n_prompt; i++) {
        if (o->prompt[i] < 0 || (uint32_t)o->prompt[i] >= n_vocab) {
            return weft_fail(err, WEFT_INVALID,
                             "prompt token %zu is %d, wanted 0 to %u (the vocabulary)", i,
                             o->prompt[i], n_vocab - 1);
        }
    }
    return WEFT_OK;
}

static weft_status check_stops(const weft_request_options *o, weft_error *err) {
    if (o->n_stop > WEFT_STOP_MAX) {
        return weft_fail(err, WEFT_INVALID, "%zu stop strings, at most %u are taken", o->n_stop,
                         WEFT_STOP_MAX);
    }
    for (size_t i = 0; i < o->n_stop; i++) {
        const size_t len = strlen(o->stop[i]);
        if (len == 0 || len > WEFT_STOP_BYTES_MAX) {
            return weft_fail(err, WEFT_INVALID, "stop string %zu has %zu bytes, wanted 1 to %u", i,
                             len, WEFT_STOP_BYTES_MAX);
        }
    }
    if (o->n_top_logprobs > WEFT_TOP_LOGPROBS_MAX) {
        return weft_fail(err, WEFT_INVALID, "top_logprobs is %u, wanted 0 to %u", o->n_top_logprobs,
                         WEFT_TOP_LOGPROBS_MAX);
    }
    return WEFT_OK;
}

static weft_status check_priority(const weft_request_options *o, weft_error *err) {
    if (o->priority < WEFT_PRIORITY_MIN || o->priority > WEFT_PRIORITY_MAX) {
        return weft_fail(err, WEFT_INVALID, "priority is %d, wanted %d to %d", o->priority,
                         WEFT_PRIORITY_MIN, WEFT_PRIORITY_MAX);
    }
    return WEFT_OK;
}

static bool has_penalty(const sampler_params *p) {
    return p->repetition_penalty != 1.0f || p->presence_penalty != 0.0f ||
           p->frequency_penalty != 0.0f;
}

static void fill_params(weft_request *rq, const weft_request_options *o) {
    rq->params = sampler_params_default();
    rq->params.temperature = o->temperature;
    rq->params.top_k = o->top_k;
    rq->params.top_p = o->top_p;
    rq->params.min_p = o->min_p;
    rq->params.repetition_penalty = o->repetition_penalty;
    rq->params.presence_penalty = o->presence_penalty;
    rq->params.frequency_penalty = o->frequency_penalty;
    rq->params.seed = o->has_seed ? o->seed : os_random_u64() >> (64 - SEED_BITS);
    rq->params.choice = o->choice;
    rq->ignore_eos = o->ignore_eos;
    rq->client = o->client;
    rq->priority = o->priority;
    rq->deadline_ns = o->deadline_ms != 0 ? rq->submit_ns + o->deadline_ms * UINT64_C(1000000) : 0;
    rq->has_logprobs = o->has_logprobs;
    rq->n_top = o->has_logprobs ? o->n_top_logprobs : SAMPLER_NO_LOGPROBS;
    rq->on_ready = o->on_ready;
    rq->user = o->user;
}

static bool copy_bias(weft_request *rq, const weft_request_options *o) {
    rq->bias = mem_array(MEM_ENGINE, o->n_bias, sizeof *rq->bias);
    if (rq->bias == NULL) {
        return false;
    }
    for (size_t i = 0; i < o->n_bias; i++) {
        rq->bias[i] = (sampler_bias){.token = o->bias[i].token, .bias = o->bias[i].bias};
    }
    rq->params.bias = rq->bias;
    rq->params.n_bias = (uint32_t)o->n_bias;
    return true;
}

static bool copy_stops(weft_request *rq, const weft_request_options *o) {
    for (size_t i = 0; i < o->n_stop; i++) {
        rq->stop[i] = mem_strndup(MEM_ENGINE, o->stop[i], strlen(o->stop[i]));
        if (rq->stop[i] == NULL) {
            return false;
        }
        rq->n_stop++;
    }
    return true;
}

/* Everything the engine's thread will write. */
static bool alloc_answer(weft_request *rq, const weft_request_options *o) {
    const size_t n_all = (size_t)rq->n_prompt + rq->max_tokens;
    rq->tokens = mem_array(MEM_ENGINE, n_all, sizeof *rq->tokens);
    rq->units = mem_array(MEM_ENGINE, n_all, sizeof *rq->units);
    if (rq->tokens == NULL || rq->units == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < rq->n_prompt; i++) {
        rq->tokens[i] = o->prompt[i];
        rq->units[i] = (uint64_t)o->prompt[i];
    }
    if (rq->has_logprobs) {
        rq->logprobs = mem_array(MEM_ENGINE, rq->max_tokens, sizeof *rq->logprobs);
        if (rq->logprobs == NULL) {
            return false;
        }
    }
    if (has_penalty(&rq->params)) {
        rq->history_storage = mem_alloc(MEM_ENGINE, sampler_history_bytes((uint32_t)n_all));
        if (rq->history_storage == NULL) {
            return false;
        }
        sampler_history_init(&rq->history, rq->history_storage, (uint32_t)n_all);
        for (uint32_t i = 0; i < rq->n_prompt; i++) {
            sampler_history_add(&rq->history, rq->tokens[i], false);
        }
    }
    return true;
}

weft_status request_create(weft_request **out, weft_engine *en, const vocab *v, uint32_t ctx,
                           const weft_request_options *o, weft_error *err) {
    weft_status status = check_tokens(o, vocab_size(v), ctx, err);
    if (status == WEFT_OK) {
        status = check_stops(o, err);
    }
    if (status == WEFT_OK) {
        status = check_priority(o, err);
    }
    if (status == WEFT_OK && o->n_bias > SAMPLER_BIAS_MAX) {
        status = weft_fail(err, WEFT_INVALID, "logit_bias names %zu tokens, at most %u are taken",
                           o->n_bias, SAMPLER_BIAS_MAX);
    }
    if (status != WEFT_OK) {
        return status;
    }
    weft_request *rq = mem_zalloc(MEM_ENGINE, 1, sizeof *rq);
    if (rq == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a request");
    }
    rq->en = en;
    rq->n_prompt = (uint32_t)o->n_prompt;
    rq->max_tokens = o->max_tokens != 0 ? o->max_tokens : ctx - rq->n_prompt;
    rq->n_holders = 1;
    rq->is_armed = true;
    rq->submit_ns = clock_now_ns();
    pthread_mutex_init(&rq->lock, NULL);
    pthread_cond_init(&rq->ready, NULL);
    buf_init(&rq->text, MEM_ENGINE, TEXT_BYTES_MAX);
    vocab_decoder_init(&rq->decoder, v, o->shows_special);
    fill_params(rq, o);
    if (!copy_bias(rq, o) || !copy_stops(rq, o) || !alloc_answer(rq, o)) {
        status = weft_fail(err, WEFT_NOMEM, "out of memory for a request of %u + %u tokens",
                           rq->n_prompt, rq->max_tokens);
    } else {
        status = sampler_params_check(&rq->params, vocab_size(v), err);
    }
    if (status != WEFT_OK) {
        request_drop(rq);
        return status;
    }
    *out = rq;
    return WEFT_OK;
}

void request_drop(weft_request *rq) {
    pthread_mutex_lock(&rq->lock);
    unlock_and_drop(rq);
}

/* The lock is held; it goes with one hold, and with the last one the request. */
static void unlock_and_drop(weft_request *rq) {
    const bool is_last = --rq->n_holders == 0;
    pthread_mutex_unlock(&rq->lock);
    if (!is_last) {
        return;
    }
    pthread_mutex_destroy(&rq->lock);
    pthread_cond_destroy(&rq->ready);
    vocab_decoder_deinit(&rq->decoder);
    buf_deinit(&rq->text);
    for (uint32_t i = 0; i < rq->n_stop; i++) {
        mem_free(rq->stop[i]);
    }
    mem_free(rq->bias);
    mem_free(rq->history_storage);
    mem_free(rq->logprobs);
    mem_free(rq->units);
    mem_free(rq->tokens);
    mem_free(rq);
}

/* ---- the engine's side ---- */

/* Wakes the caller; the lock is held. Whether there was an on_ready to call. */
static bool notify(weft_request *rq) {
    const bool is_told = rq->is_armed && rq->on_ready != NULL;
    pthread_cond_signal(&rq->ready);
    if (is_told) {
        rq->is_armed = false;
        rq->on_ready(rq->user);
    }
    return is_told;
}

void request_mark_started(weft_request *rq, const kv_prefix *prefix, uint64_t now_ns) {
    pthread_mutex_lock(&rq->lock);
    rq->start_ns = now_ns;
    rq->prefix = *prefix;
    pthread_mutex_unlock(&rq->lock);
}

void request_note_preempted(weft_request *rq, uint32_t n_preempted) {
    if (rq->n_preempted != n_preempted) {
        pthread_mutex_lock(&rq->lock);
        rq->n_preempted = n_preempted;
        pthread_mutex_unlock(&rq->lock);
    }
}

bool request_is_cancelled(weft_request *rq) {
    pthread_mutex_lock(&rq->lock);
    const bool is_cancelled = rq->is_cancelled;
    pthread_mutex_unlock(&rq->lock);
    return is_cancelled;
}

_Static_assert(SAMPLER_TOP_LOGPROBS_MAX == WEFT_TOP_LOGPROBS_MAX, "copied one to one");

static void copy_logprobs(weft_token_logprobs *out, const sampler_result *r) {
    out->token = (weft_logprob){r->token, r->logprob};
    out->n_top = r->n_top;
    for (uint32_t i = 0; i < r->n_top; i++) {
        out->top[i] = (weft_logprob){r->top[i].token, r->top[i].logprob};
    }
}

bool request_publish(weft_request *rq, const sampler_result *r, weft_finish finish,
                     uint64_t now_ns) {
    pthread_mutex_lock(&rq->lock);
    WEFT_ASSERT(rq->n_new < rq->max_tokens);
    rq->tokens[rq->n_prompt + rq->n_new] = r->token;
    rq->units[rq->n_prompt + rq->n_new] = (uint64_t)r->token;
    if (rq->has_logprobs) {
        copy_logprobs(&rq->logprobs[rq->n_new], r);
    }
    rq->n_new++;
    rq->last_ns = now_ns;
    if (rq->first_ns == 0) {
        rq->first_ns = now_ns;
    }
    rq->finish = finish;
    const bool is_told = notify(rq);
    if (finish != WEFT_FINISH_NONE) {
        unlock_and_drop(rq);
    } else {
        pthread_mutex_unlock(&rq->lock);
    }
    return is_told;
}

bool request_finish(weft_request *rq, weft_finish finish, const char *error) {
    pthread_mutex_lock(&rq->lock);
    WEFT_ASSERT(rq->finish == WEFT_FINISH_NONE);
    rq->finish = finish;
    if (error != NULL) {
        memcpy(rq->error, error, strnlen(error, sizeof rq->error - 1));
    }
    const bool is_told = notify(rq);
    unlock_and_drop(rq);
    return is_told;
}

/* ---- the caller's side ---- */

/* Where the first complete stop string begins, SIZE_MAX without. */
static size_t find_stop(const weft_request *rq) {
    size_t first = SIZE_MAX;
    for (uint32_t i = 0; i < rq->n_stop; i++) {
        const size_t at = str_find(buf_view(&rq->text), str_from_cstr(rq->stop[i]), 0);
        if (at < first) {
            first = at;
        }
    }
    return first;
}

/* Bytes at the end of the text that may still grow into a stop string. */
static size_t held_back(const weft_request *rq) {
    size_t held = 0;
    for (uint32_t i = 0; i < rq->n_stop; i++) {
        const size_t stop_len = strlen(rq->stop[i]);
        size_t n = rq->text.len < stop_len - 1 ? rq->text.len : stop_len - 1;
        for (; n > held; n--) {
            if (memcmp(rq->text.data + rq->text.len - n, rq->stop[i], n) == 0) {
                held = n;
                break;
            }
        }
    }
    return held;
}

/* Decodes what is new; returns the bytes of text that may be shown now. */
static size_t advance_text(weft_request *rq, uint32_t n_new, weft_finish *finish) {
    for (; rq->n_read < n_new; rq->n_read++) {
        vocab_decoder_push(&rq->decoder, rq->tokens[rq->n_prompt + rq->n_read], &rq->text);
        const size_t stop = rq->n_stop > 0 ? find_stop(rq) : SIZE_MAX;
        if (stop != SIZE_MAX) {
            rq->n_read++;
            *finish = WEFT_FINISH_STOP;
            return stop;
        }
    }
    if (*finish == WEFT_FINISH_NONE) {
        return rq->text.len - held_back(rq);
    }
    vocab_decoder_flush(&rq->decoder, &rq->text);
    return rq->text.len;
}

/* Forgets what the last event showed. */
static void discard_handed(weft_request *rq) {
    if (rq->n_handed > 0) {
        rq->text.len -= rq->n_handed;
        memmove(rq->text.data, rq->text.data + rq->n_handed, rq->text.len + 1); /* with the NUL */
        rq->n_handed = 0;
    }
}

weft_status weft_request_poll(weft_request *rq, weft_event *out) {
    if (rq->is_over) {
        return WEFT_AGAIN;
    }
    pthread_mutex_lock(&rq->lock);
    const uint32_t n_new = rq->n_new;
    weft_finish finish = rq->finish;
    rq->is_armed = true;
    pthread_mutex_unlock(&rq->lock);
    if (n_new == rq->n_read && finish == WEFT_FINISH_NONE) {
        return WEFT_AGAIN;
    }
    discard_handed(rq);
    const uint32_t n_read_before = rq->n_read;
    const size_t n_text = advance_text(rq, n_new, &finish);
    if (rq->text.is_failed) {
        finish = WEFT_FINISH_ERROR;
        weft_request_cancel(rq);
    }
    rq->n_handed = n_text;
    rq->is_over = finish != WEFT_FINISH_NONE;
    if (rq->is_over) {
        weft_request_cancel(rq); /* a stop string: nothing more is wanted */
    }
    *out = (weft_event){.text = buf_cstr(&rq->text),
                        .text_len = n_text,
                        .logprobs = rq->has_logprobs ? rq->logprobs + n_read_before : NULL,
                        .n_logprobs = rq->has_logprobs ? rq->n_read - n_read_before : 0,
                        .is_done = rq->is_over,
                        .finish = finish};
    return WEFT_OK;
}

static struct timespec deadline_after(int timeout_ms) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

weft_status weft_request_wait(weft_request *rq, weft_event *out, int timeout_ms) {
    const struct timespec deadline = deadline_after(timeout_ms < 0 ? 0 : timeout_ms);
    int rc = 0;
    if (rq->is_over) {
        return WEFT_AGAIN;
    }
    pthread_mutex_lock(&rq->lock);
    while (rq->n_new == rq->n_read && rq->finish == WEFT_FINISH_NONE && rc != ETIMEDOUT) {
        rc = timeout_ms < 0 ? pthread_cond_wait(&rq->ready, &rq->lock)
                            : pthread_cond_timedwait(&rq->ready, &rq->lock, &deadline);
    }
    pthread_mutex_unlock(&rq->lock);
    return weft_request_poll(rq, out);
}

weft_usage weft_request_usage(const weft_request *request) {
    weft_request *rq = (weft_request *)(uintptr_t)request; /* the lock is not part of its value */
    pthread_mutex_lock(&rq->lock);
    const uint64_t now = clock_now_ns();
    const uint64_t start = rq->start_ns != 0 ? rq->start_ns : now;
    const uint64_t first = rq->first_ns != 0 ? rq->first_ns : now;
    /* After a stop string the engine may have run on for a token or two that nobody saw. */
    const weft_usage u = {.prompt_tokens = rq->n_prompt,
                          .cached_tokens = rq->prefix.n_tokens,
                          .miss = (weft_miss)rq->prefix.miss,
                          .miss_at = rq->prefix.miss_at,
                          .preemptions = rq->n_preempted,
                          .completion_tokens = rq->is_over ? rq->n_read : rq->n_new,
                          .seed = rq->params.seed,
                          .queued_ns = start - rq->submit_ns,
                          .prefill_ns = rq->start_ns != 0 ? first - start : 0,
                          .decode_ns = rq->first_ns != 0 ? rq->last_ns - rq->first_ns : 0};
    pthread_mutex_unlock(&rq->lock);
    return u;
}

const char *weft_request_error(const weft_request *rq) { return rq->error; }
