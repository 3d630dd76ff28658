/* linear_few_avx512.c - few rows of x against codes that are multiplied as they are opened.
 *
 * A word of a slab is 64 bytes, each of which holds the codes of four blocks (layout/slab.h): once
 * shifted and masked they are a group of 16 outputs x 4 columns, which vpdpbusd multiplies by those
 * of each row. Sums times whole scales are integers below 2^24, so that the floats are those of
 * linear_opened_avx512.c. One row takes three instructions for 64 codes of two bits and five of
 * three: 0.6 to 0.9 of what reading does.
 */
#include "kernels/x86/linear_few_avx512.h"

#include <immintrin.h>
#include <stddef.h>

#include "kernels/x86/vnni_avx512.h"
#include "layout/slab.h"

#define BLOCKS 4 /* that share words */
#define ROWS 4u  /* of a tile */

/* Block t's codes of two bits. */
VNNI_INLINE __m512i two_bits(__m512i word, unsigned t) {
    return _mm512_and_si512(_mm512_srli_epi16(word, 2 * t), _mm512_set1_epi8(3));
}

/* codes | bit `bit` of high, as bit 2 */
VNNI_INLINE __m512i with_third_bit(__m512i codes, __m512i high, unsigned bit) {
    const __m512i moved =
        bit < 2 ? _mm512_slli_epi16(high, 2 - bit) : _mm512_srli_epi16(high, bit - 2);
    return _mm512_ternarylogic_epi64(codes, moved, _mm512_set1_epi8(4), 0xf8);
}

VNNI_INLINE const act_block_q8 *block_of(const uint8_t *x, size_t x_stride, int r) {
    return (const act_block_q8 *)(x + (size_t)r * x_stride);
}

/* Sums of block t += group g of it; if high is not NULL, third bits are its bits `bit` + t. */
VNNI_INLINE void add_block(int rows, __m512i sums[ROWS], __m512i word, const uint8_t *high,
                           unsigned bit, unsigned t, const uint8_t *x, size_t x_stride, size_t g) {
    __m512i codes = two_bits(word, t);
    if (high != NULL) {
        codes = with_third_bit(codes, vnni_load(high), bit + t);
    }
    for (int r = 0; r < rows; r++) {
        const int8_t *columns = block_of(x, x_stride, r)[t].codes + 4 * g;
        sums[r] = _mm512_dpbusd_epi32(sums[r], codes, vnni_broadcast32(columns));
    }
}

VNNI_INLINE void add_group(int rows, __m512i sums[BLOCKS][ROWS], const uint8_t (*words)[64],
                           const uint8_t (*highs)[64], unsigned bit, const uint8_t *x,
                           size_t x_stride, size_t g) {
    const __m512i word = vnni_load(words[g]);
    const uint8_t *high = highs != NULL ? highs[g] : NULL;
    vnni_fetch_line(words[g]);
    add_block(rows, sums[0], word, high, bit, 0, x, x_stride, g);
    add_block(rows, sums[1], word, high, bit, 1, x, x_stride, g);
    add_block(rows, sums[2], word, high, bit, 2, x, x_stride, g);
    add_block(rows, sums[3], word, high, bit, 3, x, x_stride, g);
}

/* Sums of four blocks += half 0 or 1 of each; if highs is not NULL, third bits are its words' from
 * `bit` on. */
VNNI_INLINE void add_groups(int rows, __m512i sums[BLOCKS][ROWS], const uint8_t (*words)[64],
                            const uint8_t (*highs)[64], unsigned bit, const uint8_t *x,
                            size_t x_stride, size_t half) {
    add_group(rows, sums, words, highs, bit, x, x_stride, 4 * half);
    add_group(rows, sums, words, highs, bit, x, x_stride, 4 * half + 1);
    add_group(rows, sums, words, highs, bit, x, x_stride, 4 * half + 2);
    add_group(rows, sums, words, highs, bit, x, x_stride, 4 * half + 3);
}

/* sum + dots * xs */
VNNI_INLINE __m512 add_dots(__m512 sum, __m512 dots, const act_block_q8 *x) {
    return _mm512_fmadd_ps(dots, _mm512_set1_ps(x->scale), sum);
}

/* y [rows][16] += sums of 256 columns * d */
VNNI_INLINE void add_summed(int rows, float *y, const __m512 sums[ROWS], __m512 d) {
    for (int r = 0; r < rows; r++) {
        float *to = y + r * PACK_PANEL_ROWS;
        _mm512_store_ps(to, _mm512_fmadd_ps(sums[r], d, _mm512_load_ps(to)));
    }
}

VNNI_INLINE void start(int rows, __m512 sums[ROWS]) {
    for (int r = 0; r < rows; r++) {
        sums[r] = _mm512_setzero_ps();
    }
}

