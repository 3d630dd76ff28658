/* linear_amx.c - products of 4-, 5- and 8-bit codes with 12-bit activations, by AMX.
 *
 * Scales of weights belong to 32 columns, so that a tile of sums leaves for memory after each
 * block: 16 rows x 16 outputs x 32 columns are one multiplication of tiles (both bytes of x and of
 * the weights are its 64 columns, twelve_avx512.h), a store of 16 lines, and 2 instructions a line
 * that scale it. While tiles work, one port is left for those: they bind. Minimums do without them:
 * those of 256 columns, in two pieces of bfloat16, times x's sums are one multiplication more.
 *
 *   codes   256 columns of a panel, opened to bytes: eight tiles, and one of minimums
 *   pass    a group of rows times these: eight steps, of a multiplication each
 *
 *   for pairs of panels, for 256 columns, for both panels, for groups of rows: a pass
 *
 * A tile of sums is ready long after it was asked for, and its store blocks what comes behind: so
 * it leaves four steps later, when its tile is needed again, and is scaled after four more, in the
 * same step of the next pass. While the last group passes, each step opens its part of the columns
 * that come next, where that group has read its own: stores wait for what is before them, and a
 * tile can be loaded only when they are done. Codes and sums have to stay in the first-level cache;
 * 8 KB more of them cost a sixth of the time. So x, of which every pass has other rows, is loaded
 * past it.
 *
 * A few rows go through vpdpbusd: the same integers. One row is bound by reading the panel.
 */
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/twelve_avx512.h"

#define FEW_ROWS_MAX 4u /* from 5 on, opening codes costs less than what it saves */
#define PAIR KERNEL_PAIR
#define STEPS VNNI_BLOCKS /* of 32 columns, in 256 */

/* Blocks of the 256 columns from col on. */
VNNI_INLINE size_t blocks_from(size_t col, size_t k) {
    const size_t left = (k - col) / ACT_BLOCK_LEN;
    return left < STEPS ? left : STEPS;
}

VNNI_INLINE __m512 unit_scale(vnni_kind kind, const vnni_scale *s) {
    return _mm512_mul_ps(s->scale, _mm512_set1_ps(twelve_unit(kind)));
}

/* The upper 16 bits of the value: a bfloat16. */
VNNI_INLINE __m512 upper_half(__m512 v) {
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), upper));
}

/* Rows of x, in groups, and the panels that they meet. */
typedef struct amx_product {
    float *y;
    const uint8_t *panel, *x;
    size_t y_stride, panel_bytes, x_stride;
    size_t n_panels, rows, n, k;
} amx_product;

/* ---- few rows ---- */

/* A row's sums of 256 columns: of codes, and those two of minimums (products.h). */
typedef struct few_sums {
    __m512 codes[VNNI_ROWS_MAX], even[VNNI_ROWS_MAX], odd[VNNI_ROWS_MAX];
} few_sums;

/* The pieces of sums of x, as float32: those of block b are number 2 * b. */
typedef struct few_pieces {
    WEFT_ALIGNED(64) float high[VNNI_ROWS_MAX][16], low[VNNI_ROWS_MAX][16];
} few_pieces;

VNNI_INLINE void open_pieces(int rows, few_pieces *p, const uint8_t *x) {
    VNNI_EACH_ROW(rows, {
        const __m512i pairs = vnni_load(x + act_group_sums((size_t)rows, (size_t)r));
        _mm512_store_si512(p->high[r], _mm512_slli_epi32(pairs, 16));
        _mm512_store_ps(p->low[r], upper_half(_mm512_castsi512_ps(pairs)));
    });
}

VNNI_INLINE void add_min(int rows, few_sums *v, __m512 min, const few_pieces *p, size_t b) {
    const __m512 first = upper_half(min), second = _mm512_sub_ps(min, first);
    VNNI_EACH_ROW(rows, {
        const __m512 high = _mm512_set1_ps(p->high[r][2 * b]);
        const __m512 low = _mm512_set1_ps(p->low[r][2 * b]);
        v->even[r] = _mm512_fmadd_ps(high, first, v->even[r]);
        v->odd[r] = _mm512_fmadd_ps(low, first, v->odd[r]);
        v->even[r] = _mm512_fmadd_ps(high, second, v->even[r]);
        v->odd[r] = _mm512_fmadd_ps(low, second, v->odd[r]);
    });
}

