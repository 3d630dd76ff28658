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

/* X(NAME, name, rows): the most rows for which that is faster than opening a chunk first. */
#define LINEAR_FEW_AVX2_LIST(X) \
    X(Q2_K, q2_k, 4)            \
    X(Q3_K, q3_k, 4)            \
    X(TQ2_0, tq2_0, 4)          \
    X(TQ1_0, tq1_0, 1)          \
    X(IQ4_NL, iq4_nl, 4)        \
    X(IQ4_XS, iq4_xs, 1)        \
    X(MXFP4, mxfp4, 3)          \
    X(NVFP4, nvfp4, 3)          \
    X(IQ2_XXS, iq2_xxs, 1)      \
    X(IQ2_XS, iq2_xs, 1)        \
    X(IQ2_S, iq2_s, 1)          \
    X(IQ3_XXS, iq3_xxs, 1)      \
    X(IQ3_S, iq3_s, 1)          \
    X(IQ1_S, iq1_s, 1)          \
    X(IQ1_M, iq1_m, 1)

#define X(NAME, name, rows) linear_few_fn linear_few_##name##_avx2;
LINEAR_FEW_AVX2_LIST(X)
#undef X
#define X(NAME, name, rows) LINEAR_FEW_ROWS_##NAME = rows,
enum { LINEAR_FEW_AVX2_LIST(X) };
#undef X

#endif /* WEFT_KERNELS_X86_LINEAR_FEW_AVX2_H */
