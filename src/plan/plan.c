/* plan.c - the arithmetic of memory.
 *
 * Nothing here is an estimate except process_bytes, whose terms are measured once and stated below;
 * a test holds the whole against what the process really uses. docs/memory.md explains each number
 * to people.
 */
#include "plan/plan.h"

#include <stdio.h>

#include "base/compiler.h"
#include "layout/act.h"
#include "layout/attn_split.h"
#include "layout/pack.h"
#include "layout/page.h"
#include "plan/shard.h"
#include "tensor/tensor.h"

/* The process's own share, measured on x86-64 Linux: program and libraries with their data; for
 * each thread the stack it touches and the sampler's scratch (which grows with the vocabulary);
 * the vocabulary's tables. */
#define PROCESS_BASE_BYTES (9u << 20)
#define PROCESS_THREAD_BYTES (128u << 10)
#define PROCESS_SAMPLER_BYTES 12u /* a vocabulary entry and thread */
#define PROCESS_TOKEN_BYTES 48u
#define PROCESS_MERGE_BYTES 56u
#define PROCESS_NODE_BYTES 344u /* of the prefix tree, with its share of the hash tables */

#define PLAN_PAGES_MAX (1u << 30)
#define PLAN_POOLS_BYTES_MAX ((uint64_t)1 << 60)

static uint64_t align_up(uint64_t n) { return (n + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN; }

static uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

uint64_t plan_tensor_bytes(const weights_tensor *t) {
    if (t->n_dims == 1) {
        return align_up(t->n_elements * sizeof(float));
    }
    const uint64_t rows = t->dims[t->n_dims - 2], cols = t->dims[t->n_dims - 1];
    const uint64_t one = pack_weight_bytes(t->dtype, rows, cols);
    const uint64_t n = t->n_elements / (rows * cols); /* matrices: experts of a layer */
    return one > (UINT64_MAX - PLAN_ALIGN) / n ? 0 : align_up(one * n);
}

uint64_t plan_rope_bytes(const geometry_rope *r) { return align_up(r->n_dims / 2 * sizeof(float)); }

/* Each thread packs one panel of a mapped weight at a time. */
static void leave_in_file(plan *p, const weights_tensor *t, uint64_t *panel_bytes) {
    p->mapped_bytes += t->n_bytes;
    *panel_bytes = max_u64(*panel_bytes, pack_panel_bytes(t->dtype, t->dims[t->n_dims - 1]));
}

static weft_status sum_weights(plan *p, const geometry *g, const weights *w, const plan_request *rq,
                               weft_error *err) {
    uint64_t panel_bytes = 0;
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        weights_tensor mine;
        const weights_tensor *t = &mine;
        const weft_status status = shard_tensor(&mine, weights_tensor_at(w, i), g, p->rank, err);
        if (status != WEFT_OK) {
            return status;
        }
        const uint64_t bytes = mine.n_elements > 0 ? plan_tensor_bytes(t) : 0;
        if (bytes == 0 && mine.n_elements > 0) {
            return weft_fail(err, WEFT_UNSUPPORTED,
                             "%s: tensor '" STR_FMT "' has type %s, which has no products yet",
                             weights_path(w), STR_ARG(t->name), weft_dtype_info_of(t->dtype)->name);
        }
        p->params_total += t->n_elements;
        if (rq->maps_weights && t->n_dims > 1) {
            leave_in_file(p, t, &panel_bytes);
            continue;
        }
        p->weights_bytes += t->n_bytes;
        p->packed_bytes += bytes;
    }
    for (uint32_t i = 0; i < g->n_groups; i++) {
        p->packed_bytes += plan_rope_bytes(&g->groups[i].rope);
    }
    p->workspace_bytes = panel_bytes * rq->n_threads;
    p->packed_extra_bytes =
        p->packed_bytes > p->weights_bytes ? p->packed_bytes - p->weights_bytes : 0;
    return WEFT_OK;
}

