/* attention_tile_avx512.h - the inner loops of attention with 32 registers of 16 lanes.
 *
 * For attention_avx512.c alone, which tells the plan. Shapes are constant arguments, so each use is
 * its own loop: 24 accumulators, 4 vectors of keys or values, 1 of a query's, and 4
 * of scales where codes have them. */
#ifndef WEFT_KERNELS_X86_ATTENTION_TILE_AVX512_H
#define WEFT_KERNELS_X86_ATTENTION_TILE_AVX512_H

#include "kernels/x86/attention_load_avx512.h"

#define GROUP ATTENTION_GROUP
#define WIDTH (BLOCK / 16u) /* vectors of 16 positions, each a page */
#define CHAIN 128u          /* columns of a head that are one sum; sums are added */

/* What loops read: floats of the block, or the pages, in the cache's type. */
#define FROM_BLOCK WEFT_DTYPE_COUNT

/* How many queries rather convert keys and values themselves, group by group: F32 needs none. */
INLINE_AVX512 uint32_t direct_max(weft_dtype dtype) {
    switch (dtype) {
    case WEFT_DTYPE_F32: return ATTENTION_TILE;
    case WEFT_DTYPE_F16: return 2 * GROUP;
    case WEFT_DTYPE_Q8_0: return GROUP;
    default: return 0;
    }
}

/* acc += column i of `width` pages of keys times n queries. */
INLINE_AVX512 void score_column(__m512 acc[GROUP][WIDTH], const float *const q[GROUP], size_t i,
                                const __m512 key[WIDTH], const int n, const int width) {
    for (int r = 0; r < n; r++) {
        const __m512 x = _mm512_set1_ps(q[r][i]);
        for (int j = 0; j < width; j++) {
            acc[r][j] = _mm512_fmadd_ps(x, key[j], acc[r][j]);
        }
    }
}

/* The columns [i, to) of the pages that begin at t->pages + page, whose codes have scales. */
INLINE_AVX512 void score_scaled(__m512 acc[GROUP][WIDTH], const float *const q[GROUP],
                                const tile *t, uint32_t page, size_t i, size_t to,
                                const weft_dtype source, const int n, const int width) {
    while (i < to) { /* from a multiple of 32 on */
        __m512 scale[WIDTH], key[WIDTH];
        for (int j = 0; j < width; j++) {
            scale[j] = load_column_scale(t->pages[page + (uint32_t)j], i, source);
        }
        for (const size_t stop = i + 32; i < stop; i++) {
            for (int j = 0; j < width; j++) {
                const uint32_t p = page + (uint32_t)j;
                if (i % 2 == 0) {
                    fetch_columns(t->ahead[p], i, source);
                }
                key[j] = load_column(t->pages[p], i, scale[j], source);
            }
            score_column(acc, q, i, key, n, width);
        }
    }
}

/* Scores of n queries with `width` vectors of keys, from position `at`: columns [i, to) of the head
 * added to what is there, or in its place when i is 0. */
INLINE_AVX512 void score_group(query *const *queries, const tile *t, uint32_t at, size_t i,
                               size_t to, const weft_dtype source, const int n, const int width) {
    __m512 acc[GROUP][WIDTH];
    const float *q[GROUP];
    for (int r = 0; r < n; r++) {
        q[r] = queries[r]->q;
        for (int j = 0; j < width; j++) {
            acc[r][j] = _mm512_setzero_ps();
        }
    }
    const bool is_first = i == 0;
    const uint32_t page = at / PAGE_TOKENS;
    if (has_scales(source)) {
        score_scaled(acc, q, t, page, i, to, source, n, width);
    } else {
        const float *keys = t->block + i * BLOCK + at;
        const uint8_t *const *pages = t->pages + page, *const *ahead = t->ahead + page;
        for (; i < to; i++, keys += BLOCK) {
            __m512 key[WIDTH];
            for (int j = 0; source != FROM_BLOCK && i % 2 == 0 && j < width; j++) {
                fetch_columns(ahead[j], i, source);
            }
            for (int j = 0; j < width; j++) {
                key[j] = source == FROM_BLOCK
                             ? _mm512_load_ps(keys + 16 * j)
                             : load_column(pages[j], i, _mm512_setzero_ps(), source);
            }
            score_column(acc, q, i, key, n, width);
        }
    }
    const __m512 scale = _mm512_set1_ps(t->a->scale);
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < width; j++) {
            float *score = queries[r]->scores + at + 16 * j;
            const __m512 s = _mm512_mul_ps(acc[r][j], scale);
            _mm512_store_ps(score, is_first ? s : _mm512_add_ps(_mm512_load_ps(score), s));
        }
    }
}

