/* row_ref.c - normalisation, residuals and activations of one row, in plain C.
 *
 * Sums and transcendental functions run in double and are rounded once at the end, so that these
 * are the values that faster versions are compared with. GELU's tanh form is written as
 * x * sigmoid(2u): the same function without the cancellation of 1 + tanh(u) at negative x.
 */
#include <math.h>

#include "kernels/ref/kernels_ref.h"

void rmsnorm_f32_ref(float *y, const float *x, const float *w, size_t n, float eps) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    const float scale = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) {
        y[i] = w != NULL ? x[i] * scale * w[i] : x[i] * scale;
    }
}

void add_rmsnorm_f32_ref(float *y, float *x, const float *r, const float *w, size_t n, float eps) {
    add_f32_ref(x, r, n);
    rmsnorm_f32_ref(y, x, w, n, eps);
}

void layernorm_f32_ref(float *y, const float *x, const float *w, const float *b, size_t n,
                       float eps) {
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    const double scale = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        const double v = ((double)x[i] - mean) * scale * (double)w[i];
        y[i] = (float)(b != NULL ? v + (double)b[i] : v);
    }
}

void softmax_f32_ref(float *y, const float *x, size_t n) {
    float most = x[0];
    double sum = 0.0;
    for (size_t i = 1; i < n; i++) {
        most = x[i] > most ? x[i] : most;
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - (double)most);
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(exp((double)x[i] - (double)most) / sum);
    }
}

/* A sorted list of the k best so far. */
void topk_f32_ref(uint32_t *index, const float *x, size_t n, size_t k) {
    for (size_t i = 0, count = 0; i < n; i++) {
        if (count == k && !(x[i] > x[index[k - 1]])) {
            continue;
        }
        size_t at = count < k ? count++ : k - 1;
        for (; at > 0 && x[i] > x[index[at - 1]]; at--) {
            index[at] = index[at - 1];
        }
        index[at] = (uint32_t)i;
    }
}

void mul_add_f32_ref(float *y, const float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float product = x[i] * s;
        y[i] += product;
    }
}

void add_f32_ref(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void scale_f32_ref(float *y, const float *x, float s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * s;
    }
}

void silu_mul_f32_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double g = gate[i];
        y[i] = (float)(g / (1.0 + exp(-g))) * up[i];
    }
}

void gelu_tanh_mul_f32_ref(float *y, const float *gate, const float *up, size_t n) {
    const double sqrt_2_over_pi = 0.79788456080286535588;
    for (size_t i = 0; i < n; i++) {
        const double g = gate[i];
        const double u = sqrt_2_over_pi * (g + 0.044715 * g * g * g);
        y[i] = (float)(g / (1.0 + exp(-2.0 * u))) * up[i];
    }
}

void gelu_erf_mul_f32_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double g = gate[i];
        y[i] = (float)(g * 0.5 * erfc(g * -0.70710678118654752440)) * up[i];
    }
}

void gelu_quick_mul_f32_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double g = gate[i];
        y[i] = (float)(g / (1.0 + exp(-1.702 * g))) * up[i];
    }
}

void sigmoid_mul_f32_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(1.0 / (1.0 + exp(-(double)gate[i]))) * up[i];
    }
}

void softcap_f32_ref(float *y, const float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)((double)cap * tanh((double)x[i] / (double)cap));
    }
}
