/* linear_amx.c - products of 4-, 5- and 8-bit codes with 12-bit activations, by AMX.
 *
 * Scales of weights belong to 32 columns, so that a tile of sums leaves for memory after each
 * block: 16 rows x 16 outputs x 32 columns are one multiplication of tiles (both bytes of x and of
 * the weights are its 64 columns, twelve_avx512.h), a store of 16 lines, and 2 or 3 instructions a
 * line that scale it. These are what bounds it; the multiplier waits.
 *
 *   unit    128 columns of a panel, opened to bytes: four tiles that stay in the first-level cache
 *   pass    a group of rows times a unit: four multiplications, into tiles 4 to 7
 *
 *   for units of 128 columns, for groups of rows, for two panels: a pass
 *
 * so that both panels use the rows that one of them brought from the second-level cache. A tile of
 * sums is ready long after it was asked for, and its store blocks what comes behind: so the sums of
 * a pass stay in tiles until the next pass needs these, and are scaled in the pass after that. A
 * unit is opened when its first rows come: one that waits would take the cache from the rest.
 *
 * A few rows go through vpdpbusd: the same integers. One row is bound by reading the panel.
 */
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/twelve_avx512.h"

#define FEW_ROWS_MAX 4u /* from 5 on, expanding costs less than what it saves */
#define PANELS KERNEL_PANELS_MAX
#define UNIT_BLOCKS 4u
#define UNIT_COLS (UNIT_BLOCKS * ACT_BLOCK_LEN)

VNNI_INLINE __m512 unit_scale(vnni_kind kind, const vnni_scale *s) {
    return _mm512_mul_ps(s->scale, _mm512_set1_ps(twelve_unit(kind)));
}

/* ---- few rows ---- */

VNNI_INLINE void add_group(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX], const uint8_t *at,
                           const uint8_t *x, int group) {
    const twelve_bytes w = twelve_of(kind, at, group);
    vnni_fetch_ahead(kind.block_stride, at, (size_t)group, VNNI_AHEAD_BYTES);
    VNNI_EACH_ROW(rows, {
        const uint8_t *four = x + 64 * r + 32 * (group / 4) + 4 * (group % 4);
        sums[r] = _mm512_dpbusd_epi32(sums[r], w.u, vnni_broadcast32(four));
        sums[r] = _mm512_dpbusd_epi32(sums[r], w.v, vnni_broadcast32(four + 16));
    });
}

VNNI_INLINE float float_at(const uint8_t *p) {
    float v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

/* v [rows] += the group of rows at x . block b, both of 256 columns. */
VNNI_INLINE void add_block(int rows, vnni_kind kind, __m512 v[VNNI_ROWS_MAX], const uint8_t *slabs,
                           size_t b, const uint8_t *x) {
    const __m512i middles = _mm512_set1_epi32(8 << 16 | 128);
    const uint8_t *at = slabs + kind.codes_at + b * kind.block_stride;
    const uint8_t *codes = x + act_group_codes((size_t)rows, b, 0);
    const vnni_scale s = vnni_scale_of(kind, slabs, b);
    __m512i sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, {
        sums[r] = _mm512_setzero_si512();
        if (kind.log2_middle != 0) {
            const uint8_t *neg = x + act_group_neg_sums((size_t)rows, (size_t)r) + 4 * b;
            sums[r] = _mm512_dpwssd_epi32(sums[r], middles, vnni_broadcast32(neg));
        }
    });
    add_group(rows, kind, sums, at, codes, 0);
    add_group(rows, kind, sums, at, codes, 1);
    add_group(rows, kind, sums, at, codes, 2);
    add_group(rows, kind, sums, at, codes, 3);
    add_group(rows, kind, sums, at, codes, 4);
    add_group(rows, kind, sums, at, codes, 5);
    add_group(rows, kind, sums, at, codes, 6);
    add_group(rows, kind, sums, at, codes, 7);
    const __m512 scale = unit_scale(kind, &s);
    VNNI_EACH_ROW(rows, {
        v[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]), scale, v[r]);
        if (vnni_has_min(kind)) {
            const uint8_t *xsum = x + act_group_sums((size_t)rows, (size_t)r) + 4 * b;
            v[r] = _mm512_fmadd_ps(s.min, _mm512_set1_ps(float_at(xsum)), v[r]);
        }
    });
}

