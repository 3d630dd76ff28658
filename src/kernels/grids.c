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
#undef X
#undef Y
