/* linear_k_amx.c - products of Q4_K, Q5_K and Q6_K where 256 activations share a scale.
 *
 * With one scale for 256 columns all of a slab is integers: I = sum of sc * q * x, and M = sum of
 * mn * x. So weights times their 6- or 8-bit scales can be multiplied as two planes of bytes,
 *
 *   Q4_K Q5_K   sc * q = 8 * (q * (sc / 8)) + q * (sc % 8)          each at most 31 * 7
 *   Q6_K        sc * (q - 32) = 128 * high + low                    low from -64 to 63
 *
 * and tiles of AMX add up 256 columns before anything leaves them:
 *
 *   for chunks of 256 columns, for tiles of 16 rows, for two panels: a pass
 *
 * Four tiles hold the rows' 256 columns for both panels, two of sums are the planes of one. Sums
 * are ready long after they were asked for: they leave their tiles when the next pass needs these.
 * While tiles multiply, the rest of the processor scales the sums of the pass before last and makes
 * the planes of the chunk that comes next. Planes serve all rows of a chunk.
 *
 * When rows are no multiple of 16 the last tile begins earlier, and scales only what is new. A few
 * rows go through vpdpbusd, a block's sum times its scale by vpmulld: the same integers. One row is
 * bound by reading the panel.
 */
#include <string.h>

#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/vnni_avx512.h"

#define K_AHEAD_BYTES 3072
#define PLANES_AHEAD_BYTES 4096
#define PANELS KERNEL_PANELS_MAX
#define FEW_ROWS_MAX 11u /* from 12 on, making planes costs less than what it saves */

typedef act_block_q8_256 x_block;

typedef struct k_factors {
    WEFT_ALIGNED(64) float d[16];
    float neg_dmin[16];
    int32_t min_pairs[4][16]; /* of blocks 2p, 2p + 1, 16 bits each */
} k_factors;

typedef struct k_chunk {
    WEFT_ALIGNED(64) int32_t scale[16][16]; /* of 8 blocks, or of Q6_K's 16 halves */
    int32_t scale_pairs[8][16];             /* Q6_K: those of a block as two of 16 bits */
    uint8_t planes[2][64][64];              /* high and low, by group of 4 columns */
    const uint8_t *panel;
} k_chunk;

VNNI_INLINE int is_q6(vnni_kind kind) { return kind.scales == VNNI_SCALES_16; }

VNNI_INLINE __m512i pair_of(__m512i even, __m512i odd) {
    return _mm512_mask_blend_epi16(0xaaaaaaaau, even, _mm512_slli_epi32(odd, 16));
}

VNNI_INLINE void k_open(vnni_kind kind, k_chunk *c, k_factors *fs, const uint8_t *slab) {
    c->panel = slab + kind.codes_at;
    _mm512_store_ps(fs->d, vnni_load_f16(slab));
    if (is_q6(kind)) {
        for (size_t p = 0; p < 8; p++) {
            const __m512i even = _mm512_cvtepi8_epi32(vnni_scales16(slab, 2 * p));
            const __m512i odd = _mm512_cvtepi8_epi32(vnni_scales16(slab, 2 * p + 1));
            _mm512_store_si512(c->scale[2 * p], even);
            _mm512_store_si512(c->scale[2 * p + 1], odd);
            _mm512_store_si512(c->scale_pairs[p], pair_of(even, odd));
        }
        return;
    }
    const __m512 dmin = vnni_load_f16(slab + 32);
    _mm512_store_ps(fs->neg_dmin, _mm512_xor_ps(dmin, _mm512_set1_ps(-0.0f)));
    for (size_t p = 0; p < 4; p++) {
        __m128i sc[2], mn[2];
        vnni_fields6(&sc[0], &mn[0], slab + 64, 2 * p);
        vnni_fields6(&sc[1], &mn[1], slab + 64, 2 * p + 1);
        _mm512_store_si512(c->scale[2 * p], _mm512_cvtepu8_epi32(sc[0]));
        _mm512_store_si512(c->scale[2 * p + 1], _mm512_cvtepu8_epi32(sc[1]));
        _mm512_store_si512(fs->min_pairs[p],
                           pair_of(_mm512_cvtepu8_epi32(mn[0]), _mm512_cvtepu8_epi32(mn[1])));
    }
}

/* What add_row needs of a chunk, in registers. */
typedef struct k_registers {
    __m512 d, neg_dmin;
    __m512i min_pairs[4];
} k_registers;

