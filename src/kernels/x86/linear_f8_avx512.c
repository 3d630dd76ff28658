/* linear_f8_avx512.c - products of F8_E4M3 weights with 9-bit activations, in whole numbers, by
 * vpdpwssd.
 *
 * Codes are words (f8_block.h), two columns of 16 outputs in a register.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time
 *     for blocks of 128 columns of the panel
 *       open                                         64ths to words, once for all rows: 4 KB
 *       for tiles of up to 12 rows                   one register of sums a row, one of y
 *
 * A single row multiplies what it opens. Many rows are bound by 19 instructions for 512
 * multiply-adds, a row alone by some 24 for 64 codes.
 */
#include <string.h>

#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/f8_avx512.h"
#include "kernels/x86/f8_block.h"
#include "layout/slab.h"

VNNI_INLINE __m512i table(__m128i entries) { return _mm512_broadcast_i32x4(entries); }

VNNI_INLINE __m512i magnitudes(__m512i codes) {
    return _mm512_and_si512(codes, _mm512_set1_epi8(0x7f));
}

VNNI_INLINE __m512i with_signs(__m512i bytes, __m512i codes) {
    return _mm512_mask_sub_epi8(bytes, _mm512_movepi8_mask(codes), _mm512_setzero_si512(), bytes);
}

/* Four columns of 16 outputs in 64ths, in two pairs: +-(8 + m) * 2^(e - 4), rounded down, for
 * exponent e and mantissa m; 0 where e is. */
VNNI_INLINE void to_words(__m512i words[2], __m512i codes) {
    const __m512i mantissas =
        table(_mm_setr_epi8(64, 72, 80, 88, 96, 104, 112, 120, 64, 72, 80, 88, 96, 104, 112, 120));
    const __m512i zero = _mm512_setzero_si512();
    const __mmask64 has_e = _mm512_test_epi8_mask(codes, _mm512_set1_epi8(0x78));
    const __m512i mantissa =
        with_signs(_mm512_maskz_shuffle_epi8(has_e, mantissas, magnitudes(codes)), codes);
    const __m512i down = _mm512_andnot_si512(_mm512_srli_epi16(codes, 3), _mm512_set1_epi8(15));
    words[0] =
        _mm512_srav_epi16(_mm512_unpacklo_epi8(zero, mantissa), _mm512_unpacklo_epi8(down, zero));
    words[1] =
        _mm512_srav_epi16(_mm512_unpackhi_epi8(zero, mantissa), _mm512_unpackhi_epi8(down, zero));
}

/* What is left of 512 times the codes, if words are their 64ths: nothing from 1/8 on. */
VNNI_INLINE void to_rests(__m512i rests[2], const __m512i words[2], __m512i codes) {
    const __m512i from16 =
        table(_mm_setr_epi8(16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56, 60));
    const __m512i magnitude = magnitudes(codes);
    const __mmask64 is16 = _mm512_cmpgt_epi8_mask(magnitude, _mm512_set1_epi8(15));
    const __m512i whole =
        with_signs(_mm512_mask_shuffle_epi8(magnitude, is16, from16, magnitude), codes);
    const __m512i upper = _mm512_maskz_set1_epi8(_mm512_movepi8_mask(whole), -1);
    const __m512i is_small =
        _mm512_maskz_set1_epi8(_mm512_cmplt_epi8_mask(magnitude, _mm512_set1_epi8(32)), -1);
    rests[0] = _mm512_sub_epi16(_mm512_unpacklo_epi8(whole, upper), _mm512_slli_epi16(words[0], 3));
    rests[1] = _mm512_sub_epi16(_mm512_unpackhi_epi8(whole, upper), _mm512_slli_epi16(words[1], 3));
    rests[0] = _mm512_and_si512(rests[0], _mm512_unpacklo_epi8(is_small, is_small));
    rests[1] = _mm512_and_si512(rests[1], _mm512_unpackhi_epi8(is_small, is_small));
}

