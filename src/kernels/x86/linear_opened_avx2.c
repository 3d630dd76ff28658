/* linear_opened_avx2.c - products of the opened formats (kernels/opened.h).
 *
 * Chunks of 256 columns are opened once for all rows of x, then tiles read bytes of codes from the
 * first-level cache. Three tiles, by what 16 bits hold of sums of products:
 *
 *   narrow  all of a block's, or of a half's (tile_narrow_avx2.h)
 *   parts   six or four products (tile_parts_avx2.h)
 *   wide    two (tile_wide_avx2.h)
 *
 * Few rows are multiplied as weights are opened: bits (linear_bits_avx2.c), what is looked up in a
 * list (linear_lists_avx2.c); a single row of digits (linear_bits_avx2.c) and of points of a
 * codebook (linear_one_grids_avx2.c) too.
 */
#include <string.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/linear_few_avx2.h"
#include "kernels/x86/tile_avx2.h"
#include "kernels/x86/tile_narrow_avx2.h"
#include "kernels/x86/tile_parts_avx2.h"
#include "kernels/x86/tile_wide_avx2.h"

/* What multiplies up to so many rows as weights are opened. */
typedef struct linear_few {
    linear_few_fn *fn;
    size_t rows_max;
} linear_few;

static const linear_few few_of[WEFT_DTYPE_COUNT] = {
#define X(NAME, name, rows) [WEFT_DTYPE_##NAME] = {linear_few_##name##_avx2, rows},
    LINEAR_FEW_AVX2_LIST(X)
#undef X
};

/* What tiles read besides an opened chunk, made of it once for all rows. */
typedef union tile_more {
    half_pairs narrow;
    parts_chunk parts;
    wide_chunk wide;
} tile_more;

TILE_INLINE size_t tile_rows(opened_kind kind) {
    return kind.width == OPENED_NARROW ? TILE_ROWS
           : kind.width == OPENED_WIDE ? WIDE_ROWS
                                       : PARTS_ROWS;
}

TILE_INLINE void tile_make_more(opened_kind kind, tile_more *more, opened_chunk *c, size_t rows) {
    if (kind.width == OPENED_WIDE && wide_is_masked(rows)) {
        wide_make(&more->wide, c);
    } else if (kind.width == OPENED_SIX || kind.width == OPENED_FOUR) {
        parts_make(&more->parts, kind, c);
    } else if (kind.width == OPENED_NARROW && kind.has_halves && narrow_is_whole(kind)) {
        half_pairs_make(&more->narrow, c);
    }
}

TILE_INLINE void tile_of(int rows, opened_kind kind, int is_masked, float *y, const opened_chunk *c,
                         const tile_more *more, const uint8_t *x, size_t x_stride, tile_stream s) {
    switch (kind.width) {
    case OPENED_NARROW: narrow(rows, kind, y, c, &more->narrow, x, x_stride, s); return;
    case OPENED_SIX:
    case OPENED_FOUR: parts(rows, kind, y, c, &more->parts, x, x_stride, s); return;
    case OPENED_WIDE:
        if (is_masked) {
            wide(rows, kind, 1, y, c, &more->wide, x, x_stride, s);
        } else {
            wide(rows, kind, 0, y, c, &more->wide, x, x_stride, s);
        }
        return;
    }
}

/* A tile's rows, or the 1 to 5 that are left; a copy of the code for each number. */
TILE_INLINE void tile(size_t left, opened_kind kind, int is_masked, float *y, const opened_chunk *c,
                      const tile_more *more, const uint8_t *x, size_t x_stride, tile_stream s) {
    if (left == 1) {
        tile_of(1, kind, is_masked, y, c, more, x, x_stride, s);
    } else if (left == 2) {
        tile_of(2, kind, is_masked, y, c, more, x, x_stride, s);
    } else if (left == 3 || tile_rows(kind) == 3) {
        tile_of(3, kind, is_masked, y, c, more, x, x_stride, s);
    } else if (left == 4) {
        tile_of(4, kind, is_masked, y, c, more, x, x_stride, s);
    } else if (left == 5) {
        tile_of(5, kind, is_masked, y, c, more, x, x_stride, s);
    } else {
        tile_of(6, kind, is_masked, y, c, more, x, x_stride, s);
    }
}

TILE_INLINE void linear_opened(opened_kind kind, opened_open_fn *open, const linear_few *few,
                               float *y, size_t y_stride, const uint8_t *panel, const uint8_t *x,
                               size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[OPENED_ROWS * PACK_PANEL_ROWS];
    opened_chunk c;
    tile_more more;
    tile_summed summed;
    c.middle = kind.width == OPENED_NARROW ? opened_middle(&kind) : 0;
    for (size_t from = 0; from < m; from += OPENED_ROWS) {
        const size_t rows = m - from < OPENED_ROWS ? m - from : OPENED_ROWS;
        const uint8_t *slab = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        const size_t n_tiles = (rows - 1) / tile_rows(kind) + 1;
        const size_t fetch_bytes = (kind.chunk_bytes / OPENED_BLOCKS / n_tiles + 63) / 64 * 64;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            tile_stream ahead = {slab, fetch_bytes};
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            if (rows <= few->rows_max) {
                few->fn(rows, sums, slab, c.n_blocks, x_chunk, x_stride);
            } else {
                open(&c, slab);
                tile_make_more(kind, &more, &c, rows);
                for (size_t r = 0; r < rows; r += tile_rows(kind)) {
                    const size_t n_rows = rows - r < tile_rows(kind) ? rows - r : tile_rows(kind);
                    float *y_tile = sums + r * PACK_PANEL_ROWS;
                    if (kind.is_summed) {
                        tile_summed_start(kind, &summed, n_rows);
                    }
                    tile(n_rows, kind, wide_is_masked(rows), kind.is_summed ? summed.v[0] : y_tile,
                         &c, &more, x_chunk + r * x_stride, x_stride, ahead);
                    if (kind.is_summed) {
                        tile_summed_end(kind, y_tile, &summed, &c, n_rows);
                    }
                    ahead.at += OPENED_BLOCKS * ahead.bytes;
                }
            }
            slab += kind.chunk_bytes;
            x_chunk += OPENED_BLOCKS * sizeof(act_block_q8);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
}

#define X(NAME, name)                                                                          \
    void linear_##name##_avx2(float *y, size_t y_stride, const void *panel, const void *x,     \
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {           \
        linear_opened(opened_kind_##name, opened_##name##_avx2, &few_of[WEFT_DTYPE_##NAME], y, \
                      y_stride, panel, x, x_stride_bytes, m, n, k);                            \
    }
PACK_OPENED_LIST(X)
#undef X
