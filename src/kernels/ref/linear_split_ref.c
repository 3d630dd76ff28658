/* linear_split_ref.c - products of F32, F16 and BF16 weights with ACT_SPLIT, in plain C.
 *
 * The order is products.h's, which is that of a processor's tiles of bfloat16. Those know no
 * numbers below the smallest normal one: what they would read or leave there is zero.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "layout/pack.h"
#include "tensor/quant.h"

#define BLOCK ACT_BLOCK_LEN

static float normal_or_zero(float v) { return fabsf(v) < FLT_MIN ? copysignf(0.0f, v) : v; }

static float piece_value(uint16_t piece) { return normal_or_zero(quant_bf16_to_f32(piece)); }

static uint32_t bits_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

/* The bfloat16 nearest to v, ties to even. */
static uint16_t nearest(float v) {
    const uint32_t bits = bits_of(normal_or_zero(v));
    if (isnan(v)) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

void act_quantize_split_ref(void *act, const float *x, size_t k) {
    act_block_split *block = act;
    for (size_t i = 0; i < k; i += BLOCK, block++) {
        memset(block, 0, sizeof(*block));
        for (size_t l = 0; l < BLOCK && i + l < k; l++) {
            float rest = x[i + l];
            for (size_t piece = 0; piece < 3; piece++) {
                block->piece[piece][l] = nearest(rest);
                rest -= quant_bf16_to_f32(block->piece[piece][l]);
            }
        }
    }
}

static float weight_at(weft_dtype dtype, const void *panel, size_t col, size_t row) {
    const size_t at = col * PACK_PANEL_ROWS + row;
    switch (dtype) {
    case WEFT_DTYPE_F32: return ((const float *)panel)[at];
    case WEFT_DTYPE_F16: return quant_f16_to_f32(((const uint16_t *)panel)[at]);
    default: return quant_bf16_to_f32(((const uint16_t *)panel)[at]);
    }
}

/* A block of one output's weights into pieces: [piece][column]. */
static void split(uint16_t pieces[3][BLOCK], weft_dtype dtype, const void *panel, size_t col,
                  size_t k, size_t row) {
    for (size_t l = 0; l < BLOCK; l++) {
        float rest = col + l < k ? weight_at(dtype, panel, col + l, row) : 0.0f;
        for (size_t piece = 0; piece < 3; piece++) {
            pieces[piece][l] = (uint16_t)(bits_of(rest) >> 16);
            rest -= quant_bf16_to_f32(pieces[piece][l]);
        }
    }
}

/* y + x . w */
static float add_block(float y, const uint16_t x[BLOCK], const uint16_t w[BLOCK]) {
    float sums[2] = {0.0f, 0.0f};
    for (size_t l = 0; l < BLOCK; l++) {
        const float sum = fmaf(piece_value(x[l]), piece_value(w[l]), sums[l % 2]);
        sums[l % 2] = normal_or_zero(sum);
    }
    return normal_or_zero(y + normal_or_zero(sums[0] + sums[1]));
}

static float dot(weft_dtype dtype, size_t n_pieces, const void *panel, const act_block_split *x,
                 size_t k, size_t row) {
    static const struct {
        uint8_t sum, of_w, of_x;
    } products[] = {{0, 2, 0}, {0, 1, 1}, {0, 0, 0}, {1, 1, 0}, {1, 0, 1}, {1, 0, 2}};
    float y[2] = {0.0f, 0.0f};
    uint16_t w[3][BLOCK];
    for (size_t col = 0; col < k; col += BLOCK, x++) {
        split(w, dtype, panel, col, k, row);
        for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
            if (products[i].of_w < n_pieces) {
                float *sum = &y[products[i].sum];
                *sum = add_block(*sum, x->piece[products[i].of_x], w[products[i].of_w]);
            }
        }
    }
    return y[0] + y[1];
}

static void linear(weft_dtype dtype, size_t n_pieces, float *y, size_t y_stride, const void *panel,
                   const void *x, size_t x_stride, size_t m, size_t n, size_t k) {
    for (size_t r = 0; r < m; r++) {
        const void *row = (const uint8_t *)x + r * x_stride;
        for (size_t j = 0; j < n; j++) {
            y[r * y_stride + j] = dot(dtype, n_pieces, panel, row, k, j);
        }
    }
}

void linear_f32_split_ref(float *y, size_t y_stride, const void *panel, const void *x,
                          size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear(WEFT_DTYPE_F32, 3, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_f16_split_ref(float *y, size_t y_stride, const void *panel, const void *x,
                          size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear(WEFT_DTYPE_F16, 2, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_split_ref(float *y, size_t y_stride, const void *panel, const void *x,
                           size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear(WEFT_DTYPE_BF16, 1, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
