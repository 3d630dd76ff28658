/* linear_ref.c - the reference of products: one output at a time, in the order products.h states.
 *
 * A block of 32 weights of any format is first brought to one shape, weight_block: integer codes
 * with their middle taken out, a scale and a minimum. Then the dot product is integers, and each
 * block adds to its output with one or two fused multiply-adds. Nothing here is fast, except that
 * a block is decoded once for all rows of x.
 */
#include <math.h>
#include <string.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "layout/slab.h"
#include "tensor/quant.h"

#define BLOCK 32u

typedef struct weight_block {
    int codes[BLOCK];
    float scale;
    float min; /* 0 when the format has none */
} weight_block;

/* Block b (of 32 columns, counted from the panel's start) of one row. */
typedef void load_block_fn(weight_block *w, const void *panel, size_t b, size_t row);

static int low_at(const uint8_t low[4][64], size_t row, size_t l) {
    return (low[l / 8][4 * row + l % 4] >> (l / 4 % 2 * 4)) & 15;
}

static int high5_at(const uint8_t high[64], size_t row, size_t l) {
    return ((high[4 * row + l % 4] >> (l / 4)) & 1) << 4;
}

static int high6_at(const uint8_t high[2][64], size_t row, size_t l) {
    return ((high[l / 16][4 * row + l % 4] >> (l / 4 % 4 * 2)) & 3) << 4;
}

static void load_q4_0(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q4_0 *slab = (const slab_q4_0 *)panel + b;
    w->scale = quant_f16_to_f32(slab->d[row]);
    w->min = 0.0f;
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = low_at(slab->low, row, l) - 8;
    }
}

static void load_q4_1(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q4_1 *slab = (const slab_q4_1 *)panel + b;
    w->scale = quant_f16_to_f32(slab->d[row]);
    w->min = quant_f16_to_f32(slab->m[row]);
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = low_at(slab->low, row, l);
    }
}

static void load_q5_0(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q5_0 *slab = (const slab_q5_0 *)panel + b;
    w->scale = quant_f16_to_f32(slab->d[row]);
    w->min = 0.0f;
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = (low_at(slab->low, row, l) | high5_at(slab->high, row, l)) - 16;
    }
}

static void load_q5_1(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q5_1 *slab = (const slab_q5_1 *)panel + b;
    w->scale = quant_f16_to_f32(slab->d[row]);
    w->min = fmaf(16.0f, w->scale, quant_f16_to_f32(slab->m[row]));
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = (low_at(slab->low, row, l) | high5_at(slab->high, row, l)) - 16;
    }
}

static void load_q8_0(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q8_0 *slab = (const slab_q8_0 *)panel + b;
    w->scale = quant_f16_to_f32(slab->d[row]);
    w->min = 0.0f;
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = slab->codes[l / 2][2 * row + l % 2];
    }
}

/* The two 6-bit fields of block b (0..7). */
static void scale6(int *sc, int *mn, const uint8_t scales[12][16], size_t b, size_t row) {
    if (b < 4) {
        *sc = scales[b][row] & 63;
        *mn = scales[4 + b][row] & 63;
    } else {
        *sc = (scales[4 + b][row] & 15) | (scales[b - 4][row] >> 6) << 4;
        *mn = (scales[4 + b][row] >> 4) | (scales[b][row] >> 6) << 4;
    }
}

/* Scale and minus the minimum of block b (0..7) from the 6-bit fields. */
static void load_scale6(weight_block *w, const uint8_t scales[12][16], float d, float dmin,
                        size_t b, size_t row) {
    int sc, mn;
    scale6(&sc, &mn, scales, b, row);
    w->scale = d * (float)sc;
    w->min = -(dmin * (float)mn);
}

static void load_q4_k(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q4_k *slab = (const slab_q4_k *)panel + b / 8;
    load_scale6(w, slab->scales, quant_f16_to_f32(slab->d[row]), quant_f16_to_f32(slab->dmin[row]),
                b % 8, row);
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = low_at(slab->low[b % 8], row, l);
    }
}

static void load_q5_k(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q5_k *slab = (const slab_q5_k *)panel + b / 8;
    const slab_q5_k_block *block = &slab->blocks[b % 8];
    load_scale6(w, slab->scales, quant_f16_to_f32(slab->d[row]), quant_f16_to_f32(slab->dmin[row]),
                b % 8, row);
    w->min = fmaf(16.0f, w->scale, w->min);
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = (low_at(block->low, row, l) | high5_at(block->high, row, l)) - 16;
    }
}

