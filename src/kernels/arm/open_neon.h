/* open_neon.h - small steps that the NEON openers share (kernels/opened.h).
 *
 * Codes are the values themselves, the middle is 0: what multiplies them takes signed bytes.
 */
#ifndef WEFT_KERNELS_ARM_OPEN_NEON_H
#define WEFT_KERNELS_ARM_OPEN_NEON_H

#include "kernels/arm/tile_neon.h"
#include "kernels/opened.h"

/* Rows 4q to 4q + 3 of a group. */
NEON_INLINE void open_put(opened_chunk *c, size_t group, size_t q, int8x16_t values) {
    vst1q_u8(c->codes[group / 8][group % 8] + 16 * q, vreinterpretq_u8_s8(values));
}

/* 16 halves to floats, times factor. */
NEON_INLINE void open_f16(float to[16], const uint16_t *from, float factor) {
    for (size_t q = 0; q < 4; q++) {
        vst1q_f32(to + 4 * q, vmulq_n_f32(neon_load_f16(from + 4 * q), factor));
    }
}

/* One scale for all 256 columns. */
NEON_INLINE void open_f16_all(opened_chunk *c, const uint16_t *from, float factor) {
    open_f16(c->d, from, factor);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        memcpy(c->scale[b], c->d, sizeof(c->d));
    }
}

/* 16 words, and 16 bytes made words. */
NEON_INLINE uint16x8x2_t open_words(const uint16_t *words) {
    return (uint16x8x2_t){{vld1q_u16(words), vld1q_u16(words + 8)}};
}

NEON_INLINE uint16x8x2_t open_widen(uint8x16_t v) {
    return (uint16x8x2_t){{vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v)}};
}

/* n bits of each word, from bit `from` on. */
NEON_INLINE uint16x8x2_t open_bits(uint16x8x2_t v, size_t from, int n) {
    const int16x8_t right = vdupq_n_s16((int16_t)-from);
    const uint16x8_t mask = vdupq_n_u16((uint16_t)((1 << n) - 1));
    return (uint16x8x2_t){
        {vandq_u16(vshlq_u16(v.val[0], right), mask), vandq_u16(vshlq_u16(v.val[1], right), mask)}};
}

/* low + 256 * high */
NEON_INLINE uint16x8x2_t open_add_high(uint16x8x2_t low, uint16x8x2_t high) {
    return (uint16x8x2_t){
        {vsliq_n_u16(low.val[0], high.val[0], 8), vsliq_n_u16(low.val[1], high.val[1], 8)}};
}

/* 2 * sc + 1 */
NEON_INLINE uint16x8x2_t open_odd(uint16x8x2_t sc) {
    const uint16x8_t one = vdupq_n_u16(1);
    return (uint16x8x2_t){{vsliq_n_u16(one, sc.val[0], 1), vsliq_n_u16(one, sc.val[1], 1)}};
}

/* Words of rows 4q to 4q + 3, with a sign, as floats. */
NEON_INLINE float32x4_t open_float(uint16x8x2_t words, size_t q) {
    const int16x8_t v = vreinterpretq_s16_u16(words.val[q / 2]);
    return vcvtq_f32_s32(q % 2 != 0 ? vmovl_high_s16(v) : vmovl_s16(vget_low_s16(v)));
}

/* The whole scale of half h, or of block b. */
NEON_INLINE void open_whole_half(opened_chunk *c, size_t h, uint16x8x2_t whole) {
    for (size_t q = 0; q < 4; q++) {
        vst1q_f32(c->half_scale[h] + 4 * q, open_float(whole, q));
    }
}

NEON_INLINE void open_whole_block(opened_chunk *c, size_t b, uint16x8x2_t whole) {
    for (size_t q = 0; q < 4; q++) {
        vst1q_f32(c->scale[b] + 4 * q, vmulq_f32(vld1q_f32(c->d + 4 * q), open_float(whole, q)));
    }
}

/* Nibble i of 16 rows, from units of a byte. */
NEON_INLINE uint8x16_t open_nibble(const uint8_t (*units)[16], size_t i) {
    const uint8x16_t v = vld1q_u8(units[i / 2]);
    return i % 2 != 0 ? vshrq_n_u8(v, 4) : vandq_u8(v, vdupq_n_u8(15));
}

#endif /* WEFT_KERNELS_ARM_OPEN_NEON_H */
