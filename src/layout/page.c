/* page.c - what a page of one layer weighs.
 *
 * K of every head lies before V of every head (device/device.h draws it); only the sum matters
 * here.
 */
#include "layout/page.h"

#include "tensor/tensor.h"

size_t page_row_bytes(weft_dtype dtype, uint32_t k_dim, uint32_t v_dim, bool v_in_k) {
    return dtype_row_bytes(dtype, k_dim) + (v_in_k ? 0 : dtype_row_bytes(dtype, v_dim));
}

size_t page_bytes(weft_dtype dtype, uint32_t n_kv_heads, uint32_t k_dim, uint32_t v_dim,
                  bool v_in_k) {
    return (size_t)n_kv_heads * PAGE_TOKENS * page_row_bytes(dtype, k_dim, v_dim, v_in_k);
}
