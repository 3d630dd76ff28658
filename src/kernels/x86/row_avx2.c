/* row_avx2.c - normalisation, residuals, activations and rope of one row, eight lanes at a time.
 *
 * All of these stream rows that sit in L1 or L2 and are bound by loads, except the activations,
 * which are bound by exp. Lengths that are no multiple of 8 end with a masked step, so that
 * every element goes through the same arithmetic wherever it lies in the row.
 *
 * rmsnorm sums squares in four accumulators of eight lanes (element i goes to accumulator
 * (i / 8) % 4, lane i % 8), added as (0+1)+(2+3) and then by the tree of sum_lanes_avx2: an order
 * that depends on n alone. add, scale and rope use no fused operation and give the bits of the
 * reference.
 */
#include <math.h>
#include <stdbool.h>

#include "kernels/erfc.h"
#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/vecmath_avx2.h"

/* 1 / sqrt(total / n + eps) */
static float norm_scale(float total, size_t n, float eps) {
    return 1.0f / sqrtf(total / (float)n + eps);
}

static inline float sum_four_avx2(const __m256 sum[4]) {
    return sum_lanes_avx2(
        _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
}

static void norm_finish(float *y, const float *x, const float *w, size_t n, float factor) {
    const __m256 scale = _mm256_set1_ps(factor);
    size_t i = 0;
    if (w == NULL) {
        scale_f32_avx2(y, x, factor, n);
        return;
    }
    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), scale);
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(v, _mm256_maskload_ps(w + i, mask)));
    }
}

void rmsnorm_f32_avx2(float *y, const float *x, const float *w, size_t n, float eps) {
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int j = 0; j < 4; j++) {
            const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
            sum[j] = _mm256_fmadd_ps(v, v, sum[j]);
        }
    }
    for (int j = 0; i < n; j++, i += 8) {
        const __m256i mask = lanes_mask_avx2(n - i < 8 ? n - i : 8);
        const __m256 v = _mm256_maskload_ps(x + i, mask);
        sum[j] = _mm256_fmadd_ps(v, v, sum[j]);
    }
    norm_finish(y, x, w, n, norm_scale(sum_four_avx2(sum), n, eps));
}

void add_rmsnorm_f32_avx2(float *y, float *x, const float *r, const float *w, size_t n, float eps) {
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int j = 0; j < 4; j++) {
            float *at = x + i + 8 * j;
            const __m256 v = _mm256_add_ps(_mm256_loadu_ps(at), _mm256_loadu_ps(r + i + 8 * j));
            _mm256_storeu_ps(at, v);
            sum[j] = _mm256_fmadd_ps(v, v, sum[j]);
        }
    }
    for (int j = 0; i < n; j++, i += 8) {
        const __m256i mask = lanes_mask_avx2(n - i < 8 ? n - i : 8);
        const __m256 v =
            _mm256_add_ps(_mm256_maskload_ps(x + i, mask), _mm256_maskload_ps(r + i, mask));
        _mm256_maskstore_ps(x + i, mask, v);
        sum[j] = _mm256_fmadd_ps(v, v, sum[j]);
    }
    norm_finish(y, x, w, n, norm_scale(sum_four_avx2(sum), n, eps));
}

/* Sum of (x - middle), or of its squares. */
INLINE_AVX2 float sum_around(const float *x, size_t n, float middle, const bool is_squared) {
    const __m256 m = _mm256_set1_ps(middle);
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    for (size_t i = 0; i < n; i += 8) {
        const __m256i mask = lanes_mask_avx2(n - i < 8 ? n - i : 8);
        const __m256 v = _mm256_and_ps(_mm256_sub_ps(_mm256_maskload_ps(x + i, mask), m),
                                       _mm256_castsi256_ps(mask));
        __m256 *s = &sum[i / 8 % 4];
        *s = is_squared ? _mm256_fmadd_ps(v, v, *s) : _mm256_add_ps(*s, v);
    }
    return sum_four_avx2(sum);
}

void layernorm_f32_avx2(float *y, const float *x, const float *w, const float *b, size_t n,
                        float eps) {
    float mean = sum_around(x, n, 0.0f, false) / (float)n;
    mean += sum_around(x, n, mean, false) / (float)n; /* what rounding left of it */
    const float factor = norm_scale(sum_around(x, n, mean, true), n, eps);
    const __m256 m = _mm256_set1_ps(mean), scale = _mm256_set1_ps(factor);
    for (size_t i = 0; i < n; i += 8) {
        const __m256i mask = lanes_mask_avx2(n - i < 8 ? n - i : 8);
        __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_maskload_ps(x + i, mask), m), scale);
        v = _mm256_mul_ps(v, _mm256_maskload_ps(w + i, mask));
        v = b != NULL ? _mm256_add_ps(v, _mm256_maskload_ps(b + i, mask)) : v;
        _mm256_maskstore_ps(y + i, mask, v);
    }
}

void softmax_f32_avx2(float *y, const float *x, size_t n) {
    __m256 most = _mm256_set1_ps(x[0]), sum = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        most = _mm256_max_ps(most, _mm256_loadu_ps(x + i));
    }
    for (; i < n; i++) {
        most = _mm256_max_ps(most, _mm256_set1_ps(x[i]));
    }
    const __m256 m = _mm256_set1_ps(max_lanes_avx2(most));
    for (i = 0; i < n; i += 8) {
        const __m256i mask = lanes_mask_avx2(n - i < 8 ? n - i : 8);
        const __m256 e = exp_neg_avx2(_mm256_sub_ps(_mm256_maskload_ps(x + i, mask), m));
        _mm256_maskstore_ps(y + i, mask, e);
        sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(mask)));
    }
    scale_f32_avx2(y, y, 1.0f / sum_lanes_avx2(sum), n);
}

