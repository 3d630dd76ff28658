/* act_ref.c - a row of float32 into the form that products read (layout/act.h).
 *
 * The largest magnitude is found by comparing bits, which orders all magnitudes, infinities and
 * NaN alike; a block that is not finite is then marked by a NaN scale. Rounding is lrintf's: to
 * nearest, ties to even, as the vector conversions do.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "tensor/quant.h"

static uint32_t magnitude_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits & 0x7fffffffu;
}

/* Scale of a block and, in *inverse, what values are multiplied by to become codes. */
static float block_scale(float *inverse, const float *x, size_t len, float max_code) {
    uint32_t max_bits = 0;
    for (size_t l = 0; l < len; l++) {
        const uint32_t bits = magnitude_bits(x[l]);
        max_bits = bits > max_bits ? bits : max_bits;
    }
    *inverse = 0.0f;
    if (max_bits >= 0x7f800000u) {
        return NAN;
    }
    float max;
    memcpy(&max, &max_bits, sizeof(max));
    if (max < ACT_TINY) {
        return 0.0f;
    }
    *inverse = max_code / max;
    return max / max_code;
}

/* inverse 0 means that x may hold anything. */
static int code_of(float x, float inverse) {
    return inverse == 0.0f ? 0 : (int)lrintf(x * inverse);
}

void act_quantize_f32_ref(void *act, const float *x, size_t k) {
    memcpy(act, x, k * sizeof(float));
}

void act_quantize_bf16_ref(void *act, const float *x, size_t k) {
    uint16_t *to = act;
    for (size_t i = 0; i < k; i++) {
        const uint16_t rounded = quant_f32_to_bf16(x[i]);
        to[i] = (rounded & 0x7f80u) == 0x7f80u ? ACT_BF16_NAN : rounded;
        to[i] = fabsf(x[i]) < ACT_TINY ? 0 : to[i];
    }
}

void act_quantize_q8_ref(void *act, const float *x, size_t k) {
    act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        float inverse;
        int sums[2][2] = {{0, 0}, {0, 0}};
        block->scale = block_scale(&inverse, x + i, ACT_BLOCK_LEN, 127.0f);
        for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
            const int code = code_of(x[i + l], inverse);
            block->codes[l] = (int8_t)code;
            sums[l / 16][l % 4 / 2] += code;
        }
        const int sum = sums[0][0] + sums[0][1] + sums[1][0] + sums[1][1];
        block->sum = block->scale * (float)sum;
        for (size_t h = 0; h < 2; h++) {
            block->neg_sums[h][0] = (int16_t)-sums[h][0];
            block->neg_sums[h][1] = (int16_t)-sums[h][1];
        }
        block->neg_totals[0] = -(sums[0][0] + sums[0][1]);
        block->neg_totals[1] = -sum;
    }
}

void act_residual_q8_ref(float *r, const float *x, const void *act, size_t k) {
    const act_block_q8 *block = act;
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
            r[i + l] = x[i + l] - block->scale * (float)block->codes[l];
        }
    }
}

/* A sum, of 16 bits and a sign, as the multiple of 256 nearest to it and the rest, twice. */
static void put_sum(uint16_t sums[4], int sum) {
    const int high = (sum + 65536 + 128) / 256 * 256 - 65536;
    sums[0] = sums[2] = quant_f32_to_bf16((float)high);
    sums[1] = sums[3] = quant_f32_to_bf16((float)(sum - high));
}

void act_quantize_q12_ref(void *act, const float *x, size_t k) {
    act_block_q12 *block = act;
    for (size_t i = 0; i < k; i += ACT_LONG_LEN, block++) {
        const size_t len = k - i < ACT_LONG_LEN ? k - i : ACT_LONG_LEN;
        float inverse;
        memset(block, 0, sizeof(*block));
        block->scale = block_scale(&inverse, x + i, len, 2039.0f);
        for (size_t l = 0; l < len; l++) {
            const int code = code_of(x[i + l], inverse), a = (code + 8) >> 4, b = code - 16 * a;
            const size_t block32 = l / 32, at = l / 16 % 2 * 32 + l % 16;
            block->codes[block32][at] = (int8_t)a;
            block->codes[block32][at + 16] = (int8_t)b;
            block->neg_sums[block32][0] = (int16_t)(block->neg_sums[block32][0] - a);
            block->neg_sums[block32][1] = (int16_t)(block->neg_sums[block32][1] - b);
        }
        for (size_t b = 0; b < 8; b++) {
            put_sum(block->sums[b], -(16 * block->neg_sums[b][0] + block->neg_sums[b][1]));
        }
    }
}

