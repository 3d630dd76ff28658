/* grids.h - the codebooks of the IQ formats (tensor/quant_grids.h has them packed) as products want
 * them: 0.5 to 16 KB, which stay in the first-level cache.
 *
 *   grid_*         a byte a column, of a point the first column the lowest. IQ2 and IQ3 list
 *                  magnitudes, IQ1 eighths: 0, 8, 16 for -1, 0, 1
 *   grid_halves_*  all low bytes of the packed words and then all high ones; aligned to 64
 *   grid_lows_iq1  low bytes. The list is sorted, and among 16 points from 16 * i on high bytes
 *                  change once at most: grid_highs_iq1 has those of the first and of the last, and
 *                  the place among the 16 where the last begins
 */
#ifndef WEFT_KERNELS_GRIDS_H
#define WEFT_KERNELS_GRIDS_H

#include <stdint.h>

extern const uint64_t grid_iq2_xxs[256];
extern const uint64_t grid_iq2_xs[512];
extern const uint64_t grid_iq2_s[1024];
extern const uint64_t grid_iq1[2048];
extern const uint32_t grid_iq3_xxs[256];
extern const uint32_t grid_iq3_s[512];

extern const uint8_t grid_halves_iq2_xxs[2][256];
extern const uint8_t grid_halves_iq2_xs[2][512];
extern const uint8_t grid_halves_iq2_s[2][1024];
extern const uint8_t grid_lows_iq1[2048];
extern const uint8_t grid_highs_iq1[3][128];
extern const uint8_t grid_halves_iq3_xxs[2][256];
extern const uint8_t grid_halves_iq3_s[2][512];

#endif /* WEFT_KERNELS_GRIDS_H */
