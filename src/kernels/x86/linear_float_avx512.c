/* linear_float_avx512.c - products of F32, F16 and BF16 weights with float32 activations.
 *
 * Layout: [column][16 rows], so a column is one register: loaded, brought to float32 (F16 by
 * vcvtph2ps, BF16 by a shift) and multiplied by an activation of each row of the tile, which the
 * multiply-add itself broadcasts from memory. 12 chains hide its latency. The order is that of AVX2
 * and plain C, one chain an output, so the bits are.
 *
 * Many rows are bound by the multiply-adds, 2 registers a cycle, and share columns brought to
 * float32 once. A single row has one chain, 4 cycles a column: 16 bytes a cycle of F32 and 8 of
 * F16, and both outrun the memory of a thread.
 */
#include <immintrin.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/act.h"
#include "layout/pack.h"

#define FLOAT_COLS 256u     /* of a panel, for all rows: up to 16 KB in the first-level cache */
#define EXPAND_ROWS_MIN 64u /* fewer share too little */

VNNI_INLINE size_t column_bytes(weft_dtype dtype) {
    return PACK_PANEL_ROWS * (dtype == WEFT_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
}

VNNI_INLINE __m512 weights(weft_dtype dtype, const uint8_t *column) {
    if (dtype == WEFT_DTYPE_F32) {
        return _mm512_loadu_ps(column);
    }
    const __m256i halves = _mm256_loadu_si256((const __m256i *)column);
    if (dtype == WEFT_DTYPE_F16) {
        return _mm512_cvtph_ps(halves);
    }
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* n columns as float32, for many rows. */
VNNI_INLINE void expand(weft_dtype dtype, float *to, const uint8_t *columns, size_t n) {
    for (size_t i = 0; i < n; i++) {
        _mm512_store_ps(to + i * PACK_PANEL_ROWS,
                        weights(dtype, columns + i * column_bytes(dtype)));
    }
}

/* Columns in the form that a tile multiplies, and where they, or those that they were expanded
 * from, lie in the panel. */
typedef struct float_columns {
    const uint8_t *data, *packed;
    size_t packed_bytes; /* of one */
} float_columns;

/* y [rows][16] += x [rows][n] . c [n][16] */
VNNI_INLINE void tile(int rows, weft_dtype dtype, float *y, float_columns c, const uint8_t *from,
                      size_t x_stride, size_t n) {
    vnni_rows x = vnni_rows_of(from, x_stride);
    const bool is_fast = rows == 1 && dtype == WEFT_DTYPE_F32;
    __m512 sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_load_ps(y + 16 * r); });
    for (size_t i = 0; i < n; i++) {
        vnni_fetch_at(is_fast ? vnni_next_page(c.packed) : c.packed + VNNI_AHEAD_BYTES);
        const __m512 w = weights(dtype, c.data);
        VNNI_EACH_ROW(rows, {
            const __m512 xs = _mm512_set1_ps(*(const float *)vnni_row(&x, r));
            sums[r] = _mm512_fmadd_ps(xs, w, sums[r]);
        });
        c.data += column_bytes(dtype);
        c.packed += c.packed_bytes;
        vnni_rows_step(&x, sizeof(float));
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, sums[r]); });
}

VNNI_INLINE void tiles(weft_dtype dtype, float *y, float_columns c, const uint8_t *x,
                       size_t x_stride, size_t m, size_t n) {
    VNNI_EACH_TILE(1, 12, m, y, x, x_stride, tile(rows, dtype, y, c, x, x_stride, n));
}

VNNI_INLINE void linear_float(weft_dtype dtype, float *y, size_t y_stride, const uint8_t *panel,
                              const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    WEFT_ALIGNED(64) float expanded[FLOAT_COLS * PACK_PANEL_ROWS];
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += FLOAT_COLS) {
            const size_t cols = k - col < FLOAT_COLS ? k - col : FLOAT_COLS;
            const uint8_t *packed = panel + col * column_bytes(dtype);
            const uint8_t *at = x + from * x_stride + col * sizeof(float);
            float_columns c = {packed, packed, column_bytes(dtype)};
            if (dtype != WEFT_DTYPE_F32 && rows >= EXPAND_ROWS_MIN) {
                expand(dtype, expanded, packed, cols);
                c.data = (const uint8_t *)expanded;
                tiles(WEFT_DTYPE_F32, sums, c, at, x_stride, rows, cols);
            } else {
                tiles(dtype, sums, c, at, x_stride, rows, cols);
            }
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}

void linear_f32_avx512(float *y, size_t y_stride, const void *panel, const void *x,
                       size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(WEFT_DTYPE_F32, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_f16_avx512(float *y, size_t y_stride, const void *panel, const void *x,
                       size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(WEFT_DTYPE_F16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_avx512(float *y, size_t y_stride, const void *panel, const void *x,
                        size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(WEFT_DTYPE_BF16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
