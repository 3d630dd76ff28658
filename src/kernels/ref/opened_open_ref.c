/* opened_open_ref.c - the reference of opening: file blocks into opened_chunk, row by row.
 *
 * A row's blocks are taken out of their slabs and read as tensor/quant_decode*.c reads them, only
 * that the whole numbers and the scales are kept apart. Where those multiply a code by a fraction,
 * the fraction is moved into the scale: an eighth in the IQ1 and IQ2 formats, which is exact.
 */
#include <string.h>

#include "kernels/opened.h"
#include "kernels/ref/opened_ref.h"
#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/quant_grids.h"

static const int8_t values_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
static const int8_t values_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
static const int8_t values_iq2[4] = {8, 25, 43, 0};
static const int8_t values_iq3_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t values_iq3_s[8] = {1, 3, 5, 7, 9, 11, 13, 15};

/* Where a block goes: its first column of the chunk and its row. */
typedef struct target {
    opened_chunk *c;
    size_t col;
    size_t row;
} target;

typedef void open_block_fn(const target *t, const void *block);

static float load_f16(const uint8_t *p) { return quant_f16_to_f32(block_load_u16(p)); }

static unsigned nibble(const uint8_t *bytes, size_t i) {
    return (bytes[i / 2] >> (4 * (i % 2))) & 15u;
}

static void put_code(const target *t, size_t i, int value) {
    const size_t col = t->col + i;
    uint8_t *group = t->c->codes[col / 32][col % 32 / 4];
    group[4 * t->row + col % 4] = (uint8_t)(value + t->c->middle);
}

/* Of the block of 32 columns b. */
static void put_scale(const target *t, size_t b, float scale) {
    t->c->scale[t->col / 32 + b][t->row] = scale;
}

/* Of the 16 columns h. */
static void put_half(const target *t, size_t h, float scale) {
    t->c->half_scale[t->col / 16 + h][t->row] = scale;
}

/* Of all 256 columns. */
static void put_d(const target *t, float d) {
    t->c->d[t->row] = d;
    for (size_t b = 0; b < OPENED_BLOCKS; b++) {
        put_scale(t, b, d);
    }
}

/* What multiplies that: of the 16 columns h, or of the block b. */
static void put_whole_half(const target *t, size_t h, int whole) {
    t->c->whole[h][t->row] = whole;
    put_half(t, h, (float)whole);
}

static void put_whole_block(const target *t, size_t b, int whole) {
    t->c->whole[b][t->row] = whole;
    put_scale(t, b, t->c->d[t->row] * (float)whole);
}

