/* dist.h - ranks: several forwards of one model, each with its share of the weights, and what they
 * do together.
 *
 *   rank 0:  q k v of heads 0-5 ─► attention ─► half of o ─┐
 *                                                          ├─ dist_sum ─► both have o
 *   rank 1:  q k v of heads 6-8 ─► attention ─► half of o ─┘
 *
 * A rank is one struct of functions; the loopback kind (dist_loopback.c) puts all ranks into one
 * process, a thread each. A collective is entered by every rank, in the same order and with the
 * same shape, and returns when its result is there. Sums are added in ascending rank order, so
 * every rank has the same bits.
 *
 * Threads: one at a time for each rank. Errors: creation only.
 */
#ifndef WEFT_DIST_DIST_H
#define WEFT_DIST_DIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "layout/slice.h"

typedef struct dist dist;

typedef struct dist_ops {
    void (*sum)(dist *d, float *x, size_t stride, uint32_t n_rows, uint32_t n_cols);
    void (*destroy)(dist *d);
} dist_ops;

struct dist {
    const dist_ops *ops;
    slice_rank place;
};

/* Every rank's x [n_rows][n_cols], rows stride floats apart, becomes the sum of all of them. */
void dist_sum(dist *d, float *x, size_t stride, uint32_t n_rows, uint32_t n_cols);

/* Leaves; the other ranks must not enter a collective any more. Accepts NULL; clears *d. */
void dist_destroy(dist **d);

/* Makes out[0..size): ranks of this process. elements_max bounds n_rows * n_cols of a sum. */
weft_status dist_loopback_create(dist **out, uint32_t size, size_t elements_max,
                                 weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_DIST_DIST_H */
