/* drain.c - a moving average of the time a place in the queue takes to come free.
 *
 * Time counts only while somebody waits: an idle hour says nothing about speed.
 */
#include "sched/drain.h"

/* Observations weigh the same until so many have come; from then on the newest a tenth. */
#define SEEN_MAX 10u

void drain_observe(drain *d, uint32_t n_before, uint32_t n_left, uint64_t now_ns) {
    if (n_before > 0 && d->last_ns != 0) {
        d->busy_ns += now_ns - d->last_ns;
    }
    d->last_ns = now_ns;
    if (n_before > 0 && n_left > 0 && d->busy_ns > 0) {
        const double each = (double)d->busy_ns / n_left;
        d->n_seen += d->n_seen < SEEN_MAX;
        d->each_ns += (each - d->each_ns) / d->n_seen;
        d->busy_ns = 0;
    }
}

uint32_t drain_retry_ms(const drain *d, uint32_t n_waiting) {
    const double ms = d->each_ns * n_waiting / 2 / 1e6;
    return ms < DRAIN_RETRY_MS_MIN   ? DRAIN_RETRY_MS_MIN
           : ms > DRAIN_RETRY_MS_MAX ? DRAIN_RETRY_MS_MAX
                                     : (uint32_t)ms;
}
