/* vecmath_avx512.h - exp, tanh and sums over sixteen lanes, for the AVX-512 files alone.
 *
 * The polynomials are those of vecmath_avx2.h, whose opening comment derives them; powers of two
 * go in by the scale instruction. Measured against double: at most 2 ULP.
 *
 * Everything is static inline: no AVX-512 copy of anything can be linked into portable code.
 */
#ifndef WEFT_KERNELS_X86_VECMATH_AVX512_H
#define WEFT_KERNELS_X86_VECMATH_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* For inner loops whose shape is a constant argument: each use becomes its own code. */
#define INLINE_AVX512 static inline __attribute__((always_inline))

/* First n lanes set; all for n of 16 and more. */
static inline __mmask16 lanes_mask_avx512(size_t n) {
    return n >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << n) - 1u);
}

/* Halves are added until one lane is left: the one tree of the AVX-512 files. */
static inline float sum_lanes_avx512(__m512 v) {
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

static inline float max_lanes_avx512(__m512 v) {
    const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

/* *n <- round(x / ln2); returns e^(x - n ln2), in [0.70, 1.42]. */
static inline __m512 exp_reduced_avx512(__m512 x, __m512 *n) {
    const __m512 t = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(t, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(t, _mm512_set1_ps(-0.000212194440f), r);
    __m512 p = _mm512_set1_ps(0x1.6e0dbap-10f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.120ba2p-7f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5553eap-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5554dcp-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    *n = t;
    return _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
}

/* e^x for any x: denormal results, infinity above 88.72, NaN for NaN. */
static inline __m512 exp_avx512(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), _mm512_min_ps(_mm512_set1_ps(89.0f), x));
    __m512 n;
    const __m512 e = exp_reduced_avx512(x, &n);
    return _mm512_scalef_ps(e, n);
}

/* e^x for x <= 0 where results below 1e-38 may be 0: what a softmax needs. Minus infinity
 * gives exactly 0. */
static inline __m512 exp_neg_avx512(__m512 x) {
    const __m512 lowest = _mm512_set1_ps(-87.0f);
    const __mmask16 is_kept = _mm512_cmp_ps_mask(x, lowest, _CMP_GE_OQ);
    __m512 n;
    const __m512 e = exp_reduced_avx512(_mm512_max_ps(x, lowest), &n);
    return _mm512_maskz_scalef_ps(is_kept, e, n);
}

static inline float exp_neg_1_avx512(float x) {
    return _mm512_cvtss_f32(exp_neg_avx512(_mm512_set1_ps(x)));
}

static inline __m512 tanh_avx512(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 a = _mm512_abs_ps(x);
    const __m512 sign = _mm512_and_ps(x, _mm512_set1_ps(-0.0f));
    const __m512 e = exp_avx512(_mm512_add_ps(a, a));
    const __m512 large =
        _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(e, one)));
    const __m512 z = _mm512_mul_ps(x, x);
    __m512 p = _mm512_set1_ps(-0.00609629974f);
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0.0209968947f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-0.0538508482f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0.133327693f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-0.333333284f));
    const __m512 small = _mm512_fmadd_ps(_mm512_mul_ps(p, z), x, x);
    const __mmask16 is_small = _mm512_cmp_ps_mask(a, _mm512_set1_ps(0.625f), _CMP_LT_OQ);
    return _mm512_mask_blend_ps(is_small, _mm512_or_ps(large, sign), small);
}

#endif /* WEFT_KERNELS_X86_VECMATH_AVX512_H */
