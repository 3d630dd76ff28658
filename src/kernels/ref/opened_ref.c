/* opened_ref.c - packing, rows and products of the formats of PACK_OPENED_LIST.
 *
 * A slab keeps the file's bytes and only orders them by unit instead of by row (layout/slab.h), so
 * a format is described by its fields, in the slab's order, and one loop packs and unpacks them
 * all. Products open a chunk (opened_open_ref.c) and then do what products.h states, one output at
 * a time.
 */
#include <math.h>
#include <string.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/ref/opened_ref.h"
#include "tensor/blocks.h"
#include "tensor/quant.h"

#define FIELDS_MAX 5

typedef struct opened_field {
    size_t at; /* in the file's block */
    size_t n_units;
    size_t unit_bytes;
} opened_field;

#define FIELD(block, field, unit) \
    { offsetof(block, field), sizeof(((block *)0)->field) / (unit), (unit) }

/* In the order of layout/slab.h; the rest is empty. */
static const opened_field opened_fields[WEFT_DTYPE_COUNT][FIELDS_MAX] = {
    [WEFT_DTYPE_Q2_K] = {FIELD(block_q2_k, d, 2), FIELD(block_q2_k, dmin, 2),
                         FIELD(block_q2_k, scales, 1), FIELD(block_q2_k, codes, 4)},
    [WEFT_DTYPE_Q3_K] = {FIELD(block_q3_k, d, 2), FIELD(block_q3_k, scales, 1),
                         FIELD(block_q3_k, high, 4), FIELD(block_q3_k, codes, 4)},
    [WEFT_DTYPE_TQ1_0] = {FIELD(block_tq1_0, d, 2), FIELD(block_tq1_0, five, 4),
                          FIELD(block_tq1_0, four, 4)},
    [WEFT_DTYPE_TQ2_0] = {FIELD(block_tq2_0, d, 2), FIELD(block_tq2_0, codes, 4)},
    [WEFT_DTYPE_IQ4_NL] = {FIELD(block_iq4_nl, d, 2), FIELD(block_iq4_nl, low, 4)},
    [WEFT_DTYPE_IQ4_XS] = {FIELD(block_iq4_xs, d, 2), FIELD(block_iq4_xs, scales_high, 2),
                           FIELD(block_iq4_xs, scales_low, 1), FIELD(block_iq4_xs, low, 4)},
    [WEFT_DTYPE_MXFP4] = {FIELD(block_mxfp4, e, 1), FIELD(block_mxfp4, low, 4)},
    [WEFT_DTYPE_NVFP4] = {FIELD(block_nvfp4, d, 1), FIELD(block_nvfp4, low, 4)},
    [WEFT_DTYPE_IQ2_XXS] = {FIELD(block_iq2_xxs, d, 2), FIELD(block_iq2_xxs, codes, 4)},
    [WEFT_DTYPE_IQ2_XS] = {FIELD(block_iq2_xs, d, 2), FIELD(block_iq2_xs, scales, 1),
                           FIELD(block_iq2_xs, codes, 2)},
    [WEFT_DTYPE_IQ2_S] = {FIELD(block_iq2_s, d, 2), FIELD(block_iq2_s, scales, 1),
                          FIELD(block_iq2_s, high, 1), FIELD(block_iq2_s, low, 1),
                          FIELD(block_iq2_s, signs, 1)},
    [WEFT_DTYPE_IQ3_XXS] = {FIELD(block_iq3_xxs, d, 2), FIELD(block_iq3_xxs, signs, 4),
                            FIELD(block_iq3_xxs, low, 1)},
    [WEFT_DTYPE_IQ3_S] = {FIELD(block_iq3_s, d, 2), FIELD(block_iq3_s, scales, 1),
                          FIELD(block_iq3_s, high, 1), FIELD(block_iq3_s, signs, 1),
                          FIELD(block_iq3_s, low, 1)},
    [WEFT_DTYPE_IQ1_S] = {FIELD(block_iq1_s, d, 2), FIELD(block_iq1_s, high, 2),
                          FIELD(block_iq1_s, low, 1)},
    [WEFT_DTYPE_IQ1_M] = {FIELD(block_iq1_m, scales, 2), FIELD(block_iq1_m, high, 1),
                          FIELD(block_iq1_m, low, 1)},
};

