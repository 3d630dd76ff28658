/* linear_q4_avx2.c - products of Q4_0, Q4_1 and Q4_K.
 *
 * Layout: slab.h. Registers and the 16-bit sums: tile_int_avx2.h. One row is bound by reading the
 * panel; many rows by 16 multiplies and about 32 additions for 512 multiply-adds.
 * From EXPAND_ROWS_MIN rows it pays to spread a chunk's nibbles to bytes once.
 */
#include "kernels/products.h"
#include "kernels/x86/tile_int_avx2.h"
#include "layout/slab.h"

#define EXPAND_ROWS_MIN 48u

#define KIND_Q4_0 \
    ((tile_kind){TILE_CODES_4, 3, 0, sizeof(slab_q4_0), offsetof(slab_q4_0, low)})
#define KIND_Q4_0_EXPANDED \
    ((tile_kind){TILE_CODES_EXPANDED, 3, 0, sizeof(slab_q4_0), offsetof(slab_q4_0, low)})

static void open_q4_0(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_0, low);
}

static void tile_q4_0(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, KIND_Q4_0, y, c, x, x_stride);
}

static void expand_q4_0(tile_chunk *c) {
    tile_expand(KIND_Q4_0, c);
}

static void tile_q4_0_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    (void)rows;
    tile_int(TILE_ROWS, KIND_Q4_0_EXPANDED, y, c, x, x_stride);
}

void linear_q4_0_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q4_0,
        .tile = tile_q4_0,
        .expand = expand_q4_0,
        .expanded = tile_q4_0_expanded,
        .expand_rows_min = EXPAND_ROWS_MIN,
        .chunk_bytes = 8 * sizeof(slab_q4_0),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

#define KIND_Q4_1 \
    ((tile_kind){TILE_CODES_4, 0, 1, sizeof(slab_q4_1), offsetof(slab_q4_1, low)})
#define KIND_Q4_1_EXPANDED \
    ((tile_kind){TILE_CODES_EXPANDED, 0, 1, sizeof(slab_q4_1), offsetof(slab_q4_1, low)})

static void open_q4_1(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_1, low);
}

static void tile_q4_1(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, KIND_Q4_1, y, c, x, x_stride);
}

static void expand_q4_1(tile_chunk *c) {
    tile_expand(KIND_Q4_1, c);
}

static void tile_q4_1_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    (void)rows;
    tile_int(TILE_ROWS, KIND_Q4_1_EXPANDED, y, c, x, x_stride);
}

void linear_q4_1_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q4_1,
        .tile = tile_q4_1,
        .expand = expand_q4_1,
        .expanded = tile_q4_1_expanded,
        .expand_rows_min = EXPAND_ROWS_MIN,
        .chunk_bytes = 8 * sizeof(slab_q4_1),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

#define KIND_Q4_K \
    ((tile_kind){TILE_CODES_4, 0, 1, sizeof(((slab_q4_k *)0)->low[0]), 0})
#define KIND_Q4_K_EXPANDED \
    ((tile_kind){TILE_CODES_EXPANDED, 0, 1, 0, 0})

static void open_q4_k(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_k, low);
    tile_open_scales6(c, slabs, 0);
}

static void tile_q4_k(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, KIND_Q4_K, y, c, x, x_stride);
}

static void expand_q4_k(tile_chunk *c) {
    tile_expand(KIND_Q4_K, c);
}

static void tile_q4_k_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    (void)rows;
    tile_int(TILE_ROWS, KIND_Q4_K_EXPANDED, y, c, x, x_stride);
}

void linear_q4_k_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q4_k,
        .tile = tile_q4_k,
        .expand = expand_q4_k,
        .expanded = tile_q4_k_expanded,
        .expand_rows_min = EXPAND_ROWS_MIN,
        .chunk_bytes = sizeof(slab_q4_k),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
