/* check_act.c - activations: the bits of plain C, and in plain C what layout/act.h promises.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kcheck.h"
#include "tensor/quant.h"

typedef enum special {
    SPECIAL_NONE,
    SPECIAL_INF,
    SPECIAL_NAN,
    SPECIAL_TINY,
    SPECIAL_COUNT
} special;

/* |x - code * scale| is at most half a step, and a little for two roundings. */
static void look_at_code(kcheck *kc, float x, int code, float scale, int max_code, size_t i) {
    const double error = fabs((double)x - (double)code * (double)scale);
    if (code > max_code || code < -max_code || error > (double)scale * (0.5 + max_code * 0x1p-22)) {
        kc_fail(kc, "value %zu: %g became %d * %g", i, (double)x, code, (double)scale);
    }
}

static void look_at_q8(kcheck *kc, const act_block_q8 *b, const float *x) {
    int sums[2][2] = {{0, 0}, {0, 0}};
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        look_at_code(kc, x[l], b->codes[l], b->scale, 127, l);
        sums[l / 16][l % 4 / 2] += b->codes[l];
    }
    int sum = 0;
    for (size_t h = 0; h < 4; h++) {
        sum += sums[h / 2][h % 2];
        if (b->neg_sums[h / 2][h % 2] != -sums[h / 2][h % 2]) {
            kc_fail(kc, "neg_sums[%zu] is not the sum", h);
        }
        if (h % 2 == 1 && b->neg_totals[h / 2] != -sum) {
            kc_fail(kc, "neg_totals[%zu] is not the sum", h / 2);
        }
    }
    if (b->sum != b->scale * (float)sum) {
        kc_fail(kc, "sum %g is not scale %g times %d", (double)b->sum, (double)b->scale, sum);
    }
}

static void look_at_words(kcheck *kc, const act_block_q16 *b, const float *x, int max_code) {
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        look_at_code(kc, x[l], b->codes[l], b->scale, max_code, l);
    }
}

static void look_at_q8_256(kcheck *kc, const act_block_q8_256 *b, const float *x) {
    int sums[16] = {0};
    for (size_t l = 0; l < ACT_LONG_LEN; l++) {
        look_at_code(kc, x[l], b->codes[l], b->scale, 127, l);
        sums[l / 16] += b->codes[l];
    }
    for (size_t h = 0; h < 16; h++) {
        if (b->sums16[h] != sums[h] || b->sums32[h / 2] != sums[h & ~1u] + sums[h | 1u]) {
            kc_fail(kc, "sums16[%zu] or sums32[%zu] is not the sum", h, h / 2);
        }
    }
}

static float largest_of(const float *x, size_t n) {
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(x[i]));
    }
    return largest;
}

/* base and starts of a step whose codes have these sums, and how often it halves the scale. */
static int look_at_step(kcheck *kc, const act_step *step, const int sums[2], size_t b) {
    int32_t base, n = 0;
    memcpy(&base, &step->base, sizeof(base));
    while (n < 3 && step->base != ldexpf(1.5f, 23 - n)) {
        n++;
    }
    if (step->base != ldexpf(1.5f, 23 - n) || step->starts[0] != base - 128 * sums[0] ||
        step->starts[1] != base - 128 * sums[1] ||
        step->starts[2] != base - 128 * (sums[0] + sums[1])) {
        kc_fail(kc, "step %zu: base %g, starts %d %d %d, sums %d %d", b, (double)step->base,
                step->starts[0], step->starts[1], step->starts[2], sums[0], sums[1]);
    }
    return n;
}

/* Each step is the smallest that holds its values. */
static void look_at_steps(kcheck *kc, const act_block_steps *block, const float *x) {
    const float largest = largest_of(x, ACT_LONG_LEN);
    for (size_t b = 0; b < 8; b++) {
        const act_step *step = &block->steps[b];
        const float *from = x + b * ACT_BLOCK_LEN, max = largest_of(from, ACT_BLOCK_LEN);
        int sums[2] = {0, 0};
        for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
            sums[l / 16] += step->codes[l];
        }
        const int n = look_at_step(kc, step, sums, b);
        for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
            look_at_code(kc, from[l], step->codes[l], ldexpf(block->scale, -n), 127, l);
        }
        if (ldexpf(max, n) > largest || (n < 3 && ldexpf(max, n + 1) <= largest)) {
            kc_fail(kc, "step %zu: %g of %g is halved %d times", b, (double)max, (double)largest,
                    n);
        }
        if (block->sums16[2 * b] != sums[0] * (8 >> n) ||
            block->sums16[2 * b + 1] != sums[1] * (8 >> n) ||
            block->sums32[b] != (sums[0] + sums[1]) * (8 >> n)) {
            kc_fail(kc, "sums16[%zu] or sums32[%zu] is not the sum", 2 * b, b);
        }
    }
}

