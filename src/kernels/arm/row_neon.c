/* row_neon.c - normalisation, softmax, top-k, residuals and activations of one row, four lanes at a
 * time.
 *
 * Lengths that are no multiple of 4 end with a padded step, so that every element goes through the
 * same arithmetic wherever it lies in the row. Norms and softmax sum in four accumulators of four
 * lanes (element i goes to accumulator (i / 4) % 4), added as (0+1)+(2+3) and then lane by lane in
 * pairs: an order that depends on n alone. add, mul_add and scale give the bits of the reference.
 */
#include <math.h>
#include <stdbool.h>

#include "kernels/arm/kernels_neon.h"
#include "kernels/arm/vecmath_neon.h"
#include "kernels/erfc.h"

INLINE_NEON float32x4_t sum_step(float32x4_t sum, float32x4_t v, const bool is_squared) {
    return is_squared ? vfmaq_f32(sum, v, v) : vaddq_f32(sum, v);
}

INLINE_NEON float sum_of_four(const float32x4_t sum[4]) {
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

/* Sum of (x - middle), or of its squares. */
INLINE_NEON float sum_around(const float *x, size_t n, float middle, const bool is_squared) {
    const float32x4_t m = vdupq_n_f32(middle);
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            sum[j] = sum_step(sum[j], vsubq_f32(vld1q_f32(x + i + 4 * j), m), is_squared);
        }
    }
    for (size_t j = 0; j < 4; j++, i += 4) {
        if (i + 4 <= n) {
            sum[j] = sum_step(sum[j], vsubq_f32(vld1q_f32(x + i), m), is_squared);
        } else if (i < n) {
            float lanes[4] = {middle, middle, middle, middle};
            memcpy(lanes, x + i, (n - i) * sizeof *x);
            sum[j] = sum_step(sum[j], vsubq_f32(vld1q_f32(lanes), m), is_squared);
        }
    }
    return sum_of_four(sum);
}

/* 1 / sqrt(total / n + eps) */
static float norm_scale(float total, size_t n, float eps) {
    return 1.0f / sqrtf(total / (float)n + eps);
}

void rmsnorm_f32_neon(float *y, const float *x, const float *w, size_t n, float eps) {
    const float scale = norm_scale(sum_around(x, n, 0.0f, true), n, eps);
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

/* (x - mean) * scale * w */
INLINE_NEON float32x4_t layernorm_4(float32x4_t x, float32x4_t w, float mean, float scale) {
    return vmulq_f32(vmulq_n_f32(vsubq_f32(x, vdupq_n_f32(mean)), scale), w);
}

void layernorm_f32_neon(float *y, const float *x, const float *w, const float *b, size_t n,
                        float eps) {
    float mean = sum_around(x, n, 0.0f, false) / (float)n;
    mean += sum_around(x, n, mean, false) / (float)n; /* what rounding left of it */
    const float scale = norm_scale(sum_around(x, n, mean, true), n, eps);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = layernorm_4(vld1q_f32(x + i), vld1q_f32(w + i), mean, scale);
        vst1q_f32(y + i, b != NULL ? vaddq_f32(v, vld1q_f32(b + i)) : v);
    }
    if (i < n) {
        const size_t left = n - i;
        const float32x4_t v =
            layernorm_4(load_part_neon(x + i, left), load_part_neon(w + i, left), mean, scale);
        store_part_neon(y + i, b != NULL ? vaddq_f32(v, load_part_neon(b + i, left)) : v, left);
    }
}

/* A NaN, or a maximum that is infinite, makes all of the row NaN: the sum is 0 then. */
/* y [4] <- e^(x - m), which is returned. */
INLINE_NEON float32x4_t exp_step(float *y, const float *x, float32x4_t m) {
    const float32x4_t e = exp_neg_neon(vsubq_f32(vld1q_f32(x), m));
    vst1q_f32(y, e);
    return e;
}

void softmax_f32_neon(float *y, const float *x, size_t n) {
    float32x4_t most = vdupq_n_f32(x[0]);
    float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        most = vmaxq_f32(most, vld1q_f32(x + i));
    }
    for (; i < n; i++) {
        most = vmaxq_f32(most, vdupq_n_f32(x[i]));
    }
    const float32x4_t m = vdupq_n_f32(vmaxvq_f32(most));
    for (i = 0; i + 16 <= n; i += 16) {
        for (size_t a = 0; a < 4; a++) {
            sum[a] = vaddq_f32(sum[a], exp_step(y + i + 4 * a, x + i + 4 * a, m));
        }
    }
    size_t j = 0;
    for (; i + 4 <= n; i += 4, j++) {
        sum[j] = vaddq_f32(sum[j], exp_step(y + i, x + i, m));
    }
    if (i < n) {
        store_part_neon(y + i, exp_neg_neon(vsubq_f32(load_part_neon(x + i, n - i), m)), n - i);
        sum[j] = vaddq_f32(sum[j], load_part_neon(y + i, n - i));
    }
    scale_f32_neon(y, y, 1.0f / sum_of_four(sum), n);
}

