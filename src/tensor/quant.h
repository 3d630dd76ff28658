/* quant.h - reference conversion between formats and float32.
 *
 * The slow twins: plain, bit-equal to the `gguf` Python package (F8_E4M3: to PyTorch), used by
 * tests, loaders of small tensors and as fallback. n is a positive multiple of the format's
 * block_len.
 */
#ifndef WEFT_TENSOR_QUANT_H
#define WEFT_TENSOR_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"

float quant_f16_to_f32(uint16_t h);
uint16_t quant_f32_to_f16(float f); /* round to nearest even, overflow to infinity */
float quant_bf16_to_f32(uint16_t h);
uint16_t quant_f32_to_bf16(float f); /* round to nearest even, NaN stays NaN */
float quant_f8_e4m3_to_f32(uint8_t code);

/* True for the formats dequantise knows. */
bool quant_can_dequantize(weft_dtype dtype);
/* dst float [n], src n / block_len blocks. dtype must be known. */
void quant_dequantize(weft_dtype dtype, float *dst, const void *src, size_t n);

/* F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1: the formats of tests and KV caches. */
bool quant_can_quantize(weft_dtype dtype);
void quant_quantize(weft_dtype dtype, void *dst, const float *src, size_t n);

#endif /* WEFT_TENSOR_QUANT_H */