/* y [rows][16] = x [rows] . panel */
VNNI_INLINE void few(int rows, vnni_kind kind, float *y, const uint8_t *panel, const uint8_t *x,
                     size_t k) {
    __m512 sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_ps(); });
    for (size_t unit = 0; unit * UNIT_COLS < k; unit++) {
        const size_t from = unit % 2 * UNIT_BLOCKS;
        const size_t end = from + (k - unit * UNIT_COLS) / ACT_BLOCK_LEN;
        __m512 v[VNNI_ROWS_MAX];
        VNNI_EACH_ROW(rows, { v[r] = _mm512_setzero_ps(); });
        for (size_t b = from; b < end && b < from + UNIT_BLOCKS; b++) {
            add_block(rows, kind, v, panel, b, x);
        }
        VNNI_EACH_ROW(rows, {
            const float xs = float_at(x + act_group_scale((size_t)rows, (size_t)r));
            sums[r] = _mm512_fmadd_ps(v[r], _mm512_set1_ps(xs), sums[r]);
        });
        panel += unit % 2 * kind.chunk_bytes;
        x += unit % 2 * (size_t)rows * sizeof(act_block_q12);
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, sums[r]); });
}

VNNI_INLINE void run_few(vnni_kind kind, float *y, const uint8_t *panel, const uint8_t *x,
                         size_t rows, size_t k) {
    switch (rows) {
    case 1: few(1, kind, y, panel, x, k); return;
    case 2: few(2, kind, y, panel, x, k); return;
    case 3: few(3, kind, y, panel, x, k); return;
    default: few(4, kind, y, panel, x, k);
    }
}

/* ---- many rows ---- */

/* A unit's codes: of each block a tile, u and v of groups 0 to 3, then of 4 to 7. */
typedef struct amx_codes {
    WEFT_ALIGNED(64) uint8_t block[UNIT_BLOCKS][16][64];
} amx_codes;

/* And its scales; of blocks beyond the last column zeros. */
typedef struct amx_scales {
    WEFT_ALIGNED(64) float scale[UNIT_BLOCKS][PACK_PANEL_ROWS];
    float min[UNIT_BLOCKS][PACK_PANEL_ROWS];
} amx_scales;

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* What a pass left to do: to scale its sums of n_rows rows and add them to y. */
typedef struct amx_pass {
    tile_sums *sums; /* of each block */
    const amx_scales *scales;
    float *y;
    const uint8_t *x_sums; /* of the first row, 8 floats a row */
    const float *x_scales; /* of each row */
    size_t n_rows;
} amx_pass;

typedef struct amx_state {
    amx_codes codes[PANELS];
    amx_scales scales[2][PANELS]; /* scales are needed two passes longer */
    WEFT_ALIGNED(64) tile_sums sums[2][UNIT_BLOCKS];
    amx_pass held;   /* its sums are in tiles 4 to 7 */
    amx_pass stored; /* its sums are in memory */
} amx_state;

/* A unit that is to be opened. */
typedef struct amx_opening {
    amx_codes *codes;
    amx_scales *scales;
    const uint8_t *slabs; /* of the 256 columns that it lies in */
    size_t from, n_blocks;
} amx_opening;

VNNI_INLINE void open_block(vnni_kind kind, const amx_opening *opening, size_t b) {
    if (b >= opening->n_blocks) {
        _mm512_store_ps(opening->scales->scale[b], _mm512_setzero_ps());
        _mm512_store_ps(opening->scales->min[b], _mm512_setzero_ps());
        return;
    }
    const size_t at_block = opening->from + b;
    const uint8_t *at = opening->slabs + kind.codes_at + at_block * kind.block_stride;
    const vnni_scale s = vnni_scale_of(kind, opening->slabs, at_block);
    _mm512_store_ps(opening->scales->scale[b], unit_scale(kind, &s));
    if (vnni_has_min(kind)) {
        _mm512_store_ps(opening->scales->min[b], s.min);
    }
#define GROUP(g)                                                                        \
    {                                                                                   \
        const twelve_bytes w = twelve_centred(kind, at, g);                             \
        vnni_fetch_ahead(kind.block_stride, at, g, VNNI_AHEAD_BYTES);                   \
        _mm512_store_si512(opening->codes->block[b][8 * ((g) / 4) + (g) % 4], w.u);     \
        _mm512_store_si512(opening->codes->block[b][8 * ((g) / 4) + (g) % 4 + 4], w.v); \
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

/* A pass's scales, in registers. */
typedef struct amx_factors {
    __m512 scale[UNIT_BLOCKS], min[UNIT_BLOCKS];
} amx_factors;

VNNI_INLINE amx_factors load_factors(vnni_kind kind, const amx_scales *scales) {
    amx_factors f;
#define BLOCK(b)                                   \
    f.scale[b] = _mm512_load_ps(scales->scale[b]); \
    f.min[b] = vnni_has_min(kind) ? _mm512_load_ps(scales->min[b]) : _mm512_setzero_ps();
    BLOCK(0)
    BLOCK(1)
    BLOCK(2)
    BLOCK(3)
#undef BLOCK
    return f;
}

/* Row r's sums, scaled, into y. */
VNNI_INLINE void finish_row(vnni_kind kind, const amx_pass *p, const amx_factors *f, size_t r) {
    const float *x_sums = (const float *)(const void *)(p->x_sums + 32 * r);
    float *y = p->y + 16 * r;
    __m512 v = _mm512_setzero_ps();
#define BLOCK(b)                                                                               \
    v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(p->sums[b][r])), f->scale[b], v); \
    if (vnni_has_min(kind)) {                                                                  \
        v = _mm512_fmadd_ps(f->min[b], _mm512_set1_ps(x_sums[b]), v);                          \
    }
    BLOCK(0)
    BLOCK(1)
    BLOCK(2)
    BLOCK(3)
#undef BLOCK
    _mm512_store_ps(y, _mm512_fmadd_ps(v, _mm512_set1_ps(p->x_scales[r]), _mm512_load_ps(y)));
}

