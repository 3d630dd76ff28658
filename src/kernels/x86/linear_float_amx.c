/* linear_float_amx.c - products of F32, F16 and BF16 weights by AMX tiles of bfloat16.
 *
 * Every float32 is the sum of three bfloat16, its pieces, and every F16 of two. Rows of x come in
 * pieces (ACT_SPLIT); weights are taken apart here. Pieces are multiplied exactly and summed in
 * float32, in two sums (products.h): for 16 rows, 16 outputs and 32 columns of F32 weights six
 * multiplications of tiles, which are what bounds it. Everything else is there to keep them going.
 *
 *   tiles 0, 1   first sum of the first panel, and of the second     4, 5   pieces of x
 *   tiles 2, 3   second sum                                          6, 7   a piece of each panel
 *
 *   for units of some blocks of 32 columns, for tiles of 16 rows: a pass
 *
 * Two panels share what a tile of rows brings from the second-level cache; their pieces of a unit
 * stay in the first. A pass begins by storing the sums of the pass before, each when its tile is
 * needed: a store waits for the multiplications before it. As the last pass is done with the unit's
 * blocks, those of the next are taken apart in their place, between multiplications: the processor
 * does both at once only where they alternate.
 *
 * What is left out (x1 w2 and smaller) is a float32's rounding of the product. When rows are no
 * multiple of 16 the last tile begins earlier, and stores some rows again: the same bits.
 */
#include <immintrin.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/act.h"
#include "layout/pack.h"

#define PANELS KERNEL_PAIR
#define ROW_TILES_MAX (ACT_CHUNK_ROWS / AMX_ROWS)
#define PAIRS (ACT_BLOCK_LEN / 2)

/* Blocks that lie open: of F32 24 KB of pieces, half of the first-level cache. 3 and 6 are as
 * fast. */
#define UNIT_BLOCKS 4u

/* Bytes of weights asked for before they are taken apart; less where tiles multiply F32 weights: 16
 * rows would lose a sixth. */
#define FLOAT_AHEAD 4096u
#define FLOAT_AHEAD_F32_TILES 1024u

#define WHOLE_BLOCK_BYTES (ACT_BLOCK_LEN * PACK_PANEL_ROWS * sizeof(float))

/* A piece of a block of weights: [pair of columns][output][2] */
typedef uint16_t weight_piece[PAIRS][PACK_PANEL_ROWS][2];
typedef float tile_sums[AMX_ROWS][PACK_PANEL_ROWS];

VNNI_INLINE int pieces_of(weft_dtype dtype) {
    return dtype == WEFT_DTYPE_BF16 ? 1 : dtype == WEFT_DTYPE_F16 ? 2 : 3;
}

VNNI_INLINE size_t column_bytes(weft_dtype dtype) {
    return PACK_PANEL_ROWS * (dtype == WEFT_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
}

/* Asks for two columns; an address beyond the weights does no harm. */
VNNI_INLINE void fetch_pair(weft_dtype dtype, const uint8_t *columns) {
    for (size_t line = 0; line < 2 * column_bytes(dtype); line += 64) {
        _mm_prefetch((const char *)columns + line, _MM_HINT_T0);
    }
}

VNNI_INLINE __m512 bf16_to_f32(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

VNNI_INLINE __m512 column(weft_dtype dtype, const uint8_t *at) {
    if (dtype == WEFT_DTYPE_F32) {
        return _mm512_loadu_ps(at);
    }
    const __m256i halves = _mm256_loadu_si256((const __m256i *)at);
    return dtype == WEFT_DTYPE_F16 ? _mm512_cvtph_ps(halves) : bf16_to_f32(halves);
}

/* The upper halves of two columns, side by side. */
VNNI_INLINE __m512i pair_of(__m512 even, __m512 odd) {
    const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(even), 16);
    return _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(odd));
}

VNNI_INLINE __m512 upper_of(__m512 v) {
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), upper));
}

