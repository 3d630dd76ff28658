/* tensor.h - a matrix somewhere: an address, a format, a shape.
 *
 * A tensor is a value and owns nothing. Everything weft computes on is a matrix of rows; a vector
 * is one row. `data` is an address in the memory of one device: only that device follows it (for
 * the cpu device it is a plain pointer). Rows lie stride_bytes apart.
 */
#ifndef WEFT_TENSOR_TENSOR_H
#define WEFT_TENSOR_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"

typedef struct tensor {
    void *data;
    size_t stride_bytes;
    uint32_t rows;
    uint32_t cols; /* elements a row, a multiple of the format's block_len */
    weft_dtype dtype;
} tensor;

/* Bytes of `cols` elements. cols must be a multiple of block_len and small enough not to
 * overflow size_t; dtype_row_bytes_checked says so instead of assuming (0 = it does not hold). */
size_t dtype_row_bytes(weft_dtype dtype, uint64_t cols);
size_t dtype_row_bytes_checked(weft_dtype dtype, uint64_t cols);

/* Rows packed without gaps. */
tensor tensor_of(void *data, weft_dtype dtype, uint32_t rows, uint32_t cols);

/* Borrowed views: rows [from, from + count), columns [from, from + count) on block borders. */
tensor tensor_rows(tensor t, uint32_t from, uint32_t count);
tensor tensor_cols(tensor t, uint32_t from, uint32_t count);

#endif /* WEFT_TENSOR_TENSOR_H */
