/* tile_int_avx2.h - tiles of 4- and 5-bit codes against 8-bit activations.
 *
 * Registers of a tile of 6 rows x 16 outputs: 12 accumulators of 16-bit sums, 2 of weights, 1
 * broadcast of 4 activation bytes, 1 product. A block of 32 is summed wholly in 16 bits:
 *
 *   4 bits   a lane takes 16 products of at most 15 * 127: 30480
 *   centred  codes less their middle, 8 or 16: a lane's final value is at most 16 * 16 * 127 =
 *            32512. The sum starts at -middle * (sum of the lane's activations) and may wrap on
 *            its way, which is harmless; one product is at most 2 * 31 * 127, so none saturates
 *
 * Then the two lanes of an output are added (vpmaddwd by 1), converted, and added to y.
 */
#ifndef WEFT_KERNELS_X86_TILE_INT_AVX2_H
#define WEFT_KERNELS_X86_TILE_INT_AVX2_H

#include "kernels/x86/tile_avx2.h"
#include "layout/slab.h"

typedef enum tile_codes {
    TILE_CODES_4,       /* nibbles at panel */
    TILE_CODES_5,       /* 64 bytes of fifth bits before the nibbles */
    TILE_CODES_EXPANDED /* bytes in tile_chunk.codes */
} tile_codes;

/* What a tile's code is made for; all constants. */
typedef struct tile_kind {
    tile_codes codes;
    int log2_middle; /* 0: not centred; 3 or 4 */
    int has_min;
    size_t block_stride; /* bytes from one block's nibbles to the next */
    size_t scale_before; /* f16 d[16] (m[16]) so many bytes before them; 0: in tile_chunk.scale */
} tile_kind;

/* Bit `group` of each byte of v, moved to bit 4. */
TILE_INLINE __m256i tile_fifth_bits(__m256i v, int group) {
    const __m256i moved = group <= 4 ? _mm256_slli_epi16(v, 4 - (group <= 4 ? group : 4))
                                     : _mm256_srli_epi16(v, (group > 4 ? group : 4) - 4);
    return _mm256_and_si256(moved, _mm256_set1_epi8(16));
}

/* Codes of group 0..7 of a block, outputs 8 * half .. 8 * half + 7. `at` is the block's nibbles, or
 * its bytes when expanded. */
TILE_INLINE __m256i tile_weights(tile_codes codes, const uint8_t *at, int group, int half) {
    if (codes == TILE_CODES_EXPANDED) {
        return tile_load(at + 64 * group + 32 * half);
    }
    __m256i v = tile_load(at + 64 * (group / 2) + 32 * half);
    if (group % 2 != 0) {
        v = _mm256_srli_epi16(v, 4);
    }
    v = _mm256_and_si256(v, _mm256_set1_epi8(15));
    if (codes == TILE_CODES_5) {
        v = _mm256_or_si256(v, tile_fifth_bits(tile_load(at - 64 + 32 * half), group));
    }
    return v;
}

/* Adds one group of 4 columns to the accumulators. */
TILE_INLINE void tile_add_group(int rows, tile_kind kind, __m256i a0[TILE_ROWS],
                                __m256i a1[TILE_ROWS], const uint8_t *at, const uint8_t *x,
                                size_t x_stride, int group) {
    tile_add_products(rows, group == 0 && kind.log2_middle == 0, a0, a1,
                      tile_weights(kind.codes, at, group, 0),
                      tile_weights(kind.codes, at, group, 1), x + 4 * group, x_stride);
}

/* Scale and minimum of block b, outputs 8 * half .. + 7. */
TILE_INLINE void tile_scales(__m256 *scale, __m256 *min, tile_kind kind, const tile_chunk *c,
                             size_t b, int half) {
    *min = _mm256_setzero_ps();
    if (kind.scale_before == 0) {
        *scale = _mm256_load_ps(c->scale[b] + 8 * half);
        *min = _mm256_load_ps(c->min[b] + 8 * half);
        return;
    }
    const uint8_t *at = c->panel + b * kind.block_stride - kind.scale_before + 16 * half;
    *scale = tile_load_f16(at);
    if (kind.has_min) {
        *min = tile_load_f16(at + 32);
        if (kind.log2_middle != 0) {
            const __m256 middle = _mm256_set1_ps((float)(1 << kind.log2_middle));
            *min = _mm256_fmadd_ps(middle, *scale, *min);
        }
    }
}