VNNI_INLINE void finish_four(vnni_kind kind, const amx_pass *p, const amx_factors *f, size_t r) {
    finish_row(kind, p, f, r);
    finish_row(kind, p, f, r + 1);
    finish_row(kind, p, f, r + 2);
    finish_row(kind, p, f, r + 3);
    amx_fence();
}

VNNI_INLINE void finish(vnni_kind kind, const amx_pass *p) {
    const amx_factors f = load_factors(kind, p->scales);
    for (size_t r = 0; r < p->n_rows; r++) {
        finish_row(kind, p, &f, r);
    }
}

/* sums <- x . codes; x holds the lines of a group's block, one row's after another's. What the tile
 * held leaves for memory first. */
#define MULTIPLY(kind, sums, x_tile, w_tile, is_there, held, x, codes) \
    if (is_there) {                                                    \
        _tile_loadd(x_tile, x, 64);                                    \
        _tile_loadd(w_tile, codes, 64);                                \
    }                                                                  \
    _tile_stored(sums, held, 64);                                      \
    if (is_there) {                                                    \
        _tile_zero(sums);                                              \
        if ((kind).log2_middle != 0) {                                 \
            _tile_dpbssd(sums, x_tile, w_tile);                        \
        } else {                                                       \
            _tile_dpbsud(sums, x_tile, w_tile);                        \
        }                                                              \
    }                                                                  \
    amx_fence()

/* The blocks at x, x_block apart, times n_blocks of codes; what the pass before last left is
 * finished on the way. Before that `opening` is opened, if there is one: these codes. */
VNNI_INLINE void pass(vnni_kind kind, amx_state *s, const amx_pass *now, const amx_codes *codes,
                      size_t n_blocks, const uint8_t *x, size_t x_block,
                      const amx_opening *opening) {
    const amx_pass done = s->stored;
    const amx_factors f = load_factors(kind, done.scales);
    tile_sums *held = s->held.sums;
    if (opening != NULL) {
        open_block(kind, opening, 0);
        open_block(kind, opening, 1);
        open_block(kind, opening, 2);
        open_block(kind, opening, 3);
        amx_fence();
    }
    const int is_whole = done.n_rows == AMX_ROWS;
    for (size_t r = 0; !is_whole && r < done.n_rows; r++) {
        finish_row(kind, &done, &f, r);
    }
#define STEP(b, sums, x_tile, w_tile)                                              \
    MULTIPLY(kind, sums, x_tile, w_tile, (b) < n_blocks, held[b], x + (b)*x_block, \
             codes->block[b]);                                                     \
    if (is_whole) {                                                                \
        finish_four(kind, &done, &f, 4 * (b));                                     \
    }                                                                              \
    amx_fence();
    STEP(0, 4, 0, 2)
    STEP(1, 5, 1, 3)
    STEP(2, 6, 0, 2)
    STEP(3, 7, 1, 3)
#undef STEP
    s->stored = s->held;
    s->held = *now;
}
#undef MULTIPLY

/* Rows of x, in groups, and the panels that they meet. */
typedef struct amx_product {
    float *y; /* [n_panels][ACT_CHUNK_ROWS][16] */
    const uint8_t *panel, *x;
    size_t panel_bytes, x_stride, n_panels, rows, k;
} amx_product;

VNNI_INLINE size_t unit_blocks(const amx_product *p, size_t unit) {
    const size_t left = (p->k - unit * UNIT_COLS) / ACT_BLOCK_LEN;
    return left < UNIT_BLOCKS ? left : UNIT_BLOCKS;
}

