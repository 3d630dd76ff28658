/* linear_opened_avx2.c - products of the formats without a product of their own.
 *
 * The blocks of 256 columns of a panel are decoded into [column][16 rows] of float32, 16 KB that
 * stay in the first-level cache, and every row of x is multiplied by them as by F32 weights. Many
 * rows share one decoding; a single row pays it alone and is bound by it, not by the memory. The
 * decoders are the reference's, so the values are those of quant_dequantize in every bit.
 */
#include "kernels/products.h"
#include "kernels/x86/tile_avx2.h"
#include "tensor/quant.h"

/* to [column][16] <- eight rows of eight columns, from_stride floats apart. */
TILE_INLINE void transpose8(float *to, const float *from, size_t from_stride) {
    __m256 v[8], pairs[8];
    for (int i = 0; i < 8; i++) {
        v[i] = _mm256_loadu_ps(from + (size_t)i * from_stride);
    }
    for (int i = 0; i < 4; i++) {
        pairs[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
        pairs[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        v[4 * i] = _mm256_shuffle_ps(pairs[4 * i], pairs[4 * i + 2], 0x44);
        v[4 * i + 1] = _mm256_shuffle_ps(pairs[4 * i], pairs[4 * i + 2], 0xee);
        v[4 * i + 2] = _mm256_shuffle_ps(pairs[4 * i + 1], pairs[4 * i + 3], 0x44);
        v[4 * i + 3] = _mm256_shuffle_ps(pairs[4 * i + 1], pairs[4 * i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        float *column = to + i * (int)PACK_PANEL_ROWS;
        _mm256_storeu_ps(column, _mm256_permute2f128_ps(v[i], v[4 + i], 0x20));
        _mm256_storeu_ps(column + 4 * PACK_PANEL_ROWS,
                         _mm256_permute2f128_ps(v[i], v[4 + i], 0x31));
    }
}

static void open_blocks(tile_chunk *c, const uint8_t *slabs) {
    const weft_dtype_info *f = weft_dtype_info_of(c->dtype);
    WEFT_ALIGNED(64) float rows[8][TILE_COLS];
    for (size_t half = 0; half < PACK_PANEL_ROWS; half += 8) {
        for (size_t col = 0; col < c->n_cols; col += f->block_len) {
            const uint8_t *slab = slabs + col / f->block_len * PACK_PANEL_ROWS * f->block_bytes;
            for (size_t r = 0; r < 8; r++) {
                quant_dequantize(c->dtype, &rows[r][col], slab + (half + r) * f->block_bytes,
                                 f->block_len);
            }
        }
        for (size_t col = 0; col < c->n_cols; col += 8) {
            transpose8(&c->values[col][half], &rows[0][col], TILE_COLS);
        }
    }
}

TILE_INLINE void tile(int rows, float *y, const tile_chunk *c, const uint8_t *x, size_t x_stride) {
    __m256 a0[TILE_ROWS], a1[TILE_ROWS];
    TILE_EACH_ROW(rows, {
        a0[r] = _mm256_load_ps(y + 16 * r);
        a1[r] = _mm256_load_ps(y + 16 * r + 8);
    });
    for (size_t i = 0; i < c->n_cols; i++) {
        const __m256 w0 = _mm256_load_ps(c->values[i]);
        const __m256 w1 = _mm256_load_ps(c->values[i] + 8);
        TILE_EACH_ROW(rows, {
            const __m256 xs = _mm256_broadcast_ss((const float *)(x + r * x_stride));
            a0[r] = _mm256_fmadd_ps(xs, w0, a0[r]);
            a1[r] = _mm256_fmadd_ps(xs, w1, a1[r]);
        });
        x += sizeof(float);
    }
    TILE_EACH_ROW(rows, {
        _mm256_store_ps(y + 16 * r, a0[r]);
        _mm256_store_ps(y + 16 * r + 8, a1[r]);
    });
}

static void tile_opened(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                        size_t x_stride) {
    switch (rows) {
    case 1: tile(1, y, c, x, x_stride); return;
    case 2: tile(2, y, c, x, x_stride); return;
    case 3: tile(3, y, c, x, x_stride); return;
    case 4: tile(4, y, c, x, x_stride); return;
    case 5: tile(5, y, c, x, x_stride); return;
    default: tile(6, y, c, x, x_stride); return;
    }
}

static void linear_opened(weft_dtype dtype, float *y, size_t y_stride, const void *panel,
                          const void *x, size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    const weft_dtype_info *f = weft_dtype_info_of(dtype);
    const tile_format format = {
        .open = open_blocks,
        .tile = tile_opened,
        .chunk_bytes = TILE_COLS / f->block_len * PACK_PANEL_ROWS * f->block_bytes,
        .x_chunk_bytes = TILE_COLS * sizeof(float),
        .dtype = dtype,
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

#define X(NAME, name)                                                                      \
    void linear_##name##_avx2(float *y, size_t y_stride, const void *panel, const void *x, \
                              size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        linear_opened(WEFT_DTYPE_##NAME, y, y_stride, panel, x, x_stride_bytes, m, n, k);  \
    }
PACK_OPENED_LIST(X)
#undef X