/* v + dot * (scale * xs) [+ min * xsum], for one row and half of the outputs. */
TILE_INLINE __m256 tile_add_block(tile_kind kind, __m256 v, __m256i sums, __m256 scale, __m256 min,
                                  const act_block_q8 *x) {
    const __m256 dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
    const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(x->scale));
    v = _mm256_fmadd_ps(dot, factor, v);
    return kind.has_min ? _mm256_fmadd_ps(min, _mm256_set1_ps(x->sum), v) : v;
}

TILE_INLINE void tile_int(int rows, tile_kind kind, float *y, const tile_chunk *c, const uint8_t *x,
                          size_t x_stride) {
    const uint8_t *at = kind.codes == TILE_CODES_EXPANDED ? &c->codes[0][0][0] : c->panel;
    const size_t n_blocks = c->n_cols / ACT_BLOCK_LEN;
    __m256 v0 = _mm256_load_ps(y), v1 = _mm256_load_ps(y + 8); /* of one row */
    for (size_t b = 0; b < n_blocks; b++) {
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        if (kind.codes == TILE_CODES_EXPANDED) {
            tile_fetch_share(c, b);
        } else {
            tile_fetch(rows == 1, at, kind.block_stride);
        }
        if (kind.log2_middle != 0) {
            TILE_EACH_ROW(rows, {
                const uint8_t *sums = x + r * x_stride + offsetof(act_block_q8, neg_sums);
                const __m256i sum =
                    _mm256_add_epi16(tile_broadcast32(sums), tile_broadcast32(sums + 4));
                a0[r] = _mm256_slli_epi16(sum, kind.log2_middle);
                a1[r] = a0[r];
            });
        }
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 0);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 1);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 2);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 3);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 4);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 5);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 6);
        tile_add_group(rows, kind, a0, a1, at, x, x_stride, 7);
        if (rows > 1) {
            TILE_FORGET();
        }
        __m256 scale0, min0, scale1, min1;
        tile_scales(&scale0, &min0, kind, c, b, 0);
        tile_scales(&scale1, &min1, kind, c, b, 1);
        TILE_EACH_ROW(rows, {
            const act_block_q8 *block = (const act_block_q8 *)(x + r * x_stride);
            float *to = y + 16 * r;
            if (rows > 1) {
                v0 = _mm256_load_ps(to);
                v1 = _mm256_load_ps(to + 8);
            }
            v0 = tile_add_block(kind, v0, a0[r], scale0, min0, block);
            v1 = tile_add_block(kind, v1, a1[r], scale1, min1, block);
            if (rows > 1) {
                _mm256_store_ps(to, v0);
                _mm256_store_ps(to + 8, v1);
            }
        });
        x += sizeof(act_block_q8);
        at += kind.codes == TILE_CODES_EXPANDED ? sizeof(c->codes[0]) : kind.block_stride;
    }
    if (rows == 1) {
        _mm256_store_ps(y, v0);
        _mm256_store_ps(y + 8, v1);
    }
}

/* One copy of the code for each number of rows. */
TILE_INLINE void tile_int_rows(size_t rows, tile_kind kind, float *y, const tile_chunk *c,
                               const uint8_t *x,
                               size_t x_stride){TILE_OF(rows, tile_int, kind, y, c, x, x_stride)}

/* The kind that a chunk has once tile_expand has spread it. */
TILE_INLINE tile_kind tile_kind_expanded(tile_kind kind) {
    kind.codes = TILE_CODES_EXPANDED;
    kind.scale_before = 0;
    return kind;
}

/* Nibbles (and fifth bits) to a byte a code, and scales to float32, for tiles that share a chunk
 * among many rows. */
TILE_INLINE void tile_expand(tile_kind kind, tile_chunk *c) {
    const size_t n_blocks = c->n_cols / ACT_BLOCK_LEN;
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *at = c->panel + b * kind.block_stride;
        for (int half = 0; half < 2; half++) {
            uint8_t *to = &c->codes[b][0][32 * half];
            tile_store(to + 0, tile_weights(kind.codes, at, 0, half));
            tile_store(to + 64, tile_weights(kind.codes, at, 1, half));
            tile_store(to + 128, tile_weights(kind.codes, at, 2, half));
            tile_store(to + 192, tile_weights(kind.codes, at, 3, half));
            tile_store(to + 256, tile_weights(kind.codes, at, 4, half));
            tile_store(to + 320, tile_weights(kind.codes, at, 5, half));
            tile_store(to + 384, tile_weights(kind.codes, at, 6, half));
            tile_store(to + 448, tile_weights(kind.codes, at, 7, half));
            if (kind.scale_before != 0) {
                __m256 scale, min;
                tile_scales(&scale, &min, kind, c, b, half);
                _mm256_store_ps(c->scale[b] + 8 * half, scale);
                _mm256_store_ps(c->min[b] + 8 * half, min);
            }
        }
    }
}

