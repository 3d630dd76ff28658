/* meter.h - what an engine counts for weft_engine_stats, for engine/ only.
 *
 * The engine's thread adds, whoever submits adds refusals, anybody copies; a lock of its own is
 * held for each, for a moment.
 */
#ifndef WEFT_ENGINE_METER_H
#define WEFT_ENGINE_METER_H

#include <pthread.h>

#include "kv/kv_seqs.h"
#include "weft/stats.h"

typedef struct meter {
    pthread_mutex_t lock;
    /* guarded by lock */
    weft_engine_stats counts; /* what is true now is not counted: zeros, but tokens_per_s */
} meter;

void meter_init(meter *m);
void meter_deinit(meter *m);

/* A forward of n_rows rows took ns, sampling included. */
void meter_step(meter *m, uint32_t n_rows, uint64_t ns);
/* A request was admitted for the first time, on this prefix. */
void meter_start(meter *m, uint32_t n_prompt, const kv_prefix *prefix, uint64_t queued_ns);
/* A token came out, gap_ns after the one before it. */
void meter_token(meter *m, uint64_t gap_ns);
void meter_first_token(meter *m, uint64_t since_submit_ns, uint64_t since_start_ns);
/* decode_ns: from the first token on, 0 = fewer than two. */
void meter_finish(meter *m, weft_finish finish, uint64_t since_submit_ns, uint64_t decode_ns);
void meter_reject(meter *m, weft_reject cause);
void meter_recall(meter *m, uint32_t n_tokens);
void meter_preempt(meter *m, uint32_t n);

/* The counters and histograms; the engine adds what is true now. */
void meter_read(meter *m, weft_engine_stats *out);

#endif /* WEFT_ENGINE_METER_H */