/* A block of len values, then zeros. */
static void look_at_q12(kcheck *kc, const act_block_q12 *block, const float *x, size_t len) {
    for (size_t b = 0; b < 8; b++) {
        int sums[2] = {0, 0};
        for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
            const int8_t *code = &block->codes[b][l / 16 * 32 + l % 16];
            const size_t at = b * ACT_BLOCK_LEN + l;
            look_at_code(kc, at < len ? x[at] : 0.0f, 16 * code[0] + code[16], block->scale, 2039,
                         at);
            sums[0] += code[0];
            sums[1] += code[16];
        }
        const uint16_t *pieces = block->sums[b];
        const float high = quant_bf16_to_f32(pieces[0]), low = quant_bf16_to_f32(pieces[1]);
        if (block->neg_sums[b][0] != -sums[0] || block->neg_sums[b][1] != -sums[1] ||
            high + low != (float)(16 * sums[0] + sums[1]) || fabsf(low) > 128.0f ||
            pieces[2] != pieces[0] || pieces[3] != pieces[1]) {
            kc_fail(kc, "neg_sums[%zu] or sums[%zu] is not the sum", b, b);
        }
    }
}

static void look_at_bf16(kcheck *kc, const uint16_t *got, const float *x) {
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        const double error = fabs((double)quant_bf16_to_f32(got[l]) - (double)x[l]);
        if (error > fabs((double)x[l]) * 0x1p-8) {
            kc_fail(kc, "value %zu: %g became %04x", l, (double)x[l], got[l]);
        }
    }
}

/* The pieces add up to the value, each far smaller than the one before. */
static void look_at_split(kcheck *kc, const act_block_split *b, const float *x) {
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        const double p0 = (double)quant_bf16_to_f32(b->piece[0][l]);
        const double p1 = (double)quant_bf16_to_f32(b->piece[1][l]);
        const double p2 = (double)quant_bf16_to_f32(b->piece[2][l]);
        if (!isfinite(x[l])) {
            if (!isnan(p0 + p1 + p2)) {
                kc_fail(kc, "value %zu: pieces of %g add up to %g, not NaN", l, (double)x[l],
                        p0 + p1 + p2);
            }
        } else if (!(fabs(p0 + p1 + p2 - (double)x[l]) <= (double)FLT_MIN)) {
            kc_fail(kc, "value %zu: pieces of %g add up to %g", l, (double)x[l], p0 + p1 + p2);
        } else if (fabs(p1) > fabs(p0) * 0x1p-8 || fabs(p2) > fabs(p1) * 0x1p-8) {
            kc_fail(kc, "value %zu: pieces %g %g %g overlap", l, p0, p1, p2);
        }
    }
}

/* The value that is not finite is NaN, those that are tiny 0. */
static void look_at_special_bf16(kcheck *kc, special what, const uint16_t *block) {
    for (size_t l = 0; what == SPECIAL_TINY && l < ACT_BLOCK_LEN; l++) {
        if (block[l] != 0) {
            kc_fail(kc, "value %zu is %04x, not 0", l, block[l]);
        }
    }
    if (what != SPECIAL_TINY && block[ACT_BLOCK_LEN - 5] != ACT_BF16_NAN) {
        kc_fail(kc, "%04x is not NaN", block[ACT_BLOCK_LEN - 5]);
    }
}

/* The last block of steps: only zero codes, and of their scale a NaN or 0. */
static void look_at_special_steps(kcheck *kc, special what, const act_block_steps *block) {
    static const int zeros[16] = {0};
    for (size_t b = 0; b < 8; b++) {
        kc_bits(kc, zeros, block->steps[b].codes, ACT_BLOCK_LEN);
        look_at_step(kc, &block->steps[b], zeros, b);
    }
    kc_bits(kc, zeros, block->sums16, sizeof(block->sums16));
    kc_bits(kc, zeros, block->sums32, sizeof(block->sums32));
    if (what == SPECIAL_TINY ? block->scale != 0.0f : !isnan(block->scale)) {
        kc_fail(kc, "the scale is %g", (double)block->scale);
    }
}

