/* linear_one_avx512.c - one row of x against codes that are multiplied as they are opened.
 *
 * A word of a slab is 64 bytes, each of which holds the codes of four blocks (layout/slab.h): once
 * shifted and masked they are a group of 16 outputs x 4 columns, which vpdpbusd multiplies. Sums
 * times whole scales are integers below 2^24, so that the floats are those of
 * linear_opened_avx512.c. Three instructions for 64 codes: half as fast as memory or faster.
 */
#include "kernels/x86/linear_one_avx512.h"

#include <immintrin.h>
#include <stddef.h>

#include "kernels/x86/vnni_avx512.h"
#include "layout/slab.h"

#define BLOCKS 4 /* that share words */

VNNI_INLINE __m512i widened(const uint8_t *bytes) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes));
}

/* Block t's codes of two bits. */
VNNI_INLINE __m512i two_bits(__m512i word, unsigned t) {
    return _mm512_and_si512(_mm512_srli_epi16(word, 2 * t), _mm512_set1_epi8(3));
}

/* codes | bit `bit` of high, as bit 2 */
VNNI_INLINE __m512i with_third_bit(__m512i codes, __m512i high, unsigned bit) {
    const __m512i moved =
        bit < 2 ? _mm512_slli_epi16(high, 2 - bit) : _mm512_srli_epi16(high, bit - 2);
    return _mm512_ternarylogic_epi64(codes, moved, _mm512_set1_epi8(4), 0xf8);
}

/* Sums of four blocks += the groups of half 0 or 1 of each; if high is not NULL, third bits are its
 * words' from `bit` on. */
VNNI_INLINE void add_groups(__m512i sums[BLOCKS], const uint8_t (*words)[64],
                            const uint8_t (*high)[64], unsigned bit, const act_block_q8 *x,
                            size_t half) {
    for (size_t g = 4 * half; g < 4 * half + 4; g++) {
        const __m512i word = vnni_load(words[g]);
        vnni_fetch_line(words[g]);
        for (unsigned t = 0; t < BLOCKS; t++) {
            __m512i codes = two_bits(word, t);
            if (high != NULL) {
                codes = with_third_bit(codes, vnni_load(high[g]), bit + t);
            }
            sums[t] = _mm512_dpbusd_epi32(sums[t], codes, vnni_broadcast32(x[t].codes + 4 * g));
        }
    }
}

/* y + dots * (scale * xs) */
VNNI_INLINE __m512 add_dots(__m512 y, __m512 dots, __m512 scale, const act_block_q8 *x) {
    return _mm512_fmadd_ps(dots, _mm512_mul_ps(scale, _mm512_set1_ps(x->scale)), y);
}

/* dots = or += (half 0 or 1 of a block) sums * scale */
VNNI_INLINE void add_half(__m512 *dots, size_t half, __m512i sums, __m512i scale) {
    const __m512 dot = _mm512_cvtepi32_ps(sums), factor = _mm512_cvtepi32_ps(scale);
    *dots = half == 0 ? _mm512_mul_ps(dot, factor) : _mm512_fmadd_ps(dot, factor, *dots);
}

/* ---- Q2_K ---- */

/* Minimums of a half, in the lower words of lanes, times minus the sum of its activations. */
VNNI_INLINE __m512i add_mins(__m512i least, __m512i mins, const act_block_q8 *x, size_t half) {
    return _mm512_dpwssd_epi32(least, mins, _mm512_set1_epi32(act_neg_half(x, half)));
}

