/* attention_avx512.c - attention over pages with sixteen lanes.
 *
 * The way is attention_walk.inc's and attention_phases.inc's. What differs from AVX2 is that lanes
 * are positions, not parts of a head: keys that lie in rows (latent caches) are transposed once, as
 * they are converted to floats, and then
 *
 *   scores   6 queries x 64 keys in 24 accumulators; each score is one chain over 128
 *            columns of the head (more errors than that would show), and chains are added
 *   softmax  64 scores of a query are 4 vectors
 *   values   6 queries x 64 columns in 24 accumulators, positions in ascending order, one chain
 *            a column
 *
 * so that a query's bits do not depend on its neighbours. A page of keys in columns needs no
 * transpose: a column is a vector of its 16 positions. A few queries (decode) read such keys, and
 * values, from the pages themselves; more share a block that is converted once.
 *
 * A query touches only the values of positions that it sees. Scores of unseen positions of a seen
 * page may be computed and are then masked. Any head size goes: tails are masked loads, and the
 * accumulators are padded.
 */
#include "base/compiler.h"
#include "kernels/x86/attention_tile_avx512.h"
#include "kernels/x86/kernels_avx512.h"

void attention_f32_avx512(const attention_args *args) { attend(args, WEFT_DTYPE_F32); }

void attention_f16_avx512(const attention_args *args) { attend(args, WEFT_DTYPE_F16); }

void attention_q8_0_avx512(const attention_args *args) { attend(args, WEFT_DTYPE_Q8_0); }

void attention_q4_0_avx512(const attention_args *args) { attend(args, WEFT_DTYPE_Q4_0); }

void attention_merge_f32_avx512(const attention_args *a, const float *partials, uint32_t n_parts) {
    merge_parts(a, partials, n_parts);
}

/* Calls f(t, dtype) with the cache's as a constant. */
#define WITH_DTYPE(t, f)                                    \
    do {                                                    \
        switch ((t)->dtype) {                               \
        case WEFT_DTYPE_F32: f(t, WEFT_DTYPE_F32); break;   \
        case WEFT_DTYPE_F16: f(t, WEFT_DTYPE_F16); break;   \
        case WEFT_DTYPE_Q8_0: f(t, WEFT_DTYPE_Q8_0); break; \
        default: f(t, WEFT_DTYPE_Q4_0); break;              \
        }                                                   \
    } while (0)

static void tile_scores(tile *t, uint32_t block) {
    find_pages(t, block, t->a->k, t->a->k_row_bytes);
    t->is_direct = t->a->k_in_columns && t->n_active <= direct_max(t->dtype);
    if (!t->is_direct && t->a->k_in_columns) {
        WITH_DTYPE(t, load_key_columns);
    } else if (!t->is_direct) {
        WITH_DTYPE(t, load_keys);
    }
    score_block(t);
}

static void tile_values(tile *t, uint32_t block) {
    find_pages(t, block, t->a->v, t->a->v_row_bytes);
    t->is_direct = t->a->v_dim % 16 == 0 && t->n_active <= direct_max(t->dtype);
    if (!t->is_direct) {
        WITH_DTYPE(t, load_values);
    }
    value_block(t);
}

/* The seen scores, soft-capped, and minus infinity elsewhere. */
INLINE_AVX512 __m512 seen_scores(const query *q, uint32_t at, float softcap) {
    const uint64_t seen = (q->hi == BLOCK ? ~UINT64_C(0) : (UINT64_C(1) << q->hi) - 1) &
                          ~((UINT64_C(1) << q->lo) - 1);
    __m512 s = _mm512_load_ps(q->scores + at);
    if (softcap != 0.0f) {
        const __m512 cap = _mm512_set1_ps(softcap);
        s = _mm512_mul_ps(cap, tanh_avx512(_mm512_div_ps(s, cap)));
    }
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), (__mmask16)(seen >> at), s);
}

static void query_softmax(query *q, const attention_args *a) {
    __m512 s[WIDTH];
    for (uint32_t i = 0; i < WIDTH; i++) {
        s[i] = seen_scores(q, 16 * i, a->softcap);
    }
    const float most =
        max_lanes_avx512(_mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3])));
    const float m = most > *q->m ? most : *q->m;
    for (uint32_t i = 0; i < WIDTH; i++) {
        s[i] = exp_neg_avx512(_mm512_sub_ps(s[i], _mm512_set1_ps(m)));
        _mm512_store_ps(q->scores + 16 * i, s[i]);
    }
    const float sum =
        sum_lanes_avx512(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
    if (*q->m == m) { /* nothing to rescale: decay is exactly 1 */
        *q->l += sum;
        return;
    }
    const float decay = exp_neg_1_avx512(*q->m - m);
    if (*q->l != 0.0f) {
        for (size_t i = 0; i < a->v_dim; i += 16) {
            const __m512 acc = _mm512_load_ps(q->acc + i);
            _mm512_store_ps(q->acc + i, _mm512_mul_ps(acc, _mm512_set1_ps(decay)));
        }
    }
    *q->l = *q->l * decay + sum;
    *q->m = m;
}
