/* attention_avx2.c - attention over pages, many rows and heads against each block of keys.
 *
 * The unit of work is a lane of arithmetic called a query: one row and one head. Up to TILE
 * queries go through the context together, block by block of KERNEL_ATTN_BLOCK positions:
 *
 *   scores   4 keys x 3 queries in 12 accumulators of eight lanes along the head; each score is
 *            one chain over the head in steps of 8 and then the tree of sum_four
 *   softmax  online: maximum, exp and sum of a query's 64 scores, its accumulator rescaled
 *   values   3 queries x 32 columns in 12 accumulators, positions in ascending order, one chain a
 *            column
 *
 * A tile of 1 or 2 queries does the same chains with fewer accumulators, so a query's bits do not
 * depend on its neighbours. A query touches only the values of positions that it sees: where
 * queries of a group see different ends of a block, the common stretch runs together and the rest
 * alone. (A weight of 0 would not do: 0 times an infinite value is not nothing.) Scores of unseen
 * positions may be computed and are then masked.
 *
 * With few queries (decode) F16 and F32 rows are read straight from the pages, once for all heads
 * of the group: bound by memory. With many, or when the cache is quantised, a block is first
 * converted to floats, K and then V in the same buffer: bound by arithmetic. Rows of the buffer
 * are padded so that they do not fall on the same cache sets.
 *
 * Head sizes that are no multiple of 8 go to the reference.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/ref/kernels_ref.h"
#include "kernels/x86/kernels_avx2.h"
#include "kernels/x86/vecmath_avx2.h"

#define BLOCK KERNEL_ATTN_BLOCK
#define BLOCK_PAGES (KERNEL_ATTN_BLOCK / KERNEL_PAGE_TOKENS)
#define GROUP 3u          /* queries that share registers */
#define TILE (20u * GROUP) /* queries that share a converted block */
#define ACC_FLOATS 16384u
#define DIRECT_MAX 24u     /* at most this many queries read the pages directly */
#define PAD_FLOATS 16u

/* What score and value loops read: a cache row in place, or a converted one. */
typedef enum cell { CELL_F32, CELL_F16 } cell;

typedef struct query {
    const float *q;      /* [k_dim] */
    float *acc;          /* [v_dim], of the current part */
    float m, l;          /* of the current part; l is 0 before its first position */
    float sum_m, sum_l;  /* of the parts merged so far, whose accumulator is in out */
    float *out;          /* [v_dim] */
    uint32_t begin, end; /* positions it sees */
    uint32_t lo, hi;     /* those of the current block, relative to it */
    float *scores;       /* [BLOCK], of the current block; then the weights */
} query;

typedef struct tile {
    const attention_args *a;
    weft_dtype dtype;
    uint32_t n_queries, n_active; /* active: sees some position of the current block */
    uint32_t end;                 /* positions below it are seen by some query */
    query queries[TILE];
    query *active[TILE];
    bool is_direct;               /* rows are in the pages, not converted */
    uint32_t lo, hi;              /* positions of the block that some active query sees */
    /* K or V of the block: position p is at pages[p / 16] + p % 16 * row_bytes. ahead is where the
     * next block's lie, to be fetched early, with rows of ahead_bytes. */
    const uint8_t *pages[BLOCK_PAGES], *ahead[BLOCK_PAGES];
    size_t row_bytes, ahead_bytes;
    _Alignas(32) float scores[TILE][BLOCK];
    _Alignas(32) float acc[ACC_FLOATS];
    _Alignas(64) float block[BLOCK * (KERNEL_HEAD_DIM_MAX + PAD_FLOATS)];
} tile;

static void attend(const attention_args *a, weft_dtype dtype);
static void tile_init(tile *t, const attention_args *a, uint32_t first, uint32_t n);
static void tile_part(tile *t, uint32_t part);
static bool tile_enter_block(tile *t, uint32_t block);
static void tile_scores(tile *t, uint32_t block);
static void tile_values(tile *t, uint32_t block);
static void query_softmax(query *q, const attention_args *a);
static void query_finish_part(query *q, size_t v_dim);
static void merge_record(float *sum_m, float *sum_l, float *sum, float m, float l,
                         const float *acc, size_t v_dim);
