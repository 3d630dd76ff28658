/* quant_decode_grid.c - blocks of the IQ1, IQ2 and IQ3 formats to float32.
 *
 * A code names a point of a codebook (quant_grids.h): 8 values at once, 4 in IQ3. IQ2 and IQ3
 * points are magnitudes and get signs, a bit each; IQ1 points are -1, 0 and 1 and are shifted by an
 * eighth. The formulas and their rounding are those of the `gguf` Python package, bit for bit.
 * Block layouts: blocks.h.
 */
#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/quant_blocks.h"
#include "tensor/quant_grids.h"

static const float values_iq2[4] = {8, 25, 43, 0};
static const float values_iq3_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const float values_iq3_s[8] = {1, 3, 5, 7, 9, 11, 13, 15};
static const float values_iq1[4] = {-1, 0, 1, 0};

static float load_f16(const uint8_t *p) { return quant_f16_to_f32(block_load_u16(p)); }

/* Seven signs become eight, an even number of them minus. */
static unsigned signs8(unsigned signs7) {
    unsigned odd = signs7 ^ (signs7 >> 4);
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return signs7 | (odd & 1u) << 7;
}

static float with_sign(float x, unsigned signs, size_t l) { return (signs >> l) & 1u ? -x : x; }

static void decode_point8(float dst[8], unsigned point, unsigned signs, float scale) {
    for (size_t l = 0; l < 8; l++) {
        dst[l] = with_sign(scale * values_iq2[(point >> (2 * l)) & 3u], signs, l);
    }
}

/* Two points of four. */
static void decode_points4(float dst[8], unsigned first, unsigned second, const float values[8],
                           unsigned signs, float scale) {
    for (size_t l = 0; l < 4; l++) {
        dst[l] = with_sign(scale * values[(first >> (4 * l)) & 7u], signs, l);
        dst[l + 4] = with_sign(scale * values[(second >> (4 * l)) & 7u], signs, l + 4);
    }
}

static void decode_point1(float dst[8], unsigned point, float delta, float scale) {
    for (size_t l = 0; l < 8; l++) {
        dst[l] = scale * (values_iq1[(point >> (2 * l)) & 3u] + delta);
    }
}

/* Nibble i of a run of bytes. */
static unsigned nibble(const uint8_t *bytes, size_t i) {
    return (bytes[i / 2] >> (4 * (i % 2))) & 15u;
}

void quant_decode_iq2_xxs(float *dst, const void *src, size_t n) {
    const block_iq2_xxs *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t b = 0; b < 8; b++) {
            const uint8_t *codes = block->codes[b];
            const uint32_t signs = block_load_u32(codes + 4);
            const float scale = d * (0.5f + (float)(signs >> 28)) * 0.25f;
            for (size_t g = 0; g < 4; g++) {
                decode_point8(dst + i + 32 * b + 8 * g, quant_grid_iq2_xxs[codes[g]],
                              signs8((signs >> (7 * g)) & 127u), scale);
            }
        }
    }
}

void quant_decode_iq2_xs(float *dst, const void *src, size_t n) {
    const block_iq2_xs *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t g = 0; g < 32; g++) {
            const unsigned code = block_load_u16(block->codes[g]);
            const float scale = d * (0.5f + (float)nibble(block->scales, g / 2)) * 0.25f;
            decode_point8(dst + i + 8 * g, quant_grid_iq2_xs[code & 511u], signs8(code >> 9),
                          scale);
        }
    }
}

void quant_decode_iq2_s(float *dst, const void *src, size_t n) {
    const block_iq2_s *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t g = 0; g < 32; g++) {
            const unsigned high = (block->high[g / 4] >> (2 * (g % 4))) & 3u;
            const float scale = d * (0.5f + (float)nibble(block->scales, g / 2)) * 0.25f;
            decode_point8(dst + i + 8 * g, quant_grid_iq2_s[block->low[g] | high << 8],
                          block->signs[g], scale);
        }
    }
}

void quant_decode_iq3_xxs(float *dst, const void *src, size_t n) {
    const block_iq3_xxs *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t g = 0; g < 32; g++) {
            const uint32_t signs = block_load_u32(block->signs[g / 4]);
            const float scale = d * (0.5f + (float)(signs >> 28)) * 0.5f;
            decode_points4(dst + i + 8 * g, quant_grid_iq3_xxs[block->low[2 * g]],
                           quant_grid_iq3_xxs[block->low[2 * g + 1]], values_iq3_xxs,
                           signs8((signs >> (7 * (g % 4))) & 127u), scale);
        }
    }
}

void quant_decode_iq3_s(float *dst, const void *src, size_t n) {
    const block_iq3_s *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t g = 0; g < 32; g++) {
            const unsigned highs = (unsigned)block->high[g / 4] >> (2 * (g % 4));
            const float scale = d * (float)(1 + 2 * nibble(block->scales, g / 4));
            decode_points4(dst + i + 8 * g, quant_grid_iq3_s[block->low[2 * g] | (highs & 1u) << 8],
                           quant_grid_iq3_s[block->low[2 * g + 1] | (highs >> 1 & 1u) << 8],
                           values_iq3_s, block->signs[g], scale);
        }
    }
}

void quant_decode_iq1_s(float *dst, const void *src, size_t n) {
    const block_iq1_s *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        const float d = load_f16(block->d);
        for (size_t g = 0; g < 32; g++) {
            const unsigned word = block_load_u16(block->high[g / 4]);
            const unsigned high = (word >> (3 * (g % 4))) & 7u;
            const float scale = d * (float)(2 * ((word >> 12) & 7u) + 1);
            const float delta = word & 0x8000u ? -0.125f : 0.125f;
            decode_point1(dst + i + 8 * g, quant_grid_iq1[block->low[g] | high << 8], delta, scale);
        }
    }
}

void quant_decode_iq1_m(float *dst, const void *src, size_t n) {
    const block_iq1_m *block = src;
    for (size_t i = 0; i < n; i += 256, block++) {
        unsigned half = 0;
        for (size_t w = 0; w < 4; w++) {
            half |= (unsigned)block_load_u16(block->scales[w]) >> 12 << (4 * w);
        }
        const float d = quant_f16_to_f32((uint16_t)half);
        for (size_t g = 0; g < 32; g++) {
            const unsigned high = nibble(block->high, g);
            const unsigned scales = block_load_u16(block->scales[g / 8]);
            const float scale = d * (float)(2 * ((scales >> (3 * (g / 2 % 4))) & 7u) + 1);
            const float delta = high & 8u ? -0.125f : 0.125f;
            decode_point1(dst + i + 8 * g, quant_grid_iq1[block->low[g] | (high & 7u) << 8], delta,
                          scale);
        }
    }
}
