/* attention_neon.c - attention over pages, a block of keys and then of values opened at a time.
 *
 *   for tiles of up to 16 queries (one row and one head each)
 *     for parts, for blocks of KERNEL_ATTN_BLOCK positions
 *       open K into floats  ->  scores of each query, running maximum, exp, sum
 *       open V into floats  ->  each query's accumulator, positions in ascending order
 *
 * A score is one chain of four accumulators of four lanes along the head; a block's sum of weights
 * is taken over all its lanes, where positions that a query does not see have weight 0. So a
 * query's bits depend on its own range alone. Values of unseen positions are not touched. The
 * reduction over blocks and parts is that of ref/attention_ref.c, with exp and tanh of
 * vecmath_neon.h, so that no C library has a say in the bits.
 *
 * Head sizes that are no multiple of 16 go to the reference. A tile takes 400 KB of stack, of which
 * small heads touch little.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/arm/kernels_neon.h"
#include "kernels/arm/vecmath_neon.h"
#include "kernels/ref/kernels_ref.h"

#define BLOCK KERNEL_ATTN_BLOCK
#define TILE 16u
#define RECORD_MAX (KERNEL_HEAD_DIM_MAX + 2u)

/* dst [dim] <- a row of the cache */
typedef void load_row_fn(float *dst, const uint8_t *row, size_t dim);

typedef struct query {
    const float *q;
    uint32_t begin, end;     /* what it sees */
    uint32_t from, to;       /* what of that lies in the block at hand; from == to: nothing */
    float weights[BLOCK];    /* scores, then weights, by position in the block */
    float part[RECORD_MAX];  /* m, l, acc of the part at hand */
    float whole[RECORD_MAX]; /* of all parts so far */
} query;

typedef struct tile {
    const attention_args *a;
    load_row_fn *load_row;
    uint32_t n_queries;
    uint32_t begin, end; /* what any query sees */
    query queries[TILE];
    float rows[BLOCK * KERNEL_HEAD_DIM_MAX];
} tile;

static void load_f32(float *dst, const uint8_t *row, size_t dim) {
    memcpy(dst, row, dim * sizeof(float));
}

static void load_f16(float *dst, const uint8_t *row, size_t dim) {
    for (size_t i = 0; i < dim; i += 4) {
        vst1q_f32(dst + i, vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(row + 2 * i))));
    }
}

static float scale_at(const uint8_t *block) {
    return vgetq_lane_f32(
        vcvt_f32_f16(vreinterpret_f16_u16(vld1_dup_u16((const uint16_t *)(const void *)block))), 0);
}

static void store_codes(float *dst, int8x16_t codes, float d) {
    const int16x8_t lo = vmovl_s8(vget_low_s8(codes)), hi = vmovl_high_s8(codes);
    vst1q_f32(dst, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), d));
    vst1q_f32(dst + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(lo)), d));
    vst1q_f32(dst + 8, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), d));
    vst1q_f32(dst + 12, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(hi)), d));
}

static void load_q8_0(float *dst, const uint8_t *row, size_t dim) {
    for (size_t i = 0; i < dim; i += 32, row += 34) {
        const float d = scale_at(row);
        store_codes(dst + i, vld1q_s8((const int8_t *)row + 2), d);
        store_codes(dst + i + 16, vld1q_s8((const int8_t *)row + 18), d);
    }
}

static void load_q4_0(float *dst, const uint8_t *row, size_t dim) {
    const int8x16_t middle = vdupq_n_s8(8);
    for (size_t i = 0; i < dim; i += 32, row += 18) {
        const float d = scale_at(row);
        const uint8x16_t both = vld1q_u8(row + 2);
        const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
        const int8x16_t high = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
        store_codes(dst + i, vsubq_s8(low, middle), d);
        store_codes(dst + i + 16, vsubq_s8(high, middle), d);
    }
}

/* Rows of [from, to), from the block's position 0 on, into t->rows. */
static void open_rows(tile *t, uint32_t first, uint32_t from, uint32_t to, const uint8_t *base,
                      size_t row_bytes, size_t dim) {
    for (uint32_t p = from; p < to; p++) {
        const size_t page = t->a->pages[p / PAGE_TOKENS];
        t->load_row(t->rows + (p - first) * dim,
                    base + page * t->a->page_stride_bytes + p % PAGE_TOKENS * row_bytes, dim);
    }
}

