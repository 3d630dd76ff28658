/* long_amx.h - products by tiles of AMX that add up 256 columns before anything leaves them.
 *
 * A file of formats makes of 256 columns of a panel one or two planes of bytes (long_avx512.h),
 *
 *   w = plane                    or  w = high * 2^log2_high + low
 *
 * and here these are multiplied:
 *
 *   for chunks of 256 columns, for tiles of 16 rows, for two panels: a pass
 *
 * Four tiles hold the rows' 256 columns for both panels, two hold sums: of the two planes, or of
 * this pass and the one before. Sums are ready long after they were asked for: they leave their
 * tile when that is needed again. While tiles multiply, the rest of the processor scales sums that
 * have left and makes the planes of the chunk that comes next. Planes serve all rows of a chunk.
 *
 * When rows are no multiple of 16 the last tile begins earlier, and scales only what is new. Few
 * rows do not pay for planes: the file multiplies those in its own way, to the same integers.
 */
#ifndef WEFT_KERNELS_X86_LONG_AMX_H
#define WEFT_KERNELS_X86_LONG_AMX_H

#include <string.h>

#include "kernels/kernels.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/long_avx512.h"
#include "layout/pack.h"

#define LONG_PANELS KERNEL_PANELS_MAX

typedef int32_t long_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* A tile of rows times a chunk of a panel. Of the last tile of rows, which begins earlier than the
 * one before ends when rows are no multiple of a tile's, the first `skip` are done already. */
typedef struct long_pass {
    long_sums *sums; /* of each plane */
    const long_factors *factors;
    float *y;
    const uint8_t *x;
    size_t skip, end;
} long_pass;

#define LONG_FACTORS 5 /* a pass is finished up to three passes later, the next is opened before */

typedef struct long_state {
    WEFT_ALIGNED(64) long_sums sums[2][2];
    long_plane planes[2][2]; /* of the chunk that is multiplied, and the next */
    long_factors factors[LONG_FACTORS][LONG_PANELS];
    long_pass held[2]; /* sums in tiles: of one plane, tile 6 and tile 7 */
    long_pass stored;  /* sums in memory */
} long_state;

/* Row r of a pass whose sums are in memory. */
VNNI_INLINE void long_finish_row(long_kind kind, const long_pass *pass, long_registers f,
                                 size_t x_stride, size_t r) {
    __m512i sum = _mm512_load_si512(pass->sums[0][r]);
    if (kind.n_planes == 2) {
        const __m512i low = _mm512_load_si512(pass->sums[1][r]);
        sum = _mm512_add_epi32(_mm512_slli_epi32(sum, (unsigned)kind.log2_high), low);
    }
    long_add_row(kind, pass->y + 16 * r, f, (const long_x *)(pass->x + r * x_stride), sum);
}

VNNI_INLINE void long_finish(long_kind kind, const long_pass *pass, size_t x_stride) {
    const long_registers f = long_registers_of(pass->factors);
    for (size_t r = pass->skip; r < pass->end; r++) {
        long_finish_row(kind, pass, f, x_stride, r);
    }
}

/* 64 columns of x times those of a plane, some rows of the pass that is done, some of the planes of
 * the next chunk: while the tiles multiply, the rest is done. */
#define LONG_STEP(sums, x_tile, w_tile, w, number)                                   \
    _tile_loadd(w_tile, w, 64);                                                      \
    if (kind.is_signed) {                                                            \
        _tile_dpbssd(sums, x_tile, w_tile);                                          \
    } else {                                                                         \
        _tile_dpbsud(sums, x_tile, w_tile);                                          \
    }                                                                                \
    if (is_whole) {                                                                  \
        for (size_t r = 2 * share * (number); r < 2 * share * ((number) + 1); r++) { \
            long_finish_row(kind, &done, f, x_stride, r);                            \
        }                                                                            \
    }                                                                                \
    if (next != NULL) {                                                              \
        for (size_t b = share * (number); b < share * ((number) + 1); b++) {         \
            kind.make(next, chunk, b);                                               \
        }                                                                            \
    }