/* Whether a code is below 1/8 and not 0: 255 is 1 less than 0. */
VNNI_INLINE bool has_small(__m512i codes) {
    const __m512i less1 = _mm512_sub_epi8(magnitudes(codes), _mm512_set1_epi8(1));
    return _mm512_cmplt_epu8_mask(less1, _mm512_set1_epi8(31)) != 0;
}

/* Per 64th. */
VNNI_INLINE __m512 scales(const slab_f8_e4m3 *slab) {
    return _mm512_mul_ps(_mm512_loadu_ps(slab->scale), _mm512_set1_ps(0x1p-6f));
}

/* Rests of pairs 2g and 2g + 1, if words are their 64ths. */
static void mark_rests(f8_block *block, size_t g, const __m512i words[2], __m512i codes) {
    __m512i rests[2];
    to_rests(rests, words, codes);
    for (size_t i = 0; i < 2; i++) {
        const size_t b = g * 2 / F8_PAIRS, p = g * 2 % F8_PAIRS + i;
        if (_mm512_test_epi8_mask(rests[i], rests[i]) != 0) {
            _mm512_store_si512(block->rests[b][p], rests[i]);
            block->marks[b] |= 1u << p;
        }
    }
}

static void open_block(f8_block *block, const slab_f8_e4m3 *slab) {
    __m512i largest = _mm512_setzero_si512();
    memset(block->marks, 0, sizeof block->marks);
    vnni_fetch_line((const uint8_t *)slab);
    for (size_t g = 0; g < PAIRS_BLOCK_LEN / 4; g++) {
        const __m512i codes = _mm512_loadu_si512(slab->codes[g]);
        __m512i words[2];
        vnni_fetch_line(slab->codes[g]);
        to_words(words, codes);
        int16_t(*to)[32] = block->words[g * 2 / F8_PAIRS] + g * 2 % F8_PAIRS;
        _mm512_store_si512(to[0], words[0]);
        _mm512_store_si512(to[1], words[1]);
        largest = _mm512_max_epu8(largest, magnitudes(codes));
        if (has_small(codes)) {
            mark_rests(block, g, words, codes);
        }
    }
    _mm512_store_ps(block->scale, scales(slab));
    f8_mark_nan(block->scale, largest);
}

VNNI_INLINE void add_pair(int rows, __m512i sums[VNNI_ROWS_MAX], const int16_t *words,
                          const vnni_rows *x, size_t pair) {
    const __m512i w = _mm512_load_si512(words);
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_dpwssd_epi32(sums[r], w, vnni_broadcast32(vnni_row(x, r) + 4 * pair));
    });
}

/* sums = 8 * sums + rests times x, for marked pairs. */
VNNI_INLINE void add_rests(int rows, __m512i sums[VNNI_ROWS_MAX], const int16_t (*rests)[32],
                           uint32_t marks, const vnni_rows *x) {
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_slli_epi32(sums[r], 3); });
    for (; marks != 0; marks &= marks - 1) {
        const size_t p = (size_t)__builtin_ctz(marks);
        add_pair(rows, sums, rests[p], x, p);
    }
}

/* v [rows] += sums * unit * (d * x's) */
VNNI_INLINE void add_dots(int rows, __m512 v[VNNI_ROWS_MAX], const __m512i sums[VNNI_ROWS_MAX],
                          float unit, __m512 d, const vnni_rows *x) {
    VNNI_EACH_ROW(rows, {
        const float xs = ((const act_block_q16 *)vnni_row(x, r))->scale;
        __m512 dot = _mm512_cvtepi32_ps(sums[r]);
        dot = unit != 1.0f ? _mm512_mul_ps(dot, _mm512_set1_ps(unit)) : dot;
        v[r] = _mm512_fmadd_ps(dot, _mm512_mul_ps(d, _mm512_set1_ps(xs)), v[r]);
    });
}

