/* open_grids_avx2.c - opens the formats whose codes are points of a codebook: IQ1, IQ2 and IQ3.
 *
 * Eight rows at a time, a row in each 32-bit lane. Points are loaded one by one from tables of
 * bytes (kernels/grids.h): a gather is 39 operations on some cores (Zen 3). Two shuffles make two
 * groups of four columns of the eight columns that eight rows' points hold. Signs are a bit a
 * column and become masks. A single row is not opened (linear_one_grids_avx2.c). The plain C of
 * each format is in ref/opened_open_ref.c.
 */
#include "kernels/grids.h"
#include "kernels/x86/open_avx2.h"

/* Two indices from one register: with a shift each costs less than extracting both, which is what
 * gcc makes of it when it sees through. */
TILE_INLINE void two_indices(uint32_t to[2], uint64_t both) {
    __asm__("" : "+r"(both));
    to[0] = (uint32_t)both;
    to[1] = (uint32_t)(both >> 32);
}

TILE_INLINE void eight_indices(uint32_t to[8], __m256i index) {
    const __m128i low = _mm256_castsi256_si128(index);
    const __m128i high = _mm256_extracti128_si256(index, 1);
    two_indices(to, (uint64_t)_mm_cvtsi128_si64(low));
    two_indices(to + 2, (uint64_t)_mm_extract_epi64(low, 1));
    two_indices(to + 4, (uint64_t)_mm_cvtsi128_si64(high));
    two_indices(to + 6, (uint64_t)_mm_extract_epi64(high, 1));
}

/* The points of 8 rows: columns 0 to 3 in to[0], 4 to 7 in to[1]. */
TILE_INLINE void eight_columns(__m256i to[2], const uint64_t *grid, __m256i index) {
    uint32_t i[8];
    eight_indices(i, index);
    const __m128 p01 = open_two_points(grid + i[0], grid + i[1]);
    const __m128 p23 = open_two_points(grid + i[2], grid + i[3]);
    const __m128 p45 = open_two_points(grid + i[4], grid + i[5]);
    const __m128 p67 = open_two_points(grid + i[6], grid + i[7]);
    const __m256 p0145 = _mm256_insertf128_ps(_mm256_castps128_ps256(p01), p45, 1);
    const __m256 p2367 = _mm256_insertf128_ps(_mm256_castps128_ps256(p23), p67, 1);
    to[0] = _mm256_castps_si256(_mm256_shuffle_ps(p0145, p2367, 0x88));
    to[1] = _mm256_castps_si256(_mm256_shuffle_ps(p0145, p2367, 0xdd));
}

/* The points of 8 rows, four columns. */
TILE_INLINE __m256i four_columns(const uint32_t *grid, __m256i index) {
    uint32_t i[8];
    eight_indices(i, index);
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(open_four_points(grid, i[0], i[1], i[2], i[3])),
        open_four_points(grid, i[4], i[5], i[6], i[7]), 1);
}

TILE_INLINE __m256i lanes_of_bytes(const uint8_t *bytes) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
}

TILE_INLINE __m256i lanes_of_words(const uint16_t *words) {
    return _mm256_cvtepu16_epi32(open_load16(words));
}

/* n bits of each lane, from bit `from` on. */
TILE_INLINE __m256i bits_of(__m256i v, size_t from, int n) {
    const __m256i moved = _mm256_srl_epi32(v, _mm_cvtsi32_si128((int)from));
    return _mm256_and_si256(moved, _mm256_set1_epi32((1 << n) - 1));
}

/* The lowest byte of each lane in all its bytes. */
TILE_INLINE __m256i spread(__m256i v) {
    const __m128i order = _mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}

/* value or -value by four bits of each lane's signs, from bit 0 or 4 on, plus the middle. */
TILE_INLINE __m256i with_signs(__m256i values, __m256i signs, int from, __m256i middle) {
    const __m256i bits = _mm256_set1_epi32(from == 0 ? 0x08040201 : (int)0x80402010);
    const __m256i bit = _mm256_and_si256(spread(signs), bits);
    const __m256i minus = _mm256_cmpeq_epi8(bit, bits);
    return _mm256_add_epi8(_mm256_sub_epi8(_mm256_xor_si256(values, minus), minus), middle);
}

