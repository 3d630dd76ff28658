/* meter.c - counters, histograms and one moving average behind a lock.
 */
#include "engine/meter.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/histogram.h"

#define RATE_WEIGHT 0.05 /* of the newest step */

_Static_assert((int)WEFT_MISS_PARTIAL == (int)KV_MISS_PARTIAL, "the same causes");

void meter_init(meter *m) {
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    weft_engine_stats *c = &m->counts;
    weft_histogram *const seconds[] = {&c->first_token_s, &c->inter_token_s, &c->queue_s,
                                       &c->prefill_s,     &c->decode_s,      &c->end_to_end_s,
                                       &c->step_s};
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        histogram_init(seconds[i], histogram_bounds_s);
    }
    histogram_init(&c->step_rows, histogram_bounds_n);
}

void meter_deinit(meter *m) { pthread_mutex_destroy(&m->lock); }

void meter_step(meter *m, uint32_t n_rows, uint64_t ns) {
    pthread_mutex_lock(&m->lock);
    const double rate = n_rows / (clock_seconds(ns) + 1e-9);
    weft_engine_stats *c = &m->counts;
    c->tokens_per_s += (c->steps == 0 ? 1 : RATE_WEIGHT) * (rate - c->tokens_per_s);
    m->counts.steps++;
    histogram_add(&m->counts.step_s, clock_seconds(ns));
    histogram_add(&m->counts.step_rows, n_rows);
    pthread_mutex_unlock(&m->lock);
}

void meter_start(meter *m, uint32_t n_prompt, const kv_prefix *prefix, uint64_t queued_ns) {
    pthread_mutex_lock(&m->lock);
    m->counts.prompt_tokens += n_prompt;
    m->counts.prefix_queries += n_prompt;
    m->counts.prefix_hits += prefix->n_tokens;
    m->counts.prefix_misses[prefix->miss] += n_prompt - prefix->n_tokens;
    histogram_add(&m->counts.queue_s, clock_seconds(queued_ns));
    pthread_mutex_unlock(&m->lock);
}

void meter_token(meter *m, uint64_t gap_ns) {
    pthread_mutex_lock(&m->lock);
    m->counts.generated_tokens++;
    histogram_add(&m->counts.inter_token_s, clock_seconds(gap_ns));
    pthread_mutex_unlock(&m->lock);
}

void meter_first_token(meter *m, uint64_t since_submit_ns, uint64_t since_start_ns) {
    pthread_mutex_lock(&m->lock);
    m->counts.generated_tokens++;
    histogram_add(&m->counts.first_token_s, clock_seconds(since_submit_ns));
    histogram_add(&m->counts.prefill_s, clock_seconds(since_start_ns));
    pthread_mutex_unlock(&m->lock);
}

void meter_finish(meter *m, weft_finish finish, uint64_t since_submit_ns, uint64_t decode_ns) {
    WEFT_ASSERT(finish < WEFT_FINISH_COUNT);
    pthread_mutex_lock(&m->lock);
    m->counts.finished[finish]++;
    histogram_add(&m->counts.end_to_end_s, clock_seconds(since_submit_ns));
    if (decode_ns > 0) {
        histogram_add(&m->counts.decode_s, clock_seconds(decode_ns));
    }
    pthread_mutex_unlock(&m->lock);
}

void meter_reject(meter *m, weft_reject cause) {
    pthread_mutex_lock(&m->lock);
    m->counts.rejected[cause]++;
    pthread_mutex_unlock(&m->lock);
}

void meter_preempt(meter *m, uint32_t n) {
    pthread_mutex_lock(&m->lock);
    m->counts.preemptions += n;
    pthread_mutex_unlock(&m->lock);
}

void meter_recall(meter *m, uint32_t n_tokens) {
    pthread_mutex_lock(&m->lock);
    m->counts.recalled_tokens += n_tokens;
    pthread_mutex_unlock(&m->lock);
}

void meter_read(meter *m, weft_engine_stats *out) {
    pthread_mutex_lock(&m->lock);
    *out = m->counts;
    pthread_mutex_unlock(&m->lock);
}

double weft_histogram_quantile(const weft_histogram *h, double q) {
    return histogram_quantile(h, q);
}