VNNI_INLINE void add_group(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX], const uint8_t *at,
                           const uint8_t *x, int group) {
    const twelve_bytes w = twelve_of(kind, at, group);
    vnni_fetch_group(true, at, kind.block_stride, (size_t)group);
    VNNI_EACH_ROW(rows, {
        const uint8_t *four = x + 64 * r + 32 * (group / 4) + 4 * (group % 4);
        sums[r] = _mm512_dpbusd_epi32(sums[r], w.u, vnni_broadcast32(four));
        sums[r] = _mm512_dpbusd_epi32(sums[r], w.v, vnni_broadcast32(four + 16));
    });
}

/* v += the group of rows at x . block b, both of 256 columns. */
VNNI_INLINE void add_block(int rows, vnni_kind kind, few_sums *v, const uint8_t *slabs, size_t b,
                           const uint8_t *x, const few_pieces *pieces) {
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
    if (vnni_has_mins(kind)) { /* here, where instructions wait for each other */
        add_min(rows, v, s.min, pieces, b);
    }
    add_group(rows, kind, sums, at, codes, 4);
    add_group(rows, kind, sums, at, codes, 5);
    add_group(rows, kind, sums, at, codes, 6);
    add_group(rows, kind, sums, at, codes, 7);
    const __m512 scale = unit_scale(kind, &s);
    VNNI_EACH_ROW(
        rows, { v->codes[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]), scale, v->codes[r]); });
}

VNNI_INLINE float float_at(const uint8_t *p) {
    float v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

/* y [rows][16] = x [rows] . panel */
VNNI_INLINE void few(int rows, vnni_kind kind, float *y, const uint8_t *panel, const uint8_t *x,
                     size_t k) {
    __m512 sums[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_ps(); });
    for (size_t col = 0; col < k; col += ACT_LONG_LEN) {
        const size_t n_blocks = blocks_from(col, k);
        few_pieces pieces;
        few_sums v;
        VNNI_EACH_ROW(rows, { v.codes[r] = v.even[r] = v.odd[r] = _mm512_setzero_ps(); });
        if (vnni_has_mins(kind)) {
            open_pieces(rows, &pieces, x);
        }
        for (size_t b = 0; b < n_blocks; b++) {
            add_block(rows, kind, &v, panel, b, x, &pieces);
        }
        VNNI_EACH_ROW(rows, {
            const float xs = float_at(x + act_group_scale((size_t)rows, (size_t)r));
            if (vnni_has_mins(kind)) {
                v.codes[r] = _mm512_add_ps(v.codes[r], _mm512_add_ps(v.even[r], v.odd[r]));
            }
            sums[r] = _mm512_fmadd_ps(v.codes[r], _mm512_set1_ps(xs), sums[r]);
        });
        panel += kind.chunk_bytes;
        x += (size_t)rows * sizeof(act_block_q12);
    }
    VNNI_EACH_ROW(rows, { _mm512_store_ps(y + 16 * r, sums[r]); });
}

VNNI_INLINE void run_few(vnni_kind kind, const amx_product *p) {
    WEFT_ALIGNED(64) float sums[KERNEL_PANELS_MAX][FEW_ROWS_MAX * PACK_PANEL_ROWS];
    for (size_t i = 0; i < p->n_panels; i++) {
        const uint8_t *panel = p->panel + i * p->panel_bytes;
        vnni_fetch_outputs(p->y + i * PACK_PANEL_ROWS, p->y_stride, p->rows);
        switch (p->rows) {
        case 1: few(1, kind, sums[i], panel, p->x, p->k); break;
        case 2: few(2, kind, sums[i], panel, p->x, p->k); break;
        case 3: few(3, kind, sums[i], panel, p->x, p->k); break;
        default: few(4, kind, sums[i], panel, p->x, p->k);
        }
    }
    vnni_store_panels(p->y, p->y_stride, sums[0], FEW_ROWS_MAX * PACK_PANEL_ROWS, p->rows, p->n);
}

/* ---- many rows: codes ---- */

/* 256 columns of a panel, or what is left of them, then in the last steps: of each block a tile, u
 * and v of groups 0 to 3, then of 4 to 7. Of each block's minimums, zeros beyond the last, a row of
 * first pieces and one of second, each twice side by side: once for each piece of x's sums. */
typedef struct amx_codes {
    WEFT_ALIGNED(64) uint8_t step[STEPS][16][64];
    uint32_t mins[2 * STEPS][PACK_PANEL_ROWS];
} amx_codes;

typedef struct amx_scales {
    WEFT_ALIGNED(64) float step[STEPS][PACK_PANEL_ROWS];
} amx_scales;

/* Columns that are to be opened. */
typedef struct amx_opening {
    amx_codes *codes;
    amx_scales *scales;
    const uint8_t *slabs;
    size_t first; /* step that has columns */
} amx_opening;

