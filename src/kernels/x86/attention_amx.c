/* attention_amx.c - attention over pages of F16 by tiles of bfloat16.
 *
 * The walk is attention_walk.inc's. Products are of bfloat16 pieces, which tiles multiply exactly
 * and sum in float32: a float32 query is three pieces, an F16 key or value two, and each is exactly
 * their sum; a weight is two pieces but for 2^-18 of it. Smaller products come first:
 *
 *   scores   q3 k1 + q2 k2 + q1 k2 + q2 k1 + q1 k1   32 columns of the head after 32
 *   values   w2 v2 + w1 v2 + w2 v1 + w1 v1           32 positions after 32
 *
 * Of q k that leaves out less than a float32 does. A block's keys and values are taken apart once
 * for all queries of a tile, then 16 queries at a time go from scores to their accumulators. Keys
 * lie in columns and values in rows, so that two columns, or two rows, side by side are a line of
 * the matrix unit's second operand as they are: the upper halves of one between those of the other.
 *
 * To take a block apart costs as much as six queries' products with AVX-512, so decode would pay
 * for what prefill gains. Where contexts are short, and caches hold them, that is felt: a row that
 * sees none but the first KERNEL_ATTN_NEAR positions is attention_avx512.c's. Further on memory is
 * what decode waits for.
 *
 * A query's bits do not depend on its neighbours: a tile's line is that query's alone, and what it
 * does not see has the weight 0 and a finite value. What is not finite in a block, seen by some or
 * left in memory that nobody uses, is 0 for the tiles and added one by one for those who see it.
 */
#include "base/compiler.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/attention_merge_avx512.h"
#include "kernels/x86/kernels_amx.h"
#include "kernels/x86/kernels_avx512.h"
#define ATTENTION_LANES 16u
#define ATTENTION_GROUP AMX_ROWS
#define ATTENTION_TILE (16u * ATTENTION_GROUP)
#define ATTENTION_ACC_FLOATS 36864u
#include "kernels/x86/attention_walk.inc"

#define COLS 32u         /* columns of a head, or positions, that a multiplication sums up */
#define TILE_BYTES 1024u /* a tile: 16 lines of 32 pieces */
#define PIECES 2u        /* of a key, a value, a weight */
#define QUERY_PIECES 3u
#define QUERY_FLOATS (ATTENTION_ACC_FLOATS + AMX_ROWS * KERNEL_HEAD_DIM_MAX)

/* A group's weights, taken apart: [positions / 32][piece]. Two pages lie side by side in a line:
 * positions p and p + 16 are a pair. */
typedef uint16_t group_weights[BLOCK / COLS][PIECES][AMX_ROWS][COLS];

typedef struct amx_tile {
    tile base;
    uint32_t n_chunks;             /* of 32 columns of a key */
    uint32_t n_lines;              /* queries, and room for a whole group from any of them */
    uint32_t key_step, value_step; /* 0 where one group goes alone: the next chunk's place is its */
    uint64_t not_finite;           /* positions of the block with values that are not */
    /* queries [chunk][piece][n_lines][32], values [positions / 32][v_dim / 16][piece][16][32]; keys
     * [chunk][page][piece][16][32] are in base.block */
    WEFT_ALIGNED(64) uint8_t queries[QUERY_FLOATS * QUERY_PIECES * 2];
    uint8_t values[BLOCK * KERNEL_HEAD_DIM_MAX * PIECES * 2];
    group_weights weights;
    float acc[AMX_ROWS][KERNEL_HEAD_DIM_MAX]; /* of a group that is not whole */
} amx_tile;

static amx_tile *amx_of(tile *t) { return (amx_tile *)(void *)t; }

static void attend(const attention_args *args) {
    amx_tile t;
    const uint32_t n = args->n_rows * args->n_heads;
    t.n_chunks = (args->k_dim + COLS - 1) / COLS;
    amx_begin_rows((uint8_t)(n < AMX_ROWS ? n : AMX_ROWS), 16, 64);
    attend_in(&t.base, args, WEFT_DTYPE_F16);
    amx_end();
}