VNNI_INLINE __m512 rest_of(__m512 v) { return _mm512_sub_ps(v, upper_of(v)); }

/* Pair i of the block's columns into each piece. */
VNNI_INLINE void split_pair(weft_dtype dtype, weight_piece *to, size_t i, const uint8_t *at) {
    if (dtype == WEFT_DTYPE_BF16) {
        const __m512i side_by_side =
            _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                             22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        _mm512_store_si512(to[0][i],
                           _mm512_permutexvar_epi16(side_by_side, _mm512_loadu_si512(at)));
        return;
    }
    __m512 even = column(dtype, at), odd = column(dtype, at + column_bytes(dtype));
    _mm512_store_si512(to[0][i], pair_of(even, odd));
    for (int piece = 1; piece < pieces_of(dtype); piece++) {
        even = rest_of(even);
        odd = rest_of(odd);
        _mm512_store_si512(to[piece][i], pair_of(even, odd));
    }
}

/* The last pairs of a row whose length is no multiple of a block: columns beyond it are zeros. */
static void split_last(weft_dtype dtype, weight_piece *to, const uint8_t *columns, size_t n) {
    WEFT_ALIGNED(64) uint8_t whole[WHOLE_BLOCK_BYTES] = {0};
    memcpy(whole, columns, n * column_bytes(dtype));
    for (size_t i = 0; i < PAIRS; i++) {
        split_pair(dtype, to, i, whole + 2 * i * column_bytes(dtype));
    }
}

/* ---- many rows ---- */

/* Rows of x and the panels that they meet. */
typedef struct float_product {
    const uint8_t *panel, *x;
    size_t panel_bytes, x_stride, rows, k;
} float_product;

typedef struct float_state {
    WEFT_ALIGNED(64) tile_sums sums[ROW_TILES_MAX][2][PANELS];
    WEFT_ALIGNED(64) weight_piece pieces[UNIT_BLOCKS][PANELS][3];
    tile_sums (*held)[PANELS]; /* where the sums belong that are in tiles */
    const uint8_t *ahead;      /* the next line of the first panel that is to be asked for */
} float_state;

VNNI_INLINE size_t n_row_tiles(const float_product *p) {
    return (p->rows + AMX_ROWS - 1) / AMX_ROWS;
}

VNNI_INLINE size_t first_row(const float_product *p, size_t t) {
    return t > 0 && (t + 1) * AMX_ROWS > p->rows ? p->rows - AMX_ROWS : t * AMX_ROWS;
}

VNNI_INLINE size_t n_blocks_of(const float_product *p) {
    return (p->k + ACT_BLOCK_LEN - 1) / ACT_BLOCK_LEN;
}

/* A block of all panels that is to be taken apart; n columns of it are there. */
typedef struct float_opening {
    weight_piece (*to)[3]; /* of each panel */
    const uint8_t *at;     /* in the first panel */
    size_t panel_bytes, n;
} float_opening;

VNNI_INLINE float_opening opening_of(weft_dtype dtype, float_state *s, const float_product *p,
                                     size_t block) {
    const size_t left = p->k - block * ACT_BLOCK_LEN;
    return (float_opening){
        .to = s->pieces[block % UNIT_BLOCKS],
        .at = p->panel + block * ACT_BLOCK_LEN * column_bytes(dtype),
        .panel_bytes = p->panel_bytes,
        .n = left < ACT_BLOCK_LEN ? left : ACT_BLOCK_LEN,
    };
}

/* The pairs from `from` on of a whole block. */
VNNI_INLINE void open_pairs(weft_dtype dtype, size_t n_panels, const float_opening *o, size_t from,
                            size_t end) {
    for (size_t j = 0; j < n_panels; j++) {
        for (size_t i = from; i < end; i++) {
            split_pair(dtype, o->to[j], i,
                       o->at + j * o->panel_bytes + 2 * i * column_bytes(dtype));
        }
    }
    amx_fence();
}