static float dot(const float *a, const float *b, size_t n) {
    float32x4_t sum[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                          vdupq_n_f32(0.0f)};
    for (size_t i = 0; i < n; i += 16) {
        for (size_t j = 0; j < 4; j++) {
            sum[j] = vfmaq_f32(sum[j], vld1q_f32(a + i + 4 * j), vld1q_f32(b + i + 4 * j));
        }
    }
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

/* e^x for x <= 0. */
static float exp_neg(float x) { return vgetq_lane_f32(exp_neg_neon(vdupq_n_f32(x)), 0); }

/* Scores of the block's seen positions, then weights; the part's m and l, acc rescaled. */
static void query_weigh(query *q, const tile *t, uint32_t first) {
    const attention_args *a = t->a;
    float m = q->part[0];
    for (uint32_t i = 0; i < BLOCK; i++) {
        q->weights[i] = -INFINITY;
    }
    for (uint32_t p = q->from; p < q->to; p++) {
        q->weights[p - first] = dot(q->q, t->rows + (p - first) * a->k_dim, a->k_dim) * a->scale;
    }
    if (a->softcap != 0.0f) {
        float *seen = q->weights + (q->from - first);
        softcap_f32_neon(seen, seen, a->softcap, q->to - q->from);
    }
    for (uint32_t i = 0; i < BLOCK; i++) {
        m = q->weights[i] > m ? q->weights[i] : m;
    }
    const float decay = exp_neg(q->part[0] - m);
    float32x4_t sum = vdupq_n_f32(0.0f);
    for (uint32_t i = 0; i < BLOCK; i += 4) {
        const float32x4_t w = exp_neg_neon(vsubq_f32(vld1q_f32(q->weights + i), vdupq_n_f32(m)));
        vst1q_f32(q->weights + i, w);
        sum = vaddq_f32(sum, w);
    }
    for (uint32_t i = 0; i < a->v_dim; i += 4) {
        vst1q_f32(q->part + 2 + i, vmulq_n_f32(vld1q_f32(q->part + 2 + i), decay));
    }
    q->part[0] = m;
    q->part[1] = q->part[1] * decay + vaddvq_f32(sum);
}

/* Four registers of the accumulator at a time, all positions of the block. */
static void query_add_values(query *q, const tile *t, uint32_t first) {
    const uint32_t v_dim = t->a->v_dim;
    for (uint32_t i = 0; i < v_dim; i += 16) {
        float *acc = q->part + 2 + i;
        float32x4_t sum[4] = {vld1q_f32(acc), vld1q_f32(acc + 4), vld1q_f32(acc + 8),
                              vld1q_f32(acc + 12)};
        for (uint32_t p = q->from; p < q->to; p++) {
            const float *v = t->rows + (size_t)(p - first) * v_dim + i;
            const float w = q->weights[p - first];
            for (uint32_t j = 0; j < 4; j++) {
                sum[j] = vfmaq_n_f32(sum[j], vld1q_f32(v + 4 * j), w);
            }
        }
        for (uint32_t j = 0; j < 4; j++) {
            vst1q_f32(acc + 4 * j, sum[j]);
        }
    }
}

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* Positions [first, first + BLOCK) for every query that sees any of them. */
static void tile_block(tile *t, uint32_t first) {
    const attention_args *a = t->a;
    uint32_t from = UINT32_MAX, to = 0;
    for (uint32_t i = 0; i < t->n_queries; i++) {
        query *q = &t->queries[i];
        q->from = max_u32(q->begin, first);
        q->to = max_u32(q->from, min_u32(q->end, first + BLOCK));
        if (q->from < q->to) {
            from = min_u32(from, q->from);
            to = max_u32(to, q->to);
        }
    }
    if (from >= to) {
        return;
    }
    open_rows(t, first, from, to, a->k, a->k_row_bytes, a->k_dim);
    for (uint32_t i = 0; i < t->n_queries; i++) {
        if (t->queries[i].from < t->queries[i].to) {
            query_weigh(&t->queries[i], t, first);
        }
    }
    open_rows(t, first, from, to, a->v, a->v_row_bytes, a->v_dim);
    for (uint32_t i = 0; i < t->n_queries; i++) {
        if (t->queries[i].from < t->queries[i].to) {
            query_add_values(&t->queries[i], t, first);
        }
    }
}

static void tile_begin_part(tile *t) {
    for (uint32_t i = 0; i < t->n_queries; i++) {
        memset(t->queries[i].part, 0, (t->a->v_dim + 2) * sizeof(float));
        t->queries[i].part[0] = -INFINITY;
    }
}

/* Each query's record moves on by the positions [from, to), which are blocks of one part. */
static void tile_range(tile *t, uint32_t from, uint32_t to) {
    const uint32_t first = max_u32(from, t->begin / BLOCK * BLOCK);
    for (uint32_t at = first; at < min_u32(to, t->end); at += BLOCK) {
        tile_block(t, at);
    }
}

static void tile_init(tile *t, const attention_args *a, uint32_t first, uint32_t n) {
    t->n_queries = n;
    t->begin = UINT32_MAX;
    t->end = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t row = (first + i) / a->n_heads, head = (first + i) % a->n_heads;
        query *q = &t->queries[i];
        q->q = a->q + row * a->q_stride + (size_t)head * a->k_dim;
        q->begin = a->kv_begin[row];
        q->end = a->kv_end[row];
        q->whole[0] = -INFINITY;
        q->whole[1] = 0.0f;
        t->begin = min_u32(t->begin, q->begin);
        t->end = max_u32(t->end, q->end);
    }
}

