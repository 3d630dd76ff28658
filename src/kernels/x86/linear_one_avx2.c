/* linear_one_avx2.c - one row of x against codes that are multiplied as they are opened.
 *
 * Opening a chunk to memory (open_codes_avx2.c) is half of what a single row takes. Here codes stay
 * in registers, and whole scales of 16 columns are multiplied by vpmaddwd, as in Q6_K: integers up
 * to a block's end, which are below 2^24, so that the floats are those of linear_opened_avx2.c.
 */
#include "kernels/x86/linear_one_avx2.h"

#include "kernels/opened.h"
#include "kernels/x86/open_avx2.h"
#include "kernels/x86/tile_avx2.h"

/* Sums of 16 outputs: of 8 each. */
typedef struct pair16 {
    __m256i v[2];
} pair16;

typedef struct floats16 {
    __m256 v[2];
} floats16;

TILE_INLINE floats16 f16_of(const uint16_t *from) {
    return (floats16){{tile_load_f16(from), tile_load_f16(from + 8)}};
}

TILE_INLINE floats16 y_of(const float *y) {
    return (floats16){{_mm256_load_ps(y), _mm256_load_ps(y + 8)}};
}

TILE_INLINE void y_store(float *y, floats16 sums) {
    _mm256_store_ps(y, sums.v[0]);
    _mm256_store_ps(y + 8, sums.v[1]);
}

/* y += dot * (scale * xs) */
TILE_INLINE void add_dot(floats16 *y, pair16 dot, floats16 scale, float xs) {
    for (int i = 0; i < 2; i++) {
        const __m256 factor = _mm256_mul_ps(scale.v[i], _mm256_set1_ps(xs));
        y->v[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot.v[i]), factor, y->v[i]);
    }
}

/* sums += dot * xs */
TILE_INLINE void add_unscaled(floats16 *sums, pair16 dot, float xs) {
    for (int i = 0; i < 2; i++) {
        sums->v[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot.v[i]), _mm256_set1_ps(xs), sums->v[i]);
    }
}

TILE_INLINE floats16 no_floats(void) {
    return (floats16){{_mm256_setzero_ps(), _mm256_setzero_ps()}};
}

/* y += sums of 256 columns * d */
TILE_INLINE void add_summed(float *y, floats16 sums, floats16 d) {
    floats16 v = y_of(y);
    for (int i = 0; i < 2; i++) {
        v.v[i] = _mm256_fmadd_ps(sums.v[i], d.v[i], v.v[i]);
    }
    y_store(y, v);
}

/* Bytes of 16 rows as words, each twice: what meets the two lanes of an output's sums. */
TILE_INLINE pair16 twice(__m128i bytes) {
    return (pair16){{_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes)),
                     _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(bytes, bytes))}};
}

/* total = or += (half 0 or 1 of a block) sums * scales, of both lanes of each output. */
TILE_INLINE void add_scaled(pair16 *total, size_t half, pair16 sums, pair16 scales) {
    for (int i = 0; i < 2; i++) {
        const __m256i product = _mm256_madd_epi16(sums.v[i], scales.v[i]);
        total->v[i] = half == 0 ? product : _mm256_add_epi32(total->v[i], product);
    }
}

TILE_INLINE pair16 both(__m256i v) { return (pair16){{v, v}}; }

/* 16-bit sums of 8 rows += codes times 4 columns of x. */
TILE_INLINE void add_products(__m256i *sums, __m256i codes, __m256i xs) {
    *sums = _mm256_add_epi16(*sums, _mm256_maddubs_epi16(codes, xs));
    TILE_PIN(*sums);
}

/* sums += what a block's 16-bit sums come to, times xs. */
TILE_INLINE void add_sums_unscaled(floats16 *sums, pair16 block, float xs) {
    pair16 total;
    add_scaled(&total, 0, block, both(_mm256_set1_epi16(1)));
    add_unscaled(sums, total, xs);
}

/* y += what a block's sums come to, times (scale * xs). */
TILE_INLINE void add_sums(floats16 *y, pair16 sums, floats16 scale, float xs) {
    pair16 total;
    add_scaled(&total, 0, sums, both(_mm256_set1_epi16(1)));
    add_dot(y, total, scale, xs);
}

/* ---- codes of two bits, or three: four blocks share words (layout/slab.h) ---- */

/* sums of block t += 4 columns of 8 rows: bits of v, and from bit `bit` on of high if it is not
 * negative, times x. */
