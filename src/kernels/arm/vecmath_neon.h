/* vecmath_neon.h - exp, tanh and unfinished vectors over four lanes, for the NEON files alone.
 *
 * exp: x = n ln2 + r with |r| <= ln2 / 2, ln2 in two floats; e^r = 1 + r + r^2 P(r), P of degree 4.
 * tanh: an odd polynomial below 0.625, 1 - 2 / (e^2x + 1) above. The coefficients are those of
 * x86/vecmath_avx2.h, at most 2 ULP from double.
 */
#ifndef WEFT_KERNELS_ARM_VECMATH_NEON_H
#define WEFT_KERNELS_ARM_VECMATH_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE_NEON static inline __attribute__((always_inline))

/* The first n (1..3) lanes, the others 0; and back. */
INLINE_NEON float32x4_t load_part_neon(const float *p, size_t n) {
    float lanes[4] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return vld1q_f32(lanes);
}

INLINE_NEON void store_part_neon(float *p, float32x4_t v, size_t n) {
    float lanes[4];
    vst1q_f32(lanes, v);
    memcpy(p, lanes, n * sizeof *p);
}

/* e^x for any x: denormal results, infinity above 88.72, NaN for NaN. The power of two goes in by
 * halves, since 2^128 and 2^-149 are no normal floats. */
INLINE_NEON float32x4_t exp_neon(float32x4_t x) {
    x = vmaxq_f32(vdupq_n_f32(-104.0f), vminq_f32(vdupq_n_f32(89.0f), x));
    const float32x4_t t = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
    float32x4_t r = vfmsq_n_f32(x, t, 0.693359375f);
    r = vfmsq_n_f32(r, t, -0.000212194440f);
    float32x4_t p = vdupq_n_f32(0x1.6e0dbap-10f);
    p = vfmaq_f32(vdupq_n_f32(0x1.120ba2p-7f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.5553eap-5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0x1.5554dcp-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    const float32x4_t e = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
    const int32x4_t n = vcvtnq_s32_f32(t);
    const int32x4_t half = vshrq_n_s32(n, 1), rest = vsubq_s32(n, half);
    const int32x4_t bias = vdupq_n_s32(127);
    const float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    const float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(e, a), b);
}

INLINE_NEON float32x4_t tanh_neon(float32x4_t x) {
    const uint32x4_t sign = vdupq_n_u32(0x80000000u);
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t a = vabsq_f32(x);
    const float32x4_t e = exp_neon(vaddq_f32(a, a));
    const float32x4_t large = vsubq_f32(one, vdivq_f32(vdupq_n_f32(2.0f), vaddq_f32(e, one)));
    const float32x4_t z = vmulq_f32(x, x);
    float32x4_t p = vdupq_n_f32(-0.00609629974f);
    p = vfmaq_f32(vdupq_n_f32(0.0209968947f), p, z);
    p = vfmaq_f32(vdupq_n_f32(-0.0538508482f), p, z);
    p = vfmaq_f32(vdupq_n_f32(0.133327693f), p, z);
    p = vfmaq_f32(vdupq_n_f32(-0.333333284f), p, z);
    const float32x4_t small = vfmaq_f32(x, vmulq_f32(p, z), x);
    const uint32x4_t is_small = vcltq_f32(a, vdupq_n_f32(0.625f));
    return vbslq_f32(is_small, small, vbslq_f32(sign, x, large));
}

/* e^x for x <= 0 where results below 1e-38 may be 0: what a softmax needs. Minus infinity gives
 * exactly 0. */
INLINE_NEON float32x4_t exp_neg_neon(float32x4_t x) {
    const uint32x4_t is_kept = vcgeq_f32(x, vdupq_n_f32(-87.0f));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(exp_neon(x)), is_kept));
}

#endif /* WEFT_KERNELS_ARM_VECMATH_NEON_H */
