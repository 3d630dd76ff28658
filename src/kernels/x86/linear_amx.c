/* linear_amx.c - products of 4-, 5- and 8-bit codes with 12-bit activations, by AMX.
 *
 * Scales of weights belong to 32 columns, so that a tile of sums leaves for memory after each
 * block: 16 rows x 16 outputs x 32 columns are one multiplication of tiles (both bytes of x and of
 * the weights are its 64 columns, twelve_avx512.h), a store of 16 lines, and 2 or 3 instructions a
 * line that scale it. These are what bounds it; the multiplier waits. So between the blocks of 16
 * rows stands what else there is to do: scaling the sums of the rows before and, with the last
 * rows of a chunk, expanding the codes of the next 256 columns. A last tile of fewer rows begins
 * earlier, and scales only what is new.
 *
 * A few rows go through vpdpbusd: the same integers. One row is bound by reading the panel.
 */
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/twelve_avx512.h"

#define FEW_ROWS_MAX 4u /* from 5 on, expanding costs less than what it saves */

typedef act_block_q12 x_block;

VNNI_INLINE __m512 unit_scale(vnni_kind kind, const vnni_scale *s) {
    return _mm512_mul_ps(s->scale, _mm512_set1_ps(twelve_unit(kind)));
}

/* ---- few rows ---- */

VNNI_INLINE void add_group(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX], const uint8_t *at,
                           const vnni_rows *x, int group) {
    const twelve_bytes w = twelve_of(kind, at, group);
    vnni_fetch_ahead(kind.block_stride, at, (size_t)group, VNNI_AHEAD_BYTES);
    VNNI_EACH_ROW(rows, {
        const uint8_t *four = vnni_row(x, r) + 32 * (group / 4) + 4 * (group % 4);
        sums[r] = _mm512_dpbusd_epi32(sums[r], w.u, vnni_broadcast32(four));
        sums[r] = _mm512_dpbusd_epi32(sums[r], w.v, vnni_broadcast32(four + 16));
    });
}

/* y [rows][16] += x [rows] . chunk */
VNNI_INLINE void few(int rows, vnni_kind kind, float *y, const uint8_t *slabs, size_t n_blocks,
                     const uint8_t *from, size_t x_stride) {
    const __m512i middles = _mm512_set1_epi32(8 << 16 | 128);
    const vnni_rows first = vnni_rows_of(from, x_stride);
    vnni_rows x = first;
    __m512 v[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { v[r] = _mm512_setzero_ps(); });
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *at = slabs + kind.codes_at + b * kind.block_stride;
        const vnni_scale s = vnni_scale_of(kind, slabs, b);
        __m512i sums[VNNI_ROWS_MAX];
        VNNI_EACH_ROW(rows, {
            sums[r] = _mm512_setzero_si512();
            if (kind.log2_middle != 0) {
                const x_block *block = (const x_block *)vnni_row(&first, r);
                sums[r] =
                    _mm512_dpwssd_epi32(sums[r], middles, vnni_broadcast32(block->neg_sums[b]));
            }
        });
        add_group(rows, kind, sums, at, &x, 0);
        add_group(rows, kind, sums, at, &x, 1);
        add_group(rows, kind, sums, at, &x, 2);
        add_group(rows, kind, sums, at, &x, 3);
        add_group(rows, kind, sums, at, &x, 4);
        add_group(rows, kind, sums, at, &x, 5);
        add_group(rows, kind, sums, at, &x, 6);
        add_group(rows, kind, sums, at, &x, 7);
        const __m512 scale = unit_scale(kind, &s);
        VNNI_EACH_ROW(rows, { v[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]), scale, v[r]); });
        if (vnni_has_min(kind)) {
            VNNI_EACH_ROW(rows, {
                const x_block *block = (const x_block *)vnni_row(&first, r);
                v[r] = _mm512_fmadd_ps(s.min, _mm512_set1_ps(block->sums[b]), v[r]);
            });
        }
        vnni_rows_step(&x, 64);
    }
    VNNI_EACH_ROW(rows, {
        const __m512 xs = _mm512_set1_ps(((const x_block *)vnni_row(&first, r))->scale);
        _mm512_store_ps(y + 16 * r, _mm512_fmadd_ps(v[r], xs, _mm512_load_ps(y + 16 * r)));
    });
}

VNNI_INLINE void few_rows(vnni_kind kind, float *y, const uint8_t *slabs, size_t n_blocks,
                          const uint8_t *x, size_t x_stride, size_t m) {
#define TILES_OF(rows)                                      \
    for (; m >= (rows); m -= (rows)) {                      \
        few((rows), kind, y, slabs, n_blocks, x, x_stride); \
        y += (size_t)(rows)*PACK_PANEL_ROWS;                \
        x += (size_t)(rows)*x_stride;                       \
    }
    TILES_OF(4)
    TILES_OF(2)
    TILES_OF(1)
#undef TILES_OF
}

