/* check_linear.c - products of packed weights.
 *
 * Two promises. The value: against the sum in double of dequantised weights times dequantised
 * activations, as a reduction; terms takes the largest weight of each block for all of it, because
 * a block's scale and minimum may be larger than what they leave. The bits (products.h): those of
 * plain C computing the row alone, whatever the number of rows and the instruction set.
 */
#include <math.h>
#include <string.h>

#include "kcheck.h"
#include "kernels/opened.h"
#include "kernels/products.h"
#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/tensor.h"
#include "weights_make.h"

static void dequantize_act(act_form form, double *out, const void *act, size_t k) {
    for (size_t i = 0; i < k; i++) {
        const size_t b = i / ACT_BLOCK_LEN, l = i % ACT_BLOCK_LEN;
        if (form == ACT_Q8) {
            const act_block_q8 *block = (const act_block_q8 *)act + b;
            out[i] = (double)block->codes[l] * (double)block->scale;
        } else if (form == ACT_Q8_256) {
            const act_block_q8_256 *block = (const act_block_q8_256 *)act + i / ACT_LONG_LEN;
            out[i] = (double)block->codes[i % ACT_LONG_LEN] * (double)block->scale;
        } else if (form == ACT_STEPS) {
            const act_block_steps *block = (const act_block_steps *)act + i / ACT_LONG_LEN;
            const act_step *step = &block->steps[b % 8];
            out[i] = (double)step->codes[l] * (double)(block->scale * act_step_factor(step));
        } else if (form == ACT_Q12) {
            const act_block_q12 *block = (const act_block_q12 *)act + i / ACT_LONG_LEN;
            const int8_t *code = &block->codes[b % 8][l / 16 * 32 + l % 16];
            out[i] = (16.0 * code[0] + code[16]) * (double)block->scale;
        } else if (form == ACT_Q16 || form == ACT_Q9) {
            const act_block_q16 *block = (const act_block_q16 *)act + b;
            out[i] = (double)block->codes[l] * (double)block->scale;
        } else if (form == ACT_BF16) {
            out[i] = (double)quant_bf16_to_f32(((const uint16_t *)act)[i]);
        } else if (form == ACT_SPLIT) {
            const act_block_split *block = (const act_block_split *)act + b;
            out[i] = 0.0;
            for (size_t piece = 0; piece < 3; piece++) {
                out[i] += (double)quant_bf16_to_f32(block->piece[piece][l]);
            }
        } else {
            out[i] = (double)((const float *)act)[i];
        }
    }
}

static void want_dot(double *want, double *terms, const float *w, const double *x, size_t k) {
    *want = 0.0;
    *terms = 0.0;
    for (size_t from = 0; from < k; from += ACT_BLOCK_LEN) {
        double largest = 0.0, total = 0.0;
        for (size_t i = from; i < k && i < from + ACT_BLOCK_LEN; i++) {
            *want += (double)w[i] * x[i];
            largest = fmax(largest, fabs((double)w[i]));
            total += fabs(x[i]);
        }
        *terms += largest * total;
    }
}

/* What products with ACT_Q12 leave out: of codes of more than 4 bits a fraction (1/2 of 5 bits, 15/16
 * of 8) of a sixteenth of the weight, times b. */
static double lost_low(weft_dtype dtype, const uint8_t *row, const act_block_q12 *x, size_t k) {
    const bool is_five =
        dtype == WEFT_DTYPE_Q5_0 || dtype == WEFT_DTYPE_Q5_1 || dtype == WEFT_DTYPE_MXFP4;
    const bool is_exact = dtype == WEFT_DTYPE_Q4_0 || dtype == WEFT_DTYPE_Q4_1;
    double lost = 0.0;
    for (size_t i = 0; i < k && !is_exact; i++) {
        const act_block_q12 *block = x + i / ACT_LONG_LEN;
        const int b = block->codes[i / ACT_BLOCK_LEN % 8][i % 32 / 16 * 32 + i % 16 + 16];
        const double scale = weights_step(dtype, row, i) * (double)block->scale;
        lost += fabs((double)b) * scale * (is_five ? 2.0 * 0.5 : 16.0 * 15.0 / 16.0);
    }
    return lost;
}