void attention_f16_amx(const attention_args *args) {
    attention_args near = *args, far = *args;
    near.n_rows = 0;
    while (near.n_rows < args->n_rows && args->kv_end[near.n_rows] <= KERNEL_ATTN_NEAR) {
        near.n_rows++;
    }
    if (!args->k_in_columns || near.n_rows == args->n_rows) {
        attention_f16_avx512(args);
        return;
    }
    if (near.n_rows > 0) {
        attention_f16_avx512(&near);
        far.n_rows -= near.n_rows;
        far.q += near.n_rows * args->q_stride;
        far.kv_begin += near.n_rows;
        far.kv_end += near.n_rows;
        if (args->partial != NULL) {
            far.partial += (size_t)near.n_rows * args->n_heads * (args->v_dim + 2);
        } else {
            far.out += near.n_rows * args->out_stride;
        }
    }
    attend(&far);
}

/* ---- taking apart ---- */

static uint8_t *query_line(amx_tile *t, size_t chunk, size_t piece, size_t line) {
    return t->queries + ((chunk * QUERY_PIECES + piece) * t->n_lines + line) * COLS * 2;
}

static inline __m512 as_float(__m256bh halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)halves), 16));
}

static void tile_queries(tile *base) {
    amx_tile *t = amx_of(base);
    const size_t dim = base->a->k_dim;
    t->n_lines = base->n_queries + AMX_ROWS;
    for (size_t i = 0; i < base->n_queries; i++) {
        for (size_t col = 0; col < t->n_chunks * COLS; col += 16) {
            const __mmask16 there = col < dim ? lanes_mask_avx512(dim - col) : 0;
            __m512 v = _mm512_maskz_loadu_ps(there, base->queries[i].q + col);
            for (size_t piece = 0; piece < QUERY_PIECES; piece++) {
                const __m256bh nearest = _mm512_cvtneps_pbh(v);
                uint8_t *line = query_line(t, col / COLS, piece, i) + col % COLS * 2;
                _mm256_store_si256((__m256i *)(void *)line, (__m256i)nearest);
                v = _mm512_sub_ps(v, as_float(nearest));
            }
        }
    }
}

/* a's upper halves below b's: lane i is a[i] and b[i] as bfloat16, cut off. */
INLINE_AVX512 __m512i upper_halves(__m512i a, __m512i b) {
    const __m512i upper = _mm512_set1_epi32((int)0xFFFF0000);
    return _mm512_ternarylogic_epi32(_mm512_srli_epi32(a, 16), b, upper, 0xF8); /* x | (y & z) */
}

/* A line of both tiles at `to`: a and b as bfloat16, and what that leaves of them, which is exact
 * where they were F16. Returns check, or NaN where an input is not finite. */
INLINE_AVX512 __m512 put_pair(void *to, __m512 a, __m512 b, const bool is_exact, __m512 check) {
    const __m512i upper = _mm512_set1_epi32((int)0xFFFF0000);
    const __m512i half = is_exact ? _mm512_setzero_si512() : _mm512_set1_epi32(0x8000);
    const __m512i a1 = _mm512_add_epi32(_mm512_castps_si512(a), half);
    const __m512i b1 = _mm512_add_epi32(_mm512_castps_si512(b), half);
    const __m512 a2 = _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_and_si512(a1, upper)));
    const __m512 b2 = _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_and_si512(b1, upper)));
    uint8_t *line = to;
    _mm512_store_si512(line, upper_halves(a1, b1));
    _mm512_store_si512(line + TILE_BYTES,
                       upper_halves(_mm512_add_epi32(_mm512_castps_si512(a2), half),
                                    _mm512_add_epi32(_mm512_castps_si512(b2), half)));
    return _mm512_fmadd_ps(a2, b2, check);
}

