/* linear_fixed_ref.c - the reference of F8_E4M3 weights with 9-bit activations (products.h), which
 * AVX2 and AVX-512 multiply as words.
 *
 * 512 times a code is a whole number of 18 bits, so that 32 products with 9 bits are summed exactly
 * in 32, whatever the order and however codes are cut. A NaN among the codes that share a scale
 * counts as 0 in sums and makes the scale NaN, and with it the output.
 */
#include <math.h>

#include "kernels/products.h"
#include "layout/slab.h"
#include "tensor/quant.h"

static uint8_t code_at(const slab_f8_e4m3 *slab, size_t row, size_t i) {
    return slab->codes[i / 4][slab_f8_e4m3_place(row, i)];
}

static bool is_nan(uint8_t code) { return (code & 0x7fu) == 0x7fu; }

/* The 32 products of block b; a NaN counts as 0. */
static int32_t dot_of(const slab_f8_e4m3 *slab, size_t row, size_t b, const int16_t *x) {
    int32_t dot = 0;
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        const uint8_t code = code_at(slab, row, b * ACT_BLOCK_LEN + l);
        dot += is_nan(code) ? 0 : (int32_t)(512.0f * quant_f8_e4m3_to_f32(code)) * x[l];
    }
    return dot;
}

static float scale_of(const slab_f8_e4m3 *slab, size_t row) {
    bool has_nan = false;
    for (size_t i = 0; i < PAIRS_BLOCK_LEN; i++) {
        has_nan = has_nan || is_nan(code_at(slab, row, i));
    }
    return has_nan ? NAN : slab->scale[row] * 0x1p-6f;
}

void linear_f8_e4m3_fixed_ref(float *y, size_t y_stride, const void *panel, const void *x,
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    for (size_t r = 0; r < m; r++) {
        const act_block_q16 *row = (const act_block_q16 *)((const uint8_t *)x + r * x_stride_bytes);
        for (size_t j = 0; j < n; j++) {
            const slab_f8_e4m3 *slab = panel;
            float sum = 0.0f;
            for (size_t b = 0; b < k / ACT_BLOCK_LEN; b++) {
                const size_t in_slab = b % (PAIRS_BLOCK_LEN / ACT_BLOCK_LEN);
                const slab_f8_e4m3 *at = slab + b * ACT_BLOCK_LEN / PAIRS_BLOCK_LEN;
                const float dot = (float)dot_of(at, j, in_slab, row[b].codes) * 0.125f;
                sum = fmaf(dot, scale_of(at, j) * row[b].scale, sum);
            }
            y[r * y_stride + j] = sum;
        }
    }
}