TILE_INLINE void add_codes(__m256i *sums, __m256i v, __m256i high, int bit, int t,
                           const int8_t *x) {
    __m256i w = _mm256_and_si256(_mm256_srli_epi16(v, 2 * t), _mm256_set1_epi8(3));
    if (bit >= 0) {
        w = _mm256_or_si256(w, open_third_bit(high, bit + t));
    }
    add_products(sums, w, tile_broadcast32(x));
}

/* The four groups from `group` on of each of four blocks of x: a half of each. */
TILE_INLINE void add_half(pair16 sums[4], const uint8_t (*words)[64], const uint8_t (*highs)[64],
                          int bit, const act_block_q8 *x, size_t group) {
    for (size_t g = group; g < group + 4; g++) {
        for (size_t i = 0; i < 2; i++) {
            const __m256i v = tile_load(words[g] + 32 * i);
            const __m256i high = bit >= 0 ? tile_load(highs[g] + 32 * i) : v;
            add_codes(&sums[0].v[i], v, high, bit, 0, x[0].codes + 4 * g);
            add_codes(&sums[1].v[i], v, high, bit, 1, x[1].codes + 4 * g);
            add_codes(&sums[2].v[i], v, high, bit, 2, x[2].codes + 4 * g);
            add_codes(&sums[3].v[i], v, high, bit, 3, x[3].codes + 4 * g);
        }
    }
}

/* What sums of codes start from to be those of codes less 2^log2_middle. */
TILE_INLINE pair16 start_of_half(const act_block_q8 *x, size_t half, int log2_middle) {
    return both(_mm256_slli_epi16(tile_broadcast32(x->neg_sums[half]), log2_middle));
}

/* The same for a whole block. */
TILE_INLINE pair16 start_of_block(const act_block_q8 *x, int log2_middle) {
    const __m256i sum =
        _mm256_add_epi16(tile_broadcast32(x->neg_sums[0]), tile_broadcast32(x->neg_sums[1]));
    return both(_mm256_slli_epi16(sum, log2_middle));
}

void linear_one_q2_k_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    const __m128i low4 = _mm_set1_epi8(15);
    const floats16 d = f16_of(slab->d), dmin = f16_of(slab->dmin);
    floats16 sum = no_floats(), min_sum = no_floats();
    for (size_t b = 0; b < n_blocks; b += 4) {
        const act_block_q8 *block = (const act_block_q8 *)x + b;
        pair16 total[4], least[4];
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 2);
        for (size_t half = 0; half < 2; half++) {
            pair16 sums[4];
            sums[0] = sums[1] = sums[2] = sums[3] = both(_mm256_setzero_si256());
            add_half(sums, slab->codes + 2 * b, NULL, -1, block, 4 * half);
            for (size_t t = 0; t < 4; t++) {
                const __m128i fields = open_load16(slab->scales[2 * (b + t) + half]);
                const __m128i min = _mm_and_si128(_mm_srli_epi16(fields, 4), low4);
                add_scaled(&total[t], half, sums[t], twice(_mm_and_si128(fields, low4)));
                add_scaled(&least[t], half, start_of_half(block + t, half, 0), twice(min));
            }
        }
        for (size_t t = 0; t < 4; t++) {
            add_unscaled(&sum, total[t], block[t].scale);
            add_unscaled(&min_sum, least[t], block[t].scale);
        }
    }
    add_summed(y, sum, d);
    add_summed(y, min_sum, dmin);
}

/* 32 less the scale of half h of 16 rows. */
TILE_INLINE __m128i scales_q3_k(const slab_q3_k *slab, size_t h) {
    const __m128i low =
        _mm_srl_epi16(open_load16(slab->scales[h % 8]), _mm_cvtsi32_si128((int)(h / 8 * 4)));
    const __m128i high =
        _mm_srl_epi16(open_load16(slab->scales[8 + h % 4]), _mm_cvtsi32_si128((int)(h / 4 * 2)));
    const __m128i low4 = _mm_and_si128(low, _mm_set1_epi8(15));
    const __m128i high2 = _mm_and_si128(high, _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(low4, _mm_slli_epi16(high2, 4)), _mm_set1_epi8(32));
}

