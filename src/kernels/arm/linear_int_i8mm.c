/* linear_int_i8mm.c - products of 4- to 6-bit weights where SMMLA is there.
 *
 * Shape: tile_neon.h. SMMLA multiplies 2 rows x 8 columns by 8 columns x 2 rows. Two groups of 4
 * columns, zipped by words, are 8 columns of 2 rows of the panel; two rows of x stand beside each
 * other in a register. A pair of rows and 16 outputs are 8 accumulators of 2 x 2 sums, which are
 * unzipped at the end of a block (for Q6_K, of half of one). A row that is left over takes SDOT.
 */
#include "kernels/arm/linear_int_neon.h"
#include "kernels/products.h"

NEON_INLINE int32x4_t dot4(int32x4_t acc, int8x16_t w, int8x16_t x) { return vdotq_s32(acc, w, x); }

/* Groups 4 * half .. + 3 of a block: a and b [4] <- sums of 16 outputs for two rows. */
NEON_INLINE void half_block(int32x4_t a[4], int32x4_t b[4], const neon_block *w,
                            const act_block_q8 *row_a, const act_block_q8 *row_b, int half) {
    int32x4_t acc[8];
    for (int i = 0; i < 8; i++) {
        acc[i] = vdupq_n_s32(0);
    }
    for (int g = 4 * half; g < 4 * half + 4; g += 2) {
        const int8x16_t xs =
            vcombine_s8(vld1_s8(row_a->codes + 4 * g), vld1_s8(row_b->codes + 4 * g));
        for (int q = 0; q < 4; q++) {
            const int32x4_t even = vreinterpretq_s32_s8(vld1q_s8(w->codes[g] + 16 * q));
            const int32x4_t odd = vreinterpretq_s32_s8(vld1q_s8(w->codes[g + 1] + 16 * q));
            const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(even, odd));
            const int8x16_t high = vreinterpretq_s8_s32(vzip2q_s32(even, odd));
            acc[2 * q] = vmmlaq_s32(acc[2 * q], low, xs);
            acc[2 * q + 1] = vmmlaq_s32(acc[2 * q + 1], high, xs);
        }
    }
    for (int q = 0; q < 4; q++) {
        a[q] = vuzp1q_s32(acc[2 * q], acc[2 * q + 1]);
        b[q] = vuzp2q_s32(acc[2 * q], acc[2 * q + 1]);
    }
}

NEON_INLINE void tile_pair(neon_kind kind, float *y, const neon_block *w, const uint8_t *x,
                           size_t x_stride) {
    const act_block_q8 *row_a = (const act_block_q8 *)(const void *)x;
    const act_block_q8 *row_b = (const act_block_q8 *)(const void *)(x + x_stride);
    int32x4_t a[2][4], b[2][4];
    half_block(a[0], b[0], w, row_a, row_b, 0);
    half_block(a[1], b[1], w, row_a, row_b, 1);
    for (int q = 0; q < 4; q++) {
        if (kind.has_halves) {
            const int32x4_t s0 = vld1q_s32(w->half_scale[0] + 4 * q);
            const int32x4_t s1 = vld1q_s32(w->half_scale[1] + 4 * q);
            a[0][q] = vmlaq_s32(vmulq_s32(a[0][q], s0), a[1][q], s1);
            b[0][q] = vmlaq_s32(vmulq_s32(b[0][q], s0), b[1][q], s1);
        } else {
            a[0][q] = vaddq_s32(a[0][q], a[1][q]);
            b[0][q] = vaddq_s32(b[0][q], b[1][q]);
        }
    }
    neon_add_block(kind, y, a[0], w, row_a);
    neon_add_block(kind, y + PACK_PANEL_ROWS, b[0], w, row_b);
}

NEON_INLINE void tiles(neon_kind kind, float *y, const neon_block *w, const uint8_t *x,
                       size_t x_stride, size_t n_rows) {
    size_t r = 0;
    for (; r + 2 <= n_rows; r += 2) {
        tile_pair(kind, y + r * PACK_PANEL_ROWS, w, x + r * x_stride, x_stride);
    }
    if (r < n_rows) {
        neon_tile_dot(dot4, kind, y + r * PACK_PANEL_ROWS, w, x + r * x_stride, x_stride, 1);
    }
}

void linear_q4_0_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_1_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_0_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_1_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_k_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_k_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q6_k_i8mm(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q6_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
