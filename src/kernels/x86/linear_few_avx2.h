/* linear_few_avx2.h - few rows of x against a slab of an opened format, without opening it. */
#ifndef WEFT_KERNELS_X86_LINEAR_FEW_AVX2_H
#define WEFT_KERNELS_X86_LINEAR_FEW_AVX2_H

#include <stddef.h>
#include <stdint.h>

/* y [rows][16] += x [rows] . the n_blocks blocks of 32 columns (8 but for formats whose slabs are
 * one or two) that begin at slab; a row of x is as many act_block_q8, and x_stride bytes further is
 * the next. The bits are those that opening gives. Asks for what comes later. */
typedef void linear_few_fn(size_t rows, float *y, const uint8_t *slab, size_t n_blocks,
                           const uint8_t *x, size_t x_stride);

/* Up to four rows. */
linear_few_fn linear_few_q2_k_avx2, linear_few_q3_k_avx2, linear_few_tq2_0_avx2;
linear_few_fn linear_few_iq4_nl_avx2, linear_few_iq4_xs_avx2, linear_few_mxfp4_avx2,
    linear_few_nvfp4_avx2;

/* One row. */
linear_few_fn linear_one_tq1_0_avx2, linear_one_iq2_xxs_avx2, linear_one_iq2_xs_avx2,
    linear_one_iq2_s_avx2, linear_one_iq3_xxs_avx2, linear_one_iq3_s_avx2, linear_one_iq1_s_avx2,
    linear_one_iq1_m_avx2;

#endif /* WEFT_KERNELS_X86_LINEAR_FEW_AVX2_H */