/* The upper half, and again in the lower. */
VNNI_INLINE __m512i upper_twice(__m512 v) {
    const __m512i order = _mm512_broadcast_i32x4(
        _mm_setr_epi8(2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15));
    return _mm512_shuffle_epi8(_mm512_castps_si512(v), order);
}

VNNI_INLINE void open_min(amx_codes *codes, size_t b, __m512 min) {
    _mm512_store_si512(codes->mins[2 * b], upper_twice(min));
    _mm512_store_si512(codes->mins[2 * b + 1], upper_twice(_mm512_sub_ps(min, upper_half(min))));
}

VNNI_INLINE void open_step(vnni_kind kind, const amx_opening *o, size_t step) {
    const size_t b = (step - o->first) % STEPS;
    if (step < o->first) {
        open_min(o->codes, b, _mm512_setzero_ps());
        return;
    }
    const uint8_t *at = o->slabs + kind.codes_at + b * kind.block_stride;
    const vnni_scale s = vnni_scale_of(kind, o->slabs, b);
    _mm512_store_ps(o->scales->step[step], unit_scale(kind, &s));
    if (vnni_has_mins(kind)) {
        open_min(o->codes, b, s.min);
    }
#define GROUP(g)                                                                    \
    {                                                                               \
        const twelve_bytes w = twelve_centred(kind, at, g);                         \
        _mm512_store_si512(o->codes->step[step][8 * ((g) / 4) + (g) % 4], w.u);     \
        _mm512_store_si512(o->codes->step[step][8 * ((g) / 4) + (g) % 4 + 4], w.v); \
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

/* ---- many rows: a pass ---- */

#define SLOTS 4u  /* steps from a multiplication to its store, and from there to scaling */
#define SCALES 3u /* that are opened in one pass, in use in the next, and in the one after */

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* A group of rows times opened columns. */
typedef struct amx_pass {
    const amx_codes *codes;
    const amx_scales *scales;
    const uint8_t *x; /* the group's block of 256 */
    float *sums;      /* [16][16]: of the columns before these, and then of these too */
    float *y;         /* NULL; of the last columns where the sums go instead */
    size_t first;     /* step that has columns */
    size_t n_rows;
    const uint8_t *ahead, *ahead_end; /* lines to ask for, ahead_step with each step */
    size_t ahead_step;
    __mmask16 has_sums, outputs;
} amx_pass;

typedef struct amx_state {
    amx_codes codes;
    amx_scales scales[SCALES]; /* are needed two passes longer */
    WEFT_ALIGNED(64) tile_sums sums[SLOTS];
    float mins[AMX_ROWS][PACK_PANEL_ROWS];
    amx_pass before;
} amx_state;

/* Tile 1 <- x's sums times minimums, of all columns; it held those of the pass before. */
VNNI_INLINE void multiply_mins(amx_state *s, const amx_pass *now) {
    _tile_stored(1, s->mins, 64);
    if (now->n_rows != 0) {
        _tile_loadd(0, now->x + act_group_sums(now->n_rows, 0), 64);
        _tile_loadd(2, now->codes->mins, 64);
        _tile_zero(1);
        _tile_dpbf16ps(1, 0, 2);
    }
    amx_fence();
}

/* v [height] += a step's sums, scaled. */
VNNI_INLINE void add_sums(int height, __m512 v[AMX_ROWS], tile_sums sums, const float *scales) {
    const __m512 scale = _mm512_load_ps(scales);
    VNNI_EACH_ROW(height, {
        v[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[r])), scale, v[r]);
    });
}

/* Asks for the next lines of the panel's next columns; returns what follows them. */
VNNI_INLINE const uint8_t *fetch_lines(const amx_pass *now, const uint8_t *at) {
    for (size_t l = 0; l < now->ahead_step && at < now->ahead_end; l++, at += 64) {
        _mm_prefetch((const char *)at, _MM_HINT_T1);
    }
    return at;
}

/* Asks for two rows of outputs, which the next pass stores. */
VNNI_INLINE void fetch_outputs(const amx_pass *now, size_t y_stride, size_t step) {
    if (now->y != NULL) {
        _mm_prefetch((const char *)(now->y + 2 * step * y_stride), _MM_HINT_T0);
        _mm_prefetch((const char *)(now->y + (2 * step + 1) * y_stride), _MM_HINT_T0);
    }
}

