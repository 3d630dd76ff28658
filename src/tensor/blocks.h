/* blocks.h - how quantised blocks lie in a file: GGUF's, restated, and one of our own.
 *
 *   32 elements                          256 elements
 *   Q4_0  x = d * (q - 8)                Q4_K, Q5_K  x = d * sc[i/32] * q - dmin * mn[i/32]
 *   Q4_1  x = d * q + m                  Q6_K        x = d * sc[i/16] * (q - 32)
 *   Q5_0  x = d * (q - 16)
 *   Q5_1  x = d * q + m                  d, m, dmin are f16. In blocks of 32, byte i of `low`
 *   Q8_0  x = d * q                      holds elements i (low nibble) and i + 16 (high).
 *
 * The formats below 4 bits, and those whose codes stand for a list of values, lie after these,
 * each drawn at its struct.
 *
 * Blocks have no alignment: every field is bytes, and 16- and 32-bit values are read with the
 * block_load functions. GGUF is little-endian and so is every machine this runs on.
 */
#ifndef WEFT_TENSOR_BLOCKS_H
#define WEFT_TENSOR_BLOCKS_H

#include <stdint.h>
#include <string.h>

typedef struct block_q4_0 {
    uint8_t d[2];
    uint8_t low[16];
} block_q4_0;

typedef struct block_q4_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t low[16];
} block_q4_1;

/* Bit i of the 32-bit word `high` is bit 4 of element i. */
typedef struct block_q5_0 {
    uint8_t d[2];
    uint8_t high[4];
    uint8_t low[16];
} block_q5_0;

typedef struct block_q5_1 {
    uint8_t d[2];
    uint8_t m[2];
    uint8_t high[4];
    uint8_t low[16];
} block_q5_1;

typedef struct block_q8_0 {
    uint8_t d[2];
    int8_t codes[32];
} block_q8_0;

/* Eight 6-bit scales and eight 6-bit minimums in 12 bytes:
 *
 *   byte      bits 7,6           bits 5..0                    byte        bits 7..4   bits 3..0
 *   i 0..3    sc[i+4] bits 5,4   sc[i]                        8+i 0..3    mn[i+4]     sc[i+4]
 *   4+i       mn[i+4] bits 5,4   mn[i]                                    bits 3..0   bits 3..0
 *
 * Nibbles: 32 bytes hold elements 64c .. 64c + 31 (low) and 64c + 32 .. 64c + 63 (high). */
typedef struct block_q4_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t low[128];
} block_q4_k;

/* As Q4_K; bit b of high[l] is bit 4 of element 32b + l. */
typedef struct block_q5_k {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t scales[12];
    uint8_t high[32];
    uint8_t low[128];
} block_q5_k;

/* Two halves of 128 elements, each with 64 bytes of `low` and 32 of `high`. Element 32t + l of a
 * half: nibble t/2 (0 low, 1 high) of low[32 * (t % 2) + l], bits 2t and 2t+1 of high[l]. */
typedef struct block_q6_k {
    uint8_t low[128];
    uint8_t high[64];
    int8_t scales[16];
    uint8_t d[2];
} block_q6_k;

/* x = d * (sc & 15) * q - dmin * (sc >> 4), a byte of scales for 16 elements. Two halves of 128
 * elements: element 32t + l of a half is bits 2t, 2t+1 of its byte l. */
typedef struct block_q2_k {
    uint8_t scales[16];
    uint8_t codes[64];
    uint8_t d[2];
    uint8_t dmin[2];
} block_q2_k;

/* x = d * (sc[i/16] - 32) * q. `codes` as Q2_K; element 32b + l has 4 less where bit b of high[l]
 * is clear. Byte j of scales: low nibbles of sc[j] and sc[j + 8]; byte 8 + j: bits 4, 5 of
 * sc[4t + j] in its bits 2t, 2t+1. */
typedef struct block_q3_k {
    uint8_t high[32];
    uint8_t codes[64];
    uint8_t scales[12];
    uint8_t d[2];
} block_q3_k;

/* x = d * (q - 1). Digits to the base 3, as fractions of 256, most significant first: elements
 * 32t + l in five[l] of 32, 160 + 16t + l in the next 16, 240 + 4t + l in four[l]. */
typedef struct block_tq1_0 {
    uint8_t five[48];
    uint8_t four[4];
    uint8_t d[2];
} block_tq1_0;

/* x = d * (q - 1); codes as Q2_K. */
typedef struct block_tq2_0 {
    uint8_t codes[64];
    uint8_t d[2];
} block_tq2_0;

/* x = d * value(q), nibbles as Q4_0. */
typedef struct block_iq4_nl {
    uint8_t d[2];
    uint8_t low[16];
} block_iq4_nl;

/* x = d * (sc[i/32] - 32) * value(q); 16 bytes of nibbles for each 32 as Q4_0. */
typedef struct block_iq4_xs {
    uint8_t d[2];
    uint8_t scales_high[2]; /* bits 2b, 2b+1 are bits 4, 5 of sc[b] */
    uint8_t scales_low[4];
    uint8_t low[128];
} block_iq4_xs;

/* x = 2^(e - 128) * twice the E2M1 value of q; nibbles as Q4_0. */
typedef struct block_mxfp4 {
    uint8_t e;
    uint8_t low[16];
} block_mxfp4;

/* Four sub-blocks of 16 elements, each with an E4M3 scale without sign; byte i of a sub-block's 8
 * holds its elements i (low nibble) and i + 8 (high). */
