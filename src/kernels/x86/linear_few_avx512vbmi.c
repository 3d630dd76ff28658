/* linear_few_avx512vbmi.c - few rows of x against codes of three bits and ternary ones
 * (few_bits_avx512.h), by AVX-512 with VNNI, VBMI and GFNI: values plus 128 in two or three
 * instructions for 64.
 */
#include "kernels/products.h"
#include "kernels/x86/few_bits_avx512.h"

/* A number of three bits is 4 more than its value, which plus 128 is 0x7c and the lower two bits,
 * or 0x80 and these: a third bit becomes either by a matrix of bits. */
VNNI_INLINE __m512i three_bits(__m512i word, const uint8_t *high, unsigned t, unsigned bit) {
    const __m512i matrix = _mm512_set1_epi64(0x0000010101010101ll << bit);
    const __m512i above = _mm512_gf2p8affine_epi64_epi8(_mm512_loadu_si512(high), matrix, 0x7c);
    return _mm512_ternarylogic_epi64(_mm512_srli_epi16(word, 2 * t), _mm512_set1_epi8(3), above,
                                     0xea); /* (a & b) | c */
}

/* A digit is 1 more than its value. vpermb reads six bits, and finds the same at all that differ
 * above two. */
VNNI_INLINE __m512i digits(__m512i word, const uint8_t *high, unsigned t, unsigned bit) {
    const __m512i values = _mm512_set1_epi32((int)0x8281807f);
    return _mm512_permutexvar_epi8(_mm512_srli_epi16(word, 2 * t), values);
}

FEW_ROWS_OF(q3_k, three_bits)
FEW_TILE(q3_k)
static FEW_LINEAR(q3_k, avx512vbmi) FEW_ROWS_OF(tq2_0, digits)
    FEW_TILE(tq2_0) static FEW_LINEAR(tq2_0, avx512vbmi)

#define X(NAME, name)                                                                            \
    void linear_##name##_avx512vbmi(float *y, size_t y_stride, const void *panel, const void *x, \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        if (m <= LINEAR_FEW_ROWS_MAX_##NAME) {                                                   \
            linear_few_##name##_avx512vbmi(y, y_stride, panel, x, x_stride_bytes, m, n, k);      \
        } else {                                                                                 \
            linear_##name##_avx512vnni(y, y_stride, panel, x, x_stride_bytes, m, n, k);          \
        }                                                                                        \
    }
        PRODUCTS_VBMI_BITS_LIST(X)
#undef X
