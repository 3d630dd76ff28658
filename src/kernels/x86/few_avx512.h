/* few_avx512.h - few rows of x, in steps, against codes of two and three bits that are multiplied
 * as they are opened.
 *
 * A word of a slab is 64 bytes, each of which holds the codes of four blocks (layout/slab.h): once
 * opened they are a group of 16 outputs x 4 columns, which vpdpbusd multiplies by those of each
 * row. Sums times whole scales are integers below 2^24, so that the floats are those of
 * linear_opened_avx512.c. One row takes two to five instructions for 64 codes: 0.6 to 0.9 of what
 * reading does.
 */
#ifndef WEFT_KERNELS_X86_FEW_AVX512_H
#define WEFT_KERNELS_X86_FEW_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "kernels/x86/linear_few_avx512.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/slab.h"

#define BLOCKS 4 /* that share words */
#define ROWS 4u  /* of a tile */

/* Rows of x, at a block of 256. */
typedef struct few_rows {
    const uint8_t *x;
    size_t stride;
} few_rows;

VNNI_INLINE const act_block_steps *block_of(few_rows x, int r) {
    return (const act_block_steps *)(x.x + (size_t)r * x.stride);
}

/* The same, but that gcc does not load what comes from it long before, and then spill it. */
VNNI_INLINE few_rows later(few_rows x) {
    __asm__("" : "+r"(x.x));
    return x;
}

/* Codes of a block: bits 2t and 2t + 1 of a word's bytes, and if high is not NULL bit `bit` of
 * those there. */
typedef __m512i few_open_fn(__m512i word, const uint8_t *high, unsigned t, unsigned bit);

/* Where codes of blocks b to b + n - 1 are: bits from 2 * (b % 4) on of words. */
typedef struct few_codes {
    const uint8_t (*words)[64];
    const uint8_t (*highs)[64]; /* whose bits from b on are third bits; NULL: there are none */
    size_t b;
    unsigned n;      /* 2 or 4 */
    bool has_middle; /* at 128 */
    few_open_fn *open;
} few_codes;

/* Sums of block t += group g of it. */
VNNI_INLINE void add_block(int rows, __m512i sums[ROWS], __m512i word, few_codes w, unsigned t,
                           few_rows x, size_t g) {
    const unsigned block = (unsigned)w.b + t;
    const uint8_t *high = w.highs != NULL ? w.highs[g] : NULL;
    const __m512i codes = w.open(word, high, block % BLOCKS, block);
    for (int r = 0; r < rows; r++) {
        const int8_t *columns = block_of(x, r)->steps[w.b + t].codes + 4 * g;
        sums[r] = _mm512_dpbusd_epi32(sums[r], codes, vnni_broadcast32(columns));
    }
}

VNNI_INLINE void add_group(int rows, __m512i sums[BLOCKS][ROWS], few_codes w, few_rows x,
                           size_t g) {
    const __m512i word = _mm512_loadu_si512(w.words[g]);
    if (w.b % BLOCKS == 0) {
        vnni_fetch_line(w.words[g]);
    }
    add_block(rows, sums[0], word, w, 0, x, g);
    add_block(rows, sums[1], word, w, 1, x, g);
    if (w.n == BLOCKS) {
        add_block(rows, sums[2], word, w, 2, x, g);
        add_block(rows, sums[3], word, w, 3, x, g);
    }
}

/* Sums of n blocks += half 0 or 1 of each. */
VNNI_INLINE void add_groups(int rows, __m512i sums[BLOCKS][ROWS], few_codes w, few_rows x,
                            size_t half) {
    add_group(rows, sums, w, x, 4 * half);
    add_group(rows, sums, w, x, 4 * half + 1);
    add_group(rows, sums, w, x, 4 * half + 2);
    add_group(rows, sums, w, x, 4 * half + 3);
}

VNNI_INLINE void start(int rows, __m512i sums[BLOCKS][ROWS], few_codes w, few_rows x, int half) {
    for (size_t t = 0; t < w.n; t++) {
        for (int r = 0; r < rows; r++) {
            sums[t][r] = vnni_step_start(w.has_middle, &block_of(x, r)->steps[w.b + t], half);
        }
    }
}

/* The whole scale of half h of 16 rows. */
typedef __m512i few_scale_fn(const uint8_t *slab, size_t h);

/* dots of n blocks = or += half 0 or 1 of each times its scale. Bases are broadcast as integers, as
 * is faster here, also where codes have no middle: x is hidden, so gcc can't keep start's. */