/* What a pass's codes sum up to, and its minimums: to where it belongs. */
VNNI_INLINE void finish(vnni_kind kind, int height, const amx_pass *p, size_t y_stride,
                        __m512 v[AMX_ROWS], float mins[AMX_ROWS][PACK_PANEL_ROWS]) {
    const float *scales = (const float *)(const void *)(p->x + act_group_scale(p->n_rows, 0));
    VNNI_EACH_ROW(height, {
        if (r < p->n_rows) {
            const __m512 before = _mm512_maskz_load_ps(p->has_sums, p->sums + 16 * r);
            if (vnni_has_mins(kind)) {
                v[r] = _mm512_add_ps(v[r], _mm512_load_ps(mins[r]));
            }
            v[r] = _mm512_fmadd_ps(v[r], _mm512_set1_ps(scales[r]), before);
            if (p->y == NULL) {
                _mm512_store_ps(p->sums + 16 * r, v[r]);
            } else {
                _mm512_mask_storeu_ps(p->y + r * y_stride, p->outputs, v[r]);
            }
        }
    });
}

/* Multiplies, finishes the pass before and opens what the next will need, if that is not NULL. Of
 * columns that fill no 256, the pass has the last steps, so that it takes the usual way to the end:
 * what is multiplied in step s is stored in step s + 4, that of the next pass if there is no such,
 * and scaled in step s of the next. */
VNNI_INLINE void pass(vnni_kind kind, int height, amx_state *s, const amx_pass *now,
                      const amx_opening *next, size_t y_stride) {
    const amx_pass done = s->before;
    const size_t x_step = 64 * now->n_rows;
    const uint8_t *x = now->x - now->first * x_step;
    const uint8_t *ahead = now->ahead;
    __m512 v[AMX_ROWS];
    VNNI_EACH_ROW(height, { v[r] = _mm512_setzero_ps(); });
    amx_fence();
    if (vnni_has_mins(kind)) {
        multiply_mins(s, now);
    }
#define STEP(i, tile)                                                          \
    if ((i) >= now->first) {                                                   \
        _tile_stream_loadd(0, x + (i)*x_step, 64);                             \
        _tile_loadd(2, now->codes->step[i], 64);                               \
    }                                                                          \
    if ((i) >= done.first) {                                                   \
        add_sums(height, v, s->sums[(i) % SLOTS], done.scales->step[i]);       \
    }                                                                          \
    amx_fence();                                                               \
    if ((i) < SLOTS ? (i) + SLOTS >= done.first : (i) >= now->first + SLOTS) { \
        _tile_stored(tile, s->sums[(i) % SLOTS], 64);                          \
    }                                                                          \
    if ((i) >= now->first) {                                                   \
        _tile_zero(tile);                                                      \
        if (kind.log2_middle != 0) {                                           \
            _tile_dpbssd(tile, 0, 2);                                          \
        } else {                                                               \
            _tile_dpbsud(tile, 0, 2);                                          \
        }                                                                      \
    }                                                                          \
    amx_fence();                                                               \
    if (next != NULL) {                                                        \
        open_step(kind, next, i);                                              \
    }                                                                          \
    ahead = fetch_lines(now, ahead);                                           \
    fetch_outputs(now, y_stride, i);                                           \
    amx_fence();
    STEP(0, 4)
    STEP(1, 5)
    STEP(2, 6)
    STEP(3, 7)
    STEP(4, 4)
    STEP(5, 5)
    STEP(6, 6)
    STEP(7, 7)
#undef STEP
    finish(kind, height, &done, y_stride, v, s->mins);
    amx_fence();
    s->before = *now;
}

/* ---- many rows: all passes ---- */

typedef float amx_sums[ACT_CHUNK_ROWS][PACK_PANEL_ROWS];

/* 256 columns of a panel, or what is left of a row: a pair of panels has those of the first and of
 * the second, then the next of the first; then comes the next pair. */
typedef struct amx_columns {
    size_t panel, col, number; /* of all before it */
} amx_columns;

VNNI_INLINE amx_columns columns_after(const amx_product *p, amx_columns c) {
    const int has_neighbour = c.panel % PAIR + 1 < PAIR && c.panel + 1 < p->n_panels;
    const size_t first = c.panel / PAIR * PAIR, col = c.col + ACT_LONG_LEN;
    const size_t number = c.number + 1;
    return has_neighbour ? (amx_columns){c.panel + 1, c.col, number}
           : col < p->k  ? (amx_columns){first, col, number}
                         : (amx_columns){first + PAIR, 0, number};
}