/* The records of a range of a part, for queries from `first` on. */
static void tile_records(tile *t, uint32_t first) {
    const size_t record_len = (size_t)t->a->v_dim + 2;
    tile_begin_part(t);
    for (uint32_t i = 0; i < t->n_queries && t->a->from % KERNEL_ATTN_SPLIT != 0; i++) {
        memcpy(t->queries[i].part, t->a->partial + (first + i) * record_len,
               record_len * sizeof(float));
    }
    tile_range(t, t->a->from, t->a->to);
    for (uint32_t i = 0; i < t->n_queries; i++) {
        memcpy(t->a->partial + (first + i) * record_len, t->queries[i].part,
               record_len * sizeof(float));
    }
}

/* into <- both; a part without positions has the sum 0 and changes nothing. */
static void record_merge(float *into, const float *part, size_t v_dim) {
    if (part[1] == 0.0f) {
        return;
    }
    if (into[1] == 0.0f) {
        memcpy(into, part, (v_dim + 2) * sizeof(float));
        return;
    }
    const float m = part[0] > into[0] ? part[0] : into[0];
    const float keep = exp_neg(into[0] - m), add = exp_neg(part[0] - m);
    const float added = part[1] * add;
    into[0] = m;
    into[1] = into[1] * keep + added;
    for (size_t i = 2; i < v_dim + 2; i += 4) {
        const float32x4_t kept = vmulq_n_f32(vld1q_f32(into + i), keep);
        vst1q_f32(into + i, vaddq_f32(kept, vmulq_n_f32(vld1q_f32(part + i), add)));
    }
}

/* Query `index` of the rows and heads: out <- the record's average. */
static void query_finish(const attention_args *a, size_t index, const float *record) {
    const size_t row = index / a->n_heads, head = index % a->n_heads;
    float *out = a->out + row * a->out_stride + head * a->v_dim;
    float scale = 1.0f / record[1];
    if (a->sinks != NULL) {
        const float sink = a->sinks[head], m = sink > record[0] ? sink : record[0];
        const float keep = exp_neg(record[0] - m), sum = record[1] * keep;
        scale = keep / (sum + exp_neg(sink - m));
    }
    for (size_t i = 0; i < a->v_dim; i += 4) {
        vst1q_f32(out + i, vmulq_n_f32(vld1q_f32(record + 2 + i), scale));
    }
}

static void tile_finish(tile *t, uint32_t first) {
    const uint32_t last = (t->end - 1) / KERNEL_ATTN_SPLIT;
    for (uint32_t part = t->begin / KERNEL_ATTN_SPLIT; part <= last; part++) {
        tile_begin_part(t);
        tile_range(t, part * KERNEL_ATTN_SPLIT, (part + 1) * KERNEL_ATTN_SPLIT);
        for (uint32_t i = 0; i < t->n_queries; i++) {
            record_merge(t->queries[i].whole, t->queries[i].part, t->a->v_dim);
        }
    }
    for (uint32_t i = 0; i < t->n_queries; i++) {
        query_finish(t->a, first + i, t->queries[i].whole);
    }
}

/* False where the head's shape is the reference's affair. */
static bool is_tuned(const attention_args *a) { return a->k_dim % 16 == 0 && a->v_dim % 16 == 0; }

void attention_merge_f32_neon(const attention_args *a, const float *partials, uint32_t n_parts) {
    if (!is_tuned(a)) {
        attention_merge_f32_ref(a, partials, n_parts);
        return;
    }
    const size_t record_len = (size_t)a->v_dim + 2, n_queries = (size_t)a->n_rows * a->n_heads;
    for (size_t i = 0; i < n_queries; i++) {
        float whole[RECORD_MAX];
        whole[0] = -INFINITY;
        whole[1] = 0.0f;
        for (uint32_t part = 0; part < n_parts; part++) {
            record_merge(whole, partials + (part * n_queries + i) * record_len, a->v_dim);
        }
        query_finish(a, i, whole);
    }
}

static bool try_attend(const attention_args *a, load_row_fn *load_row) {
    if (!is_tuned(a)) {
        return false;
    }
    tile t;
    t.a = a;
    t.load_row = load_row;
    const uint32_t n_queries = a->n_rows * a->n_heads;
    for (uint32_t first = 0; first < n_queries; first += TILE) {
        tile_init(&t, a, first, min_u32(TILE, n_queries - first));
        if (a->partial != NULL) {
            tile_records(&t, first);
        } else {
            tile_finish(&t, first);
        }
    }
    return true;
}

void attention_f32_neon(const attention_args *args) {
    if (!try_attend(args, load_f32)) {
        attention_f32_ref(args);
    }
}

void attention_f16_neon(const attention_args *args) {
    if (!try_attend(args, load_f16)) {
        attention_f16_ref(args);
    }
}

void attention_q8_0_neon(const attention_args *args) {
    if (!try_attend(args, load_q8_0)) {
        attention_q8_0_ref(args);
    }
}

void attention_q4_0_neon(const attention_args *args) {
    if (!try_attend(args, load_q4_0)) {
        attention_q4_0_ref(args);
    }
}