/* ---- many rows ---- */

/* 256 columns of a panel: of each block a tile, u and v of groups 0 to 3, then of 4 to 7. */
typedef struct amx_tiles {
    WEFT_ALIGNED(64) uint8_t codes[VNNI_BLOCKS][16][64];
} amx_tiles;

typedef struct amx_scales {
    WEFT_ALIGNED(64) float scale[VNNI_BLOCKS][PACK_PANEL_ROWS];
    float min[VNNI_BLOCKS][PACK_PANEL_ROWS];
    size_t n_blocks;
} amx_scales;

VNNI_INLINE void open_block(vnni_kind kind, amx_tiles *tiles, amx_scales *scales,
                            const uint8_t *slabs, size_t b) {
    const uint8_t *at = slabs + kind.codes_at + b * kind.block_stride;
    const vnni_scale s = vnni_scale_of(kind, slabs, b);
    _mm512_store_ps(scales->scale[b], unit_scale(kind, &s));
    if (vnni_has_min(kind)) {
        _mm512_store_ps(scales->min[b], s.min);
    }
#define GROUP(g)                                                               \
    {                                                                          \
        const twelve_bytes w = twelve_centred(kind, at, g);                    \
        vnni_fetch_ahead(kind.block_stride, at, g, VNNI_AHEAD_BYTES);          \
        _mm512_store_si512(tiles->codes[b][8 * ((g) / 4) + (g) % 4], w.u);     \
        _mm512_store_si512(tiles->codes[b][8 * ((g) / 4) + (g) % 4 + 4], w.v); \
    }
    GROUP(0)
    GROUP(1)
    GROUP(2)
    GROUP(3)
    GROUP(4)
    GROUP(5)
    GROUP(6)
    GROUP(7)
#undef GROUP
}

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* What a tile left to do: its rows from `skip` on, of n, into y. */
typedef struct amx_pass {
    tile_sums *sums; /* of each block */
    const amx_scales *scales;
    float *y;
    const uint8_t *x;
    size_t skip, n;
} amx_pass;

/* Row r's sums into y. */
VNNI_INLINE void finish_row(vnni_kind kind, const amx_pass *p, size_t x_stride, size_t r,
                            size_t n_blocks) {
    const x_block *x = (const x_block *)(p->x + r * x_stride);
    __m512 v = _mm512_setzero_ps();
#define BLOCK(b)                                                                                   \
    if ((b) < n_blocks) {                                                                          \
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512(p->sums[b][r]));                   \
        v = _mm512_fmadd_ps(dot, _mm512_load_ps(p->scales->scale[b]), v);                          \
        if (vnni_has_min(kind)) {                                                                  \
            v = _mm512_fmadd_ps(_mm512_load_ps(p->scales->min[b]), _mm512_set1_ps(x->sums[b]), v); \
        }                                                                                          \
    }
    BLOCK(0)
    BLOCK(1)
    BLOCK(2)
    BLOCK(3)
    BLOCK(4)
    BLOCK(5)
    BLOCK(6)
    BLOCK(7)
#undef BLOCK
    float *y = p->y + 16 * r;
    _mm512_store_ps(y, _mm512_fmadd_ps(v, _mm512_set1_ps(x->scale), _mm512_load_ps(y)));
}

/* Rows from .. end - 1 of a pass. */
VNNI_INLINE void finish_rows(vnni_kind kind, const amx_pass *p, size_t x_stride, size_t from,
                             size_t end) {
    const size_t n_blocks = p->n == 0 ? 0 : p->scales->n_blocks;
    for (size_t r = from > p->skip ? from : p->skip; r < end && r < p->n; r++) {
        if (n_blocks == VNNI_BLOCKS) {
            finish_row(kind, p, x_stride, r, VNNI_BLOCKS);
        } else {
            finish_row(kind, p, x_stride, r, n_blocks);
        }
    }
}

/* The state of one product. Chunks take turns; the scales of one are still needed when the chunk
 * after next is opened. */
typedef struct amx_state {
    WEFT_ALIGNED(64) amx_tiles tiles[2];
    amx_scales scales[3];
    WEFT_ALIGNED(64) tile_sums sums[2][VNNI_BLOCKS];
    amx_pass before;
    size_t x_stride;
} amx_state;

VNNI_INLINE void multiply(vnni_kind kind, tile_sums *sums, const amx_tiles *tiles, size_t b,
                          const uint8_t *x, size_t x_stride) {
#define INTO(tile)                \
    _tile_zero(tile);             \
    if (kind.log2_middle != 0) {  \
        _tile_dpbssd(tile, 0, 2); \
    } else {                      \
        _tile_dpbsud(tile, 0, 2); \
    }                             \
    _tile_stored(tile, *sums, 64)
    _tile_stream_loadd(0, x + 64 * b, x_stride);
    _tile_loadd(2, tiles->codes[b], 64);
    if (b % 2 == 0) {
        INTO(4);
    } else {
        INTO(5);
    }
#undef INTO
    amx_fence();
}

