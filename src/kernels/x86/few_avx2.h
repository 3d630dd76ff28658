/* few_avx2.h - sums of 16 outputs for few rows of x, whose codes of weights are multiplied as they
 * are opened.
 *
 * Opening a chunk to memory (open_codes_avx2.c) is half of what a single row takes. Here codes stay
 * in registers and serve all rows, and whole scales of 16 columns are multiplied by vpmaddwd, as in
 * Q6_K: integers up to a block's end, which are below 2^24, so that the floats are those of
 * linear_opened_avx2.c.
 */
#ifndef WEFT_KERNELS_X86_FEW_AVX2_H
#define WEFT_KERNELS_X86_FEW_AVX2_H

#include "kernels/opened.h"
#include "kernels/x86/linear_few_avx2.h"
#include "kernels/x86/open_avx2.h"
#include "kernels/x86/tile_avx2.h"

#define FEW_ROWS TILE_ROWS /* of arrays: as many as TILE_EACH_ROW names */

/* Of 16 outputs: of 8 each. */
typedef struct few_ints {
    __m256i v[2];
} few_ints;

typedef struct few_floats {
    __m256 v[2];
} few_floats;

/* Rows of x at a block. */
typedef struct few_rows {
    const uint8_t *x;
    size_t stride;
} few_rows;

TILE_INLINE const act_block_q8 *few_block(few_rows x, size_t r, size_t b) {
    return (const act_block_q8 *)(x.x + r * x.stride) + b;
}

TILE_INLINE few_floats few_f16(const uint16_t *from) {
    return (few_floats){{tile_load_f16(from), tile_load_f16(from + 8)}};
}

TILE_INLINE few_ints few_both(__m256i v) { return (few_ints){{v, v}}; }

/* 16-bit sums of 8 outputs += codes times 4 columns of x. */
TILE_INLINE void few_add_products(__m256i *sums, __m256i codes, __m256i xs) {
    *sums = _mm256_add_epi16(*sums, _mm256_maddubs_epi16(codes, xs));
    TILE_PIN(*sums);
}

/* total = or += (half 0 or 1 of a block) sums * scales, of both lanes of each output. */
TILE_INLINE void few_add_scaled(few_ints *total, size_t half, few_ints sums, few_ints scales) {
    for (int i = 0; i < 2; i++) {
        const __m256i product = _mm256_madd_epi16(sums.v[i], scales.v[i]);
        total->v[i] = half == 0 ? product : _mm256_add_epi32(total->v[i], product);
    }
}

/* What a block's 16-bit sums come to. */
TILE_INLINE few_ints few_widened(few_ints sums) {
    few_ints total;
    few_add_scaled(&total, 0, sums, few_both(_mm256_set1_epi16(1)));
    return total;
}

/* y [16] += dot * (scale * xs) */
TILE_INLINE void few_add_dot(float *y, few_ints dot, few_floats scale, float xs) {
    for (int i = 0; i < 2; i++) {
        tile_add_dot(y + 8 * i, _mm256_cvtepi32_ps(dot.v[i]), scale.v[i], xs);
    }
}

/* sums [16] += dot * xs */
TILE_INLINE void few_add_unscaled(float *sums, few_ints dot, float xs) {
    for (int i = 0; i < 2; i++) {
        tile_add_unscaled(sums + 8 * i, _mm256_cvtepi32_ps(dot.v[i]), xs);
    }
}

/* What sums of codes start from to be those of codes less 2^log2_middle: of a half, of a block. */
TILE_INLINE few_ints few_start_half(const act_block_q8 *x, size_t half, int log2_middle) {
    return few_both(_mm256_slli_epi16(tile_broadcast32(x->neg_sums[half]), log2_middle));
}

TILE_INLINE few_ints few_start(const act_block_q8 *x, int log2_middle) {
    const __m256i sum =
        _mm256_add_epi16(tile_broadcast32(x->neg_sums[0]), tile_broadcast32(x->neg_sums[1]));
    return few_both(_mm256_slli_epi16(sum, log2_middle));
}

/* linear_few_NAME_avx2 of name(rows, y, slab, n_blocks, x), a copy of the code for each number of
 * rows up to its most. */
#define FEW_CASE(NAME, name, number)                \
    case (number):                                  \
        if ((number) <= LINEAR_FEW_ROWS_##NAME) {   \
            name((number), y, slab, n_blocks, all); \
        }                                           \
        return;
#define FEW_LINEAR(NAME, name)                                                                 \
    void linear_few_##name##_avx2(size_t rows, float *y, const uint8_t *slab, size_t n_blocks, \
                                  const uint8_t *x, size_t x_stride) {                         \
        const few_rows all = {x, x_stride};                                                    \
        switch (rows) {                                                                        \
            FEW_CASE(NAME, name, 1)                                                            \
            FEW_CASE(NAME, name, 2)                                                            \
            FEW_CASE(NAME, name, 3)                                                            \
            FEW_CASE(NAME, name, 4)                                                            \
        }                                                                                      \
    }

#endif /* WEFT_KERNELS_X86_FEW_AVX2_H */