/* n units from bytes that are from_step apart to such that are to_step apart. A copy of as many
 * bytes as a variable says would be a call for each unit. */
static void move_units(uint8_t *to, size_t to_step, const uint8_t *from, size_t from_step, size_t n,
                       size_t unit_bytes) {
    switch (unit_bytes) {
    case 1:
        for (size_t i = 0; i < n; i++) {
            to[i * to_step] = from[i * from_step];
        }
        return;
    case 2:
        for (size_t i = 0; i < n; i++) {
            memcpy(to + i * to_step, from + i * from_step, 2);
        }
        return;
    default:
        for (size_t i = 0; i < n; i++) {
            memcpy(to + i * to_step, from + i * from_step, 4);
        }
    }
}

static void put_block(weft_dtype dtype, uint8_t *slab, size_t row, const uint8_t *block) {
    for (size_t f = 0; f < FIELDS_MAX; f++) {
        const opened_field *field = &opened_fields[dtype][f];
        const size_t unit = field->unit_bytes, step = PACK_PANEL_ROWS * unit;
        move_units(slab + row * unit, step, block + field->at, unit, field->n_units, unit);
        slab += field->n_units * step;
    }
}

void opened_take_block(weft_dtype dtype, void *block, const uint8_t *slab, size_t row) {
    for (size_t f = 0; f < FIELDS_MAX; f++) {
        const opened_field *field = &opened_fields[dtype][f];
        const size_t unit = field->unit_bytes, step = PACK_PANEL_ROWS * unit;
        uint8_t *to = (uint8_t *)block + field->at;
        move_units(to, unit, slab + row * unit, step, field->n_units, unit);
        slab += field->n_units * step;
    }
}

static void pack_opened(weft_dtype dtype, uint8_t *panel, const uint8_t *rows, size_t row_stride,
                        size_t n_rows, size_t k) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    const size_t n_slabs = k / f->block_len;
    const size_t slab_bytes = (size_t)PACK_PANEL_ROWS * f->block_bytes;
    const size_t bytes = n_slabs * slab_bytes;
    const size_t tail = (PACK_ALIGN_BYTES - bytes % PACK_ALIGN_BYTES) % PACK_ALIGN_BYTES;
    memset(panel, 0, n_rows < PACK_PANEL_ROWS ? bytes : 0);
    for (size_t s = 0; s < n_slabs; s++) {
        for (size_t r = 0; r < n_rows; r++) {
            put_block(dtype, panel + s * slab_bytes, r, rows + r * row_stride + s * f->block_bytes);
        }
    }
    memset(panel + bytes, 0, tail);
}

static void unpack_opened(weft_dtype dtype, uint8_t *rows, size_t row_stride, const uint8_t *panel,
                          size_t n_rows, size_t k) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    for (size_t s = 0; s < k / f->block_len; s++) {
        for (size_t r = 0; r < n_rows; r++) {
            opened_take_block(dtype, rows + r * row_stride + s * f->block_bytes,
                              panel + s * PACK_PANEL_ROWS * f->block_bytes, r);
        }
    }
}

static void row_opened(weft_dtype dtype, float *out, const uint8_t *panel, size_t row, size_t k) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    uint8_t block[OPENED_COLS];
    for (size_t s = 0; s < k / f->block_len; s++) {
        opened_take_block(dtype, block, panel + s * PACK_PANEL_ROWS * f->block_bytes, row);
        quant_dequantize(dtype, out + s * f->block_len, block, f->block_len);
    }
}

/* Sum of value * x over 16 columns: half h (0, 1) of block b, output j. */
static float dot_half(const opened_chunk *c, size_t b, size_t h, size_t j, const act_block_q8 *x) {
    int32_t dot = 0;
    for (size_t l = 16 * h; l < 16 * h + 16; l++) {
        dot += (c->codes[b][l / 4][4 * j + l % 4] - c->middle) * x->codes[l];
    }
    return (float)dot;
}