VNNI_INLINE void open_last(weft_dtype dtype, size_t n_panels, const float_opening *o) {
    for (size_t j = 0; j < n_panels; j++) {
        split_last(dtype, o->to[j], o->at + j * o->panel_bytes, o->n);
    }
    amx_fence();
}

/* Asks for weights: with each block a tile of rows for its share of one. */
VNNI_INLINE void fetch_share(weft_dtype dtype, size_t n_panels, float_state *s,
                             const float_product *p) {
    const size_t lines = ACT_BLOCK_LEN * column_bytes(dtype) / 64, n_tiles = n_row_tiles(p);
    for (size_t i = 0; i < (lines + n_tiles - 1) / n_tiles; i++) {
        for (size_t j = 0; j < n_panels; j++) {
            _mm_prefetch((const char *)s->ahead + j * p->panel_bytes, _MM_HINT_T0);
        }
        s->ahead += 64;
    }
}

#define LOAD_PIECE(piece)                \
    _tile_loadd(6, w[0][piece], 64);     \
    if (n_panels > 1) {                  \
        _tile_loadd(7, w[1][piece], 64); \
    }

/* A sum of each panel += the piece of x in x_tile . a piece of the panel; then one of the shares of
 * the opening. */
#define STEP(first, second, x_tile, share)                           \
    _tile_dpbf16ps(first, x_tile, 6);                                \
    if (n_panels > 1) {                                              \
        _tile_dpbf16ps(second, x_tile, 7);                           \
    }                                                                \
    if (opening != NULL) {                                           \
        open_pairs(dtype, n_panels, opening, (share)*PAIRS / shares, \
                   ((share) + 1) * PAIRS / shares);                  \
    }

/* Tiles 0 to 3 += a block of x . w. The opening, if there is one, is that of a whole block. */
VNNI_INLINE void multiply(weft_dtype dtype, size_t n_panels, const weight_piece (*w)[3],
                          const uint8_t *x, size_t x_stride, const float_opening *opening) {
    const size_t shares = dtype == WEFT_DTYPE_F32 ? 6 : dtype == WEFT_DTYPE_F16 ? 5 : 3;
    _tile_loadd(4, x, x_stride);
    if (pieces_of(dtype) > 2) {
        LOAD_PIECE(2)
        STEP(0, 1, 4, 0)
    }
    if (pieces_of(dtype) > 1) {
        LOAD_PIECE(1)
        STEP(2, 3, 4, shares - 5)
    }
    _tile_loadd(5, x + 64, x_stride);
    if (pieces_of(dtype) > 1) {
        STEP(0, 1, 5, shares - 4)
    }
    LOAD_PIECE(0)
    STEP(2, 3, 5, shares - 3)
    STEP(0, 1, 4, shares - 2)
    _tile_loadd(5, x + 128, x_stride);
    STEP(2, 3, 5, shares - 1)
}
#undef STEP
#undef LOAD_PIECE

/* The sums in a tile leave for memory, others come. */
#define SWAP(tile, held, now)       \
    _tile_stored(tile, (held), 64); \
    _tile_loadd(tile, (now), 64);

VNNI_INLINE void swap_sums(size_t n_panels, float_state *s, tile_sums (*now)[PANELS]) {
    SWAP(0, s->held[0][0], now[0][0])
    if (n_panels > 1) {
        SWAP(1, s->held[0][1], now[0][1])
    }
    SWAP(2, s->held[1][0], now[1][0])
    if (n_panels > 1) {
        SWAP(3, s->held[1][1], now[1][1])
    }
    s->held = now;
}
#undef SWAP

/* A block of the unit that begins with block `from`, and tile t of the rows. Once the last tile has
 * met a block its place is free: while the block after it is multiplied, the one that comes a unit
 * later is taken apart there. */
