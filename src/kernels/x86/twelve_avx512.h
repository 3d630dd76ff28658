/* twelve_avx512.h - codes as products with 12-bit activations read them (ACT_Q12): two bytes.
 *
 *   u = w * 2^s    as large as a byte holds: s is 4 for 4 bits, 3 for 5, 0 for 8
 *   v = u >> 4     exact for 4 bits, to the nearest 8th (5 bits) or 16 (8 bits) below for more
 *
 *   sum of w * (16 * a + b) * 2^s / 16  is taken as  sum of u * a + v * b
 *
 * Codes with a middle are stored with it: u + 128 and v + 8, whatever s.
 */
#ifndef WEFT_KERNELS_X86_TWELVE_AVX512_H
#define WEFT_KERNELS_X86_TWELVE_AVX512_H

#include "kernels/x86/vnni_avx512.h"

typedef struct twelve_bytes {
    __m512i u, v;
} twelve_bytes;

/* What a block's scale is times of: 16 / 2^s. */
VNNI_INLINE float twelve_unit(vnni_kind kind) {
    switch (kind.codes) {
    case VNNI_CODES_4: return 1.0f;
    case VNNI_CODES_5:
    case VNNI_CODES_E2M1: return 2.0f;
    default: return 16.0f;
    }
}

VNNI_INLINE __m512i twelve_sixteenth(__m512i u) {
    return _mm512_and_si512(_mm512_srli_epi16(u, 4), _mm512_set1_epi8(15));
}

/* Group 0..7 of a block, with the middle. */
VNNI_INLINE twelve_bytes twelve_of(vnni_kind kind, const uint8_t *at, int group) {
    if (kind.codes == VNNI_CODES_4) {
        const __m512i low = _mm512_set1_epi8(15), both = vnni_load(at + 64 * (group / 2));
        const __m512i moved =
            group % 2 == 0 ? _mm512_slli_epi16(both, 4) : _mm512_srli_epi16(both, 4);
        const __m512i v = _mm512_and_si512(group % 2 == 0 ? both : moved, low);
        return (twelve_bytes){_mm512_andnot_si512(low, group % 2 == 0 ? moved : both), v};
    }
    const __m512i q = vnni_weights(kind.codes, at, group);
    if (kind.codes == VNNI_CODES_5 || kind.codes == VNNI_CODES_E2M1) {
        const __m512i half = _mm512_srli_epi16(q, 1);
        return (twelve_bytes){_mm512_slli_epi16(q, 3),
                              _mm512_and_si512(half, _mm512_set1_epi8(15))};
    }
    return (twelve_bytes){q, twelve_sixteenth(q)};
}

/* The same less the middle. */
VNNI_INLINE twelve_bytes twelve_centred(vnni_kind kind, const uint8_t *at, int group) {
    twelve_bytes w = twelve_of(kind, at, group);
    if (kind.log2_middle != 0) {
        w.u = _mm512_xor_si512(w.u, _mm512_set1_epi8((char)0x80));
        w.v = _mm512_sub_epi8(w.v, _mm512_set1_epi8(8));
    }
    return w;
}

#endif /* WEFT_KERNELS_X86_TWELVE_AVX512_H */
