/* linear_q6_k_avx2.c - products of Q6_K.
 *
 * Layout: slab.h. As tile_int_avx2.h, with 16-bit sums over halves of 16 columns, because there is
 * a scale for each: codes less 32 give at most 8 * 32 * 127 = 32512 in a lane. vpmaddwd by the
 * pair of equal scales multiplies and adds the two lanes of an output; the first half's result
 * waits in memory. Both together stay below 2^24, so the conversion to float is exact. Blocks times
 * the scale of x are summed, in memory too, and d multiplies the sum of 256 columns.
 */
#include "kernels/products.h"
#include "kernels/x86/tile_avx2.h"
#include "layout/slab.h"

#define LOG2_MIDDLE 5

/* Outputs 8 * half .. + 7 of group 0..7; `at` is the block (or its bytes when expanded). */
TILE_INLINE __m256i weights_q6_k(int is_expanded, const uint8_t *at, int group, int half) {
    if (is_expanded) {
        return tile_load(at + 64 * group + 32 * half);
    }
    const slab_q6_k_block *block = (const slab_q6_k_block *)at;
    __m256i low = tile_load(&block->low[group / 2][32 * half]);
    __m256i high = tile_load(&block->high[group / 4][32 * half]);
    if (group % 2 != 0) {
        low = _mm256_srli_epi16(low, 4);
    }
    if (group % 4 == 0) {
        high = _mm256_slli_epi16(high, 4);
    } else if (group % 4 == 1) {
        high = _mm256_slli_epi16(high, 2);
    } else if (group % 4 == 3) {
        high = _mm256_srli_epi16(high, 2);
    }
    low = _mm256_and_si256(low, _mm256_set1_epi8(15));
    return _mm256_or_si256(low, _mm256_and_si256(high, _mm256_set1_epi8(48)));
}

TILE_INLINE void add_group(int rows, int is_expanded, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                           const uint8_t *at, const uint8_t *x, size_t x_stride, int group) {
    tile_add_products(rows, 0, a0, a1, weights_q6_k(is_expanded, at, group, 0),
                      weights_q6_k(is_expanded, at, group, 1), x + 4 * group, x_stride);
}

/* Four groups: half `h` of a block. */
TILE_INLINE void add_half(int rows, int is_expanded, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                          const uint8_t *at, const uint8_t *x, size_t x_stride, int h) {
    TILE_EACH_ROW(rows, {
        const uint8_t *sums = x + r * x_stride + offsetof(act_block_q8, neg_sums);
        a0[r] = _mm256_slli_epi16(tile_broadcast32(sums + 4 * h), LOG2_MIDDLE);
        a1[r] = a0[r];
    });
    add_group(rows, is_expanded, a0, a1, at, x, x_stride, 4 * h);
    add_group(rows, is_expanded, a0, a1, at, x, x_stride, 4 * h + 1);
    add_group(rows, is_expanded, a0, a1, at, x, x_stride, 4 * h + 2);
    add_group(rows, is_expanded, a0, a1, at, x, x_stride, 4 * h + 3);
}

/* sum [8] += a block * xs */
TILE_INLINE void add_block(float *sum, __m256i sums, __m256i pair, __m256i first, float xs) {
    const __m256i dot = _mm256_add_epi32(_mm256_madd_epi16(sums, pair), first);
    tile_add_unscaled(sum, _mm256_cvtepi32_ps(dot), xs);
}

