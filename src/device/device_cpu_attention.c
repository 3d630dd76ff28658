/* device_cpu_attention.c - the operations that touch the paged cache.
 *
 * Attention is cut into tasks by sequence, tile of query rows and KV head, and where that leaves
 * threads without work also over the context, as layout/attn_split.h decides:
 *
 *   sequence 0: tile 0 | tile 1 | ...   sequence 1: part 0 | part 1 | ...      x  n_kv_heads
 *
 * A tile shares each block of keys it loads, and so do single rows of several sequences whose first
 * pages are the same. Neither who shares nor the cut over the context changes a row's result: the
 * kernel reduces every row over key blocks aligned to absolute position 0 and merges parts in
 * ascending order (docs/numerics.md).
 */
#include "base/check.h"
#include "device/device_cpu_impl.h"

#define TILE_ROWS 64u /* rows that a task stores */

/* Where one head's keys and values lie in a page. */
typedef struct kv_place {
    size_t k_first, v_first; /* bytes from the page's beginning */
    size_t k_row_bytes, v_row_bytes;
    bool k_in_columns;
} kv_place;

static kv_place place_of(const device_cpu *d, const device_kv *kv, uint32_t head) {
    const size_t k_row_bytes = dtype_row_bytes(kv->dtype, kv->k_dim);
    const size_t k_first = (size_t)head * PAGE_TOKENS * k_row_bytes;
    if (kv->v_in_k) {
        return (kv_place){k_first, k_first, k_row_bytes, k_row_bytes, false};
    }
    const size_t v_row_bytes = dtype_row_bytes(kv->dtype, kv->v_dim);
    const size_t v_first = PAGE_TOKENS * (kv->n_kv_heads * k_row_bytes + head * v_row_bytes);
    const bool k_in_columns = d->kernels.kv_store_column[kv->dtype] != NULL;
    return (kv_place){k_first, v_first, k_row_bytes, v_row_bytes, k_in_columns};
}

typedef struct tile_job {
    const device_cpu *d;
    const op_kv_store *store;
    const batch *batch;
    uint32_t n_kv_heads;
} tile_job;

/* Finds which rows a task covers. Tasks count tiles over all sequences, head fastest. */
static const batch_seq *find_tile(const tile_job *job, uint32_t task, uint32_t *row_from,
                                  uint32_t *n_rows, uint32_t *head) {
    *head = task % job->n_kv_heads;
    uint32_t tile = task / job->n_kv_heads;
    const batch_seq *s = job->batch->seqs;
    for (;; s++) {
        const uint32_t n_tiles = (s->n_rows + TILE_ROWS - 1) / TILE_ROWS;
        if (tile < n_tiles) {
            break;
        }
        tile -= n_tiles;
    }
    *row_from = tile * TILE_ROWS;
    const uint32_t left = s->n_rows - *row_from;
    *n_rows = left < TILE_ROWS ? left : TILE_ROWS;
    return s;
}

static uint32_t count_tiles(const batch *b) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        n += (b->seqs[i].n_rows + TILE_ROWS - 1) / TILE_ROWS;
    }
    return n;
}

static void store_task(void *arg, uint32_t task, uint32_t thread) {
    const tile_job *job = arg;
    const device_kv *kv = &job->store->kv;
    (void)thread;
    uint32_t row, n_rows, head;
    const batch_seq *s = find_tile(job, task, &row, &n_rows, &head);
    const kernels_cpu *kernels = &job->d->kernels;
    const kv_place p = place_of(job->d, kv, head);
    kv_store_fn *store = kernels->kv_store[kv->dtype];
    for (uint32_t r = row; r < row + n_rows; r++) {
        const uint32_t pos = s->n_past + r, at = pos % PAGE_TOKENS;
        char *page =
            (char *)kv->data + s->pages[kv->group][pos / PAGE_TOKENS] * kv->page_stride_bytes;
        const float *k =
            device_cpu_row(&job->store->k, s->row_first + r) + (size_t)head * kv->k_dim;
        if (p.k_in_columns) {
            kernels->kv_store_column[kv->dtype](page + p.k_first, at, k, kv->k_dim);
        } else {
            store(page + p.k_first + at * p.k_row_bytes, k, kv->k_dim);
        }
        if (!kv->v_in_k) {
            const float *v = device_cpu_row(&job->store->v, s->row_first + r);
            store(page + p.v_first + at * p.v_row_bytes, v + (size_t)head * kv->v_dim, kv->v_dim);
        }
    }
}

