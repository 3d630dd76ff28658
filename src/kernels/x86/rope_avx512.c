/* rope_avx512.c - rotary position embedding, sixteen values at a time.
 *
 * Bound by loads and stores of the row. Products and sums are separate instructions, in the
 * reference's order, so that the bits are the reference's; tails are masked steps, since gcc would
 * fuse scalar ones (README.md, rule 4 for kernels).
 */
#include "kernels/x86/kernels_avx512.h"
#include "kernels/x86/vecmath_avx512.h"

void rope_halves_f32_avx512(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                            size_t n_freqs) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
    for (size_t i = 0; i < n_freqs; i += 16) {
        const size_t left = n_freqs - i;
        const __mmask16 mask = lanes_mask_avx512(left);
        const __m512 t0 = _mm512_maskz_loadu_ps(lanes_mask_avx512(2 * left), cos_sin + 2 * i);
        const __m512 t1 = _mm512_maskz_loadu_ps(lanes_mask_avx512(left > 8 ? 2 * left - 16 : 0),
                                                cos_sin + 2 * i + 16);
        const __m512 c = _mm512_permutex2var_ps(t0, even, t1);
        const __m512 s = _mm512_permutex2var_ps(t0, odd, t1);
        for (size_t h = 0; h < n_heads; h++) {
            float *lo = x + h * head_stride + i;
            float *hi = lo + n_freqs;
            const __m512 a = _mm512_maskz_loadu_ps(mask, lo), b = _mm512_maskz_loadu_ps(mask, hi);
            const __m512 lo_new = _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s));
            const __m512 hi_new = _mm512_add_ps(_mm512_mul_ps(b, c), _mm512_mul_ps(a, s));
            _mm512_mask_storeu_ps(lo, mask, lo_new);
            _mm512_mask_storeu_ps(hi, mask, hi_new);
        }
    }
}

/* Eight pairs at a time: a c - b s in the even lanes, b c + a s in the odd. */
void rope_pairs_f32_avx512(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                           size_t n_freqs) {
    for (size_t i = 0; i < n_freqs; i += 8) {
        const __mmask16 mask = lanes_mask_avx512(2 * (n_freqs - i));
        const __m512 table = _mm512_maskz_loadu_ps(mask, cos_sin + 2 * i);
        const __m512 c = _mm512_moveldup_ps(table), s = _mm512_movehdup_ps(table);
        for (size_t h = 0; h < n_heads; h++) {
            float *pairs = x + h * head_stride + 2 * i;
            const __m512 ab = _mm512_maskz_loadu_ps(mask, pairs);
            const __m512 abc = _mm512_mul_ps(ab, c);
            const __m512 bas = _mm512_mul_ps(_mm512_permute_ps(ab, 0xB1), s);
            const __m512 sum = _mm512_add_ps(abc, bas);
            _mm512_mask_storeu_ps(pairs, mask, _mm512_mask_sub_ps(sum, 0x5555, abc, bas));
        }
    }
}
