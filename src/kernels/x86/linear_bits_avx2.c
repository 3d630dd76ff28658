/* linear_bits_avx2.c - few rows of x (few_avx2.h) against codes of two and three bits, of which
 * four blocks share words (layout/slab.h), and a single row against ternary digits, up to five a
 * byte.
 */
#include "kernels/x86/few_avx2.h"

/* ---- bits ---- */

/* Blocks that pass over words together: as many as keep the sums of all rows in registers. All but
 * base are constants. */
typedef struct bits_pass {
    size_t base, first, n; /* blocks base + first and on; base is 0 or 4 */
    int third;             /* the first one's bit of high words; negative: there are none */
} bits_pass;

/* The statement for each pass of rows over four blocks: first and n are constants in it. */
#define PASS_AT(from, count, ...)             \
    {                                         \
        enum { first = (from), n = (count) }; \
        __VA_ARGS__                           \
    }
#define EACH_PASS(rows, ...)           \
    do {                               \
        if ((rows) == 1) {             \
            PASS_AT(0, 4, __VA_ARGS__) \
        } else if ((rows) == 2) {      \
            PASS_AT(0, 2, __VA_ARGS__) \
            PASS_AT(2, 2, __VA_ARGS__) \
        } else {                       \
            PASS_AT(0, 1, __VA_ARGS__) \
            PASS_AT(1, 1, __VA_ARGS__) \
            PASS_AT(2, 1, __VA_ARGS__) \
            PASS_AT(3, 1, __VA_ARGS__) \
        }                              \
    } while (0)

TILE_INLINE size_t pass_block(bits_pass pass, size_t t) { return pass.base + pass.first + t; }

/* sums of block t of a pass += 4 columns of 8 outputs: bits of v, and of high, times x. */
TILE_INLINE void add_codes(int rows, bits_pass pass, few_ints sums[FEW_ROWS], size_t i, __m256i v,
                           __m256i high, size_t t, few_rows x, size_t group) {
    const __m256i moved = _mm256_srli_epi16(v, 2 * (int)(pass.first + t));
    __m256i w = _mm256_and_si256(moved, _mm256_set1_epi8(3));
    if (pass.third >= 0) {
        w = _mm256_or_si256(w, open_third_bit(high, pass.third + (int)t));
    }
    TILE_EACH_ROW(rows, {
        const int8_t *columns = few_block(x, r, pass_block(pass, t))->codes + 4 * group;
        few_add_products(&sums[r].v[i], w, tile_broadcast32(columns));
    });
}

/* sums of each block += groups 4 * half to 4 * half + 3. */
TILE_INLINE void add_half(int rows, bits_pass pass, few_ints sums[4][FEW_ROWS],
                          const uint8_t (*words)[64], const uint8_t (*highs)[64], few_rows x,
                          size_t half) {
    words += pass.base / 4 * 8;
    for (size_t g = 4 * half; g < 4 * half + 4; g++) {
        for (size_t i = 0; i < 2; i++) {
            const __m256i v = tile_load(words[g] + 32 * i);
            const __m256i high = pass.third >= 0 ? tile_load(highs[g] + 32 * i) : v;
            add_codes(rows, pass, sums[0], i, v, high, 0, x, g);
            if (pass.n > 1) {
                add_codes(rows, pass, sums[1], i, v, high, 1, x, g);
            }
            if (pass.n > 2) {
                add_codes(rows, pass, sums[2], i, v, high, 2, x, g);
                add_codes(rows, pass, sums[3], i, v, high, 3, x, g);
            }
        }
    }
}

/* Bytes of 16 outputs as words, each twice: what meets the two lanes of an output's sums. */
TILE_INLINE few_ints twice(__m128i bytes) {
    return (few_ints){{_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes)),
                       _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(bytes, bytes))}};
}

/* A pass's share of the lines of a slab, for later. */
TILE_INLINE void fetch_pass(bits_pass pass, const void *slab, size_t bytes) {
    tile_fetch_far((const uint8_t *)slab + pass_block(pass, 0) * (bytes / 8), pass.n * (bytes / 8));
}

