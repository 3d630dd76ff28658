/* quant_encode.c - float32 to blocks: the formats of tests and of KV caches.
 *
 * Plain rounding to the grid that the largest magnitude (or the range) of a block spans, with the
 * same bits as the `gguf` Python package. The scale used for rounding is the float32 one; the
 * half-precision scale is what is stored. Values that are not finite give some code, never
 * undefined behaviour: clamp_code takes anything, NaN included.
 */
#include <math.h>

#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/quant_blocks.h"

/* v, cut to whole numbers towards zero, within [0, max]; NaN gives 0. */
static uint8_t clamp_code(float v, uint8_t max) {
    if (!(v > 0.0f)) {
        return 0;
    }
    return v >= (float)max ? max : (uint8_t)v;
}

static float inverse_or_zero(float d) { return d == 0.0f ? 0.0f : 1.0f / d; }

/* The first value of largest magnitude, with its sign. */
static float extreme_of(const float *x) {
    float extreme = x[0];
    float magnitude = fabsf(x[0]);
    for (size_t i = 1; i < 32; i++) {
        if (fabsf(x[i]) > magnitude) {
            magnitude = fabsf(x[i]);
            extreme = x[i];
        }
    }
    return extreme;
}

static void range_of(float *min, float *max, const float *x) {
    *min = x[0];
    *max = x[0];
    for (size_t i = 1; i < 32; i++) {
        *min = x[i] < *min ? x[i] : *min;
        *max = x[i] > *max ? x[i] : *max;
    }
}

static void store_nibbles(uint8_t *low, const uint8_t *codes) {
    for (size_t l = 0; l < 16; l++) {
        low[l] = (uint8_t)((codes[l] & 15) | (codes[l + 16] & 15) << 4);
    }
}

static void store_fifth_bits(uint8_t *high, const uint8_t *codes) {
    uint32_t word = 0;
    for (size_t l = 0; l < 32; l++) {
        word |= (uint32_t)(codes[l] >> 4) << l;
    }
    block_store_u32(high, word);
}

/* codes around a middle: d is what one step is, negative when the extreme is positive, so that
 * the extreme itself is code 0 exactly. */
static float encode_centred(uint8_t *codes, const float *x, int middle) {
    const float d = extreme_of(x) / (float)-middle;
    const float inverse = inverse_or_zero(d);
    for (size_t l = 0; l < 32; l++) {
        codes[l] = clamp_code(x[l] * inverse + ((float)middle + 0.5f), (uint8_t)(2 * middle - 1));
    }
    return d;
}

/* codes from a minimum upward. */
static float encode_ranged(uint8_t *codes, float *min, const float *x, uint8_t max_code) {
    float max;
    range_of(min, &max, x);
    const float d = (max - *min) / (float)max_code;
    const float inverse = inverse_or_zero(d);
    for (size_t l = 0; l < 32; l++) {
        codes[l] = clamp_code((x[l] - *min) * inverse + 0.5f, max_code);
    }
    return d;
}

void quant_encode_f32(void *dst, const float *src, size_t n) {
    memcpy(dst, src, n * sizeof(float));
}

void quant_encode_f16(void *dst, const float *src, size_t n) {
    uint8_t *out = dst;
    for (size_t i = 0; i < n; i++) {
        block_store_u16(out + 2 * i, quant_f32_to_f16(src[i]));
    }
}

void quant_encode_bf16(void *dst, const float *src, size_t n) {
    uint8_t *out = dst;
    for (size_t i = 0; i < n; i++) {
        block_store_u16(out + 2 * i, quant_f32_to_bf16(src[i]));
    }
}

void quant_encode_q4_0(void *dst, const float *src, size_t n) {
    block_q4_0 *block = dst;
    for (size_t i = 0; i < n; i += 32, block++) {
        uint8_t codes[32];
        block_store_u16(block->d, quant_f32_to_f16(encode_centred(codes, src + i, 8)));
        store_nibbles(block->low, codes);
    }
}

void quant_encode_q4_1(void *dst, const float *src, size_t n) {
    block_q4_1 *block = dst;
    for (size_t i = 0; i < n; i += 32, block++) {
        uint8_t codes[32];
        float min;
        block_store_u16(block->d, quant_f32_to_f16(encode_ranged(codes, &min, src + i, 15)));
        block_store_u16(block->m, quant_f32_to_f16(min));
        store_nibbles(block->low, codes);
    }
}

void quant_encode_q5_0(void *dst, const float *src, size_t n) {
    block_q5_0 *block = dst;
    for (size_t i = 0; i < n; i += 32, block++) {
        uint8_t codes[32];
        block_store_u16(block->d, quant_f32_to_f16(encode_centred(codes, src + i, 16)));
        store_nibbles(block->low, codes);
        store_fifth_bits(block->high, codes);
    }
}

void quant_encode_q5_1(void *dst, const float *src, size_t n) {
    block_q5_1 *block = dst;
    for (size_t i = 0; i < n; i += 32, block++) {
        uint8_t codes[32];
        float min;
        block_store_u16(block->d, quant_f32_to_f16(encode_ranged(codes, &min, src + i, 31)));
        block_store_u16(block->m, quant_f32_to_f16(min));
        store_nibbles(block->low, codes);
        store_fifth_bits(block->high, codes);
    }
}

void quant_encode_q8_0(void *dst, const float *src, size_t n) {
    block_q8_0 *block = dst;
    for (size_t i = 0; i < n; i += 32, block++) {
        const float d = fabsf(extreme_of(src + i)) / 127.0f;
        const float inverse = inverse_or_zero(d);
        block_store_u16(block->d, quant_f32_to_f16(d));
        for (size_t l = 0; l < 32; l++) {
            const int code = clamp_code(roundf(fabsf(src[i + l] * inverse)), 127);
            block->codes[l] = (int8_t)(src[i + l] < 0.0f ? -code : code);
        }
    }
}