/* linear_NAME_avx2 of a kind (kind_NAME), whose chunks open_NAME opens, and spreads for rows_min
 * rows or more. */
#define TILE_INT_LINEAR(name, bytes_of_chunk, rows_min)                                       \
    static void tile_##name(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,     \
                            size_t x_stride) {                                                \
        tile_int_rows(rows, kind_##name, y, c, x, x_stride);                                  \
    }                                                                                         \
    static void expand_##name(tile_chunk *c) { tile_expand(kind_##name, c); }                 \
    static void expanded_##name(size_t rows, float *y, const tile_chunk *c, const uint8_t *x, \
                                size_t x_stride) {                                            \
        tile_int_rows(rows, tile_kind_expanded(kind_##name), y, c, x, x_stride);              \
    }                                                                                         \
    void linear_##name##_avx2(float *y, size_t y_stride, const void *panel, const void *x,    \
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {          \
        static const tile_format format = {                                                   \
            .open = open_##name,                                                              \
            .tile = tile_##name,                                                              \
            .expand = expand_##name,                                                          \
            .expanded = expanded_##name,                                                      \
            .expand_rows_min = (rows_min),                                                    \
            .chunk_bytes = (bytes_of_chunk),                                                  \
            .x_chunk_bytes = TILE_COLS / ACT_BLOCK_LEN * sizeof(act_block_q8),                \
        };                                                                                    \
        linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);             \
    }

_Static_assert(offsetof(slab_q4_k, low) == offsetof(slab_q5_k, blocks), "the same front");

/* d * sc and -(dmin * mn) of a slab of 256 columns, from f16 d[16], dmin[16] and the 6-bit fields
 * scales[12][16] (slab.h). c->panel is set. */
TILE_INLINE void tile_open_scales6(tile_chunk *c, const uint8_t *slab, int log2_middle) {
    tile_fetch_far(slab, (size_t)(c->panel - slab)); /* up to where tiles begin to ask */
    const __m128i low4 = _mm_set1_epi8(15);
    const __m128i low6 = _mm_set1_epi8(63);
    const __m128i high2 = _mm_set1_epi8(48);
    const __m256 d[2] = {tile_load_f16(slab), tile_load_f16(slab + 16)};
    const __m256 dmin[2] = {tile_load_f16(slab + 32), tile_load_f16(slab + 48)};
    for (int b = 0; b < 8; b++) {
        const __m128i *fields = (const __m128i *)(slab + 64);
        __m128i sc, mn;
        if (b < 4) {
            sc = _mm_and_si128(_mm_loadu_si128(fields + b), low6);
            mn = _mm_and_si128(_mm_loadu_si128(fields + 4 + b), low6);
        } else {
            const __m128i lows = _mm_loadu_si128(fields + 4 + b);
            const __m128i sc_high = _mm_srli_epi16(_mm_loadu_si128(fields + b - 4), 2);
            const __m128i mn_high = _mm_srli_epi16(_mm_loadu_si128(fields + b), 2);
            sc = _mm_or_si128(_mm_and_si128(lows, low4), _mm_and_si128(sc_high, high2));
            mn = _mm_or_si128(_mm_and_si128(_mm_srli_epi16(lows, 4), low4),
                              _mm_and_si128(mn_high, high2));
        }
        for (int half = 0; half < 2; half++) {
            const __m256 scale =
                _mm256_mul_ps(d[half], _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(sc)));
            __m256 min = _mm256_mul_ps(dmin[half], _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(mn)));
            min = _mm256_xor_ps(min, _mm256_set1_ps(-0.0f));
            if (log2_middle != 0) {
                min = _mm256_fmadd_ps(_mm256_set1_ps((float)(1 << log2_middle)), scale, min);
            }
            _mm256_store_ps(c->scale[b] + 8 * half, scale);
            _mm256_store_ps(c->min[b] + 8 * half, min);
            sc = _mm_unpackhi_epi64(sc, sc);
            mn = _mm_unpackhi_epi64(mn, mn);
        }
    }
}

#endif /* WEFT_KERNELS_X86_TILE_INT_AVX2_H */