VNNI_INLINE amx_opening opening_of(vnni_kind kind, amx_state *s, const amx_product *p,
                                   amx_columns c) {
    return (amx_opening){
        .codes = &s->codes,
        .scales = &s->scales[c.number % SCALES],
        .slabs = p->panel + c.panel * p->panel_bytes + c.col / ACT_LONG_LEN * kind.chunk_bytes,
        .first = STEPS - blocks_from(c.col, p->k),
    };
}

/* All rows times some columns; the last of them open the columns that come next, step by step where
 * they have read their own. Those that come after a pair are asked for meanwhile. */
VNNI_INLINE void run_columns(vnni_kind kind, int height, amx_state *s, amx_sums sums[PAIR],
                             const amx_product *p, amx_columns c) {
    const amx_columns after = columns_after(p, c);
    const int is_end = p->k - c.col <= ACT_LONG_LEN, has_next = after.panel < p->n_panels;
    const size_t n_left = p->n - c.panel * PACK_PANEL_ROWS;
    const amx_opening o = opening_of(kind, s, p, c);
    amx_opening next = {.slabs = NULL};
    if (has_next) {
        next = opening_of(kind, s, p, after);
    }
    const size_t n_passes = (p->rows + AMX_ROWS - 1) / AMX_ROWS;
    const size_t n_lines = (kind.chunk_bytes / 64 + n_passes - 1) / n_passes; /* with each */
    const uint8_t *ahead =
        is_end ? p->panel + (c.panel + PAIR) * p->panel_bytes : o.slabs + kind.chunk_bytes;
    amx_pass now = {
        .codes = o.codes,
        .scales = o.scales,
        .first = o.first,
        .ahead_step = (n_lines + STEPS - 1) / STEPS,
        .has_sums = c.col != 0 ? 0xffff : 0,
        .outputs = (__mmask16)(n_left < PACK_PANEL_ROWS ? (1u << n_left) - 1 : 0xffffu),
    };
    for (size_t row = 0; row < p->rows; row += now.n_rows) {
        now.n_rows = act_group_rows(row, p->rows);
        now.x =
            p->x + row * p->x_stride + c.col / ACT_LONG_LEN * now.n_rows * sizeof(act_block_q12);
        now.ahead = ahead;
        now.ahead_end = ahead += n_lines * 64;
        now.sums = sums[c.panel % PAIR][row];
        now.y = is_end ? p->y + row * p->y_stride + c.panel * PACK_PANEL_ROWS : NULL;
        if (has_next && row + now.n_rows == p->rows) {
            pass(kind, height, s, &now, &next, p->y_stride);
        } else {
            pass(kind, height, s, &now, NULL, p->y_stride);
        }
    }
}

/* height: 16, or 8 where rows are no more. */
VNNI_INLINE void run_many(vnni_kind kind, int height, const amx_product *p) {
    static const amx_pass none = {.first = STEPS};
    WEFT_ALIGNED(64) amx_sums sums[PAIR];
    amx_state s;
    s.before = none;
    amx_columns c = {0, 0, 0};
    const amx_opening first = opening_of(kind, &s, p, c);
    for (size_t step = 0; step < STEPS; step++) {
        open_step(kind, &first, step);
    }
    amx_begin_rows((uint8_t)(p->rows < AMX_ROWS ? p->rows : AMX_ROWS), 16, 64);
    for (; c.panel < p->n_panels; c = columns_after(p, c)) {
        run_columns(kind, height, &s, sums, p, c);
    }
    pass(kind, height, &s, &none, NULL, p->y_stride);
    amx_end();
}

/* ---- products ---- */

VNNI_INLINE void run(vnni_kind kind, size_t panel_bytes, float *y, size_t y_stride,
                     const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                     size_t k) {
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        const amx_product p = {
            .y = y + from * y_stride,
            .panel = panel,
            .x = x + from * x_stride,
            .y_stride = y_stride,
            .panel_bytes = panel_bytes,
            .x_stride = x_stride,
            .n_panels = (n + PACK_PANEL_ROWS - 1) / PACK_PANEL_ROWS,
            .rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS,
            .n = n,
            .k = k,
        };
        if (p.rows <= FEW_ROWS_MAX) {
            run_few(kind, &p);
        } else if (p.rows <= 8) {
            run_many(kind, 8, &p);
        } else {
            run_many(kind, 16, &p);
        }
    }
}

#define X(NAME, name)                                                                             \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x,         \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {               \
        run(twelve_kind(vnni_##name), pack_panel_bytes(WEFT_DTYPE_##NAME, k), y, y_stride, panel, \
            x, x_stride_bytes, m, n, k);                                                          \
    }
PRODUCTS_TWELVE_LIST(X)
#undef X
