/* kv_store_neon.c - one head's key or value into the cache's format.
 *
 * Each gives the bits of the reference (tensor/quant_encode.c), down to how the formats round: F16
 * to nearest even, Q8_0 half away from zero (FCVTAS), Q4_0 by truncation. A value that is not
 * finite gives some code.
 */
#include "kernels/arm/kernels_neon.h"
#include "kernels/arm/vecmath_neon.h"

INLINE_NEON void store_f16(uint8_t *dst, float value) {
    const uint16x4_t h = vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(value)));
    const uint16_t first = vget_lane_u16(h, 0);
    memcpy(dst, &first, sizeof first);
}

void kv_store_f16_neon(void *dst, const float *src, size_t n) {
    uint8_t *out = dst;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const uint16x4_t h = vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src + i)));
        vst1_u8(out + 2 * i, vreinterpret_u8_u16(h));
    }
    for (; i < n; i++) {
        store_f16(out + 2 * i, src[i]);
    }
}

INLINE_NEON float absmax_32(const float *src) {
    float32x4_t most = vabsq_f32(vld1q_f32(src));
    for (int j = 1; j < 8; j++) {
        most = vmaxnmq_f32(most, vabsq_f32(vld1q_f32(src + 4 * j)));
    }
    return vmaxnmvq_f32(most);
}

/* v rounded half away from zero. Where the scale is a denormal its inverse is infinite. */
INLINE_NEON int16x4_t code_q8_0(float32x4_t v) {
    const float32x4_t most = vdupq_n_f32(127.0f);
    return vmovn_s32(vcvtaq_s32_f32(vmaxq_f32(vminq_f32(v, most), vnegq_f32(most))));
}

/* Block: f16 scale, 32 int8 codes. */
static void store_block_q8_0(uint8_t *dst, const float *src) {
    const float d = absmax_32(src) / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    int8_t codes[32];
    for (int j = 0; j < 4; j++) {
        const int16x4_t low = code_q8_0(vmulq_n_f32(vld1q_f32(src + 8 * j), inverse));
        const int16x4_t high = code_q8_0(vmulq_n_f32(vld1q_f32(src + 8 * j + 4), inverse));
        vst1_s8(codes + 8 * j, vmovn_s16(vcombine_s16(low, high)));
    }
    store_f16(dst, d);
    memcpy(dst + 2, codes, sizeof codes);
}

void kv_store_q8_0_neon(void *dst, const float *src, size_t n) {
    for (size_t b = 0; b < n / 32; b++) {
        store_block_q8_0((uint8_t *)dst + b * 34, src + b * 32);
    }
}

/* Block: f16 scale, 16 bytes; byte j holds the codes of j (low) and j + 16 (high). The scale is
 * -1/8 of the value of largest magnitude (the first of equals), so that it gets code 0. */
static void store_block_q4_0(uint8_t *dst, const float *src) {
    const float most = absmax_32(src);
    size_t at = 0;
    while (at < 31 && src[at] != most && src[at] != -most) {
        at++;
    }
    const float d = src[at] / -8.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t codes[32];
    for (int j = 0; j < 4; j++) {
        uint16x4_t part[2];
        for (int h = 0; h < 2; h++) {
            const float32x4_t v = vmulq_n_f32(vld1q_f32(src + 8 * j + 4 * h), inverse);
            const float32x4_t up = vmaxq_f32(vaddq_f32(v, vdupq_n_f32(8.5f)), vdupq_n_f32(0.0f));
            part[h] = vmovn_u32(vcvtq_u32_f32(vminq_f32(up, vdupq_n_f32(15.0f))));
        }
        vst1_u8(codes + 8 * j, vmovn_u16(vcombine_u16(part[0], part[1])));
    }
    store_f16(dst, d);
    vst1q_u8(dst + 2, vorrq_u8(vld1q_u8(codes), vshlq_n_u8(vld1q_u8(codes + 16), 4)));
}

void kv_store_q4_0_neon(void *dst, const float *src, size_t n) {
    for (size_t b = 0; b < n / 32; b++) {
        store_block_q4_0((uint8_t *)dst + b * 18, src + b * 32);
    }
}
