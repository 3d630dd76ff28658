/* load_hist.c - bucket i holds what lies in [first * 1.01^i, first * 1.01^(i+1)).
 *
 * A percentile is the geometric middle of the bucket where the rank falls, kept within the exact
 * least and greatest value.
 */
#include "cli/load_hist.h"

#include <math.h>

#define FIRST_MS 0.001
#define GROWTH_LOG 0.00995033085316808 /* ln 1.01 */

static uint32_t bucket_of(double ms) {
    if (!(ms > FIRST_MS)) {
        return 0;
    }
    const double at = log(ms / FIRST_MS) / GROWTH_LOG;
    return at < LOAD_HIST_BUCKETS - 1 ? (uint32_t)at : LOAD_HIST_BUCKETS - 1;
}

void load_hist_add(load_hist *h, double ms) {
    h->min_ms = h->count == 0 || ms < h->min_ms ? ms : h->min_ms;
    h->max_ms = h->count == 0 || ms > h->max_ms ? ms : h->max_ms;
    h->sum_ms += ms;
    h->count++;
    h->buckets[bucket_of(ms)]++;
}

void load_hist_merge(load_hist *into, const load_hist *from) {
    if (from->count == 0) {
        return;
    }
    into->min_ms = into->count == 0 || from->min_ms < into->min_ms ? from->min_ms : into->min_ms;
    into->max_ms = into->count == 0 || from->max_ms > into->max_ms ? from->max_ms : into->max_ms;
    into->sum_ms += from->sum_ms;
    into->count += from->count;
    for (uint32_t i = 0; i < LOAD_HIST_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

double load_hist_mean(const load_hist *h) {
    return h->count > 0 ? h->sum_ms / (double)h->count : 0;
}

double load_hist_percentile(const load_hist *h, double share) {
    if (h->count == 0) {
        return 0;
    }
    const double wanted = ceil(share * (double)h->count);
    const uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    uint64_t seen = 0;
    uint32_t i = 0;
    while (i < LOAD_HIST_BUCKETS - 1 && seen + h->buckets[i] < rank) {
        seen += h->buckets[i++];
    }
    const double ms = FIRST_MS * exp(GROWTH_LOG * (i + 0.5));
    if (rank >= h->count || ms > h->max_ms) {
        return h->max_ms;
    }
    return ms < h->min_ms ? h->min_ms : ms;
}
