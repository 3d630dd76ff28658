/* check_row.c - norms, softmax, top-k, add, mul_add, scale, activations and softcap.
 *
 * add, mul_add, scale and top-k are exact to the bit; norms and softmax are reductions; the
 * activations may be off by 4 units in the last place of a double result. GELU's argument is a
 * float32 cubic, whose rounding enters the exponential: its allowance grows with that argument.
 */
#include <math.h>
#include <string.h>

#include "kcheck.h"

static const char *const kind_names[KC_VALUES_COUNT] = {
    "uniform", "gauss", "wide", "constant", "alternating", "outlier", "zero", "denormal", "steps",
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

static void check_add_rmsnorm(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind) {
    if (!kc_func(kc, &k->add_rmsnorm, "add_rmsnorm_f32_n%zu_%s", n, kind_names[kind])) {
        return;
    }
    float *y = kc_out(kc, n * sizeof(float), 4), *x = kc_inout(kc, n * sizeof(float), 4);
    kc_fill(kc, x, n, kind);
    const float *r = kc_floats(kc, n, KC_GAUSS), *w = kc_floats(kc, n, KC_UNIFORM);
    float *want_x = kc_scratch(kc, n * sizeof(float)), *want = kc_scratch(kc, n * sizeof(float));
    memcpy(want_x, x, n * sizeof(float));
    k->add(want_x, r, n);
    k->rmsnorm(want, want_x, w, n, 1e-5f);
    KC_CALL(kc, k->add_rmsnorm(y, x, r, w, n, 1e-5f));
    kc_bits(kc, want_x, x, n * sizeof(float));
    kc_bits(kc, want, y, n * sizeof(float));
}

static void check_layernorm(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind,
                            bool has_bias) {
    if (!kc_func(kc, &k->layernorm, "layernorm_f32_n%zu_%s%s", n, kind_names[kind],
                 has_bias ? "" : "_no_bias")) {
        return;
    }
    const float *x = kc_floats(kc, n, kind), *w = kc_floats(kc, n, KC_GAUSS);
    const float *b = has_bias ? kc_floats(kc, n, KC_GAUSS) : NULL;
    float *y = kc_out(kc, n * sizeof(float), 4), *z = kc_inout(kc, n * sizeof(float), 4);
    memcpy(z, x, n * sizeof(float));
    double *want = kc_scratch(kc, n * sizeof(double)), *terms = kc_scratch(kc, n * sizeof(double));
    double sum = 0.0, squares = 0.0, largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        largest = fmax(largest, fabs((double)x[i]));
    }
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    const double factor = 1.0 / sqrt(squares / (double)n + 1e-5);
    for (size_t i = 0; i < n; i++) { /* the mean may be off by a rounding of what it is made of */
        const double bias = b != NULL ? (double)b[i] : 0.0, scale = factor * (double)w[i];
        want[i] = ((double)x[i] - mean) * scale + bias;
        terms[i] = fabs(want[i] - bias) + fabs(bias) + largest * fabs(scale);
    }
    KC_CALL(kc, (k->layernorm(y, x, w, b, n, 1e-5f), k->layernorm(z, z, w, b, n, 1e-5f)));
    kc_sum(kc, want, terms, y, n, 8.0 + (double)n / 64.0);
    kc_bits(kc, y, z, n * sizeof(float));
}

static void check_softmax(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind) {
    if (!kc_func(kc, &k->softmax, "softmax_f32_n%zu_%s", n, kind_names[kind])) {
        return;
    }
    float *x = kc_floats(kc, n, kind);
    for (size_t i = 0; kind == KC_WIDE && i < n; i++) {
        x[i] *= 0x1p-15f;
    }
    if (kind == KC_CONSTANT) { /* the maximum comes last; without it e^x is infinite */
        x[n - 1] += 200.0f;
    }
    float *y = kc_out(kc, n * sizeof(float), 4), *z = kc_inout(kc, n * sizeof(float), 4);
    memcpy(z, x, n * sizeof(float));
    double *want = kc_scratch(kc, n * sizeof(double)), *terms = kc_scratch(kc, n * sizeof(double));
    double most = -INFINITY, sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, (double)x[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - most);
    }
    for (size_t i = 0; i < n; i++) { /* the difference is rounded before it becomes an exponent */
        want[i] = exp((double)x[i] - most) / sum;
        terms[i] = want[i] * (1.0 + fabs((double)x[i] - most)) + 0x1p-100;
    }
    KC_CALL(kc, (k->softmax(y, x, n), k->softmax(z, z, n)));
    kc_sum(kc, want, terms, y, n, 8.0 + (double)n / 64.0);
    kc_bits(kc, y, z, n * sizeof(float));
}

