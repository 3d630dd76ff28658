/* linear_int_dotprod.c - products of 4- to 6-bit weights where SDOT is there.
 *
 * Shape: tile_neon.h. Four rows of x and 16 outputs are 16 accumulators; each group of 4 columns
 * is 4 loads of codes and 4 broadcasts for 16 instructions of 16 multiply-adds.
 */
#include "kernels/arm/linear_int_neon.h"
#include "kernels/products.h"

NEON_INLINE int32x4_t dot4(int32x4_t acc, int8x16_t w, int8x16_t x) { return vdotq_s32(acc, w, x); }

NEON_INLINE void tiles(neon_kind kind, float *y, const neon_block *w, const uint8_t *x,
                       size_t x_stride, size_t n_rows) {
    neon_tiles_dot(dot4, kind, y, w, x, x_stride, n_rows);
}

void linear_q4_0_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_1_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_0_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_1_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_k_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q4_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_k_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q5_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q6_k_dotprod(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    neon_run(tiles, neon_q6_k, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
