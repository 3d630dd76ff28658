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

#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/vecmath_avx2.h"

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
    const float total =
        sum_lanes_avx2(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
    const __m256 scale = _mm256_set1_ps(1.0f / sqrtf(total / (float)n + eps));
    if (w == NULL) {
        scale_f32_avx2(y, x, _mm256_cvtss_f32(scale), n);
        return;
    }
    for (i = 0; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 v = _mm256_mul_ps(_mm256_maskload_ps(x + i, mask), scale);
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(v, _mm256_maskload_ps(w + i, mask)));
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

static inline __m256 silu_8(__m256 g) {
    const __m256 e = exp_avx2(_mm256_xor_ps(g, _mm256_set1_ps(-0.0f)));
    return _mm256_div_ps(g, _mm256_add_ps(e, _mm256_set1_ps(1.0f)));
}

/* g / (1 + e^-2u), u = sqrt(2/pi) (g + 0.044715 g^3): no cancellation at negative g. */
static inline __m256 gelu_tanh_8(__m256 g) {
    const __m256 cubic = _mm256_set1_ps(-2.0f * 0.797884561f * 0.044715f);
    const __m256 linear = _mm256_set1_ps(-2.0f * 0.797884561f);
    const __m256 minus_2u = _mm256_mul_ps(g, _mm256_fmadd_ps(_mm256_mul_ps(g, g), cubic, linear));
    return _mm256_div_ps(g, _mm256_add_ps(exp_avx2(minus_2u), _mm256_set1_ps(1.0f)));
}

void silu_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 act = silu_8(_mm256_loadu_ps(gate + i));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(act, _mm256_loadu_ps(up + i)));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 act = silu_8(_mm256_maskload_ps(gate + i, mask));
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(act, _mm256_maskload_ps(up + i, mask)));
    }
}

void gelu_tanh_mul_f32_avx2(float *y, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 act = gelu_tanh_8(_mm256_loadu_ps(gate + i));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(act, _mm256_loadu_ps(up + i)));
    }
    if (i < n) {
        const __m256i mask = lanes_mask_avx2(n - i);
        const __m256 act = gelu_tanh_8(_mm256_maskload_ps(gate + i, mask));
        _mm256_maskstore_ps(y + i, mask, _mm256_mul_ps(act, _mm256_maskload_ps(up + i, mask)));
    }
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