/* dots of each row = or += (half 0 or 1 of a block) sums * scale */
VNNI_INLINE void add_half(int rows, __m512 dots[ROWS], size_t half, const __m512i sums[ROWS],
                          __m512i scale) {
    const __m512 factor = _mm512_cvtepi32_ps(scale);
    for (int r = 0; r < rows; r++) {
        const __m512 dot = _mm512_cvtepi32_ps(sums[r]);
        dots[r] = half == 0 ? _mm512_mul_ps(dot, factor) : _mm512_fmadd_ps(dot, factor, dots[r]);
    }
}

/* ---- Q2_K ---- */

/* Minimums of halves, in the lower words of lanes, times minus the sums of their activations. */
VNNI_INLINE __m512 dot_mins(const __m512i mins[2], const act_block_q8 *x) {
    __m512i sum = _mm512_setzero_si512();
    sum = _mm512_dpwssd_epi32(sum, mins[0], _mm512_set1_epi32(act_neg_half(x, 0)));
    sum = _mm512_dpwssd_epi32(sum, mins[1], _mm512_set1_epi32(act_neg_half(x, 1)));
    return _mm512_cvtepi32_ps(sum);
}

/* dots = or += half 0 or 1 of blocks b to b + 3. */
VNNI_INLINE void add_half_q2_k(int rows, __m512 dots[BLOCKS][ROWS], __m512i mins[BLOCKS][2],
                               size_t half, const slab_q2_k *slab, size_t b, const uint8_t *x,
                               size_t x_stride) {
    __m512i sums[BLOCKS][ROWS];
    for (size_t t = 0; t < BLOCKS; t++) {
        for (int r = 0; r < rows; r++) {
            sums[t][r] = _mm512_setzero_si512();
        }
    }
    add_groups(rows, sums, slab->codes + 2 * b, NULL, 0, x, x_stride, half);
    for (size_t t = 0; t < BLOCKS; t++) {
        const __m512i fields = vnni_load_bytes(slab->scales[2 * (b + t) + half]);
        mins[t][half] = _mm512_srli_epi32(fields, 4);
        add_half(rows, dots[t], half, sums[t], _mm512_and_si512(fields, _mm512_set1_epi32(15)));
    }
}

/* Blocks b to b + 3. */
VNNI_INLINE void add_q2_k(int rows, __m512 sums[ROWS], __m512 least[ROWS], const slab_q2_k *slab,
                          size_t b, const uint8_t *x, size_t x_stride) {
    __m512 dots[BLOCKS][ROWS];
    __m512i mins[BLOCKS][2];
    add_half_q2_k(rows, dots, mins, 0, slab, b, x, x_stride);
    add_half_q2_k(rows, dots, mins, 1, slab, b, x, x_stride);
    for (int r = 0; r < rows; r++) {
        const act_block_q8 *block = block_of(x, x_stride, r);
        for (size_t t = 0; t < BLOCKS; t++) {
            sums[r] = add_dots(sums[r], dots[t][r], block + t);
            least[r] = add_dots(least[r], dot_mins(mins[t], block + t), block + t);
        }
    }
}

VNNI_INLINE void rows_q2_k(int rows, float *y, const uint8_t *from, const uint8_t *x,
                           size_t x_stride) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    __m512 sums[ROWS], least[ROWS];
    start(rows, sums);
    start(rows, least);
    vnni_fetch_lines(from, offsetof(slab_q2_k, codes));
    add_q2_k(rows, sums, least, slab, 0, x, x_stride);
    add_q2_k(rows, sums, least, slab, 4, x + 4 * sizeof(act_block_q8), x_stride);
    add_summed(rows, y, sums, vnni_load_f16(slab->d));
    add_summed(rows, y, least, vnni_load_f16(slab->dmin));
}

/* ---- Q3_K ---- */

/* The scale of half h of 16 rows, 32 less. */
VNNI_INLINE __m512i scale_q3_k(const slab_q3_k *slab, size_t h) {
    const __m512i low =
        _mm512_srli_epi32(vnni_load_bytes(slab->scales[h % 8]), (unsigned)(h / 8 * 4));
    const __m512i high =
        _mm512_srli_epi32(vnni_load_bytes(slab->scales[8 + h % 4]), (unsigned)(h / 4 * 2));
    const __m512i low4 = _mm512_and_si512(low, _mm512_set1_epi32(15));
    const __m512i high2 = _mm512_and_si512(high, _mm512_set1_epi32(3));
    return _mm512_sub_epi32(_mm512_or_si512(low4, _mm512_slli_epi32(high2, 4)),
                            _mm512_set1_epi32(32));
}

/* dots = or += half 0 or 1 of blocks b to b + 3, whose third bits are those bits of words. */
VNNI_INLINE void add_half_q3_k(int rows, __m512 dots[BLOCKS][ROWS], size_t half,
                               const slab_q3_k *slab, unsigned b, const uint8_t *x,
                               size_t x_stride) {
    __m512i sums[BLOCKS][ROWS];
    for (size_t t = 0; t < BLOCKS; t++) {
        for (int r = 0; r < rows; r++) {
            sums[t][r] = vnni_start_half(2, block_of(x, x_stride, r) + t, half == 1);
        }
    }
    add_groups(rows, sums, slab->codes + 2 * b, slab->high, b, x, x_stride, half);
    for (size_t t = 0; t < BLOCKS; t++) {
        add_half(rows, dots[t], half, sums[t], scale_q3_k(slab, 2 * (b + t) + half));
    }
}

