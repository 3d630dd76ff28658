/* row_avx512.c - normalisation, residuals and activations of one row, sixteen lanes at a time.
 *
 * Bound by loads, except the activations, which are bound by exp. Every loop ends with a masked
 * step, so that every element goes through the same arithmetic wherever it lies in the row.
 *
 * Sums run in four accumulators (element i goes to accumulator (i / 16) % 4, lane i % 16), added as
 * (0+1)+(2+3) and then by the tree of sum_lanes_avx512: an order that depends on n alone. add,
 * mul_add and scale use no fused operation and give the bits of the reference.
 */
#include <math.h>
#include <stdbool.h>

#include "kernels/erfc.h"
#include "kernels/x86/kernels_avx512.h"
#include "kernels/x86/vecmath_avx512.h"

#define LANES 16u

static inline float sum_four(const __m512 sum[4]) {
    return sum_lanes_avx512(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

INLINE_AVX512 __m512 load(const float *x, size_t i, size_t n) {
    return _mm512_maskz_loadu_ps(lanes_mask_avx512(n - i), x + i);
}

INLINE_AVX512 void store(float *y, size_t i, size_t n, __m512 v) {
    _mm512_mask_storeu_ps(y + i, lanes_mask_avx512(n - i), v);
}

/* One vector of x, with r added and stored where there is an r. */
INLINE_AVX512 __m512 added(float *out, const float *x, const float *r, size_t i, __mmask16 mask) {
    __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
    if (r != NULL) {
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, r + i));
        _mm512_mask_storeu_ps(out + i, mask, v);
    }
    return v;
}

/* out = x + r where there is an r; returns the sum of squares. */
INLINE_AVX512 float add_squares(float *out, const float *x, const float *r, size_t n) {
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        for (size_t j = 0; j < 4; j++) {
            const __m512 v = added(out, x, r, i + j * LANES, 0xFFFF);
            sum[j] = _mm512_fmadd_ps(v, v, sum[j]);
        }
    }
    for (size_t j = 0; i < n; j++, i += LANES) {
        const __m512 v = added(out, x, r, i, lanes_mask_avx512(n - i));
        sum[j] = _mm512_fmadd_ps(v, v, sum[j]);
    }
    return sum_four(sum);
}

static void norm_finish(float *y, const float *x, const float *w, size_t n, float total,
                        float eps) {
    const float factor = 1.0f / sqrtf(total / (float)n + eps);
    if (w == NULL) {
        scale_f32_avx512(y, x, factor, n);
        return;
    }
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor));
        _mm512_storeu_ps(y + i, _mm512_mul_ps(v, _mm512_loadu_ps(w + i)));
    }
    if (i < n) {
        const __m512 v = _mm512_mul_ps(load(x, i, n), _mm512_set1_ps(factor));
        store(y, i, n, _mm512_mul_ps(v, load(w, i, n)));
    }
}

void rmsnorm_f32_avx512(float *y, const float *x, const float *w, size_t n, float eps) {
    norm_finish(y, x, w, n, add_squares(NULL, x, NULL, n), eps);
}

void add_rmsnorm_f32_avx512(float *y, float *x, const float *r, const float *w, size_t n,
                            float eps) {
    const float total = add_squares(x, x, r, n);
    norm_finish(y, x, w, n, total, eps);
}

/* Sum of (x - middle), or of its squares. */
INLINE_AVX512 float sum_around(const float *x, size_t n, float middle, const bool is_squared) {
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    for (size_t i = 0; i < n;) {
        for (int j = 0; j < 4 && i < n; j++, i += LANES) {
            const __mmask16 mask = lanes_mask_avx512(n - i);
            const __m512 v = _mm512_maskz_sub_ps(mask, load(x, i, n), _mm512_set1_ps(middle));
            sum[j] = is_squared ? _mm512_fmadd_ps(v, v, sum[j]) : _mm512_add_ps(sum[j], v);
        }
    }
    return sum_four(sum);
}

void layernorm_f32_avx512(float *y, const float *x, const float *w, const float *b, size_t n,
                          float eps) {
    float mean = sum_around(x, n, 0.0f, false) / (float)n;
    mean += sum_around(x, n, mean, false) / (float)n; /* what rounding left of it */
    const float factor = 1.0f / sqrtf(sum_around(x, n, mean, true) / (float)n + eps);
    for (size_t i = 0; i < n; i += LANES) {
        __m512 v = _mm512_sub_ps(load(x, i, n), _mm512_set1_ps(mean));
        v = _mm512_mul_ps(_mm512_mul_ps(v, _mm512_set1_ps(factor)), load(w, i, n));
        store(y, i, n, b != NULL ? _mm512_add_ps(v, load(b, i, n)) : v);
    }
}

void softmax_f32_avx512(float *y, const float *x, size_t n) {
    __m512 most = _mm512_set1_ps(x[0]), sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) {
        most = _mm512_mask_max_ps(most, lanes_mask_avx512(n - i), most, load(x, i, n));
    }
    const __m512 m = _mm512_set1_ps(max_lanes_avx512(most));
    for (size_t i = 0; i < n; i += LANES) {
        const __m512 e = exp_neg_avx512(_mm512_sub_ps(load(x, i, n), m));
        store(y, i, n, e);
        sum = _mm512_mask_add_ps(sum, lanes_mask_avx512(n - i), sum, e);
    }
    scale_f32_avx512(y, y, 1.0f / sum_lanes_avx512(sum), n);
}