static void fill_group_row(const kernels_cpu *k, uint8_t *group, size_t n_rows, size_t row,
                           const float *x, size_t n) {
    for (size_t i = 0; i < n; i += ACT_LONG_LEN) {
        act_block_q12 block;
        k->act_quantize[ACT_Q12](&block, x + i, n - i < ACT_LONG_LEN ? n - i : ACT_LONG_LEN);
        act_group_put(group, n_rows, row, i / ACT_LONG_LEN, &block);
    }
}

/* Row r of m. */
static void put_row(const kernels_cpu *k, act_form form, uint8_t *x, size_t stride, size_t r,
                    size_t m, const float *values, size_t cols) {
    if (form == ACT_Q12) {
        fill_group_row(k, x + act_group_first(r) * stride, act_group_rows(r, m), r % ACT_GROUP_ROWS,
                       values, cols);
    } else {
        k->act_quantize[form](x + r * stride, values, cols);
    }
}

static void fill_x(kcheck *kc, const kernels_cpu *k, act_form form, uint8_t *x, size_t stride,
                   size_t m, size_t cols, kc_values kind) {
    float *values = kc_scratch(kc, cols * sizeof(float));
    for (size_t r = 0; r < m; r++) {
        kc_fill(kc, values, cols, kind);
        for (size_t i = 0; kind == KC_CONSTANT && i < cols; i++) {
            values[i] = r % 2 == 0 ? 1.0f : -1.0f; /* every code +-127 */
        }
        put_row(k, form, x, stride, r, m, values, cols);
    }
}

/* Row r of m with one value that is not finite: a NaN, or where records have scales or bfloat16, in
 * which it becomes one, an infinity. */
static void spoil_row(kcheck *kc, const kernels_cpu *k, act_form form, uint8_t *x, size_t stride,
                      size_t r, size_t m, size_t cols) {
    float *values = kc_scratch(kc, cols * sizeof(float));
    kc_fill(kc, values, cols, KC_GAUSS);
    values[7 * m % cols] = form == ACT_F32 || m % 2 == 0 ? NAN : -INFINITY;
    put_row(k, form, x, stride, r, m, values, cols);
}

/* record <- row r of m, as a group of its own. */
static const uint8_t *row_alone(act_form form, uint8_t *record, const uint8_t *x, size_t stride,
                                size_t r, size_t m) {
    if (form != ACT_Q12) {
        return x + r * stride;
    }
    act_block_q12 *block = (act_block_q12 *)record;
    for (size_t i = 0; i < stride / sizeof(*block); i++) {
        act_group_get(&block[i], x + act_group_first(r) * stride, act_group_rows(r, m),
                      r % ACT_GROUP_ROWS, i);
    }
    return record;
}

typedef struct linear_case {
    weft_dtype dtype;
    weights_kind weights;
    kc_values values;
    size_t m, n, cols;
    bool has_pairs;  /* linear_bf16_pairs instead of linear[BF16] */
    bool is_precise; /* linear_precise: two records a row */
    bool has_nan;    /* in the middle row of x */
} linear_case;

static linear_fn *const *slot_of(const kernels_cpu *k, const linear_case *c) {
    if (c->is_precise) {
        return &k->linear_precise[c->dtype];
    }
    return c->has_pairs ? &k->linear_bf16_pairs : &k->linear[c->dtype];
}

static act_form form_of(const kernels_cpu *k, const linear_case *c) {
    return c->has_pairs ? ACT_BF16 : k->act_form[c->dtype];
}

static uint32_t panels_of(const kernels_cpu *k, const linear_case *c) {
    return c->has_pairs ? 1 : k->linear_panels[c->dtype];
}

/* Roundings that a term goes through. */
static double n_roundings(const linear_case *c, act_form form, linear_fn *twin) {
    switch (form) {
    case ACT_F32:
    case ACT_SPLIT: return (double)c->cols;
    case ACT_BF16: /* a chain; or one of 64 or 16, its sum with the other, up to 4, then blocks */
        return twin == linear_bf16_chain_ref ? (double)c->cols
               : twin == linear_f8_e4m3_chain_ref
                   ? 64.0 + 1.0 + (double)(c->cols / PAIRS_BLOCK_LEN)
                   : 16.0 + 1.0 + 4.0 + (double)(c->cols / PAIRS_BLOCK_LEN);
    default: return (double)(c->cols / ACT_BLOCK_LEN);
    }
}

