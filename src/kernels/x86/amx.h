/* amx.h - what products by AMX share: the shape of tiles, and when they are given back.
 *
 * Tiles 0 and 1 hold rows of x, 16 each but where said; 2 and 3 weights, 4 bytes of columns x 16
 * outputs a row; 4 to 7 sums of as many rows x 16 outputs. A call sets the shape up and releases
 * it: a thread that is switched away between calls then has no tiles to save, and no other code
 * pays for them.
 */
#ifndef WEFT_KERNELS_X86_AMX_H
#define WEFT_KERNELS_X86_AMX_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AMX_ROWS 16u /* of x in a tile, at most */

typedef struct amx_shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shape;

/* What was stored before is in memory when a tile is loaded after: gcc does not know that tile
 * instructions read it. */
static inline void amx_fence(void) { __asm__ volatile("" ::: "memory"); }

/* x: x_rows rows of x_row_bytes; weights: w_rows rows of 64 bytes. */
static inline void amx_begin_rows(uint8_t x_rows, uint8_t w_rows, uint16_t x_row_bytes) {
    amx_shape shape;
    memset(&shape, 0, sizeof(shape));
    shape.palette = 1;
    for (size_t t = 0; t < 8; t++) {
        shape.rows[t] = t == 2 || t == 3 ? w_rows : x_rows;
        shape.row_bytes[t] = t < 2 ? x_row_bytes : 64;
    }
    amx_fence();
    _tile_loadconfig(&shape);
}

static inline void amx_begin(uint8_t w_rows, uint16_t x_row_bytes) {
    amx_begin_rows(AMX_ROWS, w_rows, x_row_bytes);
}

static inline void amx_end(void) { _tile_release(); }

/* Asks for the next weights while the present ones are multiplied. */
static inline void amx_fetch(const uint8_t *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)from + i, _MM_HINT_T1);
    }
    amx_fence();
}

#endif /* WEFT_KERNELS_X86_AMX_H */
