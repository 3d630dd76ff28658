/* request_impl.h - a request as both of its sides see it, for engine/ only.
 *
 *   caller's thread:  submit ──► inbox                    poll/wait: new tokens ─► text
 *   engine's thread:            inbox ─► live ─► step: token appended, caller woken
 *
 * Everything the engine's thread writes while a request runs was allocated at submit, for the
 * longest answer agreed. Two holders: the caller and the engine; the last one frees.
 */
#ifndef WEFT_ENGINE_REQUEST_IMPL_H
#define WEFT_ENGINE_REQUEST_IMPL_H

#include <pthread.h>

#include "base/buf.h"
#include "engine/keep.h"
#include "kv/kv_seqs.h"
#include "sample/sampler.h"
#include "vocab/vocab.h"
#include "weft/engine.h"

struct weft_request {
    weft_engine *en;
    weft_request *next; /* in the inbox (guarded by the engine's lock) or among the live ones */

    /* fixed at submit */
    uint32_t n_prompt, max_tokens;
    bool ignore_eos, has_logprobs;
    uint32_t n_top;
    uint64_t client;
    int32_t priority;
    uint64_t deadline_ns; /* 0 = none */
    sampler_params params;
    sampler_bias *bias;           /* [params.n_bias] */
    keep_walk walk;               /* along its pages in the page store; engine's thread */
    void *history_storage;        /* NULL without penalties */
    sampler_history history;      /* engine's thread */
    void (*on_ready)(void *user); /* guarded by lock; NULL once released */
    void *user;

    pthread_mutex_t lock;
    pthread_cond_t ready;
    /* guarded by lock */
    int32_t *tokens;               /* [n_prompt + max_tokens]; the prompt never changes */
    uint64_t *units;               /* the same as the cache's keys; engine's thread */
    weft_token_logprobs *logprobs; /* [max_tokens] or NULL */
    uint32_t n_new, n_preempted;
    kv_prefix prefix; /* what the cache knew, once started */
    weft_finish finish;
    bool is_cancelled;
    bool is_armed; /* the caller has seen everything: the next change calls on_ready */
    uint32_t n_holders;
    uint64_t submit_ns, start_ns, first_ns, last_ns;
    char error[WEFT_ERROR_MESSAGE_MAX];

    /* caller's thread only */
    uint32_t n_read;
    vocab_decoder decoder;
    buf text;        /* decoded and not yet handed out */
    size_t n_handed; /* bytes of text that the last event showed */
    bool is_over;    /* the last event was given */
    char *stop[WEFT_STOP_MAX];
    uint32_t n_stop;
};

/* Checks the options against the engine's limits and makes the request, one holder. */
weft_status request_create(weft_request **out, weft_engine *en, const vocab *v, uint32_t ctx,
                           const weft_request_options *o, weft_error *err) WEFT_NODISCARD;

/* The engine's side; each takes the request's lock. With the finish the engine gives up its hold,
 * before the caller can hear of it: afterwards the request is not the engine's to touch. */
void request_mark_started(weft_request *rq, const kv_prefix *prefix, uint64_t now_ns);
void request_note_preempted(weft_request *rq, uint32_t n_preempted); /* so many times so far */
bool request_is_cancelled(weft_request *rq);
/* True when its on_ready was called. */
bool request_publish(weft_request *rq, const sampler_result *r, weft_finish finish,
                     uint64_t now_ns);
bool request_finish(weft_request *rq, weft_finish finish, const char *error);
void request_drop(weft_request *rq); /* gives up one hold */

#endif /* WEFT_ENGINE_REQUEST_IMPL_H */