VNNI_INLINE void add_block(weft_dtype dtype, size_t n_panels, float_state *s,
                           const float_product *p, size_t from, size_t b, size_t t,
                           const uint8_t *x) {
    const weight_piece(*w)[3] = (const weight_piece(*)[3])s->pieces[b];
    const size_t next = from + b + UNIT_BLOCKS - 1;
    const int is_free = b > 0 ? t + 1 == n_row_tiles(p) : t == 0 && from > 0;
    float_opening o = {.n = 0};
    if (is_free && next < n_blocks_of(p)) {
        o = opening_of(dtype, s, p, next);
    }
    amx_fence();
    if (o.n == ACT_BLOCK_LEN) {
        multiply(dtype, n_panels, w, x, p->x_stride, &o);
        return;
    }
    multiply(dtype, n_panels, w, x, p->x_stride, NULL);
    amx_fence();
    if (o.n > 0) {
        open_last(dtype, n_panels, &o);
    }
}

/* Tile t of the rows times a unit. */
VNNI_INLINE void pass(weft_dtype dtype, size_t n_panels, float_state *s, const float_product *p,
                      size_t from, size_t t) {
    const uint8_t *x = p->x + first_row(p, t) * p->x_stride + from * sizeof(act_block_split);
    if (n_row_tiles(p) > 1) {
        swap_sums(n_panels, s, s->sums[t]);
    }
    for (size_t b = 0; b < UNIT_BLOCKS && from + b < n_blocks_of(p); b++) {
        fetch_share(dtype, n_panels, s, p);
        add_block(dtype, n_panels, s, p, from, b, t, x);
        x += sizeof(act_block_split);
    }
}

static inline void begin(size_t rows) {
    amx_shape shape;
    memset(&shape, 0, sizeof(shape));
    shape.palette = 1;
    for (size_t t = 0; t < 8; t++) {
        shape.rows[t] = t < 6 ? (uint8_t)rows : AMX_ROWS;
        shape.row_bytes[t] = 64;
    }
    amx_fence();
    _tile_loadconfig(&shape);
}

VNNI_INLINE void sum_rows(weft_dtype dtype, size_t n_panels, float_state *s,
                          const float_product *p) {
    const size_t n_blocks = n_blocks_of(p), n_tiles = n_row_tiles(p);
    const size_t ahead = dtype == WEFT_DTYPE_F32 ? FLOAT_AHEAD_F32_TILES : FLOAT_AHEAD;
    memset(s->sums, 0, n_tiles * sizeof(s->sums[0]));
    s->held = s->sums[0];
    s->ahead = p->panel + UNIT_BLOCKS * ACT_BLOCK_LEN * column_bytes(dtype) + ahead;
    for (size_t b = 0; b < UNIT_BLOCKS && b < n_blocks; b++) {
        const float_opening o = opening_of(dtype, s, p, b);
        if (o.n == ACT_BLOCK_LEN) {
            open_pairs(dtype, n_panels, &o, 0, PAIRS);
        } else {
            open_last(dtype, n_panels, &o);
        }
    }
    begin(p->rows < AMX_ROWS ? p->rows : AMX_ROWS);
    for (size_t from = 0; from < n_blocks; from += UNIT_BLOCKS) {
        for (size_t t = 0; t < n_tiles; t++) {
            pass(dtype, n_panels, s, p, from, t);
        }
    }
    swap_sums(n_panels, s, s->sums[0]);
    amx_end();
    amx_fence();
}

VNNI_INLINE void store_outputs(float *y, __m512 first, __m512 second, size_t n) {
    const __mmask16 there = (__mmask16)(n < PACK_PANEL_ROWS ? (1u << n) - 1 : 0xffffu);
    _mm512_mask_storeu_ps(y, there, _mm512_add_ps(first, second));
}

