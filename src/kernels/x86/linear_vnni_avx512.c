/* linear_vnni_avx512.c - products of 4- to 8-bit codes, and of nibbles that stand for values of a
 * list, with 8-bit activations, by vpdpbusd.
 *
 *   for rows of x, ACT_CHUNK_ROWS at a time          their sums y stay in a 8 KB buffer
 *     for chunks of 256 columns of the panel
 *       open                                         scales to float32 (vnni_avx512.h); one or two
 *                                                    rows do so block by block
 *       expand                                       codes to bytes, where many rows share them
 *       for tiles of 12 rows (then 8, 4, 2, 1)       one register of sums a row, one of y
 *         for blocks of 32 columns                   8 groups, each times every row
 *
 * Registers of a tile of 12 x 16 outputs: 12 sums, 12 y, 1 of weights, 2 of scales, 2 spare. The 4
 * activations of a group are broadcast by the load. A block of a row is 8 products, a conversion
 * and 2 or 3 multiplications that scale it: many rows are bound by what of these multiplies, one
 * row by reading the panel. Q6_K scales halves of a block, and 256 columns at once: tiles of 8.
 *
 * A tile only decides which rows are computed together; bits do not depend on it (products.h).
 */
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/vnni_avx512.h"

#define EXPAND_ROWS_MIN 40u /* fewer share too little */

VNNI_INLINE bool has_high_bits(vnni_kind kind) {
    return kind.codes == VNNI_CODES_5 || kind.codes == VNNI_CODES_6;
}

/* The kind for one or two rows alone. They convert scales as they come to them: to open those of
 * 256 columns first is a jump ahead, and the processor's prefetchers follow a stream that does not
 * jump. A single row of 5 or 6 bits takes more instructions for a block, and opens. is_fast is of
 * those whose lines take so few that they are shown the next page. */
VNNI_INLINE vnni_kind kind_of_few(int rows, vnni_kind kind) {
    kind.is_stream = rows == 2 || !has_high_bits(kind);
    kind.is_fast = rows == 2 ? !has_high_bits(kind) : kind.codes != VNNI_CODES_5;
    return kind;
}

VNNI_INLINE vnni_scale scale_of(vnni_kind kind, const vnni_chunk *c, size_t b) {
    return kind.is_stream ? vnni_scale_of(kind, c->slabs, b) : vnni_scale_opened(kind, c, b);
}

VNNI_INLINE void add_group(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX], const uint8_t *at,
                           const vnni_rows *x, int group) {
    const __m512i w = vnni_weights(kind.codes, at, group);
    if (kind.codes != VNNI_CODES_EXPANDED) {
        vnni_fetch_group(kind.is_fast, at, kind.block_stride, (size_t)group);
    }
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_dpbusd_epi32(sums[r], w, vnni_broadcast32(vnni_row(x, r) + 4 * group));
    });
}

/* Where a slab begins with the scales of all blocks, these and what else is before the first codes:
 * groups ask for what follows. */
VNNI_INLINE void fetch_header(vnni_kind kind, const uint8_t *slab) {
    const bool has_header = kind.chunk_bytes > VNNI_BLOCKS * kind.block_stride;
    vnni_fetch_lines(slab, has_header ? kind.codes_at : 0);
}

/* The integer part of a block, with one scale. */
VNNI_INLINE void dot_block(int rows, vnni_kind kind, __m512 dots[VNNI_ROWS_MAX], const uint8_t *at,
                           const vnni_rows *x) {
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = vnni_start(kind.log2_middle, vnni_block(x, r)); });
    add_group(rows, kind, sums, at, x, 0);
    add_group(rows, kind, sums, at, x, 1);
    add_group(rows, kind, sums, at, x, 2);
    add_group(rows, kind, sums, at, x, 3);
    add_group(rows, kind, sums, at, x, 4);
    add_group(rows, kind, sums, at, x, 5);
    add_group(rows, kind, sums, at, x, 6);
    add_group(rows, kind, sums, at, x, 7);
    VNNI_EACH_ROW(rows, { dots[r] = _mm512_cvtepi32_ps(sums[r]); });
}

/* The same where halves have scales: products and their sum stay below 2^24, so float32 holds
 * them exactly. */
VNNI_INLINE void dot_halves(int rows, vnni_kind kind, __m512 dots[VNNI_ROWS_MAX], const uint8_t *at,
                            const vnni_rows *x, const vnni_chunk *c, size_t b) {
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = vnni_start_half(kind.log2_middle, vnni_block(x, r), 0); });
    add_group(rows, kind, sums, at, x, 0);
    add_group(rows, kind, sums, at, x, 1);
    add_group(rows, kind, sums, at, x, 2);
    add_group(rows, kind, sums, at, x, 3);
    const __m512 first = scale_of(kind, c, b).half_scale[0];
    VNNI_EACH_ROW(rows, {
        dots[r] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r]), first);
        sums[r] = vnni_start_half(kind.log2_middle, vnni_block(x, r), 1);
    });
    add_group(rows, kind, sums, at, x, 4);
    add_group(rows, kind, sums, at, x, 5);
    add_group(rows, kind, sums, at, x, 6);
    add_group(rows, kind, sums, at, x, 7);
    const __m512 second = scale_of(kind, c, b).half_scale[1];
    VNNI_EACH_ROW(rows,
                  { dots[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]), second, dots[r]); });
}

