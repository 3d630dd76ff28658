/* linear_q5_avx2.c - products of Q5_0, Q5_1 and Q5_K.
 *
 * Layout: slab.h. Registers and the 16-bit sums: tile_int_avx2.h. The fifth bit costs three
 * instructions for 32 codes, which is why a chunk that several tiles share is spread to bytes (18 %
 * at 64 rows).
 */
#include "kernels/products.h"
#include "kernels/x86/tile_int_avx2.h"
#include "layout/slab.h"

static const tile_kind kind_q5_0 = {
    .codes = TILE_CODES_5,
    .log2_middle = 4,
    .block_stride = sizeof(slab_q5_0),
    .scale_before = offsetof(slab_q5_0, low),
};

static void open_q5_0(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q5_0, low);
}

TILE_INT_LINEAR(q5_0, 8 * sizeof(slab_q5_0), 7)

static const tile_kind kind_q5_1 = {
    .codes = TILE_CODES_5,
    .log2_middle = 4,
    .has_min = 1,
    .block_stride = sizeof(slab_q5_1),
    .scale_before = offsetof(slab_q5_1, low),
};

static void open_q5_1(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q5_1, low);
}

TILE_INT_LINEAR(q5_1, 8 * sizeof(slab_q5_1), 7)

static const tile_kind kind_q5_k = {
    .codes = TILE_CODES_5,
    .log2_middle = 4,
    .has_min = 1,
    .block_stride = sizeof(slab_q5_k_block),
};

static void open_q5_k(tile_chunk *c, const uint8_t *slabs) {
    c->panel = slabs + offsetof(slab_q5_k, blocks[0].low);
    tile_open_scales6(c, slabs, 4);
}

TILE_INT_LINEAR(q5_k, sizeof(slab_q5_k), 7)