/* Up to a chunk of rows times n outputs. */
VNNI_INLINE void run(weft_dtype dtype, size_t n_panels, float *y, size_t y_stride,
                     const float_product *p, size_t n) {
    float_state s;
    for (size_t j = 0; j < n_panels; j++) {
        vnni_fetch_outputs(y + j * PACK_PANEL_ROWS, y_stride, p->rows);
    }
    sum_rows(dtype, n_panels, &s, p);
    for (size_t t = 0; t < n_row_tiles(p); t++) {
        float *rows = y + first_row(p, t) * y_stride;
        for (size_t r = 0; r < AMX_ROWS && r < p->rows; r++) {
            for (size_t j = 0; j < n_panels; j++) {
                store_outputs(rows + r * y_stride + j * PACK_PANEL_ROWS,
                              _mm512_load_ps(s.sums[t][0][j][r]),
                              _mm512_load_ps(s.sums[t][1][j][r]), n - j * PACK_PANEL_ROWS);
            }
        }
    }
}

/* ---- one row ----
 *
 * Tiles wait for what was just stored, and while they do no weights are asked for: that is too slow
 * for a row alone, which only reads memory. It takes the same sums by vector instructions. */

/* Sums of a block, [piece of w][piece of x] */
typedef struct block_sums {
    __m512 of[3][3];
} block_sums;

/* One column's products; x [3] of this column are a block apart. */
VNNI_INLINE void add_column(weft_dtype dtype, block_sums *t, __m512 w, const float *x) {
    const __m512 x0 = _mm512_set1_ps(x[0]);
    const __m512 x1 = _mm512_set1_ps(x[ACT_BLOCK_LEN]);
    const __m512 x2 = _mm512_set1_ps(x[2 * ACT_BLOCK_LEN]);
    const __m512 rest = rest_of(w);
    const __m512 w0 = dtype == WEFT_DTYPE_BF16 ? w : upper_of(w);
    t->of[0][0] = _mm512_fmadd_ps(x0, w0, t->of[0][0]);
    t->of[0][1] = _mm512_fmadd_ps(x1, w0, t->of[0][1]);
    t->of[0][2] = _mm512_fmadd_ps(x2, w0, t->of[0][2]);
    if (pieces_of(dtype) > 1) {
        const __m512 w1 = dtype == WEFT_DTYPE_F16 ? rest : upper_of(rest);
        t->of[1][0] = _mm512_fmadd_ps(x0, w1, t->of[1][0]);
        t->of[1][1] = _mm512_fmadd_ps(x1, w1, t->of[1][1]);
    }
    if (pieces_of(dtype) > 2) {
        t->of[2][0] = _mm512_fmadd_ps(x0, rest_of(rest), t->of[2][0]);
    }
}

VNNI_INLINE void add_row_block(weft_dtype dtype, __m512 y[2], const uint8_t *columns,
                               const act_block_split *x) {
    WEFT_ALIGNED(64) float xs[3 * ACT_BLOCK_LEN];
    for (size_t i = 0; i < 6; i++) {
        const __m256i halves = _mm256_loadu_si256((const __m256i *)x->piece[0] + i);
        _mm512_store_ps(xs + 16 * i, bf16_to_f32(halves));
    }
    block_sums even, odd;
    memset(&even, 0, sizeof(even));
    memset(&odd, 0, sizeof(odd));
    for (size_t i = 0; i < ACT_BLOCK_LEN; i += 2) {
        fetch_pair(dtype, columns + FLOAT_AHEAD);
        add_column(dtype, &even, column(dtype, columns), xs + i);
        add_column(dtype, &odd, column(dtype, columns + column_bytes(dtype)), xs + i + 1);
        columns += 2 * column_bytes(dtype);
    }
#define ADD(sum, of_w, of_x)                                                                    \
    if ((of_w) < pieces_of(dtype)) {                                                            \
        y[sum] = _mm512_add_ps(y[sum], _mm512_add_ps(even.of[of_w][of_x], odd.of[of_w][of_x])); \
    }
    ADD(0, 2, 0)
    ADD(0, 1, 1)
    ADD(0, 0, 0)
    ADD(1, 1, 0)
    ADD(1, 0, 1)
    ADD(1, 0, 2)
#undef ADD
}

