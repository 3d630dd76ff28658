/* act_split_amx.c - a row of float32 into three bfloat16 a value, for linear_float_amx.c.
 */
#include <immintrin.h>

#include "kernels/products.h"

/* The 16 nearest bfloat16 to v. */
static inline __m256i nearest(__m512 v) { return (__m256i)_mm512_cvtneps_pbh(v); }

static inline __m512 as_float(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

void act_quantize_split_amx(void *act, const float *x, size_t k) {
    act_block_split *block = act;
    for (size_t i = 0; i < k; i += 16) {
        const size_t left = k - i, at = i % ACT_BLOCK_LEN;
        const __mmask16 there = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffffu);
        __m512 v = _mm512_maskz_loadu_ps(there, x + i);
        for (size_t piece = 0; piece < 3; piece++) {
            const __m256i halves = nearest(v);
            _mm256_storeu_si256((__m256i *)&block->piece[piece][at], halves);
            v = _mm512_sub_ps(v, as_float(halves));
        }
        if (left <= 16 && at == 0) {
            for (size_t piece = 0; piece < 3; piece++) {
                _mm256_storeu_si256((__m256i *)&block->piece[piece][16], _mm256_setzero_si256());
            }
        }
        block += at / 16;
    }
}
