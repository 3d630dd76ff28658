/* tile_narrow_avx2.h - 6 rows x 16 outputs of opened codes whose sums fit 16 bits.
 *
 * As in tile_int_avx2.h: codes of up to 16 in a block of 32 (a lane takes 16 products of at most
 * 16 * 127), or of up to 32 in a half. They come with their middle.
 */
#ifndef WEFT_KERNELS_X86_TILE_NARROW_AVX2_H
#define WEFT_KERNELS_X86_TILE_NARROW_AVX2_H

#include "kernels/x86/tile_opened_avx2.h"

TILE_INLINE void narrow_group(int rows, int is_first, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                              const uint8_t *at, const uint8_t *x, size_t x_stride, int group) {
    at += 64 * group;
    tile_add_products(rows, is_first, a0, a1, tile_load(at), tile_load(at + 32), x + 4 * group,
                      x_stride);
}

/* Four groups from `group` on; is_start: sums begin here, of this half or of the whole block. */
TILE_INLINE void narrow_half(int rows, opened_kind kind, int is_start, __m256i a0[TILE_ROWS],
                             __m256i a1[TILE_ROWS], const uint8_t *at, const uint8_t *x,
                             size_t x_stride, int group) {
    if (is_start && kind.log2_middle != 0) {
        TILE_EACH_ROW(rows, {
            const act_block_q8 *block = tile_block(x, x_stride, r);
            __m256i sum = tile_broadcast32(block->neg_sums[group / 4]);
            if (!kind.has_halves) {
                sum = _mm256_add_epi16(sum, tile_broadcast32(block->neg_sums[1]));
            }
            a0[r] = _mm256_slli_epi16(sum, kind.log2_middle);
            a1[r] = a0[r];
        });
    }
    const int is_first = is_start && kind.log2_middle == 0;
    narrow_group(rows, is_first, a0, a1, at, x, x_stride, group);
    narrow_group(rows, 0, a0, a1, at, x, x_stride, group + 1);
    narrow_group(rows, 0, a0, a1, at, x, x_stride, group + 2);
    narrow_group(rows, 0, a0, a1, at, x, x_stride, group + 3);
}

/* least [16] += minimums times minus the sums of a block of x. */
TILE_INLINE void narrow_add_min(float *least, const opened_chunk *c, size_t b,
                                const act_block_q8 *x) {
    const __m256i first = tile_broadcast32(x->neg_sums[0]);
    const __m256i second = tile_broadcast32(x->neg_sums[1]);
    for (size_t half = 0; half < 2; half++) {
        const __m256i m0 = _mm256_madd_epi16(tile_load(c->half_min[2 * b] + 16 * half), first);
        const __m256i m1 = _mm256_madd_epi16(tile_load(c->half_min[2 * b + 1] + 16 * half), second);
        tile_add_unscaled(least + 8 * half, _mm256_cvtepi32_ps(_mm256_add_epi32(m0, m1)), x->scale);
    }
}

/* Halves with scales of their own, whole ones but for NVFP4. */
TILE_INLINE int narrow_is_whole(opened_kind kind) { return kind.n_planes != 0; }

/* Of 8 outputs, those from 8 * i on: half h times its scale, and what was before (NULL: nothing);
 * bits of floats where scales are no whole numbers. */
TILE_INLINE __m256i narrow_scaled(opened_kind kind, const opened_chunk *c, const half_pairs *pairs,
                                  size_t h, size_t i, __m256i sums, const int32_t *before) {
    if (narrow_is_whole(kind)) {
        const __m256i product = _mm256_madd_epi16(sums, tile_load(pairs->v[h] + 16 * i));
        return before != NULL ? _mm256_add_epi32(product, tile_load(before)) : product;
    }
    const __m256 dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
    const __m256 scale = _mm256_load_ps(c->half_scale[h] + 8 * i);
    return _mm256_castps_si256(
        before != NULL ? _mm256_fmadd_ps(dot, scale, _mm256_castsi256_ps(tile_load(before)))
                       : _mm256_mul_ps(dot, scale));
}

/* What a block comes to, of 8 outputs, as floats. */
TILE_INLINE __m256 narrow_dot(opened_kind kind, const opened_chunk *c, const half_pairs *pairs,
                              size_t b, size_t i, __m256i sums, const int32_t *first) {
    if (!kind.has_halves) {
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
    }
    const __m256i dot = narrow_scaled(kind, c, pairs, 2 * b + 1, i, sums, first);
    return narrow_is_whole(kind) ? _mm256_cvtepi32_ps(dot) : _mm256_castsi256_ps(dot);
}

/* y [rows][16] += x . c, without d where is_summed; minimums are added to rows TILE_ROWS and on.
 * pairs only where scales of halves are whole. */
TILE_INLINE void narrow(int rows, opened_kind kind, float *y, const opened_chunk *c,
                        const half_pairs *pairs, const uint8_t *x, size_t x_stride, tile_stream s) {
    for (size_t b = 0; b < c->n_blocks; b++, x += sizeof(act_block_q8), s.at += s.bytes) {
        const uint8_t *at = c->codes[b][0];
        tile_fetch_far(s.at, s.bytes);
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        WEFT_ALIGNED(32) int32_t first[TILE_ROWS][16];
        narrow_half(rows, kind, 1, a0, a1, at, x, x_stride, 0);
        if (kind.has_halves) {
            TILE_EACH_ROW(rows, {
                const __m256i h0 = narrow_scaled(kind, c, pairs, 2 * b, 0, a0[r], NULL);
                const __m256i h1 = narrow_scaled(kind, c, pairs, 2 * b, 1, a1[r], NULL);
                tile_store(first[r], h0);
                tile_store(first[r] + 8, h1);
            });
        }
        narrow_half(rows, kind, kind.has_halves, a0, a1, at, x, x_stride, 4);
        TILE_FORGET();
        const __m256 s0 = _mm256_load_ps(c->scale[b]);
        const __m256 s1 = _mm256_load_ps(c->scale[b] + 8);
        TILE_EACH_ROW(rows, {
            const act_block_q8 *block = tile_block(x, x_stride, r);
            const __m256 d0 = narrow_dot(kind, c, pairs, b, 0, a0[r], first[r]);
            const __m256 d1 = narrow_dot(kind, c, pairs, b, 1, a1[r], first[r] + 8);
            tile_add_dot_of(kind, y + 16 * r, d0, s0, block->scale);
            tile_add_dot_of(kind, y + 16 * r + 8, d1, s1, block->scale);
            if (kind.has_min) {
                narrow_add_min(y + 16 * (TILE_ROWS + r), c, b, block);
            }
        });
    }
}

#endif /* WEFT_KERNELS_X86_TILE_NARROW_AVX2_H */
