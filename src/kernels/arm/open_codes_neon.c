/* open_codes_neon.c - opens formats of 2 to 4 bits, ternary ones and lists of 16 values.
 *
 * A unit of 4 bytes of all rows (layout/slab.h) is 64 bytes whose lanes are already those of a
 * group: byte 4 * row + i holds element i of several groups in its bits. So a group is a shift, a
 * mask and, where codes stand for values, a look-up of 16 bytes. The plain C of each format is in
 * ref/opened_open_ref.c.
 */
#include "kernels/arm/open_neon.h"

static const int8_t list_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t list_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* Both nibbles of 64 bytes, each looked up. */
NEON_INLINE void open_nibbles(opened_chunk *c, size_t low_to, size_t high_to, const uint8_t *from,
                              int8x16_t values) {
    for (size_t q = 0; q < 4; q++) {
        const uint8x16_t v = vld1q_u8(from + 16 * q);
        open_put(c, low_to, q, vqtbl1q_s8(values, vandq_u8(v, vdupq_n_u8(15))));
        open_put(c, high_to, q, vqtbl1q_s8(values, vshrq_n_u8(v, 4)));
    }
}

/* Nibbles of 32 elements: elements l and l + 16 share a byte. */
NEON_INLINE void open_block32(opened_chunk *c, size_t b, const uint8_t (*low)[64],
                              int8x16_t values) {
    for (size_t p = 0; p < 4; p++) {
        open_nibbles(c, 8 * b + p, 8 * b + p + 4, low[p], values);
    }
}

void opened_iq4_nl_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq4_nl *slab = (const slab_iq4_nl *)(const void *)from;
    const int8x16_t values = vld1q_s8(list_iq4);
    for (size_t b = 0; b < c->n_blocks; b++, slab++) {
        neon_open_halves(c->scale[b], slab->d);
        open_block32(c, b, slab->low, values);
    }
}

void opened_iq4_xs_neon(opened_chunk *c, const uint8_t *from) {
    const slab_iq4_xs *slab = (const slab_iq4_xs *)(const void *)from;
    const int8x16_t values = vld1q_s8(list_iq4);
    const uint16x8x2_t highs = open_words(slab->scales_high);
    neon_open_halves(c->d, slab->d);
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        const uint16x8x2_t low = open_widen(open_nibble(slab->scales_low, b));
        const uint16x8x2_t high = open_bits(highs, 2 * b, 2);
        uint16x8x2_t sc;
        for (size_t i = 0; i < 2; i++) {
            const uint16x8_t both = vsliq_n_u16(low.val[i], high.val[i], 4);
            sc.val[i] = vsubq_u16(both, vdupq_n_u16(32));
        }
        open_whole_block(c, b, sc);
        open_block32(c, b, slab->low[b], values);
    }
}

/* 2^(e - 128); the lowest two are denormal. */
NEON_INLINE float32x4_t half_e8m0(uint32x4_t e) {
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t denormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), denormal, normal));
}

/* Half of E4M3 values without signs; 0x7f is 0. */
NEON_INLINE float32x4_t half_e4m3(uint32x4_t v) {
    const uint32x4_t low7 = vandq_u32(v, vdupq_n_u32(127));
    const uint32x4_t mantissa = vandq_u32(v, vdupq_n_u32(7));
    const float32x4_t denormal = vmulq_n_f32(vcvtq_f32_u32(mantissa), 0x1p-10f);
    const uint32x4_t normal = vshlq_n_u32(vaddq_u32(low7, vdupq_n_u32(119 << 3)), 20);
    const uint32x4_t bits =
        vbslq_u32(vcltq_u32(low7, vdupq_n_u32(8)), vreinterpretq_u32_f32(denormal), normal);
    return vreinterpretq_f32_u32(vbicq_u32(bits, vceqq_u32(v, vdupq_n_u32(127))));
}

/* Bytes of rows 4q to 4q + 3. */
NEON_INLINE uint32x4_t open_lanes(const uint8_t bytes[16], size_t q) {
    const uint16x8x2_t words = open_widen(vld1q_u8(bytes));
    return q % 2 != 0 ? vmovl_high_u16(words.val[q / 2])
                      : vmovl_u16(vget_low_u16(words.val[q / 2]));
}

void opened_mxfp4_neon(opened_chunk *c, const uint8_t *from) {
    const slab_mxfp4 *slab = (const slab_mxfp4 *)(const void *)from;
    const int8x16_t values = vld1q_s8(list_e2m1);
    for (size_t b = 0; b < c->n_blocks; b++, slab++) {
        for (size_t q = 0; q < 4; q++) {
            vst1q_f32(c->scale[b] + 4 * q, half_e8m0(open_lanes(slab->e, q)));
        }
        open_block32(c, b, slab->low, values);
    }
}

void opened_nvfp4_neon(opened_chunk *c, const uint8_t *from) {
    const slab_nvfp4 *slab = (const slab_nvfp4 *)(const void *)from;
    const int8x16_t values = vld1q_s8(list_e2m1);
    for (size_t h = 0; h < 2 * c->n_blocks; h++) {
        const slab_nvfp4 *at = slab + h / 4;
        for (size_t q = 0; q < 4; q++) {
            vst1q_f32(c->half_scale[h] + 4 * q, half_e4m3(open_lanes(at->d[h % 4], q)));
        }
        open_nibbles(c, 4 * h, 4 * h + 2, at->low[2 * (h % 4)], values);
        open_nibbles(c, 4 * h + 1, 4 * h + 3, at->low[2 * (h % 4) + 1], values);
    }
}

/* ---- two bits ---- */

