/* few_bits_avx512.h - few rows of x (few_avx512.h) against codes of two and three bits.
 *
 * A word of a slab is 64 bytes, each of which holds the codes of four blocks (layout/slab.h): once
 * opened they are a group of 16 outputs x 4 columns, which vpdpbusd multiplies by those of each
 * row. Sums times whole scales are integers below 2^24, so that the floats are those of
 * linear_opened_avx512.c. One row takes two to five instructions for 64 codes: 0.6 to 0.9 of what
 * reading does.
 */
#ifndef WEFT_KERNELS_X86_FEW_BITS_AVX512_H
#define WEFT_KERNELS_X86_FEW_BITS_AVX512_H

#include <stdbool.h>

#include "kernels/x86/few_avx512.h"

#define FEW_BLOCKS 4 /* that share words */

/* Codes of a block: bits 2t and 2t + 1 of a word's bytes, and if high is not NULL bit `bit` of
 * those there. */
typedef __m512i few_open_fn(__m512i word, const uint8_t *high, unsigned t, unsigned bit);

/* Where codes of blocks b to b + n - 1 are: bits from 2 * (b % 4) on of words. */
typedef struct few_codes {
    const uint8_t (*words)[64];
    const uint8_t (*highs)[64]; /* whose bits from b on are third bits; NULL: there are none */
    size_t b;
    unsigned n;      /* 2 or 4 */
    bool has_middle; /* at 128 */
    few_open_fn *open;
} few_codes;

/* Sums of block t += group g of it. */
VNNI_INLINE void few_add_block(int rows, __m512i sums[FEW_ROWS], __m512i word, few_codes w,
                               unsigned t, few_rows x, size_t g) {
    const unsigned block = (unsigned)w.b + t;
    const uint8_t *high = w.highs != NULL ? w.highs[g] : NULL;
    few_add_codes(rows, sums, w.open(word, high, block % FEW_BLOCKS, block), x, block, g);
}

VNNI_INLINE void few_add_group(int rows, __m512i sums[FEW_BLOCKS][FEW_ROWS], few_codes w,
                               few_rows x, size_t g) {
    const __m512i word = _mm512_loadu_si512(w.words[g]);
    if (w.b % FEW_BLOCKS == 0) {
        vnni_fetch_line(w.words[g]);
    }
    few_add_block(rows, sums[0], word, w, 0, x, g);
    few_add_block(rows, sums[1], word, w, 1, x, g);
    if (w.n == FEW_BLOCKS) {
        few_add_block(rows, sums[2], word, w, 2, x, g);
        few_add_block(rows, sums[3], word, w, 3, x, g);
    }
}

/* Sums of n blocks += half 0 or 1 of each. */
VNNI_INLINE void few_add_groups(int rows, __m512i sums[FEW_BLOCKS][FEW_ROWS], few_codes w,
                                few_rows x, size_t half) {
    few_add_group(rows, sums, w, x, 4 * half);
    few_add_group(rows, sums, w, x, 4 * half + 1);
    few_add_group(rows, sums, w, x, 4 * half + 2);
    few_add_group(rows, sums, w, x, 4 * half + 3);
}

VNNI_INLINE void few_start(int rows, __m512i sums[FEW_BLOCKS][FEW_ROWS], few_codes w, few_rows x,
                           int half) {
    for (size_t t = 0; t < w.n; t++) {
        for (int r = 0; r < rows; r++) {
            sums[t][r] = vnni_step_start(w.has_middle, &few_block(x, r)->steps[w.b + t], half);
        }
    }
}

/* The whole scale of half h of 16 rows. */
typedef __m512i few_scale_fn(const uint8_t *slab, size_t h);

/* dots of n blocks = or += half 0 or 1 of each times its scale. Bases are broadcast as integers, as
 * is faster here, also where codes have no middle: x is hidden, so gcc can't keep what sums began
 * with. */
