/* page.c - what a page of one layer weighs, and where bytes of keys in columns lie.
 *
 * K of every head lies before V of every head (device/device.h draws it).
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

size_t page_column_byte(weft_dtype dtype, size_t row_byte, size_t at) {
    const weft_dtype_info *info = weft_dtype_info_of(dtype);
    const size_t first = info->block_len == 1 ? info->block_bytes : sizeof(uint16_t);
    const size_t in_block = row_byte % info->block_bytes, block = row_byte - in_block;
    return block * PAGE_TOKENS +
           (in_block < first ? first * at + in_block : in_block * PAGE_TOKENS + at);
}