/* Element i of 64 bytes of 2-bit codes. */
static int code2(const uint8_t codes[64], size_t i) {
    return (codes[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
}

static void open_q2_k(const target *t, const void *from) {
    const block_q2_k *block = from;
    put_d(t, load_f16(block->d));
    t->c->half_min_scale[t->row] = load_f16(block->dmin);
    for (size_t h = 0; h < 16; h++) {
        const int16_t min = block->scales[h] >> 4;
        put_whole_half(t, h, block->scales[h] & 15);
        t->c->half_min[h][2 * t->row] = min;
        t->c->half_min[h][2 * t->row + 1] = min;
    }
    for (size_t i = 0; i < 256; i++) {
        put_code(t, i, code2(block->codes, i));
    }
}

/* Scales are negated, the whole and the other: codes from -4 to 3 times the negatives of -32 to 31
 * fit a byte. */
static void open_q3_k(const target *t, const void *from) {
    const block_q3_k *block = from;
    put_d(t, -load_f16(block->d));
    for (size_t h = 0; h < 16; h++) {
        const int low = (block->scales[h % 8] >> (4 * (h / 8))) & 15;
        const int high = (block->scales[8 + h % 4] >> (2 * (h / 4))) & 3;
        put_whole_half(t, h, 32 - (low | high << 4));
    }
    for (size_t i = 0; i < 256; i++) {
        const int high = (block->high[i % 32] >> (i / 32)) & 1;
        put_code(t, i, (code2(block->codes, i) | high << 2) - 4);
    }
}

/* Digits of n bytes from element i on: digit d of byte l is element n * d + l. */
static size_t open_ternary(const target *t, size_t i, const uint8_t *bytes, size_t n,
                           size_t n_digits) {
    unsigned power = 1;
    for (size_t d = 0; d < n_digits; d++, power *= 3) {
        for (size_t l = 0; l < n; l++) {
            const unsigned fraction = (bytes[l] * power) & 255u;
            put_code(t, i++, (int)((fraction * 3u) >> 8) - 1);
        }
    }
    return i;
}

static void open_tq1_0(const target *t, const void *from) {
    const block_tq1_0 *block = from;
    put_d(t, load_f16(block->d));
    size_t i = open_ternary(t, 0, block->five, 32, 5);
    i = open_ternary(t, i, block->five + 32, 16, 5);
    open_ternary(t, i, block->four, 4, 4);
}

static void open_tq2_0(const target *t, const void *from) {
    const block_tq2_0 *block = from;
    put_d(t, load_f16(block->d));
    for (size_t i = 0; i < 256; i++) {
        put_code(t, i, code2(block->codes, i) - 1);
    }
}

/* 2 n elements from i on: byte l holds elements l and l + n. */
static void open_nibbles(const target *t, size_t i, const uint8_t *low, size_t n,
                         const int8_t values[16]) {
    for (size_t l = 0; l < n; l++) {
        put_code(t, i + l, values[low[l] & 15]);
        put_code(t, i + l + n, values[low[l] >> 4]);
    }
}

static void open_iq4_nl(const target *t, const void *from) {
    const block_iq4_nl *block = from;
    put_scale(t, 0, load_f16(block->d));
    open_nibbles(t, 0, block->low, 16, values_iq4);
}

static void open_iq4_xs(const target *t, const void *from) {
    const block_iq4_xs *block = from;
    const unsigned highs = block_load_u16(block->scales_high);
    put_d(t, load_f16(block->d));
    for (size_t b = 0; b < 8; b++) {
        const int sc = (int)(nibble(block->scales_low, b) | ((highs >> (2 * b)) & 3u) << 4);
        put_whole_block(t, b, sc - 32);
        open_nibbles(t, 32 * b, block->low + 16 * b, 16, values_iq4);
    }
}

/* 2^(e - 128); the lowest two are denormal. */
static float half_e8m0(uint8_t e) {
    const uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static void open_mxfp4(const target *t, const void *from) {
    const block_mxfp4 *block = from;
    put_scale(t, 0, half_e8m0(block->e));
    open_nibbles(t, 0, block->low, 16, values_e2m1);
}

/* Half of an E4M3 value without sign; 0x7f, which would be NaN, is 0. */
static float half_e4m3(uint8_t e4m3) {
    const uint32_t exponent = (e4m3 >> 3) & 15u;
    const uint32_t mantissa = e4m3 & 7u;
    const uint32_t bits = (exponent + 119) << 23 | mantissa << 20;
    float f;
    memcpy(&f, &bits, sizeof(f));
    f = exponent == 0 ? (float)mantissa * 0x1p-10f : f;
    return e4m3 == 0x7f ? 0.0f : f;
}

static void open_nvfp4(const target *t, const void *from) {
    const block_nvfp4 *block = from;
    for (size_t h = 0; h < 4; h++) {
        put_half(t, h, half_e4m3(block->d[h]));
        open_nibbles(t, 16 * h, block->low + 8 * h, 8, values_e2m1);
    }
}

/* ---- codebooks ---- */

/* Seven signs become eight, an even number of them minus. */
static unsigned signs8(unsigned signs7) {
    unsigned odd = signs7 ^ (signs7 >> 4);
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return signs7 | (odd & 1u) << 7;
}

static void put_point(const target *t, size_t i, unsigned point, unsigned n, const int8_t *values,
                      unsigned signs) {
    const unsigned bits = n == 8 ? 2 : 4; /* of a value's number: quant_grids.h */
    for (unsigned l = 0; l < n; l++) {
        const int value = values[(point >> (bits * l)) & ((1u << bits) - 1)];
        put_code(t, i + l, (signs >> l) & 1u ? -value : value);
    }
}

static void open_iq2_xxs(const target *t, const void *from) {
    const block_iq2_xxs *block = from;
    put_d(t, load_f16(block->d) * 0.125f);
    for (size_t b = 0; b < 8; b++) {
        const uint8_t *codes = block->codes[b];
        const uint32_t signs = block_load_u32(codes + 4);
        put_whole_block(t, b, (int)(2 * (signs >> 28) + 1));
        for (size_t g = 0; g < 4; g++) {
            put_point(t, 32 * b + 8 * g, quant_grid_iq2_xxs[codes[g]], 8, values_iq2,
                      signs8((signs >> (7 * g)) & 127u));
        }
    }
}

/* Scales of IQ2_XS and IQ2_S: d * (0.5 + sc) / 4 is d / 8 times a whole number. */
static void open_scales_iq2(const target *t, const uint8_t *d, const uint8_t scales[8]) {
    put_d(t, load_f16(d) * 0.125f);
    for (size_t h = 0; h < 16; h++) {
        put_whole_half(t, h, (int)(2 * nibble(scales, h) + 1));
    }
}

static void open_iq2_xs(const target *t, const void *from) {
    const block_iq2_xs *block = from;
    open_scales_iq2(t, block->d, block->scales);
    for (size_t g = 0; g < 32; g++) {
        const unsigned code = block_load_u16(block->codes[g]);
        put_point(t, 8 * g, quant_grid_iq2_xs[code & 511u], 8, values_iq2, signs8(code >> 9));
    }
}

static void open_iq2_s(const target *t, const void *from) {
    const block_iq2_s *block = from;
    open_scales_iq2(t, block->d, block->scales);
    for (size_t g = 0; g < 32; g++) {
        const unsigned high = (block->high[g / 4] >> (2 * (g % 4))) & 3u;
        put_point(t, 8 * g, quant_grid_iq2_s[block->low[g] | high << 8], 8, values_iq2,
                  block->signs[g]);
    }
}

static void open_iq3_xxs(const target *t, const void *from) {
    const block_iq3_xxs *block = from;
    put_d(t, load_f16(block->d) * 0.25f);
    for (size_t b = 0; b < 8; b++) {
        const uint32_t signs = block_load_u32(block->signs[b]);
        put_whole_block(t, b, (int)(2 * (signs >> 28) + 1));
        for (size_t g = 0; g < 8; g++) {
            const unsigned eight = signs8((signs >> (7 * (g / 2))) & 127u);
            put_point(t, 32 * b + 4 * g, quant_grid_iq3_xxs[block->low[8 * b + g]], 4,
                      values_iq3_xxs, eight >> (4 * (g % 2)));
        }
    }
}

static void open_iq3_s(const target *t, const void *from) {
    const block_iq3_s *block = from;
    put_d(t, load_f16(block->d));
    for (size_t b = 0; b < 8; b++) {
        put_whole_block(t, b, (int)(2 * nibble(block->scales, b) + 1));
        for (size_t g = 0; g < 8; g++) {
            const unsigned high = (block->high[b] >> g) & 1u;
            put_point(t, 32 * b + 4 * g, quant_grid_iq3_s[block->low[8 * b + g] | high << 8], 4,
                      values_iq3_s, block->signs[4 * b + g / 2] >> (4 * (g % 2)));
        }
    }
}

/* Eighths: a point's -1, 0 and 1 and the eighth that all eight are moved by. */
static void put_point1(const target *t, size_t i, unsigned point, int delta) {
    for (unsigned l = 0; l < 8; l++) {
        put_code(t, i + l, 8 * ((int)((point >> (2 * l)) & 3u) - 1) + delta);
    }
}

static void open_iq1_s(const target *t, const void *from) {
    const block_iq1_s *block = from;
    put_d(t, load_f16(block->d) * 0.125f);
    for (size_t b = 0; b < 8; b++) {
        const unsigned word = block_load_u16(block->high[b]);
        put_whole_block(t, b, (int)(2 * ((word >> 12) & 7u) + 1));
        for (size_t g = 0; g < 4; g++) {
            const unsigned high = (word >> (3 * g)) & 7u;
            put_point1(t, 32 * b + 8 * g, quant_grid_iq1[block->low[4 * b + g] | high << 8],
                       word & 0x8000u ? -1 : 1);
        }
    }
}

static void open_iq1_m(const target *t, const void *from) {
    const block_iq1_m *block = from;
    unsigned d = 0;
    for (size_t w = 0; w < 4; w++) {
        d |= (unsigned)block_load_u16(block->scales[w]) >> 12 << (4 * w);
    }
    put_d(t, quant_f16_to_f32((uint16_t)d) * 0.125f);
    for (size_t h = 0; h < 16; h++) {
        const unsigned scales = block_load_u16(block->scales[h / 4]);
        put_whole_half(t, h, (int)(2 * ((scales >> (3 * (h % 4))) & 7u) + 1));
    }
    for (size_t g = 0; g < 32; g++) {
        const unsigned high = nibble(block->high, g);
        put_point1(t, 8 * g, quant_grid_iq1[block->low[g] | (high & 7u) << 8], high & 8u ? -1 : 1);
    }
}

static void open_chunk(weft_dtype dtype, open_block_fn *open, opened_chunk *c,
                       const uint8_t *slab) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    uint8_t block[OPENED_COLS];
    for (size_t col = 0; col < c->n_blocks * ACT_BLOCK_LEN; col += f->block_len) {
        for (size_t row = 0; row < PACK_PANEL_ROWS; row++) {
            const target t = {c, col, row};
            opened_take_block(dtype, block, slab, row);
            open(&t, block);
        }
        slab += (size_t)PACK_PANEL_ROWS * f->block_bytes;
    }
}

#define X(NAME, name)                                                \
    void opened_##name##_ref(opened_chunk *c, const uint8_t *slab) { \
        open_chunk(WEFT_DTYPE_##NAME, open_##name, c, slab);         \
    }
PACK_OPENED_LIST(X)
#undef X
