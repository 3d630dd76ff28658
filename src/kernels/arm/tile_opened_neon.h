/* tile_opened_neon.h - products of opened formats (kernels/opened.h), the same for all NEON levels.
 *
 *   for rows of x, OPENED_ROWS at a time            their sums y stay in a buffer
 *     for chunks of 256 columns of the panel
 *       open(chunk)                                 once for all these rows
 *       for tiles of rows x outputs
 *         for blocks of 32 columns                  y, or a chunk's sums, in registers
 *           dots(block or half)                     sums of integers, as the level makes them
 *
 * A quarter is 4 outputs: a register of codes is these times 4 columns. The float steps are those
 * of products.h in its order.
 */
#ifndef WEFT_KERNELS_ARM_TILE_OPENED_NEON_H
#define WEFT_KERNELS_ARM_TILE_OPENED_NEON_H

#include "kernels/arm/tile_neon.h"
#include "kernels/opened.h"

/* Of tiles; constants wherever they are passed. */
#define OPENED_TILE_ROWS 4
#define OPENED_TILE_QUARTERS 4

typedef int32x4_t opened_sums[OPENED_TILE_ROWS][OPENED_TILE_QUARTERS];

/* sums [rows][quarters] <- the codes from the tile's first quarter of a group on, times those of
 * rows of x, over n_halves * 16 columns. */
typedef void opened_dots_fn(int rows, int quarters, opened_kind kind, opened_sums sums,
                            const uint8_t *codes, const int8_t *x, size_t x_stride, int n_halves);

/* What the levels differ in. */
typedef struct opened_level {
    opened_dots_fn *dots;
    int quarters;                     /* of a tile of 4 rows, or of 2; one row takes all 4 */
    void (*arrange)(opened_chunk *c); /* codes as dots wants them, where those of slabs are not */
} opened_level;

NEON_INLINE const act_block_q8 *opened_row(const uint8_t *x, size_t x_stride, int r) {
    return (const act_block_q8 *)(const void *)(x + (size_t)r * x_stride);
}

/* dots <- block b, by halves' scales where they have them. */
NEON_INLINE void opened_block(opened_dots_fn *dots_of, int rows, int quarters, opened_kind kind,
                              float32x4_t dots[OPENED_TILE_ROWS][OPENED_TILE_QUARTERS],
                              const opened_chunk *c, size_t b, size_t from, const int8_t *x,
                              size_t x_stride) {
    const float *scale = c->half_scale[2 * b] + 4 * from;
    const uint8_t *codes = c->codes[b][0] + 16 * from;
    opened_sums sums;
    dots_of(rows, quarters, kind, sums, codes, x, x_stride, kind.has_halves ? 1 : 2);
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < quarters; q++) {
            const float32x4_t dot = vcvtq_f32_s32(sums[r][q]);
            dots[r][q] = kind.has_halves ? vmulq_f32(dot, vld1q_f32(scale + 4 * q)) : dot;
        }
    }
    if (kind.has_halves) {
        dots_of(rows, quarters, kind, sums, codes + 4 * 64, x + 16, x_stride, 1);
        for (int r = 0; r < rows; r++) {
            for (int q = 0; q < quarters; q++) {
                const float32x4_t second = vld1q_f32(scale + PACK_PANEL_ROWS + 4 * q);
                dots[r][q] = vfmaq_f32(dots[r][q], vcvtq_f32_s32(sums[r][q]), second);
            }
        }
    }
}

/* least + the minimums of halves times minus the sums of the activations. */
NEON_INLINE float32x4_t opened_add_mins(float32x4_t least, const opened_chunk *c, size_t b,
                                        size_t quarter, const act_block_q8 *x) {
    const int16x4_t first = vld2_s16(c->half_min[2 * b] + 8 * quarter).val[0];
    const int16x4_t second = vld2_s16(c->half_min[2 * b + 1] + 8 * quarter).val[0];
    const int16_t sum0 = (int16_t)act_neg_half(x, 0);
    const int16_t sum1 = (int16_t)act_neg_half(x, 1);
    const int32x4_t sums = vmlal_n_s16(vmull_n_s16(first, sum0), second, sum1);
    return vfmaq_n_f32(least, vcvtq_f32_s32(sums), x->scale);
}

