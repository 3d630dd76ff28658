/* act_neon.c - quantised activations, bit-identical to ref/act_ref.c.
 *
 * Magnitudes are compared as integers (layout/act.h says why), both scales come from one division
 * each, and FCVTNS rounds to nearest even as lrintf does.
 */
#include <math.h>

#include "kernels/arm/tile_neon.h"
#include "kernels/products.h"

NEON_INLINE float block_scale(float *inverse, const float *x, float max_code) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffffu);
    uint32x4_t most = vdupq_n_u32(0);
    for (int i = 0; i < 8; i++) {
        const uint32x4_t bits = vreinterpretq_u32_f32(vld1q_f32(x + 4 * i));
        most = vmaxq_u32(most, vandq_u32(bits, magnitude));
    }
    const uint32_t max_bits = vmaxvq_u32(most);
    *inverse = 0.0f;
    if (max_bits >= 0x7f800000u) {
        return NAN;
    }
    float max;
    memcpy(&max, &max_bits, sizeof max);
    if (max < ACT_TINY) {
        return 0.0f;
    }
    *inverse = max_code / max;
    return max / max_code;
}

/* 8 values to 16-bit codes; inverse 0 means that x may hold anything. */
NEON_INLINE int16x8_t codes8(const float *x, float inverse) {
    if (inverse == 0.0f) {
        return vdupq_n_s16(0);
    }
    const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    const int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}

/* Four values rounded. */
NEON_INLINE uint16x4_t bf16_of(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x),
                     magnitude = vandq_u32(bits, vdupq_n_u32(0x7fffffffu));
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(odd, vdupq_n_u32(0x7fff));
    uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, up), 16);
    const uint32x4_t is_finite = vcleq_u32(magnitude, vdupq_n_u32(0x7f7f7fffu));
    rounded = vbslq_u32(is_finite, rounded, vdupq_n_u32(ACT_BF16_NAN));
    const uint32x4_t tiny = vreinterpretq_u32_f32(vdupq_n_f32(ACT_TINY));
    return vmovn_u32(vandq_u32(rounded, vcgeq_u32(magnitude, tiny)));
}

void act_quantize_bf16_neon(void *act, const float *x, size_t k) {
    uint16_t *to = act;
    size_t i = 0;
    for (; i + 8 <= k; i += 8) {
        const uint16x4_t low = bf16_of(vld1q_f32(x + i)), high = bf16_of(vld1q_f32(x + i + 4));
        vst1q_u16(to + i, vcombine_u16(low, high));
    }
    for (; i < k; i++) {
        vst1_lane_u16(to + i, bf16_of(vdupq_n_f32(x[i])), 0);
    }
}

void act_quantize_q8_neon(void *act, const float *x, size_t k) {
    act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        float inverse;
        int sum = 0;
        block->scale = block_scale(&inverse, x + i, 127.0f);
        for (int h = 0; h < 2; h++) {
            const int16x8_t a = codes8(x + i + 16 * h, inverse);
            const int16x8_t b = codes8(x + i + 16 * h + 8, inverse);
            vst1q_s8(block->codes + 16 * h, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
            /* Words are pairs of columns: even ones belong to sum 0, odd ones to sum 1. */
            const int32x4_t pairs = vaddq_s32(vpaddlq_s16(a), vpaddlq_s16(b));
            const int sum0 = vgetq_lane_s32(pairs, 0) + vgetq_lane_s32(pairs, 2);
            const int sum1 = vgetq_lane_s32(pairs, 1) + vgetq_lane_s32(pairs, 3);
            block->neg_sums[h][0] = (int16_t)-sum0;
            block->neg_sums[h][1] = (int16_t)-sum1;
            sum += sum0 + sum1;
            block->neg_totals[h] = -sum;
        }
        block->sum = block->scale * (float)sum;
    }
}

void act_quantize_q16_neon(void *act, const float *x, size_t k) {
    act_block_q16 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        float inverse;
        block->scale = block_scale(&inverse, x + i, 32767.0f);
        for (int j = 0; j < 4; j++) {
            vst1q_s16(block->codes + 8 * j, codes8(x + i + 8 * j, inverse));
        }
    }
}

void act_residual_q8_neon(float *r, const float *x, const void *act, size_t k) {
    const act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        for (int j = 0; j < 4; j++) {
            const int16x8_t codes = vmovl_s8(vld1_s8(block->codes + 8 * j));
            const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes)));
            const float32x4_t high = vcvtq_f32_s32(vmovl_high_s16(codes));
            const float *from = x + i + 8 * j;
            float *to = r + i + 8 * j;
            vst1q_f32(to, vsubq_f32(vld1q_f32(from), vmulq_n_f32(low, block->scale)));
            vst1q_f32(to + 4, vsubq_f32(vld1q_f32(from + 4), vmulq_n_f32(high, block->scale)));
        }
    }
}
