/* open_avx2.h - small steps that the AVX2 openers and products of few rows share. */
#ifndef WEFT_KERNELS_X86_OPEN_AVX2_H
#define WEFT_KERNELS_X86_OPEN_AVX2_H

#include "kernels/opened.h"
#include "kernels/x86/tile_avx2.h"

TILE_INLINE __m128i open_load16(const void *p) { return _mm_loadu_si128((const __m128i *)p); }

TILE_INLINE uint8_t *open_group(opened_chunk *c, size_t group) {
    return c->codes[group / 8][group % 8];
}

/* A list of 16 values, ready for look-ups of codes with their middle. */
TILE_INLINE __m256i open_values(const opened_chunk *c, __m128i list) {
    return _mm256_add_epi8(_mm256_broadcastsi128_si256(list), _mm256_set1_epi8((char)c->middle));
}

TILE_INLINE __m128i open_list_iq4(void) {
    return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

TILE_INLINE __m128i open_list_e2m1(void) {
    return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}

/* 2^(e - 128) of 8 exponents; the lowest two are denormal. */
TILE_INLINE __m256 open_half_e8m0(__m256i e) {
    const __m256i two = _mm256_set1_epi32(2), lowest = _mm256_set1_epi32(0x00200000);
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i bits =
        _mm256_blendv_epi8(normal, _mm256_sllv_epi32(lowest, e), _mm256_cmpgt_epi32(two, e));
    return _mm256_castsi256_ps(bits);
}

/* Half of 16 E4M3 values without signs, which are halves' bits but for a factor of 256; 0x7f is
 * 0. */
TILE_INLINE void open_half_e4m3(__m256 to[2], const uint8_t from[16]) {
    const __m256i v = _mm256_cvtepu8_epi16(open_load16(from));
    const __m256i most = _mm256_set1_epi16(0x7f);
    const __m256i bits =
        _mm256_andnot_si256(_mm256_cmpeq_epi16(v, most), _mm256_and_si256(v, most));
    const __m256i half = _mm256_slli_epi16(bits, 7);
    const __m256 factor = _mm256_set1_ps(128.0f);
    to[0] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(half)), factor);
    to[1] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)), factor);
}

/* Bit b of each byte of v, moved to bit 2. */
TILE_INLINE __m256i open_third_bit(__m256i v, int b) {
    const __m256i moved =
        b < 2 ? _mm256_slli_epi16(v, b < 2 ? 2 - b : 0) : _mm256_srli_epi16(v, b < 2 ? 0 : b - 2);
    return _mm256_and_si256(moved, _mm256_set1_epi8(4));
}

/* 16 halves to floats, times factor. */
TILE_INLINE void open_f16(float to[16], const uint16_t *from, float factor) {
    const __m256 f = _mm256_set1_ps(factor);
    _mm256_store_ps(to, _mm256_mul_ps(tile_load_f16(from), f));
    _mm256_store_ps(to + 8, _mm256_mul_ps(tile_load_f16(from + 8), f));
}

/* One scale for all 256 columns. */
TILE_INLINE void open_f16_all(opened_chunk *c, const uint16_t *from, float factor) {
    open_f16(c->d, from, factor);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        _mm256_store_ps(c->scale[b], _mm256_load_ps(c->d));
        _mm256_store_ps(c->scale[b] + 8, _mm256_load_ps(c->d + 8));
    }
}

/* 16 unsigned bytes, as 32-bit integers. */
TILE_INLINE void open_widen(__m256i to[2], __m128i bytes) {
    to[0] = _mm256_cvtepu8_epi32(bytes);
    to[1] = _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes));
}

/* The whole scale of half h, or of block b, of rows from r on. */
TILE_INLINE void open_whole_half(opened_chunk *c, size_t h, size_t r, __m256i whole) {
    tile_store(c->whole[h] + r, whole);
    _mm256_store_ps(c->half_scale[h] + r, _mm256_cvtepi32_ps(whole));
}

