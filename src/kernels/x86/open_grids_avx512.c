/* open_grids_avx512.c - opens the formats whose codes are points of a codebook, 16 rows at a time.
 *
 * As open_grids_avx2.c, a panel's row in each 32-bit lane. Signs become a mask that turns values
 * about their middle: middle + v is 2 * middle less middle - v. The plain C of each format is in
 * ref/opened_open_ref.c. For tiles of AMX: on processors without, gathers are slow, and
 * AVX2 opens, or linear_grids_avx512vbmi.c.
 */
#include <immintrin.h>

#include "kernels/opened.h"
#include "kernels/x86/rows_avx512.h"
#include "tensor/quant_grids.h"

VNNI_INLINE __m512i points(const uint16_t *grid, __m512i indices) {
    return _mm512_i32gather_epi32(indices, (const int *)(const void *)grid, sizeof(*grid));
}

/* n bits of each lane, from bit `from` on. */
VNNI_INLINE __m512i bits_of(__m512i v, size_t from, int n) {
    return _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)from), _mm512_set1_epi32((1 << n) - 1));
}

/* Byte i of each lane in two of its bytes, and j in the other two. */
VNNI_INLINE __m512i spread(__m512i v, int i, int j) {
    const int word = i * 0x0101 + j * 0x01010000;
    const __m128i order =
        _mm_setr_epi32(word, word + 0x04040404, word + 0x08080808, word + 0x0c0c0c0c);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}

/* What numbers stand for, plus the middle, and twice the middle. */
typedef struct grid_values {
    __m512i table, twice;
} grid_values;

VNNI_INLINE grid_values values_of(const opened_chunk *c, __m128i list) {
    const __m512i middle = _mm512_set1_epi8((char)c->middle);
    return (grid_values){_mm512_add_epi8(_mm512_broadcast_i32x4(list), middle),
                         _mm512_add_epi8(middle, middle)};
}

/* Of numbers of 2 bits, found by a byte that has one in bits 0 and 1, or in 2 and 3. */
VNNI_INLINE grid_values values_of_two(const opened_chunk *c, char v0, char v1, char v2) {
    return values_of(c, _mm_setr_epi8(v0, v1, v2, 0, v1, 0, 0, 0, v2, 0, 0, 0, 0, 0, 0, 0));
}

/* Four values of points of eight, 2 bits each; `byte` says which four. */
VNNI_INLINE __m512i four_of_eight(__m512i words, int byte, __m512i table) {
    const __m512i v = spread(words, byte, byte);
    const __m512i moved = _mm512_mask_srli_epi16(v, 0xaaaaaaaau, v, 4);
    return _mm512_shuffle_epi8(table, _mm512_and_si512(moved, _mm512_set1_epi32(0x0c030c03)));
}

/* The values of points of four, 4 bits each. */
VNNI_INLINE __m512i four_of_four(__m512i words, __m512i table) {
    const __m512i v = spread(words, 0, 1);
    const __m512i high = _mm512_srli_epi16(v, 4);
    const __m512i both = _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaau, v, high);
    return _mm512_shuffle_epi8(table, _mm512_and_si512(both, _mm512_set1_epi8(15)));
}

/* Seven signs become eight, an even number of them minus. */
VNNI_INLINE __m512i signs8(__m512i signs7) {
    const char odd = (char)0x80;
    const __m512i parity = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, odd, odd, 0, odd, 0, 0, odd, odd, 0, 0, odd, 0, odd, odd, 0));
    const __m512i folded = _mm512_xor_si512(signs7, _mm512_srli_epi32(signs7, 4));
    const __m512i nibble = _mm512_and_si512(folded, _mm512_set1_epi32(15));
    return _mm512_or_si512(signs7, _mm512_shuffle_epi8(parity, nibble));
}

/* Values, which have their middle, turned about it by four bits of each lane's signs. */
VNNI_INLINE void store_signed(uint8_t to[64], __m512i values, __m512i signs, int from,
                              __m512i twice) {
    const __m512i bits = _mm512_set1_epi32(from == 0 ? 0x08040201 : (int)0x80402010);
    const __mmask64 minus = _mm512_test_epi8_mask(signs, bits);
    _mm512_store_si512(to, _mm512_mask_sub_epi8(values, minus, twice, values));
}

/* ---- scales ---- */

VNNI_INLINE void open_d(opened_chunk *c, __m256i halves, float factor) {
    const __m512 d = _mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_set1_ps(factor));
    _mm512_store_ps(c->d, d);
}

