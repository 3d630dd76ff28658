/* linear_opened_amx.c - products of opened formats with many rows, by AMX.
 *
 * As linear_amx.c: chunks are opened without a middle, a block of 32 columns of 16 rows is one
 * multiplication of tiles, and its sums go through memory to the instructions that scale them,
 * which are what bounds it. Block b + 1 is multiplied before b is scaled, so that what scaling
 * loads has arrived; even and odd blocks have tiles of their own.
 *
 * Where halves have scales (Q2_K, Q3_K), those are multiplied into the codes once for all rows, so
 * that a block again has one sum, the same whole number. A scale is negated for it: from -4 * 31 to
 * 4 * 32 is one more than a byte holds, its negative is not. In other formats with halves the
 * products do not fit a byte; for them tiles of halves would be no faster than vpdpbusd.
 *
 * The bits are those of linear_opened_avx512.c, which takes the rows that do not fill a tile.
 */
#include "kernels/opened.h"
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/vnni_avx512.h"

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* Block b of 16 rows into its sums, of which even and odd blocks have one each. */
VNNI_INLINE void multiply(tile_sums sums[2], const opened_chunk *c, size_t b, const uint8_t *x,
                          size_t x_stride) {
    const uint8_t *at = x + b * sizeof(act_block_q8);
    if (b % 2 == 0) {
        _tile_zero(4);
        _tile_loadd(0, at, x_stride);
        _tile_loadd(2, c->codes[b], 64);
        _tile_dpbssd(4, 0, 2);
        _tile_stored(4, sums[0], 64);
    } else {
        _tile_zero(5);
        _tile_loadd(1, at, x_stride);
        _tile_loadd(3, c->codes[b], 64);
        _tile_dpbssd(5, 1, 3);
        _tile_stored(5, sums[1], 64);
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

VNNI_INLINE void add(opened_kind kind, __m512 v[VNNI_ROWS_MAX], tile_sums *sums,
                     const opened_chunk *c, size_t b, const vnni_rows *x) {
    const __m512 scale = _mm512_load_ps(c->scale[b]);
    const __m512 min_scale = _mm512_load_ps(c->half_min_scale);
    VNNI_EACH_ROW(16, {
        const act_block_q8 *block = (const act_block_q8 *)vnni_row(x, r) + b;
        const __m512 xs = _mm512_set1_ps(block->scale);
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512((*sums)[r]));
        v[r] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, xs), v[r]);
        if (kind.has_min) {
            v[r] = _mm512_fmadd_ps(dot_mins(c, b, block), _mm512_mul_ps(min_scale, xs), v[r]);
        }
    });
}

/* y [16][16] += x [16] . chunk */
VNNI_INLINE void tile(opened_kind kind, float *y, const opened_chunk *c, const uint8_t *x,
                      size_t x_stride) {
    WEFT_ALIGNED(64) tile_sums sums[2];
    __m512 v[VNNI_ROWS_MAX];
    const vnni_rows rows = vnni_rows_of(x, x_stride);
    VNNI_EACH_ROW(16, { v[r] = _mm512_load_ps(y + 16 * r); });
    multiply(sums, c, 0, x, x_stride);
    for (size_t b = 0; b < c->n_blocks; b += 2) {
        if (b + 1 < c->n_blocks) {
            multiply(sums, c, b + 1, x, x_stride);
        }
        add(kind, v, &sums[0], c, b, &rows);
        if (b + 2 < c->n_blocks) {
            multiply(sums, c, b + 2, x, x_stride);
        }
        if (b + 1 < c->n_blocks) {
            add(kind, v, &sums[1], c, b + 1, &rows);
        }
    }
    VNNI_EACH_ROW(16, { _mm512_store_ps(y + 16 * r, v[r]); });
}

/* Minus the scales of halves, times the codes; the scales of blocks turn their signs. Products of
 * 16 bits are right in their low byte whatever the upper one holds. */
VNNI_INLINE void fold_halves(opened_chunk *c) {
    const __m512i low = _mm512_set1_epi16(255);
    const __m512 sign = _mm512_set1_ps(-0.0f);
    for (size_t h = 0; h < 2 * c->n_blocks; h++) {
        const __m512 minus = _mm512_xor_ps(_mm512_load_ps(c->half_scale[h]), sign);
        const __m512i one = _mm512_cvtps_epi32(minus);
        const __m512i scale = _mm512_mask_blend_epi16(0xaaaaaaaau, one, _mm512_slli_epi32(one, 16));
        for (size_t g = 4 * (h % 2); g < 4 * (h % 2) + 4; g++) {
            uint8_t *at = c->codes[h / 2][g];
            const __m512i v = vnni_load(at);
            const __m512i even = _mm512_mullo_epi16(v, scale);
            const __m512i odd = _mm512_mullo_epi16(_mm512_srli_epi16(v, 8), scale);
            _mm512_store_si512(
                at, _mm512_or_si512(_mm512_and_si512(even, low), _mm512_slli_epi16(odd, 8)));
        }
    }
    for (size_t b = 0; b < c->n_blocks; b++) {
        _mm512_store_ps(c->scale[b], _mm512_xor_ps(_mm512_load_ps(c->scale[b]), sign));
    }
}

/* m is a multiple of 16. */
VNNI_INLINE void run(opened_kind kind, opened_open_fn *open, float *y, size_t y_stride,
                     const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                     size_t k) {
    WEFT_ALIGNED(64) float sums[OPENED_ROWS * PACK_PANEL_ROWS];
    opened_chunk c;
    c.middle = 0;
    amx_begin(8, ACT_BLOCK_LEN);
    for (size_t from = 0; from < m; from += OPENED_ROWS) {
        const size_t rows = m - from < OPENED_ROWS ? m - from : OPENED_ROWS;
        const uint8_t *slab = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += OPENED_COLS) {
            c.n_blocks = (k - col < OPENED_COLS ? k - col : OPENED_COLS) / ACT_BLOCK_LEN;
            open(&c, slab);
            if (kind.has_halves) {
                fold_halves(&c);
            }
            slab += kind.chunk_bytes;
            amx_fetch(slab, kind.chunk_bytes);
            for (size_t r = 0; r < rows; r += AMX_ROWS) {
                tile(kind, sums + r * PACK_PANEL_ROWS, &c, x_chunk + r * x_stride, x_stride);
            }
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
PRODUCTS_OPENED_TILES_LIST(X)
#undef X
