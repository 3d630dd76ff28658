/* tensor.c - views of matrices. A view is the same memory seen through a smaller shape, so these
 * functions only move the address; nothing is copied and nothing is owned.
 */
#include "tensor/tensor.h"

#include "base/check.h"

tensor tensor_of(void *data, weft_dtype dtype, uint32_t rows, uint32_t cols) {
    return (tensor){
        .data = data,
        .stride_bytes = dtype_row_bytes(dtype, cols),
        .rows = rows,
        .cols = cols,
        .dtype = dtype,
    };
}

tensor tensor_rows(tensor t, uint32_t from, uint32_t count) {
    WEFT_ASSERT(from <= t.rows);
    WEFT_ASSERT(count <= t.rows - from);
    t.data = (uint8_t *)t.data + (size_t)from * t.stride_bytes;
    t.rows = count;
    return t;
}

tensor tensor_cols(tensor t, uint32_t from, uint32_t count) {
    const uint32_t block_len = weft_dtype_info_of(t.dtype)->block_len;
    WEFT_ASSERT(from <= t.cols);
    WEFT_ASSERT(count <= t.cols - from);
    WEFT_ASSERT(from % block_len == 0);
    WEFT_ASSERT(count % block_len == 0);
    t.data = (uint8_t *)t.data + dtype_row_bytes(t.dtype, from);
    t.cols = count;
    return t;
}