/* Eight columns from group `group` on, of rows from..from + 7. */
TILE_INLINE void open_iq2(opened_chunk *c, size_t group, size_t from, const uint64_t *grid,
                          __m256i index, __m256i signs, __m256i middle) {
    __m256i values[2];
    uint8_t *to = open_group(c, group) + 4 * from;
    eight_columns(values, grid, index);
    tile_store(to, with_signs(values[0], signs, 0, middle));
    tile_store(to + 64, with_signs(values[1], signs, 4, middle));
}

/* 2 * sc + 1 */
TILE_INLINE __m256i odd_scale(__m256i sc) {
    return _mm256_add_epi32(_mm256_add_epi32(sc, sc), _mm256_set1_epi32(1));
}

void opened_iq2_xxs_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_xxs *slab = (const slab_iq2_xxs *)from;
    const __m256i middle = _mm256_set1_epi8((char)c->middle);
    open_f16(c->d, slab->d, 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
            const __m256i codes = tile_load(slab->codes[b][0] + r);
            const __m256i signs = tile_load(slab->codes[b][1] + r);
            open_whole_block(c, b, r, odd_scale(_mm256_srli_epi32(signs, 28)));
            for (size_t g = 0; g < 4; g++) {
                open_iq2(c, 8 * b + 2 * g, r, grid_iq2_xxs, bits_of(codes, 8 * g, 8),
                         open_signs8(bits_of(signs, 7 * g, 7)), middle);
            }
        }
    }
}

/* d / 8 and 2 * sc + 1. */
TILE_INLINE void open_scales_iq2(opened_chunk *c, const uint16_t *d, const uint8_t (*scales)[16]) {
    open_f16_all(c, d, 0.125f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        const __m128i sc = open_nibble(scales, h);
        __m256i odd[2];
        open_widen(odd, _mm_add_epi8(_mm_add_epi8(sc, sc), _mm_set1_epi8(1)));
        open_whole_half(c, h, 0, odd[0]);
        open_whole_half(c, h, 8, odd[1]);
    }
}

void opened_iq2_xs_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_xs *slab = (const slab_iq2_xs *)from;
    const __m256i middle = _mm256_set1_epi8((char)c->middle);
    open_scales_iq2(c, slab->d, slab->scales);
    for (size_t g = 0; g < 32; g++) {
        for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
            const __m256i codes = lanes_of_words(slab->codes[g] + r);
            open_iq2(c, 2 * g, r, grid_iq2_xs, bits_of(codes, 0, 9),
                     open_signs8(_mm256_srli_epi32(codes, 9)), middle);
        }
    }
}

void opened_iq2_s_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_s *slab = (const slab_iq2_s *)from;
    const __m256i middle = _mm256_set1_epi8((char)c->middle);
    open_scales_iq2(c, slab->d, slab->scales);
    for (size_t g = 0; g < 32; g++) {
        for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
            const __m256i high = bits_of(lanes_of_bytes(slab->high[g / 4] + r), 2 * (g % 4), 2);
            const __m256i index =
                _mm256_or_si256(lanes_of_bytes(slab->low[g] + r), _mm256_slli_epi32(high, 8));
            open_iq2(c, 2 * g, r, grid_iq2_s, index, lanes_of_bytes(slab->signs[g] + r), middle);
        }
    }
}

void opened_iq3_xxs_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq3_xxs *slab = (const slab_iq3_xxs *)from;
    const __m256i middle = _mm256_set1_epi8((char)c->middle);
    open_f16(c->d, slab->d, 0.25f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
            const __m256i signs = tile_load(slab->signs[b] + r);
            open_whole_block(c, b, r, odd_scale(_mm256_srli_epi32(signs, 28)));
            for (size_t g = 0; g < 4; g++) {
                const uint8_t(*low)[16] = slab->low + 8 * b + 2 * g;
                const __m256i eight = open_signs8(bits_of(signs, 7 * g, 7));
                const __m256i first = four_columns(grid_iq3_xxs, lanes_of_bytes(low[0] + r));
                const __m256i second = four_columns(grid_iq3_xxs, lanes_of_bytes(low[1] + r));
                uint8_t *to = c->codes[b][2 * g] + 4 * r;
                tile_store(to, with_signs(first, eight, 0, middle));
                tile_store(to + 64, with_signs(second, eight, 4, middle));
            }
        }
    }
}

