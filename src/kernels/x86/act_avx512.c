/* act_avx512.c - quantised activations, bit-identical to ref/act_ref.c.
 *
 * Up to 16 blocks at a time: their largest magnitudes first, then both scales of all of them by two
 * divisions, then the codes. Magnitudes are compared as integers (layout/act.h says why), and
 * vcvtps2dq rounds to nearest even as lrintf does. A block that is all tiny or not finite takes the
 * codes of zeros, by a mask.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/vnni_avx512.h"

#define GROUP 16u /* blocks, one a lane */

typedef struct group_scales {
    WEFT_ALIGNED(64) int32_t max_bits[GROUP];
    float scale[GROUP], inverse[GROUP];
    __mmask16 has_codes;
} group_scales;

VNNI_INLINE int32_t max_bits(const float *x) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i a = _mm512_and_si512(vnni_load(x), magnitude);
    const __m512i b = _mm512_and_si512(vnni_load(x + 16), magnitude);
    return _mm512_reduce_max_epi32(_mm512_max_epi32(a, b));
}

VNNI_INLINE void find_scales(group_scales *g, const float *x, size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++) {
        g->max_bits[b] = max_bits(x + b * ACT_BLOCK_LEN);
    }
    const __mmask16 there = (__mmask16)((1u << n_blocks) - 1);
    const __m512i bits = _mm512_maskz_load_epi32(there, g->max_bits);
    const __m512 max = _mm512_castsi512_ps(bits), codes_max = _mm512_set1_ps(127.0f);
    const __mmask16 is_finite = _mm512_cmplt_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
    g->has_codes = _mm512_mask_cmp_ps_mask(is_finite, max, _mm512_set1_ps(ACT_TINY), _CMP_GE_OQ);
    const __m512 scale = _mm512_maskz_div_ps(g->has_codes, max, codes_max);
    _mm512_store_ps(g->scale, _mm512_mask_mov_ps(_mm512_set1_ps(NAN), is_finite, scale));
    _mm512_store_ps(g->inverse, _mm512_maskz_div_ps(g->has_codes, codes_max, max));
}

VNNI_INLINE __m128i codes16(const float *x, float inverse, __mmask16 has_codes) {
    const __m512 scaled =
        _mm512_maskz_mul_ps(has_codes, _mm512_loadu_ps(x), _mm512_set1_ps(inverse));
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
}

/* Fills neg_sums and neg_totals of the block and returns the sum of all codes. */
VNNI_INLINE int sum_codes(act_block_q8 *block, __m256i codes) {
    /* Words are pairs of columns; even words belong to sum 0, odd ones to sum 1. */
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    pairs = _mm256_add_epi16(pairs, _mm256_shuffle_epi32(pairs, 0x4e));
    pairs = _mm256_add_epi16(pairs, _mm256_shuffle_epi32(pairs, 0xb1));
    const __m256i neg = _mm256_sub_epi16(_mm256_setzero_si256(), pairs);
    const __m256i sums = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    const int halves[2] = {_mm256_extract_epi32(neg, 0), _mm256_extract_epi32(neg, 4)};
    memcpy(block->neg_sums, halves, sizeof(halves));
    const int first = _mm256_extract_epi32(sums, 0), sum = first + _mm256_extract_epi32(sums, 4);
    block->neg_totals[0] = -first;
    block->neg_totals[1] = -sum;
    return sum;
}

void act_quantize_q8_avx512(void *act, const float *x, size_t k) {
    act_block_q8 *block = act;
    group_scales g;
    for (size_t i = 0; i < k; i += GROUP * ACT_BLOCK_LEN) {
        const size_t left = (k - i) / ACT_BLOCK_LEN;
        const size_t n_blocks = left < GROUP ? left : GROUP;
        find_scales(&g, x + i, n_blocks);
        for (size_t b = 0; b < n_blocks; b++, block++) {
            const float *from = x + i + b * ACT_BLOCK_LEN;
            const __mmask16 has_codes = (__mmask16)(0u - ((unsigned)g.has_codes >> b & 1u));
            const __m256i codes = _mm256_set_m128i(codes16(from + 16, g.inverse[b], has_codes),
                                                   codes16(from, g.inverse[b], has_codes));
            _mm256_storeu_si256((__m256i *)block->codes, codes);
            block->scale = g.scale[b];
            block->sum = g.scale[b] * (float)sum_codes(block, codes);
        }
    }
}

/* r [32] <- x - codes * scale */
VNNI_INLINE void residual32(float *r, const float *x, float scale, const int8_t *codes) {
    for (size_t h = 0; h < ACT_BLOCK_LEN; h += 16) {
        const __m512i words = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(codes + h)));
        const __m512 kept = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(words));
        _mm512_storeu_ps(r + h, _mm512_sub_ps(_mm512_loadu_ps(x + h), kept));
    }
}

