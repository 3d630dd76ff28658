/* rope_avx2.c - rotary position embedding, eight values at a time.
 *
 * Bound by loads and stores of the row. Products and sums are separate instructions, in the
 * reference's order, so that the bits are the reference's. Frequencies that are no multiple of
 * the vector end in a masked step and not in scalar code: gcc 12 turns a * c - b * s beside
 * b * c + a * s into a fused multiply-addsub even under -ffp-contract=off.
 */
#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/vecmath_avx2.h"

/* c and s of up to eight frequencies, from pairs side by side. */
INLINE_AVX2 void split_table(__m256 *c, __m256 *s, __m256 t0, __m256 t1) {
    const __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(t0, t1, 0x88));
    const __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(t0, t1, 0xDD));
    *c = _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xD8));
    *s = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xD8));
}

void rope_halves_f32_avx2(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                          size_t n_freqs) {
    size_t i = 0;
    __m256 c, s;
    for (; i + 8 <= n_freqs; i += 8) {
        split_table(&c, &s, _mm256_loadu_ps(cos_sin + 2 * i), _mm256_loadu_ps(cos_sin + 2 * i + 8));
        for (size_t h = 0; h < n_heads; h++) {
            float *lo = x + h * head_stride + i;
            float *hi = lo + n_freqs;
            const __m256 a = _mm256_loadu_ps(lo), b = _mm256_loadu_ps(hi);
            _mm256_storeu_ps(lo, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
            _mm256_storeu_ps(hi, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
        }
    }
    if (i == n_freqs) {
        return;
    }
    const size_t left = n_freqs - i;
    const __m256i mask = lanes_mask_avx2(left);
    const __m256i mask0 = lanes_mask_avx2(left < 4 ? 2 * left : 8);
    const __m256i mask1 = lanes_mask_avx2(left < 4 ? 0 : 2 * left - 8);
    split_table(&c, &s, _mm256_maskload_ps(cos_sin + 2 * i, mask0),
                _mm256_maskload_ps(cos_sin + 2 * i + 8, mask1));
    for (size_t h = 0; h < n_heads; h++) {
        float *lo = x + h * head_stride + i;
        float *hi = lo + n_freqs;
        const __m256 a = _mm256_maskload_ps(lo, mask), b = _mm256_maskload_ps(hi, mask);
        const __m256 lo_new = _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s));
        _mm256_maskstore_ps(lo, mask, lo_new);
        _mm256_maskstore_ps(hi, mask, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
    }
}

/* Four pairs: a c - b s in the even lanes, b c + a s in the odd. */
INLINE_AVX2 __m256 rotate_pairs(__m256 ab, __m256 table) {
    const __m256 c = _mm256_moveldup_ps(table), s = _mm256_movehdup_ps(table);
    const __m256 ba = _mm256_permute_ps(ab, 0xB1);
    return _mm256_addsub_ps(_mm256_mul_ps(ab, c), _mm256_mul_ps(ba, s));
}

void rope_pairs_f32_avx2(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                         size_t n_freqs) {
    size_t i = 0;
    for (; i + 4 <= n_freqs; i += 4) {
        const __m256 table = _mm256_loadu_ps(cos_sin + 2 * i);
        for (size_t h = 0; h < n_heads; h++) {
            float *pairs = x + h * head_stride + 2 * i;
            _mm256_storeu_ps(pairs, rotate_pairs(_mm256_loadu_ps(pairs), table));
        }
    }
    if (i == n_freqs) {
        return;
    }
    const __m256i mask = lanes_mask_avx2(2 * (n_freqs - i));
    const __m256 table = _mm256_maskload_ps(cos_sin + 2 * i, mask);
    for (size_t h = 0; h < n_heads; h++) {
        float *pairs = x + h * head_stride + 2 * i;
        _mm256_maskstore_ps(pairs, mask, rotate_pairs(_mm256_maskload_ps(pairs, mask), table));
    }
}