/* One F32 scratch tensor: rows padded to an odd number of 64 bytes (device_scratch_take does the
 * same). */
static uint64_t rows_bytes(uint64_t rows, uint64_t cols) {
    return rows * (align_up(cols * sizeof(float)) | PLAN_ALIGN);
}

/* The largest part of a layer that has keys and values of t rows and goes on with n of them. */
static uint64_t part_bytes(const geometry *g, uint64_t t, uint64_t n) {
    const uint64_t attention = rows_bytes(t, (uint64_t)g->n_kv_heads * g->k_dim) +
                               rows_bytes(t, (uint64_t)g->n_kv_heads * g->v_dim) +
                               rows_bytes(n, (uint64_t)g->n_heads * g->k_dim) +
                               rows_bytes(n, (uint64_t)g->n_heads * g->v_dim);
    const uint64_t router = rows_bytes(n, g->routing.n_experts);
    return max_u64(attention, max_u64(2 * rows_bytes(n, g->n_ff), router));
}

uint64_t plan_scratch_bytes(const geometry *g, uint32_t batch_rows, uint32_t out_rows) {
    const uint64_t t = batch_rows;
    uint64_t base = 3 * rows_bytes(t, g->n_embd); /* residual, normalised, output of a part */
    for (uint32_t i = 0; i < g->n_groups; i++) {
        base += rows_bytes(t, g->groups[i].rope.n_dims); /* cos and sin */
    }
    /* All rows go on to the end: these are t or, with fewer logits, less than what is next. */
    const uint64_t all = max_u64(part_bytes(g, t, t), out_rows < t ? 0 : rows_bytes(t, g->n_vocab));
    /* Only out rows go on in the last layer, with a residual and angles of their own. */
    const uint64_t n_out = out_rows < t ? out_rows : t - 1;
    const geometry_group *last = &g->groups[g->layer_group[g->n_layers - 1]];
    const uint64_t kept = rows_bytes(n_out, g->n_embd) + rows_bytes(n_out, last->rope.n_dims) +
                          max_u64(part_bytes(g, t, n_out), rows_bytes(n_out, g->n_vocab));
    return base + max_u64(all, kept);
}

static bool has_float_matrices(const weights *w) {
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        const weights_tensor *t = weights_tensor_at(w, i);
        if (t->n_dims > 1 && act_is_float(t->dtype)) {
            return true;
        }
    }
    return false;
}

/* Products, attention and experts use it in turn. */
static uint64_t workspace_bytes(const geometry *g, const weights *w, const plan *p,
                                uint32_t n_threads) {
    const uint64_t widest = max_u64(max_u64(g->n_embd, g->n_ff), (uint64_t)g->n_heads * g->v_dim);
    const attn_shape shape = {.n_heads = g->n_heads,
                              .n_kv_heads = g->n_kv_heads,
                              .v_dim = g->v_dim,
                              .n_threads = n_threads};
    const uint64_t experts =
        g->routing.n_experts > 0
            ? expert_workspace_bytes(&g->routing, p->batch_rows, g->n_embd, g->n_ff_expert)
            : 0;
    return max_u64(
        max_u64(act_workspace_bytes(p->batch_rows, widest, has_float_matrices(w)), experts),
        attn_workspace_bytes(&shape, p->seqs, p->ctx));
}

static uint64_t meta_array_count(const weights *w, const char *key) {
    const meta_value *m = weights_meta(w, key);
    return m != NULL && m->type == META_ARRAY ? m->count : 0;
}

/* Block tables of every sequence, each pool's free list and holder counts, the prefix tree. */
static uint64_t table_bytes(const plan *p) {
    uint64_t n = 5 * (uint64_t)p->seqs * p->n_groups * page_count(p->ctx);
    uint64_t n_nodes = 0;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        n += 9 * (uint64_t)p->groups[i].n_pages;
        n_nodes = max_u64(n_nodes, p->groups[i].n_pages);
    }
    return n + n_nodes * PROCESS_NODE_BYTES;
}

