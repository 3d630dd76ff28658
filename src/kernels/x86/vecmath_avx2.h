/* vecmath_avx2.h - exp, tanh and sums over eight lanes, for the AVX2 files alone.
 *
 * exp: x = n ln2 + r with |r| <= ln2 / 2, ln2 in two floats; e^r = 1 + r + r^2 P(r), P of degree 4
 * interpolated at the Chebyshev nodes (relative error 9e-9 before rounding). tanh: an odd
 * polynomial below 0.625, 1 - 2 / (e^2x + 1) above. Measured against double: at most 2 ULP.
 *
 * Everything is static inline: no AVX2 copy of anything can be linked into portable code.
 */
#ifndef WEFT_KERNELS_X86_VECMATH_AVX2_H
#define WEFT_KERNELS_X86_VECMATH_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* For inner loops whose shape is a constant argument: each use becomes its own code. */
#define INLINE_AVX2 static inline __attribute__((always_inline))

/* First n (0..8) lanes set: for maskload and maskstore. */
static inline __m256i lanes_mask_avx2(size_t n) {
    static const int32_t table[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(table + 8 - n));
}

/* ((l0+l2)+(l1+l3)) + ((l4+l6)+(l5+l7)): the one tree of this folder. */
static inline float sum_lanes_avx2(__m256 v) {
    const __m256 a = _mm256_add_ps(v, _mm256_permute_ps(v, 0xEE)); /* l0+l2 l1+l3 | l4+l6 l5+l7 */
    const __m256 b = _mm256_add_ps(a, _mm256_movehdup_ps(a));
    return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1)));
}

static inline float max_lanes_avx2(__m256 v) {
    const __m128 a = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 b = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

/* *n <- round(x / ln2); returns e^(x - n ln2), in [0.70, 1.42]. */
static inline __m256 exp_reduced_avx2(__m256 x, __m256i *n) {
    const __m256 t = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(t, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fnmadd_ps(t, _mm256_set1_ps(-0.000212194440f), r);
    __m256 p = _mm256_set1_ps(0x1.6e0dbap-10f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.120ba2p-7f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5553eap-5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5554dcp-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    *n = _mm256_cvtps_epi32(t);
    return _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
}

/* e^x for any x: denormal results, infinity above 88.72, NaN for NaN. The power of two goes in by
 * halves, since 2^128 and 2^-149 are no normal floats. */
static inline __m256 exp_avx2(__m256 x) {
    x = _mm256_max_ps(_mm256_set1_ps(-104.0f), _mm256_min_ps(_mm256_set1_ps(89.0f), x));
    __m256i n;
    const __m256 e = exp_reduced_avx2(x, &n);
    const __m256i half = _mm256_srai_epi32(n, 1), rest = _mm256_sub_epi32(n, half);
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const __m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(e, a), b);
}

/* e^x for x <= 0 where results below 1e-38 may be 0: what a softmax needs. Minus infinity
 * gives exactly 0. */
static inline __m256 exp_neg_avx2(__m256 x) {
    const __m256 lowest = _mm256_set1_ps(-87.0f);
    const __m256 is_kept = _mm256_cmp_ps(x, lowest, _CMP_GE_OQ);
    __m256i n;
    const __m256 e = exp_reduced_avx2(_mm256_max_ps(x, lowest), &n);
    const __m256i bits = _mm256_add_epi32(_mm256_castps_si256(e), _mm256_slli_epi32(n, 23));
    return _mm256_and_ps(_mm256_castsi256_ps(bits), is_kept);
}

static inline float exp_neg_1_avx2(float x) {
    return _mm256_cvtss_f32(exp_neg_avx2(_mm256_set1_ps(x)));
}

static inline __m256 tanh_avx2(__m256 x) {
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    const __m256 a = _mm256_andnot_ps(sign, x);
    const __m256 e = exp_avx2(_mm256_add_ps(a, a));
    const __m256 large =
        _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), _mm256_add_ps(e, one)));
    const __m256 z = _mm256_mul_ps(x, x);
    __m256 p = _mm256_set1_ps(-0.00609629974f);
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.0209968947f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0.0538508482f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(0.133327693f));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-0.333333284f));
    const __m256 small = _mm256_fmadd_ps(_mm256_mul_ps(p, z), x, x);
    const __m256 is_small = _mm256_cmp_ps(a, _mm256_set1_ps(0.625f), _CMP_LT_OQ);
    return _mm256_blendv_ps(_mm256_or_ps(large, _mm256_and_ps(sign, x)), small, is_small);
}

#endif /* WEFT_KERNELS_X86_VECMATH_AVX2_H */
