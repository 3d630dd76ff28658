/* linear_q8_0_avx2.c - products of Q8_0 with 16-bit activations.
 *
 * Layout: slab.h; pairs of columns. 16 weights are widened to 16 bits (8 outputs x 2 columns) and
 * vpmaddwd multiplies them by two broadcast activations into 32-bit sums, which cannot overflow:
 * 32 * 128 * 32767 < 2^31. Registers of a tile of 6 x 16: 12 sums, 2 of weights, 1 broadcast, 1
 * product. One row is bound by reading the panel, many rows by 2 instructions for 16
 * multiply-adds; the exact 8-bit product (sign, multiply, widen, add: 4 for 32) needs as many.
 * Widening a chunk once for many rows gains nothing: its 8 KB are loaded instead.
 */
#include "kernels/products.h"
#include "kernels/x86/tile_avx2.h"
#include "layout/slab.h"

TILE_INLINE __m256i weights_q8_0(const int8_t *pairs) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)pairs));
}

TILE_INLINE void add_pair(int rows, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                          const slab_q8_0 *slab, const uint8_t *x, size_t x_stride, int pair) {
    tile_add_words(rows, pair == 0, a0, a1, weights_q8_0(slab->codes[pair]),
                   weights_q8_0(slab->codes[pair] + 16), x + 4 * pair, x_stride);
}

TILE_INLINE void tile(int rows, float *y, const tile_chunk *c, const uint8_t *x, size_t x_stride) {
    const slab_q8_0 *slab = (const slab_q8_0 *)c->panel;
    const size_t n_blocks = c->n_cols / ACT_BLOCK_LEN;
    for (size_t b = 0; b < n_blocks; b++, slab++) {
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        tile_fetch(rows == 1, slab, sizeof(*slab));
        add_pair(rows, a0, a1, slab, x, x_stride, 0);
        add_pair(rows, a0, a1, slab, x, x_stride, 1);
        add_pair(rows, a0, a1, slab, x, x_stride, 2);
        add_pair(rows, a0, a1, slab, x, x_stride, 3);
        add_pair(rows, a0, a1, slab, x, x_stride, 4);
        add_pair(rows, a0, a1, slab, x, x_stride, 5);
        add_pair(rows, a0, a1, slab, x, x_stride, 6);
        add_pair(rows, a0, a1, slab, x, x_stride, 7);
        add_pair(rows, a0, a1, slab, x, x_stride, 8);
        add_pair(rows, a0, a1, slab, x, x_stride, 9);
        add_pair(rows, a0, a1, slab, x, x_stride, 10);
        add_pair(rows, a0, a1, slab, x, x_stride, 11);
        add_pair(rows, a0, a1, slab, x, x_stride, 12);
        add_pair(rows, a0, a1, slab, x, x_stride, 13);
        add_pair(rows, a0, a1, slab, x, x_stride, 14);
        add_pair(rows, a0, a1, slab, x, x_stride, 15);
        TILE_FORGET();
        const __m256 d0 = tile_load_f16(slab->d);
        const __m256 d1 = tile_load_f16(slab->d + 8);
        TILE_EACH_ROW(rows, {
            const float xs = ((const act_block_q16 *)(x + r * x_stride))->scale;
            tile_add_dot(y + 16 * r, _mm256_cvtepi32_ps(a0[r]), d0, xs);
            tile_add_dot(y + 16 * r + 8, _mm256_cvtepi32_ps(a1[r]), d1, xs);
        });
        x += sizeof(act_block_q16);
    }
}

static void open_q8_0(tile_chunk *c, const uint8_t *slabs) { c->panel = slabs; }

static void tile_q8_0(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    TILE_OF(rows, tile, y, c, x, x_stride)
}

void linear_q8_0_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q8_0,
        .tile = tile_q8_0,
        .chunk_bytes = 8 * sizeof(slab_q8_0),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q16),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
