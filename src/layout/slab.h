/* slab.h - the slabs of packed weights, format by format.
 *
 * A slab is one block depth (32, 128 or 256 columns) of the 16 rows of a panel. It takes exactly
 * the bytes of the 16 blocks it was made from, because nothing is widened: scales stay f16 and
 * 6-bit fields stay packed; only the order changes, so that a product reads one stream from front
 * to back, scales first.
 *
 *   group    4 consecutive columns x 16 rows; lane 4 * row + (column % 4), 64 lanes
 *   nibbles  [4][64]: byte [p][lane] holds group 2p in its low and group 2p + 1 in its high nibble
 *   high 5   [64]:    bit g of [lane] is bit 4 of group g's code
 *   high 6   [2][64]: bits 2f, 2f + 1 of [h][lane] are bits 4, 5 of group 4h + f's code
 *   Q8_0     [16][32]: pairs of columns, lane 2 * row + (column % 2), because its activations are
 *            16 bits wide and are multiplied two at a time
 *   F8_E4M3  [32][64]: 4 columns of all rows; 16 bytes are 4 rows, first columns 0 and 1 of
 *            each, then 2 and 3: made 16 bits wide they are two groups of pairs as Q8_0's
 *   F32, F16, BF16: [column][16 rows]
 *
 * All these fields start on a 32-byte border of the slab, and slabs are multiples of 32 bytes.
 *
 * Formats of PACK_OPENED_LIST keep the file's own bytes (tensor/blocks.h), cut into units of 1, 2
 * or 4 bytes: unit i of all 16 rows, then unit i + 1. A unit of 4 bytes of codes is then a group
 * whose lanes hold 2 to 4 groups in their bits, and a unit of 1 byte is 16 indices, scales or
 * signs in a row. Their fields start on 16-byte borders.
 */
#ifndef WEFT_LAYOUT_SLAB_H
#define WEFT_LAYOUT_SLAB_H

#include <stddef.h>
#include <stdint.h>

typedef struct slab_q4_0 {
    uint16_t d[16];
    uint8_t low[4][64];
} slab_q4_0;

typedef struct slab_q4_1 {
    uint16_t d[16];
    uint16_t m[16];
    uint8_t low[4][64];
} slab_q4_1;

typedef struct slab_q5_0 {
    uint16_t d[16];
    uint8_t high[64];
    uint8_t low[4][64];
} slab_q5_0;

typedef struct slab_q5_1 {
    uint16_t d[16];
    uint16_t m[16];
    uint8_t high[64];
    uint8_t low[4][64];
} slab_q5_1;

typedef struct slab_q8_0 {
    uint16_t d[16];
    int8_t codes[16][32];
} slab_q8_0;

/* scales[i][row] is byte i of the row's 12 bytes of 6-bit fields (tensor/blocks.h). */
typedef struct slab_q4_k {
    uint16_t d[16];
    uint16_t dmin[16];
    uint8_t scales[12][16];
    uint8_t low[8][4][64];
} slab_q4_k;

typedef struct slab_q5_k_block {
    uint8_t high[64];
    uint8_t low[4][64];
} slab_q5_k_block;

typedef struct slab_q5_k {
    uint16_t d[16];
    uint16_t dmin[16];
    uint8_t scales[12][16];
    slab_q5_k_block blocks[8];
} slab_q5_k;

typedef struct slab_q6_k_block {
    uint8_t high[2][64];
    uint8_t low[4][64];
} slab_q6_k_block;

/* scales[i][lane]: rows in the order 0-3, 8-11, 4-7, 12-15, in which 256-bit registers widen
 * them (slab_q6_k_lane). */
typedef struct slab_q6_k {
    uint16_t d[16];
    int8_t scales[16][16];
    slab_q6_k_block blocks[8];
} slab_q6_k;

/* The lane of a row in slab_q6_k.scales: the middle two quarters change places. */
static inline unsigned slab_q6_k_lane(unsigned row) {
    return row >= 4 && row < 12 ? row ^ 12u : row;
}

typedef struct slab_f8_e4m3 {
    float scale[16];
    uint8_t codes[32][64];
} slab_f8_e4m3;

/* Where in codes[col / 4] the code of a row and column stands, and whose row's a place is. */
static inline size_t slab_f8_e4m3_place(size_t row, size_t col) {
    return row / 4 * 16 + col % 4 / 2 * 8 + row % 4 * 2 + col % 2;
}

static inline size_t slab_f8_e4m3_row(size_t place) { return place / 16 * 4 + place % 8 / 2; }

typedef struct slab_q2_k {
    uint16_t d[16];
    uint16_t dmin[16];
    uint8_t scales[16][16];
    uint8_t codes[16][64];
} slab_q2_k;

