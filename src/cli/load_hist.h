/* load_hist.h - many durations in little memory, for percentiles.
 *
 * Buckets grow by 1 % from one microsecond to three hours, so that a percentile is within half a
 * percent of the exact one, however many values there are; what lies outside goes to the ends.
 * Least, greatest, sum and count are exact.
 */
#ifndef WEFT_CLI_LOAD_HIST_H
#define WEFT_CLI_LOAD_HIST_H

#include <stdint.h>

#define LOAD_HIST_BUCKETS 2328u

typedef struct load_hist {
    uint64_t count;
    double sum_ms, min_ms, max_ms;
    uint32_t buckets[LOAD_HIST_BUCKETS];
} load_hist;

/* A zeroed histogram is an empty one. */
void load_hist_add(load_hist *h, double ms);
void load_hist_merge(load_hist *into, const load_hist *from);
double load_hist_mean(const load_hist *h); /* 0 without values, as all of these */
/* The value below which `share` of them lie (0.5 = median), by the nearest rank. */
double load_hist_percentile(const load_hist *h, double share);

#endif /* WEFT_CLI_LOAD_HIST_H */
