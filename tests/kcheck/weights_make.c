/* weights_make.c - file rows with chosen codes and scales, finite in every format.
 *
 * Bytes are random (or all ones, or zeros) and then the f16 fields of each block are overwritten,
 * because random halves would be infinite or NaN once in 32.
 */
#include "weights_make.h"

#include <math.h>
#include <string.h>

#include "tensor/blocks.h"
#include "tensor/quant.h"
#include "tensor/tensor.h"

const weft_dtype weights_formats[WEIGHTS_FORMATS] = {
    WEFT_DTYPE_F32,    WEFT_DTYPE_F16,     WEFT_DTYPE_BF16,    WEFT_DTYPE_Q4_0,  WEFT_DTYPE_Q4_1,
    WEFT_DTYPE_Q5_0,   WEFT_DTYPE_Q5_1,    WEFT_DTYPE_Q8_0,    WEFT_DTYPE_Q4_K,  WEFT_DTYPE_Q5_K,
    WEFT_DTYPE_Q6_K,   WEFT_DTYPE_Q2_K,    WEFT_DTYPE_Q3_K,    WEFT_DTYPE_TQ1_0, WEFT_DTYPE_TQ2_0,
    WEFT_DTYPE_IQ4_NL, WEFT_DTYPE_IQ4_XS,  WEFT_DTYPE_MXFP4,   WEFT_DTYPE_NVFP4, WEFT_DTYPE_IQ2_XXS,
    WEFT_DTYPE_IQ2_XS, WEFT_DTYPE_IQ2_S,   WEFT_DTYPE_IQ3_XXS, WEFT_DTYPE_IQ3_S, WEFT_DTYPE_IQ1_S,
    WEFT_DTYPE_IQ1_M,  WEFT_DTYPE_F8_E4M3,
};

size_t weights_cols(weft_dtype dtype, size_t i) {
    static const size_t of_1[WEIGHTS_COLS] = {1, 33, 256, 300};
    static const size_t of_32[WEIGHTS_COLS] = {32, 96, 288, 576};
    static const size_t of_64[WEIGHTS_COLS] = {64, 192, 320, 576};
    static const size_t of_128[WEIGHTS_COLS] = {128, 256, 384, 896};
    static const size_t of_256[WEIGHTS_COLS] = {256, 512, 768, 1024};
    switch (weft_dtype_info_of(dtype)->block_len) {
    case 1: return of_1[i];
    case 32: return of_32[i];
    case 64: return of_64[i];
    case 128: return of_128[i];
    default: return of_256[i];
    }
}

static float scale_of(kcheck *kc, weights_kind kind) {
    switch (kind) {
    case WEIGHTS_HIGHEST:
    case WEIGHTS_LOWEST: return 1000.0f;
    case WEIGHTS_DENORMAL: return 0x1p-24f;
    default: return kc_float(kc, KC_UNIFORM) * 0.02f;
    }
}

static void put_f16(kcheck *kc, weights_kind kind, uint8_t *at) {
    block_store_u16(at, quant_f32_to_f16(scale_of(kc, kind)));
}

/* A scale in the top nibbles of four words. */
static void put_split(kcheck *kc, weights_kind kind, uint8_t scales[4][2]) {
    const unsigned half = quant_f32_to_f16(scale_of(kc, kind));
    for (unsigned j = 0; j < 4; j++) {
        scales[j][1] = (uint8_t)((scales[j][1] & 15u) | ((half >> (4 * j)) & 15u) << 4);
    }
}

/* F8_E4M3, rounded towards 0: of normal values the largest of 128 * 128 would be 448. */
static uint8_t code_of_normal(kcheck *kc) {
    float value;
    kc_fill(kc, &value, 1, KC_GAUSS);
    uint8_t code = 0x7e;
    while (code > 0 && quant_f8_e4m3_to_f32(code) > 115.0f * fabsf(value)) {
        code--;
    }
    return code | (value < 0.0f ? 0x80 : 0);
}