/* sums <- x . chunk number i, by blocks. Between them stand the scaling of the pass before and the
 * opening of the chunk after, whose slabs are at next or NULL. */
VNNI_INLINE void multiply_chunk(vnni_kind kind, amx_state *s, tile_sums *sums, size_t i,
                                const uint8_t *x, const uint8_t *next) {
    const amx_pass before = s->before;
    const amx_tiles *tiles = &s->tiles[i % 2];
    const size_t n_blocks = s->scales[i % 3].n_blocks;
    amx_scales *next_scales = &s->scales[(i + 1) % 3];
    for (size_t b = 0; b < VNNI_BLOCKS; b++) {
        if (b < n_blocks) {
            multiply(kind, &sums[b], tiles, b, x, s->x_stride);
        }
        finish_rows(kind, &before, s->x_stride, 2 * b, 2 * b + 2);
        if (next != NULL && b < next_scales->n_blocks) {
            open_block(kind, &s->tiles[(i + 1) % 2], next_scales, next, b);
        }
        amx_fence();
    }
}

/* y [m][16] += x [m] . chunk number i, but for what the last pass leaves. */
VNNI_INLINE void add_chunk(vnni_kind kind, amx_state *s, float *y, size_t i, const uint8_t *x,
                           size_t m, const uint8_t *next) {
    const size_t rows = m < AMX_ROWS ? m : AMX_ROWS;
    for (size_t row = 0; row < m;) {
        const size_t from = row + rows <= m ? row : m - rows;
        const uint8_t *at = x + from * s->x_stride;
        tile_sums *sums = s->before.sums == s->sums[0] ? s->sums[1] : s->sums[0];
        if (from + rows == m) {
            multiply_chunk(kind, s, sums, i, at, next);
        } else {
            multiply_chunk(kind, s, sums, i, at, NULL);
        }
        s->before = (amx_pass){
            sums, &s->scales[i % 3], y + from * PACK_PANEL_ROWS, at, row - from, rows,
        };
        row = from + rows;
    }
}

/* ---- products ---- */

VNNI_INLINE size_t blocks_at(size_t k, size_t col) {
    return (k - col < VNNI_COLS ? k - col : VNNI_COLS) / ACT_BLOCK_LEN;
}

VNNI_INLINE void run_many(vnni_kind kind, float *y, const uint8_t *panel, const uint8_t *x,
                          size_t x_stride, size_t m, size_t k) {
    amx_state s;
    s.before = (amx_pass){.n = 0};
    s.x_stride = x_stride;
    amx_begin_rows((uint8_t)(m < AMX_ROWS ? m : AMX_ROWS), 16, 64);
    s.scales[0].n_blocks = blocks_at(k, 0);
    for (size_t b = 0; b < s.scales[0].n_blocks; b++) {
        open_block(kind, &s.tiles[0], &s.scales[0], panel, b);
    }
    amx_fence();
    for (size_t col = 0, i = 0; col < k; col += VNNI_COLS, i++) {
        const int has_next = col + VNNI_COLS < k;
        panel += kind.chunk_bytes;
        s.scales[(i + 1) % 3].n_blocks = has_next ? blocks_at(k, col + VNNI_COLS) : 0;
        add_chunk(kind, &s, y, i, x, m, has_next ? panel : NULL);
        x += sizeof(x_block);
    }
    finish_rows(kind, &s.before, x_stride, 0, AMX_ROWS);
    amx_end();
}

VNNI_INLINE void run_few(vnni_kind kind, float *y, const uint8_t *panel, const uint8_t *x,
                         size_t x_stride, size_t m, size_t k) {
    for (size_t col = 0; col < k; col += VNNI_COLS) {
        few_rows(kind, y, panel, blocks_at(k, col), x, x_stride, m);
        panel += kind.chunk_bytes;
        x += sizeof(x_block);
    }
}

VNNI_INLINE void run(vnni_kind kind, float *y, size_t y_stride, const uint8_t *panel,
                     const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const size_t rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        vnni_fetch_outputs(y + from * y_stride, y_stride, rows);
        memset(sums, 0, rows * PACK_PANEL_ROWS * sizeof(float));
        if (rows > FEW_ROWS_MAX) {
            run_many(kind, sums, panel, x + from * x_stride, x_stride, rows, k);
        } else {
            run_few(kind, sums, panel, x + from * x_stride, x_stride, rows, k);
        }
        vnni_store_outputs(y + from * y_stride, y_stride, sums, rows, n);
    }
}

#define X(NAME, name)                                                                     \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x, \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run(vnni_##name, y, y_stride, panel, x, x_stride_bytes, m, n, k);                 \
    }
PRODUCTS_TWELVE_LIST(X)
#undef X
