/* linear_one_avx512.h - one row of x against a slab of codes of two or three bits, without opening
 * it, by AVX-512 VNNI. */
#ifndef WEFT_KERNELS_X86_LINEAR_ONE_AVX512_H
#define WEFT_KERNELS_X86_LINEAR_ONE_AVX512_H

#include <stdint.h>

#include "layout/act.h"

/* y [16] += x . the 256 columns of slab; x is eight blocks. The bits are those that opening
 * gives. */
typedef void linear_one_avx512_fn(float *y, const uint8_t *slab, const act_block_q8 *x);

linear_one_avx512_fn linear_one_q2_k_avx512, linear_one_q3_k_avx512, linear_one_tq2_0_avx512;

#endif /* WEFT_KERNELS_X86_LINEAR_ONE_AVX512_H */
