/* twelve_avx512.h - codes as products with 12-bit activations read them (ACT_Q12): two bytes.
 *
 *   u = w * 2^s    as large as a byte holds: s is 4 for 4 bits, 3 for 5, 0 for 8
 *   v = u >> 4     exact for 4 bits, to the nearest 8th (5 bits) or 16 (8 bits) below for more
 *
 *   sum of w * (16 * a + b) * 2^s / 16  is taken as  sum of u * a + v * b
 *
 * Codes with a middle are stored with it: u + 128 and v + 8, whatever s. Where there are minimums
 * besides, the middle stays in the codes.
 */
#ifndef WEFT_KERNELS_X86_TWELVE_AVX512_H
#define WEFT_KERNELS_X86_TWELVE_AVX512_H

#include "kernels/x86/vnni_avx512.h"

typedef struct twelve_bytes {
    __m512i u, v;
} twelve_bytes;

VNNI_INLINE vnni_kind twelve_kind(vnni_kind kind) {
    kind.log2_middle = vnni_has_mins(kind) ? 0 : kind.log2_middle;
    return kind;
}

/* What a block's scale is times of: 16 / 2^s. */
VNNI_INLINE float twelve_unit(vnni_kind kind) {
    switch (kind.codes) {
    case VNNI_CODES_4: return 1.0f;
    case VNNI_CODES_5:
    case VNNI_CODES_E2M1: return 2.0f;
    default: return 16.0f;
    }
}

/* Each byte a number of bits to the left, less than 0: to the right. Zeros come in. */
VNNI_INLINE __m512i twelve_shift(__m512i bytes, int left) {
    const uint64_t same = 0x0102040810204080u; /* a row of bits for each bit of the result */
    const uint64_t matrix = left > 0 ? same >> (8 * left) : same << (-8 * left);
    return _mm512_gf2p8affine_epi64_epi8(bytes, _mm512_set1_epi64((long long)matrix), 0);
}

/* Group 0..7 of a block, with the middle. */
VNNI_INLINE twelve_bytes twelve_of(vnni_kind kind, const uint8_t *at, int group) {
    if (kind.codes == VNNI_CODES_4) {
        const __m512i low = _mm512_set1_epi8(15), both = vnni_load(at + 64 * (group / 2));
        if (group % 2 == 0) {
            return (twelve_bytes){twelve_shift(both, 4), _mm512_and_si512(both, low)};
        }
        return (twelve_bytes){_mm512_andnot_si512(low, both), twelve_shift(both, -4)};
    }
    const __m512i q = vnni_weights(kind.codes, at, group);
    if (kind.codes == VNNI_CODES_5 || kind.codes == VNNI_CODES_E2M1) {
        return (twelve_bytes){_mm512_slli_epi16(q, 3), twelve_shift(q, -1)};
    }
    return (twelve_bytes){q, twelve_shift(q, -4)};
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
