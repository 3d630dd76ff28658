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
#include "kernels/products.h"
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

/* sums [rows][16] += x . slab; x has the slab's 128 columns. */
typedef void f8_slab_fn(float *sums, const slab_f8_e4m3 *slab, const uint8_t *x, size_t x_stride,
                        size_t rows);

/* The product (kernels.h) of a panel whose slabs `add` multiplies; 128 values of x take x_step. */
VNNI_INLINE void f8_linear(f8_slab_fn *add, size_t x_step, float *y, size_t y_stride,
                           const slab_f8_e4m3 *panel, const uint8_t *x, size_t x_stride, size_t m,
                           size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        vnni_begin_outputs(sums, y + from * y_stride, y_stride, rows);
        for (size_t i = 0; i < k / PAIRS_BLOCK_LEN; i++) {
            add(sums, panel + i, x + from * x_stride + i * x_step, x_stride, rows);
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}

#endif /* WEFT_KERNELS_X86_F8_AVX512_H */
