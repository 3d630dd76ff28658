/* linear_few_avx512.c - few rows of x against codes of two and three bits (few_bits_avx512.h), by
 * AVX-512 VNNI.
 */
#include "kernels/x86/few_bits_avx512.h"

VNNI_INLINE __m512i two_bits(__m512i word, const uint8_t *high, unsigned t, unsigned bit) {
    return _mm512_and_si512(_mm512_srli_epi16(word, 2 * t), _mm512_set1_epi8(3));
}

/* Numbers of three bits are 4 more than values, digits 1. */
VNNI_INLINE __m512i three_bits(__m512i word, const uint8_t *high, unsigned t, unsigned bit) {
    const __m512i third = _mm512_loadu_si512(high);
    const __m512i moved =
        bit < 2 ? _mm512_slli_epi16(third, 2 - bit) : _mm512_srli_epi16(third, bit - 2);
    const __m512i numbers = _mm512_ternarylogic_epi64(two_bits(word, NULL, t, 0), moved,
                                                      _mm512_set1_epi8(4), 0xf8); /* a | (b & c) */
    return _mm512_add_epi8(numbers, _mm512_set1_epi8(128 - 4));
}

VNNI_INLINE __m512i digits(__m512i word, const uint8_t *high, unsigned t, unsigned bit) {
    return _mm512_add_epi8(two_bits(word, NULL, t, 0), _mm512_set1_epi8(128 - 1));
}

FEW_ROWS_OF(q2_k, two_bits)
FEW_TILE(q2_k)
FEW_LINEAR(q2_k, avx512vnni)
FEW_ROWS_OF(q3_k, three_bits)
FEW_TILE(q3_k)
FEW_LINEAR(q3_k, avx512vnni)
FEW_ROWS_OF(tq2_0, digits)
FEW_TILE(tq2_0)
FEW_LINEAR(tq2_0, avx512vnni)
