/* pace.c - a linear model of a step's time, fitted as it goes.
 *
 * Decode steps are bound by reading weights: their time hardly depends on the number of rows, but
 * grows with it slowly, so each power of two has its own average. A size that was never measured
 * borrows from the nearest. A prompt row's share is what a mixed step took beyond that, so an error
 * of the one is made good by the other at the point where it is used.
 *
 * Two guards against a bad measurement: an observation counts for at most four times what was
 * expected, and the rows at most double from one mixed step to the next.
 */
#include "sched/pace.h"

#define DECODE_WEIGHT 0.2 /* of the newest observation */
#define ROW_WEIGHT 0.3
#define SURPRISE_MAX 4.0

void pace_init(pace *p, uint64_t target_ns) { *p = (pace){.target_ns = target_ns}; }

static uint32_t size_of(uint32_t n_decode) {
    uint32_t i = 0;
    while (i + 1 < PACE_SIZES && (2u << i) <= n_decode) {
        i++;
    }
    return i;
}

/* Time of decode rows alone, of the nearest size that was measured; 0 without any. */
static double decode_ns(const pace *p, uint32_t n_decode) {
    const uint32_t at = size_of(n_decode);
    for (uint32_t d = 0; d < PACE_SIZES; d++) {
        if (at >= d && p->decode_ns[at - d] > 0) {
            return p->decode_ns[at - d];
        }
        if (at + d < PACE_SIZES && p->decode_ns[at + d] > 0) {
            return p->decode_ns[at + d];
        }
    }
    return 0;
}

uint32_t pace_rows(const pace *p, uint32_t n_decode, uint32_t room) {
    if (n_decode == 0) {
        return room;
    }
    const double base = decode_ns(p, n_decode);
    if ((base == 0 && p->target_ns == 0) || p->n_mixed >= PACE_REFRESH) {
        return 0;
    }
    const double target = p->target_ns != 0 ? (double)p->target_ns : PACE_STRETCH * base;
    const uint32_t floor = PACE_ROWS_MIN < room ? PACE_ROWS_MIN : room;
    double rows = p->row_ns > 0 ? (target - base) / p->row_ns : 0;
    if (p->rows_last > 0 && rows > 2.0 * p->rows_last) {
        rows = 2.0 * p->rows_last;
    }
    return rows <= floor ? floor : rows >= room ? room : (uint32_t)rows;
}

static void average(double *mean, double value, double weight) {
    if (*mean == 0) {
        *mean = value;
    } else {
        const double most = SURPRISE_MAX * *mean;
        *mean += weight * ((value < most ? value : most) - *mean);
    }
}

void pace_observe(pace *p, uint32_t n_decode, uint32_t n_prompt, uint64_t ns) {
    const double took = (double)ns + 1;
    if (n_prompt == 0) {
        average(&p->decode_ns[size_of(n_decode)], took, DECODE_WEIGHT);
        p->n_mixed = 0;
    } else if (n_decode == 0) {
        if (p->row_ns == 0) {
            p->row_ns = took / n_prompt; /* reads the weights as well: a cautious beginning */
        }
    } else {
        const double more = took - decode_ns(p, n_decode);
        average(&p->row_ns, (more > took / 100 ? more : took / 100) / n_prompt, ROW_WEIGHT);
        p->rows_last = n_prompt;
        p->n_mixed++;
    }
}
