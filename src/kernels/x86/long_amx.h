/* long_amx.h - products by tiles of AMX that add up 256 columns before anything leaves them.
 *
 * A file of formats makes of 256 columns of a panel one or two planes of bytes (long_avx512.h),
 *
 *   w = plane                    or  w = high * 2^log2_high + low
 *
 * and here these are multiplied:
 *
 *   for two panels, for 256 columns (a unit), for tiles of 16 rows, for each of both panels: a pass
 *
 * A pass (long_pass_amx.h) scales the sums of an earlier one, makes the planes that come next and
 * asks for the lines of the unit after the next. None of this stops where columns or panels end:
 * outputs of the last columns go where they belong while the panels that follow are multiplied
 * already. Planes serve all rows; these are loaded past the first-level cache, or they would drive
 * planes and sums out of it.
 *
 * When rows are no multiple of 16 the last tile begins earlier, and scales only what is new. Few
 * rows do not pay for planes: the file multiplies those in its own way, to the same integers.
 */
#ifndef WEFT_KERNELS_X86_LONG_AMX_H
#define WEFT_KERNELS_X86_LONG_AMX_H

#include <string.h>

#include "kernels/kernels.h"
#include "kernels/x86/long_pass_amx.h"

#define LONG_FEW_MAX 16u

/* Rows of x and the panels that they meet. */
typedef struct long_product {
    float *y;
    const uint8_t *panel, *x;
    size_t y_stride, panel_bytes, x_stride, rows, n, k;
    void *chunk;    /* the one that is being opened */
    int is_precise; /* each row of y is the sum of two rows' products */
} long_product;

/* Where outputs of rows of x from `from` on go. */
VNNI_INLINE float *long_outputs(const long_product *p, size_t from) {
    return p->y + (p->is_precise ? from / 2 : from) * p->y_stride;
}

/* 256 columns of two panels, or of the one that is left. */
typedef struct long_unit {
    size_t panel, n_panels; /* the first, and how many */
    size_t col;
    size_t number; /* of units before */
    size_t opened; /* panels of units before */
} long_unit;

VNNI_INLINE size_t long_panel_count(const long_product *p) {
    return (p->n + PACK_PANEL_ROWS - 1) / PACK_PANEL_ROWS;
}

/* Of panels that would follow the last too: n_panels is 0 then. */
VNNI_INLINE long_unit long_unit_at(const long_product *p, size_t panel, size_t col, size_t number,
                                   size_t opened) {
    const size_t n = long_panel_count(p), left = panel < n ? n - panel : 0;
    return (long_unit){panel, left < LONG_PANELS ? left : LONG_PANELS, col, number, opened};
}

VNNI_INLINE long_unit long_unit_after(const long_product *p, const long_unit *u) {
    const int is_end = u->col + ACT_LONG_LEN >= p->k;
    return long_unit_at(p, is_end ? u->panel + LONG_PANELS : u->panel,
                        is_end ? 0 : u->col + ACT_LONG_LEN, u->number + 1, u->opened + u->n_panels);
}

VNNI_INLINE const uint8_t *long_slab(long_kind kind, const long_product *p, const long_unit *u,
                                     size_t j) {
    return p->panel + (u->panel + j) * p->panel_bytes + u->col / ACT_LONG_LEN * kind.chunk_bytes;
}

VNNI_INLINE long_plane *long_planes(long_state *s, const long_unit *u, size_t j) {
    return s->planes[(u->opened + j) % 2];
}

/* Opens a unit's panel j, and returns where its planes shall be. */
VNNI_INLINE long_plane *long_open(long_kind kind, long_state *s, const long_product *p,
                                  const long_unit *u, size_t j) {
    kind.open(p->chunk, &s->factors[u->number % LONG_FACTORS][j], long_slab(kind, p, u, j));
    return long_planes(s, u, j);
}