static void finish(float *out, float m, float l, const float *sink, size_t v_dim);
static cell load_block(tile *t, uint32_t block, const uint8_t *base, size_t row_bytes, size_t dim);

static bool is_tuned(const attention_args *a) {
    return a->k_dim % 8 == 0 && a->v_dim % 8 == 0;
}

void attention_f32_avx2(const attention_args *args) {
    if (!is_tuned(args)) {
        attention_f32_ref(args);
        return;
    }
    attend(args, WEFT_DTYPE_F32);
}

void attention_f16_avx2(const attention_args *args) {
    if (!is_tuned(args)) {
        attention_f16_ref(args);
        return;
    }
    attend(args, WEFT_DTYPE_F16);
}

void attention_q8_0_avx2(const attention_args *args) { attend(args, WEFT_DTYPE_Q8_0); }

void attention_q4_0_avx2(const attention_args *args) { attend(args, WEFT_DTYPE_Q4_0); }

void attention_merge_f32_avx2(const attention_args *a, const float *partials, uint32_t n_parts) {
    if (!is_tuned(a)) {
        attention_merge_f32_ref(a, partials, n_parts);
        return;
    }
    const size_t record_len = (size_t)a->v_dim + 2;
    const size_t n_queries = (size_t)a->n_rows * a->n_heads;
    for (size_t i = 0; i < n_queries; i++) {
        const size_t row = i / a->n_heads, head = i % a->n_heads;
        float *out = a->out + row * a->out_stride + head * a->v_dim;
        float m = -INFINITY, l = 0.0f;
        for (uint32_t part = 0; part < n_parts; part++) {
            const float *record = partials + (part * n_queries + i) * record_len;
            merge_record(&m, &l, out, record[0], record[1], record + 2, a->v_dim);
        }
        finish(out, m, l, a->sinks != NULL ? &a->sinks[head] : NULL, a->v_dim);
    }
}

static void attend(const attention_args *a, weft_dtype dtype) {
    tile t;
    t.a = a;
    t.dtype = dtype;
    const uint32_t n_queries = a->n_rows * a->n_heads;
    const uint32_t fit = ACC_FLOATS / a->v_dim / GROUP * GROUP;
    const uint32_t n_tile = fit < TILE ? fit : TILE;
    for (uint32_t first = 0; first < n_queries; first += n_tile) {
        tile_init(&t, a, first, n_queries - first < n_tile ? n_queries - first : n_tile);
        if (a->partial != NULL) {
            tile_part(&t, a->part);
            for (uint32_t i = 0; i < t.n_queries; i++) {
                const query *q = &t.queries[i];
                float *record = a->partial + (size_t)(first + i) * (a->v_dim + 2);
                record[0] = q->m;
                record[1] = q->l;
                memcpy(record + 2, q->acc, a->v_dim * sizeof(float));
            }
            continue;
        }
        uint32_t begin = t.end;
        for (uint32_t i = 0; i < t.n_queries; i++) {
            begin = t.queries[i].begin < begin ? t.queries[i].begin : begin;
        }
        const uint32_t part_last = (t.end - 1) / KERNEL_ATTN_SPLIT;
        for (uint32_t part = begin / KERNEL_ATTN_SPLIT; part <= part_last; part++) {
            tile_part(&t, part);
            for (uint32_t i = 0; i < t.n_queries; i++) {
                query_finish_part(&t.queries[i], a->v_dim);
            }
        }
        for (uint32_t i = 0; i < t.n_queries; i++) {
            const query *q = &t.queries[i];
            finish(q->out, q->sum_m, q->sum_l,
                   a->sinks != NULL ? &a->sinks[(first + i) % a->n_heads] : NULL, a->v_dim);
        }
    }
}

