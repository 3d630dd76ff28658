/* histogram.h - counting values between fixed bounds. The counts are weft/histogram.h.
 *
 * Bounds grow in a fixed series, so that counts of two histograms of one kind can be added, and an
 * observation is a short search and two additions.
 *
 * Threads: one at a time.
 */
#ifndef WEFT_BASE_HISTOGRAM_H
#define WEFT_BASE_HISTOGRAM_H

#include "weft/histogram.h"

/* 0.5 ms to 10 minutes: latencies in seconds. */
extern const double histogram_bounds_s[WEFT_HISTOGRAM_BUCKETS];
/* 1 to 65536 and beyond: numbers of things. */
extern const double histogram_bounds_n[WEFT_HISTOGRAM_BUCKETS];

void histogram_init(weft_histogram *h, const double *bounds);
/* value is finite and not negative. */
void histogram_add(weft_histogram *h, double value);
/* Within a bucket values count as spread evenly; beyond the last bound it is that bound. 0 when
 * there is nothing. q is 0 to 1. */
double histogram_quantile(const weft_histogram *h, double q);

#endif /* WEFT_BASE_HISTOGRAM_H */