/* Sums over 256 columns, of rows, before d multiplies them. */
typedef struct bits_sums {
    WEFT_ALIGNED(32) float v[FEW_ROWS][16];
} bits_sums;

TILE_INLINE void bits_clear(int rows, bits_sums *sums) {
    TILE_EACH_ROW(rows, {
        _mm256_store_ps(sums->v[r], _mm256_setzero_ps());
        _mm256_store_ps(sums->v[r] + 8, _mm256_setzero_ps());
    });
}

TILE_INLINE void bits_end(int rows, float *y, const bits_sums *sums, const uint16_t d16[16]) {
    WEFT_ALIGNED(32) float d[16];
    open_f16(d, d16, 1.0f);
    TILE_EACH_ROW(rows, { tile_add_summed(y + 16 * r, sums->v[r], d); });
}

TILE_INLINE void half_q2_k(int rows, bits_pass pass, few_ints total[4][FEW_ROWS],
                           few_ints least[4][FEW_ROWS], const slab_q2_k *slab, few_rows x,
                           size_t half) {
    const __m128i low4 = _mm_set1_epi8(15);
    few_ints sums[4][FEW_ROWS];
    for (size_t t = 0; t < pass.n; t++) {
        TILE_EACH_ROW(rows, { sums[t][r] = few_both(_mm256_setzero_si256()); });
    }
    add_half(rows, pass, sums, slab->codes, NULL, x, half);
    for (size_t t = 0; t < pass.n; t++) {
        const __m128i fields = open_load16(slab->scales[2 * pass_block(pass, t) + half]);
        const few_ints scales = twice(_mm_and_si128(fields, low4));
        const few_ints mins = twice(_mm_and_si128(_mm_srli_epi16(fields, 4), low4));
        TILE_EACH_ROW(rows, {
            const act_block_q8 *block = few_block(x, r, pass_block(pass, t));
            few_add_scaled(&total[t][r], half, sums[t][r], scales);
            few_add_scaled(&least[t][r], half, few_start_half(block, half, 0), mins);
        });
    }
}

TILE_INLINE void pass_q2_k(int rows, bits_pass pass, bits_sums *sum, bits_sums *min_sum,
                           const slab_q2_k *slab, few_rows x) {
    few_ints total[4][FEW_ROWS], least[4][FEW_ROWS];
    fetch_pass(pass, slab, sizeof(*slab));
    half_q2_k(rows, pass, total, least, slab, x, 0);
    half_q2_k(rows, pass, total, least, slab, x, 1);
    for (size_t t = 0; t < pass.n; t++) {
        TILE_EACH_ROW(rows, {
            const float xs = few_block(x, r, pass_block(pass, t))->scale;
            few_add_unscaled(sum->v[r], total[t][r], xs);
            few_add_unscaled(min_sum->v[r], least[t][r], xs);
        });
    }
}

TILE_INLINE void q2_k(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    bits_sums sum, min_sum;
    bits_clear(rows, &sum);
    bits_clear(rows, &min_sum);
    for (size_t base = 0; base < 8; base += 4) {
        EACH_PASS(rows, pass_q2_k(rows, (bits_pass){base, first, n, -1}, &sum, &min_sum, slab, x););
    }
    bits_end(rows, y, &sum, slab->d);
    bits_end(rows, y, &min_sum, slab->dmin);
}

/* The scale of half h of 16 outputs, less 32. */
TILE_INLINE __m128i scales_q3_k(const slab_q3_k *slab, size_t h) {
    const __m128i low =
        _mm_srl_epi16(open_load16(slab->scales[h % 8]), _mm_cvtsi32_si128((int)(h / 8 * 4)));
    const __m128i high =
        _mm_srl_epi16(open_load16(slab->scales[8 + h % 4]), _mm_cvtsi32_si128((int)(h / 4 * 2)));
    const __m128i low4 = _mm_and_si128(low, _mm_set1_epi8(15));
    const __m128i high2 = _mm_and_si128(high, _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(low4, _mm_slli_epi16(high2, 4)), _mm_set1_epi8(32));
}