VNNI_INLINE amx_opening opening_of(vnni_kind kind, amx_state *s, const amx_product *p, size_t unit,
                                   size_t i) {
    return (amx_opening){
        .codes = &s->codes[i],
        .scales = &s->scales[unit % 2][i],
        .slabs = p->panel + i * p->panel_bytes + unit / 2 * kind.chunk_bytes,
        .from = unit % 2 * UNIT_BLOCKS,
        .n_blocks = unit_blocks(p, unit),
    };
}

/* The group of rows from row on times unit `unit` of all panels; number n of all such. */
VNNI_INLINE void add_group_of_rows(vnni_kind kind, amx_state *s, const amx_product *p, size_t row,
                                   size_t unit, size_t n) {
    const size_t g = act_group_rows(row, p->rows), from = unit % 2 * UNIT_BLOCKS;
    const uint8_t *x = p->x + row * p->x_stride + unit / 2 * g * sizeof(act_block_q12);
    for (size_t i = 0; i < p->n_panels; i++) {
        const amx_pass now = {
            .sums = s->sums[(n * p->n_panels + i) % 2],
            .scales = &s->scales[unit % 2][i],
            .y = p->y + (i * ACT_CHUNK_ROWS + row) * PACK_PANEL_ROWS,
            .x_sums = x + act_group_sums(g, 0) + from * sizeof(float),
            .x_scales = (const float *)(const void *)(x + act_group_scale(g, 0)),
            .n_rows = g,
        };
        const uint8_t *lines = x + act_group_codes(g, from, 0);
        const amx_codes *codes = &s->codes[i];
        const size_t n_blocks = unit_blocks(p, unit);
        if (row == 0) {
            const amx_opening opening = opening_of(kind, s, p, unit, i);
            pass(kind, s, &now, codes, n_blocks, lines, 64 * g, &opening);
        } else {
            pass(kind, s, &now, codes, n_blocks, lines, 64 * g, NULL);
        }
    }
}

VNNI_INLINE void run_many(vnni_kind kind, const amx_product *p) {
    amx_state s;
    amx_begin_rows((uint8_t)(p->rows < AMX_ROWS ? p->rows : AMX_ROWS), 16, 64);
    amx_fence();
    s.held = (amx_pass){.sums = s.sums[1], .scales = s.scales[0]};
    s.stored = (amx_pass){.sums = s.sums[0], .scales = s.scales[0]};
    for (size_t unit = 0, n = 0; unit * UNIT_COLS < p->k; unit++) {
        for (size_t row = 0; row < p->rows; row += ACT_GROUP_ROWS, n++) {
            add_group_of_rows(kind, &s, p, row, unit, n);
        }
    }
    _tile_stored(4, s.held.sums[0], 64);
    _tile_stored(5, s.held.sums[1], 64);
    _tile_stored(6, s.held.sums[2], 64);
    _tile_stored(7, s.held.sums[3], 64);
    amx_fence();
    finish(kind, &s.stored);
    finish(kind, &s.held);
    amx_end();
}

/* ---- products ---- */

VNNI_INLINE void run(vnni_kind kind, size_t panel_bytes, float *y, size_t y_stride,
                     const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                     size_t k) {
    WEFT_ALIGNED(64) float sums[PANELS][ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    amx_product p = {
        .y = sums[0],
        .panel = panel,
        .panel_bytes = panel_bytes,
        .x_stride = x_stride,
        .n_panels = (n + PACK_PANEL_ROWS - 1) / PACK_PANEL_ROWS,
        .k = k,
    };
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        p.rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        p.x = x + from * x_stride;
        float *out = y + from * y_stride;
        for (size_t i = 0; i < p.n_panels; i++) {
            vnni_fetch_outputs(out + i * PACK_PANEL_ROWS, y_stride, p.rows);
            if (p.rows <= FEW_ROWS_MAX) {
                run_few(kind, sums[i], panel + i * panel_bytes, p.x, p.rows, k);
            } else {
                memset(sums[i], 0, p.rows * PACK_PANEL_ROWS * sizeof(float));
            }
        }
        if (p.rows > FEW_ROWS_MAX) {
            run_many(kind, &p);
        }
        vnni_store_panels(out, y_stride, sums[0], ACT_CHUNK_ROWS * PACK_PANEL_ROWS, p.rows, n);
    }
}

#define X(NAME, name)                                                                     \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x, \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run(vnni_##name, pack_panel_bytes(WEFT_DTYPE_##NAME, k), y, y_stride, panel, x,   \
            x_stride_bytes, m, n, k);                                                     \
    }
PRODUCTS_TWELVE_LIST(X)
#undef X
