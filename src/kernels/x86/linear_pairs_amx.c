/* linear_pairs_amx.c - products of bf16 pairs by AMX: F8_E4M3 weights, and BF16 weights whose
 * activations are bf16 too.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time          tiles of equal height, 1 to 16 rows
 *     for blocks of 128 columns of the panel
 *       open                                         codes to pairs of bf16, 4 KB of them
 *       for units of two tiles of rows
 *         multiply                                   4 times 32 columns; a unit ahead of
 *         add                                        y += sums * scale
 *
 * A tile of weights serves two of x. Rows that do not fill their tiles are shared out evenly, and
 * the last tile begins so that it ends with the last row: it may compute some rows a second time.
 * So any number of rows, one too, takes one pass, and all take the same instruction; its order of
 * additions is products.h's.
 *
 * Many rows are bound by loading x from the second level (16 lines for a multiplication of 16
 * cycles), one row by opening: 10 instructions for 64 codes, on two ports, outrun a core's memory.
 */
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/f8_pairs_avx512.h"

#define STEPS (PAIRS_BLOCK_LEN / 32u)
#define TILES_MAX (ACT_CHUNK_ROWS / AMX_ROWS)

/* A block, opened. */
typedef struct pairs_block {
    WEFT_ALIGNED(64) uint16_t pairs[PAIRS_BLOCK_LEN / 2][32]; /* [pair][output][2] */
    float scale[PACK_PANEL_ROWS];
    size_t n_steps; /* of 32 columns */
} pairs_block;

/* Columns two by two; there may be an odd number, and zeros fill up the last 32. */
VNNI_INLINE void open_bf16(pairs_block *block, const uint8_t *at, size_t n_cols) {
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    uint16_t(*to)[32] = block->pairs;
    for (size_t col = 0; col < 32 * block->n_steps; col += 2, at += 64, to++) {
        const __mmask32 there = col + 1 < n_cols ? 0xffffffffu : col < n_cols ? 0xffffu : 0u;
        vnni_fetch_line(at);
        const __m512i v = _mm512_maskz_loadu_epi16(there, at);
        _mm512_store_si512(to, _mm512_permutexvar_epi16(order, v));
    }
    _mm512_store_ps(block->scale, _mm512_set1_ps(1.0f));
}

/* Block b of a panel of k columns. */
VNNI_INLINE void open(weft_dtype dtype, pairs_block *block, const uint8_t *panel, size_t b,
                      size_t k) {
    const size_t left = k - b * PAIRS_BLOCK_LEN;
    const size_t n_cols = left < PAIRS_BLOCK_LEN ? left : PAIRS_BLOCK_LEN;
    block->n_steps = (n_cols + 31) / 32;
    if (dtype == WEFT_DTYPE_F8_E4M3) {
        f8_open_pairs(block->pairs, block->scale, (const slab_f8_e4m3 *)panel + b);
    } else {
        open_bf16(block, panel + b * PAIRS_BLOCK_LEN * 2 * PACK_PANEL_ROWS, n_cols);
    }
    amx_fence();
}

/* The rows of one call: tiles of x, and where the last 32 columns of each row lie if they are not
 * whole. */
typedef struct pairs_rows {
    const uint8_t *tile[TILES_MAX];
    const uint8_t *tail[TILES_MAX]; /* rows of 64 bytes */
    size_t stride, n_tiles, height;
    size_t n_whole; /* steps of 32 columns in front of the tail */
} pairs_rows;

typedef float pairs_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* Tile t of x at a step of the row, times a tile of weights. */
#define MULTIPLY(x_tile, w_tile, sums_tile, t)                                     \
    do {                                                                           \
        const int is_whole = step < x->n_whole;                                    \
        _tile_stream_loadd(x_tile, is_whole ? x->tile[t] + 64 * step : x->tail[t], \
                           is_whole ? x->stride : 64);                             \
        _tile_dpbf16ps(sums_tile, x_tile, w_tile);                                 \
    } while (0)

/* Tiles t and t + 1 of x times a block, whose first step of the row is `step`. Units in turn
 * have tiles of sums of their own. */
#define UNIT(name, sums_first, sums_second)                                                \
    VNNI_INLINE void name(pairs_sums *sums, const pairs_block *block, const pairs_rows *x, \
                          size_t t, size_t step) {                                         \
        const int has_second = t + 1 < x->n_tiles;                                         \
        _tile_zero(sums_first);                                                            \
        _tile_zero(sums_second);                                                           \
        for (size_t i = 0; i < block->n_steps; i++, step++) {                              \
            _tile_loadd(2, block->pairs[16 * i], 64);                                      \
            MULTIPLY(0, 2, sums_first, t);                                                 \
            if (has_second) {                                                              \
                MULTIPLY(1, 2, sums_second, t + 1);                                        \
            }                                                                              \
        }                                                                                  \
        _tile_stored(sums_first, sums[0], 64);                                             \
        if (has_second) {                                                                  \
            _tile_stored(sums_second, sums[1], 64);                                        \
        }                                                                                  \
    }
