/* kernels_neon.h - the NEON function of every family that is not a product.
 *
 * Contracts are in kernels.h. Callable only where CPU_NEON is set.
 */
#ifndef WEFT_KERNELS_ARM_KERNELS_NEON_H
#define WEFT_KERNELS_ARM_KERNELS_NEON_H

#include "kernels/kernels.h"

rmsnorm_fn rmsnorm_f32_neon;
add_rmsnorm_fn add_rmsnorm_f32_neon;
layernorm_fn layernorm_f32_neon;
softmax_fn softmax_f32_neon;
topk_fn topk_f32_neon;
mul_add_fn mul_add_f32_neon;
add_fn add_f32_neon;
scale_fn scale_f32_neon;
act_mul_fn silu_mul_f32_neon;
act_mul_fn gelu_tanh_mul_f32_neon;
act_mul_fn gelu_erf_mul_f32_neon;
act_mul_fn gelu_quick_mul_f32_neon;
act_mul_fn sigmoid_mul_f32_neon;
softcap_fn softcap_f32_neon;

rope_fn rope_halves_f32_neon;
rope_fn rope_pairs_f32_neon;

kv_store_fn kv_store_f16_neon;
kv_store_fn kv_store_q8_0_neon;
kv_store_fn kv_store_q4_0_neon;

attention_fn attention_f32_neon;
attention_fn attention_f16_neon;
attention_fn attention_q8_0_neon;
attention_fn attention_q4_0_neon;
attention_merge_fn attention_merge_f32_neon;

#endif /* WEFT_KERNELS_ARM_KERNELS_NEON_H */