static uint64_t process_bytes(const geometry *g, const weights *w, uint32_t n_threads) {
    const uint64_t thread = PROCESS_THREAD_BYTES + (uint64_t)g->n_vocab * PROCESS_SAMPLER_BYTES;
    return PROCESS_BASE_BYTES + n_threads * thread +
           meta_array_count(w, "tokenizer.ggml.tokens") * PROCESS_TOKEN_BYTES +
           meta_array_count(w, "tokenizer.ggml.merges") * PROCESS_MERGE_BYTES;
}

/* The format's minimum: exact positions, exact window, no padding to pages. */
static uint64_t kv_minimum(const geometry *g, const plan *p) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < g->n_groups; i++) {
        const geometry_group *gg = &g->groups[i];
        const uint64_t tokens = gg->window != 0 && gg->window < p->ctx ? gg->window : p->ctx;
        const uint64_t row = page_row_bytes(p->kv_type, gg->k_dim, gg->v_dim, gg->v_in_k);
        bytes += tokens * row * gg->n_kv_heads * gg->n_layers;
    }
    return bytes * p->seqs;
}

/* Page sizes, and what one sequence of ctx positions may hold. */
static void size_pages(plan *p, const geometry *g) {
    p->n_groups = g->n_groups;
    for (uint32_t i = 0; i < g->n_groups; i++) {
        const geometry_group *gg = &g->groups[i];
        plan_group *pg = &p->groups[i];
        pg->n_layers = gg->n_layers;
        pg->window = gg->window;
        pg->layer_page_bytes =
            page_bytes(p->kv_type, gg->n_kv_heads, gg->k_dim, gg->v_dim, gg->v_in_k);
        pg->page_bytes = pg->layer_page_bytes * gg->n_layers;
        pg->pages_per_seq = page_count_group(gg->window, p->ctx, p->batch_rows);
        if (gg->window != 0) { /* and the window that the prefix tree keeps of the one before */
            pg->pages_per_seq += page_count_group(gg->window, p->ctx, 0);
        }
    }
}

static uint64_t seq_pool_bytes(const plan *p) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        bytes += p->groups[i].pages_per_seq * p->groups[i].page_bytes;
    }
    return bytes;
}

/* Deals the pools out: seqs whole contexts, or as many pages of every group as the budget holds. */
static weft_status size_pools(plan *p, uint64_t kv_mem_bytes, weft_error *err) {
    const uint64_t one = seq_pool_bytes(p); /* below 2^63 by the limits of geometry.c */
    if (one > PLAN_POOLS_BYTES_MAX / p->seqs) {
        return weft_fail(err, WEFT_LIMIT,
                         "KV pools for %u contexts of %u positions would take more than 2^60 bytes",
                         p->seqs, p->ctx);
    }
    const bool is_short = kv_mem_bytes != 0 && kv_mem_bytes < one * p->seqs;
    p->kv_pool_bytes = 0;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        plan_group *pg = &p->groups[i];
        uint64_t n = (uint64_t)pg->pages_per_seq * p->seqs;
        if (is_short) {
            n = (uint64_t)((double)kv_mem_bytes / (double)one * pg->pages_per_seq);
        }
        if (n > PLAN_PAGES_MAX) {
            return weft_fail(err, WEFT_LIMIT,
                             "%llu KV pages for %u contexts of %u positions, the "
                             "most is %u",
                             (unsigned long long)n, p->seqs, p->ctx, PLAN_PAGES_MAX);
        }
        pg->n_pages = (uint32_t)n;
        pg->pool_bytes = pg->n_pages * pg->page_bytes;
        p->kv_pool_bytes += pg->pool_bytes;
    }
    return WEFT_OK;
}

