/* open_grids_neon.c - opens the formats whose codes are points of a codebook: IQ1, IQ2 and IQ3.
 *
 * Four rows of the panel at a time, which are a register of a group. Points are loaded one by one
 * from tables of bytes (kernels/grids.h), by indices that are made of 16 rows at once; two shuffles
 * make two groups of the eight columns that four points hold. Signs are a bit a column: a byte of
 * each row, of which a look-up makes four, and a test of its bits a mask. The plain C of each
 * format is in ref/opened_open_ref.c.
 */
#include "kernels/arm/open_neon.h"
#include "kernels/grids.h"

/* Columns 0 to 3, and 4 to 7, of four rows. */
typedef struct open_pair {
    uint8x16_t first, second;
} open_pair;

NEON_INLINE uint32x4_t two_points(const uint64_t *first, const uint64_t *second) {
    const uint64x2_t v = vcombine_u64(vld1_u64(first), vdup_n_u64(0));
    return vreinterpretq_u32_u64(vld1q_lane_u64(second, v, 1));
}

/* Points of eight columns. */
NEON_INLINE open_pair eight_columns(const uint64_t *grid, size_t i0, size_t i1, size_t i2,
                                    size_t i3) {
    const uint32x4_t a = two_points(grid + i0, grid + i1);
    const uint32x4_t b = two_points(grid + i2, grid + i3);
    return (open_pair){vreinterpretq_u8_u32(vuzp1q_u32(a, b)),
                       vreinterpretq_u8_u32(vuzp2q_u32(a, b))};
}

/* Points of four columns. */
NEON_INLINE uint8x16_t four_columns(const uint32_t *grid, size_t i0, size_t i1, size_t i2,
                                    size_t i3) {
    uint32x4_t v = vdupq_n_u32(0);
    v = vld1q_lane_u32(grid + i0, v, 0);
    v = vld1q_lane_u32(grid + i1, v, 1);
    v = vld1q_lane_u32(grid + i2, v, 2);
    v = vld1q_lane_u32(grid + i3, v, 3);
    return vreinterpretq_u8_u32(v);
}

NEON_INLINE void store_words(uint16_t to[16], uint16x8x2_t v) {
    vst1q_u16(to, v.val[0]);
    vst1q_u16(to + 8, v.val[1]);
}

/* Bytes of rows 4q to 4q + 3, four times each. */
NEON_INLINE uint8x16_t spread(uint8x16_t rows, size_t q) {
    static const uint8_t order[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    return vqtbl1q_u8(rows, vaddq_u8(vld1q_u8(order), vdupq_n_u8((uint8_t)(4 * q))));
}

/* Seven signs in each byte become eight, an even number of them minus. */
NEON_INLINE uint8x16_t signs8(uint8x16_t signs7) { return vsliq_n_u8(signs7, vcntq_u8(signs7), 7); }

/* Those of seven bits of 16 words, from bit `from` on. */
NEON_INLINE uint8x16_t signs_of_words(const uint32_t words[16], size_t from) {
    const int32x4_t right = vdupq_n_s32(-(int32_t)from);
    uint16x8_t v[4];
    for (size_t q = 0; q < 4; q++) {
        v[q] = vreinterpretq_u16_u32(vshlq_u32(vld1q_u32(words + 4 * q), right));
    }
    const uint8x16_t low = vreinterpretq_u8_u16(vuzp1q_u16(v[0], v[1]));
    const uint8x16_t high = vreinterpretq_u8_u16(vuzp1q_u16(v[2], v[3]));
    return signs8(vandq_u8(vuzp1q_u8(low, high), vdupq_n_u8(127)));
}

/* The scales of block b in the top four bits of 16 words: d * (2 * sc + 1). */
NEON_INLINE void open_top_scales(opened_chunk *c, size_t b, const uint32_t words[16]) {
    for (size_t q = 0; q < 4; q++) {
        const uint32x4_t sc = vshrq_n_u32(vld1q_u32(words + 4 * q), 28);
        const float32x4_t odd = vcvtq_f32_u32(vsliq_n_u32(vdupq_n_u32(1), sc, 1));
        vst1q_f32(c->scale[b] + 4 * q, vmulq_f32(vld1q_f32(c->d + 4 * q), odd));
    }
}

/* value or -value by those bits of each byte's signs that `bits` has. */
NEON_INLINE int8x16_t with_signs(uint8x16_t values, uint8x16_t signs, uint32_t bits) {
    const uint8x16_t minus = vtstq_u8(signs, vreinterpretq_u8_u32(vdupq_n_u32(bits)));
    return vreinterpretq_s8_u8(vsubq_u8(veorq_u8(values, minus), minus));
}

/* Rows 4q to 4q + 3 of two groups; signs are of all 16 rows. */
NEON_INLINE void open_signed(opened_chunk *c, size_t group, size_t q, open_pair points,
                             uint8x16_t signs) {
    const uint8x16_t four = spread(signs, q);
    open_put(c, group, q, with_signs(points.first, four, 0x08040201));
    open_put(c, group + 1, q, with_signs(points.second, four, 0x80402010));
}

void opened_iq2_xxs_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_xxs *slab = (const slab_iq2_xxs *)(const void *)from;
    open_f16(c->d, slab->d, 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const uint8_t *index = (const uint8_t *)slab->codes[b][0];
        const uint32_t *words = slab->codes[b][1];
        open_top_scales(c, b, words);
        for (size_t g = 0; g < 4; g++) {
            const uint8x16_t signs = signs_of_words(words, 7 * g);
            for (size_t q = 0; q < 4; q++) {
                const uint8_t *i = index + 16 * q + g;
                open_signed(c, 8 * b + 2 * g, q,
                            eight_columns(grid_iq2_xxs, i[0], i[4], i[8], i[12]), signs);
            }
        }
    }
}

