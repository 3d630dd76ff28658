/* histogram.h - how often values fell between fixed bounds.
 *
 *   bounds   0.001   0.002   0.005  ...
 *   counts  [  3   ][  9   ][  0   ] ... [ beyond the last ]
 *
 * Bounds grow in a fixed series, so that counts of two histograms of one kind can be added, and an
 * observation is a short search and two additions.
 *
 * Threads: one at a time.
 */
#ifndef WEFT_BASE_HISTOGRAM_H
#define WEFT_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 24u

typedef struct histogram {
    const double
        *bounds; /* [HISTOGRAM_BUCKETS] largest value of each bucket, ascending; borrowed */
    uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* the last is beyond all bounds */
    uint64_t count;
    double sum;
} histogram;

/* 0.5 ms to 10 minutes: latencies in seconds. */
extern const double histogram_bounds_s[HISTOGRAM_BUCKETS];
/* 1 to 65536 and beyond: numbers of things. */
extern const double histogram_bounds_n[HISTOGRAM_BUCKETS];

void histogram_init(histogram *h, const double *bounds);
/* value is finite and not negative. */
void histogram_add(histogram *h, double value);
/* Within a bucket values count as spread evenly; beyond the last bound it is that bound. 0 when
 * there is nothing. q is 0 to 1. */
double histogram_quantile(const histogram *h, double q);

#endif /* WEFT_BASE_HISTOGRAM_H */
