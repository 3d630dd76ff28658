/* quant_grids.h - the codebooks of the IQ formats.
 *
 * One word a point, first value in the lowest bits:
 *   iq2_*  8 values, 2 bits each: 0, 1, 2 stand for 8, 25, 43
 *   iq1    8 values, 2 bits each: 0, 1, 2 stand for -1, 0, 1
 *   iq3_*  4 values, 4 bits each: 0..7, whose magnitudes each format has its own of
 *
 * A zero follows the last word, so that 32 bits can be read at each.
 */
#ifndef WEFT_TENSOR_QUANT_GRIDS_H
#define WEFT_TENSOR_QUANT_GRIDS_H

#include <stdint.h>

extern const uint16_t quant_grid_iq2_xxs[256 + 1];
extern const uint16_t quant_grid_iq2_xs[512 + 1];
extern const uint16_t quant_grid_iq2_s[1024 + 1];
extern const uint16_t quant_grid_iq3_xxs[256 + 1];
extern const uint16_t quant_grid_iq3_s[512 + 1];
extern const uint16_t quant_grid_iq1[2048 + 1];

#endif /* WEFT_TENSOR_QUANT_GRIDS_H */