/* Four blocks, whose third bits begin at `bit`. */
TILE_INLINE void add_q3_k(floats16 *sum, const slab_q3_k *slab, size_t b, int bit,
                          const act_block_q8 *block) {
    pair16 total[4];
    for (size_t half = 0; half < 2; half++) {
        pair16 sums[4];
        for (size_t t = 0; t < 4; t++) {
            sums[t] = start_of_half(block + t, half, 2);
        }
        add_half(sums, slab->codes + 2 * b, slab->high, bit, block, 4 * half);
        for (size_t t = 0; t < 4; t++) {
            add_scaled(&total[t], half, sums[t], twice(scales_q3_k(slab, 2 * (b + t) + half)));
        }
    }
    for (size_t t = 0; t < 4; t++) {
        add_unscaled(sum, total[t], block[t].scale);
    }
}

void linear_one_q3_k_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    const act_block_q8 *block = (const act_block_q8 *)x;
    floats16 sum = no_floats();
    (void)n_blocks;
    tile_fetch_far(from, sizeof(*slab) / 2);
    add_q3_k(&sum, slab, 0, 0, block);
    tile_fetch_far(from + sizeof(*slab) / 2, sizeof(*slab) / 2);
    add_q3_k(&sum, slab, 4, 4, block + 4);
    add_summed(y, sum, f16_of(slab->d));
}

void linear_one_tq2_0_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)from;
    floats16 sum = no_floats();
    for (size_t b = 0; b < n_blocks; b += 4) {
        const act_block_q8 *block = (const act_block_q8 *)x + b;
        pair16 sums[4];
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 2);
        for (size_t t = 0; t < 4; t++) {
            sums[t] = start_of_block(block + t, 0);
        }
        add_half(sums, slab->codes + 2 * b, NULL, -1, block, 0);
        add_half(sums, slab->codes + 2 * b, NULL, -1, block, 4);
        for (size_t t = 0; t < 4; t++) {
            add_sums_unscaled(&sum, sums[t], block[t].scale);
        }
    }
    add_summed(y, sum, f16_of(slab->d));
}

/* ---- ternary digits, up to five a byte (layout/slab.h) ---- */

/* sums of 8 rows += the next digits, of 4 columns, times x. */
TILE_INLINE void add_digit(__m256i *sums, __m256i *fraction, const int8_t *x) {
    const __m256i digit = open_digit(fraction, _mm256_setzero_si256());
    add_products(sums, digit, tile_broadcast32(x));
}

/* Of rows 8i and on and block t, digit t is columns 4w to 4w + 3: words of blocks 0 to 4. */
TILE_INLINE void add_blocks_tq1_0(pair16 sums[5], size_t i, const uint8_t word[64],
                                  const act_block_q8 *x, size_t w) {
    __m256i fraction = open_fraction(tile_load(word + 32 * i));
    add_digit(&sums[0].v[i], &fraction, x[0].codes + 4 * w);
    add_digit(&sums[1].v[i], &fraction, x[1].codes + 4 * w);
    add_digit(&sums[2].v[i], &fraction, x[2].codes + 4 * w);
    add_digit(&sums[3].v[i], &fraction, x[3].codes + 4 * w);
    add_digit(&sums[4].v[i], &fraction, x[4].codes + 4 * w);
}

/* The same of halves: those of blocks 5 and 6, and the first of block 7. */
TILE_INLINE void add_halves_tq1_0(pair16 sums[3], size_t i, const uint8_t word[64],
                                  const act_block_q8 *x, size_t w) {
    __m256i fraction = open_fraction(tile_load(word + 32 * i));
    add_digit(&sums[0].v[i], &fraction, x[0].codes + 4 * w);
    add_digit(&sums[0].v[i], &fraction, x[0].codes + 4 * w + 16);
    add_digit(&sums[1].v[i], &fraction, x[1].codes + 4 * w);
    add_digit(&sums[1].v[i], &fraction, x[1].codes + 4 * w + 16);
    add_digit(&sums[2].v[i], &fraction, x[2].codes + 4 * w);
}

/* The second half of block 7: four digits. */
TILE_INLINE void add_four_tq1_0(pair16 *sums, size_t i, const uint8_t word[64],
                                const act_block_q8 *x) {
    __m256i fraction = open_fraction(tile_load(word + 32 * i));
    add_digit(&sums->v[i], &fraction, x->codes + 16);
    add_digit(&sums->v[i], &fraction, x->codes + 20);
    add_digit(&sums->v[i], &fraction, x->codes + 24);
    add_digit(&sums->v[i], &fraction, x->codes + 28);
}