typedef struct slab_q3_k {
    uint16_t d[16];
    uint8_t scales[12][16];
    uint8_t high[8][64];
    uint8_t codes[16][64];
} slab_q3_k;

typedef struct slab_tq1_0 {
    uint16_t d[16];
    uint8_t five[12][64];
    uint8_t four[64];
} slab_tq1_0;

typedef struct slab_tq2_0 {
    uint16_t d[16];
    uint8_t codes[16][64];
} slab_tq2_0;

typedef struct slab_iq4_nl {
    uint16_t d[16];
    uint8_t low[4][64];
} slab_iq4_nl;

typedef struct slab_iq4_xs {
    uint16_t d[16];
    uint16_t scales_high[16];
    uint8_t scales_low[4][16];
    uint8_t low[8][4][64];
} slab_iq4_xs;

typedef struct slab_mxfp4 {
    uint8_t e[16];
    uint8_t low[4][64];
} slab_mxfp4;

typedef struct slab_nvfp4 {
    uint8_t d[4][16];
    uint8_t low[8][64];
} slab_nvfp4;

typedef struct slab_iq2_xxs {
    uint16_t d[16];
    uint32_t codes[8][2][16]; /* four points, then signs and scale */
} slab_iq2_xxs;

typedef struct slab_iq2_xs {
    uint16_t d[16];
    uint8_t scales[8][16];
    uint16_t codes[32][16];
} slab_iq2_xs;

typedef struct slab_iq2_s {
    uint16_t d[16];
    uint8_t scales[8][16];
    uint8_t high[8][16];
    uint8_t low[32][16];
    uint8_t signs[32][16];
} slab_iq2_s;

typedef struct slab_iq3_xxs {
    uint16_t d[16];
    uint32_t signs[8][16];
    uint8_t low[64][16];
} slab_iq3_xxs;

typedef struct slab_iq3_s {
    uint16_t d[16];
    uint8_t scales[4][16];
    uint8_t high[8][16];
    uint8_t signs[32][16];
    uint8_t low[64][16];
} slab_iq3_s;

typedef struct slab_iq1_s {
    uint16_t d[16];
    uint16_t high[8][16];
    uint8_t low[32][16];
} slab_iq1_s;

typedef struct slab_iq1_m {
    uint16_t scales[4][16];
    uint8_t high[16][16];
    uint8_t low[32][16];
} slab_iq1_m;

_Static_assert(sizeof(slab_q4_0) == 16 * 18, "Q4_0 slab");
_Static_assert(sizeof(slab_q4_1) == 16 * 20, "Q4_1 slab");
_Static_assert(sizeof(slab_q5_0) == 16 * 22, "Q5_0 slab");
_Static_assert(sizeof(slab_q5_1) == 16 * 24, "Q5_1 slab");
_Static_assert(sizeof(slab_q8_0) == 16 * 34, "Q8_0 slab");
_Static_assert(sizeof(slab_q4_k) == 16 * 144, "Q4_K slab");
_Static_assert(sizeof(slab_q5_k) == 16 * 176, "Q5_K slab");
_Static_assert(sizeof(slab_q6_k) == 16 * 210, "Q6_K slab");
_Static_assert(sizeof(slab_f8_e4m3) == 16 * 132, "F8_E4M3 slab");
_Static_assert(sizeof(slab_q2_k) == 16 * 84, "Q2_K slab");
_Static_assert(sizeof(slab_q3_k) == 16 * 110, "Q3_K slab");
_Static_assert(sizeof(slab_tq1_0) == 16 * 54, "TQ1_0 slab");
_Static_assert(sizeof(slab_tq2_0) == 16 * 66, "TQ2_0 slab");
_Static_assert(sizeof(slab_iq4_nl) == 16 * 18, "IQ4_NL slab");
_Static_assert(sizeof(slab_iq4_xs) == 16 * 136, "IQ4_XS slab");
_Static_assert(sizeof(slab_mxfp4) == 16 * 17, "MXFP4 slab");
_Static_assert(sizeof(slab_nvfp4) == 16 * 36, "NVFP4 slab");
_Static_assert(sizeof(slab_iq2_xxs) == 16 * 66, "IQ2_XXS slab");
_Static_assert(sizeof(slab_iq2_xs) == 16 * 74, "IQ2_XS slab");
_Static_assert(sizeof(slab_iq2_s) == 16 * 82, "IQ2_S slab");
_Static_assert(sizeof(slab_iq3_xxs) == 16 * 98, "IQ3_XXS slab");
_Static_assert(sizeof(slab_iq3_s) == 16 * 110, "IQ3_S slab");
_Static_assert(sizeof(slab_iq1_s) == 16 * 50, "IQ1_S slab");
_Static_assert(sizeof(slab_iq1_m) == 16 * 56, "IQ1_M slab");

#endif /* WEFT_LAYOUT_SLAB_H */