TILE_INLINE void half_q3_k(int rows, bits_pass pass, few_ints total[4][FEW_ROWS],
                           const slab_q3_k *slab, few_rows x, size_t half) {
    few_ints sums[4][FEW_ROWS];
    for (size_t t = 0; t < pass.n; t++) {
        TILE_EACH_ROW(
            rows, { sums[t][r] = few_start_half(few_block(x, r, pass_block(pass, t)), half, 2); });
    }
    add_half(rows, pass, sums, slab->codes, slab->high, x, half);
    for (size_t t = 0; t < pass.n; t++) {
        const few_ints scales = twice(scales_q3_k(slab, 2 * pass_block(pass, t) + half));
        TILE_EACH_ROW(rows, { few_add_scaled(&total[t][r], half, sums[t][r], scales); });
    }
}

TILE_INLINE void pass_q3_k(int rows, bits_pass pass, bits_sums *sum, const slab_q3_k *slab,
                           few_rows x) {
    few_ints total[4][FEW_ROWS];
    fetch_pass(pass, slab, sizeof(*slab));
    half_q3_k(rows, pass, total, slab, x, 0);
    half_q3_k(rows, pass, total, slab, x, 1);
    for (size_t t = 0; t < pass.n; t++) {
        TILE_EACH_ROW(rows, {
            const float xs = few_block(x, r, pass_block(pass, t))->scale;
            few_add_unscaled(sum->v[r], total[t][r], xs);
        });
    }
}

TILE_INLINE void q3_k(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    bits_sums sum;
    bits_clear(rows, &sum);
    EACH_PASS(rows, pass_q3_k(rows, (bits_pass){0, first, n, first}, &sum, slab, x););
    EACH_PASS(rows, pass_q3_k(rows, (bits_pass){4, first, n, 4 + first}, &sum, slab, x););
    bits_end(rows, y, &sum, slab->d);
}

TILE_INLINE void pass_tq2_0(int rows, bits_pass pass, bits_sums *sum, const slab_tq2_0 *slab,
                            few_rows x) {
    few_ints sums[4][FEW_ROWS];
    fetch_pass(pass, slab, sizeof(*slab));
    for (size_t t = 0; t < pass.n; t++) {
        TILE_EACH_ROW(rows, { sums[t][r] = few_start(few_block(x, r, pass_block(pass, t)), 0); });
    }
    add_half(rows, pass, sums, slab->codes, NULL, x, 0);
    add_half(rows, pass, sums, slab->codes, NULL, x, 1);
    for (size_t t = 0; t < pass.n; t++) {
        TILE_EACH_ROW(rows, {
            const float xs = few_block(x, r, pass_block(pass, t))->scale;
            few_add_unscaled(sum->v[r], few_widened(sums[t][r]), xs);
        });
    }
}

TILE_INLINE void tq2_0(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)from;
    bits_sums sum;
    bits_clear(rows, &sum);
    for (size_t base = 0; base < 8; base += 4) {
        EACH_PASS(rows, pass_tq2_0(rows, (bits_pass){base, first, n, -1}, &sum, slab, x););
    }
    bits_end(rows, y, &sum, slab->d);
}

FEW_LINEAR(Q2_K, q2_k)
FEW_LINEAR(Q3_K, q3_k)
FEW_LINEAR(TQ2_0, tq2_0)

/* ---- ternary digits, of one row: two have not enough registers ---- */

/* sums of 8 outputs += the next digits, of 4 columns, times x. */
TILE_INLINE void add_digit(__m256i *sums, __m256i *fraction, const int8_t *x) {
    const __m256i digit = open_digit(fraction, _mm256_setzero_si256());
    few_add_products(sums, digit, tile_broadcast32(x));
}