VNNI_INLINE void few_add_half(int rows, __m512 dots[FEW_BLOCKS][FEW_ROWS], few_codes w, few_rows x,
                              int half, few_scale_fn *scale_of, const uint8_t *slab) {
    __m512i sums[FEW_BLOCKS][FEW_ROWS];
    few_start(rows, sums, w, x, half);
    few_add_groups(rows, sums, w, x, (size_t)half);
    x = few_later(x);
    for (size_t t = 0; t < w.n; t++) {
        const __m512 scale = _mm512_cvtepi32_ps(scale_of(slab, 2 * (w.b + t) + (size_t)half));
        for (int r = 0; r < rows; r++) {
            const __m512 dot = vnni_step_sum(true, sums[t][r], &few_block(x, r)->steps[w.b + t]);
            dots[t][r] =
                half == 0 ? _mm512_mul_ps(dot, scale) : _mm512_fmadd_ps(dot, scale, dots[t][r]);
        }
    }
}

/* v += dots, block by block */
VNNI_INLINE void few_add_dots(int rows, __m512 v[FEW_ROWS], __m512 dots[FEW_BLOCKS][FEW_ROWS],
                              few_codes w) {
    for (int r = 0; r < rows; r++) {
        for (size_t t = 0; t < w.n; t++) {
            v[r] = _mm512_add_ps(v[r], dots[t][r]);
        }
    }
}

/* The call for blocks b to b + n - 1 of eight: so many that sums of all rows stay in registers. */
#define FEW_AT(first, count, ...)          \
    do {                                   \
        enum { b = (first), n = (count) }; \
        __VA_ARGS__;                       \
    } while (0)
#define FEW_EACH(rows, ...)            \
    do {                               \
        if ((rows) == 4) {             \
            FEW_AT(0, 2, __VA_ARGS__); \
            FEW_AT(2, 2, __VA_ARGS__); \
            FEW_AT(4, 2, __VA_ARGS__); \
            FEW_AT(6, 2, __VA_ARGS__); \
        } else {                       \
            FEW_AT(0, 4, __VA_ARGS__); \
            FEW_AT(4, 4, __VA_ARGS__); \
        }                              \
    } while (0)

/* ---- Q2_K ---- */

VNNI_INLINE __m512i few_scale_q2_k(const uint8_t *slab, size_t h) {
    const __m512i fields = vnni_load_bytes(((const slab_q2_k *)slab)->scales[h]);
    return _mm512_and_si512(fields, _mm512_set1_epi32(15));
}

/* Of both halves of block b, in the lower and upper words of lanes. */
VNNI_INLINE __m512i few_mins_q2_k(const slab_q2_k *slab, size_t b) {
    const __m512i first = _mm512_srli_epi32(vnni_load_bytes(slab->scales[2 * b]), 4);
    const __m512i second = _mm512_srli_epi32(vnni_load_bytes(slab->scales[2 * b + 1]), 4);
    return _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
}

/* Blocks b to b + n - 1. */
VNNI_INLINE void few_add_q2_k(int rows, __m512 v[FEW_ROWS], __m512i least[FEW_ROWS],
                              few_open_fn *open, const slab_q2_k *slab, size_t b, unsigned n,
                              few_rows x) {
    const few_codes w = {slab->codes + b / 4 * 8, NULL, b, n, false, open};
    __m512 dots[FEW_BLOCKS][FEW_ROWS];
    few_add_half(rows, dots, w, x, 0, few_scale_q2_k, (const uint8_t *)slab);
    few_add_half(rows, dots, w, x, 1, few_scale_q2_k, (const uint8_t *)slab);
    few_add_dots(rows, v, dots, w);
    for (size_t t = 0; t < w.n; t++) {
        const __m512i mins = few_mins_q2_k(slab, b + t);
        for (int r = 0; r < rows; r++) {
            const __m512i sums = vnni_broadcast32(&few_block(x, r)->sums16[2 * (b + t)]);
            least[r] = _mm512_dpwssd_epi32(least[r], mins, sums);
        }
    }
}