/* sums [2] <- x . panel */
VNNI_INLINE void sum_row(weft_dtype dtype, float sums[2][PACK_PANEL_ROWS], const uint8_t *panel,
                         const act_block_split *x, size_t k) {
    __m512 y[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t left = k;
    for (; left >= ACT_BLOCK_LEN; left -= ACT_BLOCK_LEN) {
        add_row_block(dtype, y, panel, x++);
        panel += ACT_BLOCK_LEN * column_bytes(dtype);
    }
    if (left > 0) {
        WEFT_ALIGNED(64) uint8_t whole[WHOLE_BLOCK_BYTES] = {0};
        memcpy(whole, panel, left * column_bytes(dtype));
        add_row_block(dtype, y, whole, x);
    }
    _mm512_store_ps(sums[0], y[0]);
    _mm512_store_ps(sums[1], y[1]);
}

/* Functions of their own, so that nothing is computed before or after the control word changes. */
#define X(NAME, name)                                                                              \
    static WEFT_NOINLINE void sum_row_##name(float sums[2][PACK_PANEL_ROWS], const uint8_t *panel, \
                                             const act_block_split *x, size_t k) {                 \
        sum_row(WEFT_DTYPE_##NAME, sums, panel, x, k);                                             \
    }
PRODUCTS_SPLIT_LIST(X)
#undef X

#define CSR_NO_SUBNORMALS 0x8040u /* neither read nor left, as tiles have it */

static void run_row(weft_dtype dtype, float *y, const uint8_t *panel, const uint8_t *x, size_t n,
                    size_t k) {
    WEFT_ALIGNED(64) float sums[2][PACK_PANEL_ROWS];
    const act_block_split *blocks = (const act_block_split *)x;
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | CSR_NO_SUBNORMALS);
    switch (dtype) {
    case WEFT_DTYPE_F32: sum_row_f32(sums, panel, blocks, k); break;
    case WEFT_DTYPE_F16: sum_row_f16(sums, panel, blocks, k); break;
    default: sum_row_bf16(sums, panel, blocks, k); break;
    }
    _mm_setcsr(before);
    store_outputs(y, _mm512_load_ps(sums[0]), _mm512_load_ps(sums[1]), n);
}

VNNI_INLINE void linear_float(weft_dtype dtype, float *y, size_t y_stride, const uint8_t *panel,
                              const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    float_product p = {
        .panel = panel,
        .panel_bytes = pack_panel_bytes(dtype, k),
        .x_stride = x_stride,
        .k = k,
    };
    for (size_t j = 0; m == 1 && j < n; j += PACK_PANEL_ROWS) {
        run_row(dtype, y + j, panel + j / PACK_PANEL_ROWS * p.panel_bytes, x, n - j, k);
    }
    for (size_t from = 0; m > 1 && from < m; from += ACT_CHUNK_ROWS) {
        p.rows = m - from < ACT_CHUNK_ROWS ? m - from : ACT_CHUNK_ROWS;
        p.x = x + from * x_stride;
        if (n > PACK_PANEL_ROWS) {
            run(dtype, 2, y + from * y_stride, y_stride, &p, n);
        } else {
            run(dtype, 1, y + from * y_stride, y_stride, &p, n);
        }
    }
}

void linear_f32_amx(float *y, size_t y_stride, const void *panel, const void *x,
                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(WEFT_DTYPE_F32, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_f16_amx(float *y, size_t y_stride, const void *panel, const void *x,
                    size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(WEFT_DTYPE_F16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}

void linear_bf16_amx(float *y, size_t y_stride, const void *panel, const void *x,
                     size_t x_stride_bytes, size_t m, size_t n, size_t k) {
    linear_float(WEFT_DTYPE_BF16, y, y_stride, panel, x, x_stride_bytes, m, n, k);
}
