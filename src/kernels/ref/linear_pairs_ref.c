/* linear_pairs_ref.c - the reference of products of bf16 pairs (products.h): F8_E4M3 weights, and
 * BF16 weights whose activations are bf16 too.
 *
 * The order is that of the instruction that multiplies tiles of bf16 (TDPBF16PS in Intel's manual):
 * 32 columns at a time, the even ones in one chain and the odd ones in another, both from zero.
 * Four such sums make a block of 128 columns, which is scaled as a whole. Like the instruction it
 * takes denormal numbers for zeros; F8_E4M3 has none in bf16, and activations come without.
 *
 * The functions named chain are in the order of VDPBF16PS, which adds a pair to one sum, its second
 * column first.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "layout/slab.h"
#include "tensor/quant.h"

typedef struct pair_block {
    float w[PAIRS_BLOCK_LEN];
    float scale;
} pair_block;

/* Block b of one row; k is the number of columns, and there are zeros beyond. */
typedef void load_pairs_fn(pair_block *w, const void *panel, size_t b, size_t row, size_t k);

static float flushed(float f) { return fabsf(f) < 0x1p-126f ? copysignf(0.0f, f) : f; }

/* A NaN among the codes makes every sum NaN; it is the scale that carries it. */
static void load_f8_e4m3(pair_block *w, const void *panel, size_t b, size_t row, size_t k) {
    const slab_f8_e4m3 *slab = (const slab_f8_e4m3 *)panel + b;
    (void)k;
    w->scale = slab->scale[row];
    for (size_t i = 0; i < PAIRS_BLOCK_LEN; i++) {
        const uint8_t code = slab->codes[i / 4][slab_f8_e4m3_place(row, i)];
        const bool is_nan = (code & 0x7fu) == 0x7fu;
        w->scale = is_nan ? NAN : w->scale;
        w->w[i] = is_nan ? 0.0f : quant_f8_e4m3_to_f32(code);
    }
}

static void load_bf16(pair_block *w, const void *panel, size_t b, size_t row, size_t k) {
    const uint16_t *columns = panel;
    w->scale = 1.0f;
    for (size_t i = 0; i < PAIRS_BLOCK_LEN; i++) {
        const size_t col = b * PAIRS_BLOCK_LEN + i;
        const uint16_t bits = col < k ? columns[col * PACK_PANEL_ROWS + row] : 0;
        w->w[i] = flushed(quant_bf16_to_f32(bits));
    }
}

static float add_block(float y, const pair_block *w, const uint16_t *x, size_t n) {
    float sum = 0.0f;
    for (size_t from = 0; from < PAIRS_BLOCK_LEN; from += 32) {
        float chains[2] = {0.0f, 0.0f};
        for (size_t i = from; i < from + 32; i++) {
            const float xs = i < n ? quant_bf16_to_f32(x[i]) : 0.0f;
            chains[i % 2] = flushed(fmaf(xs, w->w[i], chains[i % 2]));
        }
        sum = flushed(sum + flushed(chains[0] + chains[1]));
    }
    return fmaf(sum, w->scale, y);
}

static void linear_pairs(load_pairs_fn *load, float *y, size_t y_stride, const void *panel,
                         const uint8_t *x, size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    pair_block w;
    for (size_t j = 0; j < n; j++) {
        for (size_t r = 0; r < m; r++) {
            y[r * y_stride + j] = 0.0f;
        }
        for (size_t b = 0; b * PAIRS_BLOCK_LEN < k; b++) {
            load(&w, panel, b, j, k);
            for (size_t r = 0; r < m; r++) {
                const uint16_t *row = (const uint16_t *)(x + r * x_stride_bytes);
                y[r * y_stride + j] = add_block(y[r * y_stride + j], &w, row + b * PAIRS_BLOCK_LEN,
                                                k - b * PAIRS_BLOCK_LEN);
            }
        }
    }
}

void linear_f8_e4m3_ref(float *y, size_t y_stride, const void *panel, const void *x,
                        size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_pairs(load_f8_e4m3, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_chain_ref(float *y, size_t y_stride, const void *panel, const void *x,
                           size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    const uint16_t *columns = panel;
    for (size_t r = 0; r < m; r++) {
        const uint16_t *row = (const uint16_t *)((const uint8_t *)x + r * x_stride_bytes);
        for (size_t j = 0; j < n; j++) {
            float sum = 0.0f;
            for (size_t i = 0; i < k; i++) {
                const size_t col = i % 2 != 0 ? i - 1 : i + 1 < k ? i + 1 : i;
                const float w = quant_bf16_to_f32(columns[col * PACK_PANEL_ROWS + j]);
                sum = flushed(fmaf(quant_bf16_to_f32(row[col]), flushed(w), sum));
            }
            y[r * y_stride + j] = sum;
        }
    }
}

void linear_f8_e4m3_chain_ref(float *y, size_t y_stride, const void *panel, const void *x,
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    pair_block w;
    for (size_t r = 0; r < m; r++) {
        const uint16_t *row = (const uint16_t *)((const uint8_t *)x + r * x_stride_bytes);
        for (size_t j = 0; j < n; j++) {
            float sum = 0.0f;
            for (size_t b = 0; b * PAIRS_BLOCK_LEN < k; b++) {
                const uint16_t *xs = row + b * PAIRS_BLOCK_LEN;
                float chains[2] = {0.0f, 0.0f};
                load_f8_e4m3(&w, panel, b, j, k);
                for (size_t i = 0; i < PAIRS_BLOCK_LEN; i++) {
                    const size_t col = i ^ 1;
                    float *chain = &chains[i / 2 % 2];
                    *chain = flushed(fmaf(quant_bf16_to_f32(xs[col]), w.w[col], *chain));
                }
                sum = fmaf(chains[0] + chains[1], w.scale, sum);
            }
            y[r * y_stride + j] = sum;
        }
    }
}

void linear_bf16_pairs_ref(float *y, size_t y_stride, const void *panel, const void *x,
                           size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_pairs(load_bf16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