/* d is the scale of all blocks. */
VNNI_INLINE void open_d_all(opened_chunk *c, __m256i halves, float factor) {
    open_d(c, halves, factor);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        _mm512_store_ps(c->scale[b], _mm512_load_ps(c->d));
    }
}

VNNI_INLINE __m256i load_halves(const uint16_t from[16]) {
    return _mm256_loadu_si256((const __m256i *)from);
}

/* 2 * sc + 1 of half h, or of block b. */
VNNI_INLINE void open_odd_half(opened_chunk *c, size_t h, __m512i sc) {
    const __m512i odd = _mm512_add_epi32(_mm512_add_epi32(sc, sc), _mm512_set1_epi32(1));
    _mm512_store_si512(c->whole[h], odd);
    _mm512_store_ps(c->half_scale[h], _mm512_cvtepi32_ps(odd));
}

VNNI_INLINE void open_odd_block(opened_chunk *c, size_t b, __m512i sc) {
    const __m512i odd = _mm512_add_epi32(_mm512_add_epi32(sc, sc), _mm512_set1_epi32(1));
    _mm512_store_si512(c->whole[b], odd);
    _mm512_store_ps(c->scale[b], _mm512_mul_ps(_mm512_load_ps(c->d), _mm512_cvtepi32_ps(odd)));
}

/* ---- IQ2 ---- */

VNNI_INLINE grid_values values_iq2(const opened_chunk *c) { return values_of_two(c, 8, 25, 43); }

/* Eight columns from group `group` on. */
VNNI_INLINE void open_iq2(opened_chunk *c, size_t group, __m512i words, __m512i signs,
                          grid_values v) {
    const __m512i all = spread(signs, 0, 0);
    uint8_t *to = c->codes[group / 8][group % 8];
    store_signed(to, four_of_eight(words, 0, v.table), all, 0, v.twice);
    store_signed(to + 64, four_of_eight(words, 1, v.table), all, 4, v.twice);
}

void opened_iq2_xxs_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_xxs *slab = (const slab_iq2_xxs *)from;
    const grid_values v = values_iq2(c);
    open_d(c, load_halves(slab->d), 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m512i codes = _mm512_loadu_si512(slab->codes[b][0]);
        const __m512i signs = _mm512_loadu_si512(slab->codes[b][1]);
        open_odd_block(c, b, _mm512_srli_epi32(signs, 28));
        for (size_t g = 0; g < 4; g++) {
            open_iq2(c, 8 * b + 2 * g, points(quant_grid_iq2_xxs, bits_of(codes, 8 * g, 8)),
                     signs8(bits_of(signs, 7 * g, 7)), v);
        }
    }
}

/* Scales of IQ2_XS and IQ2_S. */
VNNI_INLINE void open_scales_iq2(opened_chunk *c, const uint16_t *d, const uint8_t (*scales)[16]) {
    open_d_all(c, load_halves(d), 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m512i both = vnni_load_bytes(scales[b]);
        open_odd_half(c, 2 * b, bits_of(both, 0, 4));
        open_odd_half(c, 2 * b + 1, bits_of(both, 4, 4));
    }
}

void opened_iq2_xs_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_xs *slab = (const slab_iq2_xs *)from;
    const grid_values v = values_iq2(c);
    open_scales_iq2(c, slab->d, slab->scales);
    for (size_t g = 0; g < 32; g++) {
        const __m512i codes = vnni_load_words(slab->codes[g]);
        open_iq2(c, 2 * g, points(quant_grid_iq2_xs, bits_of(codes, 0, 9)),
                 signs8(_mm512_srli_epi32(codes, 9)), v);
    }
}

void opened_iq2_s_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_s *slab = (const slab_iq2_s *)from;
    const grid_values v = values_iq2(c);
    open_scales_iq2(c, slab->d, slab->scales);
    for (size_t g = 0; g < 32; g++) {
        const __m512i high = bits_of(vnni_load_bytes(slab->high[g / 4]), 2 * (g % 4), 2);
        const __m512i low = vnni_load_bytes(slab->low[g]);
        open_iq2(c, 2 * g,
                 points(quant_grid_iq2_s, _mm512_or_si512(low, _mm512_slli_epi32(high, 8))),
                 vnni_load_bytes(slab->signs[g]), v);
    }
}

/* ---- IQ3 ---- */

/* Eight columns of points of four. */
VNNI_INLINE void open_iq3(opened_chunk *c, size_t group, __m512i first, __m512i second,
                          __m512i signs, grid_values v) {
    const __m512i all = spread(signs, 0, 0);
    uint8_t *to = c->codes[group / 8][group % 8];
    store_signed(to, four_of_four(first, v.table), all, 0, v.twice);
    store_signed(to + 64, four_of_four(second, v.table), all, 4, v.twice);
}

