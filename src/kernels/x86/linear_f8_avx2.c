/* linear_f8_avx2.c - products of F8_E4M3 weights with 9-bit activations, in whole numbers.
 *
 * Codes are words (f8_block.h), which vpmaddwd multiplies; pairs of columns are marked for 8
 * outputs.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time
 *     for blocks of 128 columns of the panel
 *       open                                         64ths to words, once for all rows: 4 KB
 *       for tiles of 6 rows                          12 sums, 2 of weights, 1 broadcast, 1 product
 *
 * A single row multiplies what it opens. Many rows are bound by 2 instructions for 16
 * multiply-adds, a row alone by some 50 for 64 codes. Were most weights small, many rows would take
 * three times as long.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/f8_block.h"
#include "kernels/x86/tile_avx2.h"
#include "layout/slab.h"

#define AHEAD_BYTES 4096 /* a row alone is slower to open than to read: less loses 2 % */

TILE_INLINE __m256i table(__m128i entries) { return _mm256_broadcastsi128_si256(entries); }

TILE_INLINE __m256i magnitudes(__m256i codes) {
    return _mm256_and_si256(codes, _mm256_set1_epi8(0x7f));
}

/* Four columns of 8 outputs in 64ths, in two pairs: +-(8 + m) * 2^(e - 4), rounded to a whole
 * number, for exponent e and mantissa m; 0 where e is. Both factors are negative, because -2^15 is
 * a word and 2^15 is none. */