/* Puts element i into the sorted list of k, whose last it exceeds. */
static void insert(uint32_t *index, const float *x, size_t i, size_t k) {
    size_t at = k - 1;
    for (; at > 0 && x[i] > x[index[at - 1]]; at--) {
        index[at] = index[at - 1];
    }
    index[at] = (uint32_t)i;
}

/* Most elements are below the list's last: sixteen are dismissed at a time. */
void topk_f32_avx512(uint32_t *index, const float *x, size_t n, size_t k) {
    for (size_t i = 0; i < k; i++) {
        insert(index, x, i, i + 1);
    }
    for (size_t i = k; i < n; i += LANES) {
        const __m512 least = _mm512_set1_ps(x[index[k - 1]]);
        unsigned above =
            _mm512_mask_cmp_ps_mask(lanes_mask_avx512(n - i), load(x, i, n), least, _CMP_GT_OQ);
        for (; above != 0; above &= above - 1) {
            const size_t at = i + (size_t)__builtin_ctz(above);
            if (x[at] > x[index[k - 1]]) {
                insert(index, x, at, k);
            }
        }
    }
}

void mul_add_f32_avx512(float *y, const float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        const __m512 product = _mm512_mul_ps(load(x, i, n), _mm512_set1_ps(s));
        store(y, i, n, _mm512_add_ps(load(y, i, n), product));
    }
}

void add_f32_avx512(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        store(y, i, n, _mm512_add_ps(load(y, i, n), load(x, i, n)));
    }
}

void scale_f32_avx512(float *y, const float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i += LANES) {
        store(y, i, n, _mm512_mul_ps(load(x, i, n), _mm512_set1_ps(s)));
    }
}

/* 1 + e^x for any x. Below -87 that is 1, and the power would be no normal number: those cost a
 * hundred cycles and more. */
static inline __m512 one_plus_exp(__m512 x) {
    __m512 n;
    x = _mm512_max_ps(_mm512_set1_ps(-87.0f), _mm512_min_ps(_mm512_set1_ps(89.0f), x));
    const __m512 e = exp_reduced_avx512(x, &n);
    return _mm512_add_ps(_mm512_scalef_ps(e, n), _mm512_set1_ps(1.0f));
}

/* x / (1 + e^-z) */
static inline __m512 times_sigmoid(__m512 x, __m512 z) {
    return _mm512_div_ps(x, one_plus_exp(_mm512_xor_ps(z, _mm512_set1_ps(-0.0f))));
}

/* g / (1 + e^-2u), u = sqrt(2/pi) (g + 0.044715 g^3): no cancellation at negative g. */
static inline __m512 gelu_tanh_16(__m512 g) {
    const __m512 cubic = _mm512_set1_ps(-2.0f * 0.797884561f * 0.044715f);
    const __m512 linear = _mm512_set1_ps(-2.0f * 0.797884561f);
    const __m512 minus_2u = _mm512_mul_ps(g, _mm512_fmadd_ps(_mm512_mul_ps(g, g), cubic, linear));
    return _mm512_div_ps(g, one_plus_exp(minus_2u));
}

/* erfc(z) = t exp(P(t) - z^2), t = 1 / (1 + z / 2), for z >= 0 (ERFC_LIST). */
static inline __m512 gelu_erf_16(__m512 g) {
    const __m512 one = _mm512_set1_ps(1.0f), half = _mm512_set1_ps(0.5f);
    const __m512 z = _mm512_mul_ps(_mm512_abs_ps(g), _mm512_set1_ps(0.707106781f));
    const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, half, one));
    __m512 p = _mm512_setzero_ps();
#define X(c) p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(c));
    ERFC_LIST(X)
#undef X
    const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(t, half),
                                      exp_avx512(_mm512_fnmadd_ps(z, z, p))); /* erfc(z) / 2 */
    const __mmask16 is_negative = _mm512_movepi32_mask(_mm512_castps_si512(g));
    return _mm512_mul_ps(g, _mm512_mask_mov_ps(_mm512_sub_ps(one, tail), is_negative, tail));
}

INLINE_AVX512 void act_mul(float *y, const float *gate, const float *up, size_t n,
                           const act_kind kind) {
    for (size_t i = 0; i < n; i += LANES) {
        const __m512 g = load(gate, i, n);
        __m512 act;
        switch (kind) {
        case ACT_KIND_SILU: act = times_sigmoid(g, g); break;
        case ACT_KIND_GELU_TANH: act = gelu_tanh_16(g); break;
        case ACT_KIND_GELU_ERF: act = gelu_erf_16(g); break;
        case ACT_KIND_GELU_QUICK:
            act = times_sigmoid(g, _mm512_mul_ps(g, _mm512_set1_ps(1.702f)));
            break;
        default: act = times_sigmoid(_mm512_set1_ps(1.0f), g); break;
        }
        store(y, i, n, _mm512_mul_ps(act, load(up, i, n)));
    }
}

void silu_mul_f32_avx512(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_SILU);
}

void gelu_tanh_mul_f32_avx512(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_TANH);
}

void gelu_erf_mul_f32_avx512(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_ERF);
}

void gelu_quick_mul_f32_avx512(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_GELU_QUICK);
}

void sigmoid_mul_f32_avx512(float *y, const float *gate, const float *up, size_t n) {
    act_mul(y, gate, up, n, ACT_KIND_SIGMOID);
}

void softcap_f32_avx512(float *y, const float *x, float cap, size_t n) {
    const __m512 c = _mm512_set1_ps(cap);
    for (size_t i = 0; i < n; i += LANES) {
        store(y, i, n, _mm512_mul_ps(tanh_avx512(_mm512_div_ps(load(x, i, n), c)), c));
    }
}