/* Against choosing the largest of the rest k times. Few different values: ties are everywhere. */
static void check_topk(kcheck *kc, const kernels_cpu *k, size_t n, size_t n_best, bool has_ties) {
    if (!kc_func(kc, &k->topk, "topk_f32_n%zu_k%zu%s", n, n_best, has_ties ? "_ties" : "")) {
        return;
    }
    float *x = kc_floats(kc, n, KC_GAUSS);
    for (size_t i = 0; has_ties && i < n; i++) {
        x[i] = (float)kc_below(kc, 5);
    }
    uint32_t *got = kc_out(kc, n_best * sizeof(uint32_t), 4);
    uint32_t *want = kc_scratch(kc, n_best * sizeof(uint32_t));
    bool *is_taken = kc_scratch(kc, n * sizeof(bool));
    for (size_t j = 0; j < n_best; j++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            best = !is_taken[i] && (best == n || x[i] > x[best]) ? i : best;
        }
        is_taken[best] = true;
        want[j] = (uint32_t)best;
    }
    KC_CALL(kc, k->topk(got, x, n, n_best));
    kc_bits(kc, want, got, n_best * sizeof(uint32_t));
}

/* NaN and infinities: every index is somebody's, once. */
static void check_topk_nan(kcheck *kc, const kernels_cpu *k) {
    enum { N = 70, BEST = 9 };
    if (!kc_func(kc, &k->topk, "topk_f32_nan")) {
        return;
    }
    float *x = kc_floats(kc, N, KC_GAUSS);
    for (size_t i = 0; i < N; i++) {
        x[i] = i % 3 == 0 ? NAN : i % 7 == 0 ? -INFINITY : x[i];
    }
    uint32_t *got = kc_out(kc, BEST * sizeof(uint32_t), 4);
    KC_CALL(kc, k->topk(got, x, N, BEST));
    bool is_taken[N] = {false};
    for (size_t i = 0; i < BEST; i++) {
        if (got[i] >= N || is_taken[got[i]]) {
            kc_fail(kc, "index %zu is %u", i, got[i]);
            return;
        }
        is_taken[got[i]] = true;
    }
}

static void check_mul_add(kcheck *kc, const kernels_cpu *k, size_t n, kc_values kind) {
    if (!kc_func(kc, &k->mul_add, "mul_add_f32_n%zu_%s", n, kind_names[kind])) {
        return;
    }
    float *y = kc_inout(kc, n * sizeof(float), 4);
    kc_fill(kc, y, n, kind);
    const float *x = kc_floats(kc, n, kind);
    volatile float *want = kc_scratch(kc, n * sizeof(float)); /* volatile: nothing is fused */
    for (size_t i = 0; i < n; i++) {
        want[i] = x[i] * 0.30000001f;
        want[i] = y[i] + want[i];
    }
    KC_CALL(kc, k->mul_add(y, x, 0.30000001f, n));
    kc_bits(kc, (const float *)want, y, n * sizeof(float));
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
    switch (act) {
    case ACT_KIND_SILU: return g / (1.0 + exp(-g));
    case ACT_KIND_SIGMOID: return 1.0 / (1.0 + exp(-g));
    case ACT_KIND_GELU_QUICK:
        *weight = 1.0 + fmin(fabs(g), 104.0);
        return g / (1.0 + exp(-1.702 * g));
    case ACT_KIND_GELU_ERF:
        *weight = 1.0 + fmin(g * g, 104.0);
        return g * 0.5 * erfc(g * -0.70710678118654752440);
    default: break;
    }
    const double u = sqrt(2.0 / 3.14159265358979323846) * (g + 0.044715 * g * g * g);
    *weight = 1.0 + fmin(2.0 * fabs(u), 104.0);
    return g / (1.0 + exp(-2.0 * u));
}