/* The last block: NaN scale where a value is not finite, all zero where all are tiny. */
static void look_at_special(kcheck *kc, special what, act_form form, const void *block) {
    static const size_t scale_at[ACT_FORM_COUNT] = {
        [ACT_Q8] = offsetof(act_block_q8, scale),
        [ACT_Q16] = offsetof(act_block_q16, scale),
        [ACT_Q8_256] = offsetof(act_block_q8_256, scale),
        [ACT_Q12] = offsetof(act_block_q12, scale),
        [ACT_Q9] = offsetof(act_block_q16, scale),
    };
    const size_t bytes = act_block_bytes(form), codes_bytes = scale_at[form];
    static const uint8_t zeros[sizeof(act_block_q12)] = {0};
    float scale;
    memcpy(&scale, (const uint8_t *)block + codes_bytes, sizeof(scale));
    kc_bits(kc, zeros, block, codes_bytes);
    if (what == SPECIAL_TINY) {
        kc_bits(kc, zeros, block, bytes);
    } else if (!isnan(scale)) {
        kc_fail(kc, "the scale is %g, not NaN", (double)scale);
    }
}

static void check_one(kcheck *kc, const kernels_cpu *k, act_form form, size_t n_blocks,
                      kc_values kind, special what) {
    const size_t block_len = act_block_len(form), block_bytes = act_block_bytes(form);
    /* The last block of ACT_Q12 may be shorter. */
    const size_t cut = form == ACT_Q12 && n_blocks % 2 == 0 ? 5 * ACT_BLOCK_LEN : 0;
    const size_t n = n_blocks * block_len - cut, bytes = n_blocks * block_bytes;
    if (!kc_func(kc, &k->act_quantize[form], "act_quantize_%d_n%zu_%d_%d", form, n, kind, what)) {
        return;
    }
    float *x = kc_floats(kc, n, kind);
    uint8_t *got = kc_out(kc, bytes, 4), *want = kc_scratch(kc, bytes);
    for (size_t l = 0; what == SPECIAL_TINY && l < block_len - cut; l++) {
        x[n - 1 - l] = 1e-42f * (float)l;
    }
    if (what == SPECIAL_INF || what == SPECIAL_NAN) {
        x[n - 5] = what == SPECIAL_INF ? -INFINITY : NAN;
    }
    KC_CALL(kc, k->act_quantize[form](got, x, n));
    kc_ref(kc)->act_quantize[form](want, x, n);
    kc_bits(kc, want, got, bytes);
    const size_t n_plain = what == SPECIAL_NONE && kind != KC_DENORMAL ? n_blocks : n_blocks - 1;
    for (size_t b = 0; b < n_blocks && form == ACT_SPLIT; b++) {
        look_at_split(kc, (const act_block_split *)got + b, x + b * ACT_BLOCK_LEN);
    }
    for (size_t b = 0; b < n_plain && kind != KC_DENORMAL; b++) {
        if (form == ACT_Q8) {
            look_at_q8(kc, (const act_block_q8 *)got + b, x + b * ACT_BLOCK_LEN);
        } else if (form == ACT_Q16 || form == ACT_Q9) {
            look_at_words(kc, (const act_block_q16 *)got + b, x + b * ACT_BLOCK_LEN,
                          form == ACT_Q9 ? 255 : 32767);
        } else if (form == ACT_Q8_256) {
            look_at_q8_256(kc, (const act_block_q8_256 *)got + b, x + b * ACT_LONG_LEN);
        } else if (form == ACT_STEPS) {
            look_at_steps(kc, (const act_block_steps *)got + b, x + b * ACT_LONG_LEN);
        } else if (form == ACT_Q12) {
            const size_t at = b * ACT_LONG_LEN, len = n - at < ACT_LONG_LEN ? n - at : ACT_LONG_LEN;
            look_at_q12(kc, (const act_block_q12 *)got + b, x + at, len);
        } else if (form == ACT_BF16) {
            look_at_bf16(kc, (const uint16_t *)got + b * ACT_BLOCK_LEN, x + b * ACT_BLOCK_LEN);
        }
    }
    if (what != SPECIAL_NONE && form == ACT_BF16) {
        look_at_special_bf16(kc, what, (const uint16_t *)(got + bytes - block_bytes));
    } else if (what != SPECIAL_NONE && form == ACT_STEPS) {
        look_at_special_steps(kc, what, (const act_block_steps *)(got + bytes - block_bytes));
    } else if (what != SPECIAL_NONE && form != ACT_F32 && form != ACT_SPLIT) {
        look_at_special(kc, what, form, got + bytes - block_bytes);
    }
}

/* 32 values of which the largest is at the limit of a step, or one beyond it. */
typedef struct step_limit {
    int halvings; /* the limit: the largest of 256 halved so often */
    bool is_beyond;
    int steps; /* what layout/act.h promises */
} step_limit;

