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

/* What a tile of rows left to do: to scale its sums and add them to y, rows skip .. n - 1. The
 * last of its sums may still be held in tiles. */
typedef struct amx_pass {
    tile_sums *sums; /* of each block */
    const amx_scales *scales;
    float *y;
    const uint8_t *x;
    size_t skip, n;
    int is_whole; /* all rows of a tile, all blocks of a chunk: the last TILES sums are held */
} amx_pass;

/* The state of one product. Chunks take turns; the scales of one are still needed when the chunk
 * after next is opened. */
typedef struct amx_state {
    WEFT_ALIGNED(64) amx_tiles tiles[2];
    amx_scales scales[3];
    WEFT_ALIGNED(64) tile_sums sums[2][VNNI_BLOCKS + 1]; /* one unused: apart by more than pages */
    amx_pass before;
    size_t x_stride;
} amx_state;

/* A pass's scales, in registers. */
typedef struct amx_factors {
    __m512 scale[VNNI_BLOCKS], min[VNNI_BLOCKS];
} amx_factors;

VNNI_INLINE void load_factors(vnni_kind kind, amx_factors *f, const amx_scales *scales) {
#define BLOCK(b)                                    \
    f->scale[b] = _mm512_load_ps(scales->scale[b]); \
    f->min[b] = vnni_has_min(kind) ? _mm512_load_ps(scales->min[b]) : _mm512_setzero_ps();
    BLOCK(0)
    BLOCK(1)
    BLOCK(2)
    BLOCK(3)
    BLOCK(4)
    BLOCK(5)
    BLOCK(6)
    BLOCK(7)
#undef BLOCK
}

