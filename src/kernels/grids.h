/* grids.h - the codebooks of the IQ formats as bytes (tensor/quant_grids.h has them packed).
 *
 * A point's first column is its lowest byte. IQ2 and IQ3 list magnitudes, IQ1 eighths: 0, 8, 16 for
 * -1, 0, 1. The tables are 2 to 16 KB and stay in the first-level cache.
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

/* The words of tensor/quant_grids.h, all their low bytes and then all their high ones. */
extern const uint8_t grid_bytes_iq2_xxs[2][256];
extern const uint8_t grid_bytes_iq2_xs[2][512];
extern const uint8_t grid_bytes_iq2_s[2][1024];
extern const uint8_t grid_bytes_iq3_xxs[2][256];
extern const uint8_t grid_bytes_iq3_s[2][512];

#endif /* WEFT_KERNELS_GRIDS_H */
