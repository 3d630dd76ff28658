/* quant_decode.c - blocks to float32, one short loop a format.
 *
 * The formulas and their rounding are those of the `gguf` Python package, bit for bit: one
 * rounding for each multiplication and subtraction that is written here, never fused. K-quants
 * first form scale = d * sc and min = dmin * mn, then scale * q - min. Block layouts: blocks.h.
 */
#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/quant_blocks.h"

static float load_f16(const uint8_t *p) { return quant_f16_to_f32(block_load_u16(p)); }

void quant_decode_f32(float *dst, const void *src, size_t n) {
    memcpy(dst, src, n * sizeof(float));
}

void quant_decode_f16(float *dst, const void *src, size_t n) {
    const uint8_t *in = src;
    for (size_t i = 0; i < n; i++) {
        dst[i] = load_f16(in + 2 * i);
    }
}

void quant_decode_bf16(float *dst, const void *src, size_t n) {
    const uint8_t *in = src;
    for (size_t i = 0; i < n; i++) {
        dst[i] = quant_bf16_to_f32(block_load_u16(in + 2 * i));
    }
}

void quant_decode_q4_0(float *dst, const void *src, size_t n) {
    const block_q4_0 *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        const float d = load_f16(block->d);
        for (size_t l = 0; l < 16; l++) {
            dst[i + l] = d * (float)((block->low[l] & 15) - 8);
            dst[i + l + 16] = d * (float)((block->low[l] >> 4) - 8);
        }
    }
}

void quant_decode_q4_1(float *dst, const void *src, size_t n) {
    const block_q4_1 *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        const float d = load_f16(block->d);
        const float m = load_f16(block->m);
        for (size_t l = 0; l < 16; l++) {
            dst[i + l] = d * (float)(block->low[l] & 15) + m;
            dst[i + l + 16] = d * (float)(block->low[l] >> 4) + m;
        }
    }
}

/* Element l (0..31) of a block of 32 five-bit codes. */
static int code5(const uint8_t *low, uint32_t high, size_t l) {
    const int nibble = l < 16 ? low[l] & 15 : low[l - 16] >> 4;
    return nibble | (int)((high >> l) & 1u) << 4;
}

void quant_decode_q5_0(float *dst, const void *src, size_t n) {
    const block_q5_0 *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        const float d = load_f16(block->d);
        const uint32_t high = block_load_u32(block->high);
        for (size_t l = 0; l < 32; l++) {
            dst[i + l] = d * (float)(code5(block->low, high, l) - 16);
        }
    }
}

void quant_decode_q5_1(float *dst, const void *src, size_t n) {
    const block_q5_1 *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        const float d = load_f16(block->d);
        const float m = load_f16(block->m);
        const uint32_t high = block_load_u32(block->high);
        for (size_t l = 0; l < 32; l++) {
            dst[i + l] = d * (float)code5(block->low, high, l) + m;
        }
    }
}

void quant_decode_q8_0(float *dst, const void *src, size_t n) {
    const block_q8_0 *block = src;
    for (size_t i = 0; i < n; i += 32, block++) {
        const float d = load_f16(block->d);
        for (size_t l = 0; l < 32; l++) {
            dst[i + l] = (float)block->codes[l] * d;
        }
    }
}

void quant_decode_f8_e4m3(float *dst, const void *src, size_t n) {
    const block_f8_e4m3 *block = src;
    for (size_t i = 0; i < n; i += 128, block++) {
        float scale;
        memcpy(&scale, block->scale, sizeof(scale));
        for (size_t l = 0; l < 128; l++) {
            dst[i + l] = quant_f8_e4m3_to_f32(block->codes[l]) * scale;
        }
    }
}

void quant_decode_q4_k(float *dst, const void *src, size_t n) {
    const block_q4_k *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        const float dmin = load_f16(block->dmin);
        for (unsigned b = 0; b < 8; b++) {
            const float scale = d * (float)block_scale6(block->scales, b);
            const float min = dmin * (float)block_min6(block->scales, b);
            const uint8_t *low = block->low + 32 * (b / 2);
            for (size_t l = 0; l < 32; l++) {
                const int q = (low[l] >> (4 * (b % 2))) & 15;
                dst[i + 32 * b + l] = scale * (float)q - min;
            }
        }
    }
}

void quant_decode_q5_k(float *dst, const void *src, size_t n) {
    const block_q5_k *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        const float dmin = load_f16(block->dmin);
        for (unsigned b = 0; b < 8; b++) {
            const float scale = d * (float)block_scale6(block->scales, b);
            const float min = dmin * (float)block_min6(block->scales, b);
            const uint8_t *low = block->low + 32 * (b / 2);
            for (size_t l = 0; l < 32; l++) {
                const int nibble = (low[l] >> (4 * (b % 2))) & 15;
                const int q = nibble | ((block->high[l] >> b) & 1) << 4;
                dst[i + 32 * b + l] = scale * (float)q - min;
            }
        }
    }
}

void quant_decode_q6_k(float *dst, const void *src, size_t n) {
    const block_q6_k *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (unsigned b = 0; b < 8; b++) {
            const unsigned t = b % 4;
            const uint8_t *low = block->low + 64 * (b / 4) + 32 * (t % 2);
            const uint8_t *high = block->high + 32 * (b / 4);
            for (size_t l = 0; l < 32; l++) {
                const int nibble = (low[l] >> (4 * (t / 2))) & 15;
                const int q = (nibble | ((high[l] >> (2 * t)) & 3) << 4) - 32;
                const float scale = d * (float)block->scales[2 * b + l / 16];
                dst[i + 32 * b + l] = scale * (float)q;
            }
        }
    }
}