UNIT(multiply_even, 4, 5)
UNIT(multiply_odd, 6, 7)
#undef UNIT

VNNI_INLINE void add(float *y, pairs_sums *sums, const float scale[PACK_PANEL_ROWS], size_t rows) {
    const __m512 d = _mm512_load_ps(scale);
    for (size_t r = 0; r < rows; r++) {
        const __m512 sum = _mm512_load_ps((*sums)[r]);
        _mm512_store_ps(y + 16 * r, _mm512_fmadd_ps(sum, d, _mm512_load_ps(y + 16 * r)));
    }
}

/* y [tiles][16][16] += x . panel. A unit is opened, if it is the first of its block, and multiplied
 * before the sums of the one before are added. */
VNNI_INLINE void run_panel(weft_dtype dtype, float *y, const uint8_t *panel, const pairs_rows *x,
                           size_t k) {
    WEFT_ALIGNED(64) pairs_sums sums[2][2];
    pairs_block blocks[2];
    const size_t units_each = (x->n_tiles + 1) / 2;
    const size_t n_units = units_each * ((k + PAIRS_BLOCK_LEN - 1) / PAIRS_BLOCK_LEN);
    size_t t = 0, b = 0, t_before = 0, b_before = 0;
    for (size_t u = 0; u <= n_units; u++) {
        if (u < n_units) {
            pairs_block *block = &blocks[b % 2];
            if (t == 0) {
                open(dtype, block, panel, b, k);
            }
            if (u % 2 == 0) {
                multiply_even(sums[0], block, x, t, b * STEPS);
            } else {
                multiply_odd(sums[1], block, x, t, b * STEPS);
            }
        }
        amx_fence();
        for (size_t i = 0; u > 0 && i < 2 && t_before + i < x->n_tiles; i++) {
            add(y + (t_before + i) * AMX_ROWS * PACK_PANEL_ROWS, &sums[(u - 1) % 2][i],
                blocks[b_before % 2].scale, x->height);
        }
        t_before = t;
        b_before = b;
        t += 2;
        if (t >= x->n_tiles) {
            t = 0;
            b++;
        }
    }
}

/* The last columns of rows, filled up with zeros. */
static void copy_tail(uint16_t (*to)[32], const uint8_t *x, size_t stride, size_t rows, size_t k) {
    for (size_t r = 0; r < rows; r++) {
        memset(to[r], 0, sizeof(to[r]));
        memcpy(to[r], x + r * stride + k / 32 * 64, k % 32 * 2);
    }
}

/* Up to ACT_CHUNK_ROWS rows. */
VNNI_INLINE void run(weft_dtype dtype, float *y, size_t y_stride, const uint8_t *panel,
                     const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[TILES_MAX * AMX_ROWS * PACK_PANEL_ROWS];
    WEFT_ALIGNED(64) uint16_t tails[ACT_CHUNK_ROWS][32];
    pairs_rows rows = {.stride = x_stride, .n_whole = k / 32};
    size_t first[TILES_MAX];
    rows.n_tiles = (m + AMX_ROWS - 1) / AMX_ROWS;
    rows.height = (m + rows.n_tiles - 1) / rows.n_tiles;
    for (size_t t = 0; t < rows.n_tiles; t++) {
        first[t] = t + 1 < rows.n_tiles ? t * rows.height : m - rows.height;
        rows.tile[t] = x + first[t] * x_stride;
        rows.tail[t] = (const uint8_t *)tails[first[t]];
    }
    if (k % 32 != 0) {
        copy_tail(tails, x, x_stride, m, k);
    }
    memset(sums, 0, rows.n_tiles * AMX_ROWS * PACK_PANEL_ROWS * sizeof(float));
    vnni_fetch_outputs(y, y_stride, m);
    amx_begin_rows((uint8_t)rows.height, 16, 64);
    run_panel(dtype, sums, panel, &rows, k);
    amx_end();
    for (size_t t = 0; t < rows.n_tiles; t++) {
        vnni_store_outputs(y + first[t] * y_stride, y_stride, sums + t * AMX_ROWS * PACK_PANEL_ROWS,
                           rows.height, n);
    }
}

VNNI_INLINE void linear_pairs(weft_dtype dtype, float *y, size_t y_stride, const void *panel,
                              const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        run(dtype, y + from * y_stride, y_stride, panel, x + from * x_stride, x_stride, rows, n, k);
    }
}

void linear_f8_e4m3_amx(float *y, size_t y_stride, const void *panel, const void *x,
                        size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_pairs(WEFT_DTYPE_F8_E4M3, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_pairs_amx(float *y, size_t y_stride, const void *panel, const void *x,
                           size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_pairs(WEFT_DTYPE_BF16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