/* Points of one group of IQ3_S: bit 8 of the index is bit g of `high`. */
TILE_INLINE __m256i points_iq3_s(const uint8_t *low, __m256i high, size_t g) {
    const __m256i bit = _mm256_slli_epi32(bits_of(high, g, 1), 8);
    return four_columns(grid_iq3_s, _mm256_or_si256(lanes_of_bytes(low), bit));
}

void opened_iq3_s_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq3_s *slab = (const slab_iq3_s *)from;
    const __m256i middle = _mm256_set1_epi8((char)c->middle);
    open_f16(c->d, slab->d, 1.0f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const __m128i sc = open_nibble(slab->scales, b);
        __m256i odd[2];
        open_widen(odd, _mm_add_epi8(_mm_add_epi8(sc, sc), _mm_set1_epi8(1)));
        for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
            const __m256i high = lanes_of_bytes(slab->high[b] + r);
            open_whole_block(c, b, r, odd[r / 8]);
            for (size_t g = 0; g < 8; g += 2) {
                const uint8_t(*low)[16] = slab->low + 8 * b + g;
                const __m256i signs = lanes_of_bytes(slab->signs[4 * b + g / 2] + r);
                const __m256i first = points_iq3_s(low[0] + r, high, g);
                const __m256i second = points_iq3_s(low[1] + r, high, g + 1);
                uint8_t *to = c->codes[b][g] + 4 * r;
                tile_store(to, with_signs(first, signs, 0, middle));
                tile_store(to + 64, with_signs(second, signs, 4, middle));
            }
        }
    }
}

/* Eight columns in eighths: plus 1 or, where minus is set, less 1; points have 8 of the middle. */
TILE_INLINE void open_iq1(opened_chunk *c, size_t group, size_t from, __m256i index, __m256i minus,
                          __m256i middle) {
    __m256i values[2];
    const __m256i delta = _mm256_add_epi8(_mm256_or_si256(minus, _mm256_set1_epi8(1)), middle);
    uint8_t *to = open_group(c, group) + 4 * from;
    eight_columns(values, grid_iq1, index);
    tile_store(to, _mm256_add_epi8(values[0], delta));
    tile_store(to + 64, _mm256_add_epi8(values[1], delta));
}

/* All ones where bit `bit` of a lane is set. */
TILE_INLINE __m256i mask_of_bit(__m256i v, int bit) {
    return _mm256_srai_epi32(_mm256_slli_epi32(v, 31 - bit), 31);
}

void opened_iq1_s_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq1_s *slab = (const slab_iq1_s *)from;
    const __m256i middle = _mm256_set1_epi8((char)(c->middle - 8));
    open_f16(c->d, slab->d, 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
            const __m256i word = lanes_of_words(slab->high[b] + r);
            open_whole_block(c, b, r, odd_scale(bits_of(word, 12, 3)));
            for (size_t g = 0; g < 4; g++) {
                const __m256i high = _mm256_slli_epi32(bits_of(word, 3 * g, 3), 8);
                const __m256i low = lanes_of_bytes(slab->low[4 * b + g] + r);
                open_iq1(c, 8 * b + 2 * g, r, _mm256_or_si256(low, high), mask_of_bit(word, 15),
                         middle);
            }
        }
    }
}

void opened_iq1_m_avx2(opened_chunk *c, const uint8_t *from) {
    const slab_iq1_m *slab = (const slab_iq1_m *)from;
    const __m256i middle = _mm256_set1_epi8((char)(c->middle - 8));
    WEFT_ALIGNED(32) uint16_t d[16];
    tile_store(d, open_split_f16(slab->scales));
    open_f16_all(c, d, 0.125f);
    for (size_t r = 0; r < PACK_PANEL_ROWS; r += 8) {
        for (size_t h = 0; h < OPENED_HALVES; h++) {
            const __m256i scales = lanes_of_words(slab->scales[h / 4] + r);
            open_whole_half(c, h, r, odd_scale(bits_of(scales, 3 * (h % 4), 3)));
        }
        for (size_t g = 0; g < 32; g++) {
            const __m256i four = bits_of(lanes_of_bytes(slab->high[g / 2] + r), 4 * (g % 2), 4);
            const __m256i high = _mm256_slli_epi32(bits_of(four, 0, 3), 8);
            const __m256i low = lanes_of_bytes(slab->low[g] + r);
            open_iq1(c, 2 * g, r, _mm256_or_si256(low, high), mask_of_bit(four, 3), middle);
        }
    }
}