/* Minus the sum of the activations of half h, times the minimum. */
static int32_t min_half(const opened_chunk *c, size_t b, size_t h, size_t j,
                        const act_block_q8 *x) {
    return c->half_min[2 * b + h][2 * j] * act_neg_half(x, h);
}

/* What a block of output j comes to, without its scale. */
static float dot_block(const opened_kind *kind, const opened_chunk *c, size_t b, size_t j,
                       const act_block_q8 *x) {
    const float dot = dot_half(c, b, 0, j, x), second = dot_half(c, b, 1, j, x);
    return kind->has_halves
               ? fmaf(second, c->half_scale[2 * b + 1][j], dot * c->half_scale[2 * b][j])
               : dot + second;
}

/* y + the blocks of a chunk, output j. */
static float add_chunk(float y, const opened_kind *kind, const opened_chunk *c, size_t j,
                       const act_block_q8 *x) {
    float sum = 0.0f, least = 0.0f;
    for (size_t b = 0; b < c->n_blocks; b++) {
        const float dot = dot_block(kind, c, b, j, x + b);
        if (kind->is_summed) {
            sum = fmaf(dot, x[b].scale, sum);
        } else {
            y = fmaf(dot, opened_scales_blocks(kind) ? c->scale[b][j] * x[b].scale : x[b].scale, y);
        }
        if (kind->has_min) {
            const int32_t min = min_half(c, b, 0, j, x + b) + min_half(c, b, 1, j, x + b);
            least = fmaf((float)min, x[b].scale, least);
        }
    }
    y = kind->is_summed ? fmaf(sum, c->scale[0][j], y) : y;
    return kind->has_min ? fmaf(least, c->half_min_scale[j], y) : y;
}

static void linear_opened(const opened_kind *kind, opened_open_fn *open, float *y, size_t y_stride,
                          const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m,
                          size_t n, size_t k) {
    opened_chunk c;
    c.middle = opened_middle(kind);
    for (size_t r = 0; r < m; r++) {
        memset(y + r * y_stride, 0, n * sizeof(float));
    }
    for (size_t col = 0; col < k; col += OPENED_COLS) {
        c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
        open(&c, panel + col / OPENED_COLS * kind->chunk_bytes);
        for (size_t r = 0; r < m; r++) {
            const act_block_q8 *row = (const act_block_q8 *)(x + r * x_stride);
            row += col / ACT_BLOCK_LEN;
            for (size_t j = 0; j < n; j++) {
                float *out = &y[r * y_stride + j];
                *out = add_chunk(*out, kind, &c, j, row);
            }
        }
    }
}

#define X(NAME, name)                                                                      \
    void pack_panel_##name##_ref(void *panel, const void *rows, size_t row_stride_bytes,   \
                                 size_t n_rows, size_t k) {                                \
        pack_opened(WEFT_DTYPE_##NAME, panel, rows, row_stride_bytes, n_rows, k);          \
    }                                                                                      \
    void unpack_panel_##name##_ref(void *rows, size_t row_stride_bytes, const void *panel, \
                                   size_t n_rows, size_t k) {                              \
        unpack_opened(WEFT_DTYPE_##NAME, rows, row_stride_bytes, panel, n_rows, k);        \
    }                                                                                      \
    void panel_row_##name##_ref(float *out, const void *panel, size_t row, size_t k) {     \
        row_opened(WEFT_DTYPE_##NAME, out, panel, row, k);                                 \
    }                                                                                      \
    void linear_##name##_ref(float *y, size_t y_stride, const void *panel, const void *x,  \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {        \
        linear_opened(&opened_kind_##name, opened_##name##_ref, y, y_stride, panel, x,     \
                      x_stride_bytes, m, n, k);                                            \
    }
PACK_OPENED_LIST(X)
#undef X
