/* rope_neon.c - rotary position embedding, four values at a time.
 *
 * Products and sums are separate instructions, in the reference's order, so that the bits are the
 * reference's. Loads of two registers take pairs apart. What is left over runs in scalar code.
 */
#include "kernels/arm/kernels_neon.h"
#include "kernels/arm/vecmath_neon.h"

INLINE_NEON void rotate_1(float *a, float *b, float c, float s) {
    const float old_a = *a, old_b = *b;
    *a = old_a * c - old_b * s;
    *b = old_b * c + old_a * s;
}

void rope_halves_f32_neon(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                          size_t n_freqs) {
    for (size_t h = 0; h < n_heads; h++) {
        float *lo = x + h * head_stride;
        float *hi = lo + n_freqs;
        size_t i = 0;
        for (; i + 4 <= n_freqs; i += 4) {
            const float32x4x2_t t = vld2q_f32(cos_sin + 2 * i);
            const float32x4_t a = vld1q_f32(lo + i), b = vld1q_f32(hi + i);
            const float32x4_t c = t.val[0], s = t.val[1];
            vst1q_f32(lo + i, vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s)));
            vst1q_f32(hi + i, vaddq_f32(vmulq_f32(b, c), vmulq_f32(a, s)));
        }
        for (; i < n_freqs; i++) {
            rotate_1(lo + i, hi + i, cos_sin[2 * i], cos_sin[2 * i + 1]);
        }
    }
}

void rope_pairs_f32_neon(float *x, size_t n_heads, size_t head_stride, const float *cos_sin,
                         size_t n_freqs) {
    for (size_t h = 0; h < n_heads; h++) {
        float *head = x + h * head_stride;
        size_t i = 0;
        for (; i + 4 <= n_freqs; i += 4) {
            const float32x4x2_t t = vld2q_f32(cos_sin + 2 * i);
            const float32x4x2_t v = vld2q_f32(head + 2 * i);
            const float32x4_t c = t.val[0], s = t.val[1];
            float32x4x2_t out;
            out.val[0] = vsubq_f32(vmulq_f32(v.val[0], c), vmulq_f32(v.val[1], s));
            out.val[1] = vaddq_f32(vmulq_f32(v.val[1], c), vmulq_f32(v.val[0], s));
            vst2q_f32(head + 2 * i, out);
        }
        for (; i < n_freqs; i++) {
            rotate_1(head + 2 * i, head + 2 * i + 1, cos_sin[2 * i], cos_sin[2 * i + 1]);
        }
    }
}
