/* linear_pairs_neon.c - products of F8_E4M3 weights with bf16 activations, in float32.
 *
 * A code's bits, moved, are those of a half-precision number 256 times as small, denormals too;
 * from there the way to float32 is an instruction and a multiplication, both exact. A NaN becomes
 * 480, and the scale of its output NaN.
 *
 * For many rows a block of 128 columns is opened once, 8 KB that stay in the first-level cache.
 * Tiles are 4 rows by 8 outputs: even columns and odd ones are chains of two registers each, their
 * sums two more. A single row multiplies codes as they are opened. The order of additions is
 * products.h's.
 */
#include <math.h>

#include "kernels/arm/tile_neon.h"
#include "kernels/products.h"

#define TILE_ROWS 4

typedef struct float_block {
    WEFT_ALIGNED(64) float w[PAIRS_BLOCK_LEN][PACK_PANEL_ROWS];
    float scale[PACK_PANEL_ROWS];
} float_block;

/* Four columns of 4 rows: 16 codes, columns 0 and 1 of each row, then columns 2 and 3. */
NEON_INLINE void open16(float32x4_t columns[4], uint8x16_t codes) {
    const int16x8_t pairs = vreinterpretq_s16_u8(codes);
    const int16x8_t mask = vdupq_n_s16((int16_t)0xbf80); /* sign; exponent but for its upper bit */
    const int16x8_t even = vandq_s16(vshrq_n_s16(vshlq_n_s16(pairs, 8), 1), mask);
    const int16x8_t odd = vandq_s16(vshrq_n_s16(pairs, 1), mask);
    const float16x8_t evens = vreinterpretq_f16_s16(even), odds = vreinterpretq_f16_s16(odd);
    columns[0] = vmulq_n_f32(vcvt_f32_f16(vget_low_f16(evens)), 256.0f);
    columns[1] = vmulq_n_f32(vcvt_f32_f16(vget_low_f16(odds)), 256.0f);
    columns[2] = vmulq_n_f32(vcvt_high_f32_f16(evens), 256.0f);
    columns[3] = vmulq_n_f32(vcvt_high_f32_f16(odds), 256.0f);
}

/* The largest magnitude of a row's codes, in four places of 16 as open16 has them. */
NEON_INLINE uint8x16_t larger(uint8x16_t largest, uint8x16_t codes) {
    return vmaxq_u8(largest, vandq_u8(codes, vdupq_n_u8(0x7f)));
}

/* The scales of 4 rows, NaN where the largest magnitude is that of a NaN. */
NEON_INLINE float32x4_t scales(const float *scale, uint8x16_t largest) {
    const uint16x8_t is_nan = vreinterpretq_u16_u8(vceqq_u8(largest, vdupq_n_u8(0x7f)));
    const uint32x4_t rows = vmovl_u16(vorr_u16(vget_low_u16(is_nan), vget_high_u16(is_nan)));
    return vbslq_f32(vtstq_u32(rows, rows), vdupq_n_f32(NAN), vld1q_f32(scale));
}

static void open_block(float_block *block, const slab_f8_e4m3 *slab) {
    uint8x16_t largest[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
    for (size_t g = 0; g < PAIRS_BLOCK_LEN / 4; g++) {
        for (size_t q = 0; q < 4; q++) {
            const uint8x16_t codes = vld1q_u8(slab->codes[g] + 16 * q);
            float32x4_t columns[4];
            open16(columns, codes);
            largest[q] = larger(largest[q], codes);
            for (size_t c = 0; c < 4; c++) {
                vst1q_f32(block->w[4 * g + c] + 4 * q, columns[c]);
            }
        }
    }
    for (size_t q = 0; q < 4; q++) {
        vst1q_f32(block->scale + 4 * q, scales(slab->scale + 4 * q, largest[q]));
    }
}

/* x [rows][128] as float32. */
NEON_INLINE void open_x(float (*x)[PAIRS_BLOCK_LEN], const uint8_t *from, size_t stride, int rows) {
    for (int r = 0; r < rows; r++) {
        const uint16_t *row = (const uint16_t *)(const void *)(from + (size_t)r * stride);
        for (size_t i = 0; i < PAIRS_BLOCK_LEN; i += 4) {
            vst1q_f32(x[r] + i, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(row + i), 16)));
        }
    }
}

typedef struct chains {
    float32x4_t even, odd;
} chains;

NEON_INLINE chains zero_chains(void) { return (chains){vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)}; }

/* Four columns of 4 outputs times x [4]. */
NEON_INLINE void add_columns(chains *c, const float32x4_t w[4], float32x4_t x) {
    c->even = vfmaq_laneq_f32(c->even, w[0], x, 0);
    c->odd = vfmaq_laneq_f32(c->odd, w[1], x, 1);
    c->even = vfmaq_laneq_f32(c->even, w[2], x, 2);
    c->odd = vfmaq_laneq_f32(c->odd, w[3], x, 3);
}

