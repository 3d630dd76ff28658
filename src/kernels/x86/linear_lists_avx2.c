/* linear_lists_avx2.c - few rows of x (few_avx2.h) against nibbles that stand for values of a list.
 */
#include "kernels/x86/few_avx2.h"

/* ---- IQ4: values of 8 bits, two of whose products fit 16 ---- */

/* totals += 8 outputs' codes times 4 columns of each row. */
TILE_INLINE void add_values(int rows, few_ints totals[FEW_ROWS], size_t i, __m256i w, few_rows x,
                            size_t b, size_t column) {
    const __m256i magnitude = _mm256_abs_epi8(w);
    TILE_EACH_ROW(rows, {
        const __m256i xs = tile_broadcast32(few_block(x, r, b)->codes + column);
        const __m256i product = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(xs, w));
        const __m256i sum = _mm256_madd_epi16(product, _mm256_set1_epi16(1));
        totals[r].v[i] = _mm256_add_epi32(totals[r].v[i], sum);
    });
}

/* totals = a block's products; elements l and l + 16 share a byte. */
TILE_INLINE void dot_iq4(int rows, few_ints totals[FEW_ROWS], const uint8_t (*low)[64], few_rows x,
                         size_t b) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i values = _mm256_broadcastsi128_si256(open_list_iq4());
    TILE_EACH_ROW(rows, { totals[r] = few_both(_mm256_setzero_si256()); });
    for (size_t p = 0; p < 4; p++) {
        for (size_t i = 0; i < 2; i++) {
            const __m256i v = tile_load(low[p] + 32 * i);
            const __m256i w0 = _mm256_shuffle_epi8(values, _mm256_and_si256(v, mask));
            const __m256i w1 =
                _mm256_shuffle_epi8(values, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
            add_values(rows, totals, i, w0, x, b, 4 * p);
            add_values(rows, totals, i, w1, x, b, 4 * p + 16);
        }
    }
}

TILE_INLINE void iq4_nl(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const slab_iq4_nl *slab = (const slab_iq4_nl *)from;
    for (size_t b = 0; b < n_blocks; b++, slab++) {
        few_ints totals[FEW_ROWS];
        tile_fetch_far(slab, sizeof(*slab));
        dot_iq4(rows, totals, slab->low, x, b);
        const few_floats scale = few_f16(slab->d);
        TILE_EACH_ROW(rows,
                      { few_add_dot(y + 16 * r, totals[r], scale, few_block(x, r, b)->scale); });
    }
}

/* d times the whole scale of block b. */
TILE_INLINE few_floats scale_iq4_xs(const slab_iq4_xs *slab, size_t b, few_floats d) {
    few_floats scale;
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
    return scale;
}

TILE_INLINE void iq4_xs(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const slab_iq4_xs *slab = (const slab_iq4_xs *)from;
    const few_floats d = few_f16(slab->d);
    for (size_t b = 0; b < n_blocks; b++) {
        few_ints totals[FEW_ROWS];
        tile_fetch_far(from + b * (sizeof(*slab) / 8), sizeof(*slab) / 8);
        dot_iq4(rows, totals, slab->low[b], x, b);
        const few_floats scale = scale_iq4_xs(slab, b, d);
        TILE_EACH_ROW(rows,
                      { few_add_dot(y + 16 * r, totals[r], scale, few_block(x, r, b)->scale); });
    }
}

/* ---- MXFP4, NVFP4: values of at most 12, looked up with their middle: sums fit 16 bits ---- */

TILE_INLINE __m256i values_e2m1(void) {
    return _mm256_add_epi8(_mm256_broadcastsi128_si256(open_list_e2m1()), _mm256_set1_epi8(16));
}

