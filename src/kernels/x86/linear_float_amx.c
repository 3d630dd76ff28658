/* linear_float_amx.c - products of F32, F16 and BF16 weights by AMX tiles of bfloat16.
 *
 * Every float32 is the sum of three bfloat16, its pieces, and every F16 of two. Rows of x come in
 * pieces (ACT_SPLIT); weights are taken apart here, 32 columns a block, for all rows of the call.
 * Pieces are multiplied exactly and summed in float32, and sums of one order of magnitude have a
 * tile of their own:
 *
 *   tile 0   x0 w0                 tiles 3 to 5   x0 x1 x2, 16 rows x 32 columns
 *   tile 1   x1 w0 + x0 w1         tiles 6, 7     a piece of the weights, 32 columns x 16 outputs,
 *   tile 2   x2 w0 + x1 w1 + x0 w2                two columns side by side
 *
 * What is left out (x1 w2 and smaller) is a float32's rounding of the product. Three tiles of sums
 * are also three chains of additions, which a single row needs to keep up with the memory: it has
 * the same tiles with one row in them, so that bits depend on no number of rows.
 */
#include <immintrin.h>
#include <string.h>

#include "base/compiler.h"
#include "kernels/products.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/rows_avx512.h"
#include "layout/act.h"
#include "layout/pack.h"

/* Blocks taken apart at a time: as many as stay in the first-level cache beside 16 rows of x, and
 * few where no other rows will use them. */
#define BLOCKS_MAX 8u
#define BLOCKS_OF_ONE_TILE 2u
#define FLOAT_AHEAD 4096u /* bytes of weights asked for before they are taken apart */

#define WHOLE_BLOCK_BYTES (ACT_BLOCK_LEN * PACK_PANEL_ROWS * sizeof(float))

/* A piece of a block of weights: [pair of columns][output][2] */
typedef uint16_t weight_piece[ACT_BLOCK_LEN / 2][PACK_PANEL_ROWS][2];
typedef float tile_sums[3][AMX_ROWS][PACK_PANEL_ROWS];

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
    for (size_t i = 0; i < ACT_BLOCK_LEN / 2; i++) {
        split_pair(dtype, to, i, whole + 2 * i * column_bytes(dtype));
    }
}

/* n columns into the pieces of their blocks. */
VNNI_INLINE void split(weft_dtype dtype, weight_piece *to, const uint8_t *columns, size_t n) {
    const size_t pair_bytes = 2 * column_bytes(dtype);
    for (size_t b = 0; b < n / ACT_BLOCK_LEN; b++) {
        for (size_t i = 0; i < ACT_BLOCK_LEN / 2; i++) {
            fetch_pair(dtype, columns + FLOAT_AHEAD);
            split_pair(dtype, to, i, columns);
            columns += pair_bytes;
        }
        to += pieces_of(dtype);
    }
    if (n % ACT_BLOCK_LEN != 0) {
        split_last(dtype, to, columns, n % ACT_BLOCK_LEN);
    }
}