/* Row r's sums of n_blocks, scaled, into y. */
VNNI_INLINE void finish_row(vnni_kind kind, const amx_pass *p, const amx_factors *f,
                            size_t x_stride, size_t r, size_t n_blocks) {
    const x_block *x = (const x_block *)(p->x + r * x_stride);
    __m512 v = _mm512_setzero_ps();
#define BLOCK(b)                                                                 \
    if ((b) < n_blocks) {                                                        \
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512(p->sums[b][r])); \
        v = _mm512_fmadd_ps(dot, f->scale[b], v);                                \
        if (vnni_has_min(kind)) {                                                \
            v = _mm512_fmadd_ps(f->min[b], _mm512_set1_ps(x->sums[b]), v);       \
        }                                                                        \
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

VNNI_INLINE void finish_part(vnni_kind kind, const amx_pass *p, size_t x_stride) {
    if (p->n == 0) {
        return;
    }
    amx_factors f;
    load_factors(kind, &f, p->scales);
    for (size_t r = p->skip; r < p->n; r++) {
        finish_row(kind, p, &f, x_stride, r, p->scales->n_blocks);
    }
}

VNNI_INLINE void finish_four(vnni_kind kind, const amx_pass *p, const amx_factors *f,
                             size_t x_stride, size_t r) {
    finish_row(kind, p, f, x_stride, r, VNNI_BLOCKS);
    finish_row(kind, p, f, x_stride, r + 1, VNNI_BLOCKS);
    finish_row(kind, p, f, x_stride, r + 2, VNNI_BLOCKS);
    finish_row(kind, p, f, x_stride, r + 3, VNNI_BLOCKS);
    amx_fence();
}

/* Tile `tile` <- x . block b; `before`, what tile held, leaves for memory first: it has been ready
 * for long. */
#define MULTIPLY(kind, sum, xt, wt, before, codes, x, x_stride) \
    _tile_stream_loadd(xt, x, x_stride);                        \
    _tile_loadd(wt, codes, 64);                                 \
    before;                                                     \
    _tile_zero(sum);                                            \
    if ((kind).log2_middle != 0) {                              \
        _tile_dpbssd(sum, xt, wt);                              \
    } else {                                                    \
        _tile_dpbsud(sum, xt, wt);                              \
    }                                                           \
    amx_fence()

/* A whole pass over 8 blocks after a whole pass. The chunk after is opened on the way, if next is
 * not NULL. */
VNNI_INLINE void pass_after_whole(vnni_kind kind, amx_state *s, tile_sums *sums, size_t i,
                                  const uint8_t *x, const uint8_t *next) {
    const amx_pass before = s->before;
    const amx_tiles *tiles = &s->tiles[i % 2];
    amx_tiles *next_tiles = &s->tiles[(i + 1) % 2];
    amx_scales *next_scales = &s->scales[(i + 1) % 3];
    amx_factors f;
    load_factors(kind, &f, before.scales);
#define LEAVE(tile) _tile_stored(tile, before.sums[tile], 64)
    MULTIPLY(kind, 4, 0, 2, LEAVE(4), tiles->codes[0], x, s->x_stride);
    MULTIPLY(kind, 5, 1, 3, LEAVE(5), tiles->codes[1], x + 64, s->x_stride);
    MULTIPLY(kind, 6, 0, 2, LEAVE(6), tiles->codes[2], x + 128, s->x_stride);
    MULTIPLY(kind, 7, 1, 3, LEAVE(7), tiles->codes[3], x + 192, s->x_stride);
#undef LEAVE
#define LEAVE(tile) _tile_stored(tile, sums[(tile)-4], 64)
#define STEP(tile, xt, wt, b)                                                              \
    MULTIPLY(kind, tile, xt, wt, LEAVE(tile), tiles->codes[b], x + 64 * (b), s->x_stride); \
    finish_four(kind, &before, &f, s->x_stride, 4 * ((b)-4));
    STEP(4, 0, 2, 4)
    STEP(5, 1, 3, 5)
    STEP(6, 0, 2, 6)
    STEP(7, 1, 3, 7)
#undef STEP
#undef LEAVE
    for (size_t b = 0; next != NULL && b < next_scales->n_blocks; b++) {
        open_block(kind, next_tiles, next_scales, next, b);
    }
    amx_fence();
}

/* Held sums into memory. */
VNNI_INLINE void leave_held(const amx_pass *p) {
    if (p->is_whole) {
        _tile_stored(4, p->sums[4], 64);
        _tile_stored(5, p->sums[5], 64);
        _tile_stored(6, p->sums[6], 64);
        _tile_stored(7, p->sums[7], 64);
        amx_fence();
    }
}

/* Any pass, sums held only after a whole one. */
VNNI_INLINE void pass_any(vnni_kind kind, amx_state *s, tile_sums *sums, size_t i, const uint8_t *x,
                          int is_whole, const uint8_t *next) {
    const amx_tiles *tiles = &s->tiles[i % 2];
    amx_scales *next_scales = &s->scales[(i + 1) % 3];
    leave_held(&s->before);
    for (size_t b = 0; b < s->scales[i % 3].n_blocks; b++) {
        const uint8_t *at = x + 64 * b;
        MULTIPLY(kind, 4, 0, 2, (void)0, tiles->codes[b], at, s->x_stride);
        _tile_stored(4, sums[b], 64);
        amx_fence();
    }
    if (is_whole) {
        _tile_loadd(4, sums[4], 64);
        _tile_loadd(5, sums[5], 64);
        _tile_loadd(6, sums[6], 64);
        _tile_loadd(7, sums[7], 64);
    }
    finish_part(kind, &s->before, s->x_stride);
    for (size_t b = 0; next != NULL && b < next_scales->n_blocks; b++) {
        open_block(kind, &s->tiles[(i + 1) % 2], next_scales, next, b);
    }
    amx_fence();
}
#undef MULTIPLY

/* y [m][16] += x [m] . chunk number i, but for what the last pass leaves. */
VNNI_INLINE void add_chunk(vnni_kind kind, amx_state *s, float *y, size_t i, const uint8_t *x,
                           size_t m, const uint8_t *next) {
    const size_t rows = m < AMX_ROWS ? m : AMX_ROWS;
    for (size_t row = 0; row < m;) {
        const size_t from = row + rows <= m ? row : m - rows;
        const uint8_t *at = x + from * s->x_stride;
        tile_sums *sums = s->before.sums == s->sums[0] ? s->sums[1] : s->sums[0];
        const int is_whole =
            from == row && rows == AMX_ROWS && s->scales[i % 3].n_blocks == VNNI_BLOCKS;
        const uint8_t *then = from + rows == m ? next : NULL;
        if (is_whole && s->before.is_whole && then == NULL) {
            pass_after_whole(kind, s, sums, i, at, NULL);
        } else if (is_whole && s->before.is_whole) {
            pass_after_whole(kind, s, sums, i, at, then);
        } else {
            pass_any(kind, s, sums, i, at, is_whole, then);
        }
        s->before = (amx_pass){
            sums, &s->scales[i % 3], y + from * PACK_PANEL_ROWS, at, row - from, rows, is_whole,
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
    leave_held(&s.before);
    finish_part(kind, &s.before, x_stride);
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
