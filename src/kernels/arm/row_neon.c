/* row_neon.c - normalisation, residuals and activations of one row, four lanes at a time.
 *
 * Lengths that are no multiple of 4 end with a padded step, so that every element goes through the
 * same arithmetic wherever it lies in the row. rmsnorm sums squares in four accumulators of four
 * lanes (element i goes to accumulator (i / 4) % 4), added as (0+1)+(2+3) and then lane by lane in
 * pairs: an order that depends on n alone. add and scale give the bits of the reference.
 */
#include <math.h>

#include "kernels/arm/kernels_neon.h"
#include "kernels/arm/vecmath_neon.h"

void rmsnorm_f32_neon(float *y, const float *x, const float *w, size_t n, float eps) {
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t i = 0; i < n; i += 4) {
        const float32x4_t v = i + 4 <= n ? vld1q_f32(x + i) : load_part_neon(x + i, n - i);
        sum[i / 4 % 4] = vfmaq_f32(sum[i / 4 % 4], v, v);
    }
    const float32x4_t all = vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3]));
    const float scale = 1.0f / sqrtf(vaddvq_f32(all) / (float)n + eps);
    if (w == NULL) {
        scale_f32_neon(y, x, scale, n);
        return;
    }
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), scale), vld1q_f32(w + i)));
    }
    if (i < n) {
        const float32x4_t v = vmulq_n_f32(load_part_neon(x + i, n - i), scale);
        store_part_neon(y + i, vmulq_f32(v, load_part_neon(w + i, n - i)), n - i);
    }
}

void add_rmsnorm_f32_neon(float *y, float *x, const float *r, const float *w, size_t n, float eps) {
    add_f32_neon(x, r, n);
    rmsnorm_f32_neon(y, x, w, n, eps);
}

void add_f32_neon(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    }
    for (; i < n; i++) {
        y[i] += x[i];
    }
}

void scale_f32_neon(float *y, const float *x, float s, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_n_f32(vld1q_f32(x + i), s));
    }
    for (; i < n; i++) {
        y[i] = x[i] * s;
    }
}

INLINE_NEON float32x4_t silu_4(float32x4_t g) {
    return vdivq_f32(g, vaddq_f32(exp_neon(vnegq_f32(g)), vdupq_n_f32(1.0f)));
}

/* g / (1 + e^-2u), u = sqrt(2/pi) (g + 0.044715 g^3): no cancellation at negative g. */
INLINE_NEON float32x4_t gelu_tanh_4(float32x4_t g) {
    const float32x4_t cubic = vdupq_n_f32(-2.0f * 0.797884561f * 0.044715f);
    const float32x4_t linear = vdupq_n_f32(-2.0f * 0.797884561f);
    const float32x4_t minus_2u = vmulq_f32(g, vfmaq_f32(linear, vmulq_f32(g, g), cubic));
    return vdivq_f32(g, vaddq_f32(exp_neon(minus_2u), vdupq_n_f32(1.0f)));
}

void silu_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(silu_4(vld1q_f32(gate + i)), vld1q_f32(up + i)));
    }
    if (i < n) {
        const float32x4_t act = silu_4(load_part_neon(gate + i, n - i));
        store_part_neon(y + i, vmulq_f32(act, load_part_neon(up + i, n - i)), n - i);
    }
}

void gelu_tanh_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(gelu_tanh_4(vld1q_f32(gate + i)), vld1q_f32(up + i)));
    }
    if (i < n) {
        const float32x4_t act = gelu_tanh_4(load_part_neon(gate + i, n - i));
        store_part_neon(y + i, vmulq_f32(act, load_part_neon(up + i, n - i)), n - i);
    }
}

void softcap_f32_neon(float *y, const float *x, float cap, size_t n) {
    const float32x4_t c = vdupq_n_f32(cap);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(tanh_neon(vdivq_f32(vld1q_f32(x + i), c)), c));
    }
    if (i < n) {
        const float32x4_t t = tanh_neon(vdivq_f32(load_part_neon(x + i, n - i), c));
        store_part_neon(y + i, vmulq_f32(t, c), n - i);
    }
}