/* sums <- x, which is in tiles 0, 1, 4 and 5, times a plane. */
#define LONG_MULTIPLY(sums, before, plane, number) \
    _tile_stored(sums, before, 64);                \
    _tile_zero(sums);                              \
    LONG_STEP(sums, 0, 2, plane[0], number)        \
    LONG_STEP(sums, 1, 3, plane[16], (number) + 1) \
    LONG_STEP(sums, 4, 2, plane[32], (number) + 2) \
    LONG_STEP(sums, 5, 3, plane[48], (number) + 3)

/* Multiplies; a pass before leaves its tiles, and the one before that is finished. `number` counts
 * passes. Planes of the chunk, which is open, go to next if that is not NULL. */
VNNI_INLINE void long_run_pass(long_kind kind, long_state *s, const long_pass *now, size_t number,
                               long_plane planes[2], long_plane *next, const void *chunk,
                               int is_new_x, size_t x_stride) {
    const size_t share = kind.n_planes == 2 ? 1 : 2; /* of the rest, with each step */
    long_pass *held = &s->held[kind.n_planes == 2 ? 0 : number % 2];
    const long_pass done = s->stored;
    const long_registers f = long_registers_of(done.factors);
    const int is_whole = done.end - done.skip == AMX_ROWS;
    if (!is_whole) {
        long_finish(kind, &done, x_stride);
    }
    if (is_new_x) {
        _tile_loadd(0, now->x, x_stride);
        _tile_loadd(1, now->x + 64, x_stride);
        _tile_loadd(4, now->x + 128, x_stride);
        _tile_loadd(5, now->x + 192, x_stride);
    }
    if (kind.n_planes == 2) {
        LONG_MULTIPLY(6, held->sums[0], planes[0], 0);
        LONG_MULTIPLY(7, held->sums[1], planes[1], 4);
    } else if (number % 2 == 0) {
        LONG_MULTIPLY(6, held->sums[0], planes[0], 0);
    } else {
        LONG_MULTIPLY(7, held->sums[0], planes[0], 0);
    }
    amx_fence();
    s->stored = *held;
    *held = *now;
}
#undef LONG_MULTIPLY
#undef LONG_STEP

/* Rows of x and the panels that they meet. */
typedef struct long_product {
    float *y; /* [n_panels][ACT_CHUNK_ROWS][16] */
    const uint8_t *panel, *x;
    size_t panel_bytes, x_stride, n_panels, rows, k;
    void *chunk; /* the one that is being opened */
} long_product;

/* Opens chunk i of panel j, and returns where its planes shall be. */
VNNI_INLINE long_plane *long_open_next(long_kind kind, long_state *s, const long_product *p,
                                       size_t i, size_t j) {
    kind.open(p->chunk, &s->factors[i % LONG_FACTORS][j],
              p->panel + j * p->panel_bytes + i * kind.chunk_bytes);
    return s->planes[(i * p->n_panels + j) % 2];
}

/* Tile t of the rows times chunk i of all panels. */
VNNI_INLINE void long_add_tile(long_kind kind, long_state *s, const long_product *p, size_t i,
                               size_t t, size_t number) {
    const size_t n_tiles = (p->rows + AMX_ROWS - 1) / AMX_ROWS;
    const size_t height = p->rows < AMX_ROWS ? p->rows : AMX_ROWS;
    const size_t first = t * AMX_ROWS;
    const size_t from = first + height <= p->rows ? first : p->rows - height;
    for (size_t j = 0; j < p->n_panels; j++, number++) {
        const long_pass now = {
            .sums = s->sums[number % 2],
            .factors = &s->factors[i % LONG_FACTORS][j],
            .y = p->y + (j * ACT_CHUNK_ROWS + from) * PACK_PANEL_ROWS,
            .x = p->x + from * p->x_stride + i * sizeof(long_x),
            .skip = first - from,
            .end = height,
        };
        long_plane *next = NULL;
        if (t == 0 && j + 1 < p->n_panels) {
            next = long_open_next(kind, s, p, i, j + 1);
        } else if (t + 1 == n_tiles && j + 1 == p->n_panels && (i + 1) * ACT_LONG_LEN < p->k) {
            next = long_open_next(kind, s, p, i + 1, 0);
        }
        long_run_pass(kind, s, &now, number, s->planes[(i * p->n_panels + j) % 2], next, p->chunk,
                      j == 0, p->x_stride);
    }
}

