/* products.h - the functions that fill the product slots of kernels_cpu.
 *
 * Contracts: kernels.h. Layouts: layout/slab.h (weights), layout/act.h (activations).
 *
 * What a product computes, so that every instruction set gives the same bits. Per output, one
 * chain y, starting at +0, over blocks (or columns) in ascending k, but for sums below; fma rounds
 * once, * rounds once, sums of integers are exact; float(dot) of Q8_0 and F8_E4M3 rounds once, the
 * others are exact:
 *
 *   F32 F16 BF16  y = fma(x[k], w[k], y)                                     column by column
 *   Q8_0          y = fma(float(dot), d * xs, y)                  dot = sum of w * x over 32,
 *                 x of 16 bits, or of 8 where the table's act_form says so
 *   F8_E4M3       y = fma(float(dot) / 8, d / 64 * xs, y)     with ACT_Q9 (with ACT_BF16: below),
 *                 dot = sum of 512 * w * x, at most 32 * 512 * 448 * 255 < 2^31. A NaN among the
 *                 128 codes that share d makes d NaN
 *   Q4_0, Q5_0    y = fma(float(dot), d * xs, y)                  dot = sum of (q - 8 or 16) * x
 *   Q4_1          y = fma(float(dot), d * xs, y), y = fma(m, xsum, y)        dot = sum of q * x
 *   Q5_1          as Q4_1 with q - 16 for q and fma(16, d, m) for m
 *   Q4_K          as Q4_1 with d * sc for d and -(dmin * mn) for m, per 32
 *   Q5_K          as Q4_K with q - 16 for q and fma(16, d * sc, -(dmin * mn)) for m
 *   opened        y = fma(float(dot), scale * xs, y)         (opened.h: PACK_OPENED_LIST)
 *   NVFP4         y = fma(float(dot), xs, y)
 *   with halves   fma(float(dot1), half1, float(dot0) * half0) for float(dot)
 *
 * Where 256 columns have one scale d, and blocks none or halves whole ones (Q6_K, and opened kinds
 * that are is_summed), sums over 256 columns start at +0, and y is added to once:
 *
 *   opened        sum = fma(float(dot), xs, sum), with halves as above
 *   Q6_K          sum = fma(float(sc0 * dot0 + sc1 * dot1), xs, sum)   halves of 16, q - 32
 *   Q2_K          and least = fma(float(min0 * -xsum0 + min1 * -xsum1), xs, least)
 *   all           y = fma(sum, d, y), and then Q2_K y = fma(least, min_scale, y)
 *
 * With ACT_Q8_256, over blocks of 256; float(...) rounds once:
 *
 *   Q4_K, Q5_K    y = fma(float(sum of sc * dot), d * xs, y),
 *                 y = fma(float(sum of mn * xsum), -dmin * xs, y)    8 blocks of 32, q unsigned
 *   Q6_K          y = fma(float(sum of sc * dot), d * xs, y)         16 of 16, q - 32
 *   opened        y = fma(float(sum of whole * dot), d * xs, y)      16 of 16, or 8 of 32
 *   Q2_K          then y = fma(float(sum of min * xsum), -min_scale * xs, y)
 *
 * With ACT_STEPS, over blocks of 256, of which sums begin at +0; 2^s is of 32 activations:
 *
 *   over blocks of 32               sum = sum + float(sum of sc * dot) / 2^s     sums as above
 *                                   Q6_K, IQ2_XS, IQ2_S, IQ1_M: over halves of these
 *   t = sum * d, and where there are minimums t = fma(float(sum of mn * xsum), -dmin / 8, t)
 *   y = fma(t, xs, y)
 *
 * float(...) is exact here, and xsum is in eighths of the scale.
 *
 * With ACT_Q12, over blocks of 256 columns, or what is left of them, sums begin at +0:
 *
 *   over blocks of 32               sum = fma(float(dot), d * 16 / 2^s, sum)
 *                                          dot = sum of u * a + v * b, u = w * 2^s, v = u >> 4
 *   y = fma(sum, xs, y)
 *
 * with d and w of above. s is 4 for codes of 4 bits, 3 for 5 and MXFP4, 0 for 8 and IQ4_NL: v is w
 * for the first, so that dot is w * x; else w / 2 or w / 16 rounded down. Where there are minimums
 * (Q4_1, Q5_1 with q for w) these are m0, their upper 16 bits, and m1, the rest; x's sums are h and
 * l (layout/act.h). Then, before sum is scaled, sum = sum + (even + odd), which is TDPBF16PS again:
 *
 *   over blocks of 32               even = fma(h, m0, even), odd = fma(l, m0, odd)
 *                                   even = fma(h, m1, even), odd = fma(l, m1, odd)
 *
 * With ACT_BF16 (F8_E4M3, and BF16 in linear_bf16_pairs, whose scale d is 1), over blocks of 128,
 * of which every 32 columns have two chains that start at +0:
 *
 *   even = fma(x[k], w[k], even), odd = fma(x[k + 1], w[k + 1], odd)
 *   sum = sum + (even + odd)                         four times a block, each addition rounded
 *   y = fma(sum, d, y)
 *
 * which is what TDPBF16PS computes. VDPBF16PS (AVX-512 with bf16; for F8_E4M3 where that is fast)
 * adds both columns of a pair to one chain: t = fma(x[k + 1], w[k + 1], t), t = fma(x[k], w[k], t).
 * linear_bf16_pairs is one such chain, y; a block of F8_E4M3 is two that start at +0, of its even
 * pairs and of its odd ones:
 *
 *   y = fma(even + odd, d, y)
 *
 * Numbers below 2^-126 are zeros to both instructions; activations have none below 2^-100. A NaN
 * among a block's codes makes y NaN.
 *
 * With ACT_SPLIT a weight is taken apart like an activation, but by cutting off: w0 its upper 16
 * bits, w1 those of w - w0, w2 those of the rest. Two sums y0 and y1 start at +0, and over blocks
 * of 32 columns, zeros beyond the last, y becomes y + (even + odd): chains over the 16 even and the
 * 16 odd columns, each t = fma(x[k], w[k], t) from +0. All of these take and leave zero for numbers
 * too small to be normal. The output is y0 + y1.
 *
 *   y0            x0 w2 (F32), then x1 w1 (F16, F32), then x0 w0            block by block
 *   y1            x0 w1 (F16, F32), then x1 w0, then x2 w0
 *
 * xs and xsum are the activation block's scale and sum, xsum0 and xsum1 the sums of its halves'
 * codes. The middle (16) is taken out of five-bit codes because a block then fits 16-bit sums; it
 * also cancels before rounding, not after.
 */
