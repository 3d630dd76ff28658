/* few_avx512.h - few rows of x, in steps, against codes that are multiplied as they are opened.
 */
#ifndef WEFT_KERNELS_X86_FEW_AVX512_H
#define WEFT_KERNELS_X86_FEW_AVX512_H

#include <immintrin.h>
#include <stddef.h>

#include "base/compiler.h"
#include "kernels/x86/linear_few_avx512.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/slab.h"

#define FEW_ROWS 4u /* of a tile */

/* Rows of x, at a block of 256. */
typedef struct few_rows {
    const uint8_t *x;
    size_t stride;
} few_rows;

VNNI_INLINE const act_block_steps *few_block(few_rows x, int r) {
    return (const act_block_steps *)(x.x + (size_t)r * x.stride);
}

/* The same, but that gcc does not load what comes from it long before, and then spill it. */
VNNI_INLINE few_rows few_later(few_rows x) {
    __asm__("" : "+r"(x.x));
    return x;
}

/* sums += group g of block b, whose codes these are. */
VNNI_INLINE void few_add_codes(int rows, __m512i sums[FEW_ROWS], __m512i codes, few_rows x,
                               size_t b, size_t g) {
    for (int r = 0; r < rows; r++) {
        const int8_t *columns = few_block(x, r)->steps[b].codes + 4 * g;
        sums[r] = _mm512_dpbusd_epi32(sums[r], codes, vnni_broadcast32(columns));
    }
}

VNNI_INLINE void few_zero(int rows, __m512 v[FEW_ROWS]) {
    for (int r = 0; r < rows; r++) {
        v[r] = _mm512_setzero_ps();
    }
}

/* y [rows][16] += sums of 256 columns * d */
VNNI_INLINE void few_add_summed(int rows, float *y, const __m512 v[FEW_ROWS], __m512 d,
                                few_rows x) {
    for (int r = 0; r < rows; r++) {
        float *to = y + r * PACK_PANEL_ROWS;
        _mm512_store_ps(to, vnni_add_steps(_mm512_load_ps(to), v[r], d, few_block(x, r)));
    }
}

/* A tile of rows_NAME(rows, y, slab, x), a copy of the code for each number of rows; and the
 * product of such tiles, LEVEL's: a slab stays in the first-level cache while they read it. */
#define FEW_TILE(name)                                                                \
    static void tile_##name(size_t rows, float *y, const uint8_t *slab, few_rows x) { \
        switch (rows) {                                                               \
        case 1: rows_##name(1, y, slab, x); return;                                   \
        case 2: rows_##name(2, y, slab, x); return;                                   \
        case 3: rows_##name(3, y, slab, x); return;                                   \
        default: rows_##name(4, y, slab, x); return;                                  \
        }                                                                             \
    }
#define FEW_LINEAR(name, level)                                                                    \
    void linear_few_##name##_##level(float *y, size_t y_stride, const void *panel, const void *x,  \
                                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {        \
        WEFT_ALIGNED(64) float sums[LINEAR_FEW_ROWS_MAX * PACK_PANEL_ROWS] = {0};                  \
        const uint8_t *slab = panel, *x_slab = x;                                                  \
        for (size_t col = 0; col < k; col += ACT_LONG_LEN) {                                       \
            for (size_t r = 0; r < m; r += FEW_ROWS) {                                             \
                tile_##name(m - r < FEW_ROWS ? m - r : FEW_ROWS, sums + r * PACK_PANEL_ROWS, slab, \
                            (few_rows){x_slab + r * x_stride_bytes, x_stride_bytes});              \
            }                                                                                      \
            slab += sizeof(slab_##name);                                                           \
            x_slab += VNNI_X_BYTES;                                                                \
        }                                                                                          \
        vnni_store_outputs(y, y_stride, sums, m, n);                                               \
    }

#endif /* WEFT_KERNELS_X86_FEW_AVX512_H */