TILE_INLINE void tile(int rows, int is_expanded, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    const uint8_t *at = is_expanded ? &c->codes[0][0][0] : c->panel;
    const size_t n_blocks = c->n_cols / ACT_BLOCK_LEN;
    WEFT_ALIGNED(32) float sums[TILE_ROWS][16];
    TILE_EACH_ROW(rows, {
        _mm256_store_ps(sums[r], _mm256_setzero_ps());
        _mm256_store_ps(sums[r] + 8, _mm256_setzero_ps());
    });
    for (size_t b = 0; b < n_blocks; b++) {
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        WEFT_ALIGNED(32) int32_t first[TILE_ROWS][16];
        if (is_expanded) {
            tile_fetch_share(c, b);
        } else {
            tile_fetch(rows == 1, at, sizeof(slab_q6_k_block));
        }
        add_half(rows, is_expanded, a0, a1, at, x, x_stride, 0);
        const __m256i p0 = tile_load(c->pair[2 * b]);
        const __m256i p1 = tile_load(c->pair[2 * b] + 16);
        TILE_EACH_ROW(rows, {
            tile_store(&first[r][0], _mm256_madd_epi16(a0[r], p0));
            tile_store(&first[r][8], _mm256_madd_epi16(a1[r], p1));
        });
        add_half(rows, is_expanded, a0, a1, at, x, x_stride, 1);
        TILE_FORGET();
        const __m256i q0 = tile_load(c->pair[2 * b + 1]);
        const __m256i q1 = tile_load(c->pair[2 * b + 1] + 16);
        TILE_EACH_ROW(rows, {
            const float xs = ((const act_block_q8 *)(x + r * x_stride))->scale;
            add_block(sums[r], a0[r], q0, tile_load(&first[r][0]), xs);
            add_block(sums[r] + 8, a1[r], q1, tile_load(&first[r][8]), xs);
        });
        x += sizeof(act_block_q8);
        at += is_expanded ? sizeof(c->codes[0]) : sizeof(slab_q6_k_block);
    }
    TILE_EACH_ROW(rows, { tile_add_summed(y + 16 * r, sums[r], c->scale[0]); });
}

static void open_q6_k(tile_chunk *c, const uint8_t *slabs) {
    const slab_q6_k *slab = (const slab_q6_k *)slabs;
    c->panel = (const uint8_t *)slab->blocks;
    tile_fetch_far(slab, offsetof(slab_q6_k, blocks));
    _mm256_store_ps(c->scale[0], tile_load_f16(slab->d));
    _mm256_store_ps(c->scale[0] + 8, tile_load_f16(slab->d + 8));
    for (size_t i = 0; i < 16; i++) {
        /* The order of lanes in the slab makes rows 0-7 and 8-15 come out whole. */
        const __m128i bytes = _mm_loadu_si128((const __m128i *)slab->scales[i]);
        const __m256i wide = _mm256_cvtepi8_epi16(bytes);
        _mm256_storeu_si256((__m256i *)c->pair[i], _mm256_unpacklo_epi16(wide, wide));
        _mm256_storeu_si256((__m256i *)(c->pair[i] + 16), _mm256_unpackhi_epi16(wide, wide));
    }
}

static void expand_q6_k(tile_chunk *c) {
    for (size_t b = 0; b < 8; b++) {
        const uint8_t *at = c->panel + b * sizeof(slab_q6_k_block);
        for (int half = 0; half < 2; half++) {
            uint8_t *to = &c->codes[b][0][32 * half];
            tile_store(to + 0, weights_q6_k(0, at, 0, half));
            tile_store(to + 64, weights_q6_k(0, at, 1, half));
            tile_store(to + 128, weights_q6_k(0, at, 2, half));
            tile_store(to + 192, weights_q6_k(0, at, 3, half));
            tile_store(to + 256, weights_q6_k(0, at, 4, half));
            tile_store(to + 320, weights_q6_k(0, at, 5, half));
            tile_store(to + 384, weights_q6_k(0, at, 6, half));
            tile_store(to + 448, weights_q6_k(0, at, 7, half));
        }
    }
}

TILE_INLINE void tile_rows(size_t rows, int is_expanded, float *y, const tile_chunk *c,
                           const uint8_t *x, size_t x_stride) {
    TILE_OF(rows, tile, is_expanded, y, c, x, x_stride)
}

static void tile_q6_k(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_rows(rows, 0, y, c, x, x_stride);
}

static void tile_q6_k_expanded(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                               size_t x_stride) {
    tile_rows(rows, 1, y, c, x, x_stride);
}

void linear_q6_k_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_q6_k,
        .tile = tile_q6_k,
        .expand = expand_q6_k,
        .expanded = tile_q6_k_expanded,
        .expand_rows_min = 7,
        .chunk_bytes = sizeof(slab_q6_k),
        .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
