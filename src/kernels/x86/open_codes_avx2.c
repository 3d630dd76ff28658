/* open_codes_avx2.c - opens formats of 2 to 4 bits, ternary ones and lists of 16 values.
 *
 * A unit of 4 bytes of all rows (layout/slab.h) is 64 bytes whose lanes are already those of a
 * group: byte 4 * row + i holds element i of several groups in its bits. So a group is a shift, a
 * mask and, where codes stand for values, a look-up of 16 bytes. The plain C of each format is in
 * ref/opened_open_ref.c.
 */
#include "kernels/x86/open_avx2.h"

/* Both nibbles of 64 bytes, each looked up. */
TILE_INLINE void open_nibbles(uint8_t *low_to, uint8_t *high_to, const uint8_t *from,
                              __m256i values) {
    const __m256i mask = _mm256_set1_epi8(15);
    for (size_t half = 0; half < 64; half += 32) {
        const __m256i v = tile_load(from + half);
        const __m256i low = _mm256_and_si256(v, mask);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), mask);
        tile_store(low_to + half, _mm256_shuffle_epi8(values, low));
        tile_store(high_to + half, _mm256_shuffle_epi8(values, high));
    }
}

/* Nibbles of 32 elements: elements l and l + 16 share a byte. */
TILE_INLINE void open_block32(opened_chunk *c, size_t b, const uint8_t (*low)[64], __m256i values) {
    for (size_t p = 0; p < 4; p++) {
        open_nibbles(c->codes[b][p], c->codes[b][p + 4], low[p], values);
    }
}

void opened_iq4_nl_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq4_nl *slab = (const slab_iq4_nl *)from;
    const __m256i values = open_values(c, open_list_iq4());
    for (size_t b = 0; b < c->n_blocks; b++, slab++) {
        open_f16(c->scale[b], slab->d, 1.0f);
        open_block32(c, b, slab->low, values);
    }
}

void opened_iq4_xs_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq4_xs *slab = (const slab_iq4_xs *)from;
    const __m256i values = open_values(c, open_list_iq4()), three = _mm256_set1_epi32(3);
    const __m256i middle = _mm256_set1_epi32(32);
    const __m256i highs[2] = {
        _mm256_cvtepu16_epi32(open_load16(slab->scales_high)),
        _mm256_cvtepu16_epi32(open_load16(slab->scales_high + 8)),
    };
    open_f16(c->d, slab->d, 1.0f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m128i shift = _mm_cvtsi32_si128((int)(2 * b));
        __m256i sc[2];
        open_widen(sc, open_nibble(slab->scales_low, b));
        for (size_t h = 0; h < 2; h++) {
            const __m256i high = _mm256_and_si256(_mm256_srl_epi32(highs[h], shift), three);
            sc[h] = _mm256_or_si256(sc[h], _mm256_slli_epi32(high, 4));
            open_whole_block(c, b, 8 * h, _mm256_sub_epi32(sc[h], middle));
        }
        open_block32(c, b, slab->low[b], values);
    }
}

void opened_mxfp4_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_mxfp4 *slab = (const slab_mxfp4 *)from;
    const __m256i values = open_values(c, open_list_e2m1());
    for (size_t b = 0; b < c->n_blocks; b++, slab++) {
        __m256i e[2];
        open_widen(e, open_load16(slab->e));
        _mm256_store_ps(c->scale[b], open_half_e8m0(e[0]));
        _mm256_store_ps(c->scale[b] + 8, open_half_e8m0(e[1]));
        open_block32(c, b, slab->low, values);
    }
}

void opened_nvfp4_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_nvfp4 *slab = (const slab_nvfp4 *)from;
    const __m256i values = open_values(c, open_list_e2m1());
    for (size_t h = 0; h < 2 * c->n_blocks; h++) {
        const slab_nvfp4 *at = slab + h / 4;
        uint8_t *group = open_group(c, 4 * h);
        __m256 d[2];
        open_half_e4m3(d, at->d[h % 4]);
        _mm256_store_ps(c->half_scale[h], d[0]);
        _mm256_store_ps(c->half_scale[h] + 8, d[1]);
        open_nibbles(group, group + 128, at->low[2 * (h % 4)], values);
        open_nibbles(group + 64, group + 192, at->low[2 * (h % 4) + 1], values);
    }
}

/* ---- two bits ---- */

/* Bits 2t, 2t+1 of v. */
TILE_INLINE __m256i two_bits(__m256i v, int t) {
    return _mm256_and_si256(_mm256_srli_epi16(v, 2 * t), _mm256_set1_epi8(3));
}

TILE_INLINE void open_twos(opened_chunk *c, const uint8_t (*codes)[64], int add) {
    const __m256i more = _mm256_set1_epi8((char)add);
    for (size_t w = 0; w < 16; w++) {
        uint8_t *to = open_group(c, 32 * (w / 8) + w % 8);
        for (size_t half = 0; half < 64; half += 32) {
            const __m256i v = tile_load(codes[w] + half);
            tile_store(to + half, _mm256_add_epi8(two_bits(v, 0), more));
            tile_store(to + half + 512, _mm256_add_epi8(two_bits(v, 1), more));
            tile_store(to + half + 1024, _mm256_add_epi8(two_bits(v, 2), more));
            tile_store(to + half + 1536, _mm256_add_epi8(two_bits(v, 3), more));
        }
    }
}

