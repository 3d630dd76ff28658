/* quant.c - half-precision conversions, and the choice of decoder and encoder by format.
 *
 * The conversions work on bits, so that they give the same result on every compiler and CPU:
 * denormals are exact, rounding is to nearest even, and a NaN keeps its sign and the upper bits
 * of its payload. The decoders are in quant_decode*.c, the encoders in quant_encode.c.
 */
#include "tensor/quant.h"

#include <string.h>

#include "base/check.h"
#include "tensor/quant_blocks.h"

static float float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static uint32_t bits_of_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

float quant_f16_to_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 0x3ffu;
    if (exponent == 31) {
        return float_of_bits(sign | 0x7f800000u | (mantissa << 13));
    }
    if (exponent != 0) {
        return float_of_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
    }
    /* Zero or denormal: the mantissa counts units of 2^-24, which float32 holds exactly. */
    const float magnitude = (float)mantissa * 0x1p-24f;
    return float_of_bits(sign | bits_of_float(magnitude));
}

uint16_t quant_f32_to_f16(float f) {
    const uint32_t bits = bits_of_float(f);
    const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        const uint16_t payload = (uint16_t)((magnitude >> 13) & 0x3ffu);
        return (uint16_t)(sign | 0x7c00u | (payload != 0 ? payload : 1u));
    }
    if (magnitude >= 0x477ff000u) { /* 65520 and above, and infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude >= 0x38800000u) { /* 2^-14: normal in half precision */
        const uint32_t odd = (magnitude >> 13) & 1u;
        return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
    }
    if (magnitude <= 0x33000000u) { /* 2^-25, half the smallest denormal: ties go to even, zero */
        return sign;
    }
    const uint32_t shift = 126 - (magnitude >> 23); /* 14..24 */
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t odd = (mantissa >> shift) & 1u;
    return (uint16_t)(sign | ((mantissa + (1u << (shift - 1)) - 1u + odd) >> shift));
}

float quant_bf16_to_f32(uint16_t h) { return float_of_bits((uint32_t)h << 16); }

uint16_t quant_f32_to_bf16(float f) {
    const uint32_t bits = bits_of_float(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)((bits >> 16) | 0x40u); /* quiet */
    }
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float quant_f8_e4m3_to_f32(uint8_t code) {
    const uint32_t sign = (uint32_t)(code & 0x80u) << 24;
    const uint32_t magnitude = code & 0x7fu;
    if (magnitude < 8) { /* zero or denormal: units of 2^-9 */
        return float_of_bits(sign | bits_of_float((float)magnitude * 0x1p-9f));
    }
    if (magnitude == 0x7f) {
        return float_of_bits(sign | 0x7ff00000u);
    }
    return float_of_bits(sign | (magnitude + (120u << 3)) << 20);
}

typedef struct quant_codec {
    quant_decode_fn *decode; /* NULL when unknown */
    quant_encode_fn *encode;
} quant_codec;

static const quant_codec quant_codecs[WEFT_DTYPE_COUNT] = {
    [WEFT_DTYPE_F32] = {quant_decode_f32, quant_encode_f32},
    [WEFT_DTYPE_F16] = {quant_decode_f16, quant_encode_f16},
    [WEFT_DTYPE_BF16] = {quant_decode_bf16, quant_encode_bf16},
    [WEFT_DTYPE_Q4_0] = {quant_decode_q4_0, quant_encode_q4_0},
    [WEFT_DTYPE_Q4_1] = {quant_decode_q4_1, quant_encode_q4_1},
    [WEFT_DTYPE_Q5_0] = {quant_decode_q5_0, quant_encode_q5_0},
    [WEFT_DTYPE_Q5_1] = {quant_decode_q5_1, quant_encode_q5_1},
    [WEFT_DTYPE_Q8_0] = {quant_decode_q8_0, quant_encode_q8_0},
    [WEFT_DTYPE_Q4_K] = {quant_decode_q4_k, NULL},
    [WEFT_DTYPE_Q5_K] = {quant_decode_q5_k, NULL},
    [WEFT_DTYPE_Q6_K] = {quant_decode_q6_k, NULL},
    [WEFT_DTYPE_Q2_K] = {quant_decode_q2_k, NULL},
    [WEFT_DTYPE_Q3_K] = {quant_decode_q3_k, NULL},
    [WEFT_DTYPE_TQ1_0] = {quant_decode_tq1_0, NULL},
    [WEFT_DTYPE_TQ2_0] = {quant_decode_tq2_0, NULL},
    [WEFT_DTYPE_IQ4_NL] = {quant_decode_iq4_nl, NULL},
    [WEFT_DTYPE_IQ4_XS] = {quant_decode_iq4_xs, NULL},
    [WEFT_DTYPE_MXFP4] = {quant_decode_mxfp4, NULL},
    [WEFT_DTYPE_NVFP4] = {quant_decode_nvfp4, NULL},
    [WEFT_DTYPE_IQ2_XXS] = {quant_decode_iq2_xxs, NULL},
    [WEFT_DTYPE_IQ2_XS] = {quant_decode_iq2_xs, NULL},
    [WEFT_DTYPE_IQ2_S] = {quant_decode_iq2_s, NULL},
    [WEFT_DTYPE_IQ3_XXS] = {quant_decode_iq3_xxs, NULL},
    [WEFT_DTYPE_IQ3_S] = {quant_decode_iq3_s, NULL},
    [WEFT_DTYPE_IQ1_S] = {quant_decode_iq1_s, NULL},
    [WEFT_DTYPE_IQ1_M] = {quant_decode_iq1_m, NULL},
    [WEFT_DTYPE_F8_E4M3] = {quant_decode_f8_e4m3, NULL},
};

bool quant_can_dequantize(weft_dtype dtype) {
    return (unsigned)dtype < WEFT_DTYPE_COUNT && quant_codecs[dtype].decode != NULL;
}

bool quant_can_quantize(weft_dtype dtype) {
    return (unsigned)dtype < WEFT_DTYPE_COUNT && quant_codecs[dtype].encode != NULL;
}

void quant_dequantize(weft_dtype dtype, float *dst, const void *src, size_t n) {
    WEFT_ASSERT(quant_can_dequantize(dtype));
    WEFT_ASSERT(n % weft_dtype_info_of(dtype)->block_len == 0);
    quant_codecs[dtype].decode(dst, src, n);
}

void quant_quantize(weft_dtype dtype, void *dst, const float *src, size_t n) {
    WEFT_ASSERT(quant_can_quantize(dtype));
    WEFT_ASSERT(n % weft_dtype_info_of(dtype)->block_len == 0);
    quant_codecs[dtype].encode(dst, src, n);
}