static weft_status check_request(const geometry *g, const plan_request *rq, weft_error *err) {
    if (rq->seqs == 0 || rq->seqs > 65536) {
        return weft_fail(err, WEFT_INVALID, "sequences at once is %u, wanted 1 to 65536", rq->seqs);
    }
    if (rq->ctx > g->ctx_train) {
        return weft_fail(err, WEFT_LIMIT, "context of %u positions, but the model's maximum is %u",
                         rq->ctx, g->ctx_train);
    }
    if (rq->batch_rows > 65536 || (rq->batch_rows != 0 && rq->batch_rows < rq->seqs)) {
        return weft_fail(err, WEFT_INVALID, "batch of %u rows, wanted %u (one a sequence) to 65536",
                         rq->batch_rows, rq->seqs);
    }
    static const weft_dtype kv_types[] = {WEFT_DTYPE_F16, WEFT_DTYPE_F32, WEFT_DTYPE_Q8_0,
                                          WEFT_DTYPE_Q4_0};
    for (size_t i = 0; i < WEFT_LEN(kv_types); i++) {
        if (rq->kv_type == kv_types[i]) {
            const uint32_t block = weft_dtype_info_of(rq->kv_type)->block_len;
            if (g->k_dim % block == 0 && g->v_dim % block == 0) {
                return WEFT_OK;
            }
            return weft_fail(err, WEFT_UNSUPPORTED,
                             "KV type %s stores blocks of %u, which head sizes %u and %u are no "
                             "multiples of",
                             weft_dtype_info_of(rq->kv_type)->name, block, g->k_dim, g->v_dim);
        }
    }
    return weft_fail(err, WEFT_INVALID, "KV type %s is not one of F16, F32, Q8_0, Q4_0",
                     rq->kv_type < WEFT_DTYPE_COUNT ? weft_dtype_info_of(rq->kv_type)->name : "?");
}

static void total_up(plan *p) {
    p->total_bytes = p->weights_bytes + p->packed_extra_bytes + p->kv_pool_bytes +
                     p->state_pool_bytes + p->scratch_bytes + p->workspace_bytes + p->process_bytes;
}

uint32_t plan_batch_rows_default(uint32_t n_threads) {
    enum { LEAST = 512, MOST = 2048, EACH = 64 };
    const uint64_t rows = EACH * (uint64_t)n_threads;
    return rows < LEAST ? LEAST : rows > MOST ? MOST : (uint32_t)rows;
}

static void fill_request(plan *p, const geometry *g, const plan_request *rq) {
    p->ctx = rq->ctx != 0
                 ? rq->ctx
                 : (g->ctx_train < PLAN_CTX_RUN_DEFAULT ? g->ctx_train : PLAN_CTX_RUN_DEFAULT);
    p->seqs = rq->seqs;
    p->batch_rows = rq->batch_rows != 0 ? rq->batch_rows : plan_batch_rows_default(rq->n_threads);
    if (p->batch_rows < p->seqs) {
        p->batch_rows = p->seqs;
    }
    if (rq->batch_rows == 0 && p->batch_rows > p->ctx * (uint64_t)p->seqs) {
        p->batch_rows = p->ctx * p->seqs; /* a tiny context needs no more */
    }
    p->out_rows = rq->out_rows != 0 ? rq->out_rows : p->seqs;
    p->kv_type = rq->kv_type;
    p->rank = rq->rank;
}

/* Bytes of the pools if one sequence had ctx positions. */
static uint64_t pools_at(const plan *p, const geometry *g, uint32_t ctx, uint32_t seqs) {
    plan probe = *p;
    probe.ctx = ctx;
    size_pages(&probe, g);
    return seq_pool_bytes(&probe) * seqs;
}

/* The longest context that `bytes` of pools hold for each of seqs sequences; 0 = none. */
static uint32_t ctx_that_fits(const plan *p, const geometry *g, uint64_t bytes, uint32_t seqs) {
    uint32_t low = 0, high = page_count(p->ctx);
    while (low < high) {
        const uint32_t mid = low + (high - low + 1) / 2;
        if (pools_at(p, g, mid * PAGE_TOKENS, seqs) <= bytes) {
            low = mid;
        } else {
            high = mid - 1;
        }
    }
    return low * PAGE_TOKENS < p->ctx ? low * PAGE_TOKENS : p->ctx;
}

