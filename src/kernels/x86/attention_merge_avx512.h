/* attention_merge_avx512.h - how parts of attention are merged, with sixteen lanes: what
 * attention_walk.inc asks of its includers with AVX-512. */
#ifndef WEFT_KERNELS_X86_ATTENTION_MERGE_AVX512_H
#define WEFT_KERNELS_X86_ATTENTION_MERGE_AVX512_H

#include <string.h>

#include "kernels/x86/vecmath_avx512.h"

static inline void merge_record(float *sum_m, float *sum_l, float *sum, float m, float l,
                                const float *acc, size_t v_dim) {
    if (l == 0.0f) {
        return;
    }
    if (*sum_l == 0.0f) {
        *sum_m = m;
        *sum_l = l;
        memcpy(sum, acc, v_dim * sizeof(float));
        return;
    }
    const float most = m > *sum_m ? m : *sum_m;
    const float keep = exp_neg_1_avx512(*sum_m - most), add = exp_neg_1_avx512(m - most);
    *sum_m = most;
    *sum_l = *sum_l * keep + l * add;
    for (size_t i = 0; i < v_dim; i += 16) {
        const __mmask16 mask = lanes_mask_avx512(v_dim - i);
        const __m512 kept =
            _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, sum + i), _mm512_set1_ps(keep));
        const __m512 added =
            _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, acc + i), _mm512_set1_ps(add));
        _mm512_mask_storeu_ps(sum + i, mask, _mm512_add_ps(kept, added));
    }
}

static inline void finish(float *out, float m, float l, const float *sink, size_t v_dim) {
    float factor = 1.0f / l;
    if (sink != NULL) {
        const float most = *sink > m ? *sink : m;
        const float keep = exp_neg_1_avx512(m - most);
        factor = keep / (l * keep + exp_neg_1_avx512(*sink - most));
    }
    for (size_t i = 0; i < v_dim; i += 16) {
        const __mmask16 mask = lanes_mask_avx512(v_dim - i);
        const __m512 x = _mm512_maskz_loadu_ps(mask, out + i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(x, _mm512_set1_ps(factor)));
    }
}

#endif /* WEFT_KERNELS_X86_ATTENTION_MERGE_AVX512_H */