void act_residual_q8_avx512(float *r, const float *x, const void *act, size_t k) {
    const act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        residual32(r + i, x + i, block->scale, block->codes);
    }
}

/* Sums over 16 and over 32 of 64 codes. */
VNNI_INLINE void sum_codes64(int16_t sums16[4], int16_t sums32[2], const int8_t *codes) {
    const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1), vnni_load(codes));
    __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
    fours = _mm512_add_epi32(fours, _mm512_shuffle_epi32(fours, 0x4e));
    fours = _mm512_add_epi32(fours, _mm512_shuffle_epi32(fours, 0xb1));
    const __m128i sums = _mm512_castsi512_si128(_mm512_maskz_compress_epi32(0x1111, fours));
    const __m128i both = _mm_hadd_epi32(sums, sums);
    _mm_storel_epi64((__m128i *)sums16, _mm_packs_epi32(sums, sums));
    const int32_t two = _mm_cvtsi128_si32(_mm_packs_epi32(both, both));
    memcpy(sums32, &two, sizeof(two));
}

/* Of values whose largest magnitude has these bits. */
VNNI_INLINE float scale_of_max(float *inverse, int32_t bits, float largest) {
    float max;
    memcpy(&max, &bits, sizeof(max));
    *inverse = 0.0f;
    if (bits >= 0x7f800000) {
        return NAN;
    }
    if (max < ACT_TINY) {
        return 0.0f;
    }
    *inverse = largest / max;
    return max / largest;
}

/* Of 256 values, or of the len that are left. */
VNNI_INLINE float long_scale(float *inverse, const float *x, size_t len, float largest) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i max16 = _mm512_setzero_si512();
    for (size_t l = 0; l < len; l += 16) {
        max16 = _mm512_max_epi32(max16, _mm512_and_si512(vnni_load(x + l), magnitude));
    }
    return scale_of_max(inverse, _mm512_reduce_max_epi32(max16), largest);
}

/* Codes of 16 values, of 32 bits each. */
VNNI_INLINE __m512i codes_of(const float *x, float inverse, __mmask16 has_codes) {
    const __m512 v = _mm512_maskz_loadu_ps(has_codes, x);
    return _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(inverse)));
}

/* 32 values as bytes a and b of their codes: both at once, as words. Packing takes fours of either
 * half by turns, which are put in order at the end. */
VNNI_INLINE void split_codes(act_block_q12 *block, size_t b, const float *x, float inverse,
                             __mmask16 has_codes) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15);
    const __m512i codes =
        _mm512_packs_epi32(codes_of(x, inverse, has_codes), codes_of(x + 16, inverse, has_codes));
    const __m512i high = _mm512_srai_epi16(_mm512_add_epi16(codes, _mm512_set1_epi16(8)), 4);
    const __m512i low = _mm512_sub_epi16(codes, _mm512_slli_epi16(high, 4));
    _mm512_storeu_si512(block->codes[b],
                        _mm512_permutexvar_epi32(order, _mm512_packs_epi16(high, low)));
}

/* Sums of both bytes of blocks i and i + 1: of a in the lower half, of b in the upper; twice. */
VNNI_INLINE __m256i sum_two(const act_block_q12 *block, size_t i) {
    /* Bytes less than 128 from 0, as unsigned: 32 of them are 128 * 32 more. */
    const __m512i turn = _mm512_set1_epi8((char)0x80), zero = _mm512_setzero_si512();
    const __m512i first = _mm512_sad_epu8(_mm512_xor_si512(vnni_load(block->codes[i]), turn), zero);
    const __m512i second =
        _mm512_sad_epu8(_mm512_xor_si512(vnni_load(block->codes[i + 1]), turn), zero);
    const __m512i both = _mm512_or_si512(first, _mm512_slli_epi64(second, 32));
    const __m256i halves =
        _mm256_add_epi32(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
    const __m256i sums = _mm256_add_epi32(halves, _mm256_shuffle_epi32(halves, 0x4e));
    return _mm256_sub_epi32(sums, _mm256_set1_epi32(128 * 32));
}

/* neg_sums and sums of all eight blocks, whose codes are there. */
VNNI_INLINE void put_sums(act_block_q12 *block) {
    const __m256i ab0 = _mm256_unpacklo_epi64(sum_two(block, 0), sum_two(block, 2));
    const __m256i ab4 = _mm256_unpacklo_epi64(sum_two(block, 4), sum_two(block, 6));
    const __m256i a = _mm256_permute2x128_si256(ab0, ab4, 0x20);
    const __m256i b = _mm256_permute2x128_si256(ab0, ab4, 0x31), zero = _mm256_setzero_si256();
    const __m256i low_words = _mm256_set1_epi32(0xffff);
    const __m256i neg_b = _mm256_slli_epi32(_mm256_sub_epi32(zero, b), 16);
    const __m256i neg_a = _mm256_and_si256(_mm256_sub_epi32(zero, a), low_words);
    _mm256_storeu_si256((__m256i *)block->neg_sums, _mm256_or_si256(neg_a, neg_b));
    /* A sum as two bfloat16, twice. */
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(a, 4), b);
    const __m256i h =
        _mm256_and_si256(_mm256_add_epi32(sum, _mm256_set1_epi32(128)), _mm256_set1_epi32(~255));
    const __m256i l = _mm256_castps_si256(_mm256_cvtepi32_ps(_mm256_sub_epi32(sum, h)));
    const __m256i upper = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(h)), 16);
    const __m512i pair =
        _mm512_cvtepu32_epi64(_mm256_or_si256(upper, _mm256_andnot_si256(low_words, l)));
    _mm512_storeu_si512(block->sums, _mm512_or_si512(pair, _mm512_slli_epi64(pair, 32)));
}