/* Puts element i into the sorted list of k, whose last it exceeds. */
static void insert(uint32_t *index, const float *x, size_t i, size_t k) {
    size_t at = k - 1;
    for (; at > 0 && x[i] > x[index[at - 1]]; at--) {
        index[at] = index[at - 1];
    }
    index[at] = (uint32_t)i;
}

INLINE_NEON bool any_above(const float *x, float least) {
    const float32x4_t limit = vdupq_n_f32(least);
    uint32x4_t is_above = vcgtq_f32(vld1q_f32(x), limit);
    for (size_t j = 1; j < 4; j++) {
        is_above = vorrq_u32(is_above, vcgtq_f32(vld1q_f32(x + 4 * j), limit));
    }
    return vmaxvq_u32(is_above) != 0;
}

/* Most elements are below the list's last: sixteen are dismissed at a time. */
void topk_f32_neon(uint32_t *index, const float *x, size_t n, size_t k) {
    for (size_t i = 0; i < k; i++) {
        insert(index, x, i, i + 1);
    }
    for (size_t i = k; i < n;) {
        if (i + 16 <= n && !any_above(x + i, x[index[k - 1]])) {
            i += 16;
            continue;
        }
        const size_t stop = i + 16 < n ? i + 16 : n;
        for (; i < stop; i++) {
            if (x[i] > x[index[k - 1]]) {
                insert(index, x, i, k);
            }
        }
    }
}

void mul_add_f32_neon(float *y, const float *x, float s, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const float32x4_t product = vmulq_n_f32(vld1q_f32(x + i), s);
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), product));
    }
    if (i < n) {
        const float32x4_t product = vmulq_n_f32(load_part_neon(x + i, n - i), s);
        store_part_neon(y + i, vaddq_f32(load_part_neon(y + i, n - i), product), n - i);
    }
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

/* x / (1 + e^-z) */
INLINE_NEON float32x4_t times_sigmoid(float32x4_t x, float32x4_t z) {
    return vdivq_f32(x, vaddq_f32(exp_neon(vnegq_f32(z)), vdupq_n_f32(1.0f)));
}

/* g / (1 + e^-2u), u = sqrt(2/pi) (g + 0.044715 g^3): no cancellation at negative g. */
INLINE_NEON float32x4_t gelu_tanh_4(float32x4_t g) {
    const float32x4_t cubic = vdupq_n_f32(-2.0f * 0.797884561f * 0.044715f);
    const float32x4_t linear = vdupq_n_f32(-2.0f * 0.797884561f);
    const float32x4_t minus_2u = vmulq_f32(g, vfmaq_f32(linear, vmulq_f32(g, g), cubic));
    return vdivq_f32(g, vaddq_f32(exp_neon(minus_2u), vdupq_n_f32(1.0f)));
}

/* erfc(z) = t exp(P(t) - z^2), t = 1 / (1 + z / 2), for z >= 0 (ERFC_LIST). */
INLINE_NEON float32x4_t gelu_erf_4(float32x4_t g) {
    const float32x4_t one = vdupq_n_f32(1.0f), half = vdupq_n_f32(0.5f);
    const float32x4_t z = vmulq_n_f32(vabsq_f32(g), 0.707106781f);
    const float32x4_t t = vdivq_f32(one, vfmaq_f32(one, z, half));
    float32x4_t p = vdupq_n_f32(0.0f);
#define X(c) p = vfmaq_f32(vdupq_n_f32(c), p, t);
    ERFC_LIST(X)
#undef X
    /* erfc(z) / 2 */
    const float32x4_t tail = vmulq_f32(vmulq_f32(t, half), exp_neon(vfmsq_f32(p, z, z)));
    return vmulq_f32(g, vbslq_f32(vcltzq_f32(g), tail, vsubq_f32(one, tail)));
}

INLINE_NEON float32x4_t act_4(float32x4_t g, const act_kind kind) {
    switch (kind) {
    case ACT_KIND_SILU: return times_sigmoid(g, g);
    case ACT_KIND_GELU_TANH: return gelu_tanh_4(g);
    case ACT_KIND_GELU_ERF: return gelu_erf_4(g);
    case ACT_KIND_GELU_QUICK: return times_sigmoid(g, vmulq_n_f32(g, 1.702f));
    default: return times_sigmoid(vdupq_n_f32(1.0f), g);
    }
}

INLINE_NEON void act_mul(float *y, const float *gate, const float *up, size_t n,
                         const act_kind kind) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vmulq_f32(act_4(vld1q_f32(gate + i), kind), vld1q_f32(up + i)));
    }
    if (i < n) {
        const float32x4_t act = act_4(load_part_neon(gate + i, n - i), kind);
        store_part_neon(y + i, vmulq_f32(act, load_part_neon(up + i, n - i)), n - i);
    }
}

void silu_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_SILU);
}

void gelu_tanh_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_TANH);
}

void gelu_erf_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_ERF);
}

void gelu_quick_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_QUICK);
}

void sigmoid_mul_f32_neon(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_SIGMOID);
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