static void set_fields(kcheck *kc, weft_dtype dtype, weights_kind kind, uint8_t *block) {
    float f;
    switch (dtype) {
    case WEFT_DTYPE_F32:
        f = scale_of(kc, kind);
        memcpy(block, &f, sizeof(f));
        return;
    case WEFT_DTYPE_BF16: block_store_u16(block, quant_f32_to_bf16(scale_of(kc, kind))); return;
    case WEFT_DTYPE_Q6_K:
        put_f16(kc, kind, ((block_q6_k *)block)->d);
        if (kind == WEIGHTS_LOWEST) {
            memset(((block_q6_k *)block)->scales, 0x80, 16);
        }
        return;
    case WEFT_DTYPE_Q8_0:
        put_f16(kc, kind, block);
        if (kind == WEIGHTS_LOWEST) {
            memset(((block_q8_0 *)block)->codes, 0x80, 32);
        }
        return;
    case WEFT_DTYPE_Q4_1:
    case WEFT_DTYPE_Q5_1: put_f16(kc, kind, block + 2); break;
    case WEFT_DTYPE_Q4_K:
    case WEFT_DTYPE_Q5_K:
        put_f16(kc, kind, block + 2);
        if (kind == WEIGHTS_LOWEST) {
            memset(block + 4, 0xff, 12);
        }
        break;
    case WEFT_DTYPE_Q2_K:
        put_f16(kc, kind, ((block_q2_k *)block)->d);
        put_f16(kc, kind, ((block_q2_k *)block)->dmin);
        return;
    case WEFT_DTYPE_Q3_K: put_f16(kc, kind, ((block_q3_k *)block)->d); return;
    case WEFT_DTYPE_TQ1_0: put_f16(kc, kind, ((block_tq1_0 *)block)->d); return;
    case WEFT_DTYPE_TQ2_0: put_f16(kc, kind, ((block_tq2_0 *)block)->d); return;
    case WEFT_DTYPE_IQ1_M: put_split(kc, kind, ((block_iq1_m *)block)->scales); return;
    case WEFT_DTYPE_MXFP4: /* 2^-8 to 2^7 */
        ((block_mxfp4 *)block)->e = kind == WEIGHTS_DENORMAL ? 0 : 120 + (block[0] & 15);
        return;
    case WEFT_DTYPE_NVFP4: return; /* every byte is a finite scale */
    case WEFT_DTYPE_F8_E4M3:
        f = scale_of(kc, kind);
        memcpy(((block_f8_e4m3 *)block)->scale, &f, sizeof(f));
        for (size_t i = 0; i < 128 && kind == WEIGHTS_GAUSS; i++) {
            ((block_f8_e4m3 *)block)->codes[i] = code_of_normal(kc);
        }
        for (size_t i = 0; i < 128; i++) {
            uint8_t *code = &((block_f8_e4m3 *)block)->codes[i];
            *code = (*code & 0x7f) == 0x7f ? *code ^ 1 : *code; /* NaN becomes the largest */
        }
        return;
    default: break;
    }
    put_f16(kc, kind, block);
}

double weights_step(weft_dtype dtype, const uint8_t *row, size_t col) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    const uint8_t *block = row + col / f->block_len * f->block_bytes;
    if (dtype == WEFT_DTYPE_MXFP4) { /* codes are twice the values */
        return ldexp(1.0, block[0] - 128);
    }
    return fabs((double)quant_f16_to_f32(block_load_u16(block)));
}

void weights_make(kcheck *kc, weft_dtype dtype, weights_kind kind, uint8_t *rows, size_t n_rows,
                  size_t cols) {
    const size_t block_bytes = weft_dtype_info_of(dtype)->block_bytes;
    const size_t bytes = n_rows * dtype_row_bytes(dtype, cols);
    for (size_t i = 0; i < bytes; i++) {
        rows[i] = (uint8_t)kc_u64(kc);
        rows[i] = kind == WEIGHTS_HIGHEST ? 0xff : rows[i];
        rows[i] = kind == WEIGHTS_LOWEST ? 0 : rows[i];
    }
    if (dtype == WEFT_DTYPE_Q6_K && kind == WEIGHTS_HIGHEST) {
        for (size_t i = 0; i < bytes; i += block_bytes) {
            memset(((block_q6_k *)(rows + i))->scales, 0x7f, 16);
        }
    }
    for (size_t i = 0; i < bytes; i += block_bytes) {
        set_fields(kc, dtype, kind, rows + i);
    }
}