/* kv_bytes: what the budget leaves for the pools of seqs sequences. */
static weft_status refuse_budget(const plan *p, const geometry *g, const char *what,
                                 uint64_t budget, uint64_t needed, uint64_t kv_bytes, uint32_t seqs,
                                 weft_error *err) {
    char have[32], want[32];
    plan_format_bytes(budget, have, sizeof have);
    plan_format_bytes(needed, want, sizeof want);
    uint32_t fits = ctx_that_fits(p, g, kv_bytes, seqs);
    uint32_t seqs_that_fit = seqs;
    if (fits == 0) {
        fits = ctx_that_fits(p, g, kv_bytes, 1);
        seqs_that_fit = 1;
    }
    if (fits == 0) {
        return weft_fail(err, WEFT_LIMIT, "%s of %s is too small: %s are needed", what, have, want);
    }
    if (seqs == 1) {
        return weft_fail(err, WEFT_LIMIT,
                         "%s of %s is too small: %s are needed for a context of %u; %u would fit",
                         what, have, want, p->ctx, fits);
    }
    return weft_fail(err, WEFT_LIMIT,
                     "%s of %s is too small: %s are needed for %u contexts of %u; %u of %u would "
                     "fit",
                     what, have, want, seqs, p->ctx, seqs_that_fit, fits);
}

weft_status plan_make(plan *out, const geometry *whole, const weights *w,
                      const plan_request *request, weft_error *err) {
    plan p = {0};
    geometry mine;
    const geometry *g = &mine;
    weft_status status = check_request(whole, request, err);
    if (status == WEFT_OK) {
        status = shard_geometry(&mine, whole, request->rank, err);
    }
    if (status == WEFT_OK && request->maps_weights && !slice_is_alone(request->rank)) {
        status = weft_fail(err, WEFT_UNSUPPORTED,
                           "weights that stay in the file are read whole: %u ranks cannot "
                           "share them",
                           request->rank.size);
    }
    if (status != WEFT_OK) {
        return status;
    }
    fill_request(&p, g, request);
    status = sum_weights(&p, whole, w, request, err);
    if (status != WEFT_OK) {
        return status;
    }
    size_pages(&p, g);
    status = size_pools(&p, request->kv_mem_bytes, err);
    if (status != WEFT_OK) {
        return status;
    }
    p.kv_bytes = kv_minimum(g, &p);
    p.scratch_bytes = plan_scratch_bytes(g, p.batch_rows, p.out_rows);
    p.workspace_bytes += workspace_bytes(g, w, &p, request->n_threads);
    p.process_bytes = process_bytes(g, w, request->n_threads) + table_bytes(&p);
    total_up(&p);
    const uint64_t one = seq_pool_bytes(&p);
    if (p.kv_pool_bytes < one) {
        return refuse_budget(&p, g, "KV memory", request->kv_mem_bytes, one, request->kv_mem_bytes,
                             1, err);
    }
    if (request->mem_bytes != 0 && p.total_bytes > request->mem_bytes) {
        const uint64_t rest = p.total_bytes - p.kv_pool_bytes;
        const uint64_t kv_bytes = request->mem_bytes > rest ? request->mem_bytes - rest : 0;
        return refuse_budget(&p, g, "memory budget", request->mem_bytes, p.total_bytes, kv_bytes,
                             p.seqs, err);
    }
    *out = p;
    return WEFT_OK;
}

void plan_format_bytes(uint64_t bytes, char *out, size_t out_bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024.0 && unit + 1 < WEFT_LEN(units)) {
        value /= 1024.0;
        unit++;
    }
    snprintf(out, out_bytes, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
}
