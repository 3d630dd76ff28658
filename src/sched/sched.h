/* sched.h - which rows run in the next step. Pure decisions over plain numbers.
 *
 *   submit ─► waiting (bounded queue) ──admit: slot and pages──► running ──► finished
 *                                                   prefill chunks, then one row a step
 *
 * A step takes first one row of every running sequence that decodes, then prompt tokens, oldest
 * first, as many as the row budget holds. A request is admitted when a slot is free and the pages
 * for its whole agreed length can be reserved, so nothing running ever runs out. First come, first
 * served: a large request at the head is not overtaken.
 *
 * What a prompt shares with one already run is not run again. Of requests that arrive together and
 * begin the same, the first runs the common pages and the others wait for them.
 *
 * Threads: engine thread only. It knows no model, device or text.
 */
#ifndef WEFT_SCHED_SCHED_H
#define WEFT_SCHED_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "kv/kv_seqs.h"

typedef struct sched_config {
    uint32_t seqs_max;       /* running at once */
    uint32_t queue_max;      /* waiting at once */
    uint32_t batch_rows_max; /* rows of a step, at least seqs_max */
} sched_config;

typedef struct sched sched;

/* A request's number, chosen by the caller; unique among those waiting and running. */
typedef uint64_t sched_id;

/* One sequence's part of a step: positions [from, from + n_rows) of its tokens. */
typedef struct sched_item {
    sched_id id;
    kv_seq seq;
    uint32_t from, n_rows;
    kv_prefix prefix; /* found in the cache when it was admitted */
    bool is_sampled;  /* the last row's logits give the next token */
} sched_item;

typedef struct sched_step {
    const sched_item *items; /* valid until the next sched_next */
    uint32_t n_items, n_rows, n_sampled;
} sched_step;

weft_status sched_create(sched **out, const sched_config *config, weft_error *err) WEFT_NODISCARD;
void sched_destroy(sched **s);

/* Queues a request of n_prompt tokens (at least 1) that may grow to n_max positions in the cache.
 * False when the queue is full. n_max must fit an empty kv: the caller has checked. units [n_max]
 * are borrowed until sched_finish: the prompt's now, a new token's before the next sched_advance;
 * NULL = it shares nothing. */
bool sched_try_submit(sched *s, sched_id id, const kv_unit *units, uint32_t n_prompt,
                      uint32_t n_max);

/* Admits what fits (opening sequences in kv), then plans a step and grows the sequences for it.
 * n_items is 0 when there is nothing to do. */
sched_step sched_next(sched *s, kv_seqs *kv);

/* After a step's forward, before any of its requests is finished: the planned rows are in the
 * cache and published, and a sampled item's new token is its sequence's next decode row. */
void sched_advance(sched *s, kv_seqs *kv);

/* Removes a request wherever it is and closes its sequence. False when the id is unknown. */
bool sched_finish(sched *s, kv_seqs *kv, sched_id id);

uint32_t sched_waiting(const sched *s);
uint32_t sched_running(const sched *s);
void sched_check(const sched *s, const kv_seqs *kv);

#endif /* WEFT_SCHED_SCHED_H */
