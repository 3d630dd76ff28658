/* linear_avx2.c - the loop around the tiles (tile_avx2.h).
 *
 * y is gathered in a buffer of its own, [row][16] without gaps, because rows of the caller's y
 * are often a power of two apart and would fall into one set of the cache. It is written out once
 * at the end, only the n outputs that exist.
 */
#include <string.h>

#include "kernels/x86/tile_avx2.h"

#define RUN_ROWS ACT_CHUNK_ROWS

/* Of m rows left, those of the next tile. 7 to 9 become two of about the same size: one to three
 * rows use what they unpack badly (7 %). */
static size_t rows_of_tile(size_t m, int is_expanded) {
    if (m > TILE_ROWS && m < TILE_ROWS + 4 && !is_expanded) {
        return (m + 1) / 2;
    }
    return m < TILE_ROWS ? m : TILE_ROWS;
}

/* Tiles of an expanded chunk share the lines that a chunk to come has, share_bytes each; others ask
 * as they go. */
static void run_chunk(const tile_format *f, tile_chunk *c, float *sums, const uint8_t *x,
                      size_t x_stride, size_t m, size_t share_bytes) {
    const int is_expanded = f->expand != NULL && m >= f->expand_rows_min;
    if (is_expanded) {
        f->expand(c);
    }
    c->ahead = c->panel;
    c->ahead_bytes = share_bytes;
    while (m > 0) {
        const size_t rows = rows_of_tile(m, is_expanded);
        (is_expanded ? f->expanded : f->tile)(rows, sums, c, x, x_stride);
        c->ahead += share_bytes;
        sums += rows * PACK_PANEL_ROWS;
        x += rows * x_stride;
        m -= rows;
    }
}

void linear_run_avx2(const tile_format *f, float *y, size_t y_stride, const void *panel,
                     const void *x, size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[RUN_ROWS * PACK_PANEL_ROWS];
    tile_chunk c;
    for (size_t from = 0; from < m; from += RUN_ROWS) {
        const size_t rows = m - from < RUN_ROWS ? m - from : RUN_ROWS;
        const uint8_t *slabs = panel;
        const uint8_t *x_chunk = (const uint8_t *)x + from * x_stride_bytes;
        const size_t share_bytes = (f->chunk_bytes * TILE_ROWS / rows + 63) / 64 * 64;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += TILE_COLS) {
            c.n_cols = k - col < TILE_COLS ? k - col : TILE_COLS;
            f->open(&c, slabs);
            run_chunk(f, &c, sums, x_chunk, x_stride_bytes, rows, share_bytes);
            slabs += f->chunk_bytes;
            x_chunk += f->x_chunk_bytes;
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
}
