/* linear_pairs_avx512.c - products of F8_E4M3 weights with bf16 activations, in float32.
 *
 * A block of 128 columns is opened once for all rows: codes to bf16 (f8_avx512.h) and those to
 * float32, which is a shift for even columns and a mask for odd ones; 8 KB that stay in the
 * first-level cache. A tile of rows opens its own x in the same way. Then each column is a register
 * that the multiply-add meets with an activation broadcast from memory: two chains a row, even
 * columns and odd ones, 24 for a tile of 12 rows. The order of additions is products.h's.
 *
 * A single row multiplies codes as they are opened. Many rows are bound by the multiply-adds, one
 * row by opening: 17 instructions for 64 codes.
 */
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/f8_avx512.h"

typedef struct float_block {
    WEFT_ALIGNED(64) float w[PAIRS_BLOCK_LEN][PACK_PANEL_ROWS];
    float scale[PACK_PANEL_ROWS];
} float_block;

VNNI_INLINE __m512 even_of(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

VNNI_INLINE __m512 odd_of(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

VNNI_INLINE void open(float_block *block, const slab_f8_e4m3 *slab) {
    __m512i largest = _mm512_setzero_si512();
    _mm_prefetch((const char *)slab + F8_AHEAD_BYTES, _MM_HINT_T1);
    for (size_t g = 0; g < PAIRS_BLOCK_LEN / 4; g++) {
        __m512i pairs[2];
        _mm_prefetch((const char *)slab->codes[g] + F8_AHEAD_BYTES, _MM_HINT_T1);
        largest = _mm512_max_epu8(largest, f8_to_pairs(pairs, _mm512_loadu_si512(slab->codes[g])));
        _mm512_store_ps(block->w[4 * g], even_of(pairs[0]));
        _mm512_store_ps(block->w[4 * g + 1], odd_of(pairs[0]));
        _mm512_store_ps(block->w[4 * g + 2], even_of(pairs[1]));
        _mm512_store_ps(block->w[4 * g + 3], odd_of(pairs[1]));
    }
    f8_open_scale(block->scale, slab, largest);
}

/* x [rows][128] as float32. */
VNNI_INLINE void open_x(float (*x)[PAIRS_BLOCK_LEN], const uint8_t *from, size_t stride,
                        size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < PAIRS_BLOCK_LEN; i += 16) {
            const __m256i halves = _mm256_loadu_si256((const __m256i *)(from + r * stride + 2 * i));
            _mm512_store_ps(x[r] + i, even_of(_mm512_cvtepu16_epi32(halves)));
        }
    }
}

/* y [rows][16] += x [rows][128] . block */
VNNI_INLINE void tile(int rows, float *y, const float_block *block, const uint8_t *from,
                      size_t stride) {
    WEFT_ALIGNED(64) float x[VNNI_ROWS_MAX][PAIRS_BLOCK_LEN];
    WEFT_ALIGNED(64) float sums[VNNI_ROWS_MAX][PACK_PANEL_ROWS];
    open_x(x, from, stride, (size_t)rows);
    VNNI_EACH_ROW(rows, { _mm512_store_ps(sums[r], _mm512_setzero_ps()); });
    for (size_t at = 0; at < PAIRS_BLOCK_LEN; at += 32) {
        __m512 even[VNNI_ROWS_MAX], odd[VNNI_ROWS_MAX];
        VNNI_EACH_ROW(rows, { even[r] = odd[r] = _mm512_setzero_ps(); });
        for (size_t i = at; i < at + 32; i += 2) {
            const __m512 w0 = _mm512_load_ps(block->w[i]);
            const __m512 w1 = _mm512_load_ps(block->w[i + 1]);
            VNNI_EACH_ROW(rows, {
                even[r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r][i]), w0, even[r]);
                odd[r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r][i + 1]), w1, odd[r]);
            });
        }
        VNNI_EACH_ROW(rows, {
            const __m512 both = _mm512_add_ps(even[r], odd[r]);
            _mm512_store_ps(sums[r], _mm512_add_ps(_mm512_load_ps(sums[r]), both));
        });
    }
    const __m512 scale = _mm512_load_ps(block->scale);
    VNNI_EACH_ROW(rows, {
        const __m512 sum = _mm512_load_ps(sums[r]);
        _mm512_store_ps(y + 16 * r, _mm512_fmadd_ps(sum, scale, _mm512_load_ps(y + 16 * r)));
    });
}

/* y [16] += x [128] . slab */
VNNI_INLINE void one_row(float *y, const slab_f8_e4m3 *slab, const uint8_t *from) {
    WEFT_ALIGNED(64) float x[1][PAIRS_BLOCK_LEN];
    WEFT_ALIGNED(64) float scale[PACK_PANEL_ROWS];
    __m512i largest = _mm512_setzero_si512();
    __m512 sum = _mm512_setzero_ps();
    open_x(x, from, 0, 1);
    _mm_prefetch((const char *)slab + F8_AHEAD_BYTES, _MM_HINT_T1);
    for (size_t at = 0; at < PAIRS_BLOCK_LEN; at += 32) {
        __m512 even = _mm512_setzero_ps(), odd = even;
        for (size_t i = at; i < at + 32; i += 4) {
            const uint8_t *codes = slab->codes[i / 4];
            __m512i pairs[2];
            _mm_prefetch((const char *)codes + F8_AHEAD_BYTES, _MM_HINT_T1);
            largest = _mm512_max_epu8(largest, f8_to_pairs(pairs, _mm512_loadu_si512(codes)));
            even = _mm512_fmadd_ps(_mm512_set1_ps(x[0][i]), even_of(pairs[0]), even);
            odd = _mm512_fmadd_ps(_mm512_set1_ps(x[0][i + 1]), odd_of(pairs[0]), odd);
            even = _mm512_fmadd_ps(_mm512_set1_ps(x[0][i + 2]), even_of(pairs[1]), even);
            odd = _mm512_fmadd_ps(_mm512_set1_ps(x[0][i + 3]), odd_of(pairs[1]), odd);
        }
        sum = _mm512_add_ps(sum, _mm512_add_ps(even, odd));
    }
    f8_open_scale(scale, slab, largest);
    _mm512_store_ps(y, _mm512_fmadd_ps(sum, _mm512_load_ps(scale), _mm512_load_ps(y)));
}

/* Tiles of the largest size, then what is left in smaller ones. */
VNNI_INLINE void tiles(float *y, const float_block *block, const uint8_t *x, size_t stride,
                       size_t m) {
#define TILES_OF(rows)                       \
    for (; m >= (rows); m -= (rows)) {       \
        tile((rows), y, block, x, stride);   \
        y += (size_t)(rows)*PACK_PANEL_ROWS; \
        x += (size_t)(rows)*stride;          \
    }
    TILES_OF(12)
    TILES_OF(8)
    TILES_OF(4)
    TILES_OF(2)
    TILES_OF(1)
#undef TILES_OF
}

void linear_f8_e4m3_avx512(float *y, size_t y_stride, const void *panel, const void *x,
                           size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    float_block block;
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        const slab_f8_e4m3 *slab = panel;
        const uint8_t *at = (const uint8_t *)x + from * x_stride_bytes;
        vnni_fetch_outputs(y + from * y_stride, y_stride, rows);
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += PAIRS_BLOCK_LEN, slab++) {
            if (rows == 1) {
                one_row(sums, slab, at);
            } else {
                open(&block, slab);
                tiles(sums, &block, at, x_stride_bytes, rows);
            }
            at += PAIRS_BLOCK_LEN * sizeof(uint16_t);
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}