static void tile_init(tile *t, const attention_args *a, uint32_t first, uint32_t n) {
    t->n_queries = n;
    t->end = 0;
    for (uint32_t i = 0; i < n; i++) {
        const size_t row = (first + i) / a->n_heads, head = (first + i) % a->n_heads;
        t->queries[i] = (query){
            .q = a->q + row * a->q_stride + head * a->k_dim,
            .out = a->out + row * a->out_stride + head * a->v_dim,
            .acc = t->acc + (size_t)i * a->v_dim,
            .sum_m = -INFINITY,
            .begin = a->kv_begin[row],
            .end = a->kv_end[row],
        };
        t->end = a->kv_end[row] > t->end ? a->kv_end[row] : t->end;
    }
}

/* Leaves m, l and acc of one part in every query. */
static void tile_part(tile *t, uint32_t part) {
    const uint32_t blocks = KERNEL_ATTN_SPLIT / BLOCK;
    memset(t->acc, 0, (size_t)t->n_queries * t->a->v_dim * sizeof(float));
    for (uint32_t i = 0; i < t->n_queries; i++) {
        t->queries[i].m = -INFINITY;
        t->queries[i].l = 0.0f;
    }
    for (uint32_t block = part * blocks; block < (part + 1) * blocks; block++) {
        if (!tile_enter_block(t, block)) {
            continue;
        }
        tile_scores(t, block);
        for (uint32_t i = 0; i < t->n_active; i++) {
            query_softmax(t->active[i], t->a);
        }
        tile_values(t, block);
    }
}

/* Finds who sees the block and how much of it. False when nobody does. */
static bool tile_enter_block(tile *t, uint32_t block) {
    const uint32_t from = block * BLOCK, to = from + BLOCK;
    t->n_active = 0;
    t->lo = BLOCK;
    t->hi = 0;
    for (uint32_t i = 0; i < t->n_queries; i++) {
        query *q = &t->queries[i];
        if (q->begin >= to || q->end <= from) {
            continue;
        }
        q->lo = q->begin > from ? q->begin - from : 0;
        q->hi = q->end < to ? q->end - from : BLOCK;
        q->scores = t->scores[t->n_active];
        t->lo = q->lo < t->lo ? q->lo : t->lo;
        t->hi = q->hi > t->hi ? q->hi : t->hi;
        t->active[t->n_active++] = q;
    }
    return t->n_active > 0;
}

INLINE_AVX2 __m256 load_cell(const uint8_t *row, size_t i, cell c) {
    if (c == CELL_F16) {
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * i)));
    }
    return _mm256_loadu_ps((const float *)(const void *)(row + 4 * i));
}

/* Lane j is the sum of the lanes of the jth vector, by the tree of sum_lanes_avx2. */
INLINE_AVX2 __m128 sum_four(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const __m256 s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Of the queries left, how many go next: a group of one would leave the multipliers waiting for
 * its few chains, so four are two and two. */
INLINE_AVX2 uint32_t group_size(uint32_t left) {
    return left == GROUP + 1 ? 2 : left < GROUP ? left : GROUP;
}

INLINE_AVX2 const uint8_t *row_in(const uint8_t *const *pages, uint32_t p, size_t row_bytes) {
    return pages[p / KERNEL_PAGE_TOKENS] + p % KERNEL_PAGE_TOKENS * row_bytes;
}

/* Pages lie anywhere, so the processor's own prefetch loses the trail at each; memory is asked for
 * one block ahead. */
INLINE_AVX2 void fetch(const uint8_t *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)data + i, _MM_HINT_T0);
    }
}

