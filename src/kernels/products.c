/* products.c - which function stands in which product slot.
 *
 * The references fill every slot of the supported formats (pack_is_supported); each instruction
 * set then overrides what it does better. Packing and rows of panels are plain C everywhere: they
 * run once a weight, or once a token, at the speed of memory.
 */
#include "kernels/products.h"

#include "base/cpu.h"

void products_init_ref(kernels_cpu *k) {
    k->pack_panel[WEFT_DTYPE_F32] = pack_panel_f32_ref;
    k->pack_panel[WEFT_DTYPE_F16] = pack_panel_16_ref;
    k->pack_panel[WEFT_DTYPE_BF16] = pack_panel_16_ref;
    k->pack_panel[WEFT_DTYPE_Q4_0] = pack_panel_q4_0_ref;
    k->pack_panel[WEFT_DTYPE_Q4_1] = pack_panel_q4_1_ref;
    k->pack_panel[WEFT_DTYPE_Q5_0] = pack_panel_q5_0_ref;
    k->pack_panel[WEFT_DTYPE_Q5_1] = pack_panel_q5_1_ref;
    k->pack_panel[WEFT_DTYPE_Q8_0] = pack_panel_q8_0_ref;
    k->pack_panel[WEFT_DTYPE_Q4_K] = pack_panel_q4_k_ref;
    k->pack_panel[WEFT_DTYPE_Q5_K] = pack_panel_q5_k_ref;
    k->pack_panel[WEFT_DTYPE_Q6_K] = pack_panel_q6_k_ref;
    k->pack_panel[WEFT_DTYPE_F8_E4M3] = pack_panel_f8_e4m3_ref;
    k->unpack_panel[WEFT_DTYPE_F32] = unpack_panel_f32_ref;
    k->unpack_panel[WEFT_DTYPE_F16] = unpack_panel_16_ref;
    k->unpack_panel[WEFT_DTYPE_BF16] = unpack_panel_16_ref;
    k->unpack_panel[WEFT_DTYPE_Q4_0] = unpack_panel_q4_0_ref;
    k->unpack_panel[WEFT_DTYPE_Q4_1] = unpack_panel_q4_1_ref;
    k->unpack_panel[WEFT_DTYPE_Q5_0] = unpack_panel_q5_0_ref;
    k->unpack_panel[WEFT_DTYPE_Q5_1] = unpack_panel_q5_1_ref;
    k->unpack_panel[WEFT_DTYPE_Q8_0] = unpack_panel_q8_0_ref;
    k->unpack_panel[WEFT_DTYPE_Q4_K] = unpack_panel_q4_k_ref;
    k->unpack_panel[WEFT_DTYPE_Q5_K] = unpack_panel_q5_k_ref;
    k->unpack_panel[WEFT_DTYPE_Q6_K] = unpack_panel_q6_k_ref;
    k->unpack_panel[WEFT_DTYPE_F8_E4M3] = unpack_panel_f8_e4m3_ref;
    k->panel_row[WEFT_DTYPE_F32] = panel_row_f32_ref;
    k->panel_row[WEFT_DTYPE_F16] = panel_row_f16_ref;
    k->panel_row[WEFT_DTYPE_BF16] = panel_row_bf16_ref;
    k->panel_row[WEFT_DTYPE_Q4_0] = panel_row_q4_0_ref;
    k->panel_row[WEFT_DTYPE_Q4_1] = panel_row_q4_1_ref;
    k->panel_row[WEFT_DTYPE_Q5_0] = panel_row_q5_0_ref;
    k->panel_row[WEFT_DTYPE_Q5_1] = panel_row_q5_1_ref;
    k->panel_row[WEFT_DTYPE_Q8_0] = panel_row_q8_0_ref;
    k->panel_row[WEFT_DTYPE_Q4_K] = panel_row_q4_k_ref;
    k->panel_row[WEFT_DTYPE_Q5_K] = panel_row_q5_k_ref;
    k->panel_row[WEFT_DTYPE_Q6_K] = panel_row_q6_k_ref;
    k->panel_row[WEFT_DTYPE_F8_E4M3] = panel_row_f8_e4m3_ref;
    k->linear[WEFT_DTYPE_F32] = linear_f32_ref;
    k->linear[WEFT_DTYPE_F16] = linear_f16_ref;
    k->linear[WEFT_DTYPE_BF16] = linear_bf16_ref;
    k->linear[WEFT_DTYPE_Q4_0] = linear_q4_0_ref;
    k->linear[WEFT_DTYPE_Q4_1] = linear_q4_1_ref;
    k->linear[WEFT_DTYPE_Q5_0] = linear_q5_0_ref;
    k->linear[WEFT_DTYPE_Q5_1] = linear_q5_1_ref;
    k->linear[WEFT_DTYPE_Q8_0] = linear_q8_0_ref;
    k->linear[WEFT_DTYPE_Q4_K] = linear_q4_k_ref;
    k->linear[WEFT_DTYPE_Q5_K] = linear_q5_k_ref;
    k->linear[WEFT_DTYPE_Q6_K] = linear_q6_k_ref;
    k->linear[WEFT_DTYPE_F8_E4M3] = linear_f8_e4m3_ref;
    k->linear_bf16_pairs = linear_bf16_pairs_ref;
#define X(NAME, name)                                               \
    k->pack_panel[WEFT_DTYPE_##NAME] = pack_panel_##name##_ref;     \
    k->unpack_panel[WEFT_DTYPE_##NAME] = unpack_panel_##name##_ref; \
    k->panel_row[WEFT_DTYPE_##NAME] = panel_row_##name##_ref;       \
    k->linear[WEFT_DTYPE_##NAME] = linear_##name##_ref;
    PACK_OPENED_LIST(X)
#undef X
    k->act_quantize[ACT_F32] = act_quantize_f32_ref;
    k->act_quantize[ACT_Q8] = act_quantize_q8_ref;
    k->act_quantize[ACT_Q16] = act_quantize_q16_ref;
    k->act_quantize[ACT_Q8_256] = act_quantize_q8_256_ref;
    k->act_quantize[ACT_BF16] = act_quantize_bf16_ref;
    k->act_quantize[ACT_Q12] = act_quantize_q12_ref;
    k->act_quantize[ACT_SPLIT] = act_quantize_split_ref;
    k->act_quantize[ACT_Q9] = act_quantize_q9_ref;
    k->act_quantize[ACT_STEPS] = act_quantize_steps_ref;
    k->act_residual[ACT_Q8] = act_residual_q8_ref;
    k->act_residual[ACT_Q8_256] = act_residual_q8_256_ref;
    k->act_residual[ACT_STEPS] = act_residual_steps_ref;
    for (int dtype = 0; dtype < WEFT_DTYPE_COUNT; dtype++) {
        k->act_form[dtype] = act_form_of((weft_dtype)dtype);
        k->linear_panels[dtype] = 1;
    }
    k->linear_rows = 32;
}

#if defined(__x86_64__)
static void init_avx2(kernels_cpu *k) {
    k->linear[WEFT_DTYPE_F32] = linear_f32_avx2;
    k->linear[WEFT_DTYPE_F16] = linear_f16_avx2;
    k->linear[WEFT_DTYPE_BF16] = linear_bf16_avx2;
    k->linear[WEFT_DTYPE_Q4_0] = linear_q4_0_avx2;
    k->linear[WEFT_DTYPE_Q4_1] = linear_q4_1_avx2;
    k->linear[WEFT_DTYPE_Q5_0] = linear_q5_0_avx2;
    k->linear[WEFT_DTYPE_Q5_1] = linear_q5_1_avx2;
    k->linear[WEFT_DTYPE_Q8_0] = linear_q8_0_avx2;
    k->linear[WEFT_DTYPE_Q4_K] = linear_q4_k_avx2;
    k->linear[WEFT_DTYPE_Q5_K] = linear_q5_k_avx2;
    k->linear[WEFT_DTYPE_Q6_K] = linear_q6_k_avx2;
    k->linear[WEFT_DTYPE_F8_E4M3] = linear_f8_e4m3_avx2;
    k->act_form[WEFT_DTYPE_F8_E4M3] = ACT_Q9;
#define X(NAME, name) k->linear[WEFT_DTYPE_##NAME] = linear_##name##_avx2;
    PACK_OPENED_LIST(X)
#undef X
    k->act_quantize[ACT_Q8] = act_quantize_q8_avx2;
    k->act_quantize[ACT_Q16] = act_quantize_q16_avx2;
    k->act_quantize[ACT_BF16] = act_quantize_bf16_avx2;
    k->act_quantize[ACT_Q9] = act_quantize_q9_avx2;
    k->act_residual[ACT_Q8] = act_residual_q8_avx2;
    k->linear_rows = 6;
}

static void init_avx512(kernels_cpu *k) {
    k->linear[WEFT_DTYPE_F32] = linear_f32_avx512;
    k->linear[WEFT_DTYPE_F16] = linear_f16_avx512;
    k->linear[WEFT_DTYPE_BF16] = linear_bf16_avx512;
    k->act_quantize[ACT_Q8] = act_quantize_q8_avx512;
    k->act_quantize[ACT_Q12] = act_quantize_q12_avx512;
    k->act_quantize[ACT_Q8_256] = act_quantize_q8_256_avx512;
    k->act_quantize[ACT_STEPS] = act_quantize_steps_avx512;
    k->act_residual[ACT_Q8] = act_residual_q8_avx512;
    k->act_residual[ACT_Q8_256] = act_residual_q8_256_avx512;
    k->act_residual[ACT_STEPS] = act_residual_steps_avx512;
    k->linear_rows = 32;
}

static void init_avx512vnni(kernels_cpu *k) {
#define X(NAME, name) k->linear[WEFT_DTYPE_##NAME] = linear_##name##_avx512vnni;
    PRODUCTS_BYTES_LIST(X)
    PACK_OPENED_LIST(X)
#undef X
#define X(NAME, name) k->act_form[WEFT_DTYPE_##NAME] = ACT_STEPS;
    PRODUCTS_STEPS_VNNI_LIST(X)
#undef X
    k->act_form[WEFT_DTYPE_Q8_0] = ACT_Q8;
    k->linear[WEFT_DTYPE_F8_E4M3] = linear_f8_e4m3_avx512vnni;
}

static void init_avx512vbmi(kernels_cpu *k) {
#define X(NAME, name)                                          \
    k->linear[WEFT_DTYPE_##NAME] = linear_##name##_avx512vbmi; \
    k->act_form[WEFT_DTYPE_##NAME] = ACT_STEPS;
    PRODUCTS_VBMI_LIST(X)
#undef X
}

static void set_amx(kernels_cpu *k, weft_dtype dtype, linear_fn *linear, act_form form,
                    uint32_t n_panels) {
    k->linear[dtype] = linear;
    k->act_form[dtype] = form;
    k->linear_panels[dtype] = n_panels;
}

static void init_amx(kernels_cpu *k) {
#define X(NAME, name)                                                            \
    set_amx(k, WEFT_DTYPE_##NAME, linear_##name##_amx, ACT_Q8_256, KERNEL_PAIR); \
    k->linear_precise[WEFT_DTYPE_##NAME] = linear_precise_##name##_amx;
    PRODUCTS_LONG_LIST(X)
#undef X
}

static void init_amxbf16(kernels_cpu *k) {
    k->linear[WEFT_DTYPE_F8_E4M3] = linear_f8_e4m3_amx;
    k->act_form[WEFT_DTYPE_F8_E4M3] = ACT_BF16;
    k->linear_bf16_pairs = linear_bf16_pairs_amx;
#define X(NAME, name) set_amx(k, WEFT_DTYPE_##NAME, linear_##name##_amx, ACT_SPLIT, KERNEL_PAIR);
    PRODUCTS_SPLIT_LIST(X)
#undef X
    k->act_quantize[ACT_SPLIT] = act_quantize_split_amx;
#define X(NAME, name) \
    set_amx(k, WEFT_DTYPE_##NAME, linear_##name##_amx, ACT_Q12, KERNEL_PANELS_MAX);
    PRODUCTS_TWELVE_LIST(X)
#undef X
}

void products_init_x86(kernels_cpu *k, uint32_t flags) {
    if ((flags & CPU_AVX2) == 0) {
        return;
    }
    init_avx2(k);
    if ((flags & CPU_AVX512) == 0) {
        return;
    }
    init_avx512(k);
    if ((flags & CPU_AVX512VNNI) == 0) {
        return;
    }
    init_avx512vnni(k);
    if ((flags & CPU_AVX512VBMI) != 0) {
        init_avx512vbmi(k);
    }
    if ((flags & CPU_AVX512BF16) != 0) {
        k->linear_bf16_pairs = linear_bf16_pairs_avx512bf16;
        if ((flags & CPU_FASTBF16) != 0 && (flags & CPU_AVX512VBMI) != 0) {
            k->linear[WEFT_DTYPE_F8_E4M3] = linear_f8_e4m3_fastbf16;
            k->act_form[WEFT_DTYPE_F8_E4M3] = ACT_BF16;
        }
    }
    if ((flags & CPU_AMX) == 0) {
        return;
    }
    init_amx(k);
    if ((flags & CPU_AMXBF16) != 0) {
        init_amxbf16(k);
    }
}
#endif

#if defined(__aarch64__)
void products_init_arm(kernels_cpu *k, uint32_t flags) {
    if ((flags & CPU_NEON) == 0) {
        return;
    }
    k->linear[WEFT_DTYPE_F32] = linear_f32_neon;
    k->linear[WEFT_DTYPE_F16] = linear_f16_neon;
    k->linear[WEFT_DTYPE_BF16] = linear_bf16_neon;
    k->linear[WEFT_DTYPE_Q8_0] = linear_q8_0_neon;
    k->linear[WEFT_DTYPE_Q4_0] = linear_q4_0_neon;
    k->linear[WEFT_DTYPE_Q4_1] = linear_q4_1_neon;
    k->linear[WEFT_DTYPE_Q5_0] = linear_q5_0_neon;
    k->linear[WEFT_DTYPE_Q5_1] = linear_q5_1_neon;
    k->linear[WEFT_DTYPE_Q4_K] = linear_q4_k_neon;
    k->linear[WEFT_DTYPE_Q5_K] = linear_q5_k_neon;
    k->linear[WEFT_DTYPE_Q6_K] = linear_q6_k_neon;
    k->linear[WEFT_DTYPE_F8_E4M3] = linear_f8_e4m3_neon;
    k->act_quantize[ACT_Q8] = act_quantize_q8_neon;
    k->act_quantize[ACT_Q16] = act_quantize_q16_neon;
    k->act_quantize[ACT_BF16] = act_quantize_bf16_neon;
    k->act_residual[ACT_Q8] = act_residual_q8_neon;
#define X(NAME, name) k->linear[WEFT_DTYPE_##NAME] = linear_##name##_neon;
    PACK_OPENED_LIST(X)
#undef X
    if ((flags & CPU_DOTPROD) == 0) {
        return;
    }
    k->linear[WEFT_DTYPE_Q4_0] = linear_q4_0_dotprod;
    k->linear[WEFT_DTYPE_Q4_1] = linear_q4_1_dotprod;
    k->linear[WEFT_DTYPE_Q5_0] = linear_q5_0_dotprod;
    k->linear[WEFT_DTYPE_Q5_1] = linear_q5_1_dotprod;
    k->linear[WEFT_DTYPE_Q4_K] = linear_q4_k_dotprod;
    k->linear[WEFT_DTYPE_Q5_K] = linear_q5_k_dotprod;
    k->linear[WEFT_DTYPE_Q6_K] = linear_q6_k_dotprod;
#define X(NAME, name) k->linear[WEFT_DTYPE_##NAME] = linear_##name##_dotprod;
    PACK_OPENED_LIST(X)
#undef X
    if ((flags & CPU_I8MM) == 0) {
        return;
    }
    k->linear[WEFT_DTYPE_Q4_0] = linear_q4_0_i8mm;
    k->linear[WEFT_DTYPE_Q4_1] = linear_q4_1_i8mm;
    k->linear[WEFT_DTYPE_Q5_0] = linear_q5_0_i8mm;
    k->linear[WEFT_DTYPE_Q5_1] = linear_q5_1_i8mm;
    k->linear[WEFT_DTYPE_Q4_K] = linear_q4_k_i8mm;
    k->linear[WEFT_DTYPE_Q5_K] = linear_q5_k_i8mm;
    k->linear[WEFT_DTYPE_Q6_K] = linear_q6_k_i8mm;
#define X(NAME, name) k->linear[WEFT_DTYPE_##NAME] = linear_##name##_i8mm;
    PACK_OPENED_LIST(X)
#undef X
}
#endif