void device_cpu_kv_store(device *dev, const op_kv_store *op) {
    device_cpu *d = device_cpu_of(dev);
    tile_job job = {.d = d, .store = op, .batch = op->batch, .n_kv_heads = op->kv.n_kv_heads};
    const uint32_t n_tasks = count_tiles(op->batch) * op->kv.n_kv_heads;
    if (op->batch->n_rows <= 4) { /* a few short copies: not worth waking anyone */
        for (uint32_t t = 0; t < n_tasks; t++) {
            store_task(&job, t, 0);
        }
        return;
    }
    pool_run(d->pool, store_task, &job, n_tasks);
}

/* Cache positions a row sees: causal, limited by the window. */
static void visible_range(const op_attention *op, const batch_seq *s, uint32_t row, uint32_t *begin,
                          uint32_t *end) {
    *end = s->n_past + row + 1;
    *begin = op->window != 0 && *end > op->window ? *end - op->window : 0;
}

/* The workspace while attention runs: shares [n_seqs], then the results of parts. */
typedef struct attention_job {
    const device_cpu *d;
    const op_attention *op;
    attn_share *shares;
    float *partials;
    attn_tasks tasks;
} attention_job;

/* Rows [row, row + n_rows) of a sequence against one KV head. */
static attention_args make_args(const attention_job *job, const batch_seq *s, uint32_t row,
                                uint32_t n_rows, uint32_t head) {
    const op_attention *op = job->op;
    const device_kv *kv = &op->kv;
    const uint32_t group = op->n_heads / kv->n_kv_heads;
    const kv_place p = place_of(job->d, kv, head);
    const uint8_t *base = kv->data;
    return (attention_args){
        .out = device_cpu_row(&op->out, s->row_first + row) + (size_t)head * group * kv->v_dim,
        .q = device_cpu_row(&op->q, s->row_first + row) + (size_t)head * group * kv->k_dim,
        .out_stride = op->out.stride_bytes / sizeof(float),
        .q_stride = op->q.stride_bytes / sizeof(float),
        .k = base + p.k_first,
        .v = base + p.v_first,
        .page_stride_bytes = kv->page_stride_bytes,
        .k_row_bytes = p.k_row_bytes,
        .v_row_bytes = p.v_row_bytes,
        .k_in_columns = p.k_in_columns,
        .pages = s->pages[kv->group],
        .sinks =
            op->sinks.data != NULL ? (const float *)op->sinks.data + (size_t)head * group : NULL,
        .n_rows = n_rows,
        .n_heads = group,
        .k_dim = kv->k_dim,
        .v_dim = kv->v_dim,
        .scale = op->scale,
        .softcap = op->softcap,
    };
}

/* Results of a sequence's parts for one KV head, [n_parts][n_rows][heads][2 + v_dim]. */
static float *partials_of(const attention_job *job, const attn_share *share, uint32_t head) {
    const uint32_t group = job->op->n_heads / job->op->kv.n_kv_heads;
    const size_t part_len = (size_t)share->n_rows * group * (job->op->kv.v_dim + 2);
    return job->partials + share->partial_first + (size_t)head * share->n_parts * part_len;
}

/* Records of a group's common parts for one KV head, [n_shared][n_members][heads][2 + v_dim]. */
static float *group_records(const attention_job *job, const attn_share *leader, uint32_t head,
                            size_t record_len) {
    return job->partials + leader->shared_first +
           (size_t)head * leader->n_shared * leader->n_members * record_len;
}

