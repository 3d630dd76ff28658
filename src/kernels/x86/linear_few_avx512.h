/* linear_few_avx512.h - products of codes of two and three bits with few rows, which are not opened
 * first, by AVX-512 VNNI. */
#ifndef WEFT_KERNELS_X86_LINEAR_FEW_AVX512_H
#define WEFT_KERNELS_X86_LINEAR_FEW_AVX512_H

#include "kernels/kernels.h"

/* The most rows; from more on opening is faster. */
#define LINEAR_FEW_ROWS_MAX 16u
#define LINEAR_FEW_ROWS_MAX_Q2_K LINEAR_FEW_ROWS_MAX
#define LINEAR_FEW_ROWS_MAX_Q3_K 8u
#define LINEAR_FEW_ROWS_MAX_TQ2_0 LINEAR_FEW_ROWS_MAX

linear_fn linear_few_q2_k_avx512vnni, linear_few_q3_k_avx512vnni, linear_few_tq2_0_avx512vnni;

#endif /* WEFT_KERNELS_X86_LINEAR_FEW_AVX512_H */
