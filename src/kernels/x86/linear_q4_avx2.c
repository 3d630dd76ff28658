/* linear_q4_avx2.c - products of Q4_0, Q4_1 and Q4_K.
 *
 * Layout: slab.h. Registers and the 16-bit sums: tile_int_avx2.h. One row is bound by reading the
 * panel; many rows by 8 multiplies and 8 additions for 512 operations, and about 110 instructions
 * at the end of a block of 6 x 16 outputs, which are a quarter of all.
 * Spreading nibbles to bytes for tiles that share a chunk gained nothing measurable here.
 */
#include "kernels/products.h"
#include "kernels/x86/tile_int_avx2.h"
#include "layout/slab.h"

static const tile_kind kind_q4_0 = {
    .codes = TILE_CODES_4,
    .log2_middle = 3,
    .block_stride = sizeof(slab_q4_0),
    .scale_before = offsetof(slab_q4_0, low),
};

static void open_q4_0(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_0, low);
}

static void tile_q4_0(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, kind_q4_0, y, c, x, x_stride);
}

void linear_q4_0_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q4_0,
        .tile = tile_q4_0,
        .chunk_bytes = 8 * sizeof(slab_q4_0),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

static const tile_kind kind_q4_1 = {
    .codes = TILE_CODES_4,
    .has_min = 1,
    .block_stride = sizeof(slab_q4_1),
    .scale_before = offsetof(slab_q4_1, low),
};

static void open_q4_1(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_1, low);
}

static void tile_q4_1(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, kind_q4_1, y, c, x, x_stride);
}

void linear_q4_1_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q4_1,
        .tile = tile_q4_1,
        .chunk_bytes = 8 * sizeof(slab_q4_1),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

static const tile_kind kind_q4_k = {
    .codes = TILE_CODES_4,
    .has_min = 1,
    .block_stride = sizeof(((slab_q4_k *)0)->low[0]),
};

static void open_q4_k(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_k, low);
    tile_open_scales6(c, slabs, 0);
}

static void tile_q4_k(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_int_rows(rows, kind_q4_k, y, c, x, x_stride);
}

void linear_q4_k_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q4_k,
        .tile = tile_q4_k,
        .chunk_bytes = sizeof(slab_q4_k),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