VNNI_INLINE k_registers registers_of(const k_factors *c) {
    return (k_registers){
        _mm512_load_ps(c->d),
        _mm512_load_ps(c->neg_dmin),
        {_mm512_load_si512(c->min_pairs[0]), _mm512_load_si512(c->min_pairs[1]),
         _mm512_load_si512(c->min_pairs[2]), _mm512_load_si512(c->min_pairs[3])},
    };
}

/* y += d * xs * I - dmin * xs * M, 16 outputs of a row. */
VNNI_INLINE void add_row(vnni_kind kind, float *y, k_registers f, const x_block *x, __m512i sum) {
    const __m512 xs = _mm512_set1_ps(x->scale);
    __m512 v = _mm512_load_ps(y);
    v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(f.d, xs), v);
    if (!is_q6(kind)) {
        __m512i mins = _mm512_setzero_si512();
        mins = _mm512_dpwssd_epi32(mins, f.min_pairs[0], vnni_broadcast32(x->sums32));
        mins = _mm512_dpwssd_epi32(mins, f.min_pairs[1], vnni_broadcast32(x->sums32 + 2));
        mins = _mm512_dpwssd_epi32(mins, f.min_pairs[2], vnni_broadcast32(x->sums32 + 4));
        mins = _mm512_dpwssd_epi32(mins, f.min_pairs[3], vnni_broadcast32(x->sums32 + 6));
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(mins), _mm512_mul_ps(f.neg_dmin, xs), v);
    }
    _mm512_store_ps(y, v);
}

/* ---- few rows ---- */

/* sums += scale * (groups from .. from + count - 1 of a block) */
VNNI_INLINE void add_groups(int rows, vnni_kind kind, __m512i sums[VNNI_ROWS_MAX],
                            const uint8_t *at, const vnni_rows *x, int from, int count,
                            const int32_t scale[16]) {
    __m512i dots[VNNI_ROWS_MAX];
    VNNI_EACH_ROW(rows, { dots[r] = _mm512_setzero_si512(); });
#define GROUP(g)                                                                      \
    if ((g) < count) {                                                                \
        const __m512i w = vnni_weights(kind.codes, at, from + (g));                   \
        vnni_fetch_ahead(kind.block_stride, at, (size_t)(from + (g)), K_AHEAD_BYTES); \
        VNNI_EACH_ROW(rows, {                                                         \
            const __m512i xs = vnni_broadcast32(vnni_row(x, r) + 4 * (from + (g)));   \
            dots[r] = _mm512_dpbusd_epi32(dots[r], w, xs);                            \
        });                                                                           \
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
    const __m512i by = _mm512_load_si512(scale);
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_add_epi32(sums[r], _mm512_mullo_epi32(dots[r], by)); });
}

VNNI_INLINE void few(int rows, vnni_kind kind, float *y, const k_chunk *c, const k_factors *fs,
                     const uint8_t *from, size_t x_stride) {
    __m512i sums[VNNI_ROWS_MAX];
    const vnni_rows first = vnni_rows_of(from, x_stride);
    vnni_rows x = first;
    VNNI_EACH_ROW(rows, { sums[r] = _mm512_setzero_si512(); });
    for (size_t part = 0; part < 8; part++) { /* the scales */
        vnni_fetch_ahead(kind.codes_at, c->panel - kind.codes_at, part, K_AHEAD_BYTES);
    }
    for (size_t b = 0; b < VNNI_BLOCKS; b++) {
        const uint8_t *at = c->panel + b * kind.block_stride;
        if (is_q6(kind)) {
            add_groups(rows, kind, sums, at, &x, 0, 4, c->scale[2 * b]);
            add_groups(rows, kind, sums, at, &x, 4, 4, c->scale[2 * b + 1]);
        } else {
            add_groups(rows, kind, sums, at, &x, 0, 8, c->scale[b]);
        }
        vnni_rows_step(&x, ACT_BLOCK_LEN);
    }
    const k_registers f = registers_of(fs);
    VNNI_EACH_ROW(rows, {
        const x_block *row = (const x_block *)vnni_row(&first, r);
        if (is_q6(kind)) { /* q is 32 more than the code stands for */
            __m512i more = _mm512_setzero_si512();
            for (size_t p = 0; p < 8; p++) {
                more = _mm512_dpwssd_epi32(more, _mm512_load_si512(c->scale_pairs[p]),
                                           vnni_broadcast32(&row->sums16[2 * p]));
            }
            sums[r] = _mm512_sub_epi32(sums[r], _mm512_slli_epi32(more, 5));
        }
        add_row(kind, y + 16 * r, f, row, sums[r]);
    });
}

