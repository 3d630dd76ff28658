/* kcheck.h - what a check file needs to prove a kernel equal to its slow twin.
 *
 *   void check_scale(kcheck *kc, const kernels_cpu *k) {
 *       for (size_t i = 0; i < KC_LEN(kc_sizes); i++) {
 *           const size_t n = kc_sizes[i];
 *           if (!kc_func(kc, &k->scale, "scale_f32_n%zu", n)) {
 *               continue;                                          unchanged since a lower level
 *           }
 *           const float *x = kc_floats(kc, n, KC_WIDE);            fenced input
 *           float *y = kc_out(kc, n * sizeof(float), 4);           poisoned, fenced output
 *           double *want = kc_scratch(kc, n * sizeof(double));
 *           ...
 *           KC_CALL(kc, k->scale(y, x, 0.3f, n));                  runs it twice, see below
 *           kc_ulp(kc, want, y, n, 0.5);
 *       }
 *   }
 *
 * A check runs for each level of instruction set whose flags the machine has, from plain C
 * upward; kc_func is false when the slot holds a function that a lower level already proved. All
 * memory of a case belongs to the case and ends with the next kc_func. Every case is run in two
 * passes: data flush against an unmapped page, and data at an odd address between guard zones.
 *
 * A new check file: KC_FAMILY_LIST here, and its line in meson.build.
 */
#ifndef WEFT_TESTS_KCHECK_H
#define WEFT_TESTS_KCHECK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "ceiling.h"
#include "kernels/kernels.h"

typedef struct kcheck kcheck;
typedef void kc_check_fn(kcheck *kc, const kernels_cpu *k);

#define KC_FAMILY_LIST(X)         \
    X(pack, check_pack)           \
    X(act, check_act)             \
    X(linear, check_linear)       \
    X(row, check_row)             \
    X(rope, check_rope)           \
    X(kv_store, check_kv_store)   \
    X(attention, check_attention) \
    X(numerics, check_numerics)

#define X(name, function) kc_check_fn function;
KC_FAMILY_LIST(X)
#undef X

#define KC_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* 1, around vector widths and blocks, one large. */
extern const size_t kc_sizes[16];

/* ---- cases ---- */

/* Opens a case for the function in a slot of the table (pass its address). False: skip it. */
bool kc_func(kcheck *kc, const void *slot, const char *fmt, ...) WEFT_PRINTF(3, 4);
/* The same for a case that exists only to be timed: false unless --bench was given, and then
 * kc_func is false everywhere. */
bool kc_bench_func(kcheck *kc, const void *slot, const char *fmt, ...) WEFT_PRINTF(3, 4);
/* The plain C table, which is what others are compared with where bits are promised. */
const kernels_cpu *kc_ref(const kcheck *kc);

/* ---- memory ---- */

typedef enum kc_values {
    KC_UNIFORM,     /* [-1, 1) */
    KC_GAUSS,       /* roughly normal, deviation 1 */
    KC_WIDE,        /* either sign, magnitudes 2^-20 to 2^20 */
    KC_CONSTANT,    /* one value throughout */
    KC_ALTERNATING, /* +a -a +b -b ...: sums cancel */
    KC_OUTLIER,     /* KC_GAUSS with one value in 32 thirty times as large */
    KC_ZERO,
    KC_DENORMAL, /* between 2^-149 and 2^-127 */
    KC_STEPS,    /* one sign throughout: of 256, 32 are 1, 32 are 1/2, 32 are 1/4, others 1/8 */
    KC_VALUES_COUNT
} kc_values;

uint64_t kc_u64(kcheck *kc);               /* seeded by --seed and the case's name */
uint32_t kc_below(kcheck *kc, uint32_t n); /* [0, n) */
float kc_float(kcheck *kc, kc_values kind);
void kc_fill(kcheck *kc, float *x, size_t n, kc_values kind);

/* Inputs: to be filled before KC_CALL, which fails the case if a call changes them. align is what
 * the contract demands of the address; more is not given. */
void *kc_in(kcheck *kc, size_t bytes, size_t align);
float *kc_floats(kcheck *kc, size_t n, kc_values kind);
/* Outputs: every byte must be written by the call and none around it. */
void *kc_out(kcheck *kc, size_t bytes, size_t align);
/* n_rows runs of row_bytes, stride_bytes apart: what lies between is not to be written. */
void *kc_out_rows(kcheck *kc, size_t n_rows, size_t row_bytes, size_t stride_bytes, size_t align);
/* Both: filled before KC_CALL and put back before each run. */
void *kc_inout(kcheck *kc, size_t bytes, size_t align);
/* Plain memory of the case, zeroed. */
void *kc_scratch(kcheck *kc, size_t bytes);

/* ---- calls ---- */

/* Runs the call twice over outputs poisoned with different bytes; the outputs must agree bit for
 * bit, which shows that all was written and that the call repeats. A signal fails the case. */
#define KC_CALL(kc, call)                          \
    while (kc_run_begin(kc)) {                     \
        if (sigsetjmp(*kc_run_jump(kc), 1) == 0) { \
            call;                                  \
        }                                          \
        kc_run_end(kc);                            \
    }

/* Times the call: `work` units an execution, printed as giga-units a second. Only in cases opened
 * by kc_bench_func. With --threads every thread goes through the case with memory of its own. */
#define KC_BENCH(kc, work, unit, call)                              \
    while (kc_bench_begin(kc)) {                                    \
        for (uint64_t kc_n = kc_bench_reps(kc); kc_n > 0; kc_n--) { \
            call;                                                   \
        }                                                           \
        kc_bench_end(kc, (double)(work), unit);                     \
    }

/* Before KC_BENCH: which limit bounds the call, and how much of it an execution needs. Otherwise it
 * is the bytes read from memory for the unit "B", and none for others. */
void kc_bench_limit(kcheck *kc, ceiling_kind limit, double work);
/* The same with CEILING_BYTES; widened: how often sums of 32 columns must leave 16 bits. */
void kc_bench_limit_bytes(kcheck *kc, uint32_t widened, double ops);

bool kc_run_begin(kcheck *kc);
sigjmp_buf *kc_run_jump(kcheck *kc);
void kc_run_end(kcheck *kc);
bool kc_bench_begin(kcheck *kc);
uint64_t kc_bench_reps(const kcheck *kc);
void kc_bench_end(kcheck *kc, double work, const char *unit);

/* ---- verdicts, by kind of operation; each counts nothing once the case has failed ---- */

void kc_bits(kcheck *kc, const void *want, const void *got, size_t bytes);
/* |got - want| <= ulps units in the last place of want (of the smallest normal float at least);
 * infinities must agree, a NaN must be one. */
void kc_ulp(kcheck *kc, const double *want, const float *got, size_t n, double ulps);
/* |got - want| <= c * 2^-24 * terms: sums, where terms is the sum of the magnitudes added. */
void kc_sum(kcheck *kc, const double *want, const double *terms, const float *got, size_t n,
            double c);
/* sum (got - want)^2 <= limit * sum want^2 */
void kc_nmse(kcheck *kc, const double *want, const float *got, size_t n, double limit);
void kc_fail(kcheck *kc, const char *fmt, ...) WEFT_PRINTF(2, 3);

#endif /* WEFT_TESTS_KCHECK_H */