static const step_limit step_limits[8] = {{0, false, 0}, {1, false, 1}, {1, true, 0},
                                          {2, false, 2}, {2, true, 1},  {3, false, 3},
                                          {3, true, 2},  {4, false, 3}};

static void fill_limit(kcheck *kc, float *x, step_limit limit, float largest) {
    const float at = ldexpf(largest, -limit.halvings);
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        x[l] = kc_float(kc, KC_UNIFORM) * at;
    }
    const float value = limit.is_beyond ? nextafterf(at, INFINITY) : at;
    x[kc_below(kc, ACT_BLOCK_LEN)] = kc_below(kc, 2) == 0 ? value : -value;
}

/* Each limit in each of eight places. Among the largest values are the last float, so that doubling
 * what is beyond a limit overflows, and the smallest that has codes. */
static void check_limits(kcheck *kc, const kernels_cpu *k, float largest) {
    if (!kc_func(kc, &k->act_quantize[ACT_STEPS], "act_quantize_%d_limits_%a", ACT_STEPS,
                 (double)largest)) {
        return;
    }
    enum { PLACES = KC_LEN(step_limits), COLS = PLACES * ACT_LONG_LEN };
    float *x = kc_floats(kc, COLS, KC_ZERO);
    act_block_steps *got = kc_out(kc, PLACES * sizeof(*got), 4);
    act_block_steps *want = kc_scratch(kc, PLACES * sizeof(*want));
    for (size_t i = 0; i < COLS / ACT_BLOCK_LEN; i++) {
        const size_t block = i / PLACES;
        fill_limit(kc, x + i * ACT_BLOCK_LEN, step_limits[(i + block) % PLACES], largest);
    }
    KC_CALL(kc, k->act_quantize[ACT_STEPS](got, x, COLS));
    kc_ref(kc)->act_quantize[ACT_STEPS](want, x, COLS);
    kc_bits(kc, want, got, PLACES * sizeof(*got));
    for (size_t i = 0; i < COLS / ACT_BLOCK_LEN; i++) {
        const size_t block = i / PLACES;
        const step_limit *limit = &step_limits[(i + block) % PLACES];
        const float base = got[block].steps[i % PLACES].base;
        if (base != ldexpf(1.5f, 23 - limit->steps)) {
            kc_fail(kc, "step %zu: base %g, %g halved %d times%s", i, (double)base, (double)largest,
                    limit->halvings, limit->is_beyond ? " and a bit" : "");
        }
    }
    for (size_t block = 0; block < PLACES; block++) {
        look_at_steps(kc, &got[block], x + block * ACT_LONG_LEN);
    }
}

/* A row that ends inside a block: what is beyond it is zeros. */
static void check_split_end(kcheck *kc, const kernels_cpu *k, size_t n) {
    if (!kc_func(kc, &k->act_quantize[ACT_SPLIT], "act_quantize_%d_n%zu", ACT_SPLIT, n)) {
        return;
    }
    const size_t bytes = (n + ACT_BLOCK_LEN - 1) / ACT_BLOCK_LEN * sizeof(act_block_split);
    const float *x = kc_floats(kc, n, KC_GAUSS);
    uint8_t *got = kc_out(kc, bytes, 4), *want = kc_scratch(kc, bytes);
    KC_CALL(kc, k->act_quantize[ACT_SPLIT](got, x, n));
    kc_ref(kc)->act_quantize[ACT_SPLIT](want, x, n);
    kc_bits(kc, want, got, bytes);
    const act_block_split *last = (const act_block_split *)(got + bytes) - 1;
    for (size_t l = n % ACT_BLOCK_LEN; l < ACT_BLOCK_LEN; l++) {
        if ((last->piece[0][l] | last->piece[1][l] | last->piece[2][l]) != 0) {
            kc_fail(kc, "value %zu of the last block is beyond the row and not zero", l);
        }
    }
}

static float block_scale(act_form form, const uint8_t *act, size_t i) {
    if (form == ACT_STEPS) {
        const act_block_steps *block = (const act_block_steps *)act + i / ACT_LONG_LEN;
        return block->scale * act_step_factor(&block->steps[i % ACT_LONG_LEN / ACT_BLOCK_LEN]);
    }
    return form == ACT_Q8 ? ((const act_block_q8 *)act)[i / ACT_BLOCK_LEN].scale
                          : ((const act_block_q8_256 *)act)[i / ACT_LONG_LEN].scale;
}

