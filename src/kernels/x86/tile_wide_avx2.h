/* tile_wide_avx2.h - 3 rows x 16 outputs of opened values of 8 bits, two of whose products fit 16.
 *
 * vpmaddubsw takes magnitudes without signs, and activations with the signs of values. Few rows
 * have vpsignb do that. For more, signs are masks made once: x ^ mask is -x - 1 where a value is
 * negative, and sums start at what that leaves out. Exclusive ors leave the multipliers alone, with
 * which vpsignb competes: 12 % less time.
 *
 * No format with scales of halves has such values.
 */
#ifndef WEFT_KERNELS_X86_TILE_WIDE_AVX2_H
#define WEFT_KERNELS_X86_TILE_WIDE_AVX2_H

#include "kernels/x86/tile_opened_avx2.h"

#define WIDE_ROWS 3

typedef struct wide_chunk {
    WEFT_ALIGNED(32) uint8_t mask[OPENED_BLOCKS][8][64];
    int32_t start[OPENED_BLOCKS][PACK_PANEL_ROWS];
} wide_chunk;

/* Whether so many rows pay for masks. */
TILE_INLINE int wide_is_masked(size_t rows) { return rows >= 6; }

/* Values (no middle) become magnitudes. */
TILE_INLINE void wide_make(wide_chunk *wide, opened_chunk *c) {
    const __m256i ones = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
    for (size_t b = 0; b < c->n_blocks; b++) {
        for (size_t i = 0; i < 2; i++) {
            __m256i left_out = zero;
            for (size_t g = 0; g < 8; g++) {
                uint8_t *at = c->codes[b][g] + 32 * i;
                const __m256i v = tile_load(at);
                const __m256i below = _mm256_maddubs_epi16(ones, _mm256_min_epi8(v, zero));
                left_out = _mm256_sub_epi16(left_out, below);
                tile_store(at, _mm256_abs_epi8(v));
                tile_store(wide->mask[b][g] + 32 * i, _mm256_cmpgt_epi8(zero, v));
            }
            tile_store(wide->start[b] + 8 * i, _mm256_madd_epi16(left_out, _mm256_set1_epi16(1)));
        }
    }
}

/* Products of 4 columns and 8 outputs; mask is of no use where w are values. */
TILE_INLINE __m256i wide_products(int is_masked, __m256i w, __m256i mask, __m256i x) {
    return is_masked ? _mm256_maddubs_epi16(w, _mm256_xor_si256(x, mask))
                     : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

TILE_INLINE void wide_group(int rows, int is_masked, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                            const uint8_t *at, const uint8_t *mask, const uint8_t *x,
                            size_t x_stride) {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i w0 = tile_load(at), w1 = tile_load(at + 32);
    const __m256i m0 = is_masked ? tile_load(mask) : w0;
    const __m256i m1 = is_masked ? tile_load(mask + 32) : w1;
    TILE_EACH_ROW(rows, {
        const __m256i xs = tile_broadcast32(x + r * x_stride);
        const __m256i p0 = wide_products(is_masked, w0, m0, xs);
        const __m256i p1 = wide_products(is_masked, w1, m1, xs);
        a0[r] = _mm256_add_epi32(a0[r], _mm256_madd_epi16(p0, ones));
        TILE_PIN(a0[r]);
        a1[r] = _mm256_add_epi32(a1[r], _mm256_madd_epi16(p1, ones));
        TILE_PIN(a1[r]);
    });
}

/* Four groups from `group` on. */
TILE_INLINE void wide_half(int rows, int is_masked, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                           const uint8_t (*at)[64], const uint8_t (*mask)[64], const uint8_t *x,
                           size_t x_stride, size_t group) {
    for (size_t g = group; g < group + 4; g++) {
        wide_group(rows, is_masked, a0, a1, at[g], mask[g], x + 4 * g, x_stride);
    }
}

/* y [rows][16] += x . c; masks only if is_masked. */
TILE_INLINE void wide(int rows, opened_kind kind, int is_masked, float *y, const opened_chunk *c,
                      const wide_chunk *masks, const uint8_t *x, size_t x_stride, tile_stream s) {
    for (size_t b = 0; b < c->n_blocks; b++, x += sizeof(act_block_q8), s.at += s.bytes) {
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        tile_fetch_far(s.at, s.bytes);
        TILE_EACH_ROW(rows, {
            a0[r] = is_masked ? tile_load(masks->start[b]) : _mm256_setzero_si256();
            a1[r] = is_masked ? tile_load(masks->start[b] + 8) : _mm256_setzero_si256();
        });
        wide_half(rows, is_masked, a0, a1, c->codes[b], masks->mask[b], x, x_stride, 0);
        wide_half(rows, is_masked, a0, a1, c->codes[b], masks->mask[b], x, x_stride, 4);
        tile_add_sums(rows, kind, y, c, b, a0, a1, x, x_stride);
    }
}

#endif /* WEFT_KERNELS_X86_TILE_WIDE_AVX2_H */