void act_quantize_q8_256_ref(void *act, const float *x, size_t k) {
    act_block_q8_256 *block = act;
    for (size_t i = 0; i < k; i += ACT_LONG_LEN, block++) {
        float inverse;
        memset(block, 0, sizeof(*block));
        block->scale = block_scale(&inverse, x + i, ACT_LONG_LEN, 127.0f);
        for (size_t l = 0; l < ACT_LONG_LEN; l++) {
            const int code = code_of(x[i + l], inverse);
            block->codes[l] = (int8_t)code;
            block->sums16[l / 16] = (int16_t)(block->sums16[l / 16] + code);
            block->sums32[l / 32] = (int16_t)(block->sums32[l / 32] + code);
        }
    }
}

void act_residual_q8_256_ref(float *r, const float *x, const void *act, size_t k) {
    const act_block_q8_256 *block = act;
    for (size_t i = 0; i < k; i++) {
        const act_block_q8_256 *b = block + i / ACT_LONG_LEN;
        r[i] = x[i] - b->scale * (float)b->codes[i % ACT_LONG_LEN];
    }
}

/* How often the scale of 256 values can be halved for 32 of them, whose largest is max. */
static int steps_of(float max, float max256) {
    int n = 0;
    while (n < ACT_STEP_MAX && max * (float)(2 << n) <= max256) {
        n++;
    }
    return n;
}

static float largest_of(const float *x, size_t len) {
    float largest = 0.0f;
    for (size_t l = 0; l < len; l++) {
        largest = fmaxf(largest, fabsf(x[l]));
    }
    return largest;
}

/* Fills a step, and the sums of its halves. */
static void put_step(act_step *step, int16_t sums16[2], const float *x, float inverse, int n) {
    int sums[2] = {0, 0};
    for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
        const int code = code_of(x[l], inverse * (float)(1 << n));
        step->codes[l] = (int8_t)code;
        sums[l / 16] += code;
    }
    int32_t base;
    step->base = ACT_STEP_BASE / (float)(1 << n);
    memcpy(&base, &step->base, sizeof(base));
    for (size_t h = 0; h < 2; h++) {
        step->starts[h] = base - 128 * sums[h];
        sums16[h] = (int16_t)(sums[h] * (8 >> n));
    }
    step->starts[ACT_STEP_ALL] = base - 128 * (sums[0] + sums[1]);
}

void act_quantize_steps_ref(void *act, const float *x, size_t k) {
    act_block_steps *block = act;
    for (size_t i = 0; i < k; i += ACT_LONG_LEN, block++) {
        float inverse;
        memset(block->unused, 0, sizeof(block->unused));
        block->scale = block_scale(&inverse, x + i, ACT_LONG_LEN, 127.0f);
        const float max256 = inverse != 0.0f ? largest_of(x + i, ACT_LONG_LEN) : 0.0f;
        for (size_t b = 0; b < 8; b++) {
            const float *from = x + i + b * ACT_BLOCK_LEN;
            const float max = inverse != 0.0f ? largest_of(from, ACT_BLOCK_LEN) : 0.0f;
            put_step(&block->steps[b], block->sums16 + 2 * b, from, inverse, steps_of(max, max256));
            block->sums32[b] = (int16_t)(block->sums16[2 * b] + block->sums16[2 * b + 1]);
        }
    }
}

void act_residual_steps_ref(float *r, const float *x, const void *act, size_t k) {
    const act_block_steps *block = act;
    for (size_t i = 0; i < k; i++) {
        const act_block_steps *b = block + i / ACT_LONG_LEN;
        const act_step *step = &b->steps[i % ACT_LONG_LEN / ACT_BLOCK_LEN];
        const float scale = b->scale * act_step_factor(step);
        r[i] = x[i] - scale * (float)step->codes[i % ACT_BLOCK_LEN];
    }
}

static void quantize_words(act_block_q16 *block, const float *x, size_t k, float max_code) {
    for (size_t i = 0; i < k; i += ACT_BLOCK_LEN, block++) {
        float inverse;
        block->scale = block_scale(&inverse, x + i, ACT_BLOCK_LEN, max_code);
        for (size_t l = 0; l < ACT_BLOCK_LEN; l++) {
            block->codes[l] = (int16_t)code_of(x[i + l], inverse);
        }
    }
}

void act_quantize_q16_ref(void *act, const float *x, size_t k) {
    quantize_words(act, x, k, 32767.0f);
}

void act_quantize_q9_ref(void *act, const float *x, size_t k) { quantize_words(act, x, k, 255.0f); }