/* Tiles 0 to 2 += blocks of x . w */
VNNI_INLINE void multiply(weft_dtype dtype, const weight_piece *w, const uint8_t *x,
                          size_t x_stride, size_t n_blocks) {
    for (size_t b = 0; b < n_blocks; b++) {
        _tile_loadd(3, x, x_stride);
        _tile_loadd(6, w[0], 64);
        _tile_dpbf16ps(0, 3, 6);
        _tile_loadd(4, x + 64, x_stride);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(5, x + 128, x_stride);
        _tile_dpbf16ps(2, 5, 6);
        if (pieces_of(dtype) > 1) {
            _tile_loadd(7, w[1], 64);
            _tile_dpbf16ps(1, 3, 7);
            _tile_dpbf16ps(2, 4, 7);
        }
        if (pieces_of(dtype) > 2) {
            _tile_loadd(6, w[2], 64);
            _tile_dpbf16ps(2, 3, 6);
        }
        x += sizeof(act_block_split);
        w += pieces_of(dtype);
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

static inline void load_sums(tile_sums *sums) {
    _tile_loadd(0, (*sums)[0], 64);
    _tile_loadd(1, (*sums)[1], 64);
    _tile_loadd(2, (*sums)[2], 64);
}

static inline void store_sums(tile_sums *sums) {
    _tile_stored(0, (*sums)[0], 64);
    _tile_stored(1, (*sums)[1], 64);
    _tile_stored(2, (*sums)[2], 64);
}

static inline void store_outputs(float *y, size_t y_stride, tile_sums *sums, size_t rows,
                                 size_t n) {
    const __mmask16 there = (__mmask16)((1u << n) - 1);
    for (size_t r = 0; r < rows; r++) {
        const __m512 small =
            _mm512_add_ps(_mm512_load_ps((*sums)[1][r]), _mm512_load_ps((*sums)[2][r]));
        _mm512_mask_storeu_ps(y + r * y_stride, there,
                              _mm512_add_ps(_mm512_load_ps((*sums)[0][r]), small));
    }
}

/* Tiles of the same number of rows, up to what a chunk of rows has: their sums leave for memory
 * between chunks of columns where there is more than one. */
VNNI_INLINE void run(weft_dtype dtype, float *y, size_t y_stride, const uint8_t *panel,
                     const uint8_t *x, size_t x_stride, size_t n_tiles, size_t rows, size_t n,
                     size_t k) {
    WEFT_ALIGNED(64) tile_sums sums[ACT_CHUNK_ROWS / AMX_ROWS];
    WEFT_ALIGNED(64) weight_piece pieces[BLOCKS_MAX * 3];
    const size_t step = (n_tiles == 1 ? BLOCKS_OF_ONE_TILE : BLOCKS_MAX) * ACT_BLOCK_LEN;
    memset(sums, 0, n_tiles * sizeof(tile_sums));
    begin(rows);
    for (size_t col = 0; col < k; col += step) {
        const size_t cols = k - col < step ? k - col : step;
        const size_t n_blocks = (cols + ACT_BLOCK_LEN - 1) / ACT_BLOCK_LEN;
        split(dtype, pieces, panel + col * column_bytes(dtype), cols);
        amx_fence();
        const uint8_t *at = x + col / ACT_BLOCK_LEN * sizeof(act_block_split);
        for (size_t t = 0; t < n_tiles; t++) {
            if (n_tiles > 1) {
                load_sums(&sums[t]);
            }
            multiply(dtype, (const weight_piece *)pieces, at + t * AMX_ROWS * x_stride, x_stride,
                     n_blocks);
            if (n_tiles > 1) {
                store_sums(&sums[t]);
            }
        }
    }
    if (n_tiles == 1) {
        store_sums(&sums[0]);
    }
    amx_end();
    for (size_t t = 0; t < n_tiles; t++) {
        store_outputs(y + t * AMX_ROWS * y_stride, y_stride, &sums[t], rows, n);
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

VNNI_INLINE void add_row_block(weft_dtype dtype, __m512 y[3], const uint8_t *columns,
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
    for (int of_w = 0; of_w < pieces_of(dtype); of_w++) {
        for (int of_x = 0; of_x + of_w < 3; of_x++) {
            const __m512 sum = _mm512_add_ps(even.of[of_w][of_x], odd.of[of_w][of_x]);
            y[of_x + of_w] = _mm512_add_ps(y[of_x + of_w], sum);
        }
    }
}

/* sums [3] <- x . panel */
VNNI_INLINE void sum_row(weft_dtype dtype, float sums[3][PACK_PANEL_ROWS], const uint8_t *panel,
                         const act_block_split *x, size_t k) {
    __m512 y[3] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
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
    for (size_t i = 0; i < 3; i++) {
        _mm512_store_ps(sums[i], y[i]);
    }
}

/* Functions of their own, so that nothing is computed before or after the control word changes. */
#define X(NAME, name)                                                                          \
    static __attribute__((noinline)) void sum_row_##name(float sums[3][PACK_PANEL_ROWS],       \
                                                         const uint8_t *panel,                 \
                                                         const act_block_split *x, size_t k) { \
        sum_row(WEFT_DTYPE_##NAME, sums, panel, x, k);                                         \
    }
PRODUCTS_SPLIT_LIST(X)
#undef X

#define CSR_NO_SUBNORMALS 0x8040u /* neither read nor left, as tiles have it */

static void run_row(weft_dtype dtype, float *y, const uint8_t *panel, const uint8_t *x, size_t n,
                    size_t k) {
    WEFT_ALIGNED(64) tile_sums sums;
    WEFT_ALIGNED(64) float of_row[3][PACK_PANEL_ROWS];
    const act_block_split *blocks = (const act_block_split *)x;
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | CSR_NO_SUBNORMALS);
    switch (dtype) {
    case WEFT_DTYPE_F32: sum_row_f32(of_row, panel, blocks, k); break;
    case WEFT_DTYPE_F16: sum_row_f16(of_row, panel, blocks, k); break;
    default: sum_row_bf16(of_row, panel, blocks, k); break;
    }
    _mm_setcsr(before);
    for (size_t i = 0; i < 3; i++) {
        memcpy(sums[i][0], of_row[i], sizeof(of_row[i]));
    }
    store_outputs(y, 0, &sums, 1, n);
}

VNNI_INLINE void linear_float(weft_dtype dtype, float *y, size_t y_stride, const uint8_t *panel,
                              const uint8_t *x, size_t x_stride, size_t m, size_t n, size_t k) {
    if (m == 1) {
        run_row(dtype, y, panel, x, n, k);
        return;
    }
    while (m > 0) {
        size_t n_tiles = m / AMX_ROWS, rows = AMX_ROWS;
        if (n_tiles == 0) {
            n_tiles = 1;
            rows = m;
        } else if (n_tiles > ACT_CHUNK_ROWS / AMX_ROWS) {
            n_tiles = ACT_CHUNK_ROWS / AMX_ROWS;
        }
        run(dtype, y, y_stride, panel, x, x_stride, n_tiles, rows, n, k);
        y += n_tiles * rows * y_stride;
        x += n_tiles * rows * x_stride;
        m -= n_tiles * rows;
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