VNNI_INLINE void add_half(int rows, __m512 dots[BLOCKS][ROWS], few_codes w, few_rows x, int half,
                          few_scale_fn *scale_of, const uint8_t *slab) {
    __m512i sums[BLOCKS][ROWS];
    start(rows, sums, w, x, half);
    add_groups(rows, sums, w, x, (size_t)half);
    x = later(x);
    for (size_t t = 0; t < w.n; t++) {
        const __m512 scale = _mm512_cvtepi32_ps(scale_of(slab, 2 * (w.b + t) + (size_t)half));
        for (int r = 0; r < rows; r++) {
            const __m512 dot = vnni_step_sum(true, sums[t][r], &block_of(x, r)->steps[w.b + t]);
            dots[t][r] =
                half == 0 ? _mm512_mul_ps(dot, scale) : _mm512_fmadd_ps(dot, scale, dots[t][r]);
        }
    }
}

/* v += dots, block by block */
VNNI_INLINE void add_dots(int rows, __m512 v[ROWS], __m512 dots[BLOCKS][ROWS], few_codes w) {
    for (int r = 0; r < rows; r++) {
        for (size_t t = 0; t < w.n; t++) {
            v[r] = _mm512_add_ps(v[r], dots[t][r]);
        }
    }
}

VNNI_INLINE void zero(int rows, __m512 v[ROWS]) {
    for (int r = 0; r < rows; r++) {
        v[r] = _mm512_setzero_ps();
    }
}

/* y [rows][16] += sums of 256 columns * d */
VNNI_INLINE void add_summed(int rows, float *y, const __m512 v[ROWS], __m512 d, few_rows x) {
    for (int r = 0; r < rows; r++) {
        float *to = y + r * PACK_PANEL_ROWS;
        _mm512_store_ps(to, vnni_add_steps(_mm512_load_ps(to), v[r], d, block_of(x, r)));
    }
}

/* The call for blocks b to b + n - 1 of eight: so many that sums of all rows stay in registers. */
#define FEW_AT(first, count, ...)          \
    do {                                   \
        enum { b = (first), n = (count) }; \
        __VA_ARGS__;                       \
    } while (0)
#define FEW_EACH(rows, ...)            \
    do {                               \
        if ((rows) == 4) {             \
            FEW_AT(0, 2, __VA_ARGS__); \
            FEW_AT(2, 2, __VA_ARGS__); \
            FEW_AT(4, 2, __VA_ARGS__); \
            FEW_AT(6, 2, __VA_ARGS__); \
        } else {                       \
            FEW_AT(0, 4, __VA_ARGS__); \
            FEW_AT(4, 4, __VA_ARGS__); \
        }                              \
    } while (0)

/* ---- Q2_K ---- */

VNNI_INLINE __m512i scale_q2_k(const uint8_t *slab, size_t h) {
    const __m512i fields = vnni_load_bytes(((const slab_q2_k *)slab)->scales[h]);
    return _mm512_and_si512(fields, _mm512_set1_epi32(15));
}

/* Of both halves of block b, in the lower and upper words of lanes. */
VNNI_INLINE __m512i mins_q2_k(const slab_q2_k *slab, size_t b) {
    const __m512i first = _mm512_srli_epi32(vnni_load_bytes(slab->scales[2 * b]), 4);
    const __m512i second = _mm512_srli_epi32(vnni_load_bytes(slab->scales[2 * b + 1]), 4);
    return _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
}

/* Blocks b to b + n - 1. */
VNNI_INLINE void add_q2_k(int rows, __m512 v[ROWS], __m512i least[ROWS], few_open_fn *open,
                          const slab_q2_k *slab, size_t b, unsigned n, few_rows x) {
    const few_codes w = {slab->codes + b / 4 * 8, NULL, b, n, false, open};
    __m512 dots[BLOCKS][ROWS];
    add_half(rows, dots, w, x, 0, scale_q2_k, (const uint8_t *)slab);
    add_half(rows, dots, w, x, 1, scale_q2_k, (const uint8_t *)slab);
    add_dots(rows, v, dots, w);
    for (size_t t = 0; t < w.n; t++) {
        const __m512i mins = mins_q2_k(slab, b + t);
        for (int r = 0; r < rows; r++) {
            const __m512i sums = vnni_broadcast32(&block_of(x, r)->sums16[2 * (b + t)]);
            least[r] = _mm512_dpwssd_epi32(least[r], mins, sums);
        }
    }
}

VNNI_INLINE void rows_q2_k(int rows, few_open_fn *open, float *y, const uint8_t *from, few_rows x) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    __m512 v[ROWS];
    __m512i least[ROWS];
    zero(rows, v);
    for (int r = 0; r < rows; r++) {
        least[r] = _mm512_setzero_si512();
    }
    vnni_fetch_lines(from, offsetof(slab_q2_k, codes));
    FEW_EACH(rows, add_q2_k(rows, v, least, open, slab, b, n, x));
    const __m512 d = vnni_load_f16(slab->d), dmin = vnni_load_f16(slab->dmin);
    for (int r = 0; r < rows; r++) {
        float *to = y + r * PACK_PANEL_ROWS;
        _mm512_store_ps(
            to, vnni_add_steps_least(_mm512_load_ps(to), v[r], d, least[r], dmin, block_of(x, r)));
    }
}

/* ---- Q3_K ---- */

