/* kv_store_avx2.c - one head's key or value into the cache's format.
 *
 * Each gives the bits of the reference (tensor/quant_encode.c), down to how the formats round: F16
 * to nearest even, Q8_0 half away from zero, Q4_0 by truncation. A value that is not finite gives
 * some code. Bound by the quantisation arithmetic; the rows are short.
 */
#include <string.h>

#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/vecmath_avx2.h"

static void store_block_q8_0(uint8_t *dst, const float *src);
static void store_block_q4_0(uint8_t *dst, const float *src);

void kv_store_f16_avx2(void *dst, const float *src, size_t n) {
    uint16_t *out = dst;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)(out + i), h);
    }
    for (; i < n; i++) {
        out[i] = _cvtss_sh(src[i], _MM_FROUND_TO_NEAREST_INT);
    }
}

void kv_store_q8_0_avx2(void *dst, const float *src, size_t n) {
    for (size_t b = 0; b < n / 32; b++) {
        store_block_q8_0((uint8_t *)dst + b * 34, src + b * 32);
    }
}

void kv_store_q4_0_avx2(void *dst, const float *src, size_t n) {
    for (size_t b = 0; b < n / 32; b++) {
        store_block_q4_0((uint8_t *)dst + b * 18, src + b * 32);
    }
}

static inline float absmax_32(const float *src) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_andnot_ps(sign, _mm256_loadu_ps(src));
    for (int j = 1; j < 4; j++) {
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, _mm256_loadu_ps(src + 8 * j)));
    }
    return max_lanes_avx2(most);
}

static inline void store_f16(uint8_t *dst, float value) {
    const uint16_t h = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT);
    memcpy(dst, &h, sizeof(h));
}

/* Block: f16 scale, 32 int8 codes. */
static void store_block_q8_0(uint8_t *dst, const float *src) {
    const float d = absmax_32(src) / 127.0f;
    const __m256 inverse = _mm256_set1_ps(d != 0.0f ? 1.0f / d : 0.0f);
    const __m256 sign = _mm256_set1_ps(-0.0f), half = _mm256_set1_ps(0.5f);
    __m256i q[4];
    for (int j = 0; j < 4; j++) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(src + 8 * j), inverse);
        const __m256 a = _mm256_andnot_ps(sign, v);
        const __m256 whole = _mm256_floor_ps(a);
        const __m256 is_up = _mm256_cmp_ps(_mm256_sub_ps(a, whole), half, _CMP_GE_OQ);
        const __m256 up = _mm256_add_ps(whole, _mm256_and_ps(is_up, _mm256_set1_ps(1.0f)));
        const __m256 number = _mm256_and_ps(up, _mm256_cmp_ps(a, a, _CMP_ORD_Q));
        const __m256 code = _mm256_min_ps(number, _mm256_set1_ps(127.0f));
        q[j] = _mm256_cvtps_epi32(_mm256_or_ps(code, _mm256_and_ps(sign, v)));
    }
    const __m256i lo = _mm256_packs_epi32(q[0], q[1]), hi = _mm256_packs_epi32(q[2], q[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(lo, hi), order);
    store_f16(dst, d);
    _mm256_storeu_si256((__m256i *)(void *)(dst + 2), codes);
}

/* Block: f16 scale, 16 bytes; byte j holds the codes of j (low) and j + 16 (high). The scale is
 * -1/8 of the value of largest magnitude (the first of equals), so that it gets code 0. */
static void store_block_q4_0(uint8_t *dst, const float *src) {
    const float most = absmax_32(src);
    size_t at = 0;
    while (at < 31 && src[at] != most && src[at] != -most) {
        at++;
    }
    const float d = src[at] / -8.0f;
    const __m256 inverse = _mm256_set1_ps(d != 0.0f ? 1.0f / d : 0.0f);
    __m256i q[4];
    for (int j = 0; j < 4; j++) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(src + 8 * j), inverse);
        const __m256 at_least_0 =
            _mm256_max_ps(_mm256_add_ps(v, _mm256_set1_ps(8.5f)), _mm256_setzero_ps());
        q[j] = _mm256_cvttps_epi32(_mm256_min_ps(at_least_0, _mm256_set1_ps(15.0f)));
    }
    const __m256i lo = _mm256_or_si256(q[0], _mm256_slli_epi32(q[2], 4));
    const __m256i hi = _mm256_or_si256(q[1], _mm256_slli_epi32(q[3], 4));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xD8);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    store_f16(dst, d);
    _mm_storeu_si128((__m128i *)(void *)(dst + 2), bytes);
}
