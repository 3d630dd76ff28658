/* linear_opened_dotprod.c - products of the opened formats where SDOT is there.
 *
 * Shape: tile_opened_neon.h. 16 activations of a row are one register, of which each SDOT takes a
 * lane: nothing is broadcast. A tile is 4 rows of x and 8 outputs, two loads of codes for 8
 * instructions of 16 multiply-adds; registers: 8 sums, 8 y, 8 first halves, 4 of x.
 */
#include "kernels/arm/tile_opened_neon.h"
#include "kernels/products.h"

/* A macro, because the lane is an immediate. */
#define ADD_GROUP(g)                                                                  \
    for (int q = 0; q < quarters; q++) {                                              \
        const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(codes + 64 * (g) + 16 * q)); \
        for (int r = 0; r < rows; r++) {                                              \
            sums[r][q] = vdotq_laneq_s32(sums[r][q], w, xs[r], g);                    \
        }                                                                             \
    }

NEON_INLINE void dots(int rows, int quarters, opened_kind kind, opened_sums sums,
                      const uint8_t *codes, const int8_t *x, size_t x_stride, int n_halves) {
    (void)kind;
    for (int r = 0; r < rows; r++) {
        for (int q = 0; q < quarters; q++) {
            sums[r][q] = vdupq_n_s32(0);
        }
    }
    for (int h = 0; h < n_halves; h++, codes += 4 * 64) {
        int8x16_t xs[OPENED_TILE_ROWS];
        for (int r = 0; r < rows; r++) {
            xs[r] = vld1q_s8(x + (size_t)r * x_stride + 16 * h);
        }
        ADD_GROUP(0)
        ADD_GROUP(1)
        ADD_GROUP(2)
        ADD_GROUP(3)
    }
}

static const opened_level level = {.dots = dots, .quarters = 2};

#define X(NAME, name)                                                                         \
    void linear_##name##_dotprod(float *y, size_t y_stride, const void *panel, const void *x, \
                                 size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        opened_run(level, opened_kind_##name, opened_##name##_neon, y, y_stride, panel, x,    \
                   x_stride_bytes, m, n, k);                                                  \
    }
PACK_OPENED_LIST(X)
#undef X
