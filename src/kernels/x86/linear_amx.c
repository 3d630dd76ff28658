/* linear_amx.c - products of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 with many rows, by AMX.
 *
 * Scales belong to 32 columns, so that a tile of sums leaves for memory after each block: 16 rows x
 * 16 outputs x 32 columns are one multiplication of tiles (codes less their middle, expanded once
 * for all rows), a store of 16 lines, and 3 or 4 instructions a line that scale it and add it to
 * y. These are what bounds it; the multiplier waits. y stays in 16 registers over 8 blocks. Blocks
 * are multiplied two ahead of their scaling, so that what scaling loads has arrived.
 *
 * The bits are those of linear_vnni_avx512.c, which takes the rows that do not fill a tile.
 */
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/vnni_avx512.h"

#define ROWS_MAX (ACT_CHUNK_ROWS / AMX_ROWS * AMX_ROWS)

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* Block b of 16 rows into sums; x, weights and sums in tiles that take turns. */
#define MULTIPLY(b, x_tile, w_tile, sums_tile)                         \
    do {                                                               \
        _tile_zero(sums_tile);                                         \
        _tile_loadd(x_tile, x + (b) * sizeof(act_block_q8), x_stride); \
        _tile_loadd(w_tile, c->codes[b], 64);                          \
        _tile_dpbssd(sums_tile, x_tile, w_tile);                       \
        _tile_stored(sums_tile, sums[(b) % 4], 64);                    \
    } while (0)

VNNI_INLINE void multiply(tile_sums sums[4], const vnni_chunk *c, size_t b, const uint8_t *x,
                          size_t x_stride) {
    switch (b % 4) {
    case 0: MULTIPLY(b, 0, 2, 4); return;
    case 1: MULTIPLY(b, 1, 3, 5); return;
    case 2: MULTIPLY(b, 0, 2, 6); return;
    default: MULTIPLY(b, 1, 3, 7); return;
    }
}

VNNI_INLINE void add(vnni_kind kind, __m512 v[VNNI_ROWS_MAX], tile_sums *sums, const vnni_chunk *c,
                     size_t b, const vnni_rows *x) {
    const __m512 scale = _mm512_load_ps(c->scale[b]);
    const __m512 min = vnni_has_min(kind) ? _mm512_load_ps(c->min[b]) : _mm512_setzero_ps();
    tile_sums *from = &sums[b % 4];
    VNNI_EACH_ROW(16, {
        const act_block_q8 *block = (const act_block_q8 *)vnni_row(x, r) + b;
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512((*from)[r]));
        const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(block->scale));
        v[r] = _mm512_fmadd_ps(dot, factor, v[r]);
        if (vnni_has_min(kind)) {
            v[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(block->sum), v[r]);
        }
    });
}

/* y [16][16] += x [16] . chunk */
VNNI_INLINE void tile(vnni_kind kind, float *y, const vnni_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    WEFT_ALIGNED(64) tile_sums sums[4];
    __m512 v[VNNI_ROWS_MAX];
    const vnni_rows rows = vnni_rows_of(x, x_stride);
    VNNI_EACH_ROW(16, { v[r] = _mm512_load_ps(y + 16 * r); });
    if (c->n_blocks == VNNI_BLOCKS) {
        multiply(sums, c, 0, x, x_stride);
        multiply(sums, c, 1, x, x_stride);
        multiply(sums, c, 2, x, x_stride);
        add(kind, v, sums, c, 0, &rows);
        multiply(sums, c, 3, x, x_stride);
        add(kind, v, sums, c, 1, &rows);
        multiply(sums, c, 4, x, x_stride);
        add(kind, v, sums, c, 2, &rows);
        multiply(sums, c, 5, x, x_stride);
        add(kind, v, sums, c, 3, &rows);
        multiply(sums, c, 6, x, x_stride);
        add(kind, v, sums, c, 4, &rows);
        multiply(sums, c, 7, x, x_stride);
        add(kind, v, sums, c, 5, &rows);
        add(kind, v, sums, c, 6, &rows);
        add(kind, v, sums, c, 7, &rows);
    } else {
        for (size_t b = 0; b < c->n_blocks; b++) {
            multiply(sums, c, b, x, x_stride);
            add(kind, v, sums, c, b, &rows);
        }
    }
    VNNI_EACH_ROW(16, { _mm512_store_ps(y + 16 * r, v[r]); });
}

/* m is a multiple of 16. */
VNNI_INLINE void run(vnni_kind kind, float *y, size_t y_stride, const uint8_t *panel,
                     const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ROWS_MAX * PACK_PANEL_ROWS];
    vnni_chunk c;
    amx_begin(8, ACT_BLOCK_LEN);
    for (size_t from = 0; from < m; from += ROWS_MAX) {
        const size_t rows = m - from < ROWS_MAX ? m - from : ROWS_MAX;
        const uint8_t *slabs = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        vnni_fetch_outputs(y + from * y_stride, y_stride, rows);
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += VNNI_COLS) {
            vnni_open(kind, &c, slabs, k - col < VNNI_COLS ? k - col : VNNI_COLS);
            vnni_expand(kind, &c, kind.log2_middle != 0 ? 1 << kind.log2_middle : 0);
            slabs += kind.chunk_bytes;
            amx_fetch(slabs, kind.chunk_bytes);
            for (size_t r = 0; r < rows; r += AMX_ROWS) {
                tile(kind, sums + r * PACK_PANEL_ROWS, &c, x_chunk + r * x_stride, x_stride);
            }
            x_chunk += VNNI_BLOCKS * sizeof(act_block_q8);
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
    amx_end();
}

VNNI_INLINE void run_whole_tiles(vnni_kind kind, linear_fn *rest, float *y, size_t y_stride,
                                 const void *panel, const void *x, size_t x_stride, size_t m,
                                 size_t n, size_t k) {
    const size_t whole = m / AMX_ROWS * AMX_ROWS;
    const uint8_t *rows = x;
    if (whole > 0) {
        run(kind, y, y_stride, panel, rows, x_stride, whole, n, k);
    }
    if (m > whole) {
        rest(y + whole * y_stride, y_stride, panel, rows + whole * x_stride, x_stride, m - whole, n,
             k);
    }
}

#define X(name)                                                                           \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x, \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run_whole_tiles(vnni_##name, linear_##name##_avx512vnni, y, y_stride, panel, x,   \
                        x_stride_bytes, m, n, k);                                         \
    }
X(q4_0)
X(q4_1)
X(q5_0)
X(q5_1)
X(q8_0)
#undef X