/* Sums start at minus those of x: digits are 1 more than values. Loops over them would have gcc
 * keep them in memory. */
void linear_one_tq1_0_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_tq1_0 *slab = (const slab_tq1_0 *)from;
    const act_block_q8 *b = (const act_block_q8 *)x;
    floats16 sum = no_floats();
    (void)n_blocks;
    pair16 first[5] = {start_of_block(&b[0], 0), start_of_block(&b[1], 0), start_of_block(&b[2], 0),
                       start_of_block(&b[3], 0), start_of_block(&b[4], 0)};
    for (size_t w = 0; w < 8; w++) {
        tile_fetch_next(slab->five[w], sizeof(slab->five[w]));
        add_blocks_tq1_0(first, 0, slab->five[w], b, w);
        add_blocks_tq1_0(first, 1, slab->five[w], b, w);
    }
    add_sums_unscaled(&sum, first[0], b[0].scale);
    add_sums_unscaled(&sum, first[1], b[1].scale);
    add_sums_unscaled(&sum, first[2], b[2].scale);
    add_sums_unscaled(&sum, first[3], b[3].scale);
    add_sums_unscaled(&sum, first[4], b[4].scale);
    pair16 last[3] = {start_of_block(&b[5], 0), start_of_block(&b[6], 0), start_of_block(&b[7], 0)};
    for (size_t w = 0; w < 4; w++) {
        tile_fetch_next(slab->five[8 + w], sizeof(slab->five[8 + w]));
        add_halves_tq1_0(last, 0, slab->five[8 + w], b + 5, w);
        add_halves_tq1_0(last, 1, slab->five[8 + w], b + 5, w);
    }
    tile_fetch_next(slab->four, sizeof(slab->four));
    add_four_tq1_0(&last[2], 0, slab->four, b + 7);
    add_four_tq1_0(&last[2], 1, slab->four, b + 7);
    add_sums_unscaled(&sum, last[0], b[5].scale);
    add_sums_unscaled(&sum, last[1], b[6].scale);
    add_sums_unscaled(&sum, last[2], b[7].scale);
    add_summed(y, sum, f16_of(slab->d));
}

/* ---- lists of 16 values of 8 bits ---- */

TILE_INLINE void add_values(__m256i *total, __m256i values, __m256i codes, __m256i xs) {
    const __m256i w = _mm256_shuffle_epi8(values, codes);
    const __m256i product = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(xs, w));
    *total = _mm256_add_epi32(*total, _mm256_madd_epi16(product, _mm256_set1_epi16(1)));
}

/* A block's nibbles: elements l and l + 16 share a byte. */
TILE_INLINE pair16 dot_iq4(const uint8_t (*low)[64], const act_block_q8 *block) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i values = _mm256_broadcastsi128_si256(open_list_iq4());
    pair16 total = both(_mm256_setzero_si256());
    for (size_t p = 0; p < 4; p++) {
        const __m256i first = tile_broadcast32(block->codes + 4 * p);
        const __m256i second = tile_broadcast32(block->codes + 16 + 4 * p);
        for (size_t i = 0; i < 2; i++) {
            const __m256i v = tile_load(low[p] + 32 * i);
            add_values(&total.v[i], values, _mm256_and_si256(v, mask), first);
            add_values(&total.v[i], values, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask),
                       second);
        }
    }
    return total;
}

void linear_one_iq4_nl_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq4_nl *slab = (const slab_iq4_nl *)from;
    floats16 sums = y_of(y);
    for (size_t b = 0; b < n_blocks; b++, slab++) {
        const act_block_q8 *block = (const act_block_q8 *)x + b;
        tile_fetch_far(slab, sizeof(*slab));
        add_dot(&sums, dot_iq4(slab->low, block), f16_of(slab->d), block->scale);
    }
    y_store(y, sums);
}