NEON_INLINE float32x4_t add_chains(float32x4_t sum, chains c) {
    return vaddq_f32(sum, vaddq_f32(c.even, c.odd));
}

/* y [rows][16] += x [rows][128] . block, for 8 outputs from `first` on. */
NEON_INLINE void tile8(float *y, const float_block *block, size_t first,
                       float (*x)[PAIRS_BLOCK_LEN], int rows) {
    float32x4_t sum[TILE_ROWS][2];
    for (int r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = vdupq_n_f32(0.0f);
    }
    for (size_t at = 0; at < PAIRS_BLOCK_LEN; at += 32) {
        chains c[TILE_ROWS][2];
        for (int r = 0; r < rows; r++) {
            c[r][0] = c[r][1] = zero_chains();
        }
        for (size_t i = at; i < at + 32; i += 4) {
            for (size_t q = 0; q < 2; q++) {
                const float *from = block->w[i] + first + 4 * q;
                const float32x4_t w[4] = {vld1q_f32(from), vld1q_f32(from + 16),
                                          vld1q_f32(from + 32), vld1q_f32(from + 48)};
                for (int r = 0; r < rows; r++) {
                    add_columns(&c[r][q], w, vld1q_f32(x[r] + i));
                }
            }
        }
        for (int r = 0; r < rows; r++) {
            sum[r][0] = add_chains(sum[r][0], c[r][0]);
            sum[r][1] = add_chains(sum[r][1], c[r][1]);
        }
    }
    for (int r = 0; r < rows; r++) {
        for (size_t q = 0; q < 2; q++) {
            float *to = y + PACK_PANEL_ROWS * (size_t)r + first + 4 * q;
            const float32x4_t scale = vld1q_f32(block->scale + first + 4 * q);
            vst1q_f32(to, vfmaq_f32(vld1q_f32(to), sum[r][q], scale));
        }
    }
}

NEON_INLINE void tile(float *y, const float_block *block, const uint8_t *from, size_t stride,
                      int rows) {
    float x[TILE_ROWS][PAIRS_BLOCK_LEN];
    open_x(x, from, stride, rows);
    tile8(y, block, 0, x, rows);
    tile8(y, block, 8, x, rows);
}

static void tiles(float *y, const float_block *block, const uint8_t *x, size_t x_stride, size_t m) {
    for (; m >= TILE_ROWS; m -= TILE_ROWS) {
        tile(y, block, x, x_stride, TILE_ROWS);
        y += TILE_ROWS * PACK_PANEL_ROWS;
        x += TILE_ROWS * x_stride;
    }
    switch (m) {
    case 1: tile(y, block, x, x_stride, 1); break;
    case 2: tile(y, block, x, x_stride, 2); break;
    case 3: tile(y, block, x, x_stride, 3); break;
    default: break;
    }
}

/* y [16] += x [128] . slab */
static void one_row(float *y, const slab_f8_e4m3 *slab, const uint8_t *from) {
    float x[1][PAIRS_BLOCK_LEN];
    float32x4_t sum[4];
    uint8x16_t largest[4];
    open_x(x, from, 0, 1);
    for (size_t q = 0; q < 4; q++) {
        sum[q] = vdupq_n_f32(0.0f);
        largest[q] = vdupq_n_u8(0);
    }
    for (size_t at = 0; at < PAIRS_BLOCK_LEN; at += 32) {
        chains c[4] = {zero_chains(), zero_chains(), zero_chains(), zero_chains()};
        for (size_t i = at; i < at + 32; i += 4) {
            const float32x4_t xs = vld1q_f32(x[0] + i);
            for (size_t q = 0; q < 4; q++) {
                const uint8x16_t codes = vld1q_u8(slab->codes[i / 4] + 16 * q);
                float32x4_t w[4];
                open16(w, codes);
                largest[q] = larger(largest[q], codes);
                add_columns(&c[q], w, xs);
            }
        }
        for (size_t q = 0; q < 4; q++) {
            sum[q] = add_chains(sum[q], c[q]);
        }
    }
    for (size_t q = 0; q < 4; q++) {
        const float32x4_t scale = scales(slab->scale + 4 * q, largest[q]);
        vst1q_f32(y + 4 * q, vfmaq_f32(vld1q_f32(y + 4 * q), sum[q], scale));
    }
}

void linear_f8_e4m3_neon(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    float_block block;
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        const slab_f8_e4m3 *slab = panel;
        const uint8_t *at = (const uint8_t *)x + from * x_stride_bytes;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof *sums);
        for (size_t col = 0; col < k; col += PAIRS_BLOCK_LEN, slab++) {
            if (rows == 1) {
                one_row(sums, slab, at);
            } else {
                open_block(&block, slab);
                tiles(sums, &block, at, x_stride_bytes, rows);
            }
            at += PAIRS_BLOCK_LEN * sizeof(uint16_t);
        }
        neon_copy_out(y + from * y_stride, y_stride, sums, rows, n);
    }
}