/* y [rows][16] += x [rows][128] . block */
VNNI_INLINE void tile(int rows, float *y, const f8_block *block, const uint8_t *from,
                      size_t stride) {
    vnni_rows x = vnni_rows_of(from, stride);
    const __m512 d = _mm512_load_ps(block->scale);
    __m512 v[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { v[r] = _mm512_load_ps(y + 16 * r); });
    for (size_t b = 0; b < F8_BLOCKS; b++) {
        __m512i sums[VNNI_ROWS_MAX];
        VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_si512(); });
        for (size_t p = 0; p < F8_PAIRS; p += 4) {
            add_pair(rows, sums, block->words[b][p], &x, p);
            add_pair(rows, sums, block->words[b][p + 1], &x, p + 1);
            add_pair(rows, sums, block->words[b][p + 2], &x, p + 2);
            add_pair(rows, sums, block->words[b][p + 3], &x, p + 3);
        }
        if (block->marks[b] == 0) {
            add_dots(rows, v, sums, 1.0f, d, &x);
        } else {
            add_rests(rows, sums, block->rests[b], block->marks[b], &x);
            add_dots(rows, v, sums, 0.125f, d, &x);
        }
        vnni_rows_step(&x, sizeof(act_block_q16));
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, v[r]); });
}

static void tiles(float *y, const f8_block *block, const uint8_t *x, size_t stride, size_t m) {
    VNNI_EACH_TILE(1, 12, m, y, x, stride, tile(rows, y, block, x, stride));
}

/* y [16] += x [128] . slab */
static void one_row(float *y, const slab_f8_e4m3 *slab, const act_block_q16 *x) {
    __m512i largest = _mm512_setzero_si512();
    __m512 v = _mm512_load_ps(y);
    vnni_fetch_line((const uint8_t *)slab);
    const __m512 d = scales(slab);
    for (size_t b = 0; b < F8_BLOCKS; b++, x++) {
        __m512i whole = _mm512_setzero_si512(), rest = whole;
        for (size_t g = 0; g < ACT_BLOCK_LEN / 4; g++) {
            const uint8_t *at = slab->codes[8 * b + g];
            const __m512i codes = _mm512_loadu_si512(at);
            const __m512i x0 = vnni_broadcast32(x->codes + 4 * g);
            const __m512i x1 = vnni_broadcast32(x->codes + 4 * g + 2);
            __m512i words[2], rests[2];
            vnni_fetch_line(at);
            to_words(words, codes);
            whole = _mm512_dpwssd_epi32(whole, words[0], x0);
            whole = _mm512_dpwssd_epi32(whole, words[1], x1);
            largest = _mm512_max_epu8(largest, magnitudes(codes));
            if (has_small(codes)) {
                to_rests(rests, words, codes);
                rest = _mm512_dpwssd_epi32(rest, rests[0], x0);
                rest = _mm512_dpwssd_epi32(rest, rests[1], x1);
            }
        }
        const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(whole, 3), rest);
        const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(0.125f));
        v = _mm512_fmadd_ps(dot, _mm512_mul_ps(d, _mm512_set1_ps(x->scale)), v);
    }
    _mm512_store_ps(y, v);
    f8_mark_nan(y, largest);
}

static void add_slab(float *sums, const slab_f8_e4m3 *slab, const uint8_t *x, size_t x_stride,
                     size_t rows) {
    if (rows == 1) {
        one_row(sums, slab, (const act_block_q16 *)x);
        return;
    }
    f8_block block;
    open_block(&block, slab);
    tiles(sums, &block, x, x_stride, rows);
}

void linear_f8_e4m3_avx512vnni(float *y, size_t y_stride, const void *panel, const void *x,
                               size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    f8_linear(add_slab, F8_BLOCKS * sizeof(act_block_q16), y, y_stride, panel, x, x_stride_bytes, m,
              n, k);
}