void act_quantize_q12_avx512(void *act, const float *x, size_t k) {
    act_block_q12 *block = act;
    for (size_t i = 0; i < k; i += ACT_LONG_LEN, block++) {
        const size_t len = k - i < ACT_LONG_LEN ? k - i : ACT_LONG_LEN;
        float inverse;
        block->scale = long_scale(&inverse, x + i, len, 2039.0f);
        memset(block->unused, 0, sizeof(block->unused));
        const __mmask16 has_codes = inverse != 0.0f ? 0xffff : 0;
        for (size_t b = 0; b < len / ACT_BLOCK_LEN; b++) {
            split_codes(block, b, x + i + b * ACT_BLOCK_LEN, inverse, has_codes);
        }
        for (size_t b = len / ACT_BLOCK_LEN; b < 8; b++) {
            _mm512_storeu_si512(block->codes[b], _mm512_setzero_si512());
        }
        put_sums(block);
    }
}

void act_quantize_q8_256_avx512(void *act, const float *x, size_t k) {
    act_block_q8_256 *block = act;
    for (size_t i = 0; i < k; i += ACT_LONG_LEN, block++) {
        float inverse;
        block->scale = long_scale(&inverse, x + i, ACT_LONG_LEN, 127.0f);
        memset(block->unused, 0, sizeof(block->unused));
        const __mmask16 has_codes = inverse != 0.0f ? 0xffff : 0;
        for (size_t l = 0; l < ACT_LONG_LEN; l += 16) {
            _mm_storeu_si128((__m128i *)(block->codes + l), codes16(x + i + l, inverse, has_codes));
        }
        for (size_t q = 0; q < 4; q++) {
            sum_codes64(block->sums16 + 4 * q, block->sums32 + 2 * q, block->codes + 64 * q);
        }
    }
}

void act_residual_q8_256_avx512(float *r, const float *x, const void *act, size_t k) {
    const act_block_q8_256 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN) {
        const act_block_q8_256 *b = block + i / ACT_LONG_LEN;
        residual32(r + i, x + i, b->scale, b->codes + i % ACT_LONG_LEN);
    }
}

/* How often each of eight blocks halves the scale of them all, whose largest magnitude has these
 * bits; three times where all have only zero codes. */
VNNI_INLINE __m256i steps8(__m256i max_bits, int32_t largest_bits, __mmask8 has_codes) {
    const __m256i one = _mm256_set1_epi32(1), all = _mm256_set1_epi32(largest_bits);
    const __m256 max = _mm256_castsi256_ps(_mm256_maskz_mov_epi32(has_codes, max_bits));
    const __m256 largest = _mm256_castsi256_ps(_mm256_maskz_mov_epi32(has_codes, all));
    __m256i n = _mm256_setzero_si256();
    for (int i = 1; i <= ACT_STEP_MAX; i++) {
        const __m256 scaled = _mm256_mul_ps(max, _mm256_set1_ps((float)(1 << i)));
        n = _mm256_mask_add_epi32(n, _mm256_cmp_ps_mask(scaled, largest, _CMP_LE_OQ), n, one);
    }
    return n;
}

/* Sums of halves 0 and 1 of eight blocks, from words of pairs of columns. */
VNNI_INLINE void sum_halves(__m256i sums[2], const __m256i pairs[8]) {
    __m256i four[2];
    for (size_t i = 0; i < 2; i++) {
        const __m256i ones = _mm256_set1_epi16(1), *p = pairs + 4 * i;
        const __m256i a =
            _mm256_hadd_epi32(_mm256_madd_epi16(p[0], ones), _mm256_madd_epi16(p[1], ones));
        const __m256i b =
            _mm256_hadd_epi32(_mm256_madd_epi16(p[2], ones), _mm256_madd_epi16(p[3], ones));
        four[i] = _mm256_hadd_epi32(a, b);
    }
    sums[0] = _mm256_permute2x128_si256(four[0], four[1], 0x20);
    sums[1] = _mm256_permute2x128_si256(four[0], four[1], 0x31);
}

