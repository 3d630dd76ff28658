/* check_row.c - rmsnorm, add, scale, activations and softcap.
 *
 * add and scale are exact to the bit; rmsnorm is a reduction; the activations may be off by 4 units
 * in the last place of a double result. GELU's argument is a float32 cubic, whose rounding
 * enters the exponential: its allowance grows with that argument.
 */
#include <math.h>
#include <string.h>

#include "kcheck.h"

static const char *const kind_names[KC_VALUES_COUNT] = {
    "uniform", "gauss", "wide", "constant", "alternating", "outlier", "zero", "denormal",
};

static void want_rmsnorm(double *want, double *terms, const float *x, const float *w, size_t n,
                         float eps) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    for (size_t i = 0; i < n; i++) {
        want[i] =
            (double)x[i] / sqrt(sum / (double)n + (double)eps) * (w != NULL ? (double)w[i] : 1.0);
        terms[i] = fabs(want[i]);
    }
}

static void check_rmsnorm(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind,
                          bool has_weight, bool is_in_place) {
    if (!kc_func(kc, &k->rmsnorm, "rmsnorm_f32_n%zu_%s%s%s", n, kind_names[kind],
                 has_weight ? "" : "_no_weight", is_in_place ? "_in_place" : "")) {
        return;
    }
    float *y = is_in_place ? kc_inout(kc, n * sizeof(float), 4) : kc_out(kc, n * sizeof(float), 4);
    float *x = is_in_place ? y : kc_floats(kc, n, kind);
    if (is_in_place) {
        kc_fill(kc, x, n, kind);
    }
    const float *w = has_weight ? kc_floats(kc, n, KC_UNIFORM) : NULL;
    double *want = kc_scratch(kc, n * sizeof(double)), *terms = kc_scratch(kc, n * sizeof(double));
    want_rmsnorm(want, terms, x, w, n, 1e-5f);
    KC_CALL(kc, k->rmsnorm(y, x, w, n, 1e-5f));
    kc_sum(kc, want, terms, y, n, 6.0 + (double)n / 64.0);
}

static void check_add(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind) {
    if (!kc_func(kc, &k->add, "add_f32_n%zu_%s", n, kind_names[kind])) {
        return;
    }
    float *y = kc_inout(kc, n * sizeof(float), 4);
    kc_fill(kc, y, n, kind);
    const float *x = kc_floats(kc, n, KC_WIDE);
    float *want = kc_scratch(kc, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        want[i] = y[i] + x[i];
    }
    KC_CALL(kc, k->add(y, x, n));
    kc_bits(kc, want, y, n * sizeof(float));
}

static void check_scale(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind) {
    if (!kc_func(kc, &k->scale, "scale_f32_n%zu_%s", n, kind_names[kind])) {
        return;
    }
    const float *x = kc_floats(kc, n, kind);
    float *y = kc_out(kc, n * sizeof(float), 4), *want = kc_scratch(kc, n * sizeof(float));
    float *z = kc_inout(kc, n * sizeof(float), 4);
    memcpy(z, x, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        want[i] = x[i] * 0.30000001f;
    }
    KC_CALL(kc, (k->scale(y, x, 0.30000001f, n), k->scale(z, z, 0.30000001f, n)));
    kc_bits(kc, want, y, n * sizeof(float));
    kc_bits(kc, want, z, n * sizeof(float));
}

/* act(g), and how many times the rounding of its argument may show. */
static double want_act(act_kind act, double g, double *weight) {
    *weight = 1.0;
    if (act == ACT_KIND_SILU) {
        return g / (1.0 + exp(-g));
    }
    const double u = sqrt(2.0 / 3.14159265358979323846) * (g + 0.044715 * g * g * g);
    *weight = 1.0 + fmin(2.0 * fabs(u), 104.0);
    return g / (1.0 + exp(-2.0 * u));
}