/* acc of n queries, columns [col, col + 16 * width) += weights x values of [from, to), which are
 * whole vectors. */
INLINE_AVX512 void value_group(query *const *queries, const tile *t, uint32_t from, uint32_t to,
                               size_t col, const weft_dtype source, const int n, const int width) {
    __m512 acc[GROUP][WIDTH];
    const float *weights[GROUP];
    for (int r = 0; r < n; r++) {
        weights[r] = queries[r]->scores;
        for (int j = 0; j < width; j++) {
            acc[r][j] = _mm512_load_ps(queries[r]->acc + col + 16 * j);
        }
    }
    const size_t stride = t->acc_stride + PAD_FLOATS;
    const float *values = t->block + from * stride + col;
    for (; from < to; from++, values += stride) {
        __m512 value[WIDTH];
        const uint8_t *row = source != FROM_BLOCK ? row_in(t->pages, from, t->row_bytes) : NULL;
        if (source != FROM_BLOCK) { /* 16 values of a row take as many bytes as a column */
            const size_t bytes = column_bytes(source);
            fetch(row_in(t->ahead, from, t->ahead_bytes) + col / 16 * bytes, (size_t)width * bytes);
        }
        for (int j = 0; j < width; j++) {
            value[j] = source == FROM_BLOCK ? _mm512_load_ps(values + 16 * j)
                                            : load_16(row, col + 16 * (size_t)j, source);
        }
        for (int r = 0; r < n; r++) {
            const __m512 weight = _mm512_set1_ps(weights[r][from]);
            for (int j = 0; j < width; j++) {
                acc[r][j] = _mm512_fmadd_ps(weight, value[j], acc[r][j]);
            }
        }
    }
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < width; j++) {
            _mm512_store_ps(queries[r]->acc + col + 16 * j, acc[r][j]);
        }
    }
}

/* Calls f(..., n, width) with both as constants: n is 1..GROUP, width 1, 2 or 4. */
#define WITH_SHAPE(f, n, width, ...)                 \
    do {                                             \
        switch ((n)*8 + (width)) {                   \
        case 1 * 8 + 1: f(__VA_ARGS__, 1, 1); break; \
        case 1 * 8 + 2: f(__VA_ARGS__, 1, 2); break; \
        case 1 * 8 + 4: f(__VA_ARGS__, 1, 4); break; \
        case 2 * 8 + 1: f(__VA_ARGS__, 2, 1); break; \
        case 2 * 8 + 2: f(__VA_ARGS__, 2, 2); break; \
        case 2 * 8 + 4: f(__VA_ARGS__, 2, 4); break; \
        case 3 * 8 + 1: f(__VA_ARGS__, 3, 1); break; \
        case 3 * 8 + 2: f(__VA_ARGS__, 3, 2); break; \
        case 3 * 8 + 4: f(__VA_ARGS__, 3, 4); break; \
        case 4 * 8 + 1: f(__VA_ARGS__, 4, 1); break; \
        case 4 * 8 + 2: f(__VA_ARGS__, 4, 2); break; \
        case 4 * 8 + 4: f(__VA_ARGS__, 4, 4); break; \
        case 5 * 8 + 1: f(__VA_ARGS__, 5, 1); break; \
        case 5 * 8 + 2: f(__VA_ARGS__, 5, 2); break; \
        case 5 * 8 + 4: f(__VA_ARGS__, 5, 4); break; \
        case 6 * 8 + 1: f(__VA_ARGS__, 6, 1); break; \
        case 6 * 8 + 2: f(__VA_ARGS__, 6, 2); break; \
        default: f(__VA_ARGS__, 6, 4); break;        \
        }                                            \
    } while (0)

