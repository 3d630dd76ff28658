/* f8_avx512.h - what products of F8_E4M3 share, by words or by pairs of bf16.
 *
 * 64 codes are 4 columns of the 16 rows of a panel, in an order (slab.h) in which two of each row
 * come out as a pair, all rows in a register.
 */
#ifndef WEFT_KERNELS_X86_F8_AVX512_H
#define WEFT_KERNELS_X86_F8_AVX512_H

#include <immintrin.h>
#include <math.h>

#include "base/compiler.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/pack.h"
#include "layout/slab.h"

/* Of a number for each row, those become NaN whose magnitudes, at most `largest`, reach a NaN's. */
VNNI_INLINE void f8_mark_nan(float numbers[PACK_PANEL_ROWS], __m512i largest) {
    uint64_t nan = _mm512_cmpeq_epi8_mask(largest, _mm512_set1_epi8(0x7f));
    for (; nan != 0; nan &= nan - 1) {
        numbers[slab_f8_e4m3_row((size_t)__builtin_ctzll(nan))] = NAN;
    }
}

#endif /* WEFT_KERNELS_X86_F8_AVX512_H */
