/* linear_tq1_0_avx512vbmi.c - products of TQ1_0 by AVX-512 with VNNI, VBMI and GFNI.
 *
 * A byte holds five digits of base 3, and a word of a slab, 64 bytes, five groups of 4 columns x 16
 * outputs. Taken out one after the other by arithmetic they take some six instructions a group.
 * Here a word is looked up in two lists, of its first four digits as two bits each and of the
 * fifth, and a group takes one instruction more: a matrix of bits turns any two bits to a value
 * plus 128. One row reads 0.6 of what plain reading does.
 */
#include <immintrin.h>

#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/few_avx512.h"
#include "kernels/x86/linear_opened_avx512.h"
#include "kernels/x86/lists_avx512vbmi.h"

#define LIST_ROWS_MAX 7u /* from 8 on opening is faster */
_Static_assert(LIST_ROWS_MAX <= LINEAR_FEW_ROWS_MAX, "FEW_LINEAR has room");

/* Digit n of byte q is floor(3 * (3^n * q mod 256) / 256), and 1 more than its value. As two bits,
 * of which bit 0 makes 129 of 128 and bit 1 127: */
#define DIGIT(q, power) (((((q) * (power) % 256 * 3) >> 8) + 2) % 3)
#define FOUR(q) (DIGIT(q, 1) | DIGIT(q, 3) << 2 | DIGIT(q, 9) << 4 | DIGIT(q, 27) << 6)
#define FIFTH(q) DIGIT(q, 81)
#define OF_4(F, q) F(q), F((q) + 1), F((q) + 2), F((q) + 3)
#define OF_16(F, q) OF_4(F, q), OF_4(F, (q) + 4), OF_4(F, (q) + 8), OF_4(F, (q) + 12)
#define OF_64(F, q) OF_16(F, q), OF_16(F, (q) + 16), OF_16(F, (q) + 32), OF_16(F, (q) + 48)
#define OF_256(F) OF_64(F, 0), OF_64(F, 64), OF_64(F, 128), OF_64(F, 192)
WEFT_ALIGNED(64) static const uint8_t list_four[256] = {OF_256(FOUR)};
WEFT_ALIGNED(64) static const uint8_t list_fifth[256] = {OF_256(FIFTH)};

VNNI_INLINE __m512i looked_up(const uint8_t list[256], const uint8_t word[64]) {
    const list_index i = list_index_of(_mm512_loadu_si512(word));
    return list_of_256(list, &i);
}

VNNI_INLINE void look_up(__m512i *to, const uint8_t list[256], const uint8_t (*words)[64],
                         size_t n) {
    for (size_t i = 0; i < n; i++) {
        to[i] = looked_up(list, words[i]);
    }
}

/* Digit t of what was looked up, as a value plus 128. */
VNNI_INLINE __m512i digits(__m512i word, unsigned t) {
    const __m512i matrix = _mm512_set1_epi64((long long)(0x0302020202020202ull << 2 * t));
    return _mm512_gf2p8affine_epi64_epi8(word, matrix, 0x80);
}

/* For each block b take(..., b, first, t, second, u): its first four groups are digit t of words
 * first[0 .. 3], the others digit u of second[0 .. 3]. w [8] is where words are looked up. */
#define EACH_BLOCK(slab, w, take, ...)               \
    do {                                             \
        look_up(w, list_four, (slab)->five, 8);      \
        take(__VA_ARGS__, 0, w, 0, w + 4, 0);        \
        take(__VA_ARGS__, 1, w, 1, w + 4, 1);        \
        take(__VA_ARGS__, 2, w, 2, w + 4, 2);        \
        take(__VA_ARGS__, 3, w, 3, w + 4, 3);        \
        look_up(w, list_fifth, (slab)->five, 8);     \
        take(__VA_ARGS__, 4, w, 0, w + 4, 0);        \
        look_up(w, list_four, (slab)->five + 8, 4);  \
        take(__VA_ARGS__, 5, w, 0, w, 1);            \
        take(__VA_ARGS__, 6, w, 2, w, 3);            \
        look_up(w, list_fifth, (slab)->five + 8, 4); \
        (w)[4] = looked_up(list_four, (slab)->four); \
        (w)[5] = _mm512_srli_epi16((w)[4], 2);       \
        (w)[6] = _mm512_srli_epi16((w)[4], 4);       \
        (w)[7] = _mm512_srli_epi16((w)[4], 6);       \
        take(__VA_ARGS__, 7, w, 0, w + 4, 0);        \
    } while (0)

/* ---- few rows ---- */

/* sums += groups g to g + 3 of block b. */
VNNI_INLINE void add_half(int rows, __m512i sums[FEW_ROWS], few_rows x, size_t b, size_t g,
                          const __m512i words[4], unsigned t) {
    for (size_t i = 0; i < 4; i++) {
        few_add_codes(rows, sums, digits(words[i], t), x, b, g + i);
    }
}

VNNI_INLINE void add_block(int rows, __m512 v[FEW_ROWS], few_rows x, size_t b,
                           const __m512i first[4], unsigned t, const __m512i second[4],
                           unsigned u) {
    __m512i sums[FEW_ROWS];
    for (int r = 0; r < rows; r++) {
        sums[r] = vnni_step_start(true, &few_block(x, r)->steps[b], ACT_STEP_ALL);
    }
    add_half(rows, sums, x, b, 0, first, t);
    add_half(rows, sums, x, b, 4, second, u);
    x = few_later(x);
    for (int r = 0; r < rows; r++) {
        v[r] = _mm512_add_ps(v[r], vnni_step_sum(true, sums[r], &few_block(x, r)->steps[b]));
    }
}

VNNI_INLINE void rows_tq1_0(int rows, float *y, const uint8_t *from, few_rows x) {
    const slab_tq1_0 *slab = (const slab_tq1_0 *)from;
    __m512 v[FEW_ROWS];
    __m512i w[8];
    few_zero(rows, v);
    vnni_fetch_lines(from, sizeof(*slab)); /* at once: with each word it is slower */
    EACH_BLOCK(slab, w, add_block, rows, v, x);
    few_add_summed(rows, y, v, vnni_load_f16(slab->d), x);
}

FEW_TILE(tq1_0)
static FEW_LINEAR(tq1_0, avx512vbmi)

    /* ---- many rows ---- */

    VNNI_INLINE void open_block(opened_chunk *c, size_t b, const __m512i first[4], unsigned t,
                                const __m512i second[4], unsigned u) {
    for (size_t i = 0; i < 4; i++) {
        _mm512_store_si512(c->codes[b][i], digits(first[i], t));
        _mm512_store_si512(c->codes[b][4 + i], digits(second[i], u));
    }
}

static void open_tq1_0(opened_chunk *c, const uint8_t *from) {
    const slab_tq1_0 *slab = (const slab_tq1_0 *)from;
    __m512i w[8];
    _mm512_store_ps(c->d, vnni_load_f16(slab->d));
    EACH_BLOCK(slab, w, open_block, c);
}

void linear_tq1_0_avx512vbmi(float *y, size_t y_stride, const void *panel, const void *x,
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    if (m <= LIST_ROWS_MAX) {
        linear_few_tq1_0_avx512vbmi(y, y_stride, panel, x, x_stride_bytes, m, n, k);
    } else {
        linear_opened_tq1_0_avx512vnni(open_tq1_0, y, y_stride, panel, x, x_stride_bytes, m, n, k);
    }
}