static linear_fn *steps_twin_of(weft_dtype dtype) {
    switch (dtype) {
#define X(NAME, name) \
    case WEFT_DTYPE_##NAME: return linear_##name##_steps_ref;
        PRODUCTS_STEPS_LIST(X)
#undef X
    default: return NULL;
    }
}

/* The plain C product that reads the level's form of x. */
static linear_fn *twin_of(const kernels_cpu *ref, const kernels_cpu *k, const linear_case *c,
                          act_form form) {
#if defined(__x86_64__)
    if (*slot_of(k, c) == linear_bf16_pairs_avx512bf16) {
        return linear_bf16_chain_ref;
    }
    if (*slot_of(k, c) == linear_f8_e4m3_fastbf16) {
        return linear_f8_e4m3_chain_ref;
    }
#endif
    if (form == form_of(ref, c)) {
        return *slot_of(ref, c);
    }
    if (form == ACT_Q8) {
        return linear_q8_0_bytes_ref;
    }
    if (form == ACT_Q9) {
        return linear_f8_e4m3_fixed_ref;
    }
    if (form == ACT_STEPS) {
        return steps_twin_of(c->dtype);
    }
    switch (c->dtype) {
#define X(NAME, name) \
    case WEFT_DTYPE_##NAME: return linear_##name##_twelve_ref;
        PRODUCTS_TWELVE_LIST(X)
#undef X
#define X(NAME, name) \
    case WEFT_DTYPE_##NAME: return linear_##name##_long_ref;
        PRODUCTS_LONG_LIST(X)
#undef X
#define X(NAME, name) \
    case WEFT_DTYPE_##NAME: return linear_##name##_split_ref;
        PRODUCTS_SPLIT_LIST(X)
#undef X
    default: return NULL;
    }
}

static void expect_nans(kcheck *kc, const float *y, size_t n) {
    for (size_t j = 0; j < n; j++) {
        if (!isnan(y[j])) {
            kc_fail(kc, "output %zu of the row with a NaN is %g", j, (double)y[j]);
        }
    }
}

