/* linear_pairs_avx512bf16.c - products of BF16 weights with bf16 activations, by vdpbf16ps.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time          their sums y stay in a 8 KB buffer
 *     for chunks of 256 columns of the panel
 *       expand                                       columns to pairs, 8 KB, for many rows
 *       for tiles of up to 16 rows                   one register of sums a row
 *         for pairs of columns                       each times every row
 *
 * Two columns of 16 outputs are a register of pairs once their words are sorted; the instruction
 * itself broadcasts the pair of activations. One chain an output (products.h). Many rows are bound
 * by the instruction, which is worth two float multiply-adds, one row by memory.
 */
#include <string.h>

#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/rows_avx512.h"

#define COLS 256u
#define EXPAND_ROWS_MIN 64u /* fewer share too little */

/* Two columns from `at` on, of which the second may be missing. */
VNNI_INLINE __m512i pairs_of(const uint8_t *at, int has_second) {
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __mmask32 there = has_second ? 0xffffffffu : 0xffffu;
    return _mm512_permutexvar_epi16(order, _mm512_maskz_loadu_epi16(there, at));
}

VNNI_INLINE __m512 add_pair(__m512 sum, __m512i w, __m512i x) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
}

/* y [rows][16] += x [rows][n] . columns [n][16]; expanded: they are pairs already, of those in the
 * panel at `packed`. */
VNNI_INLINE void tile(int rows, int is_expanded, float *y, const uint8_t *columns,
                      const uint8_t *packed, const uint8_t *from, size_t x_stride, size_t n) {
    vnni_rows x = vnni_rows_of(from, x_stride);
    __m512 sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_load_ps(y + 16 * r); });
    for (size_t i = 0; i + 2 <= n; i += 2) {
        vnni_fetch_line(packed);
        const __m512i w = is_expanded ? _mm512_load_si512(columns) : pairs_of(columns, 1);
        VNNI_EACH_ROW(rows, { sums[r] = add_pair(sums[r], w, vnni_broadcast32(vnni_row(&x, r))); });
        columns += 64;
        packed += 64;
        vnni_rows_step(&x, 4);
    }
    if (n % 2 != 0) { /* the record may hold anything behind its last value */
        const __m512i w = is_expanded ? _mm512_load_si512(columns) : pairs_of(columns, 0);
        VNNI_EACH_ROW(rows, {
            uint16_t last;
            memcpy(&last, vnni_row(&x, r), sizeof(last));
            sums[r] = add_pair(sums[r], w, _mm512_set1_epi32(last));
        });
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, sums[r]); });
}

VNNI_INLINE void tiles(int is_expanded, float *y, const uint8_t *columns, const uint8_t *packed,
                       const uint8_t *x, size_t x_stride, size_t m, size_t n) {
    VNNI_EACH_TILE(1, 16, m, y, x, x_stride,
                   tile(rows, is_expanded, y, columns, packed, x, x_stride, n));
}

void linear_bf16_pairs_avx512bf16(float *y, size_t y_stride, const void *panel, const void *x,
                                  size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    WEFT_ALIGNED(64) uint8_t expanded[COLS / 2][64];
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        vnni_begin_outputs(sums, y + from * y_stride, y_stride, rows);
        for (size_t col = 0; col < k; col += COLS) {
            const size_t cols = k - col < COLS ? k - col : COLS;
            const uint8_t *columns = (const uint8_t *)panel + col * PACK_PANEL_ROWS * 2;
            const uint8_t *at = (const uint8_t *)x + from * x_stride_bytes + 2 * col;
            if (rows < EXPAND_ROWS_MIN) {
                tiles(0, sums, columns, columns, at, x_stride_bytes, rows, cols);
                continue;
            }
            for (size_t i = 0; i < cols; i += 2) {
                _mm512_store_si512(expanded[i / 2], pairs_of(columns + 32 * i, i + 1 < cols));
            }
            tiles(1, sums, expanded[0], columns, at, x_stride_bytes, rows, cols);
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}
