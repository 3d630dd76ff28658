/* kernels_cpu.c - fills the table: plain C everywhere, then upward by CPU flag.
 *
 * Each level returns early when its flag is missing, so that a level may count on what lies below
 * it. Products fill their own slots (products.h) by the same rule. Nothing asks for flags later.
 */
#include <string.h>

#include "base/cpu.h"
#include "kernels/kernels.h"
#include "kernels/products.h"
#include "kernels/ref/kernels_ref.h"

static void init_ref(kernels_cpu *k);

#if defined(__x86_64__)
#include "kernels/x86/kernels_amx.h"
#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/kernels_avx512.h"

static void init_x86(kernels_cpu *k, uint32_t flags);
static void init_avx512(kernels_cpu *k);
#elif defined(__aarch64__)
#include "kernels/arm/kernels_neon.h"

static void init_arm(kernels_cpu *k, uint32_t flags);
#endif

void kernels_cpu_init(kernels_cpu *k, uint32_t cpu_flags) {
    memset(k, 0, sizeof(*k));
    init_ref(k);
    products_init_ref(k);
#if defined(__x86_64__)
    init_x86(k, cpu_flags);
    products_init_x86(k, cpu_flags);
#elif defined(__aarch64__)
    init_arm(k, cpu_flags);
    products_init_arm(k, cpu_flags);
#else
    (void)cpu_flags;
#endif
}

static void init_ref(kernels_cpu *k) {
    k->attention[WEFT_DTYPE_F32] = attention_f32_ref;
    k->attention[WEFT_DTYPE_F16] = attention_f16_ref;
    k->attention[WEFT_DTYPE_Q8_0] = attention_q8_0_ref;
    k->attention[WEFT_DTYPE_Q4_0] = attention_q4_0_ref;
    k->attention_merge = attention_merge_f32_ref;
    k->kv_store[WEFT_DTYPE_F32] = kv_store_f32_ref;
    k->kv_store[WEFT_DTYPE_F16] = kv_store_f16_ref;
    k->kv_store[WEFT_DTYPE_Q8_0] = kv_store_q8_0_ref;
    k->kv_store[WEFT_DTYPE_Q4_0] = kv_store_q4_0_ref;
    k->rmsnorm = rmsnorm_f32_ref;
    k->add_rmsnorm = add_rmsnorm_f32_ref;
    k->layernorm = layernorm_f32_ref;
    k->softmax = softmax_f32_ref;
    k->topk = topk_f32_ref;
    k->mul_add = mul_add_f32_ref;
    k->add = add_f32_ref;
    k->scale = scale_f32_ref;
    k->act_mul[ACT_KIND_SILU] = silu_mul_f32_ref;
    k->act_mul[ACT_KIND_GELU_TANH] = gelu_tanh_mul_f32_ref;
    k->act_mul[ACT_KIND_GELU_ERF] = gelu_erf_mul_f32_ref;
    k->act_mul[ACT_KIND_GELU_QUICK] = gelu_quick_mul_f32_ref;
    k->act_mul[ACT_KIND_SIGMOID] = sigmoid_mul_f32_ref;
    k->softcap = softcap_f32_ref;
    k->rope_table = rope_table_f32_ref;
    k->rope[ROPE_HALVES] = rope_halves_f32_ref;
    k->rope[ROPE_PAIRS] = rope_pairs_f32_ref;
}

bool kernels_cpu_use_bf16(kernels_cpu *k) {
    if (k->linear_bf16_pairs == linear_bf16_pairs_ref) {
        return false;
    }
    k->linear[WEFT_DTYPE_BF16] = k->linear_bf16_pairs;
    k->act_form[WEFT_DTYPE_BF16] = ACT_BF16;
    k->linear_panels[WEFT_DTYPE_BF16] = 1;
    return true;
}

#if defined(__x86_64__)
static void init_x86(kernels_cpu *k, uint32_t flags) {
    if ((flags & CPU_AVX2) == 0) {
        return;
    }
    k->attention[WEFT_DTYPE_F32] = attention_f32_avx2;
    k->attention[WEFT_DTYPE_F16] = attention_f16_avx2;
    k->attention[WEFT_DTYPE_Q8_0] = attention_q8_0_avx2;
    k->attention[WEFT_DTYPE_Q4_0] = attention_q4_0_avx2;
    k->attention_merge = attention_merge_f32_avx2;
    k->kv_store[WEFT_DTYPE_F16] = kv_store_f16_avx2;
    k->kv_store[WEFT_DTYPE_Q8_0] = kv_store_q8_0_avx2;
    k->kv_store[WEFT_DTYPE_Q4_0] = kv_store_q4_0_avx2;
    k->rmsnorm = rmsnorm_f32_avx2;
    k->add_rmsnorm = add_rmsnorm_f32_avx2;
    k->layernorm = layernorm_f32_avx2;
    k->softmax = softmax_f32_avx2;
    k->topk = topk_f32_avx2;
    k->mul_add = mul_add_f32_avx2;
    k->add = add_f32_avx2;
    k->scale = scale_f32_avx2;
    k->act_mul[ACT_KIND_SILU] = silu_mul_f32_avx2;
    k->act_mul[ACT_KIND_GELU_TANH] = gelu_tanh_mul_f32_avx2;
    k->act_mul[ACT_KIND_GELU_ERF] = gelu_erf_mul_f32_avx2;
    k->act_mul[ACT_KIND_GELU_QUICK] = gelu_quick_mul_f32_avx2;
    k->act_mul[ACT_KIND_SIGMOID] = sigmoid_mul_f32_avx2;
    k->softcap = softcap_f32_avx2;
    k->rope[ROPE_HALVES] = rope_halves_f32_avx2;
    k->rope[ROPE_PAIRS] = rope_pairs_f32_avx2;
    if ((flags & CPU_AVX512) != 0) {
        init_avx512(k);
        if ((flags & CPU_AMXBF16) != 0) {
            k->attention[WEFT_DTYPE_F16] = attention_f16_amx;
        }
    }
}