static void load_q6_k(weight_block *w, const void *panel, size_t b, size_t row) {
    const slab_q6_k *slab = (const slab_q6_k *)panel + b / 8;
    const slab_q6_k_block *block = &slab->blocks[b % 8];
    w->scale = quant_f16_to_f32(slab->d[row]);
    w->min = 0.0f;
    for (size_t l = 0; l < BLOCK; l++) {
        const int code = (low_at(block->low, row, l) | high6_at(block->high, row, l)) - 32;
        w->codes[l] = code * slab->scales[2 * (b % 8) + l / 16][slab_q6_k_lane((unsigned)row)];
    }
}

static int32_t dot_block(const weight_block *w, const int8_t *x) {
    int32_t dot = 0;
    for (size_t l = 0; l < BLOCK; l++) {
        dot += w->codes[l] * x[l];
    }
    return dot;
}

static float add_block_q8(float y, const weight_block *w, const act_block_q8 *x, bool has_min) {
    y = fmaf((float)dot_block(w, x->codes), w->scale * x->scale, y);
    return has_min ? fmaf(w->min, x->sum, y) : y;
}

static float add_block_q16(float y, const weight_block *w, const act_block_q16 *x) {
    int32_t dot = 0;
    for (size_t l = 0; l < BLOCK; l++) {
        dot += w->codes[l] * x->codes[l];
    }
    return fmaf((float)dot, w->scale * x->scale, y);
}

/* ---- 256 activations to a scale, or to one and its steps ---- */

typedef struct long_block {
    int codes[8 * BLOCK]; /* as they multiply: unsigned, or less their middle */
    int scale[16];        /* of every 16 columns */
    int min[16];          /* zeros where there are none */
    float d, dmin;
    bool has_min;
    bool sums_halves; /* with ACT_STEPS they are added one by one */
} long_block;

typedef void load_long_fn(long_block *w, const void *panel, size_t s, size_t row);

static void load_long_scales6(long_block *w, const uint8_t scales[12][16], size_t row) {
    w->has_min = true;
    for (size_t b = 0; b < 8; b++) {
        scale6(&w->scale[2 * b], &w->min[2 * b], scales, b, row);
        w->scale[2 * b + 1] = w->scale[2 * b];
        w->min[2 * b + 1] = w->min[2 * b];
    }
}

static void load_long_q4_k(long_block *w, const void *panel, size_t s, size_t row) {
    const slab_q4_k *slab = (const slab_q4_k *)panel + s;
    w->d = quant_f16_to_f32(slab->d[row]);
    w->dmin = quant_f16_to_f32(slab->dmin[row]);
    load_long_scales6(w, slab->scales, row);
    for (size_t i = 0; i < 8 * BLOCK; i++) {
        w->codes[i] = low_at(slab->low[i / BLOCK], row, i % BLOCK);
    }
}

static void load_long_q5_k(long_block *w, const void *panel, size_t s, size_t row) {
    const slab_q5_k *slab = (const slab_q5_k *)panel + s;
    w->d = quant_f16_to_f32(slab->d[row]);
    w->dmin = quant_f16_to_f32(slab->dmin[row]);
    load_long_scales6(w, slab->scales, row);
    for (size_t i = 0; i < 8 * BLOCK; i++) {
        const slab_q5_k_block *block = &slab->blocks[i / BLOCK];
        w->codes[i] = low_at(block->low, row, i % BLOCK) | high5_at(block->high, row, i % BLOCK);
    }
}

static void load_long_q6_k(long_block *w, const void *panel, size_t s, size_t row) {
    const slab_q6_k *slab = (const slab_q6_k *)panel + s;
    w->d = quant_f16_to_f32(slab->d[row]);
    w->sums_halves = true;
    for (size_t i = 0; i < 16; i++) {
        w->scale[i] = slab->scales[i][slab_q6_k_lane((unsigned)row)];
    }
    for (size_t i = 0; i < 8 * BLOCK; i++) {
        const slab_q6_k_block *block = &slab->blocks[i / BLOCK];
        const int code = low_at(block->low, row, i % BLOCK) | high6_at(block->high, row, i % BLOCK);
        w->codes[i] = code - 32;
    }
}