/* Part number `part` of a group's members, or what they have in common of it: all see all that. */
static void attend_group(const attention_job *job, const attn_share *leader, uint32_t part,
                         uint32_t head) {
    const batch_seq *s = &job->op->batch->seqs[leader - job->shares];
    uint32_t kv_begin[ATTN_TILE_ROWS], kv_end[ATTN_TILE_ROWS];
    for (uint32_t r = 0; r < leader->n_members; r++) {
        kv_begin[r] = 0;
        kv_end[r] = leader->shared_end;
    }
    attention_args args = make_args(job, s, 0, leader->n_members, head);
    const size_t record_len = (size_t)args.n_heads * (args.v_dim + 2);
    args.kv_begin = kv_begin;
    args.kv_end = kv_end;
    args.from = part * KERNEL_ATTN_SPLIT;
    args.to = (part + 1) * KERNEL_ATTN_SPLIT;
    args.partial = group_records(job, leader, head, record_len) +
                   (size_t)part * leader->n_members * record_len;
    job->d->kernels.attention[job->op->kv.dtype](&args);
}

static void attention_task(void *arg, uint32_t task, uint32_t thread) {
    const attention_job *job = arg;
    const op_attention *op = job->op;
    (void)thread;
    const attn_share *share = attn_share_of(job->shares, op->batch->n_seqs, task);
    const batch_seq *s = &op->batch->seqs[share - job->shares];
    const uint32_t head = (task - share->task_first) % op->kv.n_kv_heads;
    uint32_t index = (task - share->task_first) / op->kv.n_kv_heads;
    if (share->n_members > 0 && index < share->n_shared) {
        attend_group(job, share, index, head);
        return;
    }
    index += share->n_members > 0 ? 0 : share->n_shared;
    uint32_t row = 0, n_rows = s->n_rows;
    if (share->n_parts == 0) { /* the last tiles see most and go first */
        const uint32_t tile_rows = job->tasks.tile_rows;
        row = (s->n_rows - 1) / tile_rows * tile_rows - index * tile_rows;
        n_rows = s->n_rows - row < tile_rows ? s->n_rows - row : tile_rows;
    }
    uint32_t kv_begin[ATTN_TILE_ROWS], kv_end[ATTN_TILE_ROWS];
    for (uint32_t r = 0; r < n_rows; r++) {
        visible_range(op, s, row + r, &kv_begin[r], &kv_end[r]);
    }
    attention_args args = make_args(job, s, row, n_rows, head);
    args.kv_begin = kv_begin;
    args.kv_end = kv_end;
    if (share->n_parts > 0) {
        const size_t part_len = (size_t)n_rows * args.n_heads * (args.v_dim + 2);
        args.partial = partials_of(job, share, head) + index * part_len;
        args.from = (share->kv_begin / KERNEL_ATTN_SPLIT + index) * KERNEL_ATTN_SPLIT;
        args.to = args.from + KERNEL_ATTN_SPLIT;
    }
    job->d->kernels.attention[op->kv.dtype](&args);
}

/* A member's records of the common parts, the last of which goes on with its own positions. */
static void take_shared(const attention_job *job, const attn_share *share, uint32_t head,
                        const attention_args *args, float *partials) {
    const attn_share *leader = &job->shares[share->leader];
    const size_t len = (size_t)args->n_heads * (args->v_dim + 2);
    const float *records = group_records(job, leader, head, len) + (share - leader) * len;
    for (uint32_t p = 0; p < share->n_shared; p++) {
        memcpy(partials + p * len, records + (size_t)p * leader->n_members * len,
               len * sizeof(float));
    }
    if (share->shared_end % KERNEL_ATTN_SPLIT != 0) {
        attention_args rest = *args;
        rest.kv_begin = &share->kv_begin;
        rest.kv_end = &share->kv_end;
        rest.from = share->shared_end;
        rest.to = share->n_shared * KERNEL_ATTN_SPLIT;
        rest.partial = partials + (share->n_shared - 1) * len;
        job->d->kernels.attention[job->op->kv.dtype](&rest);
    }
}