/* Of outputs 8i and on and block t, digit t is columns 4w to 4w + 3: words of blocks 0 to 4. */
TILE_INLINE void add_blocks(few_ints sums[5], size_t i, const uint8_t word[64],
                            const act_block_q8 *x, size_t w) {
    __m256i fraction = open_fraction(tile_load(word + 32 * i));
    add_digit(&sums[0].v[i], &fraction, x[0].codes + 4 * w);
    add_digit(&sums[1].v[i], &fraction, x[1].codes + 4 * w);
    add_digit(&sums[2].v[i], &fraction, x[2].codes + 4 * w);
    add_digit(&sums[3].v[i], &fraction, x[3].codes + 4 * w);
    add_digit(&sums[4].v[i], &fraction, x[4].codes + 4 * w);
}

/* The same of halves: those of blocks 5 and 6, and the first of block 7. */
TILE_INLINE void add_halves(few_ints sums[3], size_t i, const uint8_t word[64],
                            const act_block_q8 *x, size_t w) {
    __m256i fraction = open_fraction(tile_load(word + 32 * i));
    add_digit(&sums[0].v[i], &fraction, x[0].codes + 4 * w);
    add_digit(&sums[0].v[i], &fraction, x[0].codes + 4 * w + 16);
    add_digit(&sums[1].v[i], &fraction, x[1].codes + 4 * w);
    add_digit(&sums[1].v[i], &fraction, x[1].codes + 4 * w + 16);
    add_digit(&sums[2].v[i], &fraction, x[2].codes + 4 * w);
}

/* The second half of block 7: four digits. */
TILE_INLINE void add_four(few_ints *sums, size_t i, const uint8_t word[64], const act_block_q8 *x) {
    __m256i fraction = open_fraction(tile_load(word + 32 * i));
    add_digit(&sums->v[i], &fraction, x->codes + 16);
    add_digit(&sums->v[i], &fraction, x->codes + 20);
    add_digit(&sums->v[i], &fraction, x->codes + 24);
    add_digit(&sums->v[i], &fraction, x->codes + 28);
}

TILE_INLINE void end_block(bits_sums *sum, few_ints sums, const act_block_q8 *x) {
    few_add_unscaled(sum->v[0], few_widened(sums), x->scale);
}

/* Sums start at minus those of x: digits are 1 more than values. Loops over them would have gcc
 * keep them in memory. */
void linear_few_tq1_0_avx2(size_t rows, float *y, const uint8_t *from, size_t n_blocks,
                           const uint8_t *x, size_t x_stride) {
    const slab_tq1_0 *slab = (const slab_tq1_0 *)from;
    const act_block_q8 *b = (const act_block_q8 *)x;
    bits_sums sum;
    bits_clear(1, &sum);
    few_ints first[5] = {few_start(&b[0], 0), few_start(&b[1], 0), few_start(&b[2], 0),
                         few_start(&b[3], 0), few_start(&b[4], 0)};
    for (size_t w = 0; w < 8; w++) {
        tile_fetch_next(slab->five[w], sizeof(slab->five[w]));
        add_blocks(first, 0, slab->five[w], b, w);
        add_blocks(first, 1, slab->five[w], b, w);
    }
    end_block(&sum, first[0], &b[0]);
    end_block(&sum, first[1], &b[1]);
    end_block(&sum, first[2], &b[2]);
    end_block(&sum, first[3], &b[3]);
    end_block(&sum, first[4], &b[4]);
    few_ints last[3] = {few_start(&b[5], 0), few_start(&b[6], 0), few_start(&b[7], 0)};
    for (size_t w = 0; w < 4; w++) {
        tile_fetch_next(slab->five[8 + w], sizeof(slab->five[8 + w]));
        add_halves(last, 0, slab->five[8 + w], b + 5, w);
        add_halves(last, 1, slab->five[8 + w], b + 5, w);
    }
    tile_fetch_next(slab->four, sizeof(slab->four));
    add_four(&last[2], 0, slab->four, b + 7);
    add_four(&last[2], 1, slab->four, b + 7);
    end_block(&sum, last[0], &b[5]);
    end_block(&sum, last[1], &b[6]);
    end_block(&sum, last[2], &b[7]);
    bits_end(1, y, &sum, slab->d);
}
