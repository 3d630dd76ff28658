/* linear_int_neon.h - the loop around the tiles of tile_neon.h, and the formats that go through it;
 * the same for all NEON levels.
 *
 *   for rows of x, TILE_CHUNK_ROWS at a time          their sums y stay in a 6 KB buffer
 *     for blocks of 32 columns of the panel
 *       open(block), tiles(y, block, x)               where is_summed into another buffer,
 *                                                     which times d is added every 8 blocks
 */
#ifndef WEFT_KERNELS_ARM_LINEAR_INT_NEON_H
#define WEFT_KERNELS_ARM_LINEAR_INT_NEON_H

#include "kernels/arm/tile_neon.h"

/* y [n_rows][16] += summed * d */
NEON_INLINE void neon_add_summed(float *y, const float *summed, const neon_block *w,
                                 size_t n_rows) {
    for (size_t i = 0; i < n_rows * PACK_PANEL_ROWS; i += 4) {
        const float32x4_t d = vld1q_f32(w->scale + i % PACK_PANEL_ROWS);
        vst1q_f32(y + i, vfmaq_f32(vld1q_f32(y + i), vld1q_f32(summed + i), d));
    }
}

NEON_INLINE void neon_run(neon_tile_fn *tile, neon_kind kind, float *y, size_t y_stride,
                          const void *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                          size_t k) {
    float sums[TILE_CHUNK_ROWS * PACK_PANEL_ROWS], summed[TILE_CHUNK_ROWS * PACK_PANEL_ROWS];
    for (size_t row = 0; row < m; row += TILE_CHUNK_ROWS) {
        const size_t n_rows = m - row < TILE_CHUNK_ROWS ? m - row : TILE_CHUNK_ROWS;
        memset(sums, 0, n_rows * PACK_PANEL_ROWS * sizeof *sums);
        for (size_t b = 0; b < k / ACT_BLOCK_LEN; b++) {
            neon_block w;
            kind.open(&w, panel, b);
            if (kind.is_summed && b % 8 == 0) {
                memset(summed, 0, n_rows * PACK_PANEL_ROWS * sizeof *summed);
            }
            tile(kind, kind.is_summed ? summed : sums, &w,
                 x + row * x_stride + b * sizeof(act_block_q8), x_stride, n_rows);
            if (kind.is_summed && b % 8 == 7) {
                neon_add_summed(sums, summed, &w, n_rows);
            }
        }
        neon_copy_out(y + row * y_stride, y_stride, sums, n_rows, n);
    }
}

static const neon_kind neon_q4_0 = {.open = neon_open_q4_0};
static const neon_kind neon_q4_1 = {.open = neon_open_q4_1, .has_min = true};
static const neon_kind neon_q5_0 = {.open = neon_open_q5_0};
static const neon_kind neon_q5_1 = {.open = neon_open_q5_1, .has_min = true};
static const neon_kind neon_q4_k = {.open = neon_open_q4_k, .has_min = true};
static const neon_kind neon_q5_k = {.open = neon_open_q5_k, .has_min = true};
static const neon_kind neon_q6_k = {.open = neon_open_q6_k, .has_halves = true, .is_summed = true};

#endif /* WEFT_KERNELS_ARM_LINEAR_INT_NEON_H */
