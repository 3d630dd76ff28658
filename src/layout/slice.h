/* slice.h - who of several ranks owns which part of a row of equal units. Pure.
 *
 *   n = 20, unit = 4, 2 ranks:   [ 0 .. 12 )  [ 12 .. 20 )
 *
 * A part begins and ends between units (a head, a quantisation block), so that nothing that belongs
 * together is cut. Parts follow each other in rank order, cover everything, and differ by one unit
 * at most; the lower ranks have the larger ones.
 */
#ifndef WEFT_LAYOUT_SLICE_H
#define WEFT_LAYOUT_SLICE_H

#include <stdbool.h>
#include <stdint.h>

#define SLICE_RANKS_MAX 1024u

/* One rank's place among `size`. */
typedef struct slice_rank {
    uint32_t rank, size; /* rank < size; a size of 0 means the same as 1: alone */
} slice_rank;

static inline bool slice_is_alone(slice_rank r) { return r.size <= 1; }

typedef struct slice {
    uint32_t from, count;
} slice;

/* The rank's part of [0, n). unit divides n. The count is 0 where there are fewer units than
 * ranks. */
slice slice_of(uint32_t n, uint32_t unit, slice_rank r);

#endif /* WEFT_LAYOUT_SLICE_H */