#ifndef WEFT_KERNELS_PRODUCTS_H
#define WEFT_KERNELS_PRODUCTS_H

#include "kernels/kernels.h"

/* Columns that share a scale of F8_E4M3, and that products of bf16 pairs sum up before they
 * scale. */
#define PAIRS_BLOCK_LEN 128u

/* Fills pack_panel, unpack_panel, panel_row, linear and act_quantize. */
void products_init_ref(kernels_cpu *k);
/* Overrides what the flags allow. */
void products_init_x86(kernels_cpu *k, uint32_t flags);
void products_init_arm(kernels_cpu *k, uint32_t flags);

/* ref/: plain C. */
pack_panel_fn pack_panel_f32_ref, pack_panel_16_ref, pack_panel_q4_0_ref, pack_panel_q4_1_ref;
pack_panel_fn pack_panel_q5_0_ref, pack_panel_q5_1_ref, pack_panel_q8_0_ref, pack_panel_q4_k_ref;
pack_panel_fn pack_panel_q5_k_ref, pack_panel_q6_k_ref, pack_panel_f8_e4m3_ref;

unpack_panel_fn unpack_panel_f32_ref, unpack_panel_16_ref, unpack_panel_q4_0_ref;
unpack_panel_fn unpack_panel_q4_1_ref, unpack_panel_q5_0_ref, unpack_panel_q5_1_ref;
unpack_panel_fn unpack_panel_q8_0_ref, unpack_panel_q4_k_ref, unpack_panel_q5_k_ref;
unpack_panel_fn unpack_panel_q6_k_ref, unpack_panel_f8_e4m3_ref;

panel_row_fn panel_row_f32_ref, panel_row_f16_ref, panel_row_bf16_ref, panel_row_q4_0_ref;
panel_row_fn panel_row_q4_1_ref, panel_row_q5_0_ref, panel_row_q5_1_ref, panel_row_q8_0_ref;
panel_row_fn panel_row_q4_k_ref, panel_row_q5_k_ref, panel_row_q6_k_ref, panel_row_f8_e4m3_ref;

