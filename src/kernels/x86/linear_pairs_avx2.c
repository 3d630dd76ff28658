/* linear_pairs_avx2.c - products of F8_E4M3 weights with bf16 activations, in float32.
 *
 * A block of 128 columns is opened once for all rows: bytes to bf16, those to float32 by a shift
 * (even columns) or a mask (odd ones), as in linear_pairs_avx512.c; 8 KB that stay in the
 * first-level cache. Tiles of 3 rows: a row has two chains, even columns and odd ones, of two
 * registers each; its x is brought to float32 once a block. A single row multiplies codes as they
 * are opened. The order of additions is products.h's.
 *
 * Many rows are bound by the multiply-adds, 16 a cycle; one row by opening: 20 instructions for 32
 * codes.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/tile_avx2.h"
#include "layout/slab.h"

#define ROWS 3
#define AHEAD_BYTES 4096

typedef struct float_block {
    WEFT_ALIGNED(64) float w[PAIRS_BLOCK_LEN][PACK_PANEL_ROWS];
    float scale[PACK_PANEL_ROWS];
} float_block;

TILE_INLINE __m256i table(__m128i entries) { return _mm256_broadcastsi128_si256(entries); }

TILE_INLINE __m256 even_of(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

TILE_INLINE __m256 odd_of(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
}

/* Columns 0 and 1, 2 and 3 of 8 rows. The upper byte of a bf16 number is sign and exponent but
 * for its last bit, the lower one that bit and the mantissa; what codes without an exponent
 * (below 8) differ by is looked up. Returns the magnitudes. */
TILE_INLINE __m256i to_pairs(__m256i pairs[2], __m256i codes) {
    const __m256i upper =
        table(_mm_setr_epi8(-0x3c, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i lower = table(_mm_setr_epi8(0, -0x10, 0x60, (char)0x90, -0x40, -0x30, -0x20,
                                              -0x10, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i magnitude = _mm256_and_si256(codes, _mm256_set1_epi8(0x7f));
    const __m256i number = _mm256_min_epu8(magnitude, _mm256_set1_epi8(8));
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), _mm256_set1_epi8(7));
    high = _mm256_add_epi8(high, _mm256_set1_epi8(0x3c)); /* (127 - 7) / 2 */
    high = _mm256_add_epi8(high, _mm256_shuffle_epi8(upper, number));
    high = _mm256_or_si256(high, _mm256_and_si256(codes, _mm256_set1_epi8((char)0x80)));
    __m256i low = _mm256_and_si256(_mm256_slli_epi16(codes, 4), _mm256_set1_epi8((char)0xf0));
    low = _mm256_add_epi8(low, _mm256_shuffle_epi8(lower, number));
    pairs[0] = _mm256_unpacklo_epi8(low, high);
    pairs[1] = _mm256_unpackhi_epi8(low, high);
    return magnitude;
}

TILE_INLINE __m256i open32(float (*to)[PACK_PANEL_ROWS], const uint8_t *codes) {
    __m256i pairs[2];
    const __m256i magnitude = to_pairs(pairs, tile_load(codes));
    _mm256_store_ps(to[0], even_of(pairs[0]));
    _mm256_store_ps(to[1], odd_of(pairs[0]));
    _mm256_store_ps(to[2], even_of(pairs[1]));
    _mm256_store_ps(to[3], odd_of(pairs[1]));
    return magnitude;
}

/* The scales of 8 rows are NaN where their magnitudes, at most `largest`, reach that of a NaN. */
static void mark_nan(float *scale, __m256i largest) {
    const __m256i is_nan = _mm256_cmpeq_epi8(largest, _mm256_set1_epi8(0x7f));
    for (uint32_t nan = (uint32_t)_mm256_movemask_epi8(is_nan); nan != 0; nan &= nan - 1) {
        const size_t i = (size_t)__builtin_ctz(nan);
        scale[i / 16 * 4 + i % 8 / 2] = NAN;
    }
}

static void open_block(float_block *block, const slab_f8_e4m3 *slab) {
    __m256i largest0 = _mm256_setzero_si256(), largest1 = largest0;
    for (size_t g = 0; g < PAIRS_BLOCK_LEN / 4; g++) {
        float(*to)[PACK_PANEL_ROWS] = block->w + 4 * g;
        largest0 = _mm256_max_epu8(largest0, open32(to, slab->codes[g]));
        to = (float(*)[PACK_PANEL_ROWS])(to[0] + 8);
        largest1 = _mm256_max_epu8(largest1, open32(to, slab->codes[g] + 32));
    }
    memcpy(block->scale, slab->scale, sizeof(block->scale));
    mark_nan(block->scale, largest0);
    mark_nan(block->scale + 8, largest1);
}

/* x [rows][128] as float32. */
TILE_INLINE void open_x(float (*x)[PAIRS_BLOCK_LEN], const uint8_t *from, size_t stride,
                        size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < PAIRS_BLOCK_LEN; i += 8) {
            const __m128i halves = _mm_loadu_si128((const __m128i *)(from + r * stride + 2 * i));
            _mm256_store_ps(x[r] + i, even_of(_mm256_cvtepu16_epi32(halves)));
        }
    }
}

