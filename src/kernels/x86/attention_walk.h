/* attention_walk.h - the way of queries through the context, for every instruction set of this folder.
 *
 * A query is one row and one head. Up to ATTENTION_TILE queries go together, part by part
 * (KERNEL_ATTN_SPLIT) and block by block (KERNEL_ATTN_BLOCK):
 *
 *   enter block  who sees it, and how much of it
 *   scores       of every query that does            (tile_scores)
 *   softmax      running maximum, weights, sum       (query_softmax)
 *   values       weights x values onto acc           (tile_values)
 *
 * and a part's m, l and acc are merged into the query's output, or left as a record for
 * attention_merge. What is named in brackets, and the arithmetic of merging, is the includer's:
 * this header is included once by each attention_<isa>.c, after it said how many lanes a vector
 * has (ATTENTION_LANES), how many queries share registers (ATTENTION_GROUP) and a block
 * (ATTENTION_TILE), and how much their accumulators may take (ATTENTION_ACC_FLOATS).
 *
 * Everything is static: no copy compiled for one instruction set can be linked into another.
 */
#ifndef WEFT_KERNELS_X86_ATTENTION_WALK_H
#define WEFT_KERNELS_X86_ATTENTION_WALK_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernels.h"

#define BLOCK KERNEL_ATTN_BLOCK
#define BLOCK_PAGES (KERNEL_ATTN_BLOCK / PAGE_TOKENS)
#define PAD_FLOATS 16u

/* One row and head on its way through the context. */
typedef struct query {
    const float *q;      /* [k_dim] */
    float *acc;          /* [acc_stride], of the current part */
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
    size_t acc_stride;            /* v_dim in whole vectors */
    query queries[ATTENTION_TILE];
    query *active[ATTENTION_TILE];
    bool is_direct;  /* rows are in the pages, not converted */
    uint32_t lo, hi; /* positions of the block that some active query sees */
    /* K or V of the block: position p is at pages[p / 16] + p % 16 * row_bytes. ahead is where the
     * next block's lie, to be fetched early, with rows of ahead_bytes. */
    const uint8_t *pages[BLOCK_PAGES], *ahead[BLOCK_PAGES];
    size_t row_bytes, ahead_bytes;
    _Alignas(64) float scores[ATTENTION_TILE][BLOCK];
    _Alignas(64) float acc[ATTENTION_ACC_FLOATS];
    _Alignas(64) float block[BLOCK * (KERNEL_HEAD_DIM_MAX + PAD_FLOATS)]; /* K or V, converted */
} tile;

/* ---- the includer's ---- */

static void tile_scores(tile *t, uint32_t block);
static void tile_values(tile *t, uint32_t block);
/* Scores of the block to weights; m and l move on and acc is rescaled. */
static void query_softmax(query *q, const attention_args *a);
/* (sum_m, sum_l, sum) becomes itself merged with (m, l, acc); either may be empty (l = 0). */
static void merge_record(float *sum_m, float *sum_l, float *sum, float m, float l, const float *acc,
                         size_t v_dim);
/* out *= 1 / l, or what a sink leaves of that. */
static void finish(float *out, float m, float l, const float *sink, size_t v_dim);

/* ---- the walk ---- */

static void tile_init(tile *t, const attention_args *a, uint32_t first, uint32_t n) {
    t->n_queries = n;
    t->end = 0;
    for (uint32_t i = 0; i < n; i++) {
        const size_t row = (first + i) / a->n_heads, head = (first + i) % a->n_heads;
        t->queries[i] = (query){
            .q = a->q + row * a->q_stride + head * a->k_dim,
            .out = a->out + row * a->out_stride + head * a->v_dim,
            .acc = t->acc + i * t->acc_stride,
            .sum_m = -INFINITY,
            .begin = a->kv_begin[row],
            .end = a->kv_end[row],
        };
        t->end = a->kv_end[row] > t->end ? a->kv_end[row] : t->end;
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

/* Leaves m, l and acc of one part in every query. */
static void tile_part(tile *t, uint32_t part) {
    const uint32_t blocks = KERNEL_ATTN_SPLIT / BLOCK;
    memset(t->acc, 0, t->n_queries * t->acc_stride * sizeof(float));
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

static void attend(const attention_args *a, weft_dtype dtype) {
    tile t;
    t.a = a;
    t.dtype = dtype;
    const uint32_t n_queries = a->n_rows * a->n_heads;
    t.acc_stride = (a->v_dim + ATTENTION_LANES - 1) / ATTENTION_LANES * (size_t)ATTENTION_LANES;
    const uint32_t fit =
        (uint32_t)(ATTENTION_ACC_FLOATS / t.acc_stride / ATTENTION_GROUP * ATTENTION_GROUP);
    const uint32_t n_tile = fit < ATTENTION_TILE ? fit : ATTENTION_TILE;
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
                query *q = &t.queries[i];
                merge_record(&q->sum_m, &q->sum_l, q->out, q->m, q->l, q->acc, a->v_dim);
            }
        }
        for (uint32_t i = 0; i < t.n_queries; i++) {
            const query *q = &t.queries[i];
            finish(q->out, q->sum_m, q->sum_l,
                   a->sinks != NULL ? &a->sinks[(first + i) % a->n_heads] : NULL, a->v_dim);
        }
    }
}

/* Every row and head from its records of n_parts parts. */
static void merge_parts(const attention_args *a, const float *partials, uint32_t n_parts) {
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

static inline const uint8_t *row_in(const uint8_t *const *pages, uint32_t p, size_t row_bytes) {
    return pages[p / PAGE_TOKENS] + p % PAGE_TOKENS * row_bytes;
}

/* Points pages at the block's K or V, and ahead at the next one's. Only pages of which a position
 * is seen are looked up. */
static void find_pages(tile *t, uint32_t block, const uint8_t *base, size_t row_bytes) {
    const uint32_t page_last = (t->end - 1) / PAGE_TOKENS;
    const uint32_t *table = t->a->pages + block * BLOCK_PAGES;
    for (uint32_t i = t->lo / PAGE_TOKENS; i * PAGE_TOKENS < t->hi; i++) {
        const bool has_next = (block + 1) * BLOCK_PAGES + i <= page_last;
        const size_t next = table[has_next ? i + BLOCK_PAGES : i];
        t->pages[i] = base + (size_t)table[i] * t->a->page_stride_bytes;
        t->ahead[i] = base + next * t->a->page_stride_bytes;
    }
    t->row_bytes = t->ahead_bytes = row_bytes;
}

#endif /* WEFT_KERNELS_X86_ATTENTION_WALK_H */
