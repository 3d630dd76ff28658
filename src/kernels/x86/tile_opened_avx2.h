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

/* y [rows][16] += what block b comes to, times the scales of both. */
TILE_INLINE void tile_add_sums(int rows, float *y, const opened_chunk *c, size_t b,
                               const __m256i a0[TILE_ROWS], const __m256i a1[TILE_ROWS],
                               const uint8_t *x, size_t x_stride) {
    TILE_FORGET();
    const __m256 s0 = _mm256_load_ps(c->scale[b]);
    const __m256 s1 = _mm256_load_ps(c->scale[b] + 8);
    TILE_EACH_ROW(rows, {
        const float xs = tile_block(x, x_stride, r)->scale;
        tile_add_dot(y + 16 * r, _mm256_cvtepi32_ps(a0[r]), s0, xs);
        tile_add_dot(y + 16 * r + 8, _mm256_cvtepi32_ps(a1[r]), s1, xs);
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