/* Scores of n queries with four keys, written at column `at`. */
INLINE_AVX2 void score_group(query *const *queries, const uint8_t *keys, size_t row_bytes,
                             uint32_t at, size_t dim, float scale, cell c, const int n) {
    __m256 acc[3][4];
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < 4; j++) {
            acc[r][j] = _mm256_setzero_ps();
        }
    }
    const float *q0 = queries[0]->q, *q1 = queries[n > 1 ? 1 : 0]->q, *q2 = queries[n > 2 ? 2 : 0]->q;
    const uint8_t *k0 = keys, *k1 = k0 + row_bytes, *k2 = k1 + row_bytes, *k3 = k2 + row_bytes;
    for (size_t i = 0; i < dim; i += 8) {
        const __m256 q[3] = {_mm256_loadu_ps(q0 + i), _mm256_loadu_ps(q1 + i),
                             _mm256_loadu_ps(q2 + i)};
        const uint8_t *const k[4] = {k0, k1, k2, k3};
        for (int j = 0; j < 4; j++) {
            const __m256 key = load_cell(k[j], i, c);
            for (int r = 0; r < n; r++) {
                acc[r][j] = _mm256_fmadd_ps(q[r], key, acc[r][j]);
            }
        }
    }
    for (int r = 0; r < n; r++) {
        const __m128 s = sum_four(acc[r][0], acc[r][1], acc[r][2], acc[r][3]);
        _mm_store_ps(queries[r]->scores + at, _mm_mul_ps(s, _mm_set1_ps(scale)));
    }
}

/* Every query against every four keys of which it sees one. */
INLINE_AVX2 void score_block(tile *t, cell c) {
    const size_t dim = t->a->k_dim;
    const float scale = t->a->scale;
    for (uint32_t at = t->lo / 4 * 4; at < t->hi; at += 4) {
        const uint8_t *keys = row_in(t->pages, at, t->row_bytes);
        if (t->is_direct) { /* a page's rows are contiguous: four of them are one stretch */
            fetch(row_in(t->ahead, at, t->ahead_bytes), 4 * t->ahead_bytes);
        }
        for (uint32_t i = 0, n; i < t->n_active; i += n) {
            query *const *q = &t->active[i];
            n = group_size(t->n_active - i);
            bool is_seen = false;
            for (uint32_t r = 0; r < n; r++) {
                is_seen |= q[r]->lo < at + 4 && q[r]->hi > at;
            }
            if (!is_seen) {
                continue;
            }
            if (n == 3) {
                score_group(q, keys, t->row_bytes, at, dim, scale, c, 3);
            } else if (n == 2) {
                score_group(q, keys, t->row_bytes, at, dim, scale, c, 2);
            } else {
                score_group(q, keys, t->row_bytes, at, dim, scale, c, 1);
            }
        }
    }
}

static void tile_scores(tile *t, uint32_t block) {
    const attention_args *a = t->a;
    if (load_block(t, block, a->k, a->k_row_bytes, a->k_dim) == CELL_F16) {
        score_block(t, CELL_F16);
    } else {
        score_block(t, CELL_F32);
    }
}

/* Soft-caps the scores and puts minus infinity where the query does not see. */
static void query_mask(query *q, float softcap) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i lo = _mm256_set1_epi32((int)q->lo - 1), hi = _mm256_set1_epi32((int)q->hi);
    for (uint32_t i = q->lo / 8 * 8; i < q->hi; i += 8) {
        __m256 s = _mm256_load_ps(q->scores + i);
        if (softcap != 0.0f) {
            const __m256 cap = _mm256_set1_ps(softcap);
            s = _mm256_mul_ps(cap, tanh_avx2(_mm256_div_ps(s, cap)));
        }
        const __m256i at = _mm256_add_epi32(index, _mm256_set1_epi32((int)i));
        const __m256i is_seen =
            _mm256_and_si256(_mm256_cmpgt_epi32(at, lo), _mm256_cmpgt_epi32(hi, at));
        s = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), s, _mm256_castsi256_ps(is_seen));
        _mm256_store_ps(q->scores + i, s);
    }
}

