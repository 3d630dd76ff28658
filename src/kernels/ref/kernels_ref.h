/* kernels_ref.h - the plain C function of every family that is not a product.
 *
 * Obvious scalar code, double where it matters. The contracts are in kernels.h; kernels_cpu.c
 * puts these into the table first and faster versions over them.
 */
#ifndef WEFT_KERNELS_REF_KERNELS_REF_H
#define WEFT_KERNELS_REF_KERNELS_REF_H

#include "kernels/kernels.h"

rmsnorm_fn rmsnorm_f32_ref;
add_rmsnorm_fn add_rmsnorm_f32_ref;
layernorm_fn layernorm_f32_ref;
softmax_fn softmax_f32_ref;
topk_fn topk_f32_ref;
mul_add_fn mul_add_f32_ref;
add_fn add_f32_ref;
scale_fn scale_f32_ref;
act_mul_fn silu_mul_f32_ref;
act_mul_fn gelu_tanh_mul_f32_ref;
act_mul_fn gelu_erf_mul_f32_ref;
act_mul_fn gelu_quick_mul_f32_ref;
act_mul_fn sigmoid_mul_f32_ref;
softcap_fn softcap_f32_ref;

rope_table_fn rope_table_f32_ref;
rope_fn rope_halves_f32_ref;
rope_fn rope_pairs_f32_ref;

attention_fn attention_f32_ref;
attention_fn attention_f16_ref;
attention_fn attention_q8_0_ref;
attention_fn attention_q4_0_ref;
attention_merge_fn attention_merge_f32_ref;

kv_store_fn kv_store_f32_ref;
kv_store_fn kv_store_f16_ref;
kv_store_fn kv_store_q8_0_ref;
kv_store_fn kv_store_q4_0_ref;

#endif /* WEFT_KERNELS_REF_KERNELS_REF_H */