static void init_avx512(kernels_cpu *k) {
    k->attention[WEFT_DTYPE_F32] = attention_f32_avx512;
    k->attention[WEFT_DTYPE_F16] = attention_f16_avx512;
    k->attention[WEFT_DTYPE_Q8_0] = attention_q8_0_avx512;
    k->attention[WEFT_DTYPE_Q4_0] = attention_q4_0_avx512;
    k->attention_merge = attention_merge_f32_avx512;
    k->kv_store_column[WEFT_DTYPE_F32] = kv_store_column_f32_avx512;
    k->kv_store_column[WEFT_DTYPE_F16] = kv_store_column_f16_avx512;
    k->kv_store_column[WEFT_DTYPE_Q8_0] = kv_store_column_q8_0_avx512;
    k->kv_store_column[WEFT_DTYPE_Q4_0] = kv_store_column_q4_0_avx512;
    k->rmsnorm = rmsnorm_f32_avx512;
    k->add_rmsnorm = add_rmsnorm_f32_avx512;
    k->layernorm = layernorm_f32_avx512;
    k->softmax = softmax_f32_avx512;
    k->topk = topk_f32_avx512;
    k->mul_add = mul_add_f32_avx512;
    k->add = add_f32_avx512;
    k->scale = scale_f32_avx512;
    k->act_mul[ACT_KIND_SILU] = silu_mul_f32_avx512;
    k->act_mul[ACT_KIND_GELU_TANH] = gelu_tanh_mul_f32_avx512;
    k->act_mul[ACT_KIND_GELU_ERF] = gelu_erf_mul_f32_avx512;
    k->act_mul[ACT_KIND_GELU_QUICK] = gelu_quick_mul_f32_avx512;
    k->act_mul[ACT_KIND_SIGMOID] = sigmoid_mul_f32_avx512;
    k->softcap = softcap_f32_avx512;
    k->rope[ROPE_HALVES] = rope_halves_f32_avx512;
    k->rope[ROPE_PAIRS] = rope_pairs_f32_avx512;
}
#endif

#if defined(__aarch64__)
static void init_arm(kernels_cpu *k, uint32_t flags) {
    if ((flags & CPU_NEON) == 0) {
        return;
    }
    k->kv_store[WEFT_DTYPE_F16] = kv_store_f16_neon;
    k->kv_store[WEFT_DTYPE_Q8_0] = kv_store_q8_0_neon;
    k->kv_store[WEFT_DTYPE_Q4_0] = kv_store_q4_0_neon;
    k->attention[WEFT_DTYPE_F32] = attention_f32_neon;
    k->attention[WEFT_DTYPE_F16] = attention_f16_neon;
    k->attention[WEFT_DTYPE_Q8_0] = attention_q8_0_neon;
    k->attention[WEFT_DTYPE_Q4_0] = attention_q4_0_neon;
    k->attention_merge = attention_merge_f32_neon;
    k->rmsnorm = rmsnorm_f32_neon;
    k->add_rmsnorm = add_rmsnorm_f32_neon;
    k->layernorm = layernorm_f32_neon;
    k->softmax = softmax_f32_neon;
    k->topk = topk_f32_neon;
    k->mul_add = mul_add_f32_neon;
    k->add = add_f32_neon;
    k->scale = scale_f32_neon;
    k->act_mul[ACT_KIND_SILU] = silu_mul_f32_neon;
    k->act_mul[ACT_KIND_GELU_TANH] = gelu_tanh_mul_f32_neon;
    k->act_mul[ACT_KIND_GELU_ERF] = gelu_erf_mul_f32_neon;
    k->act_mul[ACT_KIND_GELU_QUICK] = gelu_quick_mul_f32_neon;
    k->act_mul[ACT_KIND_SIGMOID] = sigmoid_mul_f32_neon;
    k->softcap = softcap_f32_neon;
    k->rope[ROPE_HALVES] = rope_halves_f32_neon;
    k->rope[ROPE_PAIRS] = rope_pairs_f32_neon;
}
#endif
