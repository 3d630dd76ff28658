/* pack.h - how weights lie in memory once they are packed for products. Pure arithmetic.
 *
 *   weight [rows][cols]  =  panel 0 | panel 1 | ...      PACK_PANEL_ROWS output rows each,
 *   panel                =  slab 0 | slab 1 | ...        all of cols, one sequential stream
 *
 * A slab holds one block depth (1 to 256 columns, by format) of all 16 rows, scales first;
 * layout/slab.h draws each. Missing rows of the last panel are zero blocks.
 * Packing moves bits and loses none: unpacking gives the file's own blocks back. A panel takes
 * exactly the bytes of its 16 rows, rounded up to PACK_ALIGN_BYTES.
 *
 * The planner and the cpu device both read sizes from here, so that they agree.
 */
#ifndef WEFT_LAYOUT_PACK_H
#define WEFT_LAYOUT_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"

/* Raised with every change of a packed form, or of the order in which a model's tensors lie: cached
 * files of another version are not looked at. */
#define PACK_LAYOUT_VERSION 1u

#define PACK_PANEL_ROWS 16u
#define PACK_ALIGN_BYTES 64u /* panels start on this border */

/* Formats whose products open 256 columns of a panel at a time into bytes and scales, the same for
 * all of them (kernels/opened.h), as X(NAME, name): bits of codes and ternary digits; points of
 * codebooks; and nibbles that stand for values of a list, which NVFP4's are too, but with scales of
 * 16 columns. */
#define PACK_LISTED_LIST(X) \
    X(IQ4_NL, iq4_nl)       \
    X(IQ4_XS, iq4_xs)       \
    X(MXFP4, mxfp4)
#define PACK_BITS_LIST(X) \
    X(Q2_K, q2_k)         \
    X(Q3_K, q3_k)         \
    X(TQ1_0, tq1_0)       \
    X(TQ2_0, tq2_0)
#define PACK_GRIDS_LIST(X) \
    X(IQ2_XXS, iq2_xxs)    \
    X(IQ2_XS, iq2_xs)      \
    X(IQ2_S, iq2_s)        \
    X(IQ3_XXS, iq3_xxs)    \
    X(IQ3_S, iq3_s)        \
    X(IQ1_S, iq1_s)        \
    X(IQ1_M, iq1_m)
#define PACK_OPENED_LIST(X) \
    PACK_BITS_LIST(X)       \
    PACK_GRIDS_LIST(X)      \
    PACK_LISTED_LIST(X)     \
    X(NVFP4, nvfp4)

/* True when products exist for the format (every other one is refused at load by name). */
bool pack_is_supported(weft_dtype dtype);

/* Bytes of one panel of `cols` columns (a multiple of the format's block_len), a multiple of
 * PACK_ALIGN_BYTES; and of a whole weight. 0 when not supported or when it would overflow. */
size_t pack_panel_bytes(weft_dtype dtype, uint64_t cols);
uint64_t pack_weight_bytes(weft_dtype dtype, uint64_t rows, uint64_t cols);

static inline uint64_t pack_panel_count(uint64_t rows) {
    return rows / PACK_PANEL_ROWS + (rows % PACK_PANEL_ROWS != 0);
}

#endif /* WEFT_LAYOUT_PACK_H */