void linear_one_q2_k_avx512(float *y, const uint8_t *from, const act_block_q8 *x) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    const __m512 d = vnni_load_f16(slab->d), dmin = vnni_load_f16(slab->dmin);
    __m512 v = _mm512_load_ps(y);
    vnni_fetch_lines(from, offsetof(slab_q2_k, codes));
    for (size_t b = 0; b < 8; b += BLOCKS, x += BLOCKS) {
        __m512 dots[BLOCKS];
        __m512i least[BLOCKS] = {{0}};
        for (size_t half = 0; half < 2; half++) {
            __m512i sums[BLOCKS] = {{0}};
            add_groups(sums, slab->codes + 2 * b, NULL, 0, x, half);
            for (size_t t = 0; t < BLOCKS; t++) {
                const __m512i fields = widened(slab->scales[2 * (b + t) + half]);
                const __m512i scale = _mm512_and_si512(fields, _mm512_set1_epi32(15));
                add_half(&dots[t], half, sums[t], scale);
                least[t] = add_mins(least[t], _mm512_srli_epi32(fields, 4), x + t, half);
            }
        }
        for (size_t t = 0; t < BLOCKS; t++) {
            v = add_dots(v, dots[t], d, x + t);
            v = add_dots(v, _mm512_cvtepi32_ps(least[t]), dmin, x + t);
        }
    }
    _mm512_store_ps(y, v);
}

/* ---- Q3_K ---- */

/* The scale of half h of 16 rows, 32 less. */
VNNI_INLINE __m512i scale_q3_k(const slab_q3_k *slab, size_t h) {
    const __m512i low = _mm512_srli_epi32(widened(slab->scales[h % 8]), (unsigned)(h / 8 * 4));
    const __m512i high = _mm512_srli_epi32(widened(slab->scales[8 + h % 4]), (unsigned)(h / 4 * 2));
    const __m512i low4 = _mm512_and_si512(low, _mm512_set1_epi32(15));
    const __m512i high2 = _mm512_and_si512(high, _mm512_set1_epi32(3));
    return _mm512_sub_epi32(_mm512_or_si512(low4, _mm512_slli_epi32(high2, 4)),
                            _mm512_set1_epi32(32));
}

/* Blocks b to b + 3, whose third bits are bits b to b + 3 of the same words. */
VNNI_INLINE __m512 add_q3_k(__m512 v, const slab_q3_k *slab, __m512 d, unsigned b,
                            const act_block_q8 *x) {
    __m512 dots[BLOCKS];
    for (size_t half = 0; half < 2; half++) {
        __m512i sums[BLOCKS];
        for (size_t t = 0; t < BLOCKS; t++) {
            sums[t] = vnni_start_half(2, x + t, half == 1);
        }
        add_groups(sums, slab->codes + 2 * b, slab->high, b, x, half);
        for (size_t t = 0; t < BLOCKS; t++) {
            add_half(&dots[t], half, sums[t], scale_q3_k(slab, 2 * (b + t) + half));
        }
    }
    for (size_t t = 0; t < BLOCKS; t++) {
        v = add_dots(v, dots[t], d, x + t);
    }
    return v;
}

void linear_one_q3_k_avx512(float *y, const uint8_t *from, const act_block_q8 *x) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    const __m512 d = vnni_load_f16(slab->d);
    __m512 v = _mm512_load_ps(y);
    vnni_fetch_lines(from, offsetof(slab_q3_k, codes));
    v = add_q3_k(v, slab, d, 0, x);
    v = add_q3_k(v, slab, d, 4, x + 4);
    _mm512_store_ps(y, v);
}

/* ---- TQ2_0 ---- */

/* Digits are 1 more than values. */
void linear_one_tq2_0_avx512(float *y, const uint8_t *from, const act_block_q8 *x) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)from;
    const __m512 d = vnni_load_f16(slab->d);
    __m512 v = _mm512_load_ps(y);
    vnni_fetch_lines(from, offsetof(slab_tq2_0, codes));
    for (size_t b = 0; b < 8; b += BLOCKS, x += BLOCKS) {
        __m512i sums[BLOCKS];
        for (size_t t = 0; t < BLOCKS; t++) {
            sums[t] = vnni_broadcast32(&x[t].neg_totals[1]);
        }
        add_groups(sums, slab->codes + 2 * b, NULL, 0, x, 0);
        add_groups(sums, slab->codes + 2 * b, NULL, 0, x, 1);
        for (size_t t = 0; t < BLOCKS; t++) {
            v = add_dots(v, _mm512_cvtepi32_ps(sums[t]), d, x + t);
        }
    }
    _mm512_store_ps(y, v);
}
