/* grids.c - the codebooks, made of the packed lists when this is compiled. */
#include "kernels/grids.h"

#include "base/compiler.h"
#include "tensor/quant_grids.inc"

/* One value of a point: code i of 2 or 4 bits. */
#define CODE2(point, i) ((uint64_t)(point) >> 2 * (i)&3)
#define CODE4(point, i) ((uint32_t)(point) >> 4 * (i)&15)

#define EIGHT(VALUE, point)                                                                       \
    (VALUE(CODE2(point, 0)) | VALUE(CODE2(point, 1)) << 8 | VALUE(CODE2(point, 2)) << 16 |        \
     VALUE(CODE2(point, 3)) << 24 | VALUE(CODE2(point, 4)) << 32 | VALUE(CODE2(point, 5)) << 40 | \
     VALUE(CODE2(point, 6)) << 48 | VALUE(CODE2(point, 7)) << 56)
#define FOUR(VALUE, point)                                                                 \
    (VALUE(CODE4(point, 0)) | VALUE(CODE4(point, 1)) << 8 | VALUE(CODE4(point, 2)) << 16 | \
     VALUE(CODE4(point, 3)) << 24)

#define VALUE_IQ2(code) (8 + 17 * (code) + (code) / 2)          /* 8, 25, 43 */
#define VALUE_IQ1(code) (8 * (code))                            /* 0, 8, 16 */
#define VALUE_IQ3_XXS(code) (4 + 8 * (code) + 2 * ((code) / 7)) /* 4, 12, .. 52, 62 */
#define VALUE_IQ3_S(code) (1 + 2 * (code))                      /* 1, 3, .. 15 */

#define X(point) EIGHT(VALUE_IQ2, point),
const uint64_t grid_iq2_xxs[256] = {QUANT_GRID_IQ2_XXS_LIST(X)};
const uint64_t grid_iq2_xs[512] = {QUANT_GRID_IQ2_XS_LIST(X)};
const uint64_t grid_iq2_s[1024] = {QUANT_GRID_IQ2_S_LIST(X)};
#undef X
#define X(point) EIGHT(VALUE_IQ1, point),
const uint64_t grid_iq1[2048] = {QUANT_GRID_IQ1_LIST(X)};
#undef X
#define X(point) FOUR(VALUE_IQ3_XXS, point),
const uint32_t grid_iq3_xxs[256] = {QUANT_GRID_IQ3_XXS_LIST(X)};
#undef X
#define X(point) FOUR(VALUE_IQ3_S, point),
const uint32_t grid_iq3_s[512] = {QUANT_GRID_IQ3_S_LIST(X)};
#undef X

#define X(point) (point) & 0xff,
#define Y(point) (point) >> 8,
WEFT_ALIGNED(64)
const uint8_t grid_halves_iq2_xxs[2][256] = {{QUANT_GRID_IQ2_XXS_LIST(X)},
                                             {QUANT_GRID_IQ2_XXS_LIST(Y)}};
WEFT_ALIGNED(64)
const uint8_t grid_halves_iq2_xs[2][512] = {{QUANT_GRID_IQ2_XS_LIST(X)},
                                            {QUANT_GRID_IQ2_XS_LIST(Y)}};
WEFT_ALIGNED(64)
const uint8_t grid_halves_iq2_s[2][1024] = {{QUANT_GRID_IQ2_S_LIST(X)}, {QUANT_GRID_IQ2_S_LIST(Y)}};
WEFT_ALIGNED(64)
const uint8_t grid_halves_iq3_xxs[2][256] = {{QUANT_GRID_IQ3_XXS_LIST(X)},
                                             {QUANT_GRID_IQ3_XXS_LIST(Y)}};
WEFT_ALIGNED(64)
const uint8_t grid_halves_iq3_s[2][512] = {{QUANT_GRID_IQ3_S_LIST(X)}, {QUANT_GRID_IQ3_S_LIST(Y)}};
WEFT_ALIGNED(64) const uint8_t grid_lows_iq1[2048] = {QUANT_GRID_IQ1_LIST(X)};
#undef X
#undef Y
/* High bytes of every sixteenth point from 0 and from 15 on, and how many of the 16 have the first,
 * or 0 where all are the same (proven by tests/unit/test_grids.c). */
WEFT_ALIGNED(64)
const uint8_t grid_highs_iq1[3][128] = {
    {0,   0,   1,   2,   2,   4,   5,   5,   6,   8,   9,   10,  10,  16,  17,  17,  18,  20,  20,
     21,  21,  21,  22,  22,  24,  25,  25,  26,  32,  32,  33,  34,  36,  37,  37,  38,  40,  41,
     42,  42,  64,  65,  65,  66,  68,  69,  69,  69,  70,  70,  72,  73,  73,  74,  80,  80,  81,
     81,  81,  82,  84,  84,  84,  85,  85,  85,  85,  86,  86,  86,  88,  88,  89,  89,  90,  90,
     96,  97,  97,  98,  100, 100, 101, 101, 102, 102, 104, 105, 105, 106, 128, 129, 129, 130, 132,
     133, 133, 134, 136, 137, 137, 138, 144, 145, 145, 146, 148, 148, 149, 149, 149, 150, 150, 152,
     153, 153, 154, 160, 161, 161, 162, 164, 165, 165, 166, 168, 169, 170},
    {0,   1,   1,   2,   4,   5,   5,   6,   8,   9,   10,  10,  16,  17,  17,  18,  20,  20,  21,
     21,  21,  22,  22,  24,  25,  25,  26,  32,  32,  33,  34,  36,  36,  37,  38,  40,  41,  42,
     42,  64,  65,  65,  66,  68,  69,  69,  69,  70,  70,  72,  73,  73,  74,  80,  80,  81,  81,
     81,  82,  84,  84,  84,  85,  85,  85,  85,  86,  86,  86,  88,  88,  89,  89,  90,  90,  96,
     97,  97,  98,  100, 100, 101, 101, 102, 102, 104, 105, 105, 106, 128, 129, 129, 130, 132, 133,
     133, 134, 136, 136, 137, 138, 144, 145, 145, 146, 148, 148, 149, 149, 149, 150, 150, 152, 153,
     153, 154, 160, 160, 161, 162, 164, 165, 165, 166, 168, 169, 170, 170},
    {0,  9,  0, 0,  9, 6,  0,  6,  6, 12, 14, 0,  6,  10, 0, 5,  7,  0, 9,  0, 0, 6,  0,  7,  11, 0,
     6,  8,  0, 1,  5, 12, 0,  0,  8, 7,  12, 15, 0,  5,  5, 0,  7,  5, 14, 0, 0, 8,  0,  7,  11, 0,
     14, 9,  0, 6,  0, 0,  2,  10, 0, 0,  6,  0,  0,  0,  3, 0,  0,  8, 0,  6, 0, 13, 0,  9,  11, 0,
     5,  3,  0, 6,  0, 8,  0,  8,  5, 0,  2,  4,  12, 0,  4, 10, 6,  0, 4,  7, 0, 0,  4,  10, 14, 0,
     13, 15, 0, 10, 0, 0,  10, 0,  6, 8,  0,  10, 9,  0,  0, 4,  10, 9, 0,  2, 9, 14, 12, 0},
};
