/* linear_q4_avx2.c - products of Q4_0, Q4_1 and Q4_K.
 *
 * Layout: slab.h. Registers and the 16-bit sums: tile_int_avx2.h. One row is bound by reading the
 * panel; many rows by 8 multiplies and 8 additions for 512 operations, and some 85 instructions
 * at the end of a block of 6 x 16 outputs, which are a quarter of all. For them chunks are spread
 * to bytes, which saves 32 of 300 vector instructions (7 %).
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

TILE_INT_LINEAR(q4_0, 8 * sizeof(slab_q4_0), 12)

static const tile_kind kind_q4_1 = {
    .codes = TILE_CODES_4,
    .has_min = 1,
    .block_stride = sizeof(slab_q4_1),
    .scale_before = offsetof(slab_q4_1, low),
};

static void open_q4_1(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_1, low);
}

TILE_INT_LINEAR(q4_1, 8 * sizeof(slab_q4_1), 12)

static const tile_kind kind_q4_k = {
    .codes = TILE_CODES_4,
    .has_min = 1,
    .block_stride = sizeof(((slab_q4_k *)0)->low[0]),
};

static void open_q4_k(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q4_k, low);
    tile_open_scales6(c, slabs, 0);
}

TILE_INT_LINEAR(q4_k, sizeof(slab_q4_k), 12)
