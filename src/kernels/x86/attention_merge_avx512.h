/* attention_merge_avx512.h - arithmetic on rows with sixteen lanes, by which attention_walk.inc
 * merges parts. */
#ifndef WEFT_KERNELS_X86_ATTENTION_MERGE_AVX512_H
#define WEFT_KERNELS_X86_ATTENTION_MERGE_AVX512_H

#include "kernels/x86/vecmath_avx512.h"

static inline float exp_1(float x) { return exp_neg_1_avx512(x); }

static inline void row_merge(float *sum, float keep, const float *acc, float add, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_mask_avx512(n - i);
        const __m512 kept =
            _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, sum + i), _mm512_set1_ps(keep));
        const __m512 added =
            _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, acc + i), _mm512_set1_ps(add));
        _mm512_mask_storeu_ps(sum + i, mask, _mm512_add_ps(kept, added));
    }
}

static inline void row_scale(float *row, float factor, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = lanes_mask_avx512(n - i);
        const __m512 x = _mm512_maskz_loadu_ps(mask, row + i);
        _mm512_mask_storeu_ps(row + i, mask, _mm512_mul_ps(x, _mm512_set1_ps(factor)));
    }
}

#endif /* WEFT_KERNELS_X86_ATTENTION_MERGE_AVX512_H */