INLINE_AVX512 __m512 load_f16(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static uint8_t *key_tile(amx_tile *t, size_t page, size_t chunk) {
    return (uint8_t *)t->base.block + (chunk * t->key_step + page) * PIECES * TILE_BYTES;
}

/* 32 columns of a page, of which the head has n. */
INLINE_AVX512 void take_columns(uint8_t *to, const uint8_t *from, const uint8_t *ahead,
                                const size_t n) {
    for (size_t i = 0; i < COLS; i += 2, to += 64, from += 64, ahead += 64) {
        const __m512 a = i < n ? load_f16(from) : _mm512_setzero_ps();
        const __m512 b = i + 1 < n ? load_f16(from + 32) : _mm512_setzero_ps();
        put_pair(to, a, b, true, a);
        if (i < n) {
            _mm_prefetch((const char *)ahead, _MM_HINT_T1);
        }
    }
}

/* 32 columns of the seen pages' keys. */
INLINE_AVX512 void take_keys(amx_tile *t, size_t chunk) {
    const tile *b = &t->base;
    const size_t left = b->a->k_dim - chunk * COLS, at = chunk * COLS * PAGE_TOKENS * 2;
    for (uint32_t page = b->lo / PAGE_TOKENS; page * PAGE_TOKENS < b->hi; page++) {
        const uint8_t *from = b->pages[page] + at, *ahead = b->ahead[page] + at;
        if (left >= COLS) {
            take_columns(key_tile(t, page, chunk), from, ahead, COLS);
        } else {
            take_columns(key_tile(t, page, chunk), from, ahead, left);
        }
    }
    amx_fence();
}

static uint8_t *value_tile(amx_tile *t, size_t position, size_t col) {
    const size_t n_tiles = t->base.acc_stride / 16;
    return t->values + (position / COLS * t->value_step * n_tiles + col / 16) * PIECES * TILE_BYTES;
}

INLINE_AVX512 __mmask16 lanes_not_finite(__m512 v) {
    return _mm512_fpclass_ps_mask(v, 0x01 | 0x08 | 0x10 | 0x80); /* NaN, infinities, NaN */
}

/* 16 columns, of which there are n, of a row of values; what is not finite as 0 if it may be. */
INLINE_AVX512 __m512 load_values(const uint8_t *p, const size_t n, const bool is_finite) {
    const __m512 v =
        n >= 16 ? load_f16(p) : _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_mask_avx512(n), p));
    return is_finite ? v : _mm512_maskz_mov_ps(_knot_mask16(lanes_not_finite(v)), v);
}

/* A page's positions, or a row of zeros 16 times. */
typedef struct value_rows {
    const uint8_t *at;
    size_t step;
} value_rows;

/* Two pages of n columns, at most 16. */
INLINE_AVX512 __m512 take_rows(uint8_t *to, value_rows a, value_rows b, size_t col, const size_t n,
                               const bool is_finite, __m512 check) {
    const uint8_t *row = a.at + 2 * col, *other = b.at + 2 * col;
    for (size_t line = 0; line < PAGE_TOKENS; line++, to += 64, row += a.step, other += b.step) {
        check = put_pair(to, load_values(row, n, is_finite), load_values(other, n, is_finite), true,
                         check);
    }
    return check;
}

/* Asks for a page of the next block's values. */
INLINE_AVX512 void ask_ahead(const tile *t, uint32_t page) {
    if (page >= t->lo / PAGE_TOKENS && page * PAGE_TOKENS < t->hi) {
        for (size_t at = 0; at < PAGE_TOKENS * t->ahead_bytes; at += 64) {
            _mm_prefetch((const char *)t->ahead[page] + at, _MM_HINT_T1);
        }
    }
}

static value_rows rows_of(const tile *t, uint32_t page) {
    static const uint8_t unseen[KERNEL_HEAD_DIM_MAX * 2];
    if (page < t->lo / PAGE_TOKENS || page * PAGE_TOKENS >= t->hi) {
        return (value_rows){unseen, 0};
    }
    return (value_rows){t->pages[page], t->row_bytes};
}

/* 32 positions from p, columns [col, to); those of an unseen page are 0. False when some value is
 * not finite. */
INLINE_AVX512 bool take_positions(amx_tile *t, uint32_t p, size_t col, size_t to,
                                  const bool is_finite) {
    const tile *b = &t->base;
    const value_rows first = rows_of(b, p / PAGE_TOKENS), second = rows_of(b, p / PAGE_TOKENS + 1);
    __m512 check = _mm512_setzero_ps();
    for (; col < to; col += 16) {
        uint8_t *at = value_tile(t, p, col);
        if (to - col >= 16) {
            check = take_rows(at, first, second, col, 16, is_finite, check);
        } else {
            check = take_rows(at, first, second, col, to - col, is_finite, check);
        }
    }
    return lanes_not_finite(check) == 0;
}

/* Columns [col, to) of the values of 32 positions; what is not finite as 0. */
static void take_values(amx_tile *t, uint32_t p, size_t col, size_t to) {
    to = to < t->base.a->v_dim ? to : t->base.a->v_dim;
    if (col == 0) {
        ask_ahead(&t->base, p / PAGE_TOKENS);
        ask_ahead(&t->base, p / PAGE_TOKENS + 1);
    }
    if (!take_positions(t, p, col, to, true)) {
        take_positions(t, p, col, to, false);
        t->not_finite |= UINT64_C(0xFFFFFFFF) << p;
    }
    amx_fence();
}

/* ---- products ---- */

