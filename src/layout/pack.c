/* pack.c - sizes of packed weights.
 *
 * Since a slab takes the bytes of its 16 blocks (slab.h), sizes follow from the format alone; only
 * the rounding of a panel to PACK_ALIGN_BYTES and the missing rows of the last panel are extra.
 * All sums are checked, because cols and rows come from files: 0 means that it does not fit.
 */
#include "layout/pack.h"

#include "tensor/tensor.h"

bool pack_is_supported(weft_dtype dtype) {
    switch (dtype) {
    case WEFT_DTYPE_F32:
    case WEFT_DTYPE_F16:
    case WEFT_DTYPE_BF16:
    case WEFT_DTYPE_Q4_0:
    case WEFT_DTYPE_Q4_1:
    case WEFT_DTYPE_Q5_0:
    case WEFT_DTYPE_Q5_1:
    case WEFT_DTYPE_Q8_0:
    case WEFT_DTYPE_Q4_K:
    case WEFT_DTYPE_Q5_K:
    case WEFT_DTYPE_Q6_K:
    case WEFT_DTYPE_F8_E4M3:
#define X(NAME, name) case WEFT_DTYPE_##NAME:
        PACK_OPENED_LIST(X)
#undef X
        return true;
    default: return false;
    }
}

size_t pack_panel_bytes(weft_dtype dtype, uint64_t cols) {
    if (!pack_is_supported(dtype)) {
        return 0;
    }
    const size_t row_bytes = dtype_row_bytes_checked(dtype, cols);
    if (row_bytes > (SIZE_MAX - PACK_ALIGN_BYTES) / PACK_PANEL_ROWS) {
        return 0;
    }
    const size_t bytes = row_bytes * PACK_PANEL_ROWS;
    return (bytes + PACK_ALIGN_BYTES - 1) / PACK_ALIGN_BYTES * PACK_ALIGN_BYTES;
}

uint64_t pack_weight_bytes(weft_dtype dtype, uint64_t rows, uint64_t cols) {
    const uint64_t panel_bytes = pack_panel_bytes(dtype, cols);
    const uint64_t n_panels = pack_panel_count(rows);
    if (panel_bytes == 0 || n_panels > UINT64_MAX / panel_bytes) {
        return 0;
    }
    return n_panels * panel_bytes;
}