static void check_one(kcheck *kc, const kernels_cpu *k, linear_case c) {
    if (!kc_func(kc, slot_of(k, &c), "linear_%s%s_m%zu_n%zu_k%zu_%d_%d%s",
                 weft_dtype_info_of(c.dtype)->name, c.has_pairs ? "_pairs" : "", c.m, c.n, c.cols,
                 c.weights, c.values, c.has_nan ? "_nan" : "")) {
        return;
    }
    const kernels_cpu *ref = kc_ref(kc);
    const act_form form = form_of(k, &c);
    linear_fn *twin = twin_of(ref, k, &c, form);
    const size_t row_bytes = dtype_row_bytes(c.dtype, c.cols);
    const size_t x_stride = act_row_bytes(form, c.cols), y_stride = c.n + 3;
    uint8_t *rows = kc_scratch(kc, c.n * row_bytes);
    const size_t n_panels = pack_panel_count(c.n), panel_bytes = pack_panel_bytes(c.dtype, c.cols);
    uint8_t *panel = kc_in(kc, n_panels * panel_bytes, PACK_ALIGN_BYTES);
    uint8_t *x = kc_in(kc, c.m * x_stride + (form == ACT_Q12 ? ACT_GROUP_SLACK : 0), 4);
    uint8_t *record = kc_scratch(kc, x_stride);
    float *y = kc_out_rows(kc, c.m, c.n * sizeof(float), y_stride * sizeof(float), 4);
    float *alone = kc_scratch(kc, c.n * sizeof(float));
    float *w = kc_scratch(kc, c.n * c.cols * sizeof(float));
    double *xs = kc_scratch(kc, c.cols * sizeof(double));
    double *want = kc_scratch(kc, c.n * sizeof(double)),
           *terms = kc_scratch(kc, c.n * sizeof(double));
    weights_make(kc, c.dtype, c.weights, rows, c.n, c.cols);
    for (size_t j = 0; j < c.n; j += PACK_PANEL_ROWS) {
        const size_t left = c.n - j < PACK_PANEL_ROWS ? c.n - j : PACK_PANEL_ROWS;
        ref->pack_panel[c.dtype](panel + j / PACK_PANEL_ROWS * panel_bytes, rows + j * row_bytes,
                                 row_bytes, left, c.cols);
    }
    fill_x(kc, ref, form, x, x_stride, c.m, c.cols, c.values);
    if (c.has_nan) {
        spoil_row(kc, ref, form, x, x_stride, c.m / 2, c.m, c.cols);
    }
    quant_dequantize(c.dtype, w, rows, c.n * c.cols);
    KC_CALL(kc, (*slot_of(k, &c))(y, y_stride, panel, x, x_stride, c.m, c.n, c.cols));
    for (size_t r = 0; r < c.m; r++) {
        if (c.has_nan && r == c.m / 2) {
            expect_nans(kc, y + r * y_stride, c.n);
            continue;
        }
        const uint8_t *row = row_alone(form, record, x, x_stride, r, c.m);
        for (size_t j = 0; j < c.n; j += PACK_PANEL_ROWS) {
            const size_t left = c.n - j < PACK_PANEL_ROWS ? c.n - j : PACK_PANEL_ROWS;
            twin(alone + j, left, panel + j / PACK_PANEL_ROWS * panel_bytes, row, x_stride, 1, left,
                 c.cols);
        }
        kc_bits(kc, alone, y + r * y_stride, c.n * sizeof(float));
        dequantize_act(form, xs, row, c.cols);
        /* A block adds with at most 4 roundings of what is at most twice its terms. */
        const double roundings = 8.0 + 2.0 * n_roundings(&c, form, twin);
        for (size_t j = 0; j < c.n; j++) {
            want_dot(&want[j], &terms[j], w + j * c.cols, xs, c.cols);
            if (form == ACT_Q12) {
                const double lost =
                    lost_low(c.dtype, rows + j * row_bytes, (const act_block_q12 *)row, c.cols);
                terms[j] += lost / (roundings * 0x1p-24);
            }
        }
        kc_sum(kc, want, terms, y + r * y_stride, c.n, roundings);
    }
}

/* One NaN among the codes: all of its output is NaN, and no other. */
static void check_nan(kcheck *kc, const kernels_cpu *k, size_t m) {
    const size_t cols = 384, output = m % 16, at = (7 * m) % cols;
    if (!kc_func(kc, &k->linear[WEFT_DTYPE_F8_E4M3], "linear_F8_E4M3_m%zu_nan", m)) {
        return;
    }
    const act_form form = k->act_form[WEFT_DTYPE_F8_E4M3];
    const size_t row_bytes = dtype_row_bytes(WEFT_DTYPE_F8_E4M3, cols);
    const size_t x_stride = act_row_bytes(form, cols);
    uint8_t *rows = kc_scratch(kc, 16 * row_bytes);
    uint8_t *panel = kc_in(kc, pack_panel_bytes(WEFT_DTYPE_F8_E4M3, cols), PACK_ALIGN_BYTES);
    uint8_t *x = kc_in(kc, m * x_stride, 4);
    float *y = kc_out(kc, m * 16 * sizeof(float), 4);
    weights_make(kc, WEFT_DTYPE_F8_E4M3, WEIGHTS_RANDOM, rows, 16, cols);
    block_f8_e4m3 *block = (block_f8_e4m3 *)(rows + output * row_bytes) + at / 128;
    block->codes[at % 128] = m % 2 == 0 ? 0x7f : 0xff;
    kc_ref(kc)->pack_panel[WEFT_DTYPE_F8_E4M3](panel, rows, row_bytes, 16, cols);
    fill_x(kc, kc_ref(kc), form, x, x_stride, m, cols, KC_ZERO);
    KC_CALL(kc, k->linear[WEFT_DTYPE_F8_E4M3](y, 16, panel, x, x_stride, m, 16, cols));
    for (size_t i = 0; i < m * 16; i++) {
        if (isnan(y[i]) != (i % 16 == output)) {
            kc_fail(kc, "output %zu is %g and the NaN is in %zu", i % 16, (double)y[i], output);
        }
    }
}