static void load_long_opened(long_block *w, const opened_kind *kind, opened_open_fn *open,
                             const uint8_t *panel, size_t s, size_t row) {
    opened_chunk c = {.n_blocks = OPENED_BLOCKS, .middle = opened_middle(kind)};
    open(&c, panel + s * kind->chunk_bytes);
    w->d = c.d[row];
    w->has_min = kind->has_min;
    w->sums_halves = opened_sums_halves(kind);
    w->dmin = kind->has_min ? c.half_min_scale[row] : 0.0f;
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        w->scale[h] = kind->has_scales ? c.whole[kind->has_halves ? h : h / 2][row] : 1;
        w->min[h] = kind->has_min ? c.half_min[h][2 * row] : 0;
    }
    for (size_t i = 0; i < OPENED_COLS; i++) {
        w->codes[i] = c.codes[i / BLOCK][i % BLOCK / 4][4 * row + i % 4] - c.middle;
    }
}

#define X(NAME, name)                                                                      \
    static void load_long_##name(long_block *w, const void *panel, size_t s, size_t row) { \
        load_long_opened(w, &opened_kind_##name, opened_##name##_ref, panel, s, row);      \
    }
PRODUCTS_LONG_OPENED_LIST(X)
X(IQ4_XS, iq4_xs)
#undef X

/* y + 256 columns of a row of x */
typedef float add_long_fn(float y, const long_block *w, const void *x);

static float add_block_long(float y, const long_block *w, const void *block) {
    const act_block_q8_256 *x = block;
    int32_t dots = 0, mins = 0;
    for (size_t i = 0; i < 8 * BLOCK; i++) {
        dots += w->scale[i / 16] * w->codes[i] * x->codes[i];
        mins += w->min[i / 16] * x->codes[i];
    }
    y = fmaf((float)dots, w->d * x->scale, y);
    return w->has_min ? fmaf((float)mins, -w->dmin * x->scale, y) : y;
}

static float add_block_steps(float y, const long_block *w, const void *block) {
    const act_block_steps *x = block;
    float sum = 0.0f;
    int32_t mins = 0;
    for (size_t b = 0; b < 8; b++) {
        int32_t dots[2] = {0, 0};
        for (size_t l = 0; l < BLOCK; l++) {
            dots[l / 16] +=
                w->scale[2 * b + l / 16] * w->codes[b * BLOCK + l] * x->steps[b].codes[l];
        }
        const float factor = act_step_factor(&x->steps[b]);
        sum += (float)(w->sums_halves ? dots[0] : dots[0] + dots[1]) * factor;
        sum += w->sums_halves ? (float)dots[1] * factor : 0.0f;
        mins += w->min[2 * b] * x->sums16[2 * b] + w->min[2 * b + 1] * x->sums16[2 * b + 1];
    }
    sum *= w->d;
    sum = w->has_min ? fmaf((float)mins, w->dmin * -0.125f, sum) : sum;
    return fmaf(sum, x->scale, y);
}

static void linear_long(load_long_fn *load, add_long_fn *add, act_form form, float *y,
                        size_t y_stride, const void *panel, const uint8_t *x, size_t x_stride_bytes,
                        size_t m, size_t n, size_t k) {
    long_block w = {0};
    for (size_t j = 0; j < n; j++) {
        for (size_t r = 0; r < m; r++) {
            y[r * y_stride + j] = 0.0f;
        }
        for (size_t s = 0; s < k / ACT_LONG_LEN; s++) {
            load(&w, panel, s, j);
            for (size_t r = 0; r < m; r++) {
                const uint8_t *block = x + r * x_stride_bytes + s * act_block_bytes(form);
                y[r * y_stride + j] = add(y[r * y_stride + j], &w, block);
            }
        }
    }
}

#define LINEAR_LONG(name, way, form)                                                              \
    void linear_##name##_##way##_ref(float *y, size_t y_stride, const void *panel, const void *x, \
                                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        linear_long(load_long_##name, add_block_##way, form, y, y_stride, panel, x,               \
                    x_stride_bytes, m, n, k);                                                     \
    }
#define X(NAME, name) LINEAR_LONG(name, long, ACT_Q8_256)
PRODUCTS_LONG_LIST(X)
#undef X
#define X(NAME, name) LINEAR_LONG(name, steps, ACT_STEPS)
PRODUCTS_STEPS_LIST(X)
#undef X

static void clear(float *y, size_t y_stride, size_t m, size_t n) {
    for (size_t r = 0; r < m; r++) {
        for (size_t j = 0; j < n; j++) {
            y[r * y_stride + j] = 0.0f;
        }
    }
}