static void check_act_mul(kcheck *kc, const kernels_cpu *k, act_kind act, size_t n,
                          kc_values kind) {
    static const char *const names[ACT_KIND_COUNT] = {"silu", "gelu_tanh", "gelu_erf", "gelu_quick",
                                                      "sigmoid"};
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
    if (kc_bench_func(kc, &k->scale, "scale_f32_n%zu", n)) {
        const float *x = kc_floats(kc, n, KC_GAUSS);
        float *y = kc_out(kc, n * sizeof(float), 4);
        KC_BENCH(kc, n * 8, "B", k->scale(y, x, 0.5f, n));
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

static void bench_more(kcheck *kc, const kernels_cpu *k, size_t n) {
    const float *x = NULL;
    if (kc_bench_func(kc, &k->add_rmsnorm, "add_rmsnorm_f32_n%zu", n)) {
        const float *r = kc_floats(kc, n, KC_GAUSS), *w = kc_floats(kc, n, KC_GAUSS);
        float *y = kc_out(kc, n * sizeof(float), 4), *z = kc_floats(kc, n, KC_ZERO);
        KC_BENCH(kc, n * 20, "B", k->add_rmsnorm(y, z, r, w, n, 1e-5f));
    }
    if (kc_bench_func(kc, &k->layernorm, "layernorm_f32_n%zu", n)) {
        const float *w = kc_floats(kc, n, KC_GAUSS);
        float *y = kc_out(kc, n * sizeof(float), 4);
        x = kc_floats(kc, n, KC_GAUSS);
        KC_BENCH(kc, n * 12, "B", k->layernorm(y, x, w, w, n, 1e-5f));
    }
    if (kc_bench_func(kc, &k->softmax, "softmax_f32_n%zu", n)) {
        float *y = kc_out(kc, n * sizeof(float), 4);
        x = kc_floats(kc, n, KC_GAUSS);
        KC_BENCH(kc, n * 8, "B", k->softmax(y, x, n));
    }
    static const size_t routers[][2] = {{64, 8}, {512, 8}, {250000, 40}};
    for (size_t i = 0; i < KC_LEN(routers); i++) {
        if (kc_bench_func(kc, &k->topk, "topk_f32_n%zu_k%zu", routers[i][0], routers[i][1])) {
            uint32_t *index = kc_out(kc, routers[i][1] * sizeof(uint32_t), 4);
            x = kc_floats(kc, routers[i][0], KC_GAUSS);
            KC_BENCH(kc, routers[i][0] * 4, "B", k->topk(index, x, routers[i][0], routers[i][1]));
        }
    }
    if (kc_bench_func(kc, &k->mul_add, "mul_add_f32_n%zu", n)) {
        float *y = kc_floats(kc, n, KC_ZERO);
        x = kc_floats(kc, n, KC_GAUSS);
        KC_BENCH(kc, n * 12, "B", k->mul_add(y, x, 0.5f, n));
    }
}

void check_row(kcheck *kc, const kernels_cpu *k) {
    for (size_t i = 0; i < KC_LEN(kc_sizes); i++) {
        for (size_t j = 0; j < KC_VALUES_COUNT; j++) {
            const kc_values kind = (kc_values)j;
            check_rmsnorm(kc, k, kc_sizes[i], kind, j % 2 == 0, (i + j) % 3 == 0);
            check_add(kc, k, kc_sizes[i], kind);
            check_scale(kc, k, kc_sizes[i], kind);
            for (int act = 0; act < ACT_KIND_COUNT; act++) {
                check_act_mul(kc, k, (act_kind)act, kc_sizes[i], kind);
            }
            check_add_rmsnorm(kc, k, kc_sizes[i], kind);
            check_layernorm(kc, k, kc_sizes[i], kind, (i + j) % 2 == 0);
            check_softmax(kc, k, kc_sizes[i], kind);
            check_mul_add(kc, k, kc_sizes[i], kind);
            check_softcap(kc, k, kc_sizes[i], kind);
        }
    }
    for (size_t i = 0; i < KC_LEN(kc_sizes); i++) {
        const size_t n = kc_sizes[i], counts[] = {1, n < 8 ? n : 8, n < 64 ? n : 64};
        for (size_t j = 0; j < 3; j++) {
            check_topk(kc, k, n, counts[j], (i + j) % 2 == 0);
        }
    }
    check_topk_nan(kc, k);
    bench_row(kc, k, 2048);
    bench_more(kc, k, 2048);
}
