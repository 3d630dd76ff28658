/* linear_opened_avx512.h - products of opened formats by AVX-512 VNNI with any way to open them. */
#ifndef WEFT_KERNELS_X86_LINEAR_OPENED_AVX512_H
#define WEFT_KERNELS_X86_LINEAR_OPENED_AVX512_H

#include <stddef.h>

#include "kernels/opened.h"

/* A linear_fn (kernels.h) that reads x in steps and whose chunks `open` opens: codes, d and, where
 * there are scales, whole. */
typedef void linear_opened_fn(opened_open_fn *open, float *y, size_t y_stride, const void *panel,
                              const void *x, size_t x_stride_bytes, size_t m, size_t n, size_t k);

#define X(NAME, name) linear_opened_fn linear_opened_##name##_avx512vnni;
PACK_BITS_LIST(X)
PACK_GRIDS_LIST(X)
#undef X

#endif /* WEFT_KERNELS_X86_LINEAR_OPENED_AVX512_H */
