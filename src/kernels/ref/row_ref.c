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

void softcap_f32_ref(float *y, const float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)((double)cap * tanh((double)x[i] / (double)cap));
    }
}