/* The same with what the tile's loops read before these. */
#define WITH_SOURCE(t, f, n, width, ...)                                                    \
    do {                                                                                    \
        switch ((t)->is_direct ? (t)->dtype : FROM_BLOCK) {                                 \
        case WEFT_DTYPE_F32: WITH_SHAPE(f, n, width, __VA_ARGS__, WEFT_DTYPE_F32); break;   \
        case WEFT_DTYPE_F16: WITH_SHAPE(f, n, width, __VA_ARGS__, WEFT_DTYPE_F16); break;   \
        case WEFT_DTYPE_Q8_0: WITH_SHAPE(f, n, width, __VA_ARGS__, WEFT_DTYPE_Q8_0); break; \
        default: WITH_SHAPE(f, n, width, __VA_ARGS__, FROM_BLOCK); break;                   \
        }                                                                                   \
    } while (0)

INLINE_AVX512 uint32_t group_size(uint32_t left) { return left < GROUP ? left : GROUP; }

/* Vectors that go together when `left` are: a power of two. */
INLINE_AVX512 uint32_t width_of(size_t left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }

/* A page or more of keys against up to GROUP queries, CHAIN columns of the head at a time. */
static void score_columns(query *const *q, uint32_t n, const tile *t, uint32_t at, uint32_t width) {
    const size_t dim = t->a->k_dim;
    for (size_t i = 0; i < dim; i += CHAIN) {
        const size_t to = dim - i < CHAIN ? dim : i + CHAIN;
        WITH_SOURCE(t, score_group, n, width, q, t, at, i, to);
    }
}

static void score_block(tile *t) {
    for (uint32_t i = 0, n; i < t->n_active; i += n) {
        query *const *q = &t->active[i];
        n = group_size(t->n_active - i);
        uint32_t lo = q[0]->lo, hi = q[0]->hi;
        for (uint32_t r = 1; r < n; r++) {
            lo = q[r]->lo < lo ? q[r]->lo : lo;
            hi = q[r]->hi > hi ? q[r]->hi : hi;
        }
        for (uint32_t v = lo / 16, width; v * 16 < hi; v += width) {
            width = width_of((hi + 15) / 16 - v);
            score_columns(q, n, t, v * 16, width);
        }
    }
}

static void value_rows(query *const *q, uint32_t n, const tile *t, uint32_t from, uint32_t to,
                       size_t col, uint32_t width) {
    if (from < to) {
        WITH_SOURCE(t, value_group, n, width, q, t, from, to, col);
    }
}

/* The stretch that all n queries see together, what only some see one by one around it. */
static void value_columns(query *const *q, uint32_t n, const tile *t, size_t col, uint32_t width) {
    uint32_t from = q[0]->lo, to = q[0]->hi;
    for (uint32_t r = 1; r < n; r++) {
        from = q[r]->lo > from ? q[r]->lo : from;
        to = q[r]->hi < to ? q[r]->hi : to;
    }
    if (from >= to) {
        for (uint32_t r = 0; r < n; r++) {
            value_rows(&q[r], 1, t, q[r]->lo, q[r]->hi, col, width);
        }
        return;
    }
    for (uint32_t r = 0; r < n; r++) {
        value_rows(&q[r], 1, t, q[r]->lo, from, col, width);
    }
    value_rows(q, n, t, from, to, col, width);
    for (uint32_t r = 0; r < n; r++) {
        value_rows(&q[r], 1, t, to, q[r]->hi, col, width);
    }
}

static void value_block(tile *t) {
    const size_t n_vectors = t->acc_stride / 16;
    for (size_t v = 0, width; v < n_vectors; v += width) {
        width = width_of(n_vectors - v);
        for (uint32_t i = 0, n; i < t->n_active; i += n) {
            n = group_size(t->n_active - i);
            value_columns(&t->active[i], n, t, v * 16, (uint32_t)width);
        }
    }
}

#endif /* WEFT_KERNELS_X86_ATTENTION_TILE_AVX512_H */