typedef struct block_nvfp4 {
    uint8_t d[4];
    uint8_t low[32];
} block_nvfp4;

/* Points of a codebook (quant_grids.h), 8 or 4 elements each. 7 bits of signs stand for 8: the
 * last makes their number even. x = d * (0.5 + sc) * 0.25 (IQ3_XXS: 0.5) * sign * value.
 * For each 32 elements 8 bytes: 4 points, then 4 signs of 7 bits and 4 bits of scale. */
typedef struct block_iq2_xxs {
    uint8_t d[2];
    uint8_t codes[8][8];
} block_iq2_xxs;

/* A 16-bit word for 8 elements: 9 bits of point, 7 of signs; a nibble of scale for 16 elements. */
typedef struct block_iq2_xs {
    uint8_t d[2];
    uint8_t codes[32][2];
    uint8_t scales[8];
} block_iq2_xs;

/* A point for 8 elements, its bits 8, 9 in `high`; a byte of signs for each point. */
typedef struct block_iq2_s {
    uint8_t d[2];
    uint8_t low[32];
    uint8_t signs[32];
    uint8_t high[8];
    uint8_t scales[8];
} block_iq2_s;

/* A byte for 4 elements; 4 signs of 7 bits and 4 bits of scale for each 32. */
typedef struct block_iq3_xxs {
    uint8_t d[2];
    uint8_t low[64];
    uint8_t signs[8][4];
} block_iq3_xxs;

/* x = d * (1 + 2 * sc[i/32]) * sign * value. A point for 4 elements, its bit 8 in `high`. */
typedef struct block_iq3_s {
    uint8_t d[2];
    uint8_t low[64];
    uint8_t high[8];
    uint8_t signs[32];
    uint8_t scales[4];
} block_iq3_s;

/* x = d * (2 * sc + 1) * (value +- 1/8). A 16-bit word for each 32 elements: bits 8 to 10 of its
 * four points, 3 bits of scale, one of sign. */
typedef struct block_iq1_s {
    uint8_t d[2];
    uint8_t low[32];
    uint8_t high[8][2];
} block_iq1_s;

/* As IQ1_S with a sign for 8 elements (a nibble of `high`: 3 bits of point, sign) and 3 bits of
 * scale for 16; the top nibbles of the four words of scales make up d. */
typedef struct block_iq1_m {
    uint8_t low[32];
    uint8_t high[16];
    uint8_t scales[4][2];
} block_iq1_m;

/* Not GGUF's, whose readers put it together: 128 columns of a row, x = scale * code, where a
 * code is float8_e4m3fn: sign, 4 bits of exponent with bias 7, 3 of mantissa; 0x7f and 0xff are
 * NaN. */
typedef struct block_f8_e4m3 {
    uint8_t scale[4]; /* f32 */
    uint8_t codes[128];
} block_f8_e4m3;

_Static_assert(sizeof(block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(block_q5_0) == 22, "Q5_0 block");
_Static_assert(sizeof(block_q5_1) == 24, "Q5_1 block");
_Static_assert(sizeof(block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(block_q4_k) == 144, "Q4_K block");
_Static_assert(sizeof(block_q5_k) == 176, "Q5_K block");
_Static_assert(sizeof(block_q6_k) == 210, "Q6_K block");
_Static_assert(sizeof(block_q2_k) == 84, "Q2_K block");
_Static_assert(sizeof(block_q3_k) == 110, "Q3_K block");
_Static_assert(sizeof(block_tq1_0) == 54, "TQ1_0 block");
_Static_assert(sizeof(block_tq2_0) == 66, "TQ2_0 block");
_Static_assert(sizeof(block_iq4_nl) == 18, "IQ4_NL block");
_Static_assert(sizeof(block_iq4_xs) == 136, "IQ4_XS block");
_Static_assert(sizeof(block_mxfp4) == 17, "MXFP4 block");
_Static_assert(sizeof(block_nvfp4) == 36, "NVFP4 block");
_Static_assert(sizeof(block_iq2_xxs) == 66, "IQ2_XXS block");
_Static_assert(sizeof(block_iq2_xs) == 74, "IQ2_XS block");
_Static_assert(sizeof(block_iq2_s) == 82, "IQ2_S block");
_Static_assert(sizeof(block_iq3_xxs) == 98, "IQ3_XXS block");
_Static_assert(sizeof(block_iq3_s) == 110, "IQ3_S block");
_Static_assert(sizeof(block_iq1_s) == 50, "IQ1_S block");
_Static_assert(sizeof(block_iq1_m) == 56, "IQ1_M block");
_Static_assert(sizeof(block_f8_e4m3) == 132, "F8_E4M3 block");

static inline uint16_t block_load_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t block_load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void block_store_u16(void *p, uint16_t v) { memcpy(p, &v, sizeof(v)); }
static inline void block_store_u32(void *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }

/* Scale and minimum i (0..7) of Q4_K's and Q5_K's 12 bytes. */
static inline uint8_t block_scale6(const uint8_t scales[12], unsigned i) {
    return i < 4 ? scales[i] & 63 : (uint8_t)((scales[4 + i] & 15) | ((scales[i - 4] >> 6) << 4));
}

static inline uint8_t block_min6(const uint8_t scales[12], unsigned i) {
    return i < 4 ? scales[4 + i] & 63 : (uint8_t)((scales[4 + i] >> 4) | ((scales[i] >> 6) << 4));
}

#endif /* WEFT_TENSOR_BLOCKS_H */
