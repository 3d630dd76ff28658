/* tile_opened_avx2.h - what the three tiles of opened formats share (linear_opened_avx2.c). */
#ifndef WEFT_KERNELS_X86_TILE_OPENED_AVX2_H
#define WEFT_KERNELS_X86_TILE_OPENED_AVX2_H

#include "kernels/opened.h"
#include "kernels/x86/tile_avx2.h"

/* What a tile asks for of the slab to come, with each of its blocks: all at once would be more
 * lines than a core has on their way. */
typedef struct tile_stream {
    const uint8_t *at;
    size_t bytes; /* a block */
} tile_stream;

TILE_INLINE const act_block_q8 *tile_block(const uint8_t *x, size_t x_stride, size_t r) {
    return (const act_block_q8 *)(x + r * x_stride);
}

/* Of a tile whose 256 columns are summed before d multiplies them (products.h): those, and of
 * their minimums. */
typedef struct tile_summed {
    WEFT_ALIGNED(64) float v[2 * TILE_ROWS][PACK_PANEL_ROWS]; /* rows' sums, then of minimums */
} tile_summed;

TILE_INLINE void tile_summed_start(opened_kind kind, tile_summed *s, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < PACK_PANEL_ROWS; i += 8) {
            _mm256_store_ps(s->v[r] + i, _mm256_setzero_ps());
            if (kind.has_min) {
                _mm256_store_ps(s->v[TILE_ROWS + r] + i, _mm256_setzero_ps());
            }
        }
    }
}

TILE_INLINE void tile_summed_end(opened_kind kind, float *y, const tile_summed *s,
                                 const opened_chunk *c, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        tile_add_summed(y + r * PACK_PANEL_ROWS, s->v[r], c->scale[0]);
        if (kind.has_min) {
            tile_add_summed(y + r * PACK_PANEL_ROWS, s->v[TILE_ROWS + r], c->half_min_scale);
        }
    }
}

/* y [8] += dot times the scales of both; without that of weights where blocks have none. */
TILE_INLINE void tile_add_dot_of(opened_kind kind, float *y, __m256 dot, __m256 scale, float xs) {
    if (opened_scales_blocks(&kind)) {
        tile_add_dot(y, dot, scale, xs);
    } else {
        tile_add_unscaled(y, dot, xs);
    }
}

/* y [rows][16] += what block b comes to, times the scales of both, or x's only. */
TILE_INLINE void tile_add_sums(int rows, opened_kind kind, float *y, const opened_chunk *c,
                               size_t b, const __m256i a0[TILE_ROWS], const __m256i a1[TILE_ROWS],
                               const uint8_t *x, size_t x_stride) {
    TILE_FORGET();
    const __m256 s0 = _mm256_load_ps(c->scale[b]);
    const __m256 s1 = _mm256_load_ps(c->scale[b] + 8);
    TILE_EACH_ROW(rows, {
        const float xs = tile_block(x, x_stride, r)->scale;
        tile_add_dot_of(kind, y + 16 * r, _mm256_cvtepi32_ps(a0[r]), s0, xs);
        tile_add_dot_of(kind, y + 16 * r + 8, _mm256_cvtepi32_ps(a1[r]), s1, xs);
    });
}

/* Whole scales of halves, each twice: vpmaddwd multiplies the two lanes of an output's sums by them
 * as it adds these. What a block comes to is below 2^24, so that its float is exact. */
typedef struct half_pairs {
    WEFT_ALIGNED(32) int16_t v[OPENED_HALVES][2 * PACK_PANEL_ROWS];
} half_pairs;

TILE_INLINE void half_pairs_make(half_pairs *pairs, const opened_chunk *c) {
    for (size_t h = 0; h < 2 * c->n_blocks; h++) {
        for (size_t i = 0; i < 2; i++) {
            const __m256i v = tile_load(c->whole[h] + 8 * i);
            tile_store(pairs->v[h] + 16 * i, _mm256_blend_epi16(v, _mm256_slli_epi32(v, 16), 0xaa));
        }
    }
}

#endif /* WEFT_KERNELS_X86_TILE_OPENED_AVX2_H */
