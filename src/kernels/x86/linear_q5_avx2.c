/* linear_q5_avx2.c - products of Q5_0, Q5_1 and Q5_K.
 *
 * Layout: slab.h. Registers and the 16-bit sums: tile_int_avx2.h. The fifth bit costs three
 * instructions for 32 codes; with two tiles or more it pays to spread a chunk to bytes once (18 %
 * at 64 rows).
 */
#include "kernels/products.h"
#include "kernels/x86/tile_int_avx2.h"
#include "layout/slab.h"

#define EXPAND_ROWS_MIN 12u

static const tile_kind kind_q5_0 = {
    .codes = TILE_CODES_5,
    .log2_middle = 4,
    .block_stride = sizeof(slab_q5_0),
    .scale_before = offsetof(slab_q5_0, low),
};
static const tile_kind kind_q5_0_expanded = {
    .codes = TILE_CODES_EXPANDED,
    .log2_middle = 4,
    .block_stride = sizeof(slab_q5_0),
    .scale_before = offsetof(slab_q5_0, low),
};

static void open_q5_0(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q5_0, low);
}

static void tile_q5_0(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, kind_q5_0, y, c, x, x_stride);
}

static void expand_q5_0(tile_chunk *c) { tile_expand(kind_q5_0, c); }

static void tile_q5_0_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    (void)rows;
    tile_int(TILE_ROWS, kind_q5_0_expanded, y, c, x, x_stride);
}

void linear_q5_0_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q5_0,
        .tile = tile_q5_0,
        .expand = expand_q5_0,
        .expanded = tile_q5_0_expanded,
        .expand_rows_min = EXPAND_ROWS_MIN,
        .chunk_bytes = 8 * sizeof(slab_q5_0),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

static const tile_kind kind_q5_1 = {
    .codes = TILE_CODES_5,
    .log2_middle = 4,
    .has_min = 1,
    .block_stride = sizeof(slab_q5_1),
    .scale_before = offsetof(slab_q5_1, low),
};
static const tile_kind kind_q5_1_expanded = {
    .codes = TILE_CODES_EXPANDED,
    .log2_middle = 4,
    .has_min = 1,
    .block_stride = sizeof(slab_q5_1),
    .scale_before = offsetof(slab_q5_1, low),
};

static void open_q5_1(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q5_1, low);
}

static void tile_q5_1(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, kind_q5_1, y, c, x, x_stride);
}

static void expand_q5_1(tile_chunk *c) { tile_expand(kind_q5_1, c); }

static void tile_q5_1_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    (void)rows;
    tile_int(TILE_ROWS, kind_q5_1_expanded, y, c, x, x_stride);
}

void linear_q5_1_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q5_1,
        .tile = tile_q5_1,
        .expand = expand_q5_1,
        .expanded = tile_q5_1_expanded,
        .expand_rows_min = EXPAND_ROWS_MIN,
        .chunk_bytes = 8 * sizeof(slab_q5_1),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

static const tile_kind kind_q5_k = {
    .codes = TILE_CODES_5,
    .log2_middle = 4,
    .has_min = 1,
    .block_stride = sizeof(slab_q5_k_block),
};
static const tile_kind kind_q5_k_expanded = {
    .codes = TILE_CODES_EXPANDED,
    .log2_middle = 4,
    .has_min = 1,
};

static void open_q5_k(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q5_k, blocks[0].low);
    tile_open_scales6(c, slabs, 4);
}

static void tile_q5_k(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, kind_q5_k, y, c, x, x_stride);
}

static void expand_q5_k(tile_chunk *c) { tile_expand(kind_q5_k, c); }

static void tile_q5_k_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    (void)rows;
    tile_int(TILE_ROWS, kind_q5_k_expanded, y, c, x, x_stride);
}

void linear_q5_k_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q5_k,
        .tile = tile_q5_k,
        .expand = expand_q5_k,
        .expanded = tile_q5_k_expanded,
        .expand_rows_min = EXPAND_ROWS_MIN,
        .chunk_bytes = sizeof(slab_q5_k),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
