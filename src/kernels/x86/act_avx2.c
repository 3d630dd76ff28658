/* act_avx2.c - quantised activations, bit-identical to ref/act_ref.c.
 *
 * Magnitudes are compared as integers (layout/act.h says why), both scales come from one division
 * each, and vcvtps2dq rounds to nearest even as lrintf does. A block that is all tiny or not
 * finite takes the codes of zeros, by multiplying nothing.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/tile_avx2.h"

TILE_INLINE float block_scale(float *inverse, const float *x, float max_code) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i max8 = _mm256_and_si256(tile_load(x), magnitude);
    max8 = _mm256_max_epi32(max8, _mm256_and_si256(tile_load(x + 8), magnitude));
    max8 = _mm256_max_epi32(max8, _mm256_and_si256(tile_load(x + 16), magnitude));
    max8 = _mm256_max_epi32(max8, _mm256_and_si256(tile_load(x + 24), magnitude));
    __m128i max4 = _mm_max_epi32(_mm256_castsi256_si128(max8), _mm256_extracti128_si256(max8, 1));
    max4 = _mm_max_epi32(max4, _mm_shuffle_epi32(max4, 0x4e));
    max4 = _mm_max_epi32(max4, _mm_shuffle_epi32(max4, 0xb1));
    const float max = _mm_cvtss_f32(_mm_castsi128_ps(max4));
    *inverse = 0.0f;
    if (_mm_cvtsi128_si32(max4) >= 0x7f800000) {
        return NAN;
    }
    if (max < ACT_TINY) {
        return 0.0f;
    }
    *inverse = max_code / max;
    return max / max_code;
}

TILE_INLINE __m256i codes8(const float *x, float inverse) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), _mm256_set1_ps(inverse)));
}

/* 32 values to 16-bit codes in order, 16 in each register. */
TILE_INLINE void codes32(__m256i codes[2], const float *x, float inverse) {
    if (inverse == 0.0f) {
        codes[0] = _mm256_setzero_si256();
        codes[1] = codes[0];
        return;
    }
    for (size_t h = 0; h < 2; h++) {
        const __m256i packed =
            _mm256_packs_epi32(codes8(x + 16 * h, inverse), codes8(x + 16 * h + 8, inverse));
        codes[h] = _mm256_permute4x64_epi64(packed, 0xd8);
    }
}

/* Minus the sums over columns with column % 4 / 2 == 0 and 1, as two 16-bit numbers. */
TILE_INLINE uint32_t neg_sums(__m256i codes) {
    /* 32-bit lanes are pairs of columns; even lanes belong to sum 0, odd ones to sum 1. */
    const __m256i pairs = _mm256_madd_epi16(codes, _mm256_set1_epi16(-1));
    __m128i two = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    two = _mm_add_epi32(two, _mm_unpackhi_epi64(two, two));
    return (uint32_t)_mm_cvtsi128_si32(_mm_packs_epi32(two, two));
}

/* Eight values rounded, in the low halves of lanes. */
TILE_INLINE __m256i bf16_of(__m256i bits) {
    const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
    const __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f7f7fff));
    rounded = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(ACT_BF16_NAN), is_nan);
    const __m256i tiny = _mm256_castps_si256(_mm256_set1_ps(ACT_TINY));
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(tiny, magnitude), rounded);
}

void act_quantize_bf16_avx2(void *act, const float *x, size_t k) {
    uint16_t *to = act;
    size_t i = 0;
    for (; i + 16 <= k; i += 16) {
        const __m256i both =
            _mm256_packus_epi32(bf16_of(tile_load(x + i)), bf16_of(tile_load(x + i + 8)));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_permute4x64_epi64(both, 0xd8));
    }
    for (; i < k; i++) {
        const __m128i bits = _mm_castps_si128(_mm_load_ss(x + i));
        const __m256i one = bf16_of(_mm256_zextsi128_si256(bits));
        to[i] = (uint16_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(one));
    }
}

void act_quantize_q8_avx2(void *act, const float *x, size_t k) {
    act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        __m256i codes[2];
        float inverse;
        const float scale = block_scale(&inverse, x + i, 127.0f);
        codes32(codes, x + i, inverse);
        const __m256i bytes =
            _mm256_permute4x64_epi64(_mm256_packs_epi16(codes[0], codes[1]), 0xd8);
        const uint32_t sums[2] = {neg_sums(codes[0]), neg_sums(codes[1])};
        memcpy(block->neg_sums, sums, sizeof(sums));
        const int first = block->neg_sums[0][0] + block->neg_sums[0][1];
        const int neg_sum = first + block->neg_sums[1][0] + block->neg_sums[1][1];
        block->neg_totals[0] = first;
        block->neg_totals[1] = neg_sum;
        _mm256_storeu_si256((__m256i *)block->codes, bytes);
        block->scale = scale;
        block->sum = scale * (float)-neg_sum;
    }
}

static void quantize_words(act_block_q16 *block, const float *x, size_t k, float max_code) {
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        __m256i codes[2];
        float inverse;
        block->scale = block_scale(&inverse, x + i, max_code);
        codes32(codes, x + i, inverse);
        _mm256_storeu_si256((__m256i *)block->codes, codes[0]);
        _mm256_storeu_si256((__m256i *)(block->codes + 16), codes[1]);
    }
}

void act_quantize_q16_avx2(void *act, const float *x, size_t k) {
    quantize_words(act, x, k, 32767.0f);
}

void act_quantize_q9_avx2(void *act, const float *x, size_t k) {
    quantize_words(act, x, k, 255.0f);
}

void act_residual_q8_avx2(float *r, const float *x, const void *act, size_t k) {
    const act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        const __m256 scale = _mm256_set1_ps(block->scale);
        for (size_t l = 0; l < ACT_BLOCK_LEN; l += 8) {
            const __m128i codes = _mm_loadl_epi64((const __m128i *)(block->codes + l));
            const __m256 kept =
                _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)));
            _mm256_storeu_ps(r + i + l, _mm256_sub_ps(_mm256_loadu_ps(x + i + l), kept));
        }
    }
}
