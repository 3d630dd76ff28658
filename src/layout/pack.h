/* pack.h - how weights lie in memory once they are packed for products. Pure arithmetic.
 *
 *   weight [rows][cols]  =  panel 0 | panel 1 | ...      PACK_PANEL_ROWS output rows each,
 *   panel                =  slab 0 | slab 1 | ...        all of cols, one sequential stream
 *
 * A slab holds one block depth (1, 32 or 256 columns, by format) of all 16 rows, scales first;
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

#define PACK_PANEL_ROWS 16u
#define PACK_ALIGN_BYTES 64u /* panels start on this border */

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