linear_fn linear_f32_ref, linear_f16_ref, linear_bf16_ref, linear_q4_0_ref, linear_q4_1_ref;
linear_fn linear_q5_0_ref, linear_q5_1_ref, linear_q8_0_ref, linear_q4_k_ref, linear_q5_k_ref;
linear_fn linear_q6_k_ref, linear_f8_e4m3_ref, linear_bf16_pairs_ref;
linear_fn linear_bf16_chain_ref;    /* linear_bf16_pairs where vdpbf16ps multiplies: its twin */
linear_fn linear_f8_e4m3_chain_ref; /* and that of F8_E4M3 there */
linear_fn linear_q8_0_bytes_ref;    /* Q8_0 with ACT_Q8: the twin of levels that multiply bytes */
linear_fn linear_f8_e4m3_fixed_ref; /* with ACT_Q9: without fastbf16 and amxbf16 */

act_quantize_fn act_quantize_f32_ref, act_quantize_q8_ref, act_quantize_q16_ref;
act_quantize_fn act_quantize_q12_ref, act_quantize_q8_256_ref, act_quantize_bf16_ref;
act_quantize_fn act_quantize_split_ref, act_quantize_q9_ref, act_quantize_steps_ref;
act_residual_fn act_residual_q8_ref, act_residual_q8_256_ref, act_residual_steps_ref;

/* The formats of PACK_OPENED_LIST, a function of each kind for each. */
#define X(NAME, name)                          \
    pack_panel_fn pack_panel_##name##_ref;     \
    unpack_panel_fn unpack_panel_##name##_ref; \
    panel_row_fn panel_row_##name##_ref;       \
    linear_fn linear_##name##_ref, linear_##name##_avx2;
PACK_OPENED_LIST(X)
#undef X

/* x86/: AVX2 + FMA + F16C. */
linear_fn linear_f32_avx2, linear_f16_avx2, linear_bf16_avx2, linear_q4_0_avx2, linear_q4_1_avx2;
linear_fn linear_q5_0_avx2, linear_q5_1_avx2, linear_q8_0_avx2, linear_q4_k_avx2;
linear_fn linear_q5_k_avx2, linear_q6_k_avx2, linear_f8_e4m3_avx2;

act_quantize_fn act_quantize_q8_avx2, act_quantize_q9_avx2, act_quantize_q16_avx2;
act_quantize_fn act_quantize_bf16_avx2;
act_residual_fn act_residual_q8_avx2;

/* x86/: AVX-512 F, BW, DQ, VL. */
linear_fn linear_f32_avx512, linear_f16_avx512, linear_bf16_avx512;
act_quantize_fn act_quantize_q8_avx512, act_quantize_q12_avx512, act_quantize_q8_256_avx512;
act_quantize_fn act_quantize_steps_avx512;
act_residual_fn act_residual_q8_avx512, act_residual_q8_256_avx512, act_residual_steps_avx512;

/* Formats whose products multiply bytes of codes by bytes of activations where an instruction sums
 * four such products, as X(NAME, name). All read 8-bit activations there, Q8_0 too. */
#define PRODUCTS_BYTES_LIST(X) \
    X(Q4_0, q4_0)              \
    X(Q4_1, q4_1)              \
    X(Q5_0, q5_0)              \
    X(Q5_1, q5_1)              \
    X(Q8_0, q8_0)              \
    X(Q4_K, q4_k)              \
    X(Q5_K, q5_k)              \
    X(Q6_K, q6_k)

/* Formats whose products may read ACT_Q12, as X(NAME, name). They take KERNEL_PANELS_MAX panels. */
#define PRODUCTS_TWELVE_LIST(X) \
    X(Q4_0, q4_0)               \
    X(Q4_1, q4_1)               \
    X(Q5_0, q5_0)               \
    X(Q5_1, q5_1)               \
    X(Q8_0, q8_0)               \
    X(IQ4_NL, iq4_nl)           \
    X(MXFP4, mxfp4)

/* Formats whose products may read ACT_Q8_256, as X(NAME, name): as they are packed, and those that
 * are opened first. They take KERNEL_PAIR. */
#define PRODUCTS_LONG_PACKED_LIST(X) \
    X(Q4_K, q4_k)                    \
    X(Q5_K, q5_k)                    \
    X(Q6_K, q6_k)                    \
    X(IQ4_XS, iq4_xs)
#define PRODUCTS_LONG_OPENED_LIST(X) \
    PACK_BITS_LIST(X)                \
    PACK_GRIDS_LIST(X)
#define PRODUCTS_LONG_LIST(X)    \
    PRODUCTS_LONG_PACKED_LIST(X) \
    PRODUCTS_LONG_OPENED_LIST(X)

/* Formats that VBMI and GFNI open, as X(NAME, name): by lists that are looked up in registers;
 * of few rows, by moving bits. */