/* Rows from `from` on times panel j of a unit. */
VNNI_INLINE long_pass long_pass_of(long_state *s, const long_product *p, const long_unit *u,
                                   size_t j, size_t from, size_t number) {
    const size_t n_left = p->n - (u->panel + j) * PACK_PANEL_ROWS;
    long_pass now = {
        .sums = s->sums[number % 2],
        .factors = &s->factors[u->number % LONG_FACTORS][j],
        .before = s->before[j] + from * PACK_PANEL_ROWS,
        .to = s->before[j] + from * PACK_PANEL_ROWS,
        .to_stride = PACK_PANEL_ROWS,
        .x = p->x + from * p->x_stride + u->col / ACT_LONG_LEN * sizeof(long_x),
        .has_before = u->col != 0 ? 0xffff : 0,
        .outputs = 0xffff,
        .is_last = u->col + ACT_LONG_LEN >= p->k,
        .is_precise = p->is_precise,
    };
    if (now.is_last) {
        now.to = long_outputs(p, from) + (u->panel + j) * PACK_PANEL_ROWS;
        now.to_stride = p->y_stride;
        now.outputs = (__mmask16)(n_left < PACK_PANEL_ROWS ? (1u << n_left) - 1 : 0xffffu);
    }
    return now;
}

/* All rows times a unit; `number` passes were before. */
VNNI_INLINE size_t long_run_unit(long_kind kind, long_state *s, const long_product *p,
                                 const long_unit *u, size_t number) {
    const size_t n_tiles = (p->rows + AMX_ROWS - 1) / AMX_ROWS;
    const size_t height = p->rows < AMX_ROWS ? p->rows : AMX_ROWS;
    const size_t n_lines = (kind.chunk_bytes + 63) / 64, n_steps = 4 * (size_t)kind.n_planes;
    const size_t n_ahead = (n_lines + n_tiles - 1) / n_tiles;
    const long_unit next = long_unit_after(p, u), later = long_unit_after(p, &next);
    for (size_t t = 0; t < n_tiles; t++) {
        const size_t first = t * AMX_ROWS;
        const size_t from = first + height <= p->rows ? first : p->rows - height;
        for (size_t j = 0; j < u->n_panels; j++, number++) {
            const uint8_t *ahead = long_slab(kind, p, &later, j);
            long_beside beside = {
                .chunk = p->chunk,
                .ahead = ahead + t * n_ahead * 64,
                .ahead_end =
                    ahead + (t * n_ahead + (n_ahead > n_steps ? n_ahead - n_steps : 0)) * 64,
            };
            if (t == 0 && j + 1 < u->n_panels) {
                beside.next = long_open(kind, s, p, u, j + 1);
            } else if (t + 1 == n_tiles && j + 1 == u->n_panels && next.n_panels > 0) {
                beside.next = long_open(kind, s, p, &next, 0);
            }
            long_pass now = long_pass_of(s, p, u, j, from, number);
            now.skip = first - from;
            now.end = height;
            long_run_pass(kind, s, &now, number, long_planes(s, u, j), &beside, j == 0,
                          p->x_stride);
        }
    }
    return number;
}

VNNI_INLINE void long_many_rows(long_kind kind, const long_product *p) {
    long_state s;
    size_t number = 0;
    amx_begin_rows((uint8_t)(p->rows < AMX_ROWS ? p->rows : AMX_ROWS), 16, 64);
    s.held[0] = s.held[1] = (long_pass){.sums = s.sums[1], .factors = s.factors[0]};
    s.stored = (long_pass){.sums = s.sums[0], .factors = s.factors[0]};
    long_unit u = long_unit_at(p, 0, 0, 0, 0);
    long_plane *first = long_open(kind, &s, p, &u, 0);
    for (size_t b = 0; b < ACT_LONG_LEN / ACT_BLOCK_LEN; b++) {
        kind.make(first, p->chunk, b);
    }
    amx_fence();
    for (; u.n_panels > 0; u = long_unit_after(p, &u)) {
        number = long_run_unit(kind, &s, p, &u, number);
    }
    long_drain(kind, &s, number, p->x_stride);
    amx_end();
}

