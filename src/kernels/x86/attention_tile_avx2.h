/* attention_tile_avx2.h - the inner loops of attention: scores and weighted values of a tile.
 *
 * Included by attention_avx2.c alone, whose opening comment tells the plan. The functions here take
 * their shape (queries, columns, cell) as constant arguments, and each use becomes its own loop
 * with its values in registers: 12 accumulators, 3 of queries or weights, 1 of keys or values.
 */
#ifndef WEFT_KERNELS_X86_ATTENTION_TILE_AVX2_H
#define WEFT_KERNELS_X86_ATTENTION_TILE_AVX2_H

#include "kernels/x86/vecmath_avx2.h"

#define ATTENTION_LANES 8u
#define ATTENTION_GROUP 3u
#define ATTENTION_TILE (20u * ATTENTION_GROUP)
#define ATTENTION_ACC_FLOATS 16384u
#include "kernels/x86/attention_phases.inc"

#define GROUP ATTENTION_GROUP
#define DIRECT_MAX 32u /* at most this many queries read F16 pages directly */

/* What score and value loops read: a cache row in place, or a converted one. */
typedef enum cell { CELL_F32, CELL_F16 } cell;

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
    const __m256 s =
        _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* Of the queries left, how many go next: a group of one would leave the multipliers waiting for
 * its few chains, so four are two and two. */
INLINE_AVX2 uint32_t group_size(uint32_t left) {
    return left == GROUP + 1 ? 2 : left < GROUP ? left : GROUP;
}

/* Pages lie anywhere, so the processor's own prefetch loses the trail at each; memory is asked for
 * one block ahead. */
INLINE_AVX2 void fetch(const uint8_t *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)data + i, _MM_HINT_T1);
    }
}

INLINE_AVX2 size_t cell_bytes(cell c) { return c == CELL_F16 ? 2 : 4; }

/* Scores of n queries with four keys, written at column `at`. A page's rows are contiguous, four of
 * them one stretch: of that at `ahead`, if not NULL, lines are asked for as columns are read. */
INLINE_AVX2 void score_group(query *const *queries, const uint8_t *keys, size_t row_bytes,
                             const uint8_t *ahead, uint32_t at, size_t dim, float scale, cell c,
                             const int n) {
    __m256 acc[3][4];
    for (int r = 0; r < n; r++) {
        for (int j = 0; j < 4; j++) {
            acc[r][j] = _mm256_setzero_ps();
        }
    }
    const float *q0 = queries[0]->q, *q1 = queries[n > 1 ? 1 : 0]->q,
                *q2 = queries[n > 2 ? 2 : 0]->q;
    const uint8_t *k0 = keys, *k1 = k0 + row_bytes, *k2 = k1 + row_bytes, *k3 = k2 + row_bytes;
    for (size_t i = 0; i < dim; i += 8) {
        const __m256 q[3] = {_mm256_loadu_ps(q0 + i), _mm256_loadu_ps(q1 + i),
                             _mm256_loadu_ps(q2 + i)};
        const uint8_t *const k[4] = {k0, k1, k2, k3};
        if (ahead != NULL) {
            fetch(ahead + 4 * i * cell_bytes(c), 4 * 8 * cell_bytes(c));
        }
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
        const uint8_t *ahead = t->is_direct ? row_in(t->ahead, at, t->ahead_bytes) : NULL;
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
                score_group(q, keys, t->row_bytes, ahead, at, dim, scale, c, 3);
            } else if (n == 2) {
                score_group(q, keys, t->row_bytes, ahead, at, dim, scale, c, 2);
            } else {
                score_group(q, keys, t->row_bytes, ahead, at, dim, scale, c, 1);
            }
            ahead = NULL;
        }
    }
}

/* acc of n queries, columns [col, col + 8 * width) += weights x values of positions [from, to). */
INLINE_AVX2 void value_group(query *const *queries, const tile *t, uint32_t from, uint32_t to,
                             size_t col, cell c, const int n, const int width) {
    const size_t col_bytes = cell_bytes(c) * col;
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
        const uint32_t page_end = (from / PAGE_TOKENS + 1) * PAGE_TOKENS;
        const uint32_t stop = page_end < to ? page_end : to;
        for (; from < stop; from++, row += t->row_bytes, ahead += t->ahead_bytes) {
            const __m256 weight[3] = {_mm256_broadcast_ss(w0 + from),
                                      _mm256_broadcast_ss(w1 + from),
                                      _mm256_broadcast_ss(w2 + from)};
            if (t->is_direct) {
                fetch(ahead, (size_t)width * 8 * cell_bytes(c));
            }
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

#endif /* WEFT_KERNELS_X86_ATTENTION_TILE_AVX2_H */