VNNI_INLINE __m512i scale_q3_k(const uint8_t *from, size_t h) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    const __m512i low =
        _mm512_srli_epi32(vnni_load_bytes(slab->scales[h % 8]), (unsigned)(h / 8 * 4));
    const __m512i high =
        _mm512_srli_epi32(vnni_load_bytes(slab->scales[8 + h % 4]), (unsigned)(h / 4 * 2));
    const __m512i low4 = _mm512_and_si512(low, _mm512_set1_epi32(15));
    const __m512i high2 = _mm512_and_si512(high, _mm512_set1_epi32(3));
    return _mm512_sub_epi32(_mm512_or_si512(low4, _mm512_slli_epi32(high2, 4)),
                            _mm512_set1_epi32(32));
}

/* Blocks b to b + n - 1. */
VNNI_INLINE void add_q3_k(int rows, __m512 v[ROWS], few_open_fn *open, const slab_q3_k *slab,
                          size_t b, unsigned n, few_rows x) {
    const few_codes w = {slab->codes + b / 4 * 8, slab->high, b, n, true, open};
    __m512 dots[BLOCKS][ROWS];
    add_half(rows, dots, w, x, 0, scale_q3_k, (const uint8_t *)slab);
    add_half(rows, dots, w, x, 1, scale_q3_k, (const uint8_t *)slab);
    add_dots(rows, v, dots, w);
}

VNNI_INLINE void rows_q3_k(int rows, few_open_fn *open, float *y, const uint8_t *from, few_rows x) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    __m512 v[ROWS];
    zero(rows, v);
    vnni_fetch_lines(from, offsetof(slab_q3_k, codes));
    FEW_EACH(rows, add_q3_k(rows, v, open, slab, b, n, x));
    add_summed(rows, y, v, vnni_load_f16(slab->d), x);
}

/* ---- TQ2_0 ---- */

/* Blocks b to b + n - 1. */
VNNI_INLINE void add_tq2_0(int rows, __m512 v[ROWS], few_open_fn *open, const slab_tq2_0 *slab,
                           size_t b, unsigned n, few_rows x) {
    const few_codes w = {slab->codes + b / 4 * 8, NULL, b, n, true, open};
    __m512i sums[BLOCKS][ROWS];
    start(rows, sums, w, x, ACT_STEP_ALL);
    add_groups(rows, sums, w, x, 0);
    add_groups(rows, sums, w, x, 1);
    x = later(x);
    for (int r = 0; r < rows; r++) {
        for (size_t t = 0; t < w.n; t++) {
            const act_step *step = &block_of(x, r)->steps[b + t];
            /* plus, by the units that multiply: those that add are busy opening */
            v[r] =
                _mm512_fmadd_ps(vnni_step_sum(true, sums[t][r], step), _mm512_set1_ps(1.0f), v[r]);
        }
    }
}

VNNI_INLINE void rows_tq2_0(int rows, few_open_fn *open, float *y, const uint8_t *from,
                            few_rows x) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)from;
    __m512 v[ROWS];
    zero(rows, v);
    vnni_fetch_lines(from, offsetof(slab_tq2_0, codes));
    FEW_EACH(rows, add_tq2_0(rows, v, open, slab, b, n, x));
    add_summed(rows, y, v, vnni_load_f16(slab->d), x);
}

/* The product, LEVEL's: a slab stays in the first-level cache while tiles of rows read it. */
#define FEW_LINEAR(name, level, open)                                                             \
    static void tile_##name(size_t rows, float *y, const uint8_t *slab, few_rows x) {             \
        switch (rows) {                                                                           \
        case 1: rows_##name(1, open, y, slab, x); return;                                         \
        case 2: rows_##name(2, open, y, slab, x); return;                                         \
        case 3: rows_##name(3, open, y, slab, x); return;                                         \
        default: rows_##name(4, open, y, slab, x); return;                                        \
        }                                                                                         \
    }                                                                                             \
    void linear_few_##name##_##level(float *y, size_t y_stride, const void *panel, const void *x, \
                                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        WEFT_ALIGNED(64) float sums[LINEAR_FEW_ROWS_MAX * PACK_PANEL_ROWS] = {0};                 \
        const uint8_t *slab = panel, *x_slab = x;                                                 \
        for (size_t col = 0; col < k; col += ACT_LONG_LEN) {                                      \
            for (size_t r = 0; r < m; r += ROWS) {                                                \
                tile_##name(m - r < ROWS ? m - r : ROWS, sums + r * PACK_PANEL_ROWS, slab,        \
                            (few_rows){x_slab + r * x_stride_bytes, x_stride_bytes});             \
            }                                                                                     \
            slab += sizeof(slab_##name);                                                          \
            x_slab += VNNI_X_BYTES;                                                               \
        }                                                                                         \
        vnni_store_outputs(y, y_stride, sums, m, n);                                              \
    }

#endif /* WEFT_KERNELS_X86_FEW_AVX512_H */