/* Rows in two records: the sums of what linear gives for both. */
static void check_precise(kcheck *kc, const kernels_cpu *k, weft_dtype dtype, size_t m) {
    const size_t n = 1 + 7 * m % (16 * k->linear_panels[dtype]), cols = weights_cols(dtype, m % 4);
    if (!kc_func(kc, &k->linear_precise[dtype], "linear_precise_%s_m%zu_n%zu_k%zu",
                 weft_dtype_info_of(dtype)->name, m, n, cols)) {
        return;
    }
    const act_form form = k->act_form[dtype];
    const size_t row_bytes = dtype_row_bytes(dtype, cols),
                 panel_bytes = pack_panel_bytes(dtype, cols);
    const size_t x_stride = act_row_bytes(form, cols), y_stride = n + 3;
    uint8_t *rows = kc_scratch(kc, n * row_bytes);
    uint8_t *panel = kc_in(kc, pack_panel_count(n) * panel_bytes, PACK_ALIGN_BYTES);
    uint8_t *x = kc_in(kc, 2 * m * x_stride, 4);
    float *y = kc_out_rows(kc, m, n * sizeof(float), y_stride * sizeof(float), 4);
    float *halves = kc_scratch(kc, 2 * n * sizeof(float));
    weights_make(kc, dtype, WEIGHTS_RANDOM, rows, n, cols);
    for (size_t j = 0; j < n; j += PACK_PANEL_ROWS) {
        const size_t left = n - j < PACK_PANEL_ROWS ? n - j : PACK_PANEL_ROWS;
        kc_ref(kc)->pack_panel[dtype](panel + j / PACK_PANEL_ROWS * panel_bytes,
                                      rows + j * row_bytes, row_bytes, left, cols);
    }
    fill_x(kc, kc_ref(kc), form, x, x_stride, 2 * m, cols, KC_GAUSS);
    KC_CALL(kc, k->linear_precise[dtype](y, y_stride, panel, x, x_stride, m, n, cols));
    for (size_t r = 0; r < m; r++) {
        k->linear[dtype](halves, n, panel, x + 2 * r * x_stride, x_stride, 2, n, cols);
        for (size_t j = 0; j < n; j++) {
            halves[j] += halves[n + j];
        }
        kc_bits(kc, halves, y + r * y_stride, n * sizeof(float));
    }
}

/* ---- speed: panels that come from memory ---- */

#define BENCH_COLS 2048u
#define BENCH_BYTES ((size_t)208 << 20)

typedef struct linear_bench {
    linear_fn *linear;
    uint8_t *weights;
    size_t panel_bytes, n_panels, at;
    const uint8_t *x;
    float *y;
    size_t x_stride, m, step;
    size_t records; /* of x, for each row */
} linear_bench;

#define BENCH_PANELS 32u

/* Some panels as a device runs them: rows by the chunk, all panels before the next chunk. */
static void bench_step(linear_bench *b) {
    b->at = b->at + BENCH_PANELS <= b->n_panels ? b->at : 0;
    for (size_t r = 0; r < b->m; r += ACT_CHUNK_ROWS) {
        const size_t rows = b->m - r < ACT_CHUNK_ROWS ? b->m - r : ACT_CHUNK_ROWS;
        const uint8_t *x = b->x + r * b->records * b->x_stride;
        for (size_t p = 0; p < BENCH_PANELS; p += b->step) {
            b->linear(b->y + r * 16 * b->step, 16 * b->step,
                      b->weights + (b->at + p) * b->panel_bytes, x, b->x_stride, rows, 16 * b->step,
                      BENCH_COLS);
        }
    }
    b->at += BENCH_PANELS;
}

static ceiling_kind ceiling_of_form(act_form form) {
    switch (form) {
    case ACT_F32: return CEILING_FLOAT;
    case ACT_BF16:
    case ACT_SPLIT: return CEILING_BF16;
    case ACT_Q9:
    case ACT_Q16: return CEILING_WORDS;
    default: return CEILING_BYTES;
    }
}

