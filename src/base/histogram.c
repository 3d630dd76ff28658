/* histogram.c - fixed buckets, a binary search for the right one.
 *
 * The series goes 1, 2, 5 in each decade: fine enough for a percentile, few enough to print.
 */
#include "base/histogram.h"

#include "base/check.h"

const double histogram_bounds_s[WEFT_HISTOGRAM_BUCKETS] = {
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2,
    0.3,    0.5,   0.75,  1,     2,    5,    10,   20,   60,    120, 300,  600,
};

const double histogram_bounds_n[WEFT_HISTOGRAM_BUCKETS] = {
    1,  2,   3,   4,   6,   8,   12,   16,   24,   32,   48,    64,
    96, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192, 16384, 65536,
};

void histogram_init(weft_histogram *h, const double *bounds) {
    *h = (weft_histogram){.bounds = bounds};
}

void histogram_add(weft_histogram *h, double value) {
    WEFT_ASSERT(value >= 0);
    uint32_t low = 0, high = WEFT_HISTOGRAM_BUCKETS;
    while (low < high) {
        const uint32_t mid = (low + high) / 2;
        if (value <= h->bounds[mid]) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    h->counts[low]++;
    h->count++;
    h->sum += value;
}

double histogram_quantile(const weft_histogram *h, double q) {
    WEFT_ASSERT(q >= 0);
    WEFT_ASSERT(q <= 1);
    const double rank = q * (double)h->count;
    double below = 0;
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        const double n = (double)h->counts[i];
        if (n > 0 && below + n >= rank) {
            const double from = i > 0 ? h->bounds[i - 1] : 0;
            return from + (h->bounds[i] - from) * (rank - below) / n;
        }
        below += n;
    }
    return h->count > 0 ? h->bounds[WEFT_HISTOGRAM_BUCKETS - 1] : 0;
}