/* Scores of the block to weights; m and l move on and acc is rescaled. */
static void query_softmax(query *q, const attention_args *a) {
    if (q->lo > 0 || q->hi < BLOCK || a->softcap != 0.0f) {
        query_mask(q, a->softcap);
    }
    const uint32_t from = q->lo / 8 * 8;
    __m256 most = _mm256_set1_ps(q->m);
    for (uint32_t i = from; i < q->hi; i += 8) {
        most = _mm256_max_ps(most, _mm256_load_ps(q->scores + i));
    }
    const float m = max_lanes_avx2(most);
    __m256 sum = _mm256_setzero_ps();
    for (uint32_t i = from; i < q->hi; i += 8) {
        const __m256 s = _mm256_load_ps(q->scores + i);
        const __m256 weight = exp_neg_avx2(_mm256_sub_ps(s, _mm256_set1_ps(m)));
        _mm256_store_ps(q->scores + i, weight);
        sum = _mm256_add_ps(sum, weight);
    }
    if (q->m == m) { /* nothing to rescale: decay is exactly 1 */
        q->l += sum_lanes_avx2(sum);
        return;
    }
    const float decay = exp_neg_1_avx2(q->m - m);
    if (q->l != 0.0f) {
        for (size_t i = 0; i < a->v_dim; i += 8) {
            const __m256 acc = _mm256_loadu_ps(q->acc + i);
            _mm256_storeu_ps(q->acc + i, _mm256_mul_ps(acc, _mm256_set1_ps(decay)));
        }
    }
    q->l = q->l * decay + sum_lanes_avx2(sum);
    q->m = m;
}

/* acc of n queries, columns [col, col + 8 * width) += weights x values of positions [from, to). */
INLINE_AVX2 void value_group(query *const *queries, const tile *t, uint32_t from, uint32_t to,
                             size_t col, cell c, const int n, const int width) {
    const size_t col_bytes = c == CELL_F16 ? 2 * col : 4 * col;
    __m256 acc[3][8];
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < width; j++) {
            acc[r][j] = _mm256_loadu_ps(queries[r]->acc + col + 8 * j);
        }
    }
    const float *w0 = queries[0]->scores, *w1 = queries[n > 1 ? 1 : 0]->scores,
                *w2 = queries[n > 2 ? 2 : 0]->scores;
    while (from < to) {
        const uint8_t *row = row_in(t->pages, from, t->row_bytes) + col_bytes;
        const uint8_t *ahead = row_in(t->ahead, from, t->ahead_bytes) + col_bytes;
        const uint32_t page_end = (from / KERNEL_PAGE_TOKENS + 1) * KERNEL_PAGE_TOKENS;
        const uint32_t stop = page_end < to ? page_end : to;
        for (; from < stop; from++, row += t->row_bytes, ahead += t->ahead_bytes) {
            const __m256 weight[3] = {_mm256_broadcast_ss(w0 + from), _mm256_broadcast_ss(w1 + from),
                                      _mm256_broadcast_ss(w2 + from)};
            _mm_prefetch((const char *)ahead, _MM_HINT_T0);
            for (int j = 0; j < width; j++) {
                const __m256 value = load_cell(row, 8 * (size_t)j, c);
                for (int r = 0; r < n; r++) {
                    acc[r][j] = _mm256_fmadd_ps(weight[r], value, acc[r][j]);
                }
            }
        }
    }
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < width; j++) {
            _mm256_storeu_ps(queries[r]->acc + col + 8 * j, acc[r][j]);
        }
    }
}

INLINE_AVX2 void value_rows(query *const *q, uint32_t n, const tile *t, uint32_t from, uint32_t to,
                            size_t col, cell c, const int width) {
    if (from >= to) {
        return;
    }
    if (n == 3) {
        value_group(q, t, from, to, col, c, 3, width);
    } else if (n == 2) {
        value_group(q, t, from, to, col, c, 2, width);
    } else {
        value_group(q, t, from, to, col, c, 1, width);
    }
}

