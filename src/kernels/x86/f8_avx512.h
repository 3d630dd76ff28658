/* f8_avx512.h - codes of F8_E4M3 to bf16, which holds them exactly.
 *
 * 64 codes are 4 columns of the 16 rows of a panel, in an order (slab.h) in which two of each row
 * come out as a pair of bf16, all rows in a register.
 */
#ifndef WEFT_KERNELS_X86_F8_AVX512_H
#define WEFT_KERNELS_X86_F8_AVX512_H

#include <immintrin.h>
#include <math.h>

#include "base/compiler.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/pack.h"
#include "layout/slab.h"

#define F8_AHEAD_BYTES 8192 /* prefetchers of the processor stop at 4 KB */

/* The upper byte of a bf16 number is sign and exponent but for its last bit, the lower one that bit
 * and the mantissa; codes without an exponent are looked up. Returns the magnitudes. */
VNNI_INLINE __m512i f8_to_pairs(__m512i pairs[2], __m512i codes) {
    const __m512i upper = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c, 0x3c, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i lower = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0, (char)0x80, (char)0xc0, 0, 0x20, 0x40, 0x60, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i magnitude = _mm512_and_si512(codes, _mm512_set1_epi8(0x7f));
    const __mmask64 is_low = _mm512_testn_epi8_mask(codes, _mm512_set1_epi8(0x78));
#ifdef __GFNI__
    /* Bits in any order: s, e3, four times not e3, e2, e1; and e0, m, four zeros. */
    __m512i high = _mm512_gf2p8affine_epi64_epi8(
        codes, _mm512_set1_epi64((long long)0x1020404040404080), 0x3c);
    __m512i low = _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(0x0000000001020408), 0);
#else
    __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), _mm512_set1_epi8(7));
    high = _mm512_add_epi8(high, _mm512_set1_epi8(0x3c)); /* (127 - 7) / 2 */
    __m512i low = _mm512_and_si512(_mm512_slli_epi16(codes, 4), _mm512_set1_epi8((char)0xf0));
#endif
    high = _mm512_mask_shuffle_epi8(high, is_low, upper, magnitude);
    /* high | (codes & 0x80) */
    high = _mm512_ternarylogic_epi64(high, codes, _mm512_set1_epi8((char)0x80), 0xf8);
    low = _mm512_mask_shuffle_epi8(low, is_low, lower, magnitude);
    pairs[0] = _mm512_unpacklo_epi8(low, high);
    pairs[1] = _mm512_unpackhi_epi8(low, high);
    return magnitude;
}

/* The scales of a slab; NaN for a row with a NaN among its codes, whose magnitudes are at most
 * `largest`. */
VNNI_INLINE void f8_open_scale(float scale[PACK_PANEL_ROWS], const slab_f8_e4m3 *slab,
                               __m512i largest) {
    _mm512_storeu_ps(scale, _mm512_loadu_ps(slab->scale));
    uint64_t nan = _mm512_cmpeq_epi8_mask(largest, _mm512_set1_epi8(0x7f));
    for (; nan != 0; nan &= nan - 1) {
        const size_t i = (size_t)__builtin_ctzll(nan);
        scale[i / 16 * 4 + i % 8 / 2] = NAN;
    }
}

#endif /* WEFT_KERNELS_X86_F8_AVX512_H */