/* Queries [first, first + n) of those active, and the pages that some of them see part of. */
typedef struct group {
    uint32_t first, n;
    uint32_t page, page_end;
    size_t query; /* the first one's number in the tile */
} group;

static group group_at(const tile *t, uint32_t first) {
    const uint32_t left = t->n_active - first;
    group g = {.first = first,
               .n = left < AMX_ROWS ? left : AMX_ROWS,
               .page = BLOCK_PAGES,
               .query = (size_t)(t->active[first] - t->queries)};
    for (uint32_t i = first; i < first + g.n; i++) {
        const query *q = t->active[i];
        const uint32_t page = q->lo / PAGE_TOKENS;
        const uint32_t end = (q->hi + PAGE_TOKENS - 1) / PAGE_TOKENS;
        g.page = page < g.page ? page : g.page;
        g.page_end = end > g.page_end ? end : g.page_end;
    }
    return g;
}

/* f(page, its tile of sums) for the pages that a group sees. */
#define EACH_PAGE(g, f)                        \
    if ((g)->page <= 0) {                      \
        f(0, 4);                               \
    }                                          \
    if ((g)->page <= 1 && (g)->page_end > 1) { \
        f(1, 5);                               \
    }                                          \
    if ((g)->page <= 2 && (g)->page_end > 2) { \
        f(2, 6);                               \
    }                                          \
    if ((g)->page_end > 3) {                   \
        f(3, 7);                               \
    }

static void group_scores(amx_tile *t, const group *g) {
    float *scores = t->base.scores[0];
#define ZERO(i, sums) _tile_zero(sums)
    EACH_PAGE(g, ZERO)
    for (size_t chunk = 0; chunk < t->n_chunks; chunk++) {
        const uint8_t *keys[BLOCK_PAGES];
        if (g->first == 0) {
            take_keys(t, chunk);
        }
        for (size_t page = 0; page < BLOCK_PAGES; page++) {
            keys[page] = key_tile(t, page, chunk);
        }
        _tile_loadd(0, query_line(t, chunk, 2, g->query), 64);
#define LEAST(i, sums)           \
    _tile_loadd(2, keys[i], 64); \
    _tile_dpbf16ps(sums, 0, 2);
        EACH_PAGE(g, LEAST)
        _tile_loadd(0, query_line(t, chunk, 0, g->query), 64);
        _tile_loadd(1, query_line(t, chunk, 1, g->query), 64);
#define MOST(i, sums)                         \
    _tile_loadd(2, keys[i] + TILE_BYTES, 64); \
    _tile_dpbf16ps(sums, 1, 2);               \
    _tile_dpbf16ps(sums, 0, 2);               \
    _tile_loadd(3, keys[i], 64);              \
    _tile_dpbf16ps(sums, 1, 3);               \
    _tile_dpbf16ps(sums, 0, 3);
        EACH_PAGE(g, MOST)
    }
#define STORE(i, sums) _tile_stored(sums, scores + 16 * (i), BLOCK * sizeof(float));
    EACH_PAGE(g, STORE)
#undef ZERO
#undef LEAST
#undef MOST
#undef STORE
    amx_fence();
}

/* 2^x, to 2^-23 of it; 0 for minus infinity. */
INLINE_AVX512 __m512 exp2_of(__m512 x) {
    const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(0x1.ec320ap-10f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.26900cp-7f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.c95446p-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.ebd5a8p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.62e4f6p-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.fffffep-1f));
    return _mm512_scalef_ps(p, x); /* by 2^floor(x) */
}

/* Lane i of the result: v[i]'s lanes, put together by `op` in one tree for all. */
#define REDUCE_16(v, op)                                                                           \
    do {                                                                                           \
        for (int i = 0; i < 8; i++) {                                                              \
            v[i] = op(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),                                  \
                      _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));                                 \
        }                                                                                          \
        for (int i = 0; i < 4; i++) {                                                              \
            const __m512d even = _mm512_castps_pd(v[2 * i]), odd = _mm512_castps_pd(v[2 * i + 1]); \
            v[i] = op(_mm512_castpd_ps(_mm512_unpacklo_pd(even, odd)),                             \
                      _mm512_castpd_ps(_mm512_unpackhi_pd(even, odd)));                            \
        }                                                                                          \
        for (int n = 2; n > 0; n /= 2) {                                                           \
            for (int i = 0; i < n; i++) {                                                          \
                v[i] = op(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x88),                      \
                          _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xDD));                     \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* Soft-caps a query's scores, after scaling them, and puts minus infinity where it does not see. */