/* The stretch that all n queries see together, what only some see one by one around it. */
INLINE_AVX2 void value_columns(query *const *q, uint32_t n, const tile *t, size_t col, cell c,
                               const int width) {
    uint32_t from = q[0]->lo, to = q[0]->hi;
    for (uint32_t r = 1; r < n; r++) {
        from = q[r]->lo > from ? q[r]->lo : from;
        to = q[r]->hi < to ? q[r]->hi : to;
    }
    if (from >= to) {
        for (uint32_t r = 0; r < n; r++) {
            value_rows(&q[r], 1, t, q[r]->lo, q[r]->hi, col, c, width);
        }
        return;
    }
    for (uint32_t r = 0; r < n; r++) {
        value_rows(&q[r], 1, t, q[r]->lo, from, col, c, width);
    }
    value_rows(q, n, t, from, to, col, c, width);
    for (uint32_t r = 0; r < n; r++) {
        value_rows(&q[r], 1, t, to, q[r]->hi, col, c, width);
    }
}

INLINE_AVX2 void value_block(tile *t, cell c) {
    const size_t dim = t->a->v_dim;
    for (size_t col = 0; col < dim;) {
        const size_t width = dim - col >= 32 ? 4 : dim - col >= 16 ? 2 : 1;
        for (uint32_t i = 0, n; i < t->n_active; i += n) {
            query *const *q = &t->active[i];
            n = group_size(t->n_active - i);
            if (width == 4) {
                value_columns(q, n, t, col, c, 4);
            } else if (width == 2) {
                value_columns(q, n, t, col, c, 2);
            } else {
                value_columns(q, n, t, col, c, 1);
            }
        }
        col += 8 * width;
    }
}

static void tile_values(tile *t, uint32_t block) {
    const attention_args *a = t->a;
    if (load_block(t, block, a->v, a->v_row_bytes, a->v_dim) == CELL_F16) {
        value_block(t, CELL_F16);
    } else {
        value_block(t, CELL_F32);
    }
}

static void query_finish_part(query *q, size_t v_dim) {
    merge_record(&q->sum_m, &q->sum_l, q->out, q->m, q->l, q->acc, v_dim);
}

/* (sum_m, sum_l, sum) becomes itself merged with (m, l, acc); either may be empty (l = 0). */
static void merge_record(float *sum_m, float *sum_l, float *sum, float m, float l,
                         const float *acc, size_t v_dim) {
    if (l == 0.0f) {
        return;
    }
    if (*sum_l == 0.0f) {
        *sum_m = m;
        *sum_l = l;
        memcpy(sum, acc, v_dim * sizeof(float));
        return;
    }
    const float most = m > *sum_m ? m : *sum_m;
    const float keep = exp_neg_1_avx2(*sum_m - most), add = exp_neg_1_avx2(m - most);
    *sum_m = most;
    *sum_l = *sum_l * keep + l * add;
    for (size_t i = 0; i < v_dim; i += 8) {
        const __m256 kept = _mm256_mul_ps(_mm256_loadu_ps(sum + i), _mm256_set1_ps(keep));
        const __m256 added = _mm256_mul_ps(_mm256_loadu_ps(acc + i), _mm256_set1_ps(add));
        _mm256_storeu_ps(sum + i, _mm256_add_ps(kept, added));
    }
}

/* A sink is one more logit in the denominator whose value vector is zero. */
static void finish(float *out, float m, float l, const float *sink, size_t v_dim) {
    float factor = 1.0f / l;
    if (sink != NULL) {
        const float most = *sink > m ? *sink : m;
        const float keep = exp_neg_1_avx2(m - most);
        factor = keep / (l * keep + exp_neg_1_avx2(*sink - most));
    }
    for (size_t i = 0; i < v_dim; i += 8) {
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_loadu_ps(out + i), _mm256_set1_ps(factor)));
    }
}

static inline float load_f16(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof(h));
    return _cvtsh_ss(h);
}

static void convert_f16(float *dst, const uint8_t *src, size_t n) {
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256 v[4] = {load_cell(src, i, CELL_F16), load_cell(src, i + 8, CELL_F16),
                             load_cell(src, i + 16, CELL_F16), load_cell(src, i + 24, CELL_F16)};
        for (size_t j = 0; j < 4; j++) {
            _mm256_store_ps(dst + i + 8 * j, v[j]);
        }
    }
    for (; i < n; i += 8) {
        _mm256_store_ps(dst + i, load_cell(src, i, CELL_F16));
    }
}

