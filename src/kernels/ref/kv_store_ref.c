/* kv_store_ref.c - one head's key or value into the cache's format, in plain C.
 *
 * The formats are those of the files (tensor/quant.h); faster versions give the same bits.
 */
#include <string.h>

#include "kernels/ref/kernels_ref.h"
#include "tensor/quant.h"

void kv_store_f32_ref(void *dst, const float *src, size_t n) {
    memcpy(dst, src, n * sizeof(float));
}

void kv_store_f16_ref(void *dst, const float *src, size_t n) {
    quant_quantize(WEFT_DTYPE_F16, dst, src, n);
}

void kv_store_q8_0_ref(void *dst, const float *src, size_t n) {
    quant_quantize(WEFT_DTYPE_Q8_0, dst, src, n);
}

void kv_store_q4_0_ref(void *dst, const float *src, size_t n) {
    quant_quantize(WEFT_DTYPE_Q4_0, dst, src, n);
}