static void line_mask(float *scores, const query *q, const attention_args *a) {
    const uint64_t seen = (q->hi == BLOCK ? ~UINT64_C(0) : (UINT64_C(1) << q->hi) - 1) &
                          ~((UINT64_C(1) << q->lo) - 1);
    for (size_t i = 0; i < BLOCK; i += 16) {
        __m512 s = _mm512_load_ps(scores + i);
        if (a->softcap != 0.0f) {
            const __m512 cap = _mm512_set1_ps(a->softcap);
            s = _mm512_mul_ps(s, _mm512_set1_ps(a->scale));
            s = _mm512_mul_ps(cap, tanh_avx512(_mm512_div_ps(s, cap)));
        }
        s = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(seen >> i), s);
        _mm512_store_ps(scores + i, s);
    }
}

/* Scores of a group to weights, taken apart; m and l move on and acc is rescaled. */
static void group_softmax(amx_tile *t, const group *g) {
    tile *b = &t->base;
    query *const *queries = b->active + g->first;
    const float scale = b->a->softcap != 0.0f ? 1.0f : b->a->scale;
    const __mmask16 lines = lanes_mask_avx512(g->n);
    float(*scores)[BLOCK] = b->scores;
    __m512 v[AMX_ROWS];
    for (uint32_t i = 0; i < AMX_ROWS; i++) {
        v[i] = _mm512_setzero_ps();
    }
    for (uint32_t i = 0; i < g->n; i++) {
        if (b->a->softcap != 0.0f || queries[i]->lo != 0 || queries[i]->hi != BLOCK) {
            line_mask(scores[i], queries[i], b->a);
        }
        const float *s = scores[i];
        v[i] = _mm512_max_ps(_mm512_max_ps(_mm512_load_ps(s), _mm512_load_ps(s + 16)),
                             _mm512_max_ps(_mm512_load_ps(s + 32), _mm512_load_ps(s + 48)));
    }
    REDUCE_16(v, _mm512_max_ps);
    const __m512 log2_e = _mm512_set1_ps(1.44269504f);
    const __m512 was = _mm512_maskz_loadu_ps(lines, b->m + g->query);
    const __m512 m = _mm512_max_ps(was, _mm512_mul_ps(v[0], _mm512_set1_ps(scale)));
    const __m512 less = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(m, log2_e));
    WEFT_ALIGNED(64) float less_m[AMX_ROWS], decay[AMX_ROWS];
    _mm512_store_ps(less_m, less);
    const __m512 factor = _mm512_mul_ps(_mm512_set1_ps(scale), log2_e);
    for (uint32_t i = 0; i < g->n; i++) {
        const __m512 x = _mm512_set1_ps(less_m[i]);
        __m512 w[BLOCK / 16];
        for (size_t j = 0; j < BLOCK / 16; j++) {
            w[j] = exp2_of(_mm512_fmadd_ps(_mm512_load_ps(scores[i] + 16 * j), factor, x));
        }
        v[i] = _mm512_add_ps(_mm512_add_ps(w[0], w[1]), _mm512_add_ps(w[2], w[3]));
        put_pair(t->weights[0][0][i], w[0], w[1], false, w[0]);
        put_pair(t->weights[1][0][i], w[2], w[3], false, w[2]);
    }
    REDUCE_16(v, _mm512_add_ps);
    const __m512 l = _mm512_maskz_loadu_ps(lines, b->l + g->query);
    const __mmask16 moved = _mm512_mask_cmp_ps_mask(lines, was, m, _CMP_NEQ_UQ);
    const __m512 d = _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), moved,
                                        exp2_of(_mm512_fmadd_ps(was, log2_e, less)));
    _mm512_store_ps(decay, d);
    _mm512_mask_storeu_ps(b->m + g->query, lines, m);
    _mm512_mask_storeu_ps(b->l + g->query, lines, _mm512_fmadd_ps(l, d, v[0]));
    const __mmask16 rescaled = _mm512_mask_cmp_ps_mask(moved, l, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    for (uint32_t left = rescaled; left != 0; left &= left - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(left);
        for (size_t col = 0; col < b->acc_stride; col += 16) {
            float *acc = queries[i]->acc + col;
            _mm512_store_ps(acc, _mm512_mul_ps(_mm512_load_ps(acc), _mm512_set1_ps(decay[i])));
        }
    }
}