/* Eight columns of 16 rows. */
NEON_INLINE void open_iq2(opened_chunk *c, size_t group, const uint64_t *grid, uint16x8x2_t indices,
                          uint8x16_t signs) {
    uint16_t index[16];
    store_words(index, indices);
    for (size_t q = 0; q < 4; q++) {
        const uint16_t *i = index + 4 * q;
        open_signed(c, group, q, eight_columns(grid, i[0], i[1], i[2], i[3]), signs);
    }
}

/* d / 8 and 2 * sc + 1. */
NEON_INLINE void open_scales_iq2(opened_chunk *c, const uint16_t *d, const uint8_t (*scales)[16]) {
    open_f16_all(c, d, 0.125f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        open_whole_half(c, h, open_odd(open_widen(open_nibble(scales, h))));
    }
}

void opened_iq2_xs_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_xs *slab = (const slab_iq2_xs *)(const void *)from;
    open_scales_iq2(c, slab->d, slab->scales);
    for (size_t g = 0; g < 32; g++) {
        const uint16x8x2_t codes = open_words(slab->codes[g]);
        const uint8x16_t high =
            vuzp2q_u8(vreinterpretq_u8_u16(codes.val[0]), vreinterpretq_u8_u16(codes.val[1]));
        open_iq2(c, 2 * g, grid_iq2_xs, open_bits(codes, 0, 9), signs8(vshrq_n_u8(high, 1)));
    }
}

void opened_iq2_s_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq2_s *slab = (const slab_iq2_s *)(const void *)from;
    open_scales_iq2(c, slab->d, slab->scales);
    for (size_t g = 0; g < 32; g++) {
        const uint16x8x2_t low = open_widen(vld1q_u8(slab->low[g]));
        const uint16x8x2_t high = open_widen(vld1q_u8(slab->high[g / 4]));
        open_iq2(c, 2 * g, grid_iq2_s, open_add_high(low, open_bits(high, 2 * (g % 4), 2)),
                 vld1q_u8(slab->signs[g]));
    }
}

void opened_iq3_xxs_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq3_xxs *slab = (const slab_iq3_xxs *)(const void *)from;
    open_f16(c->d, slab->d, 0.25f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        open_top_scales(c, b, slab->signs[b]);
        for (size_t g = 0; g < 4; g++) {
            const uint8x16_t signs = signs_of_words(slab->signs[b], 7 * g);
            for (size_t q = 0; q < 4; q++) {
                const uint8_t *i = slab->low[8 * b + 2 * g] + 4 * q;
                const uint8_t *j = slab->low[8 * b + 2 * g + 1] + 4 * q;
                const open_pair points = {four_columns(grid_iq3_xxs, i[0], i[1], i[2], i[3]),
                                          four_columns(grid_iq3_xxs, j[0], j[1], j[2], j[3])};
                open_signed(c, 8 * b + 2 * g, q, points, signs);
            }
        }
    }
}

/* Indices of one group of IQ3_S: bit 8 is bit g of `high`. */
NEON_INLINE void indices_iq3_s(uint16_t to[16], const uint8_t low[16], uint16x8x2_t high,
                               size_t g) {
    store_words(to, open_add_high(open_widen(vld1q_u8(low)), open_bits(high, g, 1)));
}

