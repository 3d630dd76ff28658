/* kcheck_compare.c - test values, and the verdicts by kind of operation.
 *
 * There is no single epsilon: moving and quantising are compared by bits, elementwise functions in
 * units of the last place, sums against the magnitude of what was added, and whole operations
 * by normalised mean square error (docs/numerics.md). The largest error seen is kept as a fraction
 * of what was allowed and printed beside the family.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kcheck_impl.h"

const size_t kc_sizes[16] = {1, 2, 7, 8, 9, 15, 31, 32, 33, 63, 64, 65, 255, 256, 1536, 4099};

uint64_t kc_u64(kcheck *kc) {
    kc->random += 0x9E3779B97F4A7C15u; /* splitmix64 */
    uint64_t z = kc->random;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint32_t kc_below(kcheck *kc, uint32_t n) { return (uint32_t)((kc_u64(kc) >> 32) * n >> 32); }

static float uniform(kcheck *kc) { return (float)((double)(kc_u64(kc) >> 40) * 0x1p-23 - 1.0); }

static float gauss(kcheck *kc) {
    float sum = 0.0f;
    for (int i = 0; i < 3; i++) {
        sum += uniform(kc);
    }
    return sum; /* three uniforms of variance 1/3 */
}

float kc_float(kcheck *kc, kc_values kind) {
    switch (kind) {
    case KC_UNIFORM:
    case KC_CONSTANT:
    case KC_ALTERNATING: return uniform(kc);
    case KC_GAUSS: return gauss(kc);
    case KC_WIDE: return ldexpf(uniform(kc), (int)kc_below(kc, 41) - 20);
    case KC_OUTLIER: return gauss(kc) * (kc_below(kc, 32) == 0 ? 30.0f : 1.0f);
    case KC_DENORMAL: return ldexpf(uniform(kc), -127 - (int)kc_below(kc, 20));
    case KC_STEPS: return kc_below(kc, 2) == 0 ? 1.0f : -1.0f;
    case KC_ZERO:
    case KC_VALUES_COUNT: break;
    }
    return 0.0f;
}

void kc_fill(kcheck *kc, float *x, size_t n, kc_values kind) {
    for (size_t i = 0; i < n; i++) {
        if (kind == KC_CONSTANT && i > 0) {
            x[i] = x[0];
        } else if (kind == KC_ALTERNATING && i % 2 == 1) {
            x[i] = -x[i - 1];
        } else if (kind == KC_STEPS && i > 0) {
            const size_t block = i / 32 % 8;
            x[i] = ldexpf(x[0], block < 3 ? -(int)block : -3);
        } else {
            x[i] = kc_float(kc, kind);
        }
    }
}

float *kc_floats(kcheck *kc, size_t n, kc_values kind) {
    float *x = kc_in(kc, n * sizeof(float), sizeof(float));
    kc_fill(kc, x, n, kind);
    return x;
}

/* Keeps the largest error as a fraction of the allowed one; true when it is allowed. */
static bool is_allowed(kcheck *kc, double error, double allowed) {
    const double fraction = error == 0.0 ? 0.0 : error / allowed;
    if (!(fraction <= kc->family_worst)) {
        kc->family_worst = fraction;
    }
    return fraction <= 1.0;
}

/* NaN for NaN and infinity for infinity; false sends the pair to the tolerance. */
static bool is_same_kind(double want, float got) {
    return (isnan(want) && isnan(got)) || (double)got == want ||
           (fabs(want) > FLT_MAX && isinf(got) && (got > 0.0f) == (want > 0.0));
}

void kc_bits(kcheck *kc, const void *want, const void *got, size_t bytes) {
    const uint8_t *a = want, *b = got;
    if (kc->has_failed || bytes == 0 || memcmp(a, b, bytes) == 0) {
        return;
    }
    size_t at = 0;
    while (a[at] == b[at]) {
        at++;
    }
    kc_fail(kc, "byte %zu of %zu is %02x, want %02x", at, bytes, b[at], a[at]);
}

void kc_ulp(kcheck *kc, const double *want, const float *got, size_t n, double ulps) {
    for (size_t i = 0; i < n && !kc->has_failed; i++) {
        if (is_same_kind(want[i], got[i])) {
            continue;
        }
        const double size = fabs(want[i]) > FLT_MIN ? fabs(want[i]) : FLT_MIN;
        int exponent;
        frexp(size, &exponent);
        const double ulp = ldexp(1.0, exponent - FLT_MANT_DIG);
        if (!is_allowed(kc, fabs((double)got[i] - want[i]), ulps * ulp)) {
            kc_fail(kc, "[%zu] is %.9g, want %.9g within %g ulp, off by %.3g", i, (double)got[i],
                    want[i], ulps, fabs((double)got[i] - want[i]) / ulp);
        }
    }
}

void kc_sum(kcheck *kc, const double *want, const double *terms, const float *got, size_t n,
            double c) {
    for (size_t i = 0; i < n && !kc->has_failed; i++) {
        if (is_same_kind(want[i], got[i])) {
            continue;
        }
        const double allowed = c * 0x1p-24 * terms[i] + (double)FLT_MIN;
        if (!is_allowed(kc, fabs((double)got[i] - want[i]), allowed)) {
            kc_fail(kc, "[%zu] is %.9g, want %.9g within %.3g", i, (double)got[i], want[i],
                    allowed);
        }
    }
}

void kc_nmse(kcheck *kc, const double *want, const float *got, size_t n, double limit) {
    double error = 0.0, power = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double e = (double)got[i] - want[i];
        error += e * e;
        power += want[i] * want[i];
    }
    if (!kc->has_failed && !is_allowed(kc, error, limit * power)) {
        kc_fail(kc, "normalised mean square error %.3g, at most %.3g", error / power, limit);
    }
}
