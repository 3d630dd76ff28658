/* quant_decode_list.c - blocks to float32: two and three bits, ternary, and lists of 16 values.
 *
 * As quant_decode.c: the formulas and their rounding are those of the `gguf` Python package, bit
 * for bit. Block layouts: blocks.h.
 */
#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/quant_blocks.h"

/* What the nibbles of IQ4_NL and IQ4_XS stand for. */
static const float values_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

/* Twice the E2M1 values; minus zero is plus zero, as everywhere else. */
static const float values_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float load_f16(const uint8_t *p) { return quant_f16_to_f32(block_load_u16(p)); }

/* The bytes of elements 16b .. 16b + 15 in 64 bytes of 2-bit codes, and where their bits are. */
static const uint8_t *bytes2(const uint8_t codes[64], size_t b) {
    return codes + 32 * (b / 8) + 16 * (b % 2);
}

static int shift2(size_t b) { return (int)(2 * (b / 2 % 4)); }

/* 32 elements whose nibbles lie as in Q4_0. */
static void decode_nibbles(float *dst, const uint8_t low[16], const float values[16], float d) {
    for (size_t l = 0; l < 16; l++) {
        dst[l] = d * values[low[l] & 15];
        dst[l + 16] = d * values[low[l] >> 4];
    }
}

void quant_decode_q2_k(float *dst, const void *src, size_t n) {
    const block_q2_k *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        const float dmin = load_f16(block->dmin);
        for (size_t b = 0; b < 16; b++) {
            const float scale = d * (float)(block->scales[b] & 15);
            const float min = dmin * (float)(block->scales[b] >> 4);
            const uint8_t *codes = bytes2(block->codes, b);
            for (size_t l = 0; l < 16; l++) {
                dst[i + 16 * b + l] = scale * (float)((codes[l] >> shift2(b)) & 3) - min;
            }
        }
    }
}

void quant_decode_q3_k(float *dst, const void *src, size_t n) {
    const block_q3_k *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t b = 0; b < 16; b++) {
            const int low = (block->scales[b % 8] >> (4 * (b / 8))) & 15;
            const int high = (block->scales[8 + b % 4] >> (2 * (b / 4))) & 3;
            const float scale = d * (float)((low | high << 4) - 32);
            const uint8_t *codes = bytes2(block->codes, b);
            const uint8_t *highs = block->high + 16 * (b % 2);
            for (size_t l = 0; l < 16; l++) {
                const int q = ((codes[l] >> shift2(b)) & 3) | ((highs[l] >> (b / 2)) & 1) << 2;
                dst[i + 16 * b + l] = scale * (float)(q - 4);
            }
        }
    }
}

/* n_digits digits of each of n bytes: digit t of byte l is element n * t + l. */
static float *decode_ternary(float *dst, const uint8_t *bytes, size_t n, size_t n_digits, float d) {
    unsigned power = 1;
    for (size_t t = 0; t < n_digits; t++) {
        for (size_t l = 0; l < n; l++) {
            const unsigned fraction = (bytes[l] * power) & 255u;
            *dst++ = d * (float)((int)((fraction * 3u) >> 8) - 1);
        }
        power *= 3;
    }
    return dst;
}

void quant_decode_tq1_0(float *dst, const void *src, size_t n) {
    const block_tq1_0 *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        float *at = decode_ternary(dst + i, block->five, 32, 5, d);
        at = decode_ternary(at, block->five + 32, 16, 5, d);
        decode_ternary(at, block->four, 4, 4, d);
    }
}

void quant_decode_tq2_0(float *dst, const void *src, size_t n) {
    const block_tq2_0 *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t b = 0; b < 16; b++) {
            const uint8_t *codes = bytes2(block->codes, b);
            for (size_t l = 0; l < 16; l++) {
                dst[i + 16 * b + l] = d * (float)(((codes[l] >> shift2(b)) & 3) - 1);
            }
        }
    }
}

void quant_decode_iq4_nl(float *dst, const void *src, size_t n) {
    const block_iq4_nl *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        decode_nibbles(dst + i, block->low, values_iq4, load_f16(block->d));
    }
}

void quant_decode_iq4_xs(float *dst, const void *src, size_t n) {
    const block_iq4_xs *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        const unsigned highs = block_load_u16(block->scales_high);
        for (size_t b = 0; b < 8; b++) {
            const int low = (block->scales_low[b / 2] >> (4 * (b % 2))) & 15;
            const int high = (int)((highs >> (2 * b)) & 3u);
            const float scale = d * (float)((low | high << 4) - 32);
            decode_nibbles(dst + i + 32 * b, block->low + 16 * b, values_iq4, scale);
        }
    }
}

/* 2^(e - 128); the lowest two are denormal. */
static float half_e8m0(uint8_t e) {
    const uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

void quant_decode_mxfp4(float *dst, const void *src, size_t n) {
    const block_mxfp4 *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        decode_nibbles(dst + i, block->low, values_e2m1, half_e8m0(block->e));
    }
}

/* Half of an E4M3 value; the sign bit is ignored, and 0x7f, which would be NaN, is 0. */
static float half_e4m3(uint8_t e4m3) {
    const uint32_t exponent = (e4m3 >> 3) & 15u;
    const uint32_t mantissa = e4m3 & 7u;
    if (e4m3 == 0x7f) {
        return 0.0f;
    }
    if (exponent == 0) {
        return (float)mantissa * 0x1p-10f;
    }
    const uint32_t bits = (exponent + 119) << 23 | mantissa << 20; /* 127 - 7 - 1 */
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

void quant_decode_nvfp4(float *dst, const void *src, size_t n) {
    const block_nvfp4 *block = src;
    for (size_t i = 0; i < n; i += 64, block++) {
        for (size_t b = 0; b < 4; b++) {
            const float d = half_e4m3(block->d[b]);
            float *to = dst + i + 16 * b;
            for (size_t l = 0; l < 8; l++) {
                const uint8_t both = block->low[8 * b + l];
                to[l] = d * values_e2m1[both & 15];
                to[l + 8] = d * values_e2m1[both >> 4];
            }
        }
    }
}
