/* kernels_avx512.h - the AVX-512 (F, BW, DQ, VL) function of every family that is not a product.
 *
 * Contracts are in kernels.h. Callable only where CPU_AVX2 and CPU_AVX512 are set.
 */
#ifndef WEFT_KERNELS_X86_KERNELS_AVX512_H
#define WEFT_KERNELS_X86_KERNELS_AVX512_H

#include "kernels/kernels.h"

rmsnorm_fn rmsnorm_f32_avx512;
add_rmsnorm_fn add_rmsnorm_f32_avx512;
layernorm_fn layernorm_f32_avx512;
softmax_fn softmax_f32_avx512;
topk_fn topk_f32_avx512;
mul_add_fn mul_add_f32_avx512;
add_fn add_f32_avx512;
scale_fn scale_f32_avx512;
act_mul_fn silu_mul_f32_avx512;
act_mul_fn gelu_tanh_mul_f32_avx512;
act_mul_fn gelu_erf_mul_f32_avx512;
act_mul_fn gelu_quick_mul_f32_avx512;
act_mul_fn sigmoid_mul_f32_avx512;
softcap_fn softcap_f32_avx512;

rope_fn rope_halves_f32_avx512;
rope_fn rope_pairs_f32_avx512;

attention_fn attention_f32_avx512;
attention_fn attention_f16_avx512;
attention_fn attention_q8_0_avx512;
attention_fn attention_q4_0_avx512;
attention_merge_fn attention_merge_f32_avx512;
kv_store_column_fn kv_store_column_f32_avx512, kv_store_column_f16_avx512;
kv_store_column_fn kv_store_column_q8_0_avx512, kv_store_column_q4_0_avx512;

#endif /* WEFT_KERNELS_X86_KERNELS_AVX512_H */