/* The residual is what plain C computes, and no more than half a step of each value. */
static void check_residual(kcheck *kc, const kernels_cpu *k, act_form form, size_t n_blocks,
                           kc_values kind) {
    const size_t n = n_blocks * act_block_len(form);
    if (!kc_func(kc, &k->act_residual[form], "act_residual_%d_n%zu_%d", form, n, kind)) {
        return;
    }
    const float *x = kc_floats(kc, n, kind);
    float *got = kc_out(kc, n * sizeof(float), 4), *want = kc_scratch(kc, n * sizeof(float));
    uint8_t *act = kc_scratch(kc, n_blocks * act_block_bytes(form));
    kc_ref(kc)->act_quantize[form](act, x, n);
    KC_CALL(kc, k->act_residual[form](got, x, act, n));
    kc_ref(kc)->act_residual[form](want, x, act, n);
    kc_bits(kc, want, got, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        const double step = block_scale(form, act, i);
        if (step > 0 && fabs(got[i]) > step * 0.50001) {
            kc_fail(kc, "value %zu: %g is left of a step of %g", i, (double)got[i], step);
        }
    }
}

/* Rows in bf16 may be of any length. Among the values are the first and the last of those that
 * become 0 or NaN, and of those that do not. */
static void check_short(kcheck *kc, const kernels_cpu *k, size_t n) {
    if (!kc_func(kc, &k->act_quantize[ACT_BF16], "act_quantize_%d_n%zu", ACT_BF16, n)) {
        return;
    }
    static const float edges[] = {0x1.fefffep127f, -0x1.ffp127f, ACT_TINY, -0x1.fffffep-101f};
    float *x = kc_floats(kc, n, KC_WIDE);
    for (size_t i = 0; i < n; i += 3) {
        x[i] = edges[i / 3 % KC_LEN(edges)];
    }
    uint16_t *got = kc_out(kc, n * sizeof(uint16_t), 2);
    uint16_t *want = kc_scratch(kc, n * sizeof(uint16_t));
    KC_CALL(kc, k->act_quantize[ACT_BF16](got, x, n));
    kc_ref(kc)->act_quantize[ACT_BF16](want, x, n);
    kc_bits(kc, want, got, n * sizeof(uint16_t));
}

void check_act(kcheck *kc, const kernels_cpu *k) {
    static const size_t blocks[] = {1, 2, 18, 64}, ends[] = {1, 15, 16, 17, 31, 33, 49, 300};
    static const float limits[] = {1.0f, 0x1.fffffep0f, 0x1.5a827ap3f, ACT_TINY, FLT_MAX};
    for (size_t i = 0; i < KC_LEN(kc_sizes); i++) {
        check_short(kc, k, kc_sizes[i]);
    }
    for (size_t i = 0; i < KC_LEN(ends); i++) {
        check_split_end(kc, k, ends[i]);
    }
    for (size_t i = 0; i < KC_LEN(limits); i++) {
        check_limits(kc, k, limits[i]);
    }
    for (int kind = 0; kind < KC_VALUES_COUNT; kind++) {
        for (size_t i = 0; i < KC_LEN(blocks); i++) {
            check_residual(kc, k, ACT_Q8, blocks[i], (kc_values)kind);
            check_residual(kc, k, ACT_Q8_256, blocks[i], (kc_values)kind);
            check_residual(kc, k, ACT_STEPS, blocks[i], (kc_values)kind);
        }
    }
    for (int form = 0; form < ACT_FORM_COUNT; form++) {
        for (int kind = 0; kind < KC_VALUES_COUNT; kind++) {
            for (size_t i = 0; i < KC_LEN(blocks) * SPECIAL_COUNT; i++) {
                check_one(kc, k, (act_form)form, blocks[i / SPECIAL_COUNT], (kc_values)kind,
                          (special)(i % SPECIAL_COUNT));
            }
        }
        if (kc_bench_func(kc, &k->act_quantize[form], "act_quantize_%d", form)) {
            const float *x = kc_floats(kc, 2048, KC_GAUSS);
            uint8_t *out = kc_out(kc, act_row_bytes((act_form)form, 2048), 64);
            KC_BENCH(kc, 2048 * sizeof(float), "B", k->act_quantize[form](out, x, 2048));
        }
        if (kc_bench_func(kc, &k->act_residual[form], "act_residual_%d", form)) {
            const float *x = kc_floats(kc, 2048, KC_GAUSS);
            uint8_t *act = kc_in(kc, act_row_bytes((act_form)form, 2048), 64);
            float *r = kc_out(kc, 2048 * sizeof(float), 4);
            kc_ref(kc)->act_quantize[form](act, x, 2048);
            KC_BENCH(kc, 2048 * 2 * sizeof(float) + act_row_bytes((act_form)form, 2048), "B",
                     k->act_residual[form](r, x, act, 2048));
        }
    }
}
