/* check_rope.c - rotary embedding: tables within 2 units in the last place of double, rotations to
 * the bit (a * c - b * s with each operation rounded once, in this order).
 */
#include <math.h>
#include <string.h>

#include "kcheck.h"

static void check_table(kcheck *kc, const kernels_cpu *k, size_t n_freqs, int32_t position,
                        bool has_axes) {
    if (!kc_func(kc, &k->rope_table, "rope_table_f32_n%zu_at%d%s", n_freqs, (int)position,
                 has_axes ? "_axes" : "")) {
        return;
    }
    int32_t *pos = kc_in(kc, 3 * sizeof(int32_t), 4);
    for (int i = 0; i < 3; i++) {
        pos[i] = position + i * 5;
    }
    float *inv_freq = kc_in(kc, n_freqs * sizeof(float), 4);
    uint8_t *axis = kc_in(kc, n_freqs, 1);
    for (size_t i = 0; i < n_freqs; i++) {
        inv_freq[i] = powf(10000.0f, -(float)i / (float)n_freqs);
        axis[i] = (uint8_t)(has_axes ? kc_below(kc, 3) : 0);
    }
    float *got = kc_out(kc, 2 * n_freqs * sizeof(float), 4);
    double *want = kc_scratch(kc, 2 * n_freqs * sizeof(double));
    for (size_t i = 0; i < n_freqs; i++) {
        const float angle = (float)pos[axis[i]] * inv_freq[i];
        want[2 * i] = cos((double)angle) * 1.25;
        want[2 * i + 1] = sin((double)angle) * 1.25;
    }
    KC_CALL(kc, k->rope_table(got, pos, inv_freq, has_axes ? axis : NULL, n_freqs, 1.25f));
    kc_ulp(kc, want, got, 2 * n_freqs, 2.0);
}

/* x [n_heads][stride]: the pair (i, i + n) or (2i, 2i + 1) of each head. */
static void want_rope(float *x, rope_pairing pairing, size_t n_heads, size_t stride,
                      const float *cos_sin, size_t n) {
    for (size_t h = 0; h < n_heads; h++) {
        for (size_t i = 0; i < n; i++) {
            float *a = x + h * stride + (pairing == ROPE_HALVES ? i : 2 * i);
            float *b = pairing == ROPE_HALVES ? a + n : a + 1;
            const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], a0 = *a, b0 = *b;
            *a = a0 * c - b0 * s;
            *b = b0 * c + a0 * s;
        }
    }
}

static void check_rotation(kcheck *kc, const kernels_cpu *k, rope_pairing pairing, size_t n_heads,
                           size_t stride, size_t n_freqs, kc_values kind) {
    static const char *const names[ROPE_PAIRING_COUNT] = {"halves", "pairs"};
    if (!kc_func(kc, &k->rope[pairing], "rope_%s_f32_h%zu_s%zu_n%zu_%d", names[pairing], n_heads,
                 stride, n_freqs, (int)kind)) {
        return;
    }
    const size_t len = (n_heads - 1) * stride + 2 * n_freqs;
    float *x = kc_inout(kc, len * sizeof(float), 4);
    kc_fill(kc, x, len, kind);
    const float *cos_sin = kc_floats(kc, 2 * n_freqs, KC_UNIFORM);
    float *want = kc_scratch(kc, len * sizeof(float));
    memcpy(want, x, len * sizeof(float));
    want_rope(want, pairing, n_heads, stride, cos_sin, n_freqs);
    KC_CALL(kc, k->rope[pairing](x, n_heads, stride, cos_sin, n_freqs));
    kc_bits(kc, want, x, len * sizeof(float));
}

void check_rope(kcheck *kc, const kernels_cpu *k) {
    static const size_t freqs[] = {1, 3, 4, 7, 8, 9, 16, 20, 32, 40, 64, 128};
    static const int32_t positions[] = {0, 1, 77, 4095, 131071};
    for (size_t i = 0; i < KC_LEN(freqs); i++) {
        for (size_t j = 0; j < KC_LEN(positions); j++) {
            check_table(kc, k, freqs[i], positions[j], j % 2 == 1);
        }
        for (int p = 0; p < ROPE_PAIRING_COUNT; p++) {
            const size_t full = 2 * freqs[i];
            check_rotation(kc, k, (rope_pairing)p, 1, full, freqs[i], KC_WIDE);
            check_rotation(kc, k, (rope_pairing)p, 3, full, freqs[i], KC_GAUSS);
            check_rotation(kc, k, (rope_pairing)p, 9, full + 13, freqs[i], KC_GAUSS); /* partial */
        }
    }
    for (int p = 0; p < ROPE_PAIRING_COUNT; p++) {
        if (kc_bench_func(kc, &k->rope[p], "rope_%d_f32_h32_n32", p)) {
            float *x = kc_floats(kc, 32 * 64, KC_GAUSS);
            const float *cos_sin = kc_floats(kc, 64, KC_UNIFORM);
            KC_BENCH(kc, 32 * 64 * 8, "B", k->rope[p](x, 32, 64, cos_sin, 32));
        }
    }
    if (kc_bench_func(kc, &k->rope_table, "rope_table_f32_n32")) {
        float *table = kc_out(kc, 64 * sizeof(float), 4);
        const float *inv_freq = kc_floats(kc, 32, KC_UNIFORM);
        int32_t *pos = kc_in(kc, sizeof(int32_t), 4);
        *pos = 1000;
        KC_BENCH(kc, 32, "freq", k->rope_table(table, pos, inv_freq, NULL, 32, 1.0f));
    }
}
