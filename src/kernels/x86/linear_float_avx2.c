/* linear_float_avx2.c - products of F32, F16 and BF16 weights with float32 activations.
 *
 * Layout: [column][16 rows]. For each column 16 weights are brought to float32 (F16 by vcvtph2ps,
 * BF16 by a shift) and multiplied by one broadcast activation of each row of the tile: 12 fused
 * multiply-adds for 2 loads and 6 broadcasts. One chain an output keeps the order of additions
 * plain; with one row its latency (2 multiply-adds in 4 cycles) still outruns the memory.
 *
 * What else a column costs shows where two threads share a core, and the other may be a
 * neighbour's: 4 columns at a time without a move gave 85 Gflop/s there instead of 57, and 98
 * instead of 97 alone.
 */
#include "kernels/products.h"
#include "kernels/x86/tile_avx2.h"

TILE_INLINE __m256 weights(weft_dtype dtype, const uint8_t *column, int half) {
    if (dtype == WEFT_DTYPE_F32) {
        return _mm256_loadu_ps((const float *)(column + 32 * half));
    }
    if (dtype == WEFT_DTYPE_F16) {
        return tile_load_f16(column + 16 * half);
    }
    const __m128i halves = _mm_loadu_si128((const __m128i *)(column + 16 * half));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/* x of 6 rows: two pointers and a stride address them all, with a column's offset besides. */
typedef struct rows6 {
    const uint8_t *low;  /* rows 0, 1, 2 */
    const uint8_t *high; /* rows 3, 4, 5 */
    size_t stride;
} rows6;

/* y [rows][16] += column [16] times x [rows] at `offset` bytes. */
TILE_INLINE void add_column(int rows, weft_dtype dtype, __m256 a0[TILE_ROWS], __m256 a1[TILE_ROWS],
                            const uint8_t *column, const rows6 *x, size_t offset) {
    const __m256 w0 = weights(dtype, column, 0);
    const __m256 w1 = weights(dtype, column, 1);
    TILE_EACH_ROW(rows, {
        const uint8_t *at = (r < 3 ? x->low : x->high) + r % 3 * x->stride + offset;
        const __m256 xs = _mm256_broadcast_ss((const float *)at);
        TILE_FMADD(a0[r], xs, w0);
        TILE_FMADD(a1[r], xs, w1);
    });
}

TILE_INLINE void tile(int rows, weft_dtype dtype, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    const size_t column_bytes = dtype == WEFT_DTYPE_F32 ? 64 : 32;
    const uint8_t *column = c->panel;
    rows6 at = {x, x + 3 * x_stride, x_stride};
    __m256 a0[TILE_ROWS], a1[TILE_ROWS];
    TILE_EACH_ROW(rows, {
        a0[r] = _mm256_load_ps(y + 16 * r);
        a1[r] = _mm256_load_ps(y + 16 * r + 8);
    });
    size_t left = c->n_cols;
    for (; left >= 4; left -= 4) {
        tile_fetch(rows == 1 || (rows == 2 && dtype == WEFT_DTYPE_F32), column, 4 * column_bytes);
        TILE_KEEP(at.low);
        TILE_KEEP(at.high);
        TILE_KEEP(at.stride);
        add_column(rows, dtype, a0, a1, column, &at, 0);
        add_column(rows, dtype, a0, a1, column + column_bytes, &at, 4);
        add_column(rows, dtype, a0, a1, column + 2 * column_bytes, &at, 8);
        add_column(rows, dtype, a0, a1, column + 3 * column_bytes, &at, 12);
        column += 4 * column_bytes;
        at.low += 4 * sizeof(float);
        at.high += 4 * sizeof(float);
    }
    for (; left > 0; left--) {
        add_column(rows, dtype, a0, a1, column, &at, 0);
        column += column_bytes;
        at.low += sizeof(float);
        at.high += sizeof(float);
    }
    TILE_EACH_ROW(rows, {
        _mm256_store_ps(y + 16 * r, a0[r]);
        _mm256_store_ps(y + 16 * r + 8, a1[r]);
    });
}

TILE_INLINE void tile_rows(size_t rows, weft_dtype dtype, float *y, const tile_chunk *c,
                           const uint8_t *x, size_t x_stride) {
    TILE_OF(rows, tile, dtype, y, c, x, x_stride)
}

static void open_float(tile_chunk *c, const uint8_t *slabs) { c->panel = slabs; }

static void tile_f32(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                     size_t x_stride) {
    tile_rows(rows, WEFT_DTYPE_F32, y, c, x, x_stride);
}

static void tile_f16(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                     size_t x_stride) {
    tile_rows(rows, WEFT_DTYPE_F16, y, c, x, x_stride);
}

static void tile_bf16(size_t rows, float *y, const tile_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    tile_rows(rows, WEFT_DTYPE_BF16, y, c, x, x_stride);
}

void linear_f32_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_float,
        .tile = tile_f32,
        .chunk_bytes = TILE_COLS * PACK_PANEL_ROWS * sizeof(float),
        .x_chunk_bytes = TILE_COLS * sizeof(float),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_f16_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_float,
        .tile = tile_f16,
        .chunk_bytes = TILE_COLS * PACK_PANEL_ROWS * sizeof(uint16_t),
        .x_chunk_bytes = TILE_COLS * sizeof(float),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_avx2(float *y, size_t y_stride, const void *panel, const void *x,
                      size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    static const tile_format format = {
        .open = open_float,
        .tile = tile_bf16,
        .chunk_bytes = TILE_COLS * PACK_PANEL_ROWS * sizeof(uint16_t),
        .x_chunk_bytes = TILE_COLS * sizeof(float),
    };
    linear_run_avx2(&format, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
