/* opened_ref.c - the formats without a product of their own: packing, rows and products.
 *
 * A slab is 16 blocks as the file has them, row after row, so packing moves whole blocks and one
 * loop serves all formats; only the format differs, which a slot of the table does not say and a
 * function of each format therefore adds. Products decode a block of a row and go on as F32 does
 * (products.h): the result is that of the dequantised weight.
 */
#include <math.h>
#include <string.h>

#include "kernels/products.h"
#include "tensor/quant.h"

#define BLOCK_MAX 256u

static void pack_opened(const weft_dtype_info *f, uint8_t *panel, const uint8_t *rows,
                        size_t row_stride, size_t n_rows, size_t k) {
    const size_t n_slabs = k / f->block_len;
    const size_t slab_bytes = (size_t)PACK_PANEL_ROWS * f->block_bytes;
    const size_t bytes = n_slabs * slab_bytes;
    const size_t tail = (PACK_ALIGN_BYTES - bytes % PACK_ALIGN_BYTES) % PACK_ALIGN_BYTES;
    for (size_t s = 0; s < n_slabs; s++) {
        uint8_t *slab = panel + s * slab_bytes;
        for (size_t r = 0; r < n_rows; r++) {
            memcpy(slab + r * f->block_bytes, rows + r * row_stride + s * f->block_bytes,
                   f->block_bytes);
        }
        memset(slab + n_rows * f->block_bytes, 0, (PACK_PANEL_ROWS - n_rows) * f->block_bytes);
    }
    memset(panel + bytes, 0, tail);
}

/* Block s of a row. */
static const uint8_t *block_at(const weft_dtype_info *f, const uint8_t *panel, size_t s,
                               size_t row) {
    return panel + (s * PACK_PANEL_ROWS + row) * f->block_bytes;
}

static void unpack_opened(const weft_dtype_info *f, uint8_t *rows, size_t row_stride,
                          const uint8_t *panel, size_t n_rows, size_t k) {
    for (size_t s = 0; s < k / f->block_len; s++) {
        for (size_t r = 0; r < n_rows; r++) {
            memcpy(rows + r * row_stride + s * f->block_bytes, block_at(f, panel, s, r),
                   f->block_bytes);
        }
    }
}

static void row_opened(weft_dtype dtype, float *out, const uint8_t *panel, size_t row, size_t k) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    for (size_t s = 0; s < k / f->block_len; s++) {
        quant_dequantize(dtype, out + s * f->block_len, block_at(f, panel, s, row), f->block_len);
    }
}

static void linear_opened(weft_dtype dtype, float *y, size_t y_stride, const uint8_t *panel,
                          const uint8_t *x, size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    float w[BLOCK_MAX];
    for (size_t j = 0; j < n; j++) {
        for (size_t r = 0; r < m; r++) {
            y[r * y_stride + j] = 0.0f;
        }
        for (size_t s = 0; s < k / f->block_len; s++) {
            quant_dequantize(dtype, w, block_at(f, panel, s, j), f->block_len);
            for (size_t r = 0; r < m; r++) {
                const float *row = (const float *)(x + r * x_stride_bytes) + s * f->block_len;
                float sum = y[r * y_stride + j];
                for (size_t i = 0; i < f->block_len; i++) {
                    sum = fmaf(row[i], w[i], sum);
                }
                y[r * y_stride + j] = sum;
            }
        }
    }
}

#define X(NAME, name)                                                                             \
    void pack_panel_##name##_ref(void *panel, const void *rows, size_t row_stride_bytes,          \
                                 size_t n_rows, size_t k) {                                       \
        pack_opened(weft_dtype_info_of(WEFT_DTYPE_##NAME), panel, rows, row_stride_bytes, n_rows, \
                    k);                                                                           \
    }                                                                                             \
    void unpack_panel_##name##_ref(void *rows, size_t row_stride_bytes, const void *panel,        \
                                   size_t n_rows, size_t k) {                                     \
        unpack_opened(weft_dtype_info_of(WEFT_DTYPE_##NAME), rows, row_stride_bytes, panel,       \
                      n_rows, k);                                                                 \
    }                                                                                             \
    void panel_row_##name##_ref(float *out, const void *panel, size_t row, size_t k) {            \
        row_opened(WEFT_DTYPE_##NAME, out, panel, row, k);                                        \
    }                                                                                             \
    void linear_##name##_ref(float *y, size_t y_stride, const void *panel, const void *x,         \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {               \
        linear_opened(WEFT_DTYPE_##NAME, y, y_stride, panel, x, x_stride_bytes, m, n, k);         \
    }
PACK_OPENED_LIST(X)
#undef X