VNNI_INLINE void few_rows(vnni_kind kind, float *y, const k_chunk *c, const k_factors *fs,
                          const uint8_t *x, size_t x_stride, size_t m) {
#define TILES_OF(rows)                            \
    for (; m >= (rows); m -= (rows)) {            \
        few((rows), kind, y, c, fs, x, x_stride); \
        y += (size_t)(rows)*PACK_PANEL_ROWS;      \
        x += (size_t)(rows)*x_stride;             \
    }
    TILES_OF(8)
    TILES_OF(4)
    TILES_OF(2)
    TILES_OF(1)
#undef TILES_OF
}

/* ---- many rows ---- */

/* What half a block's codes are multiplied by. Q6_K: the scale, as bytes for even codes and for odd
 * ones, and 64 - 32 times it; else its upper bits and its lower ones, in each 16 bits. */
typedef struct k_split {
    __m512i high, low, bias;
} k_split;

VNNI_INLINE k_split split_of(vnni_kind kind, const k_chunk *c, size_t b, size_t half) {
    const __m512i one = _mm512_load_si512(c->scale[is_q6(kind) ? 2 * b + half : b]);
    const __m512i both = pair_of(one, one);
    if (is_q6(kind)) {
        const __m512i bias = _mm512_sub_epi16(_mm512_set1_epi16(64), _mm512_slli_epi16(both, 5));
        return (k_split){_mm512_and_si512(both, _mm512_set1_epi16(255)), _mm512_slli_epi16(both, 8),
                         bias};
    }
    return (k_split){_mm512_srli_epi16(both, 3), _mm512_and_si512(both, _mm512_set1_epi16(7)),
                     _mm512_setzero_si512()};
}

/* sc * (q - 32) + 64 of 64 codes, which is 128 * high + (low + 64). */
VNNI_INLINE void split_signed(__m512i *high, __m512i *low, __m512i q, k_split by) {
    const __mmask64 odds = 0xaaaaaaaaaaaaaaaau;
    const __m512i even = _mm512_add_epi16(_mm512_maddubs_epi16(q, by.high), by.bias);
    const __m512i odd = _mm512_add_epi16(_mm512_maddubs_epi16(q, by.low), by.bias);
    const __m512i lows = _mm512_mask_blend_epi8(odds, even, _mm512_slli_epi16(odd, 8));
    *high = _mm512_mask_blend_epi8(odds, _mm512_srli_epi16(even, 7), _mm512_slli_epi16(odd, 1));
    *low = _mm512_sub_epi8(_mm512_and_si512(lows, _mm512_set1_epi8(127)), _mm512_set1_epi8(64));
}

VNNI_INLINE void make_group(vnni_kind kind, uint8_t *high_to, uint8_t *low_to, const uint8_t *at,
                            int group, k_split by) {
    const __m512i q = vnni_weights(kind.codes, at, group);
    vnni_fetch_ahead(kind.block_stride, at, (size_t)group, PLANES_AHEAD_BYTES);
    __m512i high, low;
    if (is_q6(kind)) {
        split_signed(&high, &low, q, by);
    } else { /* two bytes at once: neither product reaches the next byte */
        high = _mm512_mullo_epi16(q, by.high);
        low = _mm512_mullo_epi16(q, by.low);
    }
    _mm512_store_si512(high_to + 64 * group, high);
    _mm512_store_si512(low_to + 64 * group, low);
}

/* The planes of block b. */
VNNI_INLINE void make_block(vnni_kind kind, k_chunk *c, size_t b) {
    const uint8_t *at = c->panel + b * kind.block_stride;
    uint8_t *high = c->planes[0][8 * b], *low = c->planes[1][8 * b];
    const k_split first = split_of(kind, c, b, 0), second = split_of(kind, c, b, 1);
    make_group(kind, high, low, at, 0, first);
    make_group(kind, high, low, at, 1, first);
    make_group(kind, high, low, at, 2, first);
    make_group(kind, high, low, at, 3, first);
    make_group(kind, high, low, at, 4, second);
    make_group(kind, high, low, at, 5, second);
    make_group(kind, high, low, at, 6, second);
    make_group(kind, high, low, at, 7, second);
}

typedef int32_t tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

/* A tile of rows times a chunk of a panel. Of the last tile of rows, which begins earlier than the
 * one before ends when rows are no multiple of a tile's, the first `skip` are done already. */
typedef struct k_pass {
    tile_sums *sums; /* high and low */
    const k_factors *factors;
    float *y;
    const uint8_t *x;
    size_t skip, end;
} k_pass;