#define PRODUCTS_VBMI_LOOKUP_LIST(X) \
    PACK_GRIDS_LIST(X)               \
    X(TQ1_0, tq1_0)
#define PRODUCTS_VBMI_BITS_LIST(X) \
    X(Q3_K, q3_k)                  \
    X(TQ2_0, tq2_0)
#define PRODUCTS_VBMI_LIST(X)    \
    PRODUCTS_VBMI_LOOKUP_LIST(X) \
    PRODUCTS_VBMI_BITS_LIST(X)

/* Formats whose products may read ACT_STEPS, as X(NAME, name): with VNNI, and with VBMI. */
#define PRODUCTS_STEPS_VNNI_LIST(X) \
    PRODUCTS_LONG_PACKED_LIST(X)    \
    PACK_BITS_LIST(X)
#define PRODUCTS_STEPS_LIST(X)  \
    PRODUCTS_STEPS_VNNI_LIST(X) \
    PACK_GRIDS_LIST(X)

/* Formats whose products may read ACT_SPLIT, as X(NAME, name). */
#define PRODUCTS_SPLIT_LIST(X) \
    X(F32, f32)                \
    X(F16, f16)                \
    X(BF16, bf16)

/* Their twins in plain C. */
#define X(NAME, name) linear_fn linear_##name##_long_ref;
PRODUCTS_LONG_LIST(X)
#undef X
#define X(NAME, name) linear_fn linear_##name##_steps_ref;
PRODUCTS_STEPS_LIST(X)
#undef X
#define X(NAME, name) linear_fn linear_##name##_twelve_ref;
PRODUCTS_TWELVE_LIST(X)
#undef X
#define X(NAME, name) linear_fn linear_##name##_split_ref;
PRODUCTS_SPLIT_LIST(X)
#undef X

/* x86/: AMX with 8-bit integers, beside AVX-512 and VNNI. */
#define X(NAME, name) linear_fn linear_##name##_amx, linear_precise_##name##_amx;
PRODUCTS_LONG_LIST(X)
#undef X

/* x86/: pairs of bf16. */
linear_fn linear_f8_e4m3_amx, linear_f8_e4m3_fastbf16;
linear_fn linear_bf16_pairs_amx, linear_bf16_pairs_avx512bf16;

/* x86/: AMX with bf16, and AVX-512 with bf16 for activations; with 8-bit integers too. */
#define X(NAME, name) linear_fn linear_##name##_amx;
PRODUCTS_SPLIT_LIST(X)
PRODUCTS_TWELVE_LIST(X)
#undef X
act_quantize_fn act_quantize_split_amx;

/* x86/: AVX-512 with VNNI. */
linear_fn linear_f8_e4m3_avx512vnni;
#define X(NAME, name) linear_fn linear_##name##_avx512vnni;
PRODUCTS_BYTES_LIST(X)
PACK_OPENED_LIST(X)
#undef X

/* x86/: AVX-512 with VNNI, VBMI and GFNI. */
#define X(NAME, name) linear_fn linear_##name##_avx512vbmi;
PRODUCTS_VBMI_LIST(X)
#undef X

/* arm/: NEON, which every arm64 processor has; with SDOT; with SMMLA. */
linear_fn linear_f32_neon, linear_f16_neon, linear_bf16_neon, linear_q8_0_neon;
linear_fn linear_q4_0_neon, linear_q4_1_neon, linear_q5_0_neon, linear_q5_1_neon;
linear_fn linear_q4_k_neon, linear_q5_k_neon, linear_q6_k_neon, linear_f8_e4m3_neon;
linear_fn linear_q4_0_dotprod, linear_q4_1_dotprod, linear_q5_0_dotprod, linear_q5_1_dotprod;
linear_fn linear_q4_k_dotprod, linear_q5_k_dotprod, linear_q6_k_dotprod;
linear_fn linear_q4_0_i8mm, linear_q4_1_i8mm, linear_q5_0_i8mm, linear_q5_1_i8mm;
linear_fn linear_q4_k_i8mm, linear_q5_k_i8mm, linear_q6_k_i8mm;
#define X(NAME, name) linear_fn linear_##name##_neon, linear_##name##_dotprod, linear_##name##_i8mm;
PACK_OPENED_LIST(X)
#undef X

act_quantize_fn act_quantize_q8_neon, act_quantize_q16_neon, act_quantize_bf16_neon;
act_residual_fn act_residual_q8_neon;

#endif /* WEFT_KERNELS_PRODUCTS_H */