/* y [rows][16] += x [rows] . chunk, outputs of `quarters` quarters from number `from` on. */
NEON_INLINE void opened_tile(opened_dots_fn *dots_of, int rows, int quarters, opened_kind kind,
                             float *y, const opened_chunk *c, size_t from, const uint8_t *x,
                             size_t x_stride) {
    float32x4_t v[OPENED_TILE_ROWS][OPENED_TILE_QUARTERS];
    float32x4_t dots[OPENED_TILE_ROWS][OPENED_TILE_QUARTERS];
    float32x4_t least[OPENED_TILE_ROWS][OPENED_TILE_QUARTERS];
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < quarters; q++) {
            least[r][q] = vdupq_n_f32(0.0f);
            v[r][q] = kind.is_summed ? least[r][q] : vld1q_f32(y + 16 * r + 4 * (from + (size_t)q));
        }
    }
    for (size_t b = 0; b < c->n_blocks; b++, x += sizeof(act_block_q8)) {
        opened_block(dots_of, rows, quarters, kind, dots, c, b, from,
                     opened_row(x, x_stride, 0)->codes, x_stride);
        for (int q = 0; q < quarters; q++) {
            const float32x4_t scale = vld1q_f32(c->scale[b] + 4 * (from + (size_t)q));
            for (int r = 0; r < rows; r++) {
                const act_block_q8 *row = opened_row(x, x_stride, r);
                v[r][q] = opened_scales_blocks(&kind)
                              ? vfmaq_f32(v[r][q], dots[r][q], vmulq_n_f32(scale, row->scale))
                              : vfmaq_n_f32(v[r][q], dots[r][q], row->scale);
                if (kind.has_min) {
                    least[r][q] = opened_add_mins(least[r][q], c, b, from + (size_t)q, row);
                }
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < quarters; q++) {
            const size_t at = 4 * (from + (size_t)q);
            float *to = y + 16 * r + at;
            if (kind.is_summed) {
                v[r][q] = vfmaq_f32(vld1q_f32(to), v[r][q], vld1q_f32(c->scale[0] + at));
            }
            if (kind.has_min) {
                v[r][q] = vfmaq_f32(v[r][q], least[r][q], vld1q_f32(c->half_min_scale + at));
            }
            vst1q_f32(to, v[r][q]);
        }
    }
}

/* All outputs of as many rows as a tile of at most n_rows has; returns these. */
NEON_INLINE size_t opened_some_rows(opened_level level, opened_kind kind, float *y,
                                    const opened_chunk *c, const uint8_t *x, size_t x_stride,
                                    size_t n_rows) {
    if (n_rows >= 4) {
        for (size_t from = 0; from < 4; from += (size_t)level.quarters) {
            opened_tile(level.dots, 4, level.quarters, kind, y, c, from, x, x_stride);
        }
        return 4;
    }
    if (n_rows >= 2) {
        for (size_t from = 0; from < 4; from += (size_t)level.quarters) {
            opened_tile(level.dots, 2, level.quarters, kind, y, c, from, x, x_stride);
        }
        return 2;
    }
    opened_tile(level.dots, 1, 4, kind, y, c, 0, x, x_stride);
    return 1;
}

NEON_INLINE void opened_run(opened_level level, opened_kind kind, opened_open_fn *open, float *y,
                            size_t y_stride, const uint8_t *panel, const uint8_t *x,
                            size_t x_stride, size_t m, size_t n, size_t k) {
    float sums[OPENED_ROWS * PACK_PANEL_ROWS];
    opened_chunk c;
    c.middle = 0;
    for (size_t row = 0; row < m; row += OPENED_ROWS) {
        const size_t n_rows = m - row < OPENED_ROWS ? m - row : OPENED_ROWS;
        const uint8_t *slab = panel, *x_chunk = x + row * x_stride;
        memset(sums, 0, n_rows * PACK_PANEL_ROWS * sizeof *sums);
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            open(&c, slab);
            if (level.arrange != NULL) {
                level.arrange(&c);
            }
            for (size_t r = 0; r < n_rows;) {
                r += opened_some_rows(level, kind, sums + r * PACK_PANEL_ROWS, &c,
                                      x_chunk + r * x_stride, x_stride, n_rows - r);
            }
            slab += kind.chunk_bytes;
            x_chunk += OPENED_BLOCKS * sizeof(act_block_q8);
        }
        neon_copy_out(y + row * y_stride, y_stride, sums, n_rows, n);
    }
}

#endif /* WEFT_KERNELS_ARM_TILE_OPENED_NEON_H */
