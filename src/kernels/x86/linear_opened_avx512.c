/* linear_opened_avx512.c - products of the opened formats (kernels/opened.h) by AVX-512 VNNI, but
 * for lists of nibbles (linear_vnni_avx512.c).
 *
 * Chunks of 256 columns are opened once for all rows of x. A group of a chunk is
 * one register of 16 outputs x 4 columns, and vpdpbusd multiplies it by 4 activations of a row that
 * the load broadcasts. Nothing saturates, so narrow and wide codes are alike: all come with their
 * middle, and sums start at -middle * (sum of activations). Registers of a tile of 12 rows: 12
 * sums, 12 y, 1 of weights, 2 of scales; where halves have scales 8 rows, whose first halves wait.
 *
 * Many rows are bound by the 11 to 17 instructions a block and row; one row by opening.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/rows_avx512.h"

VNNI_INLINE const act_block_q8 *block_at(const vnni_rows *x, int r) {
    return (const act_block_q8 *)vnni_row(x, r);
}

/* sums - middle * (sum of activations of half h). */
VNNI_INLINE __m512i add_start(opened_kind kind, __m512i sums, const act_block_q8 *x, int h) {
    const __m512i middle = _mm512_set1_epi16(opened_middle(&kind));
    return kind.log2_middle != 0
               ? _mm512_dpwssd_epi32(sums, middle, vnni_broadcast32(x->neg_sums[h]))
               : sums;
}

VNNI_INLINE void add_group(int rows, __m512i sums[VNNI_ROWS_MAX], const uint8_t *codes,
                           const vnni_rows *x, int group) {
    const __m512i w = _mm512_load_si512(codes + 64 * group);
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_dpbusd_epi32(sums[r], w, vnni_broadcast32(vnni_row(x, r) + 4 * group));
    });
}

/* Half h of a block: four groups. */
VNNI_INLINE void add_half(int rows, opened_kind kind, __m512i sums[VNNI_ROWS_MAX],
                          const uint8_t *codes, const vnni_rows *x, int h) {
    VNNI_EACH_ROW(rows, { sums[r] = add_start(kind, sums[r], block_at(x, r), h); });
    add_group(rows, sums, codes, x, 4 * h);
    add_group(rows, sums, codes, x, 4 * h + 1);
    add_group(rows, sums, codes, x, 4 * h + 2);
    add_group(rows, sums, codes, x, 4 * h + 3);
}

/* Sums of block b, by halves' scales where they have them. */
VNNI_INLINE void dot_block(int rows, opened_kind kind, __m512 dots[VNNI_ROWS_MAX],
                           const opened_chunk *c, size_t b, const vnni_rows *x) {
    const uint8_t *codes = c->codes[b][0];
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_si512(); });
    add_half(rows, kind, sums, codes, x, 0);
    if (kind.has_halves) {
        const __m512 first = _mm512_load_ps(c->half_scale[2 * b]);
        VNNI_EACH_ROW(rows, {
            dots[r] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r]), first);
            sums[r] = _mm512_setzero_si512();
        });
    }
    add_half(rows, kind, sums, codes, x, 1);
    const __m512 second = _mm512_load_ps(c->half_scale[2 * b + 1]);
    VNNI_EACH_ROW(rows, {
        const __m512 dot = _mm512_cvtepi32_ps(sums[r]);
        dots[r] = kind.has_halves ? _mm512_fmadd_ps(dot, second, dots[r]) : dot;
    });
}

/* Minimums of halves times minus the sums of the activations. */
VNNI_INLINE __m512 dot_mins(const opened_chunk *c, size_t b, const act_block_q8 *x) {
    const __m512i first = _mm512_load_si512(c->half_min[2 * b]);
    const __m512i second = _mm512_load_si512(c->half_min[2 * b + 1]);
    __m512i sums = _mm512_setzero_si512();
    sums = _mm512_dpwssd_epi32(sums, first, vnni_broadcast32(x->neg_sums[0]));
    sums = _mm512_dpwssd_epi32(sums, second, vnni_broadcast32(x->neg_sums[1]));
    return _mm512_cvtepi32_ps(sums);
}

/* y [rows][16] += x [rows] . chunk */
VNNI_INLINE void tile(int rows, opened_kind kind, float *y, const opened_chunk *c,
                      const uint8_t *from, size_t x_stride) {
    vnni_rows x = vnni_rows_of(from, x_stride);
    __m512 v[VNNI_ROWS_MAX], dots[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { v[r] = _mm512_load_ps(y + 16 * r); });
    for (size_t b = 0; b < c->n_blocks; b++) {
        dot_block(rows, kind, dots, c, b, &x);
        const __m512 scale = _mm512_load_ps(c->scale[b]);
        VNNI_EACH_ROW(rows, {
            const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(block_at(&x, r)->scale));
            v[r] = _mm512_fmadd_ps(dots[r], factor, v[r]);
        });
        if (kind.has_min) {
            const __m512 min_scale = _mm512_load_ps(c->half_min_scale);
            VNNI_EACH_ROW(rows, {
                const act_block_q8 *block = block_at(&x, r);
                const __m512 factor = _mm512_mul_ps(min_scale, _mm512_set1_ps(block->scale));
                v[r] = _mm512_fmadd_ps(dot_mins(c, b, block), factor, v[r]);
            });
        }
        vnni_rows_step(&x, sizeof(act_block_q8));
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, v[r]); });
}

/* The largest tile that m rows fill; returns its rows. */
VNNI_INLINE size_t some_rows(opened_kind kind, float *y, const opened_chunk *c, const uint8_t *x,
                             size_t x_stride, size_t m) {
    if (m >= 12 && !kind.has_halves) {
        tile(12, kind, y, c, x, x_stride);
        return 12;
    }
    if (m >= 8) {
        tile(8, kind, y, c, x, x_stride);
        return 8;
    }
    if (m >= 4) {
        tile(4, kind, y, c, x, x_stride);
        return 4;
    }
    if (m >= 2) {
        tile(2, kind, y, c, x, x_stride);
        return 2;
    }
    tile(1, kind, y, c, x, x_stride);
    return 1;
}

VNNI_INLINE void linear_opened(opened_kind kind, opened_open_fn *open, float *y, size_t y_stride,
                               const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m,
                               size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[OPENED_ROWS * PACK_PANEL_ROWS];
    opened_chunk c;
    c.middle = opened_middle(&kind);
    for (size_t from = 0; from < m; from += OPENED_ROWS) {
        const size_t rows = m - from < OPENED_ROWS ? m - from : OPENED_ROWS;
        const uint8_t *slab = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            open(&c, slab);
            for (size_t r = 0; r < rows;) {
                r += some_rows(kind, sums + r * PACK_PANEL_ROWS, &c, x_chunk + r * x_stride,
                               x_stride, rows - r);
            }
            slab += kind.chunk_bytes;
            x_chunk += OPENED_BLOCKS * sizeof(act_block_q8);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
}

#define LINEAR(name, open)                                                                       \
    void linear_##name##_avx512vnni(float *y, size_t y_stride, const void *panel, const void *x, \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        linear_opened(opened_kind_##name, open, y, y_stride, panel, x, x_stride_bytes, m, n, k); \
    }
#define X(NAME, name) LINEAR(name, opened_##name##_avx2)
PACK_BITS_LIST(X)
X(NVFP4, nvfp4)
#undef X
#define X(NAME, name) LINEAR(name, opened_##name##_avx512)
PACK_GRIDS_LIST(X)
#undef X