VNNI_INLINE void few_q2_k(int rows, few_open_fn *open, float *y, const uint8_t *from, few_rows x) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    __m512 v[FEW_ROWS];
    __m512i least[FEW_ROWS];
    few_zero(rows, v);
    for (int r = 0; r < rows; r++) {
        least[r] = _mm512_setzero_si512();
    }
    vnni_fetch_lines(from, offsetof(slab_q2_k, codes));
    FEW_EACH(rows, few_add_q2_k(rows, v, least, open, slab, b, n, x));
    const __m512 d = vnni_load_f16(slab->d), dmin = vnni_load_f16(slab->dmin);
    for (int r = 0; r < rows; r++) {
        float *to = y + r * PACK_PANEL_ROWS;
        _mm512_store_ps(
            to, vnni_add_steps_least(_mm512_load_ps(to), v[r], d, least[r], dmin, few_block(x, r)));
    }
}

/* ---- Q3_K ---- */

VNNI_INLINE __m512i few_scale_q3_k(const uint8_t *from, size_t h) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    const __m512i low =
        _mm512_srli_epi32(vnni_load_bytes(slab->scales[h % 8]), (unsigned)(h / 8 * 4));
    const __m512i high =
        _mm512_srli_epi32(vnni_load_bytes(slab->scales[8 + h % 4]), (unsigned)(h / 4 * 2));
    const __m512i low4 = _mm512_and_si512(low, _mm512_set1_epi32(15));
    const __m512i high2 = _mm512_and_si512(high, _mm512_set1_epi32(3));
    return _mm512_sub_epi32(_mm512_or_si512(low4, _mm512_slli_epi32(high2, 4)),
                            _mm512_set1_epi32(32));
}

/* Blocks b to b + n - 1. */
VNNI_INLINE void few_add_q3_k(int rows, __m512 v[FEW_ROWS], few_open_fn *open,
                              const slab_q3_k *slab, size_t b, unsigned n, few_rows x) {
    const few_codes w = {slab->codes + b / 4 * 8, slab->high, b, n, true, open};
    __m512 dots[FEW_BLOCKS][FEW_ROWS];
    few_add_half(rows, dots, w, x, 0, few_scale_q3_k, (const uint8_t *)slab);
    few_add_half(rows, dots, w, x, 1, few_scale_q3_k, (const uint8_t *)slab);
    few_add_dots(rows, v, dots, w);
}

/* ---- TQ2_0 ---- */

/* Blocks b to b + n - 1. */
VNNI_INLINE void few_add_tq2_0(int rows, __m512 v[FEW_ROWS], few_open_fn *open,
                               const slab_tq2_0 *slab, size_t b, unsigned n, few_rows x) {
    const few_codes w = {slab->codes + b / 4 * 8, NULL, b, n, true, open};
    __m512i sums[FEW_BLOCKS][FEW_ROWS];
    few_start(rows, sums, w, x, ACT_STEP_ALL);
    few_add_groups(rows, sums, w, x, 0);
    few_add_groups(rows, sums, w, x, 1);
    x = few_later(x);
    for (int r = 0; r < rows; r++) {
        for (size_t t = 0; t < w.n; t++) {
            const act_step *step = &few_block(x, r)->steps[b + t];
            /* plus, by the units that multiply: those that add are busy opening */
            v[r] =
                _mm512_fmadd_ps(vnni_step_sum(true, sums[t][r], step), _mm512_set1_ps(1.0f), v[r]);
        }
    }
}

/* All blocks, where there are no minimums. */
#define X(name)                                                                             \
    VNNI_INLINE void few_##name(int rows, few_open_fn *open, float *y, const uint8_t *from, \
                                few_rows x) {                                               \
        const slab_##name *slab = (const slab_##name *)from;                                \
        __m512 v[FEW_ROWS];                                                                 \
        few_zero(rows, v);                                                                  \
        vnni_fetch_lines(from, offsetof(slab_##name, codes));                               \
        FEW_EACH(rows, few_add_##name(rows, v, open, slab, b, n, x));                       \
        few_add_summed(rows, y, v, vnni_load_f16(slab->d), x);                              \
    }
X(q3_k)
X(tq2_0)
#undef X

/* rows_NAME of an opener. */
#define FEW_ROWS_OF(name, open)                                                         \
    VNNI_INLINE void rows_##name(int rows, float *y, const uint8_t *slab, few_rows x) { \
        few_##name(rows, open, y, slab, x);                                             \
    }

#endif /* WEFT_KERNELS_X86_FEW_BITS_AVX512_H */