/* After the last pass. */
VNNI_INLINE void long_drain(long_kind kind, long_state *s, size_t number, size_t x_stride) {
    long_finish(kind, &s->stored, x_stride);
    _tile_stored(6, s->held[0].sums[0], 64);
    _tile_stored(7, kind.n_planes == 2 ? s->held[0].sums[1] : s->held[1].sums[0], 64);
    amx_fence();
    if (kind.n_planes == 2) {
        long_finish(kind, &s->held[0], x_stride);
    } else {
        long_finish(kind, &s->held[number % 2], x_stride);
        long_finish(kind, &s->held[(number + 1) % 2], x_stride);
    }
}

VNNI_INLINE void long_many_rows(long_kind kind, const long_product *p) {
    long_state s;
    const size_t n_tiles = (p->rows + AMX_ROWS - 1) / AMX_ROWS;
    size_t number = 0;
    amx_begin_rows((uint8_t)(p->rows < AMX_ROWS ? p->rows : AMX_ROWS), 16, 64);
    s.held[0] = s.held[1] = (long_pass){.sums = s.sums[1], .factors = s.factors[0]};
    s.stored = (long_pass){.sums = s.sums[0], .factors = s.factors[0]};
    long_plane *first = long_open_next(kind, &s, p, 0, 0);
    for (size_t b = 0; b < ACT_LONG_LEN / ACT_BLOCK_LEN; b++) {
        kind.make(first, p->chunk, b);
    }
    amx_fence();
    for (size_t i = 0; i * ACT_LONG_LEN < p->k; i++) {
        for (size_t t = 0; t < n_tiles; t++, number += p->n_panels) {
            long_add_tile(kind, &s, p, i, t, number);
        }
    }
    long_drain(kind, &s, number, p->x_stride);
    amx_end();
}

/* y [m][16] += x . panel, chunk by chunk */
VNNI_INLINE void long_few_rows(long_kind kind, const long_product *p, size_t j) {
    long_factors factors;
    for (size_t i = 0; i * ACT_LONG_LEN < p->k; i++) {
        const uint8_t *x = p->x + i * sizeof(long_x);
        float *y = p->y + j * ACT_CHUNK_ROWS * PACK_PANEL_ROWS;
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
}

/* ---- products ---- */

VNNI_INLINE void long_run(long_kind kind, void *chunk, size_t panel_bytes, float *y,
                          size_t y_stride, const uint8_t *panel, const uint8_t *x, size_t x_stride,
                          size_t m, size_t n, size_t k) {
    WEFT_ALIGNED(64) float sums[LONG_PANELS][ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    long_product p = {
        .y = sums[0],
        .panel = panel,
        .panel_bytes = panel_bytes,
        .x_stride = x_stride,
        .n_panels = (n + PACK_PANEL_ROWS - 1) / PACK_PANEL_ROWS,
        .k = k,
        .chunk = chunk,
    };
    for (size_t from = 0; from < m; from += ACT_CHUNK_ROWS) {
        p.rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        p.x = x + from * x_stride;
        float *out = y + from * y_stride;
        for (size_t j = 0; j < p.n_panels; j++) {
            vnni_fetch_outputs(out + j * PACK_PANEL_ROWS, y_stride, p.rows);
            memset(sums[j], 0, p.rows * PACK_PANEL_ROWS * sizeof(float));
            if (p.rows <= kind.few_rows_max) {
                long_few_rows(kind, &p, j);
            }
        }
        if (p.rows > kind.few_rows_max) {
            long_many_rows(kind, &p);
        }
        vnni_store_panels(out, y_stride, sums[0], ACT_CHUNK_ROWS * PACK_PANEL_ROWS, p.rows, n);
    }
}

#endif /* WEFT_KERNELS_X86_LONG_AMX_H */
