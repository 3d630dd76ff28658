/* attention_avx2.c - attention over pages, many rows and heads against each block of keys.
 *
 * The unit of work is called a query: one row and one head. Up to TILE
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
 * With few queries (decode) F16 and F32 rows are read straight from the pages, asked for one block
 * ahead: bound by memory for one or two heads a group, by FMA for more. With many, or when the
 * cache is quantised, a block is first converted to floats, K and then V in the same buffer: bound
 * by arithmetic (65-85 % of the FMA peak). Rows of the buffer are padded so that they do not
 * fall on the same cache sets. The tile lies on the stack: 350 KB, of which small heads touch
 * little.
 *
 * Head sizes that are no multiple of 8 go to the reference.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/ref/kernels_ref.h"
#include "kernels/x86/attention_tile_avx2.h"
#include "kernels/x86/kernels_avx2.h"

static cell load_block(tile *t, uint32_t block, const uint8_t *base, size_t row_bytes, size_t dim);

static bool is_tuned(const attention_args *a) { return a->k_dim % 8 == 0 && a->v_dim % 8 == 0; }

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
    merge_parts(a, partials, n_parts);
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

static void query_softmax(query *q, const attention_args *a) {
    if (q->lo > 0 || q->hi < BLOCK || a->softcap != 0.0f) {
        query_mask(q, a->softcap);
    }
    const uint32_t from = q->lo / 8 * 8;
    __m256 most = _mm256_set1_ps(*q->m);
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
    if (*q->m == m) { /* nothing to rescale: decay is exactly 1 */
        *q->l += sum_lanes_avx2(sum);
        return;
    }
    const float decay = exp_neg_1_avx2(*q->m - m);
    if (*q->l != 0.0f) {
        for (size_t i = 0; i < a->v_dim; i += 8) {
            const __m256 acc = _mm256_loadu_ps(q->acc + i);
            _mm256_storeu_ps(q->acc + i, _mm256_mul_ps(acc, _mm256_set1_ps(decay)));
        }
    }
    *q->l = *q->l * decay + sum_lanes_avx2(sum);
    *q->m = m;
}

static void tile_values(tile *t, uint32_t block) {
    const attention_args *a = t->a;
    if (load_block(t, block, a->v, a->v_row_bytes, a->v_dim) == CELL_F16) {
        value_block(t, CELL_F16);
    } else {
        value_block(t, CELL_F32);
    }
}

static float exp_1(float x) { return exp_neg_1_avx2(x); }

static void row_merge(float *sum, float keep, const float *acc, float add, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        const __m256 kept = _mm256_mul_ps(_mm256_loadu_ps(sum + i), _mm256_set1_ps(keep));
        const __m256 added = _mm256_mul_ps(_mm256_loadu_ps(acc + i), _mm256_set1_ps(add));
        _mm256_storeu_ps(sum + i, _mm256_add_ps(kept, added));
    }
}

static void row_scale(float *row, float factor, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        _mm256_storeu_ps(row + i, _mm256_mul_ps(_mm256_loadu_ps(row + i), _mm256_set1_ps(factor)));
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

/* 18 bytes: f16 scale, 16 bytes of codes 0..15 around 8: j in the low, j + 16 in the high half. */
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
 * hold. Positions go in fours; the fourth of a seen one is in the same page. */
static cell load_block(tile *t, uint32_t block, const uint8_t *base, size_t row_bytes, size_t dim) {
    find_pages(t, block, base, row_bytes);
    t->is_direct =
        t->dtype == WEFT_DTYPE_F32 || (t->dtype == WEFT_DTYPE_F16 && t->n_active <= DIRECT_MAX);
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
        t->pages[i] = t->ahead[i] = (const uint8_t *)(t->block + i * PAGE_TOKENS * stride);
    }
    t->row_bytes = t->ahead_bytes = stride * sizeof(float);
    return CELL_F32;
}