/* How often sums of 32 columns of bytes must leave 16 bits. */
static uint32_t widenings(weft_dtype dtype) {
    opened_kind kind = {.width = OPENED_NARROW, .has_halves = dtype == WEFT_DTYPE_Q6_K};
    switch (dtype) {
#define X(NAME, name) \
    case WEFT_DTYPE_##NAME: kind = opened_kind_##name; break;
        PACK_OPENED_LIST(X)
#undef X
    default: break;
    }
    switch (kind.width) {
    case OPENED_SIX: return kind.has_halves ? 4 : 3;
    case OPENED_FOUR: return 4;
    case OPENED_WIDE: return 8;
    default: return kind.has_halves ? 2 : 1;
    }
}

static void bench(kcheck *kc, const kernels_cpu *k, linear_case c, size_t m) {
    const weft_dtype dtype = c.dtype;
    if (!kc_bench_func(kc, slot_of(k, &c), "linear_%s%s%s_m%zu", c.is_precise ? "precise_" : "",
                       weft_dtype_info_of(dtype)->name, c.has_pairs ? "_pairs" : "", m)) {
        return;
    }
    const act_form form = form_of(k, &c);
    const size_t row_bytes = dtype_row_bytes(dtype, BENCH_COLS);
    linear_bench b = {.linear = *slot_of(k, &c), .m = m, .step = panels_of(k, &c)};
    b.records = c.is_precise ? 2 : 1;
    b.panel_bytes = pack_panel_bytes(dtype, BENCH_COLS);
    b.n_panels = BENCH_BYTES / b.panel_bytes;
    b.weights = kc_in(kc, BENCH_BYTES, PACK_ALIGN_BYTES);
    b.x_stride = act_row_bytes(form, BENCH_COLS);
    uint8_t *x = kc_in(kc, m * b.records * b.x_stride + ACT_GROUP_SLACK, 64);
    uint8_t *rows = kc_scratch(kc, 16 * row_bytes);
    weights_make(kc, dtype, WEIGHTS_GAUSS, rows, 16, BENCH_COLS);
    for (size_t p = 0; p < b.n_panels; p++) {
        kc_ref(kc)->pack_panel[dtype](b.weights + p * b.panel_bytes, rows, row_bytes, 16,
                                      BENCH_COLS);
    }
    fill_x(kc, k, form, x, b.x_stride, m * b.records, BENCH_COLS, KC_GAUSS);
    b.x = x;
    b.y = kc_scratch(kc, m * 16 * b.step * sizeof(float));
    const double ops = 2.0 * 16.0 * BENCH_PANELS * BENCH_COLS * (double)m;
    if (m == 1) {
        kc_bench_limit(kc, CEILING_READ, (double)(BENCH_PANELS * b.panel_bytes));
    } else if (ceiling_of_form(form) == CEILING_BYTES) {
        kc_bench_limit_bytes(kc, widenings(dtype), ops);
    } else {
        kc_bench_limit(kc, ceiling_of_form(form), ops);
    }
    KC_BENCH(kc, ops, "op", bench_step(&b));
}

/* Every step: with codes +-127 of one sign, whose sums are the largest, and with all codes. */
static void check_steps(kcheck *kc, const kernels_cpu *k, linear_case c) {
    static const size_t counts[] = {1, 2, 4, 13, 50};
    static const kc_values values[] = {KC_STEPS, KC_WIDE};
    for (size_t i = 0; i < WEIGHTS_GAUSS * KC_LEN(values) * KC_LEN(counts); i++) {
        c.weights = (weights_kind)(i % WEIGHTS_GAUSS);
        c.values = values[i / WEIGHTS_GAUSS % KC_LEN(values)];
        c.m = counts[i / WEIGHTS_GAUSS / KC_LEN(values)];
        c.n = 16;
        c.cols = weights_cols(c.dtype, i % 3);
        check_one(kc, k, c);
    }
}