void opened_iq3_s_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq3_s *slab = (const slab_iq3_s *)(const void *)from;
    neon_open_halves(c->d, slab->d);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const uint16x8x2_t high = open_widen(vld1q_u8(slab->high[b]));
        open_whole_block(c, b, open_odd(open_widen(open_nibble(slab->scales, b))));
        for (size_t g = 0; g < 8; g += 2) {
            uint16_t first[16], second[16];
            const uint8x16_t signs = vld1q_u8(slab->signs[4 * b + g / 2]);
            indices_iq3_s(first, slab->low[8 * b + g], high, g);
            indices_iq3_s(second, slab->low[8 * b + g + 1], high, g + 1);
            for (size_t q = 0; q < 4; q++) {
                const uint16_t *i = first + 4 * q, *j = second + 4 * q;
                const open_pair points = {four_columns(grid_iq3_s, i[0], i[1], i[2], i[3]),
                                          four_columns(grid_iq3_s, j[0], j[1], j[2], j[3])};
                open_signed(c, 8 * b + g, q, points, signs);
            }
        }
    }
}

/* Eight columns of 16 rows in eighths: plus 1 or, where a row's byte of `minus` is 1, less 1;
 * points have 8 too much. */
NEON_INLINE void open_iq1(opened_chunk *c, size_t group, uint16x8x2_t indices, uint8x16_t minus) {
    const uint8x16_t less = vaddq_u8(vaddq_u8(minus, minus), vdupq_n_u8(7));
    uint16_t index[16];
    store_words(index, indices);
    for (size_t q = 0; q < 4; q++) {
        const uint16_t *i = index + 4 * q;
        const open_pair points = eight_columns(grid_iq1, i[0], i[1], i[2], i[3]);
        const uint8x16_t four = spread(less, q);
        open_put(c, group, q, vreinterpretq_s8_u8(vsubq_u8(points.first, four)));
        open_put(c, group + 1, q, vreinterpretq_s8_u8(vsubq_u8(points.second, four)));
    }
}

void opened_iq1_s_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq1_s *slab = (const slab_iq1_s *)(const void *)from;
    open_f16(c->d, slab->d, 0.125f);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const uint16x8x2_t word = open_words(slab->high[b]), top = open_bits(word, 15, 1);
        const uint8x16_t minus =
            vuzp1q_u8(vreinterpretq_u8_u16(top.val[0]), vreinterpretq_u8_u16(top.val[1]));
        open_whole_block(c, b, open_odd(open_bits(word, 12, 3)));
        for (size_t g = 0; g < 4; g++) {
            const uint16x8x2_t low = open_widen(vld1q_u8(slab->low[4 * b + g]));
            open_iq1(c, 8 * b + 2 * g, open_add_high(low, open_bits(word, 3 * g, 3)), minus);
        }
    }
}

/* The halves of rows 8i to 8i + 7 that the top nibbles of four words are (IQ1_M). */
NEON_INLINE uint16x8_t open_split_f16(const uint16_t (*scales)[16], size_t i) {
    uint16x8_t v = vshrq_n_u16(vld1q_u16(scales[0] + 8 * i), 12);
    v = vsliq_n_u16(v, vshrq_n_u16(vld1q_u16(scales[1] + 8 * i), 12), 4);
    v = vsliq_n_u16(v, vshrq_n_u16(vld1q_u16(scales[2] + 8 * i), 12), 8);
    return vsliq_n_u16(v, vshrq_n_u16(vld1q_u16(scales[3] + 8 * i), 12), 12);
}

void opened_iq1_m_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq1_m *slab = (const slab_iq1_m *)(const void *)from;
    uint16_t d[16];
    vst1q_u16(d, open_split_f16(slab->scales, 0));
    vst1q_u16(d + 8, open_split_f16(slab->scales, 1));
    open_f16_all(c, d, 0.125f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        open_whole_half(c, h, open_odd(open_bits(open_words(slab->scales[h / 4]), 3 * (h % 4), 3)));
    }
    for (size_t g = 0; g < 32; g++) {
        const uint8x16_t four = open_nibble(slab->high, g);
        const uint16x8x2_t high = open_widen(vandq_u8(four, vdupq_n_u8(7)));
        const uint16x8x2_t low = open_widen(vld1q_u8(slab->low[g]));
        open_iq1(c, 2 * g, open_add_high(low, high), vshrq_n_u8(four, 3));
    }
}