/* y + 256 columns whose blocks have the same scale. */
static float add_summed(float y, const weight_block w[8], const act_block_q8 *x) {
    float sum = 0.0f;
    for (size_t b = 0; b < 8; b++) {
        sum = fmaf((float)dot_block(&w[b], x[b].codes), x[b].scale, sum);
    }
    return fmaf(sum, w->scale, y);
}

static void linear_q8(load_block_fn *load, bool has_min, float *y, size_t y_stride,
                      const void *panel, const uint8_t *x, size_t x_stride_bytes, size_t m,
                      size_t n, size_t k) {
    weight_block w;
    clear(y, y_stride, m, n);
    for (size_t j = 0; j < n; j++) {
        for (size_t b = 0; b < k / BLOCK; b++) {
            load(&w, panel, b, j);
            for (size_t r = 0; r < m; r++) {
                const act_block_q8 *row = (const act_block_q8 *)(x + r * x_stride_bytes);
                y[r * y_stride + j] = add_block_q8(y[r * y_stride + j], &w, row + b, has_min);
            }
        }
    }
}

/* ---- 12-bit activations, 256 to a scale (products.h) ---- */

/* Formats that linear products share with all opened ones. */
static void load_opened(weight_block *w, const opened_kind *kind, opened_open_fn *open,
                        const uint8_t *panel, size_t b, size_t row) {
    opened_chunk c = {.n_blocks = b % OPENED_BLOCKS + 1, .middle = opened_middle(kind)};
    open(&c, panel + b / OPENED_BLOCKS * kind->chunk_bytes);
    w->scale = c.scale[b % OPENED_BLOCKS][row];
    w->min = 0.0f;
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] = c.codes[b % OPENED_BLOCKS][l / 4][4 * row + l % 4] - c.middle;
    }
}

#define X(NAME, name)                                                                   \
    static void load_##name(weight_block *w, const void *panel, size_t b, size_t row) { \
        load_opened(w, &opened_kind_##name, opened_##name##_ref, panel, b, row);        \
    }
X(IQ4_NL, iq4_nl)
X(MXFP4, mxfp4)
#undef X

/* Q5_1 as products with 12-bit activations take it: the middle stays in, as in Q4_1. */
static void load_q5_1_whole(weight_block *w, const void *panel, size_t b, size_t row) {
    load_q5_1(w, panel, b, row);
    w->min = quant_f16_to_f32(((const slab_q5_1 *)panel + b)->m[row]);
    for (size_t l = 0; l < BLOCK; l++) {
        w->codes[l] += 16;
    }
}

typedef struct twelve_form {
    load_block_fn *load;
    int log2_step; /* s */
    bool has_min;
} twelve_form;

static int32_t dot_twelve(const twelve_form *form, const weight_block *w, const int8_t codes[64]) {
    int32_t dot = 0;
    for (size_t l = 0; l < BLOCK; l++) {
        const int8_t *code = &codes[l / 16 * 32 + l % 16];
        const int u = w->codes[l] * (1 << form->log2_step);
        dot += u * code[0] + (u >> 4) * code[16];
    }
    return dot;
}

/* What the upper 16 bits are alone: a bfloat16. */
static float upper_half(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return quant_bf16_to_f32((uint16_t)(bits >> 16));
}

/* sums [2] += a block's minimum, in two pieces, times the two pieces of x's sum */
static void add_min(float sums[2], float min, const uint16_t x_sums[4]) {
    const float first = upper_half(min), pieces[2] = {first, min - first};
    for (size_t i = 0; i < 4; i++) {
        sums[i % 2] = fmaf(quant_bf16_to_f32(x_sums[i]), pieces[i / 2], sums[i % 2]);
    }
}

/* y += 256 columns of a row, or those that are left */
static float add_twelve(float y, const twelve_form *form, const weight_block *w, size_t n_blocks,
                        const act_block_q12 *x) {
    float sum = 0.0f, mins[2] = {0.0f, 0.0f};
    for (size_t b = 0; b < n_blocks; b++) {
        const float scale = w[b].scale * (float)(16 >> form->log2_step);
        sum = fmaf((float)dot_twelve(form, &w[b], x->codes[b]), scale, sum);
        add_min(mins, w[b].min, x->sums[b]);
    }
    return fmaf(form->has_min ? sum + (mins[0] + mins[1]) : sum, x->scale, y);
}