void opened_tq2_0_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)from;
    open_f16_all(c, slab->d, 1.0f);
    open_twos(c, slab->codes, c->middle - 1);
}

void opened_q2_k_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_q2_k *slab = (const slab_q2_k *)from;
    const __m128i low4 = _mm_set1_epi8(15);
    open_f16_all(c, slab->d, 1.0f);
    open_f16(c->half_min_scale, slab->dmin, 1.0f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        const __m128i both = open_load16(slab->scales[h]);
        const __m128i min = _mm_and_si128(_mm_srli_epi16(both, 4), low4);
        __m256i sc[2];
        open_widen(sc, _mm_and_si128(both, low4));
        open_whole_half(c, h, 0, sc[0]);
        open_whole_half(c, h, 8, sc[1]);
        const __m256i twice_low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(min, min));
        const __m256i twice_high = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(min, min));
        tile_store(c->half_min[h], twice_low);
        tile_store(c->half_min[h] + 16, twice_high);
    }
    open_twos(c, slab->codes, 0);
}

/* A word's four groups: bits of `codes` and, from bit `bit` on, of `high`; values are 4 less. */
TILE_INLINE void open_threes(opened_chunk *c, size_t group, const uint8_t *codes,
                             const uint8_t *high, int bit) {
    const __m256i more = _mm256_set1_epi8((char)(c->middle - 4));
    uint8_t *to = open_group(c, group);
    for (size_t half = 0; half < 64; half += 32) {
        const __m256i v = tile_load(codes + half);
        const __m256i h = tile_load(high + half);
        const __m256i q0 = _mm256_or_si256(two_bits(v, 0), open_third_bit(h, bit));
        const __m256i q1 = _mm256_or_si256(two_bits(v, 1), open_third_bit(h, bit + 1));
        const __m256i q2 = _mm256_or_si256(two_bits(v, 2), open_third_bit(h, bit + 2));
        const __m256i q3 = _mm256_or_si256(two_bits(v, 3), open_third_bit(h, bit + 3));
        tile_store(to + half, _mm256_add_epi8(q0, more));
        tile_store(to + half + 512, _mm256_add_epi8(q1, more));
        tile_store(to + half + 1024, _mm256_add_epi8(q2, more));
        tile_store(to + half + 1536, _mm256_add_epi8(q3, more));
    }
}

void opened_q3_k_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_q3_k *slab = (const slab_q3_k *)from;
    const __m128i low4 = _mm_set1_epi8(15), low2 = _mm_set1_epi8(3);
    const __m256i middle = _mm256_set1_epi32(32);
    open_f16_all(c, slab->d, -1.0f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        const __m128i low =
            _mm_srl_epi16(open_load16(slab->scales[h % 8]), _mm_cvtsi32_si128((int)(4 * (h / 8))));
        const __m128i high = _mm_srl_epi16(open_load16(slab->scales[8 + h % 4]),
                                           _mm_cvtsi32_si128((int)(2 * (h / 4))));
        const __m128i high4 = _mm_slli_epi16(_mm_and_si128(high, low2), 4);
        __m256i sc[2];
        open_widen(sc, _mm_or_si128(_mm_and_si128(low, low4), high4));
        open_whole_half(c, h, 0, _mm256_sub_epi32(middle, sc[0]));
        open_whole_half(c, h, 8, _mm256_sub_epi32(middle, sc[1]));
    }
    for (size_t g = 0; g < 8; g++) {
        open_threes(c, g, slab->codes[g], slab->high[g], 0);
        open_threes(c, 32 + g, slab->codes[8 + g], slab->high[g], 4);
    }
}

/* ---- ternary ---- */

/* n_digits digits of a word of 4 bytes; their groups, from `group` on, lie stride apart. */
TILE_INLINE void open_digits(opened_chunk *c, size_t group, const uint8_t *from, size_t n_digits,
                             size_t stride) {
    const __m256i least = _mm256_set1_epi8((char)(c->middle - 1));
    uint8_t *to = open_group(c, group);
    for (size_t half = 0; half < 64; half += 32) {
        __m256i fraction = open_fraction(tile_load(from + half));
        for (size_t t = 0; t < n_digits; t++) {
            tile_store(to + half + 64 * stride * t, open_digit(&fraction, least));
        }
    }
}

void opened_tq1_0_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_tq1_0 *slab = (const slab_tq1_0 *)from;
    open_f16_all(c, slab->d, 1.0f);
    for (size_t w = 0; w < 8; w++) {
        open_digits(c, w, slab->five[w], 5, 8);
    }
    for (size_t w = 0; w < 4; w++) {
        open_digits(c, 40 + w, slab->five[8 + w], 5, 4);
    }
    open_digits(c, 60, slab->four, 4, 1);
}
