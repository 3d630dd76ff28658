/* dist.c - what every kind of rank has in common: nothing is done where there is nobody else.
 */
#include "dist/dist.h"

#include "base/check.h"

void dist_sum(dist *d, float *x, size_t stride, uint32_t n_rows, uint32_t n_cols) {
    WEFT_ASSERT(stride >= n_cols);
    if (!slice_is_alone(d->place)) {
        d->ops->sum(d, x, stride, n_rows, n_cols);
    }
}

void dist_destroy(dist **d) {
    if (*d != NULL) {
        (*d)->ops->destroy(*d);
        *d = NULL;
    }
}