/* y [rows][16] of panel j, chunk by chunk */
VNNI_INLINE void long_few_rows(long_kind kind, const long_product *p, size_t j) {
    WEFT_ALIGNED(64) float sums[LONG_FEW_MAX * PACK_PANEL_ROWS];
    long_factors factors;
    memset(sums, 0, p->rows * PACK_PANEL_ROWS * sizeof(float));
    for (size_t i = 0; i * ACT_LONG_LEN < p->k; i++) {
        const uint8_t *x = p->x + i * sizeof(long_x);
        float *y = sums;
        size_t m = p->rows;
        kind.open(p->chunk, &factors, p->panel + j * p->panel_bytes + i * kind.chunk_bytes);
#define TILES_OF(rows)                                           \
    for (; m >= (rows); m -= (rows)) {                           \
        kind.few((rows), y, p->chunk, &factors, x, p->x_stride); \
        y += (size_t)(rows)*PACK_PANEL_ROWS;                     \
        x += (size_t)(rows)*p->x_stride;                         \
    }
        TILES_OF(8)
        TILES_OF(4)
        TILES_OF(2)
        TILES_OF(1)
#undef TILES_OF
    }
    size_t rows = p->rows;
    if (p->is_precise) {
        rows /= 2;
        for (size_t r = 0; r < rows; r++) {
            const __m512 high = _mm512_load_ps(sums + 32 * r);
            _mm512_store_ps(sums + 16 * r, _mm512_add_ps(high, _mm512_load_ps(sums + 32 * r + 16)));
        }
    }
    const size_t n_left = p->n - j * PACK_PANEL_ROWS;
    vnni_store_outputs(p->y + j * PACK_PANEL_ROWS, p->y_stride, sums, rows,
                       n_left < PACK_PANEL_ROWS ? n_left : PACK_PANEL_ROWS);
}

/* ---- products ---- */

/* So many rows at a time that parts are about equal. */
VNNI_INLINE size_t long_part_rows(size_t m) {
    const size_t n_parts = (m + LONG_ROWS_MAX - 1) / LONG_ROWS_MAX;
    const size_t n_tiles = (m + AMX_ROWS - 1) / AMX_ROWS;
    return (n_tiles + n_parts - 1) / n_parts * AMX_ROWS;
}

/* all: the product, but for its rows. */
VNNI_INLINE void long_run(long_kind kind, const long_product *all, size_t m) {
    const size_t rows = all->is_precise ? 2 * m : m, part = long_part_rows(rows);
    for (size_t from = 0; from < rows; from += part) {
        long_product p = *all;
        p.rows = rows - from < part ? rows - from : part;
        p.x = all->x + from * p.x_stride;
        p.y = long_outputs(all, from);
        if (p.rows > kind.few_rows_max) {
            long_many_rows(kind, &p);
            continue;
        }
        for (size_t j = 0; j < long_panel_count(&p); j++) {
            vnni_fetch_outputs(p.y + j * PACK_PANEL_ROWS, p.y_stride,
                               p.is_precise ? p.rows / 2 : p.rows);
            long_few_rows(kind, &p, j);
        }
    }
}

/* The functions of a format: linear and linear_precise. */
#define LONG_FUNCTIONS(NAME, name, kind, chunk_type)                                              \
    static void run_##name(float *y, size_t y_stride, const void *panel, const void *x,           \
                           size_t x_stride, size_t m, size_t n, size_t k, int is_precise) {       \
        chunk_type chunk;                                                                         \
        const long_product p = {                                                                  \
            .y = y,                                                                               \
            .panel = panel,                                                                       \
            .x = x,                                                                               \
            .y_stride = y_stride,                                                                 \
            .panel_bytes = pack_panel_bytes(WEFT_DTYPE_##NAME, k),                                \
            .x_stride = x_stride,                                                                 \
            .n = n,                                                                               \
            .k = k,                                                                               \
            .chunk = &chunk,                                                                      \
            .is_precise = is_precise,                                                             \
        };                                                                                        \
        long_run(kind, &p, m);                                                                    \
    }                                                                                             \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x,         \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {               \
        run_##name(y, y_stride, panel, x, x_stride_bytes, m, n, k, 0);                            \
    }                                                                                             \
    void linear_precise_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x, \
                                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run_##name(y, y_stride, panel, x, x_stride_bytes, m, n, k, 1);                            \
    }

#endif /* WEFT_KERNELS_X86_LONG_AMX_H */
