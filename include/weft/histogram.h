/* histogram.h - how often values fell between fixed bounds. Plain numbers.
 *
 *   bounds   0.001   0.002   0.005  ...
 *   counts  [  3   ][  9   ][  0   ] ... [ beyond the last ]
 *
 * Reading one is stats.h's; counting is base/histogram.h.
 */
#ifndef WEFT_HISTOGRAM_H
#define WEFT_HISTOGRAM_H

#include <stdint.h>

#define WEFT_HISTOGRAM_BUCKETS 24u

typedef struct weft_histogram {
    const double
        *bounds; /* [WEFT_HISTOGRAM_BUCKETS] largest value of each bucket, ascending; static */
    uint64_t
        counts[WEFT_HISTOGRAM_BUCKETS + 1]; /* each bucket's own; the last is beyond all bounds */
    uint64_t count;                         /* of all buckets */
    double sum;
} weft_histogram;

#endif /* WEFT_HISTOGRAM_H */