void opened_iq3_xxs_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq3_xxs *slab = (const slab_iq3_xxs *)from;
    const grid_values v =
        values_of(c, _mm_setr_epi8(4, 12, 20, 28, 36, 44, 52, 62, 0, 0, 0, 0, 0, 0, 0, 0));
    open_d(c, load_halves(slab->d), 0.25f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m512i signs = _mm512_loadu_si512(slab->signs[b]);
        open_odd_block(c, b, _mm512_srli_epi32(signs, 28));
        for (size_t g = 8 * b; g < 8 * b + 8; g += 2) {
            open_iq3(c, g, points(quant_grid_iq3_xxs, vnni_load_bytes(slab->low[g])),
                     points(quant_grid_iq3_xxs, vnni_load_bytes(slab->low[g + 1])),
                     signs8(bits_of(signs, 7 * (g % 8 / 2), 7)), v);
        }
    }
}

/* Points of group g: bit 8 of the index is bit g % 8 of `high`. */
VNNI_INLINE __m512i points_iq3_s(const slab_iq3_s *slab, __m512i high, size_t g) {
    const __m512i bit = _mm512_slli_epi32(bits_of(high, g % 8, 1), 8);
    return points(quant_grid_iq3_s, _mm512_or_si512(vnni_load_bytes(slab->low[g]), bit));
}

void opened_iq3_s_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq3_s *slab = (const slab_iq3_s *)from;
    const grid_values v =
        values_of(c, _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 0, 0, 0, 0, 0, 0, 0));
    open_d(c, load_halves(slab->d), 1.0f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m512i high = vnni_load_bytes(slab->high[b]);
        open_odd_block(c, b, bits_of(vnni_load_bytes(slab->scales[b / 2]), 4 * (b % 2), 4));
        for (size_t g = 8 * b; g < 8 * b + 8; g += 2) {
            open_iq3(c, g, points_iq3_s(slab, high, g), points_iq3_s(slab, high, g + 1),
                     vnni_load_bytes(slab->signs[g / 2]), v);
        }
    }
}

/* ---- IQ1 ---- */

VNNI_INLINE grid_values values_iq1(const opened_chunk *c) { return values_of_two(c, -8, 0, 8); }

/* Eight columns in eighths: -8, 0 or 8, less 1 where bit `bit` of `minus` is set, else plus 1. */
VNNI_INLINE void open_iq1(opened_chunk *c, size_t group, __m512i index, __m512i minus, int bit,
                          grid_values v) {
    const __m512i words = points(quant_grid_iq1, index);
    const __mmask16 is_minus = _mm512_test_epi32_mask(minus, _mm512_set1_epi32(1 << bit));
    const __m512i delta =
        _mm512_mask_blend_epi32(is_minus, _mm512_set1_epi8(1), _mm512_set1_epi8(-1));
    uint8_t *to = c->codes[group / 8][group % 8];
    _mm512_store_si512(to, _mm512_add_epi8(four_of_eight(words, 0, v.table), delta));
    _mm512_store_si512(to + 64, _mm512_add_epi8(four_of_eight(words, 1, v.table), delta));
}

void opened_iq1_s_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq1_s *slab = (const slab_iq1_s *)from;
    const grid_values v = values_iq1(c);
    open_d(c, load_halves(slab->d), 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m512i word = vnni_load_words(slab->high[b]);
        open_odd_block(c, b, bits_of(word, 12, 3));
        for (size_t g = 0; g < 4; g++) {
            const __m512i high = _mm512_slli_epi32(bits_of(word, 3 * g, 3), 8);
            const __m512i low = vnni_load_bytes(slab->low[4 * b + g]);
            open_iq1(c, 8 * b + 2 * g, _mm512_or_si512(low, high), word, 15, v);
        }
    }
}

void opened_iq1_m_avx512(opened_chunk *c, const uint8_t *from) {
    const slab_iq1_m *slab = (const slab_iq1_m *)from;
    const grid_values v = values_iq1(c);
    open_d_all(c, vnni_load_split_f16(slab->scales), 0.125f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        open_odd_half(c, h, bits_of(vnni_load_words(slab->scales[h / 4]), 3 * (h % 4), 3));
    }
    for (size_t g = 0; g < 32; g++) {
        const __m512i four = bits_of(vnni_load_bytes(slab->high[g / 2]), 4 * (g % 2), 4);
        const __m512i high = _mm512_slli_epi32(bits_of(four, 0, 3), 8);
        open_iq1(c, 2 * g, _mm512_or_si512(vnni_load_bytes(slab->low[g]), high), four, 3, v);
    }
}