TILE_INLINE void open_whole_block(opened_chunk *c, size_t b, size_t r, __m256i whole) {
    tile_store(c->whole[b] + r, whole);
    _mm256_store_ps(c->scale[b] + r,
                    _mm256_mul_ps(_mm256_load_ps(c->d + r), _mm256_cvtepi32_ps(whole)));
}

/* Nibble i of 16 rows, from units of a byte. */
TILE_INLINE __m128i open_nibble(const uint8_t (*units)[16], size_t i) {
    const __m128i v = open_load16(units[i / 2]);
    const __m128i moved = i % 2 != 0 ? _mm_srli_epi16(v, 4) : v;
    return _mm_and_si128(moved, _mm_set1_epi8(15));
}

/* Fractions of 256, ternary, 128 less: so they compare as signed bytes, and tripling them is the
 * same. */
TILE_INLINE __m256i open_fraction(__m256i v) {
    return _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80));
}

/* least + the most significant digit of fractions, which it then triples. gcc, when it sees the
 * thirds, makes two instructions of a comparison. */
TILE_INLINE __m256i open_digit(__m256i *fraction, __m256i least) {
    const __m256i v = *fraction;
    __m256i third = _mm256_set1_epi8(85 - 128), thirds = _mm256_set1_epi8(170 - 128);
    __asm__("" : "+x"(third), "+x"(thirds));
    const __m256i is_1 = _mm256_cmpgt_epi8(v, third);
    const __m256i is_2 = _mm256_cmpgt_epi8(v, thirds);
    *fraction = _mm256_add_epi8(v, _mm256_add_epi8(v, v));
    return _mm256_sub_epi8(_mm256_sub_epi8(least, is_1), is_2);
}

/* Two points of a codebook (kernels/grids.h), beside each other. */
TILE_INLINE __m128 open_two_points(const uint64_t *first, const uint64_t *second) {
    const __m128i low = _mm_loadl_epi64((const __m128i *)first);
    return _mm_loadh_pi(_mm_castsi128_ps(low), (const __m64 *)second);
}

/* Four points of four columns. */
TILE_INLINE __m128i open_four_points(const uint32_t *grid, uint32_t i0, uint32_t i1, uint32_t i2,
                                     uint32_t i3) {
    __m128i v = _mm_cvtsi32_si128((int)grid[i0]);
    v = _mm_insert_epi32(v, (int)grid[i1], 1);
    v = _mm_insert_epi32(v, (int)grid[i2], 2);
    return _mm_insert_epi32(v, (int)grid[i3], 3);
}

/* Seven signs in each word, whose other bits are zero, become eight, an even number of them
 * minus. */
TILE_INLINE __m256i open_signs8(__m256i signs7) {
    const char odd = (char)0x80;
    const __m256i parity = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, odd, odd, 0, odd, 0, 0, odd, odd, 0, 0, odd, 0, odd, odd, 0));
    const __m256i folded = _mm256_xor_si256(signs7, _mm256_srli_epi16(signs7, 4));
    return _mm256_or_si256(signs7, _mm256_shuffle_epi8(parity, folded));
}

/* The halves of 16 rows that the top nibbles of four words are (IQ1_M). */
TILE_INLINE __m256i open_split_f16(const uint16_t (*scales)[16]) {
    const __m256i top = _mm256_set1_epi16((short)0xf000);
    const __m256i s0 = _mm256_srli_epi16(_mm256_and_si256(tile_load(scales[0]), top), 12);
    const __m256i s1 = _mm256_srli_epi16(_mm256_and_si256(tile_load(scales[1]), top), 8);
    const __m256i s2 = _mm256_srli_epi16(_mm256_and_si256(tile_load(scales[2]), top), 4);
    const __m256i s3 = _mm256_and_si256(tile_load(scales[3]), top);
    return _mm256_or_si256(_mm256_or_si256(s0, s1), _mm256_or_si256(s2, s3));
}

#endif /* WEFT_KERNELS_X86_OPEN_AVX2_H */