/* base and starts of each of eight steps, a lane each. */
VNNI_INLINE void put_starts(act_step steps[8], __m256i base, __m256i first, __m256i second,
                            __m256i both) {
    const __m256i low[2] = {_mm256_unpacklo_epi32(base, first),
                            _mm256_unpacklo_epi32(second, both)};
    const __m256i high[2] = {_mm256_unpackhi_epi32(base, first),
                             _mm256_unpackhi_epi32(second, both)};
    const __m256i of[4] = {
        _mm256_unpacklo_epi64(low[0], low[1]), _mm256_unpackhi_epi64(low[0], low[1]),
        _mm256_unpacklo_epi64(high[0], high[1]), _mm256_unpackhi_epi64(high[0], high[1])};
    for (size_t i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)&steps[i].base, _mm256_castsi256_si128(of[i]));
        _mm_storeu_si128((__m128i *)&steps[i + 4].base, _mm256_extracti128_si256(of[i], 1));
    }
}

/* What a block's sums of codes are for, with steps of n. */
VNNI_INLINE void put_step_sums(act_block_steps *block, const __m256i pairs[8], __m256i n) {
    __m256i sums[2];
    sum_halves(sums, pairs);
    const __m256i both = _mm256_add_epi32(sums[0], sums[1]);
    const __m256i base = _mm256_sub_epi32(_mm256_castps_si256(_mm256_set1_ps(ACT_STEP_BASE)),
                                          _mm256_slli_epi32(n, 23));
    put_starts(block->steps, base, _mm256_sub_epi32(base, _mm256_slli_epi32(sums[0], 7)),
               _mm256_sub_epi32(base, _mm256_slli_epi32(sums[1], 7)),
               _mm256_sub_epi32(base, _mm256_slli_epi32(both, 7)));
    const __m256i eighths = _mm256_sub_epi32(_mm256_set1_epi32(3), n);
    const __m256i first = _mm256_sllv_epi32(sums[0], eighths);
    const __m256i second = _mm256_sllv_epi32(sums[1], eighths);
    _mm256_storeu_si256((__m256i *)block->sums16,
                        _mm256_mask_blend_epi16(0xaaaa, first, _mm256_slli_epi32(second, 16)));
    _mm_storeu_si128((__m128i *)block->sums32,
                     _mm256_cvtepi32_epi16(_mm256_add_epi32(first, second)));
}

void act_quantize_steps_avx512(void *act, const float *x, size_t k) {
    act_block_steps *block = act;
    for (size_t i = 0; i < k; i += ACT_LONG_LEN, block++) {
        WEFT_ALIGNED(32) int32_t max[8];
        WEFT_ALIGNED(32) float inverses[8];
        __m256i pairs[8];
        float inverse;
        for (size_t b = 0; b < 8; b++) {
            max[b] = max_bits(x + i + b * ACT_BLOCK_LEN);
        }
        const __m256i bits = _mm256_load_si256((const __m256i *)max);
        const int32_t largest = _mm512_reduce_max_epi32(_mm512_zextsi256_si512(bits));
        block->scale = scale_of_max(&inverse, largest, 127.0f);
        memset(block->unused, 0, sizeof(block->unused));
        const __mmask16 has_codes = inverse != 0.0f ? 0xffff : 0;
        const __m256i n = steps8(bits, largest, (__mmask8)has_codes);
        const __m256i doubled = _mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23);
        _mm256_store_ps(inverses,
                        _mm256_mul_ps(_mm256_set1_ps(inverse), _mm256_castsi256_ps(doubled)));
        for (size_t b = 0; b < 8; b++) {
            const float *from = x + i + b * ACT_BLOCK_LEN;
            const __m256i codes = _mm256_set_m128i(codes16(from + 16, inverses[b], has_codes),
                                                   codes16(from, inverses[b], has_codes));
            _mm256_storeu_si256((__m256i *)block->steps[b].codes, codes);
            pairs[b] = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
        }
        put_step_sums(block, pairs, n);
    }
}

void act_residual_steps_avx512(float *r, const float *x, const void *act, size_t k) {
    const act_block_steps *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN) {
        const act_block_steps *b = block + i / ACT_LONG_LEN;
        const act_step *step = &b->steps[i % ACT_LONG_LEN / ACT_BLOCK_LEN];
        residual32(r + i, x + i, b->scale * act_step_factor(step), step->codes);
    }
}
