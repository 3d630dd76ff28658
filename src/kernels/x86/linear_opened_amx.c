/* linear_opened_amx.c - products of the opened formats with many rows, by AMX.
 *
 * As linear_amx.c: chunks are opened without a middle, a block of 32 columns (or a half, where
 * halves have scales) of 16 rows is one multiplication of tiles, and its sums go through memory to
 * the instructions that scale them, which are what bounds it. Block b + 1 is multiplied before b
 * is scaled, so that what scaling loads has arrived; even and odd blocks have tiles of their own.
 *
 * The bits are those of linear_opened_avx512.c, which takes the rows that do not fill a tile.
 */
#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/vnni_avx512.h"

#define ROWS_MAX (ACT_CHUNK_ROWS / AMX_ROWS * AMX_ROWS)

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* Two halves of a block, or one block, in sums[0]. */
typedef tile_sums block_sums[2];

/* bytes_x columns of 16 rows times as many of the codes; tiles take turns. */
#define MULTIPLY(out, codes, x, x_stride, x_tile, w_tile, sums_tile) \
    do {                                                             \
        _tile_zero(sums_tile);                                       \
        _tile_loadd(x_tile, x, x_stride);                            \
        _tile_loadd(w_tile, codes, 64);                              \
        _tile_dpbssd(sums_tile, x_tile, w_tile);                     \
        _tile_stored(sums_tile, out, 64);                            \
    } while (0)

VNNI_INLINE void multiply(opened_kind kind, block_sums sums[2], const opened_chunk *c, size_t b,
                          const uint8_t *x, size_t x_stride) {
    const uint8_t *codes = c->codes[b][0];
    const uint8_t *at = x + b * sizeof(act_block_q8);
    if (b % 2 == 0) {
        MULTIPLY(sums[0][0], codes, at, x_stride, 0, 2, 4);
        if (kind.has_halves) {
            MULTIPLY(sums[0][1], codes + 256, at + 16, x_stride, 1, 3, 5);
        }
    } else {
        MULTIPLY(sums[1][0], codes, at, x_stride, 1, 3, 6);
        if (kind.has_halves) {
            MULTIPLY(sums[1][1], codes + 256, at + 16, x_stride, 0, 2, 7);
        }
    }
}

/* Minimums of halves times minus the sums of the activations. */
VNNI_INLINE __m512 dot_mins(const opened_chunk *c, size_t b, const act_block_q8 *x) {
    const __m512i first = vnni_load(c->half_min[2 * b]);
    const __m512i second = vnni_load(c->half_min[2 * b + 1]);
    __m512i sums = _mm512_setzero_si512();
    sums = _mm512_dpwssd_epi32(sums, first, vnni_broadcast32(x->neg_sums[0]));
    sums = _mm512_dpwssd_epi32(sums, second, vnni_broadcast32(x->neg_sums[1]));
    return _mm512_cvtepi32_ps(sums);
}

VNNI_INLINE void add(opened_kind kind, __m512 v[VNNI_ROWS_MAX], block_sums *sums,
                     const opened_chunk *c, size_t b, const vnni_rows *x) {
    const __m512 scale = _mm512_load_ps(c->scale[b]);
    const __m512 half0 = _mm512_load_ps(c->half_scale[2 * b]);
    const __m512 half1 = _mm512_load_ps(c->half_scale[2 * b + 1]);
    const __m512 min_scale = _mm512_load_ps(c->half_min_scale);
    VNNI_EACH_ROW(16, {
        const act_block_q8 *block = (const act_block_q8 *)vnni_row(x, r) + b;
        const __m512 xs = _mm512_set1_ps(block->scale);
        __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512((*sums)[0][r]));
        if (kind.has_halves) {
            const __m512 second = _mm512_cvtepi32_ps(_mm512_load_si512((*sums)[1][r]));
            dot = _mm512_fmadd_ps(second, half1, _mm512_mul_ps(dot, half0));
        }
        v[r] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, xs), v[r]);
        if (kind.has_min) {
            v[r] = _mm512_fmadd_ps(dot_mins(c, b, block), _mm512_mul_ps(min_scale, xs), v[r]);
        }
    });
}

/* y [16][16] += x [16] . chunk */
VNNI_INLINE void tile(opened_kind kind, float *y, const opened_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    WEFT_ALIGNED(64) block_sums sums[2];
    __m512 v[VNNI_ROWS_MAX];
    const vnni_rows rows = vnni_rows_of(x, x_stride);
    VNNI_EACH_ROW(16, { v[r] = _mm512_load_ps(y + 16 * r); });
    multiply(kind, sums, c, 0, x, x_stride);
    for (size_t b = 0; b < c->n_blocks; b += 2) {
        if (b + 1 < c->n_blocks) {
            multiply(kind, sums, c, b + 1, x, x_stride);
        }
        add(kind, v, &sums[0], c, b, &rows);
        if (b + 2 < c->n_blocks) {
            multiply(kind, sums, c, b + 2, x, x_stride);
        }
        if (b + 1 < c->n_blocks) {
            add(kind, v, &sums[1], c, b + 1, &rows);
        }
    }
    VNNI_EACH_ROW(16, { _mm512_store_ps(y + 16 * r, v[r]); });
}

/* m is a multiple of 16. */
VNNI_INLINE void run(opened_kind kind, opened_open_fn *open, float *y, size_t y_stride,
                     const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                     size_t k) {
    WEFT_ALIGNED(64) float sums[ROWS_MAX * PACK_PANEL_ROWS];
    opened_chunk c;
    c.middle = 0;
    amx_begin(kind.has_halves ? 4 : 8, kind.has_halves ? 16 : 32);
    for (size_t from = 0; from < m; from += ROWS_MAX) {
        const size_t rows = m - from < ROWS_MAX ? m - from : ROWS_MAX;
        const uint8_t *slab = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            open(&c, slab);
            amx_fence();
            for (size_t r = 0; r < rows; r += AMX_ROWS) {
                tile(kind, sums + r * PACK_PANEL_ROWS, &c, x_chunk + r * x_stride, x_stride);
            }
            slab += kind.chunk_bytes;
            x_chunk += OPENED_BLOCKS * sizeof(act_block_q8);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(y + (from + r) * y_stride, sums + r * PACK_PANEL_ROWS, n * sizeof(float));
        }
    }
    amx_end();
}

VNNI_INLINE void run_whole_tiles(opened_kind kind, opened_open_fn *open, linear_fn *rest, float *y,
                                 size_t y_stride, const void *panel, const void *x, size_t x_stride,
                                 size_t m, size_t n, size_t k) {
    const size_t whole = m / AMX_ROWS * AMX_ROWS;
    const uint8_t *rows = x;
    if (whole > 0) {
        run(kind, open, y, y_stride, panel, rows, x_stride, whole, n, k);
    }
    if (m > whole) {
        rest(y + whole * y_stride, y_stride, panel, rows + whole * x_stride, x_stride, m - whole, n,
             k);
    }
}

#define X(NAME, name)                                                                            \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x,        \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {              \
        run_whole_tiles(opened_kind_##name, opened_##name##_avx2, linear_##name##_avx512vnni, y, \
                        y_stride, panel, x, x_stride_bytes, m, n, k);                            \
    }
PACK_OPENED_LIST(X)
#undef X