typedef struct k_state {
    WEFT_ALIGNED(64) tile_sums sums[2][2];
    k_chunk chunks[2];            /* the one that is multiplied, and the next */
    k_factors factors[4][PANELS]; /* a pass is finished two passes later */
    k_pass held;                  /* its sums are in tiles 6 and 7 */
    k_pass stored;                /* in memory */
} k_state;

/* Row r of a pass whose sums are in memory. */
VNNI_INLINE void finish_row(vnni_kind kind, const k_pass *pass, k_registers f, size_t x_stride,
                            size_t r) {
    const __m512i high = _mm512_load_si512(pass->sums[0][r]);
    const __m512i low = _mm512_load_si512(pass->sums[1][r]);
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, is_q6(kind) ? 7 : 3), low);
    add_row(kind, pass->y + 16 * r, f, (const x_block *)(pass->x + r * x_stride), sum);
}

VNNI_INLINE void finish(vnni_kind kind, const k_pass *pass, size_t x_stride) {
    const k_registers f = registers_of(pass->factors);
    for (size_t r = pass->skip; r < pass->end; r++) {
        finish_row(kind, pass, f, x_stride, r);
    }
}

/* 64 columns of x times those of a plane, two rows of the pass before last, a block of the next
 * chunk: while the tiles multiply, the rest is done. */
#define STEP(sums, x_tile, w_tile, w, number)                   \
    _tile_loadd(w_tile, w, 64);                                 \
    if (is_q6(kind)) {                                          \
        _tile_dpbssd(sums, x_tile, w_tile);                     \
    } else {                                                    \
        _tile_dpbsud(sums, x_tile, w_tile);                     \
    }                                                           \
    if (is_whole) {                                             \
        finish_row(kind, &done, f, x_stride, 2 * (number));     \
        finish_row(kind, &done, f, x_stride, 2 * (number) + 1); \
    }                                                           \
    if (next != NULL) {                                         \
        make_block(kind, next, number);                         \
    }
/* sums <- x, which is in tiles 0, 1, 4 and 5, times a plane. */
#define MULTIPLY(sums, before, plane, number) \
    _tile_stored(sums, before, 64);           \
    _tile_zero(sums);                         \
    STEP(sums, 0, 2, plane[0], number)        \
    STEP(sums, 1, 3, plane[16], (number) + 1) \
    STEP(sums, 4, 2, plane[32], (number) + 2) \
    STEP(sums, 5, 3, plane[48], (number) + 3)

/* Multiplies; the pass before leaves the tiles of sums, the one before that is finished, and planes
 * are made of the chunk that comes next, if one does. */
VNNI_INLINE void pass(vnni_kind kind, k_state *s, const k_pass *now, const k_chunk *c,
                      k_chunk *next, int is_new_x, size_t x_stride) {
    const k_pass done = s->stored;
    const k_registers f = registers_of(done.factors);
    const int is_whole = done.end - done.skip == AMX_ROWS;
    if (!is_whole) {
        finish(kind, &done, x_stride);
    }
    if (is_new_x) {
        _tile_loadd(0, now->x, x_stride);
        _tile_loadd(1, now->x + 64, x_stride);
        _tile_loadd(4, now->x + 128, x_stride);
        _tile_loadd(5, now->x + 192, x_stride);
    }
    MULTIPLY(6, s->held.sums[0], c->planes[0], 0);
    MULTIPLY(7, s->held.sums[1], c->planes[1], 4);
    amx_fence();
    s->stored = s->held;
    s->held = *now;
}
#undef MULTIPLY
#undef STEP

/* Rows of x and the panels that they meet. */
typedef struct k_product {
    float *y; /* [n_panels][ACT_CHUNK_ROWS][16] */
    const uint8_t *panel, *x;
    size_t panel_bytes, x_stride, n_panels, rows, k;
} k_product;

/* Opens chunk i of panel j, and returns it: the planes are yet to be made. */
VNNI_INLINE k_chunk *open_next(vnni_kind kind, k_state *s, const k_product *p, size_t i, size_t j) {
    k_chunk *c = &s->chunks[(i * p->n_panels + j) % 2];
    k_open(kind, c, &s->factors[i % 4][j], p->panel + j * p->panel_bytes + i * kind.chunk_bytes);
    return c;
}