void linear_one_iq4_xs_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_iq4_xs *slab = (const slab_iq4_xs *)from;
    const floats16 d = f16_of(slab->d);
    floats16 sums = y_of(y);
    for (size_t b = 0; b < n_blocks; b++) {
        const act_block_q8 *block = (const act_block_q8 *)x + b;
        floats16 scale;
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        for (size_t i = 0; i < 2; i++) {
            const uint8_t *fields = slab->scales_low[b / 2] + 8 * i;
            const __m256i low = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)fields));
            const __m256i high = _mm256_cvtepu16_epi32(open_load16(slab->scales_high + 8 * i));
            const __m256i low4 = _mm256_and_si256(
                _mm256_srl_epi32(low, _mm_cvtsi32_si128((int)(b % 2 * 4))), _mm256_set1_epi32(15));
            const __m256i high2 = _mm256_and_si256(
                _mm256_srl_epi32(high, _mm_cvtsi32_si128((int)(2 * b))), _mm256_set1_epi32(3));
            const __m256i sc = _mm256_or_si256(low4, _mm256_slli_epi32(high2, 4));
            const __m256i whole = _mm256_sub_epi32(sc, _mm256_set1_epi32(32));
            scale.v[i] = _mm256_mul_ps(d.v[i], _mm256_cvtepi32_ps(whole));
        }
        add_dot(&sums, dot_iq4(slab->low[b], block), scale, block->scale);
    }
    y_store(y, sums);
}

/* Values of at most 12, looked up with their middle: a block's sums fit 16 bits. */
TILE_INLINE __m256i values_e2m1(void) {
    return _mm256_add_epi8(_mm256_broadcastsi128_si256(open_list_e2m1()), _mm256_set1_epi8(16));
}

/* sums += two groups of columns, whose codes are the nibbles of a word, times those of x. */
TILE_INLINE void add_e2m1(pair16 *sums, __m256i values, const uint8_t word[64], const int8_t *low,
                          const int8_t *high) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i x_low = tile_broadcast32(low), x_high = tile_broadcast32(high);
    for (size_t i = 0; i < 2; i++) {
        const __m256i v = tile_load(word + 32 * i);
        const __m256i w_low = _mm256_shuffle_epi8(values, _mm256_and_si256(v, mask));
        const __m256i w_high =
            _mm256_shuffle_epi8(values, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
        add_products(&sums->v[i], w_low, x_low);
        add_products(&sums->v[i], w_high, x_high);
    }
}

void linear_one_mxfp4_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const slab_mxfp4 *slab = (const slab_mxfp4 *)from;
    const __m256i values = values_e2m1();
    floats16 result = y_of(y);
    for (size_t b = 0; b < n_blocks; b++, slab++) {
        const act_block_q8 *block = (const act_block_q8 *)x + b;
        pair16 sums = start_of_block(block, 4);
        __m256i e[2];
        tile_fetch_far(slab, sizeof(*slab));
        for (size_t p = 0; p < 4; p++) {
            const int8_t *columns = block->codes + 4 * p;
            add_e2m1(&sums, values, slab->low[p], columns, columns + 16);
        }
        open_widen(e, open_load16(slab->e));
        const floats16 scale = {{open_half_e8m0(e[0]), open_half_e8m0(e[1])}};
        add_sums(&result, sums, scale, block->scale);
    }
    y_store(y, result);
}

/* The same with a scale for each half. */
void linear_one_nvfp4_avx2(float *y, const uint8_t *from, size_t n_blocks, const uint8_t *x) {
    const __m256i values = values_e2m1(), ones = _mm256_set1_epi16(1);
    floats16 result = y_of(y);
    for (size_t b = 0; b < n_blocks; b++) {
        const slab_nvfp4 *slab = (const slab_nvfp4 *)from + b / 2;
        const act_block_q8 *block = (const act_block_q8 *)x + b;
        __m256 dots[2];
        tile_fetch_far((const uint8_t *)slab + b % 2 * (sizeof(*slab) / 2), sizeof(*slab) / 2);
        for (size_t half = 0; half < 2; half++) {
            const size_t h = b % 2 * 2 + half;
            const int8_t *columns = block->codes + 16 * half;
            pair16 sums = start_of_half(block, half, 4);
            __m256 scale[2];
            add_e2m1(&sums, values, slab->low[2 * h], columns, columns + 8);
            add_e2m1(&sums, values, slab->low[2 * h + 1], columns + 4, columns + 12);
            open_half_e4m3(scale, slab->d[h]);
            for (int i = 0; i < 2; i++) {
                const __m256 dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums.v[i], ones));
                dots[i] = half == 0 ? _mm256_mul_ps(dot, scale[i])
                                    : _mm256_fmadd_ps(dot, scale[i], dots[i]);
            }
        }
        for (int i = 0; i < 2; i++) {
            result.v[i] = _mm256_fmadd_ps(dots[i], _mm256_set1_ps(block->scale), result.v[i]);
        }
    }
    y_store(y, result);
}