/* y [rows][16] += x [rows] . chunk */
VNNI_INLINE void tile(int rows, vnni_kind kind, float *y, const vnni_chunk *c, const uint8_t *from,
                      size_t x_stride, vnni_ahead *ahead) {
    const int is_expanded = kind.codes == VNNI_CODES_EXPANDED;
    const uint8_t *at = is_expanded ? &c->codes[0][0][0] : c->panel;
    vnni_rows x = vnni_rows_of(from, x_stride);
    const bool is_summed = kind.scales == VNNI_SCALES_16; /* d is the scale of all blocks */
    __m512 v[VNNI_ROWS_MAX], dots[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { v[r] = is_summed ? _mm512_setzero_ps() : _mm512_load_ps(y + 16 * r); });
    for (size_t b = 0; b < c->n_blocks; b++) {
        if (is_expanded) {
            vnni_ahead_step(ahead);
        }
        if (is_summed) {
            dot_halves(rows, kind, dots, at, &x, c, b);
        } else {
            dot_block(rows, kind, dots, at, &x);
        }
        const __m512 scale = scale_of(kind, c, b).scale;
        VNNI_EACH_ROW(rows, {
            const __m512 xs = _mm512_set1_ps(vnni_block(&x, r)->scale);
            v[r] = _mm512_fmadd_ps(dots[r], is_summed ? xs : _mm512_mul_ps(scale, xs), v[r]);
        });
        if (vnni_has_min(kind)) {
            const __m512 min = scale_of(kind, c, b).min;
            VNNI_EACH_ROW(rows, {
                v[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(vnni_block(&x, r)->sum), v[r]);
            });
        }
        vnni_rows_step(&x, sizeof(act_block_q8));
        at += is_expanded ? sizeof(c->codes[0]) : kind.block_stride;
    }
    if (is_summed) {
        const __m512 d = scale_of(kind, c, 0).scale;
        VNNI_EACH_ROW(rows, { v[r] = _mm512_fmadd_ps(v[r], d, _mm512_load_ps(y + 16 * r)); });
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, v[r]); });
}

VNNI_INLINE void tiles(vnni_kind kind, float *y, const vnni_chunk *c, const uint8_t *x,
                       size_t x_stride, size_t m, vnni_ahead *ahead) {
    if (kind.scales != VNNI_SCALES_16) {
        VNNI_TILES_OF(12u, m, y, x, x_stride, tile(rows, kind, y, c, x, x_stride, ahead))
    }
    VNNI_EACH_TILE(8u, m, y, x, x_stride, tile(rows, kind, y, c, x, x_stride, ahead));
}

/* One or two rows alone. */
VNNI_INLINE void few(int rows, vnni_kind kind, float *y, vnni_chunk *c, const uint8_t *x,
                     size_t x_stride) {
    const vnni_kind of_few = kind_of_few(rows, kind);
    if (!of_few.is_stream) {
        vnni_open(kind, c);
    }
    fetch_header(kind, c->slabs);
    tile(rows, of_few, y, c, x, x_stride, NULL);
}

VNNI_INLINE void run(vnni_kind kind, float *y, size_t y_stride, const uint8_t *panel,
                     const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    vnni_chunk c;
    vnni_kind expanded = kind;
    expanded.codes = VNNI_CODES_EXPANDED;
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        const uint8_t *slabs = panel;
        const uint8_t *x_chunk = x + from * x_stride;
        vnni_fetch_outputs(y + from * y_stride, y_stride, rows);
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        for (size_t col = 0; col < k; col += VNNI_COLS) {
            vnni_chunk_at(kind, &c, slabs, k - col < VNNI_COLS ? k - col : VNNI_COLS);
            if (rows == 1) {
                few(1, kind, sums, &c, x_chunk, x_stride);
            } else if (rows == 2) {
                few(2, kind, sums, &c, x_chunk, x_stride);
            } else if (rows >= EXPAND_ROWS_MIN) {
                vnni_open(kind, &c);
                vnni_expand(kind, &c);
                vnni_ahead ahead = vnni_ahead_of(slabs, kind.chunk_bytes, rows, c.n_blocks);
                tiles(expanded, sums, &c, x_chunk, x_stride, rows, &ahead);
            } else {
                vnni_open(kind, &c);
                fetch_header(kind, slabs);
                tiles(kind, sums, &c, x_chunk, x_stride, rows, NULL);
            }
            slabs += kind.chunk_bytes;
            x_chunk += VNNI_BLOCKS * sizeof(act_block_q8);
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}

#define X(NAME, name)                                                                            \
    void linear_##name##_avx512vnni(float *y, size_t y_stride, const void *panel, const void *x, \
                                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run(vnni_##name, y, y_stride, panel, x, x_stride_bytes, m, n, k);                        \
    }
PRODUCTS_BYTES_LIST(X)
PACK_LISTED_LIST(X)
#undef X