/* y [rows][16] += x [rows][128] . block */
TILE_INLINE void tile(int rows, float *y, const float_block *block, const uint8_t *from,
                      size_t stride) {
    WEFT_ALIGNED(32) float x[TILE_ROWS][PAIRS_BLOCK_LEN];
    __m256 sum0[TILE_ROWS], sum1[TILE_ROWS];
    open_x(x, from, stride, (size_t)rows);
    TILE_EACH_ROW(rows, { sum0[r] = sum1[r] = _mm256_setzero_ps(); });
    for (size_t at = 0; at < PAIRS_BLOCK_LEN; at += 32) {
        __m256 even0[TILE_ROWS], even1[TILE_ROWS], odd0[TILE_ROWS], odd1[TILE_ROWS];
        TILE_EACH_ROW(rows, { even0[r] = even1[r] = odd0[r] = odd1[r] = _mm256_setzero_ps(); });
        for (size_t i = at; i < at + 32; i += 2) {
            const __m256 e0 = _mm256_load_ps(block->w[i]);
            const __m256 e1 = _mm256_load_ps(block->w[i] + 8);
            TILE_EACH_ROW(rows, {
                const __m256 xs = _mm256_broadcast_ss(&x[r][i]);
                even0[r] = _mm256_fmadd_ps(xs, e0, even0[r]);
                even1[r] = _mm256_fmadd_ps(xs, e1, even1[r]);
            });
            const __m256 o0 = _mm256_load_ps(block->w[i + 1]);
            const __m256 o1 = _mm256_load_ps(block->w[i + 1] + 8);
            TILE_EACH_ROW(rows, {
                const __m256 xs = _mm256_broadcast_ss(&x[r][i + 1]);
                odd0[r] = _mm256_fmadd_ps(xs, o0, odd0[r]);
                odd1[r] = _mm256_fmadd_ps(xs, o1, odd1[r]);
            });
        }
        TILE_EACH_ROW(rows, {
            sum0[r] = _mm256_add_ps(sum0[r], _mm256_add_ps(even0[r], odd0[r]));
            sum1[r] = _mm256_add_ps(sum1[r], _mm256_add_ps(even1[r], odd1[r]));
        });
    }
    const __m256 d0 = _mm256_load_ps(block->scale);
    const __m256 d1 = _mm256_load_ps(block->scale + 8);
    TILE_EACH_ROW(rows, {
        float *to = y + 16 * r;
        _mm256_store_ps(to, _mm256_fmadd_ps(sum0[r], d0, _mm256_load_ps(to)));
        _mm256_store_ps(to + 8, _mm256_fmadd_ps(sum1[r], d1, _mm256_load_ps(to + 8)));
    });
}

/* 4 columns of 8 rows times x [4]. */
TILE_INLINE void add_codes(__m256 *even, __m256 *odd, __m256i *largest, const uint8_t *codes,
                           const float *x) {
    __m256i pairs[2];
    *largest = _mm256_max_epu8(*largest, to_pairs(pairs, tile_load(codes)));
    *even = _mm256_fmadd_ps(_mm256_broadcast_ss(x), even_of(pairs[0]), *even);
    *odd = _mm256_fmadd_ps(_mm256_broadcast_ss(x + 1), odd_of(pairs[0]), *odd);
    *even = _mm256_fmadd_ps(_mm256_broadcast_ss(x + 2), even_of(pairs[1]), *even);
    *odd = _mm256_fmadd_ps(_mm256_broadcast_ss(x + 3), odd_of(pairs[1]), *odd);
}

/* y [16] += x [128] . slab */
static void one_row(float *y, const slab_f8_e4m3 *slab, const uint8_t *from) {
    WEFT_ALIGNED(32) float x[1][PAIRS_BLOCK_LEN];
    float scale[PACK_PANEL_ROWS];
    __m256i largest0 = _mm256_setzero_si256(), largest1 = largest0;
    __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0;
    open_x(x, from, 0, 1);
    for (size_t at = 0; at < PAIRS_BLOCK_LEN; at += 32) {
        __m256 even0 = _mm256_setzero_ps(), even1 = even0, odd0 = even0, odd1 = even0;
        for (size_t i = at; i < at + 32; i += 4) {
            const uint8_t *codes = slab->codes[i / 4];
            _mm_prefetch((const char *)codes + AHEAD_BYTES, _MM_HINT_T0);
            add_codes(&even0, &odd0, &largest0, codes, x[0] + i);
            add_codes(&even1, &odd1, &largest1, codes + 32, x[0] + i);
        }
        sum0 = _mm256_add_ps(sum0, _mm256_add_ps(even0, odd0));
        sum1 = _mm256_add_ps(sum1, _mm256_add_ps(even1, odd1));
    }
    memcpy(scale, slab->scale, sizeof(scale));
    mark_nan(scale, largest0);
    mark_nan(scale + 8, largest1);
    _mm256_store_ps(y, _mm256_fmadd_ps(sum0, _mm256_loadu_ps(scale), _mm256_load_ps(y)));
    _mm256_store_ps(y + 8,
                    _mm256_fmadd_ps(sum1, _mm256_loadu_ps(scale + 8), _mm256_load_ps(y + 8)));
}

/* Threes, but what is left in twos: they hide more of the multiply-add's latency than one. */
static void tiles(float *y, const float_block *block, const uint8_t *x, size_t x_stride, size_t m) {
    while (m > 0) {
        const size_t rows = m == 4 ? 2 : m < ROWS ? m : ROWS;
        switch (rows) {
        case 1: tile(1, y, block, x, x_stride); break;
        case 2: tile(2, y, block, x, x_stride); break;
        default: tile(ROWS, y, block, x, x_stride); break;
        }
        y += rows * PACK_PANEL_ROWS;
        x += rows * x_stride;
        m -= rows;
    }
}

void linear_f8_e4m3_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    float_block block;
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        const slab_f8_e4m3 *slab = panel;
        const uint8_t *at = (const uint8_t *)x + from * x_stride_bytes;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += PAIRS_BLOCK_LEN, slab++) {
            if (rows == 1) {
                one_row(sums, slab, at);
            } else {
                open_block(&block, slab);
                tiles(sums, &block, at, x_stride_bytes, rows);
            }
            at += PAIRS_BLOCK_LEN * sizeof(uint16_t);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
}