/* Adds weights x values to acc [group's queries][stride], columns col to col + 63 of them. */
static void group_values(amx_tile *t, const group *g, float *acc, size_t stride, size_t col) {
    const size_t left = (t->base.acc_stride - col) / 16, n = left < 4 ? left : 4;
#define EACH_TILE(f) \
    f(0, 4);         \
    if (n > 1) {     \
        f(1, 5);     \
    }                \
    if (n > 2) {     \
        f(2, 6);     \
    }                \
    if (n > 3) {     \
        f(3, 7);     \
    }
#define LOAD(i, sums) _tile_loadd(sums, acc + col + 16 * (i), stride * sizeof(float))
    EACH_TILE(LOAD)
    const uint32_t from = t->base.lo / COLS * COLS;
    for (uint32_t p = from; p < t->base.hi; p += COLS) {
        if (g->first == 0) {
            take_values(t, p, col, col + 64);
        }
        if (p + COLS <= g->page * PAGE_TOKENS || p >= g->page_end * PAGE_TOKENS) {
            continue;
        }
        const uint8_t *values = value_tile(t, p, col);
        _tile_loadd(0, t->weights[p / COLS][0], 64);
        _tile_loadd(1, t->weights[p / COLS][1], 64);
#define ADD(i, sums)                                                   \
    _tile_loadd(2, values + (i)*PIECES * TILE_BYTES + TILE_BYTES, 64); \
    _tile_dpbf16ps(sums, 1, 2);                                        \
    _tile_dpbf16ps(sums, 0, 2);                                        \
    _tile_loadd(3, values + (i)*PIECES * TILE_BYTES, 64);              \
    _tile_dpbf16ps(sums, 1, 3);                                        \
    _tile_dpbf16ps(sums, 0, 3);
        EACH_TILE(ADD)
    }
#define STORE(i, sums) _tile_stored(sums, acc + col + 16 * (i), stride * sizeof(float))
    EACH_TILE(STORE)
#undef EACH_TILE
#undef LOAD
#undef ADD
#undef STORE
    amx_fence();
}

/* What take_values left out, for the query in line `line` of its group if it sees it. */
static void add_not_finite(const amx_tile *t, const query *q, size_t line) {
    const size_t dim = t->base.a->v_dim;
    for (uint32_t p = q->lo; p < q->hi; p++) {
        const uint8_t *row = row_in(t->base.pages, p, t->base.row_bytes);
        const uint32_t w = t->weights[p / COLS][0][line][p % 16 * 2 + p % COLS / 16];
        const __m512 weight = _mm512_castsi512_ps(_mm512_set1_epi32((int)(w << 16)));
        for (size_t col = 0; t->not_finite >> p & 1 && col < dim; col += 16) {
            const __m512 v = load_values(row + 2 * col, dim - col, true);
            const __m512 acc = _mm512_load_ps(q->acc + col);
            _mm512_store_ps(q->acc + col,
                            _mm512_mask3_fmadd_ps(v, weight, acc, lanes_not_finite(v)));
        }
    }
}

static void group_block(amx_tile *t, const group *g, uint32_t block) {
    query *const *queries = t->base.active + g->first;
    const size_t stride = t->base.acc_stride;
    group_scores(t, g);
    group_softmax(t, g);
    if (g->first == 0) {
        find_pages(&t->base, block, t->base.a->v, t->base.a->v_row_bytes);
    }
    const bool is_whole = g->n == AMX_ROWS || g->n == t->base.n_queries;
    float *acc = queries[0]->acc;
    if (!is_whole) {
        acc = t->acc[0];
        memcpy(acc, queries[0]->acc, g->n * stride * sizeof(float));
    }
    amx_fence();
    for (size_t col = 0; col < stride; col += 64) {
        group_values(t, g, acc, stride, col);
    }
    if (!is_whole) {
        memcpy(queries[0]->acc, acc, g->n * stride * sizeof(float));
    }
    for (uint32_t i = 0; t->not_finite != 0 && i < g->n; i++) {
        add_not_finite(t, queries[i], i);
    }
}

static void tile_block(tile *base, uint32_t block) {
    amx_tile *t = amx_of(base);
    t->not_finite = 0;
    t->key_step = base->n_active > AMX_ROWS ? BLOCK_PAGES : 0;
    t->value_step = base->n_active > AMX_ROWS ? 1 : 0;
    find_pages(base, block, base->a->k, base->a->k_row_bytes);
    for (uint32_t first = 0; first < base->n_active; first += AMX_ROWS) {
        const group g = group_at(base, first);
        group_block(t, &g, block);
    }
}
