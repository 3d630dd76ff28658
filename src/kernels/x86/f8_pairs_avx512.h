/* f8_pairs_avx512.h - F8_E4M3 as pairs of bf16, for tiles of AMX.
 *
 * 64 codes become two registers in ten instructions: GFNI places the bits.
 */
#ifndef WEFT_KERNELS_X86_F8_PAIRS_AVX512_H
#define WEFT_KERNELS_X86_F8_PAIRS_AVX512_H

#include "kernels/x86/f8_avx512.h"

/* Codes in pairs of bf16, which holds them exactly. The upper byte of a bf16 number is sign and
 * exponent but for its last bit, the lower one that bit and the mantissa; codes without an exponent
 * are looked up. Returns the magnitudes. */
VNNI_INLINE __m512i f8_to_pairs(__m512i pairs[2], __m512i codes) {
    const __m512i upper = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i lower = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0, (char)0x80, (char)0xc0, 0, 0x20, 0x40, 0x60, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i magnitude = _mm512_and_si512(codes, _mm512_set1_epi8(0x7f));
    const __mmask64 is_low = _mm512_testn_epi8_mask(codes, _mm512_set1_epi8(0x78));
    /* Bits in any order: s, e3, four times not e3, e2, e1; and e0, m, four zeros. */
    __m512i high = _mm512_gf2p8affine_epi64_epi8(
        codes, _mm512_set1_epi64((long long)0x1020404040404080), 0x3c);
    __m512i low = _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(0x0000000001020408), 0);
    high = _mm512_mask_shuffle_epi8(high, is_low, upper, magnitude);
    /* high | (codes & 0x80) */
    high = _mm512_ternarylogic_epi64(high, codes, _mm512_set1_epi8((char)0x80), 0xf8);
    low = _mm512_mask_shuffle_epi8(low, is_low, lower, magnitude);
    pairs[0] = _mm512_unpacklo_epi8(low, high);
    pairs[1] = _mm512_unpackhi_epi8(low, high);
    return magnitude;
}

/* A slab: pairs of columns, each 16 outputs with both, and scales; both aligned to 64. */
VNNI_INLINE void f8_open_pairs(uint16_t pairs[PAIRS_BLOCK_LEN / 2][32],
                               float scale[PACK_PANEL_ROWS], const slab_f8_e4m3 *slab) {
    __m512i largest = _mm512_setzero_si512();
    vnni_fetch_line((const uint8_t *)slab);
    for (size_t g = 0; g < PAIRS_BLOCK_LEN / 4; g++) {
        __m512i two[2];
        vnni_fetch_line(slab->codes[g]);
        largest = _mm512_max_epu8(largest, f8_to_pairs(two, _mm512_loadu_si512(slab->codes[g])));
        _mm512_store_si512(pairs[2 * g], two[0]);
        _mm512_store_si512(pairs[2 * g + 1], two[1]);
    }
    _mm512_store_ps(scale, _mm512_loadu_ps(slab->scale));
    f8_mark_nan(scale, largest);
}

#endif /* WEFT_KERNELS_X86_F8_PAIRS_AVX512_H */