/* sums += two groups of columns, from `low` and `high` on, whose codes are nibbles of a word. */
TILE_INLINE void add_e2m1(int rows, few_ints sums[FEW_ROWS], __m256i values, const uint8_t word[64],
                          few_rows x, size_t b, size_t low, size_t high) {
    const __m256i mask = _mm256_set1_epi8(15);
    for (size_t i = 0; i < 2; i++) {
        const __m256i v = tile_load(word + 32 * i);
        const __m256i w0 = _mm256_shuffle_epi8(values, _mm256_and_si256(v, mask));
        const __m256i w1 =
            _mm256_shuffle_epi8(values, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
        TILE_EACH_ROW(rows, {
            const int8_t *codes = few_block(x, r, b)->codes;
            few_add_products(&sums[r].v[i], w0, tile_broadcast32(codes + low));
            few_add_products(&sums[r].v[i], w1, tile_broadcast32(codes + high));
        });
    }
}

TILE_INLINE void mxfp4(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const slab_mxfp4 *slab = (const slab_mxfp4 *)from;
    const __m256i values = values_e2m1();
    for (size_t b = 0; b < n_blocks; b++, slab++) {
        few_ints sums[FEW_ROWS];
        __m256i e[2];
        tile_fetch_far(slab, sizeof(*slab));
        TILE_EACH_ROW(rows, { sums[r] = few_start(few_block(x, r, b), 4); });
        for (size_t p = 0; p < 4; p++) {
            add_e2m1(rows, sums, values, slab->low[p], x, b, 4 * p, 4 * p + 16);
        }
        open_widen(e, open_load16(slab->e));
        const few_floats scale = {{open_half_e8m0(e[0]), open_half_e8m0(e[1])}};
        TILE_EACH_ROW(rows, {
            few_add_dot(y + 16 * r, few_widened(sums[r]), scale, few_block(x, r, b)->scale);
        });
    }
}

/* dots = or += half 0 or 1 of block b times its scale. */
TILE_INLINE void half_nvfp4(int rows, few_floats dots[FEW_ROWS], __m256i values,
                            const slab_nvfp4 *slab, few_rows x, size_t b, size_t half) {
    const size_t h = b % 2 * 2 + half, column = 16 * half;
    few_ints sums[FEW_ROWS];
    few_floats scale;
    TILE_EACH_ROW(rows, { sums[r] = few_start_half(few_block(x, r, b), half, 4); });
    add_e2m1(rows, sums, values, slab->low[2 * h], x, b, column, column + 8);
    add_e2m1(rows, sums, values, slab->low[2 * h + 1], x, b, column + 4, column + 12);
    open_half_e4m3(scale.v, slab->d[h]);
    TILE_EACH_ROW(rows, {
        const few_ints total = few_widened(sums[r]);
        for (int i = 0; i < 2; i++) {
            const __m256 dot = _mm256_cvtepi32_ps(total.v[i]);
            dots[r].v[i] = half == 0 ? _mm256_mul_ps(dot, scale.v[i])
                                     : _mm256_fmadd_ps(dot, scale.v[i], dots[r].v[i]);
        }
    });
}

TILE_INLINE void nvfp4(int rows, float *y, const uint8_t *from, size_t n_blocks, few_rows x) {
    const __m256i values = values_e2m1();
    for (size_t b = 0; b < n_blocks; b++) {
        const slab_nvfp4 *slab = (const slab_nvfp4 *)from + b / 2;
        few_floats dots[FEW_ROWS];
        tile_fetch_far((const uint8_t *)slab + b % 2 * (sizeof(*slab) / 2), sizeof(*slab) / 2);
        half_nvfp4(rows, dots, values, slab, x, b, 0);
        half_nvfp4(rows, dots, values, slab, x, b, 1);
        TILE_EACH_ROW(rows, {
            const float xs = few_block(x, r, b)->scale;
            tile_add_unscaled(y + 16 * r, dots[r].v[0], xs);
            tile_add_unscaled(y + 16 * r + 8, dots[r].v[1], xs);
        });
    }
}

FEW_LINEAR(IQ4_NL, iq4_nl)
FEW_LINEAR(IQ4_XS, iq4_xs)
FEW_LINEAR(MXFP4, mxfp4)
FEW_LINEAR(NVFP4, nvfp4)
