/* sched.h - which rows run in the next step. Pure decisions over plain numbers.
 *
 *   submit ─► waiting (bounded) ──admit: a slot, pages for what is known──► running ──► finished
 *               ▲                                          prompt in chunks, then a row a step
 *               └──────────── preempt: its pages go to the tree ──────────────┘
 *
 * A step takes one row of every running sequence that decodes, then prompt rows, as many as keep
 * the step within its time (pace.h). Who is admitted next is decided by priority, then by what
 * each client has had (shares.h), then by arrival. A request is admitted with pages for the tokens
 * it has and a little more; when pages run out, the youngest of the lowest priority gives its own
 * back and waits again, to go on later from what is still cached.
 *
 * What a prompt shares with one already run is not run again. Of requests that arrive together and
 * begin the same, the first runs the common pages and the others wait for them.
 *
 * Time is a number that the caller passes in. It knows no model, device or text.
 *
 * Threads: engine thread only.
 */
#ifndef WEFT_SCHED_SCHED_H
#define WEFT_SCHED_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "kv/kv_seqs.h"

#define SCHED_PRIORITY_MIN (-8)
#define SCHED_PRIORITY_MAX 8
/* So long a class waits before it counts as one higher; then one of it is admitted. */
#define SCHED_AGE_NS 30000000000u
/* Positions promised beyond the tokens a request has; doubled each time it was preempted. */
#define SCHED_HEADROOM 64u
/* What a client is charged for a token that was generated, against 1 for a prompt's. */
#define SCHED_DECODE_COST 2.0

typedef struct sched_config {
    uint32_t seqs_max;       /* running at once */
    uint32_t queue_max;      /* requests beyond seqs_max, all of which wait */
    uint32_t batch_rows_max; /* rows of a step, at least seqs_max */
    uint64_t itl_target_ns;  /* of a step with running answers; 0 = see pace.h */
} sched_config;

typedef struct sched sched;

/* A request's number, chosen by the caller; unique among those waiting and running. */
typedef uint64_t sched_id;

typedef struct sched_request {
    sched_id id;
    const kv_unit *units; /* [n_max], borrowed until sched_finish: the prompt's now, a new token's
                           * before the next sched_advance; NULL = it shares nothing */
    uint32_t n_prompt;    /* tokens, at least 1 */
    uint32_t n_max;       /* positions it may come to hold; must fit an empty kv */
    uint64_t client;
    int32_t priority;
    uint64_t deadline_ns; /* 0 = none */
} sched_request;

/* One sequence's part of a step: positions [from, from + n_rows) of its tokens. */
typedef struct sched_item {
    sched_id id;
    kv_seq seq;
    uint32_t from, n_rows;
    kv_prefix prefix;     /* found in the cache when it was admitted this time */
    uint32_t n_preempted; /* times so far */
    bool is_sampled;      /* the last row's logits give the next token */
} sched_item;

typedef struct sched_step {
    const sched_item *items; /* valid until the next sched_next */
    uint32_t n_items, n_rows, n_sampled;
    uint32_t n_decode;    /* of n_rows, those of answers */
    uint32_t n_preempted; /* requests that had to give way for this step */
} sched_step;

weft_status sched_create(sched **out, const sched_config *config, weft_error *err) WEFT_NODISCARD;
void sched_destroy(sched **s);

/* Queues a request. False when seqs_max + queue_max are there already. */
bool sched_try_submit(sched *s, const sched_request *request, uint64_t now_ns);

/* Makes room for what runs, admits what fits (opening sequences in kv), then plans a step and grows
 * the sequences for it. n_items is 0 when there is nothing to do. */
sched_step sched_next(sched *s, kv_seqs *kv, uint64_t now_ns);

/* After a step's forward, which took step_ns, before any of its requests is finished: the planned
 * rows are in the cache and published, and a sampled item's new token is its sequence's next. */
void sched_advance(sched *s, kv_seqs *kv, uint64_t step_ns);

/* Removes a request wherever it is and closes its sequence. False when the id is unknown. */
bool sched_finish(sched *s, kv_seqs *kv, sched_id id);

/* One whose deadline has passed, to be finished by the caller. False when there is none. */
bool sched_try_expired(const sched *s, uint64_t now_ns, sched_id *id);

uint32_t sched_running(const sched *s);
uint32_t sched_waiting(const sched *s);
uint32_t sched_queued(const sched *s); /* of those waiting, the ones that never ran */
/* When one who found the queue full should come back. */
uint32_t sched_retry_ms(const sched *s);

void sched_check(const sched *s, const kv_seqs *kv);

#endif /* WEFT_SCHED_SCHED_H */
