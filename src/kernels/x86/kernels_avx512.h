/* kernels_avx512.h - the AVX-512 (F, BW, DQ, VL) function of every family that is not a product.
 *
 * Contracts are in kernels.h. Callable only where CPU_AVX2 and CPU_AVX512 are set.
 */
#ifndef WEFT_KERNELS_X86_KERNELS_AVX512_H
#define WEFT_KERNELS_X86_KERNELS_AVX512_H

#include "kernels/kernels.h"

attention_fn attention_f32_avx512;
attention_fn attention_f16_avx512;
attention_fn attention_q8_0_avx512;
attention_fn attention_q4_0_avx512;
attention_merge_fn attention_merge_f32_avx512;

#endif /* WEFT_KERNELS_X86_KERNELS_AVX512_H */