static void check_act_mul(kcheck *kc, const kernels_cpu *k, act_kind act, size_t n,
                          kc_values kind) {
    static const char *const names[ACT_KIND_COUNT] = {"silu", "gelu_tanh"};
    if (!kc_func(kc, &k->act_mul[act], "%s_mul_f32_n%zu_%s", names[act], n, kind_names[kind])) {
        return;
    }
    float *gate = kc_floats(kc, n, kind);
    if (kind == KC_GAUSS) { /* the range where the exponential is neither 0 nor infinite */
        for (size_t i = 0; i < n; i++) {
            gate[i] *= 30.0f;
        }
    }
    const float *up = kc_floats(kc, n, KC_GAUSS);
    float *y = kc_out(kc, n * sizeof(float), 4), *z = kc_inout(kc, n * sizeof(float), 4);
    memcpy(z, gate, n * sizeof(float));
    double *want = kc_scratch(kc, n * sizeof(double)), *terms = kc_scratch(kc, n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        double weight;
        want[i] = want_act(act, (double)gate[i], &weight) * (double)up[i];
        /* Results below 2^-119 may be 0: there the exponential is infinite. */
        terms[i] = fabs(want[i]) * weight + 0x1p-98 * fabs((double)up[i]);
    }
    KC_CALL(kc, (k->act_mul[act](y, gate, up, n), k->act_mul[act](z, z, up, n)));
    kc_sum(kc, want, terms, y, n, 8.0); /* 4 units in the last place */
    kc_bits(kc, y, z, n * sizeof(float));
}

static void check_softcap(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind) {
    if (!kc_func(kc, &k->softcap, "softcap_f32_n%zu_%s", n, kind_names[kind])) {
        return;
    }
    const float cap = 30.0f;
    float *x = kc_floats(kc, n, kind);
    if (kind == KC_GAUSS) {
        for (size_t i = 0; i < n; i++) {
            x[i] *= 40.0f;
        }
    }
    float *y = kc_out(kc, n * sizeof(float), 4), *z = kc_inout(kc, n * sizeof(float), 4);
    memcpy(z, x, n * sizeof(float));
    double *want = kc_scratch(kc, n * sizeof(double)), *terms = kc_scratch(kc, n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        want[i] = (double)cap * tanh((double)x[i] / (double)cap);
        terms[i] = fabs(want[i]);
    }
    KC_CALL(kc, (k->softcap(y, x, cap, n), k->softcap(z, z, cap, n)));
    kc_sum(kc, want, terms, y, n, 8.0);
    kc_bits(kc, y, z, n * sizeof(float));
}

static void bench_row(kcheck *kc, const kernels_cpu *k, size_t n) {
    if (kc_bench_func(kc, &k->rmsnorm, "rmsnorm_f32_n%zu", n)) {
        const float *x = kc_floats(kc, n, KC_GAUSS), *w = kc_floats(kc, n, KC_GAUSS);
        float *y = kc_out(kc, n * sizeof(float), 4);
        KC_BENCH(kc, n * 12, "B", k->rmsnorm(y, x, w, n, 1e-5f));
    }
    if (kc_bench_func(kc, &k->add, "add_f32_n%zu", n)) {
        float *y = kc_floats(kc, n, KC_ZERO);
        const float *x = kc_floats(kc, n, KC_GAUSS);
        KC_BENCH(kc, n * 12, "B", k->add(y, x, n));
    }
    for (int act = 0; act < ACT_KIND_COUNT; act++) {
        if (kc_bench_func(kc, &k->act_mul[act], "act_mul_%d_f32_n%zu", act, n)) {
            const float *x = kc_floats(kc, n, KC_GAUSS), *u = kc_floats(kc, n, KC_GAUSS);
            float *y = kc_out(kc, n * sizeof(float), 4);
            KC_BENCH(kc, n * 12, "B", k->act_mul[act](y, x, u, n));
        }
    }
    if (kc_bench_func(kc, &k->softcap, "softcap_f32_n%zu", n)) {
        const float *x = kc_floats(kc, n, KC_GAUSS);
        float *y = kc_out(kc, n * sizeof(float), 4);
        KC_BENCH(kc, n * 8, "B", k->softcap(y, x, 30.0f, n));
    }
}

void check_row(kcheck *kc, const kernels_cpu *k) {
    for (size_t i = 0; i < KC_LEN(kc_sizes); i++) {
        for (size_t j = 0; j < KC_VALUES_COUNT; j++) {
            const kc_values kind = (kc_values)j;
            check_rmsnorm(kc, k, kc_sizes[i], kind, j % 2 == 0, (i + j) % 3 == 0);
            check_add(kc, k, kc_sizes[i], kind);
            check_scale(kc, k, kc_sizes[i], kind);
            check_act_mul(kc, k, ACT_KIND_SILU, kc_sizes[i], kind);
            check_act_mul(kc, k, ACT_KIND_GELU_TANH, kc_sizes[i], kind);
            check_softcap(kc, k, kc_sizes[i], kind);
        }
    }
    bench_row(kc, k, 2048);
}
