/* linear_one_avx2.h - one row of x against a slab of an opened format, without opening it. */
#ifndef WEFT_KERNELS_X86_LINEAR_ONE_AVX2_H
#define WEFT_KERNELS_X86_LINEAR_ONE_AVX2_H

#include <stddef.h>
#include <stdint.h>

/* y [16] += x . the n_blocks blocks of 32 columns (8 but for formats whose slabs are one) that
 * begin at slab; x is as many act_block_q8. The bits are those that opening gives. Asks for
 * what comes later. */
typedef void linear_one_fn(float *y, const uint8_t *slab, size_t n_blocks, const uint8_t *x);

linear_one_fn linear_one_q2_k_avx2, linear_one_q3_k_avx2, linear_one_tq1_0_avx2,
    linear_one_tq2_0_avx2, linear_one_iq4_nl_avx2, linear_one_iq4_xs_avx2, linear_one_mxfp4_avx2,
    linear_one_nvfp4_avx2;
linear_one_fn linear_one_iq2_xxs_avx2, linear_one_iq2_xs_avx2, linear_one_iq2_s_avx2,
    linear_one_iq3_xxs_avx2, linear_one_iq3_s_avx2, linear_one_iq1_s_avx2, linear_one_iq1_m_avx2;

#endif /* WEFT_KERNELS_X86_LINEAR_ONE_AVX2_H */
