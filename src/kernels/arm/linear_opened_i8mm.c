/* linear_opened_i8mm.c - products of the opened formats where SMMLA is there.
 *
 * Shape: tile_opened_neon.h. SMMLA multiplies 2 rows x 8 columns by 8 columns x 2 rows. Two groups
 * of an opened chunk are zipped by words once for all rows of x: 8 columns of 2 rows of the panel;
 * two rows of x stand beside each other in a register. A pair of rows and 8 outputs are 4
 * accumulators of 2 x 2 sums, unzipped at the end of a block, or of half of one. A row that is left
 * over is a pair with itself.
 *
 * Per 256 columns, zipping takes 256 instructions beside loads and stores, and 4 rows 512 SMMLA and
 * 128 to unzip (256 where halves have scales) instead of 1,024 SDOT: fewer than ROWS_MIN rows take
 * SDOT.
 */
#include "kernels/arm/tile_opened_neon.h"
#include "kernels/products.h"

#define ROWS_MIN 8u

/* The quarters of two groups: rows 0 and 1 of 8 columns in place of the first, 2 and 3 of the
 * other. */
NEON_INLINE void arrange(opened_chunk *c) {
    for (size_t i = 0; i < c->n_blocks * 4 * 64; i += 16) {
        uint8_t *even = c->codes[i / 256][i / 64 % 4 * 2] + i % 64, *odd = even + 64;
        const uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(even));
        const uint32x4_t b = vreinterpretq_u32_u8(vld1q_u8(odd));
        vst1q_u8(even, vreinterpretq_u8_u32(vzip1q_u32(a, b)));
        vst1q_u8(odd, vreinterpretq_u8_u32(vzip2q_u32(a, b)));
    }
}

NEON_INLINE void dots(int rows, int quarters, opened_kind kind, opened_sums sums,
                      const uint8_t *codes, const int8_t *x, size_t x_stride, int n_halves) {
    (void)kind;
    int32x4_t low[OPENED_TILE_ROWS / 2][OPENED_TILE_QUARTERS];
    int32x4_t high[OPENED_TILE_ROWS / 2][OPENED_TILE_QUARTERS];
    for (int r = 0; r < rows; r += 2) {
        for (int q = 0; q < quarters; q++) {
            low[r / 2][q] = high[r / 2][q] = vdupq_n_s32(0);
        }
    }
    for (int p = 0; p < 2 * n_halves; p++, codes += 2 * 64) {
        for (int r = 0; r < rows; r += 2) {
            const int8_t *a = x + (size_t)r * x_stride + 8 * p, *b = rows == 1 ? a : a + x_stride;
            const int8x16_t xs = vcombine_s8(vld1_s8(a), vld1_s8(b));
            for (int q = 0; q < quarters; q++) {
                const int8x16_t w0 = vreinterpretq_s8_u8(vld1q_u8(codes + 16 * q));
                const int8x16_t w1 = vreinterpretq_s8_u8(vld1q_u8(codes + 64 + 16 * q));
                low[r / 2][q] = vmmlaq_s32(low[r / 2][q], w0, xs);
                high[r / 2][q] = vmmlaq_s32(high[r / 2][q], w1, xs);
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < quarters; q++) {
            const int32x4_t a = low[r / 2][q], b = high[r / 2][q];
            sums[r][q] = r % 2 == 0 ? vuzp1q_s32(a, b) : vuzp2q_s32(a, b);
        }
    }
}

static const opened_level level = {.dots = dots, .quarters = 2, .arrange = arrange};

#define X(NAME, name)                                                                      \
    void linear_##name##_i8mm(float *y, size_t y_stride, const void *panel, const void *x, \
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        if (m < ROWS_MIN) {                                                                \
            linear_##name##_dotprod(y, y_stride, panel, x, x_stride_bytes, m, n, k);       \
            return;                                                                        \
        }                                                                                  \
        opened_run(level, opened_kind_##name, opened_##name##_neon, y, y_stride, panel, x, \
                   x_stride_bytes, m, n, k);                                               \
    }
PACK_OPENED_LIST(X)
#undef X
