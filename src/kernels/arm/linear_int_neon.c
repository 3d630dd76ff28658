/* linear_int_neon.c - products of 4- to 6-bit weights, plain NEON.
 *
 * Shape: tile_neon.h. A dot product of four is two widening multiplications (8 columns of 2 rows
 * each), whose neighbours are added to 16 bits, at most 2 * 32 * 127, and then onto 32.
 */
#include "kernels/arm/linear_int_neon.h"
#include "kernels/products.h"

NEON_INLINE int32x4_t dot4(int32x4_t acc, int8x16_t w, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    const int16x8_t high = vmull_high_s8(w, x);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
}

NEON_INLINE void tiles(neon_kind kind, float *y, const neon_block *w, const uint8_t *x,
                       size_t x_stride, size_t n_rows) {
    neon_tiles_dot(dot4, kind, y, w, x, x_stride, n_rows);
}

void linear_q4_0_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_1_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_0_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_1_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_k_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_k_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q6_k_neon(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q6_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
