/* slice.c - the one division by which shards are cut (slice.h).
 */
#include "layout/slice.h"

#include "base/check.h"

slice slice_of(uint32_t n, uint32_t unit, slice_rank r) {
    WEFT_ASSERT(unit > 0);
    WEFT_ASSERT(n % unit == 0);
    if (slice_is_alone(r)) {
        return (slice){0, n};
    }
    WEFT_ASSERT(r.rank < r.size);
    const uint32_t n_units = n / unit;
    const uint32_t each = n_units / r.size;
    const uint32_t left = n_units % r.size; /* the first `left` ranks have one more */
    const uint32_t before = r.rank < left ? r.rank : left;
    return (slice){(r.rank * each + before) * unit, (each + (r.rank < left)) * unit};
}