/* Blocks b to b + 3. */
VNNI_INLINE void add_q3_k(int rows, __m512 sums[ROWS], const slab_q3_k *slab, size_t b,
                          const uint8_t *x, size_t x_stride) {
    __m512 dots[BLOCKS][ROWS];
    add_half_q3_k(rows, dots, 0, slab, b, x, x_stride);
    add_half_q3_k(rows, dots, 1, slab, b, x, x_stride);
    for (int r = 0; r < rows; r++) {
        const act_block_q8 *block = block_of(x, x_stride, r);
        for (size_t t = 0; t < BLOCKS; t++) {
            sums[r] = add_dots(sums[r], dots[t][r], block + t);
        }
    }
}

VNNI_INLINE void rows_q3_k(int rows, float *y, const uint8_t *from, const uint8_t *x,
                           size_t x_stride) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    __m512 sums[ROWS];
    start(rows, sums);
    vnni_fetch_lines(from, offsetof(slab_q3_k, codes));
    add_q3_k(rows, sums, slab, 0, x, x_stride);
    add_q3_k(rows, sums, slab, 4, x + 4 * sizeof(act_block_q8), x_stride);
    add_summed(rows, y, sums, vnni_load_f16(slab->d));
}

/* ---- TQ2_0 ---- */

/* Blocks b to b + 3; digits are 1 more than values. */
VNNI_INLINE void add_tq2_0(int rows, __m512 sums[ROWS], const slab_tq2_0 *slab, size_t b,
                           const uint8_t *x, size_t x_stride) {
    __m512i dots[BLOCKS][ROWS];
    for (size_t t = 0; t < BLOCKS; t++) {
        for (int r = 0; r < rows; r++) {
            dots[t][r] = vnni_broadcast32(&block_of(x, x_stride, r)[t].neg_totals[1]);
        }
    }
    add_groups(rows, dots, slab->codes + 2 * b, NULL, 0, x, x_stride, 0);
    add_groups(rows, dots, slab->codes + 2 * b, NULL, 0, x, x_stride, 1);
    for (int r = 0; r < rows; r++) {
        const act_block_q8 *block = block_of(x, x_stride, r);
        for (size_t t = 0; t < BLOCKS; t++) {
            sums[r] = add_dots(sums[r], _mm512_cvtepi32_ps(dots[t][r]), block + t);
        }
    }
}

VNNI_INLINE void rows_tq2_0(int rows, float *y, const uint8_t *from, const uint8_t *x,
                            size_t x_stride) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)from;
    __m512 sums[ROWS];
    start(rows, sums);
    vnni_fetch_lines(from, offsetof(slab_tq2_0, codes));
    add_tq2_0(rows, sums, slab, 0, x, x_stride);
    add_tq2_0(rows, sums, slab, 4, x + 4 * sizeof(act_block_q8), x_stride);
    add_summed(rows, y, sums, vnni_load_f16(slab->d));
}

/* A slab stays in the first-level cache while tiles of rows read it. */
#define X(name)                                                                                   \
    static void tile_##name(size_t rows, float *y, const uint8_t *slab, const uint8_t *x,         \
                            size_t x_stride) {                                                    \
        switch (rows) {                                                                           \
        case 1: rows_##name(1, y, slab, x, x_stride); return;                                     \
        case 2: rows_##name(2, y, slab, x, x_stride); return;                                     \
        case 3: rows_##name(3, y, slab, x, x_stride); return;                                     \
        default: rows_##name(4, y, slab, x, x_stride); return;                                    \
        }                                                                                         \
    }                                                                                             \
    void linear_few_##name##_avx512vnni(float *y, size_t y_stride, const void *panel,             \
                                        const void *x, size_t x_stride_bytes, size_t m, size_t n, \
                                        size_t k) {                                               \
        WEFT_ALIGNED(64) float sums[LINEAR_FEW_ROWS_MAX * PACK_PANEL_ROWS] = {0};                 \
        const uint8_t *slab = panel, *x_slab = x;                                                 \
        for (size_t col = 0; col < k; col += VNNI_COLS) {                                         \
            for (size_t r = 0; r < m; r += ROWS) {                                                \
                tile_##name(m - r < ROWS ? m - r : ROWS, sums + r * PACK_PANEL_ROWS, slab,        \
                            x_slab + r * x_stride_bytes, x_stride_bytes);                         \
            }                                                                                     \
            slab += sizeof(slab_##name);                                                          \
            x_slab += VNNI_BLOCKS * sizeof(act_block_q8);                                         \
        }                                                                                         \
        vnni_store_outputs(y, y_stride, sums, m, n);                                              \
    }
X(q2_k)
X(q3_k)
X(tq2_0)
#undef X