/* A NaN in one row of x: all of its outputs are NaN, and those of other rows what plain C makes of them. */
static void check_nan_row(kcheck *kc, const kernels_cpu *k, linear_case c) {
    static const size_t counts[] = {1, 2, 4, 5, 13, 50};
    c.weights = WEIGHTS_RANDOM;
    c.values = KC_GAUSS;
    c.has_nan = true;
    for (size_t i = 0; i < KC_LEN(counts); i++) {
        c.m = counts[i];
        c.n = i % 2 == 0 ? 16 : 7;
        c.cols = weights_cols(c.dtype, 1 + i % 3);
        check_one(kc, k, c);
    }
}

static void check_format(kcheck *kc, const kernels_cpu *k, linear_case c) {
    static const size_t counts[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                    11, 12, 13, 14, 15, 16, 39, 64, 211};
    static const size_t bench_counts[] = {1, 4, 6, 7, 16, 32, 128, 512};
    static const kc_values values[] = {KC_GAUSS, KC_CONSTANT, KC_OUTLIER, KC_ZERO, KC_ALTERNATING};
    for (size_t i = 0; i < KC_LEN(counts) * WEIGHTS_COLS; i++) {
        c.m = counts[i / WEIGHTS_COLS];
        /* Plain C takes seconds for many rows of many panels. */
        const uint32_t panels = panels_of(k, &c);
        const uint32_t n_panels = c.m > 64 && panels > KERNEL_PAIR ? KERNEL_PAIR : panels;
        c.n = (i % 3 == 0 ? 16 : 1 + i % 16) + 16 * (i % n_panels);
        c.cols = weights_cols(c.dtype, i % WEIGHTS_COLS);
        c.weights = WEIGHTS_RANDOM;
        c.values = KC_GAUSS;
        check_one(kc, k, c);
        if (c.dtype == WEFT_DTYPE_F8_E4M3) {
            c.weights = WEIGHTS_GAUSS;
            check_one(kc, k, c);
            c.m += 3 * (i % 4); /* tiles of all sizes */
            check_one(kc, k, c);
        }
    }
    c.n = 16;
    for (c.m = 40; c.m < 48; c.m++) { /* all tiles that read what another one has opened */
        c.cols = weights_cols(c.dtype, 1 + c.m % 3);
        check_one(kc, k, c);
    }
    for (size_t i = 0; i < WEIGHTS_KIND_COUNT * KC_LEN(values); i++) {
        c.weights = (weights_kind)(i / KC_LEN(values));
        c.values = values[i % KC_LEN(values)];
        c.m = i % 2 == 0 ? 13 : 50;
        c.cols = weights_cols(c.dtype, 1 + i % 3);
        check_one(kc, k, c);
        c.m = i % 2 == 0 ? 1 : 4; /* few go other ways */
        check_one(kc, k, c);
    }
    c.weights = WEIGHTS_RANDOM;
    c.values = KC_GAUSS;
    c.m = OPENED_ROWS + 1;
    c.cols = weights_cols(c.dtype, 1);
    check_one(kc, k, c);
    if (form_of(k, &c) == ACT_STEPS) {
        check_steps(kc, k, c);
    }
    check_nan_row(kc, k, c);
    for (size_t i = 0; i < KC_LEN(bench_counts); i++) {
        bench(kc, k, c, bench_counts[i]);
    }
}

void check_linear(kcheck *kc, const kernels_cpu *k) {
    for (size_t f = 0; f < WEIGHTS_FORMATS; f++) {
        check_format(kc, k, (linear_case){.dtype = weights_formats[f]});
    }
    check_format(kc, k, (linear_case){.dtype = WEFT_DTYPE_BF16, .has_pairs = true});
    for (size_t m = 1; m <= 40; m++) {
        check_nan(kc, k, m);
    }
    static const size_t precise_counts[] = {1, 2, 3, 5, 6, 8, 9, 31, 65, 111};
    for (size_t f = 0; f < WEIGHTS_FORMATS; f++) {
        const weft_dtype dtype = weights_formats[f];
        for (size_t i = 0; k->linear_precise[dtype] != NULL && i < KC_LEN(precise_counts); i++) {
            check_precise(kc, k, dtype, precise_counts[i]);
        }
        if (k->linear_precise[dtype] != NULL) {
            bench(kc, k, (linear_case){.dtype = dtype, .is_precise = true}, 1);
            bench(kc, k, (linear_case){.dtype = dtype, .is_precise = true}, 512);
        }
    }
}
