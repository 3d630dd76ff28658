/* tile_parts_avx2.h - 3 rows x 16 outputs of opened values, 4 or 6 of whose products fit 16 bits.
 *
 * Activations are the ones without signs here, 128 more than they are, and values keep theirs. A
 * part of a block, 1 to 3 groups, is summed in 16 bits from -128 times the sum of its weights: on
 * its way that may wrap, which is harmless, and one product is at most 2 * 255 * 62. Then vpmaddwd
 * widens the sum. Widening takes a multiplier as multiplying does, and a core has but two: with
 * codes with their middle each product would need it.
 *
 *   six products    |value| <= 43    parts of 3 groups, of 3 and 1 where halves have scales
 *   four            |value| <= 62    parts of 2
 */
#ifndef WEFT_KERNELS_X86_TILE_PARTS_AVX2_H
#define WEFT_KERNELS_X86_TILE_PARTS_AVX2_H

#include "kernels/x86/tile_opened_avx2.h"

#define PARTS_ROWS 3
#define PARTS_MAX 4

typedef struct parts_chunk {
    WEFT_ALIGNED(32) int16_t start[OPENED_BLOCKS][PARTS_MAX][2 * PACK_PANEL_ROWS];
    half_pairs pairs; /* where halves have scales */
} parts_chunk;

TILE_INLINE int parts_count(opened_kind kind) {
    return kind.width == OPENED_SIX && !kind.has_halves ? 3 : 4;
}

/* The first group of part `part`; of parts_count the end. */
TILE_INLINE int parts_begin(opened_kind kind, int part) {
    if (part == parts_count(kind)) {
        return 8;
    }
    if (kind.width == OPENED_FOUR) {
        return 2 * part;
    }
    return kind.has_halves ? 4 * (part / 2) + 3 * (part % 2) : 3 * part;
}

TILE_INLINE void parts_start(parts_chunk *p, opened_kind kind, const opened_chunk *c, size_t b,
                             int part) {
    const __m256i ones = _mm256_set1_epi8(1), offset = _mm256_set1_epi16(-128);
    const int from = parts_begin(kind, part), n = parts_begin(kind, part + 1) - from;
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *at = c->codes[b][from] + 32 * i;
        __m256i sum = _mm256_maddubs_epi16(ones, tile_load(at));
        if (n > 1) {
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(ones, tile_load(at + 64)));
        }
        if (n > 2) {
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(ones, tile_load(at + 128)));
        }
        tile_store(p->start[b][part] + 16 * i, _mm256_mullo_epi16(sum, offset));
    }
}

/* What tiles need besides an opened chunk, whose codes are values (no middle). */
TILE_INLINE void parts_make(parts_chunk *p, opened_kind kind, const opened_chunk *c) {
    for (size_t b = 0; b < c->n_blocks; b++) {
        parts_start(p, kind, c, b, 0);
        parts_start(p, kind, c, b, 1);
        parts_start(p, kind, c, b, 2);
        if (parts_count(kind) == 4) {
            parts_start(p, kind, c, b, 3);
        }
    }
    if (kind.has_halves) {
        half_pairs_make(&p->pairs, c);
    }
}

/* a [rows] = or += part `part` of block b; x [rows][256 columns]. */
TILE_INLINE void parts_add(int rows, opened_kind kind, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                           const opened_chunk *c, const parts_chunk *p, size_t b, const uint8_t *x,
                           int part) {
    const int from = parts_begin(kind, part), to = parts_begin(kind, part + 1);
    const int16_t *start = p->start[b][part], *pair = p->pairs.v[2 * b + (size_t)part / 2];
    __m256i s0[TILE_ROWS], s1[TILE_ROWS];
    TILE_EACH_ROW(rows, {
        s0[r] = tile_load(start);
        s1[r] = tile_load(start + 16);
    });
    for (int g = from; g < to; g++) {
        const __m256i w0 = tile_load(c->codes[b][g]);
        const __m256i w1 = tile_load(c->codes[b][g] + 32);
        TILE_EACH_ROW(rows, {
            const __m256i xs = tile_broadcast32(x + r * OPENED_COLS + 4 * g);
            s0[r] = _mm256_add_epi16(s0[r], _mm256_maddubs_epi16(xs, w0));
            TILE_PIN(s0[r]);
            s1[r] = _mm256_add_epi16(s1[r], _mm256_maddubs_epi16(xs, w1));
            TILE_PIN(s1[r]);
        });
    }
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i scale0 = kind.has_halves ? tile_load(pair) : ones;
    const __m256i scale1 = kind.has_halves ? tile_load(pair + 16) : ones;
    TILE_EACH_ROW(rows, {
        const __m256i v0 = _mm256_madd_epi16(s0[r], scale0);
        const __m256i v1 = _mm256_madd_epi16(s1[r], scale1);
        a0[r] = part == 0 ? v0 : _mm256_add_epi32(a0[r], v0);
        TILE_PIN(a0[r]);
        a1[r] = part == 0 ? v1 : _mm256_add_epi32(a1[r], v1);
        TILE_PIN(a1[r]);
    });
}

/* y [rows][16] += x . c, without d where is_summed */
TILE_INLINE void parts(int rows, opened_kind kind, float *y, const opened_chunk *c,
                       const parts_chunk *p, const uint8_t *x, size_t x_stride, tile_stream s) {
    WEFT_ALIGNED(32) uint8_t raised[TILE_ROWS * OPENED_COLS];
    for (size_t b = 0; b < c->n_blocks; b++) {
        TILE_EACH_ROW(rows, {
            const __m256i codes = tile_load((tile_block(x, x_stride, r) + b)->codes);
            tile_store(raised + r * OPENED_COLS + 32 * b,
                       _mm256_xor_si256(codes, _mm256_set1_epi8((char)0x80)));
        });
    }
    for (size_t b = 0; b < c->n_blocks; b++, x += sizeof(act_block_q8), s.at += s.bytes) {
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        tile_fetch_far(s.at, s.bytes);
        parts_add(rows, kind, a0, a1, c, p, b, raised + 32 * b, 0);
        parts_add(rows, kind, a0, a1, c, p, b, raised + 32 * b, 1);
        parts_add(rows, kind, a0, a1, c, p, b, raised + 32 * b, 2);
        if (parts_count(kind) == 4) {
            parts_add(rows, kind, a0, a1, c, p, b, raised + 32 * b, 3);
        }
        tile_add_sums(rows, kind, y, c, b, a0, a1, x, x_stride);
    }
}

#endif /* WEFT_KERNELS_X86_TILE_PARTS_AVX2_H */