/* Tile t of the rows times chunk i of all panels. */
VNNI_INLINE void add_tile(vnni_kind kind, k_state *s, const k_product *p, size_t i, size_t t,
                          size_t n) {
    const size_t n_tiles = (p->rows + AMX_ROWS - 1) / AMX_ROWS;
    const size_t height = p->rows < AMX_ROWS ? p->rows : AMX_ROWS;
    const size_t first = t * AMX_ROWS;
    const size_t from = first + height <= p->rows ? first : p->rows - height;
    for (size_t j = 0; j < p->n_panels; j++, n++) {
        const k_pass now = {
            .sums = s->sums[n % 2],
            .factors = &s->factors[i % 4][j],
            .y = p->y + (j * ACT_CHUNK_ROWS + from) * PACK_PANEL_ROWS,
            .x = p->x + from * p->x_stride + i * sizeof(x_block),
            .skip = first - from,
            .end = height,
        };
        k_chunk *next = NULL;
        if (t == 0 && j + 1 < p->n_panels) {
            next = open_next(kind, s, p, i, j + 1);
        } else if (t + 1 == n_tiles && j + 1 == p->n_panels && (i + 1) * VNNI_COLS < p->k) {
            next = open_next(kind, s, p, i + 1, 0);
        }
        pass(kind, s, &now, &s->chunks[(i * p->n_panels + j) % 2], next, j == 0, p->x_stride);
    }
}

VNNI_INLINE void many_rows(vnni_kind kind, const k_product *p) {
    k_state s;
    const size_t n_tiles = (p->rows + AMX_ROWS - 1) / AMX_ROWS;
    size_t n = 0;
    amx_begin_rows((uint8_t)(p->rows < AMX_ROWS ? p->rows : AMX_ROWS), 16, 64);
    s.held = (k_pass){.sums = s.sums[1], .factors = s.factors[0]};
    s.stored = (k_pass){.sums = s.sums[0], .factors = s.factors[0]};
    k_chunk *first = open_next(kind, &s, p, 0, 0);
    for (size_t b = 0; b < VNNI_BLOCKS; b++) {
        make_block(kind, first, b);
    }
    amx_fence();
    for (size_t i = 0; i * VNNI_COLS < p->k; i++) {
        for (size_t t = 0; t < n_tiles; t++, n += p->n_panels) {
            add_tile(kind, &s, p, i, t, n);
        }
    }
    _tile_stored(6, s.held.sums[0], 64);
    _tile_stored(7, s.held.sums[1], 64);
    amx_fence();
    amx_end();
    finish(kind, &s.stored, p->x_stride);
    finish(kind, &s.held, p->x_stride);
}

/* ---- products ---- */

VNNI_INLINE void run_few(vnni_kind kind, const k_product *p, size_t j) {
    k_chunk c;
    k_factors factors;
    for (size_t i = 0; i * VNNI_COLS < p->k; i++) {
        k_open(kind, &c, &factors, p->panel + j * p->panel_bytes + i * kind.chunk_bytes);
        few_rows(kind, p->y + j * ACT_CHUNK_ROWS * PACK_PANEL_ROWS, &c, &factors,
                 p->x + i * sizeof(x_block), p->x_stride, p->rows);
    }
}

VNNI_INLINE void run(vnni_kind kind, size_t panel_bytes, float *y, size_t y_stride,
                     const uint8_t *panel, const uint8_t *x, size_t x_stride, size_t m, size_t n,
                     size_t k) {
    WEFT_ALIGNED(64) float sums[PANELS][ACT_CHUNK_ROWS * PACK_PANEL_ROWS];
    k_product p = {
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
        for (size_t j = 0; j < p.n_panels; j++) {
            vnni_fetch_outputs(out + j * PACK_PANEL_ROWS, y_stride, p.rows);
            memset(sums[j], 0, p.rows * PACK_PANEL_ROWS * sizeof(float));
            if (p.rows <= FEW_ROWS_MAX) {
                run_few(kind, &p, j);
            }
        }
        if (p.rows > FEW_ROWS_MAX) {
            many_rows(kind, &p);
        }
        for (size_t j = 0; j < p.n_panels; j++) {
            const size_t left = n - j * PACK_PANEL_ROWS;
            vnni_store_outputs(out + j * PACK_PANEL_ROWS, y_stride, sums[j], p.rows,
                               left < PACK_PANEL_ROWS ? left : PACK_PANEL_ROWS);
        }
    }
}

#define X(NAME, name)                                                                     \
    void linear_##name##_amx(float *y, size_t y_stride, const void *panel, const void *x, \
                             size_t x_stride_bytes, size_t m, size_t n, size_t k) {       \
        run(vnni_##name, pack_panel_bytes(WEFT_DTYPE_##NAME, k), y, y_stride, panel, x,   \
            x_stride_bytes, m, n, k);                                                     \
    }
PRODUCTS_LONG_LIST(X)
#undef X
