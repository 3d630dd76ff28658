/* quant_grids.c - the codebooks as packed words. */
#include "tensor/quant_grids.h"

#include "tensor/quant_grids.inc"

#define X(point) point,
const uint16_t quant_grid_iq2_xxs[256 + 1] = {QUANT_GRID_IQ2_XXS_LIST(X) 0};
const uint16_t quant_grid_iq2_xs[512 + 1] = {QUANT_GRID_IQ2_XS_LIST(X) 0};
const uint16_t quant_grid_iq2_s[1024 + 1] = {QUANT_GRID_IQ2_S_LIST(X) 0};
const uint16_t quant_grid_iq3_xxs[256 + 1] = {QUANT_GRID_IQ3_XXS_LIST(X) 0};
const uint16_t quant_grid_iq3_s[512 + 1] = {QUANT_GRID_IQ3_S_LIST(X) 0};
const uint16_t quant_grid_iq1[2048 + 1] = {QUANT_GRID_IQ1_LIST(X) 0};
#undef X
