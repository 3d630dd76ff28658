/* linear_few_avx512.h - few rows of x against a slab of codes of two or three bits, without opening
 * it, by AVX-512 VNNI. */
#ifndef WEFT_KERNELS_X86_LINEAR_FEW_AVX512_H
#define WEFT_KERNELS_X86_LINEAR_FEW_AVX512_H

#include <stddef.h>
#include <stdint.h>

#include "layout/act.h"

#define LINEAR_FEW_ROWS 4u

/* y [rows][16] += x . the 256 columns of slab; x is eight act_block_q8 a row, rows x_stride bytes
 * apart, from 1 to LINEAR_FEW_ROWS. The bits are those that opening gives. */
typedef void linear_few_avx512_fn(size_t rows, float *y, const uint8_t *slab, const uint8_t *x,
                                  size_t x_stride);

linear_few_avx512_fn linear_few_q2_k_avx512, linear_few_q3_k_avx512, linear_few_tq2_0_avx512;

#endif /* WEFT_KERNELS_X86_LINEAR_FEW_AVX512_H */