/* v from bit n on. */
NEON_INLINE uint8x16_t from_bit(uint8x16_t v, size_t n) {
    return vshlq_u8(v, vdupq_n_s8((int8_t)-n));
}

/* Values are `less` below the codes. */
NEON_INLINE void open_twos(opened_chunk *c, const uint8_t (*codes)[64], int8_t less) {
    for (size_t w = 0; w < 16; w++) {
        for (size_t q = 0; q < 4; q++) {
            const uint8x16_t v = vld1q_u8(codes[w] + 16 * q);
            for (size_t t = 0; t < 4; t++) {
                const uint8x16_t code = vandq_u8(from_bit(v, 2 * t), vdupq_n_u8(3));
                open_put(c, 32 * (w / 8) + w % 8 + 8 * t, q,
                         vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(less)));
            }
        }
    }
}

void opened_tq2_0_neon(opened_chunk *c, const uint8_t *from) {
    const slab_tq2_0 *slab = (const slab_tq2_0 *)(const void *)from;
    open_f16_all(c, slab->d, 1.0f);
    open_twos(c, slab->codes, 1);
}

void opened_q2_k_neon(opened_chunk *c, const uint8_t *from) {
    const slab_q2_k *slab = (const slab_q2_k *)(const void *)from;
    open_f16_all(c, slab->d, 1.0f);
    neon_open_halves(c->half_min_scale, slab->dmin);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        const uint8x16_t both = vld1q_u8(slab->scales[h]), min = vshrq_n_u8(both, 4);
        const uint16x8x2_t first = open_widen(vzip1q_u8(min, min));
        const uint16x8x2_t second = open_widen(vzip2q_u8(min, min));
        open_whole_half(c, h, open_widen(vandq_u8(both, vdupq_n_u8(15))));
        for (size_t i = 0; i < 2; i++) {
            vst1q_s16(c->half_min[h] + 8 * i, vreinterpretq_s16_u16(first.val[i]));
            vst1q_s16(c->half_min[h] + 16 + 8 * i, vreinterpretq_s16_u16(second.val[i]));
        }
    }
    open_twos(c, slab->codes, 0);
}

/* A word's four groups: bits of `codes` and, from bit `bit` on, of `high`; values are 4 less. */
NEON_INLINE void open_threes(opened_chunk *c, size_t group, const uint8_t *codes,
                             const uint8_t *high, size_t bit) {
    for (size_t q = 0; q < 4; q++) {
        const uint8x16_t v = vld1q_u8(codes + 16 * q);
        const uint8x16_t h = vld1q_u8(high + 16 * q);
        for (size_t t = 0; t < 4; t++) {
            const uint8x16_t three = vsliq_n_u8(from_bit(v, 2 * t), from_bit(h, bit + t), 2);
            const int8x16_t code = vreinterpretq_s8_u8(vandq_u8(three, vdupq_n_u8(7)));
            open_put(c, group + 8 * t, q, vsubq_s8(code, vdupq_n_s8(4)));
        }
    }
}

void opened_q3_k_neon(opened_chunk *c, const uint8_t *from) {
    const slab_q3_k *slab = (const slab_q3_k *)(const void *)from;
    open_f16_all(c, slab->d, -1.0f);
    for (size_t h = 0; h < OPENED_HALVES; h++) {
        const uint8x16_t low = from_bit(vld1q_u8(slab->scales[h % 8]), 4 * (h / 8));
        const uint8x16_t high = from_bit(vld1q_u8(slab->scales[8 + h % 4]), 2 * (h / 4));
        const uint8x16_t six = vandq_u8(vsliq_n_u8(low, high, 4), vdupq_n_u8(63));
        uint16x8x2_t sc;
        sc.val[0] = vsubl_u8(vdup_n_u8(32), vget_low_u8(six));
        sc.val[1] = vsubl_u8(vdup_n_u8(32), vget_high_u8(six));
        open_whole_half(c, h, sc);
    }
    for (size_t g = 0; g < 8; g++) {
        open_threes(c, g, slab->codes[g], slab->high[g], 0);
        open_threes(c, 32 + g, slab->codes[8 + g], slab->high[g], 4);
    }
}

/* ---- ternary ---- */

/* n_digits digits of a word of 4 bytes, which are fractions of 256: the most significant digit is
 * how many thirds a byte exceeds, and tripling drops it. Groups, from `group` on, lie stride apart.
 */
NEON_INLINE void open_digits(opened_chunk *c, size_t group, const uint8_t *from, size_t n_digits,
                             size_t stride) {
    for (size_t q = 0; q < 4; q++) {
        uint8x16_t fraction = vld1q_u8(from + 16 * q);
        for (size_t t = 0; t < n_digits; t++) {
            const uint8x16_t is_1 = vcgtq_u8(fraction, vdupq_n_u8(85));
            const uint8x16_t is_2 = vcgtq_u8(fraction, vdupq_n_u8(170));
            const uint8x16_t digit = vsubq_u8(vsubq_u8(vdupq_n_u8(255), is_1), is_2);
            open_put(c, group + stride * t, q, vreinterpretq_s8_u8(digit));
            fraction = vmulq_u8(fraction, vdupq_n_u8(3));
        }
    }
}

void opened_tq1_0_neon(opened_chunk *c, const uint8_t *from) {
    const slab_tq1_0 *slab = (const slab_tq1_0 *)(const void *)from;
    open_f16_all(c, slab->d, 1.0f);
    for (size_t w = 0; w < 8; w++) {
        open_digits(c, w, slab->five[w], 5, 8);
    }
    for (size_t w = 0; w < 4; w++) {
        open_digits(c, 40 + w, slab->five[8 + w], 5, 4);
    }
    open_digits(c, 60, slab->four, 4, 1);
}
