/* weights_make.h - weights for checks of packing and products: file rows of any packed format.
 */
#ifndef WEFT_TESTS_WEIGHTS_MAKE_H
#define WEFT_TESTS_WEIGHTS_MAKE_H

#include "kcheck.h"

typedef enum weights_kind {
    WEIGHTS_RANDOM,  /* every code, moderate scales of both signs */
    WEIGHTS_HIGHEST, /* every code and scale field the largest, scales 1000 */
    WEIGHTS_LOWEST,  /* every code 0 (-128 for Q8_0), scale fields the most negative, scales 1000 */
    WEIGHTS_DENORMAL, /* random codes, scales 2^-24 */
    WEIGHTS_GAUSS,    /* F8_E4M3: codes as of normal values, few of them small; others: as RANDOM */
    WEIGHTS_KIND_COUNT
} weights_kind;

#define WEIGHTS_FORMATS 27
extern const weft_dtype weights_formats[WEIGHTS_FORMATS]; /* those that pack_is_supported */

/* Lengths of rows to try with a format, shortest first; the i-th of WEIGHTS_COLS. */
#define WEIGHTS_COLS 4
size_t weights_cols(weft_dtype dtype, size_t i);

/* What one more in the code of a column stands for, at most: the scale of its block, for formats
 * that products with ACT_Q12 know. */
double weights_step(weft_dtype dtype, const uint8_t *row, size_t col);

/* rows [n_rows][cols] without gaps. */
void weights_make(kcheck *kc, weft_dtype dtype, weights_kind kind, uint8_t *rows, size_t n_rows,
                  size_t cols);

#endif /* WEFT_TESTS_WEIGHTS_MAKE_H */