/* 34 bytes: f16 scale, 32 int8 codes. */
static void convert_q8_0(float *dst, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n; i += 32, src += 34) {
        const __m256 d = _mm256_set1_ps(load_f16(src));
        for (size_t j = 0; j < 32; j += 8) {
            const __m128i codes = _mm_loadl_epi64((const __m128i *)(const void *)(src + 2 + j));
            const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
            _mm256_store_ps(dst + i + j, _mm256_mul_ps(v, d));
        }
    }
}

/* 18 bytes: f16 scale, 16 bytes of codes 0..15 around 8: j in the low and j + 16 in the high half. */
static void convert_q4_0(float *dst, const uint8_t *src, size_t n) {
    const __m128i low = _mm_set1_epi8(15), middle = _mm_set1_epi8(8);
    for (size_t i = 0; i < n; i += 32, src += 18) {
        const __m256 d = _mm256_set1_ps(load_f16(src));
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(src + 2));
        const __m128i lo = _mm_sub_epi8(_mm_and_si128(bytes, low), middle);
        const __m128i hi = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(bytes, 4), low), middle);
        const __m128i codes[4] = {lo, _mm_srli_si128(lo, 8), hi, _mm_srli_si128(hi, 8)};
        for (size_t j = 0; j < 4; j++) {
            const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes[j]));
            _mm256_store_ps(dst + i + 8 * j, _mm256_mul_ps(v, d));
        }
    }
}

/* Points pages at the block's K or V, converted to floats where that pays, and says what the rows
 * hold. Only pages of which a position is seen are looked up. Positions go in fours; the fourth of
 * a seen one is in the same page. */
static cell load_block(tile *t, uint32_t block, const uint8_t *base, size_t row_bytes, size_t dim) {
    const uint32_t page_last = (t->end - 1) / KERNEL_PAGE_TOKENS;
    const uint32_t *table = t->a->pages + block * BLOCK_PAGES;
    for (uint32_t i = t->lo / KERNEL_PAGE_TOKENS; i * KERNEL_PAGE_TOKENS < t->hi; i++) {
        const bool has_next = (block + 1) * BLOCK_PAGES + i <= page_last;
        const size_t next = table[has_next ? i + BLOCK_PAGES : i];
        t->pages[i] = base + (size_t)table[i] * t->a->page_stride_bytes;
        t->ahead[i] = base + next * t->a->page_stride_bytes;
    }
    t->row_bytes = t->ahead_bytes = row_bytes;
    t->is_direct = t->dtype == WEFT_DTYPE_F32 ||
                   (t->dtype == WEFT_DTYPE_F16 && t->n_active <= DIRECT_MAX);
    if (t->is_direct) {
        return t->dtype == WEFT_DTYPE_F16 ? CELL_F16 : CELL_F32;
    }
    const size_t stride = dim + PAD_FLOATS;
    const uint32_t to = (t->hi + 3) / 4 * 4;
    for (uint32_t j = t->lo / 4 * 4; j < to; j++) {
        const uint8_t *row = row_in(t->pages, j, row_bytes);
        fetch(row_in(t->ahead, j, row_bytes), row_bytes);
        if (t->dtype == WEFT_DTYPE_F16) {
            convert_f16(t->block + j * stride, row, dim);
        } else if (t->dtype == WEFT_DTYPE_Q8_0) {
            convert_q8_0(t->block + j * stride, row, dim);
        } else {
            convert_q4_0(t->block + j * stride, row, dim);
        }
    }
    for (size_t i = 0; i < BLOCK_PAGES; i++) {
        t->pages[i] = t->ahead[i] =
            (const uint8_t *)(t->block + i * KERNEL_PAGE_TOKENS * stride);
    }
    t->row_bytes = t->ahead_bytes = stride * sizeof(float);
    return CELL_F32;
}