TILE_INLINE void to_words(__m256i words[2], __m256i codes) {
    const __m256i mantissas = table(_mm_setr_epi8(-64, -72, -80, -88, -96, -104, -112, -120, -64,
                                                  -72, -80, -88, -96, -104, -112, -120));
    const __m256i powers_low =
        table(_mm_setr_epi8(0, -2, -4, -8, -16, -32, -64, -128, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i powers_high =
        table(_mm_setr_epi8(0, -1, -1, -1, -1, -1, -1, -1, -1, -2, -4, -8, -16, -32, -64, -128));
    const __m256i mantissa =
        _mm256_sign_epi8(_mm256_shuffle_epi8(mantissas, magnitudes(codes)), codes);
    const __m256i e = _mm256_and_si256(_mm256_srli_epi16(codes, 3), _mm256_set1_epi8(15));
    const __m256i low = _mm256_shuffle_epi8(powers_low, e);
    const __m256i high = _mm256_shuffle_epi8(powers_high, e);
    const __m256i zero = _mm256_setzero_si256();
    words[0] =
        _mm256_mulhrs_epi16(_mm256_unpacklo_epi8(zero, mantissa), _mm256_unpacklo_epi8(low, high));
    words[1] =
        _mm256_mulhrs_epi16(_mm256_unpackhi_epi8(zero, mantissa), _mm256_unpackhi_epi8(low, high));
}

/* What is left of 512 times the codes, if words are their 64ths: nothing from 1/8 on. */
TILE_INLINE void to_rests(__m256i rests[2], const __m256i words[2], __m256i codes) {
    const __m256i from16 =
        table(_mm_setr_epi8(16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56, 60));
    const __m256i magnitude = magnitudes(codes);
    const __m256i is_small = _mm256_cmpgt_epi8(_mm256_set1_epi8(32), magnitude);
    const __m256i is16 = _mm256_cmpgt_epi8(magnitude, _mm256_set1_epi8(15));
    __m256i whole = _mm256_blendv_epi8(magnitude, _mm256_shuffle_epi8(from16, magnitude), is16);
    whole = _mm256_sign_epi8(whole, codes);
    const __m256i upper = _mm256_cmpgt_epi8(_mm256_setzero_si256(), whole);
    rests[0] = _mm256_sub_epi16(_mm256_unpacklo_epi8(whole, upper), _mm256_slli_epi16(words[0], 3));
    rests[1] = _mm256_sub_epi16(_mm256_unpackhi_epi8(whole, upper), _mm256_slli_epi16(words[1], 3));
    rests[0] = _mm256_and_si256(rests[0], _mm256_unpacklo_epi8(is_small, is_small));
    rests[1] = _mm256_and_si256(rests[1], _mm256_unpackhi_epi8(is_small, is_small));
}

/* Whether a code is below 1/8 and not 0: only then 96 and its magnitude are more than 96 in a
 * signed byte. */
TILE_INLINE bool has_small(__m256i codes0, __m256i codes1) {
    const __m256i zero = _mm256_set1_epi8(96);
    const __m256i sum0 = _mm256_add_epi8(magnitudes(codes0), zero);
    const __m256i sum1 = _mm256_add_epi8(magnitudes(codes1), zero);
    const __m256i largest = _mm256_max_epi8(sum0, sum1);
    return _mm256_movemask_epi8(_mm256_cmpgt_epi8(largest, zero)) != 0;
}

/* Per 64th. */
TILE_INLINE __m256 scale8(const float *scale) {
    return _mm256_mul_ps(_mm256_loadu_ps(scale), _mm256_set1_ps(0x1p-6f));
}

/* Of 8 outputs, those become NaN whose magnitudes, at most `largest`, reach a NaN's. */
static void mark_nan(float *outputs, __m256i largest) {
    const __m256i is_nan = _mm256_cmpeq_epi8(largest, _mm256_set1_epi8(0x7f));
    for (uint32_t nan = (uint32_t)_mm256_movemask_epi8(is_nan); nan != 0; nan &= nan - 1) {
        const size_t i = (size_t)__builtin_ctz(nan);
        outputs[slab_f8_e4m3_row(i)] = NAN;
    }
}

/* Rests of pairs 2g and 2g + 1 of outputs 8h..8h + 7, whose words are there. */
static WEFT_NOINLINE void mark_rests(f8_block *block, size_t g, size_t h, __m256i codes) {
    int16_t(*from)[32] = block->words[g * 2 / F8_PAIRS] + g * 2 % F8_PAIRS;
    const __m256i words[2] = {tile_load(from[0] + 16 * h), tile_load(from[1] + 16 * h)};
    __m256i rests[2];
    to_rests(rests, words, codes);
    for (size_t i = 0; i < 2; i++) {
        const size_t b = g * 2 / F8_PAIRS, p = g * 2 % F8_PAIRS + i;
        if (!_mm256_testz_si256(rests[i], rests[i])) {
            tile_store(block->rests[b][p] + 16 * h, rests[i]);
            block->marks[b] |= 1u << (16 * h + p);
        }
    }
}

static void open_block(f8_block *block, const slab_f8_e4m3 *slab) {
    __m256i largest0 = _mm256_setzero_si256(), largest1 = largest0;
    memset(block->marks, 0, sizeof block->marks);
    for (size_t g = 0; g < PAIRS_BLOCK_LEN / 4; g++) {
        int16_t(*to)[32] = block->words[g * 2 / F8_PAIRS] + g * 2 % F8_PAIRS;
        const __m256i codes0 = tile_load(slab->codes[g]), codes1 = tile_load(slab->codes[g] + 32);
        __m256i words[2];
        _mm_prefetch((const char *)slab->codes[g] + AHEAD_BYTES, _MM_HINT_T0);
        to_words(words, codes0);
        tile_store(to[0], words[0]);
        tile_store(to[1], words[1]);
        to_words(words, codes1);
        tile_store(to[0] + 16, words[0]);
        tile_store(to[1] + 16, words[1]);
        largest0 = _mm256_max_epu8(largest0, magnitudes(codes0));
        largest1 = _mm256_max_epu8(largest1, magnitudes(codes1));
        if (WEFT_UNLIKELY(has_small(codes0, codes1))) {
            mark_rests(block, g, 0, codes0);
            mark_rests(block, g, 1, codes1);
        }
    }
    _mm256_store_ps(block->scale, scale8(slab->scale));
    _mm256_store_ps(block->scale + 8, scale8(slab->scale + 8));
    mark_nan(block->scale, largest0);
    mark_nan(block->scale + 8, largest1);
}

TILE_INLINE void add_pair(int rows, int is_first, __m256i a0[TILE_ROWS], __m256i a1[TILE_ROWS],
                          const int16_t *words, const uint8_t *x, size_t x_stride) {
    tile_add_words(rows, is_first, a0, a1, tile_load(words), tile_load(words + 16), x, x_stride);
}

/* a = 8 * a + rests times x, for the marked pairs of 8 outputs. */
TILE_INLINE void add_rests(int rows, __m256i a[TILE_ROWS], const int16_t (*rests)[32],
                           uint32_t marks, const uint8_t *x, size_t x_stride) {
    TILE_EACH_ROW(rows, { a[r] = _mm256_slli_epi32(a[r], 3); });
    for (; marks != 0; marks &= marks - 1) {
        const size_t p = (size_t)__builtin_ctz(marks);
        const __m256i w = tile_load(rests[p]);
        TILE_EACH_ROW(rows, {
            const __m256i xs = tile_broadcast32(x + r * x_stride + 4 * p);
            a[r] = _mm256_add_epi32(a[r], _mm256_madd_epi16(w, xs));
        });
    }
}

/* y [rows][8] += sums * unit * scale * x's */
TILE_INLINE void add_dots(int rows, float *y, const __m256i a[TILE_ROWS], float unit,
                          const float *scale, const uint8_t *x, size_t x_stride) {
    const __m256 d = _mm256_load_ps(scale);
    TILE_EACH_ROW(rows, {
        const float xs = ((const act_block_q16 *)(x + r * x_stride))->scale;
        __m256 dot = _mm256_cvtepi32_ps(a[r]);
        dot = unit != 1.0f ? _mm256_mul_ps(dot, _mm256_set1_ps(unit)) : dot;
        tile_add_dot(y + 16 * r, dot, d, xs);
    });
}

/* y [rows][16] += x [rows][128] . block */
TILE_INLINE void tile(int rows, float *y, const f8_block *block, const uint8_t *x,
                      size_t x_stride) {
    for (size_t b = 0; b < F8_BLOCKS; b++, x += sizeof(act_block_q16)) {
        const int16_t(*words)[32] = block->words[b];
        __m256i a0[TILE_ROWS], a1[TILE_ROWS];
        add_pair(rows, 1, a0, a1, words[0], x, x_stride);
        add_pair(rows, 0, a0, a1, words[1], x + 4, x_stride);
        add_pair(rows, 0, a0, a1, words[2], x + 8, x_stride);
        add_pair(rows, 0, a0, a1, words[3], x + 12, x_stride);
        add_pair(rows, 0, a0, a1, words[4], x + 16, x_stride);
        add_pair(rows, 0, a0, a1, words[5], x + 20, x_stride);
        add_pair(rows, 0, a0, a1, words[6], x + 24, x_stride);
        add_pair(rows, 0, a0, a1, words[7], x + 28, x_stride);
        add_pair(rows, 0, a0, a1, words[8], x + 32, x_stride);
        add_pair(rows, 0, a0, a1, words[9], x + 36, x_stride);
        add_pair(rows, 0, a0, a1, words[10], x + 40, x_stride);
        add_pair(rows, 0, a0, a1, words[11], x + 44, x_stride);
        add_pair(rows, 0, a0, a1, words[12], x + 48, x_stride);
        add_pair(rows, 0, a0, a1, words[13], x + 52, x_stride);
        add_pair(rows, 0, a0, a1, words[14], x + 56, x_stride);
        add_pair(rows, 0, a0, a1, words[15], x + 60, x_stride);
        TILE_FORGET();
        if (WEFT_LIKELY(block->marks[b] == 0)) {
            add_dots(rows, y, a0, 1.0f, block->scale, x, x_stride);
            add_dots(rows, y + 8, a1, 1.0f, block->scale + 8, x, x_stride);
        } else {
            const uint32_t marks = block->marks[b];
            add_rests(rows, a0, block->rests[b], marks & 0xffffu, x, x_stride);
            add_rests(rows, a1, (const int16_t(*)[32])(block->rests[b][0] + 16), marks >> 16, x,
                      x_stride);
            add_dots(rows, y, a0, 0.125f, block->scale, x, x_stride);
            add_dots(rows, y + 8, a1, 0.125f, block->scale + 8, x, x_stride);
        }
    }
}

static void tiles(float *y, const f8_block *block, const uint8_t *x, size_t x_stride, size_t m) {
    while (m > 0) {
        const size_t rows = m < TILE_ROWS ? m : TILE_ROWS;
        TILE_OF(rows, tile, y, block, x, x_stride)
        y += rows * PACK_PANEL_ROWS;
        x += rows * x_stride;
        m -= rows;
    }
}

/* Four columns times x. */
TILE_INLINE __m256i dot_four(const __m256i pairs[2], const int16_t *x) {
    return _mm256_add_epi32(_mm256_madd_epi16(pairs[0], tile_broadcast32(x)),
                            _mm256_madd_epi16(pairs[1], tile_broadcast32(x + 2)));
}

/* sum += what rests of four columns add. */
static WEFT_NOINLINE void add_rests_of(__m256i *sum, const uint8_t *codes, const int16_t *x) {
    __m256i words[2], rests[2];
    to_words(words, tile_load(codes));
    to_rests(rests, words, tile_load(codes));
    *sum = _mm256_add_epi32(*sum, dot_four(rests, x));
}

/* y [8] += x [32] . codes; returns their largest magnitudes. Groups of columns are 64 bytes apart,
 * and one of the two that share such a line asks for lines ahead. */
TILE_INLINE __m256i one_block(float *y, const uint8_t *codes, __m256 scale, const act_block_q16 *x,
                              int is_first) {
    __m256i whole = _mm256_setzero_si256(), rest = whole, largest = whole;
    for (size_t g = 0; g < ACT_BLOCK_LEN / 4; g += 2, codes += 128) {
        const int16_t *xs = x->codes + 4 * g;
        const __m256i v0 = tile_load(codes), v1 = tile_load(codes + 64);
        __m256i words[2];
        if (is_first) {
            _mm_prefetch((const char *)codes + AHEAD_BYTES, _MM_HINT_T0);
            _mm_prefetch((const char *)codes + AHEAD_BYTES + 64, _MM_HINT_T0);
        }
        to_words(words, v0);
        whole = _mm256_add_epi32(whole, dot_four(words, xs));
        to_words(words, v1);
        whole = _mm256_add_epi32(whole, dot_four(words, xs + 4));
        largest = _mm256_max_epu8(largest, _mm256_max_epu8(magnitudes(v0), magnitudes(v1)));
        if (WEFT_UNLIKELY(has_small(v0, v1))) {
            add_rests_of(&rest, codes, xs);
            add_rests_of(&rest, codes + 64, xs + 4);
        }
    }
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(whole, 3), rest);
    const __m256 dot = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(0.125f));
    tile_add_dot(y, dot, scale, x->scale);
    return largest;
}

/* y [16] += x [128] . slab */
static void one_row(float *y, const slab_f8_e4m3 *slab, const act_block_q16 *x) {
    __m256i largest0 = _mm256_setzero_si256(), largest1 = largest0;
    for (size_t b = 0; b < F8_BLOCKS; b++, x++) {
        const uint8_t *codes = slab->codes[8 * b];
        largest0 = _mm256_max_epu8(largest0, one_block(y, codes, scale8(slab->scale), x, 1));
        largest1 =
            _mm256_max_epu8(largest1, one_block(y + 8, codes + 32, scale8(slab->scale + 8), x, 0));
    }
    mark_nan(y, largest0);
    mark_nan(y + 8, largest1);
}

void linear_f8_e4m3_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                         size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    f8_block block;
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        const slab_f8_e4m3 *slab = panel;
        const uint8_t *at = (const uint8_t *)x + from * x_stride_bytes;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += PAIRS_BLOCK_LEN, slab++) {
            if (rows == 1) {
                one_row(sums, slab, (const act_block_q16 *)at);
            } else {
                open_block(&block, slab);
                tiles(sums, &block, at, x_stride_bytes, rows);
            }
            at += F8_BLOCKS * sizeof(act_block_q16);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
}
