/* linear_wide_neon.c - products of Q8_0 with 16-bit activations, and of F32, F16 and BF16.
 *
 * Q8_0: a register of codes is 4 rows of a pair of columns, widened to 16 bits and multiplied by a
 * broadcast pair of activations; 32-bit sums of single columns are exact (127 * 32767 * 16) and
 * are added by pairs at the end of a block.
 *
 * Floats: for each column 16 weights are brought to float32 and multiplied by one broadcast
 * activation of each row: one chain an output, in ascending columns.
 */
#include "kernels/arm/tile_neon.h"
#include "kernels/products.h"

/* ---- Q8_0 ---- */

/* rows is a constant, 1 or 2: 8 accumulators a row. */
NEON_INLINE void tile_q8_0(float *y, const slab_q8_0 *w, const uint8_t *x, size_t x_stride,
                           int rows) {
    int32x4_t low[2][4], high[2][4];
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < 4; q++) {
            low[r][q] = vdupq_n_s32(0);
            high[r][q] = vdupq_n_s32(0);
        }
    }
    for (int pair = 0; pair < 16; pair++) {
        for (int q = 0; q < 4; q++) {
            const int16x8_t codes = vmovl_s8(vld1_s8(w->codes[pair] + 8 * q));
            for (int r = 0; r < rows; r++) {
                int32_t two;
                memcpy(&two, x + r * x_stride + 4 * pair, sizeof two);
                const int16x8_t xs = vreinterpretq_s16_s32(vdupq_n_s32(two));
                low[r][q] = vmlal_s16(low[r][q], vget_low_s16(codes), vget_low_s16(xs));
                high[r][q] = vmlal_high_s16(high[r][q], codes, xs);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        const act_block_q16 *row = (const act_block_q16 *)(const void *)(x + r * x_stride);
        for (int q = 0; q < 4; q++) {
            const float32x4_t dot = vcvtq_f32_s32(vpaddq_s32(low[r][q], high[r][q]));
            const float32x4_t factor = vmulq_n_f32(neon_load_f16(w->d + 4 * q), row->scale);
            float *at = y + r * PACK_PANEL_ROWS + 4 * q;
            vst1q_f32(at, vfmaq_f32(vld1q_f32(at), dot, factor));
        }
    }
}

void linear_q8_0_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    float sums[2 * PACK_PANEL_ROWS];
    for (size_t row = 0; row < m; row += 2) {
        const size_t n_rows = m - row < 2 ? 1 : 2;
        memset(sums, 0, sizeof sums);
        const uint8_t *at = (const uint8_t *)x + row * x_stride_bytes;
        for (size_t b = 0; b < k / ACT_BLOCK_LEN; b++, at += sizeof(act_block_q16)) {
            const slab_q8_0 *slab = (const slab_q8_0 *)panel + b;
            if (n_rows == 2) {
                tile_q8_0(sums, slab, at, x_stride_bytes, 2);
            } else {
                tile_q8_0(sums, slab, at, x_stride_bytes, 1);
            }
        }
        neon_copy_out(y + row * y_stride, y_stride, sums, n_rows, n);
    }
}

/* ---- floats ---- */

NEON_INLINE float32x4_t weights(weft_dtype dtype, const uint8_t *column, int q) {
    if (dtype == WEFT_DTYPE_F32) {
        return vld1q_f32((const float *)(const void *)column + 4 * q);
    }
    const uint16_t *halves = (const uint16_t *)(const void *)column + 4 * q;
    if (dtype == WEFT_DTYPE_F16) {
        return neon_load_f16(halves);
    }
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(halves), 16));
}

/* rows is a constant, 1 or 4. */
NEON_INLINE void tile_float(weft_dtype dtype, float *y, const uint8_t *panel, const uint8_t *x,
                            size_t x_stride, size_t k, int rows) {
    const size_t column_bytes = dtype == WEFT_DTYPE_F32 ? 64 : 32;
    float32x4_t acc[4][4];
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < 4; q++) {
            acc[r][q] = vdupq_n_f32(0.0f);
        }
    }
    for (size_t i = 0; i < k; i++, panel += column_bytes) {
        for (int q = 0; q < 4; q++) {
            const float32x4_t w = weights(dtype, panel, q);
            for (int r = 0; r < rows; r++) {
                const float *row = (const float *)(const void *)(x + r * x_stride);
                acc[r][q] = vfmaq_n_f32(acc[r][q], w, row[i]);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < 4; q++) {
            vst1q_f32(y + r * PACK_PANEL_ROWS + 4 * q, acc[r][q]);
        }
    }
}

NEON_INLINE void run_float(weft_dtype dtype, float *y, size_t y_stride, const void *panel,
                           const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    float sums[4 * PACK_PANEL_ROWS];
    size_t row = 0;
    for (; row + 4 <= m; row += 4) {
        tile_float(dtype, sums, panel, x + row * x_stride, x_stride, k, 4);
        neon_copy_out(y + row * y_stride, y_stride, sums, 4, n);
    }
    for (; row < m; row++) {
        tile_float(dtype, sums, panel, x + row * x_stride, x_stride, k, 1);
        neon_copy_out(y + row * y_stride, y_stride, sums, 1, n);
    }
}

void linear_f32_neon(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    run_float(WEFT_DTYPE_F32, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_f16_neon(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    run_float(WEFT_DTYPE_F16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    run_float(WEFT_DTYPE_BF16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