static void linear_twelve(twelve_form form, float *y, size_t y_stride, const void *panel,
                          const uint8_t *x, size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    const size_t n_blocks = k / BLOCK;
    weight_block w[8];
    clear(y, y_stride, m, n);
    for (size_t j = 0; j < n; j++) {
        for (size_t from = 0; from < n_blocks; from += 8) {
            const size_t count = n_blocks - from < 8 ? n_blocks - from : 8;
            for (size_t b = 0; b < count; b++) {
                form.load(&w[b], panel, from + b, j);
            }
            for (size_t r = 0; r < m; r++) {
                float *out = &y[r * y_stride + j];
                act_block_q12 block;
                act_group_get(&block, x + act_group_first(r) * x_stride_bytes, act_group_rows(r, m),
                              r % ACT_GROUP_ROWS, from / 8);
                *out = add_twelve(*out, &form, w, count, &block);
            }
        }
    }
}

#define LINEAR_TWELVE(name, load, log2_step, has_min)                                            \
    void linear_##name##_twelve_ref(float *y, size_t y_stride, const void *panel, const void *x, \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        linear_twelve((twelve_form){load, log2_step, has_min}, y, y_stride, panel, x,            \
                      x_stride_bytes, m, n, k);                                                  \
    }
LINEAR_TWELVE(q4_0, load_q4_0, 4, false)
LINEAR_TWELVE(q4_1, load_q4_1, 4, true)
LINEAR_TWELVE(q5_0, load_q5_0, 3, false)
LINEAR_TWELVE(q5_1, load_q5_1_whole, 3, true)
LINEAR_TWELVE(q8_0, load_q8_0, 0, false)
LINEAR_TWELVE(iq4_nl, load_iq4_nl, 0, false)
LINEAR_TWELVE(mxfp4, load_mxfp4, 3, false)

void linear_q8_0_bytes_ref(float *y, size_t y_stride, const void *panel, const void *x,
                           size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q8_0, false, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q8_0_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    weight_block w;
    clear(y, y_stride, m, n);
    for (size_t j = 0; j < n; j++) {
        for (size_t b = 0; b < k / BLOCK; b++) {
            load_q8_0(&w, panel, b, j);
            for (size_t r = 0; r < m; r++) {
                const uint8_t *row = (const uint8_t *)x + r * x_stride_bytes;
                y[r * y_stride + j] =
                    add_block_q16(y[r * y_stride + j], &w, (const act_block_q16 *)row + b);
            }
        }
    }
}

typedef float weight_at_fn(const void *panel, size_t index);

static float weight_f32(const void *panel, size_t index) { return ((const float *)panel)[index]; }

static float weight_f16(const void *panel, size_t index) {
    return quant_f16_to_f32(((const uint16_t *)panel)[index]);
}

static float weight_bf16(const void *panel, size_t index) {
    return quant_bf16_to_f32(((const uint16_t *)panel)[index]);
}

static void linear_float(weight_at_fn *weight_at, float *y, size_t y_stride, const void *panel,
                         const uint8_t *x, size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    clear(y, y_stride, m, n);
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < n; j++) {
            const float w = weight_at(panel, i * PACK_PANEL_ROWS + j);
            for (size_t r = 0; r < m; r++) {
                const float *row = (const float *)(x + r * x_stride_bytes);
                y[r * y_stride + j] = fmaf(row[i], w, y[r * y_stride + j]);
            }
        }
    }
}

void linear_f32_ref(float *y, size_t y_stride, const void *panel, const void *x,
                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(weight_f32, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_f16_ref(float *y, size_t y_stride, const void *panel, const void *x,
                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(weight_f16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(weight_bf16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_0_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q4_0, false, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_1_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q4_1, true, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_0_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q5_0, false, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_1_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q5_1, true, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q4_k_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q4_k, true, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q5_k_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_q8(load_q5_k, true, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_q6_k_ref(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    weight_block w[8];
    clear(y, y_stride, m, n);
    for (size_t j = 0; j < n; j++) {
        for (size_t from = 0; from < k / BLOCK; from += 8) {
            for (size_t b = 0; b < 8; b++) {
                load_q6_k(&w[b], panel, from + b, j);
            }
            for (size_t r = 0; r < m; r++) {
                const uint8_t *row = (const uint8_t *)x + r * x_stride_bytes;
                float *out = &y[r * y_stride + j];
                *out = add_summed(*out, w, (const act_block_q8 *)row + from);
            }
        }
    }
}