/* Puts element i into the sorted list of k, whose last it exceeds. */
static void insert(uint32_t *index, const float *x, size_t i, size_t k) {
    size_t at = k - 1;
    for (; at > 0 && x[i] > x[index[at - 1]]; at--) {
        index[at] = index[at - 1];
    }
    index[at] = (uint32_t)i;
}

/* Most elements are below the list's last: eight are dismissed at a time. */
void topk_f32_avx2(uint32_t *index, const float *x, size_t n, size_t k) {
    for (size_t i = 0; i < k; i++) {
        insert(index, x, i, i + 1);
    }
    size_t i = k;
    for (; i + 8 <= n; i += 8) {
        const __m256 least = _mm256_set1_ps(x[index[k - 1]]);
        const __m256 is_above = _mm256_cmp_ps(_mm256_loadu_ps(x + i), least, _CMP_GT_OQ);
        for (unsigned above = (unsigned)_mm256_movemask_ps(is_above); above != 0;
             above &= above - 1) {
            const size_t at = i + (size_t)__builtin_ctz(above);
            if (x[at] > x[index[k - 1]]) {
                insert(index, x, at, k);
            }
        }
    }
    for (; i < n; i++) {
        if (x[i] > x[index[k - 1]]) {
            insert(index, x, i, k);
        }
    }
}

void mul_add_f32_avx2(float *y, const float *x, float s, size_t n) {
    const __m256 factor = _mm256_set1_ps(s);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), product));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 product = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), factor);
        _mm256_maskstore_ps(y + i, mask, _mm256_add_ps(_mm256_maskload_ps(y + i, mask), product));
    }
}

void add_f32_avx2(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 sum =
            _mm256_add_ps(_mm256_maskload_ps(y + i, mask), _mm256_maskload_ps(x + i, mask));
        _mm256_maskstore_ps(y + i, mask, sum);
    }
}

void scale_f32_avx2(float *y, const float *x, float s, size_t n) {
    const __m256 factor = _mm256_set1_ps(s);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), factor));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), factor));
    }
}

/* x / (1 + e^-z) */
static inline __m256 times_sigmoid(__m256 x, __m256 z) {
    const __m256 e = exp_avx2(_mm256_xor_ps(z, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(x, _mm256_add_ps(e, _mm256_set1_ps(1.0f)));
}

/* g / (1 + e^-2u), u = sqrt(2/pi) (g + 0.044715 g^3): no cancellation at negative g. */
static inline __m256 gelu_tanh_8(__m256 g) {
    const __m256 cubic = _mm256_set1_ps(-2.0f * 0.797884561f * 0.044715f);
    const __m256 linear = _mm256_set1_ps(-2.0f * 0.797884561f);
    const __m256 minus_2u = _mm256_mul_ps(g, _mm256_fmadd_ps(_mm256_mul_ps(g, g), cubic, linear));
    return _mm256_div_ps(g, _mm256_add_ps(exp_avx2(minus_2u), _mm256_set1_ps(1.0f)));
}

/* erfc(z) = t exp(P(t) - z^2), t = 1 / (1 + z / 2), for z >= 0 (ERFC_LIST). */
static inline __m256 gelu_erf_8(__m256 g) {
    const __m256 one = _mm256_set1_ps(1.0f), half = _mm256_set1_ps(0.5f);
    const __m256 z =
        _mm256_mul_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), g), _mm256_set1_ps(0.707106781f));
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(z, half, one));
    __m256 p = _mm256_setzero_ps();
#define X(c) p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(c));
    ERFC_LIST(X)
#undef X
    const __m256 tail = _mm256_mul_ps(_mm256_mul_ps(t, half),
                                      exp_avx2(_mm256_fnmadd_ps(z, z, p))); /* erfc(z) / 2 */
    return _mm256_mul_ps(g, _mm256_blendv_ps(_mm256_sub_ps(one, tail), tail, g));
}

INLINE_AVX2 __m256 act_8(__m256 g, const act_kind kind) {
    switch (kind) {
    case ACT_KIND_SILU: return times_sigmoid(g, g);
    case ACT_KIND_GELU_TANH: return gelu_tanh_8(g);
    case ACT_KIND_GELU_ERF: return gelu_erf_8(g);
    case ACT_KIND_GELU_QUICK: return times_sigmoid(g, _mm256_mul_ps(g, _mm256_set1_ps(1.702f)));
    default: return times_sigmoid(_mm256_set1_ps(1.0f), g);
    }
}

INLINE_AVX2 void act_mul(float *y, const float *gate, const float *up, size_t n,
                         const act_kind kind) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 act = act_8(_mm256_loadu_ps(gate + i), kind);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(act, _mm256_loadu_ps(up + i)));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 act = act_8(_mm256_maskload_ps(gate + i, mask), kind);
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(act, _mm256_maskload_ps(up + i, mask)));
    }
}

void silu_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_SILU);
}

void gelu_tanh_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_TANH);
}

void gelu_erf_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_ERF);
}

void gelu_quick_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_QUICK);
}

void sigmoid_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_SIGMOID);
}

void softcap_f32_avx2(float *y, const float *x, float cap, size_t n) {
    const __m256 c = _mm256_set1_ps(cap);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 t = tanh_avx2(_mm256_div_ps(_mm256_loadu_ps(x + i), c));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(t, c));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 t = tanh_avx2(_mm256_div_ps(_mm256_maskload_ps(x + i, mask), c));
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(t, c));
    }
}
