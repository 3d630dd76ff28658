/* linear_opened_neon.c - products of the opened formats, plain NEON.
 *
 * Shape: tile_opened_neon.h. Products of bytes have 16 bits, as their sums have over as many groups
 * as the format's values allow (kernels/opened.h), and over two neighbours among 4 columns: eight
 * groups of values up to 15, two up to 62, one up to 127, which is at most 2 * 127 * 127. Then
 * pairs are added to 32 bits. A tile is 4 rows of x and 4 outputs, a broadcast of x for two
 * multiplications; registers: 8 sums of 16 bits, 4 of 32, 4 y, 4 of
 * minimums, and 4 first halves.
 */
#include "kernels/arm/tile_opened_neon.h"
#include "kernels/products.h"

NEON_INLINE void dots(int rows, int quarters, opened_kind kind, opened_sums sums,
                      const uint8_t *codes, const int8_t *x, size_t x_stride, int n_halves) {
    const int n = 4 * n_halves;
    const int run = kind.width == OPENED_NARROW ? n : kind.width == OPENED_WIDE ? 1 : 2;
    for (int q = 0; q < quarters; q++) {
        for (int from = 0; from < n; from += run) {
            int16x8_t low[OPENED_TILE_ROWS], high[OPENED_TILE_ROWS];
            for (int g = from; g < from + run; g++) {
                const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(codes + 64 * g + 16 * q));
                for (int r = 0; r < rows; r++) {
                    const int8x16_t xs = neon_broadcast4(x + (size_t)r * x_stride + 4 * g);
                    const int8x8_t w_low = vget_low_s8(w), x_low = vget_low_s8(xs);
                    low[r] = g == from ? vmull_s8(w_low, x_low) : vmlal_s8(low[r], w_low, x_low);
                    high[r] = g == from ? vmull_high_s8(w, xs) : vmlal_high_s8(high[r], w, xs);
                }
            }
            for (int r = 0; r < rows; r++) {
                const int16x8_t pairs = vpaddq_s16(low[r], high[r]);
                sums[r][q] = from == 0 ? vpaddlq_s16(pairs) : vpadalq_s16(sums[r][q], pairs);
            }
        }
    }
}

static const opened_level level = {.dots = dots, .quarters = 1};

#define X(NAME, name)                                                                      \
    void linear_##name##_neon(float *y, size_t y_stride, const void *panel, const void *x, \
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        opened_run(level, opened_kind_##name, opened_##name##_neon, y, y_stride, panel, x, \
                   x_stride_bytes, m, n, k);                                               \
    }
PACK_OPENED_LIST(X)
#undef X