/* Puts the parts of every cut sequence together; task = sequence x KV head. */
static void merge_task(void *arg, uint32_t task, uint32_t thread) {
    const attention_job *job = arg;
    (void)thread;
    const uint32_t head = task % job->op->kv.n_kv_heads;
    const attn_share *share = &job->shares[task / job->op->kv.n_kv_heads];
    if (share->n_parts > 0) {
        const batch_seq *s = &job->op->batch->seqs[task / job->op->kv.n_kv_heads];
        const attention_args args = make_args(job, s, 0, s->n_rows, head);
        float *partials = partials_of(job, share, head);
        if (share->n_shared > 0) {
            take_shared(job, share, head, &args, partials);
        }
        job->d->kernels.attention_merge(&args, partials, share->n_parts);
    }
}

/* Leading positions of sequence i's context that are those of the sequence before it, too: single
 * rows that stand next to each other, and see all of them. */
static uint32_t common_positions(const attention_job *job, uint32_t i) {
    const batch_seq *s = &job->op->batch->seqs[i], *before = s - 1;
    const attn_share *share = &job->shares[i];
    if (i == 0 || s->n_rows != 1 || before->n_rows != 1 || s->row_first != before->row_first + 1 ||
        share->kv_begin != 0 || share[-1].kv_begin != 0) {
        return 0;
    }
    const uint32_t end = share->kv_end < share[-1].kv_end ? share->kv_end : share[-1].kv_end;
    const uint32_t *pages = s->pages[job->op->kv.group], *others = before->pages[job->op->kv.group];
    uint32_t page = 0;
    while ((page + 1) * PAGE_TOKENS <= end && pages[page] == others[page]) {
        page++;
    }
    return page * PAGE_TOKENS;
}

void device_cpu_attention(device *dev, const op_attention *op) {
    device_cpu *d = device_cpu_of(dev);
    const batch *b = op->batch;
    WEFT_DEBUG_ASSERT(op->n_heads % op->kv.n_kv_heads == 0);
    WEFT_ASSERT(op->kv.k_dim <= KERNEL_HEAD_DIM_MAX);
    WEFT_ASSERT(op->kv.v_dim <= (op->kv.v_in_k ? op->kv.k_dim : KERNEL_HEAD_DIM_MAX));
    const size_t shares_bytes = b->n_seqs * sizeof(attn_share);
    WEFT_ASSERT(shares_bytes <= d->workspace_bytes);
    attention_job job = {.d = d,
                         .op = op,
                         .shares = (attn_share *)(void *)d->workspace,
                         .partials = (float *)(void *)(d->workspace + shares_bytes)};
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        const batch_seq *s = &b->seqs[i];
        uint32_t begin, end, last;
        visible_range(op, s, 0, &begin, &end);
        visible_range(op, s, s->n_rows - 1, &last, &end);
        job.shares[i] = (attn_share){.n_rows = s->n_rows, .kv_begin = begin, .kv_end = end};
        job.shares[i].n_common = common_positions(&job, i);
    }
    const attn_shape shape = {
        .n_heads = op->n_heads,
        .n_kv_heads = op->kv.n_kv_heads,
        .v_dim = op->kv.v_dim,
        .n_threads = pool_threads(d->pool),
        .partial_floats = (d->workspace_bytes - shares_bytes) / sizeof(float),
    };
    job.tasks = attn_split(&shape, job.shares, b->n_seqs);
    pool_run(d->pool, attention_task, &job, job.tasks.n_tasks);
    if (job.tasks.n_split > 0) {
        pool_run(d->pool, merge_task, &job, b->n_seqs * op->kv.n_kv_heads);
    }
}
