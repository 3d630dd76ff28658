/* device_cpu_attention.c - the operations that touch the paged cache.
 *
 * Attention is cut into tasks by sequence, tile of query rows and KV head:
 *
 *   sequence 0: tile 0 | tile 1 | ...   sequence 1: tile 0 | ...      x  n_kv_heads
 *
 * A tile shares each block of keys it loads; its size never changes a row's result, because the
 * kernel reduces every row over key blocks aligned to absolute position 0 (docs/numerics.md).
 */
#include "base/check.h"
#include "device/device_cpu_impl.h"

#define TILE_ROWS 64u

typedef struct kv_place {
    char *k, *v; /* of head 0 at one position */
    size_t k_row_bytes, v_row_bytes;
} kv_place;

static kv_place place_of(const device_kv *kv, const uint32_t *pages, uint32_t pos) {
    kv_place p;
    p.k_row_bytes = dtype_row_bytes(kv->dtype, kv->k_dim);
    p.v_row_bytes = dtype_row_bytes(kv->dtype, kv->v_dim);
    char *page = (char *)kv->data + pages[pos / PAGE_TOKENS] * kv->page_stride_bytes;
    const size_t k_bytes = (size_t)kv->n_kv_heads * PAGE_TOKENS * p.k_row_bytes;
    p.k = page + pos % PAGE_TOKENS * p.k_row_bytes;
    p.v = page + k_bytes + pos % PAGE_TOKENS * p.v_row_bytes;
    return p;
}

typedef struct tile_job {
    const device_cpu *d;
    const op_attention *attention;
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
    kv_store_fn *store = job->d->kernels.kv_store[kv->dtype];
    for (uint32_t r = row; r < row + n_rows; r++) {
        const kv_place p = place_of(kv, s->pages[kv->group], s->n_past + r);
        const float *k = device_cpu_row(&job->store->k, s->row_first + r);
        const float *v = device_cpu_row(&job->store->v, s->row_first + r);
        store(p.k + (size_t)head * PAGE_TOKENS * p.k_row_bytes, k + (size_t)head * kv->k_dim,
              kv->k_dim);
        store(p.v + (size_t)head * PAGE_TOKENS * p.v_row_bytes, v + (size_t)head * kv->v_dim,
              kv->v_dim);
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

static void attention_task(void *arg, uint32_t task, uint32_t thread) {
    const tile_job *job = arg;
    const op_attention *op = job->attention;
    const device_kv *kv = &op->kv;
    (void)thread;
    uint32_t row, n_rows, head;
    const batch_seq *s = find_tile(job, task, &row, &n_rows, &head);
    uint32_t kv_begin[TILE_ROWS], kv_end[TILE_ROWS];
    for (uint32_t r = 0; r < n_rows; r++) {
        visible_range(op, s, row + r, &kv_begin[r], &kv_end[r]);
    }
    const uint32_t group = op->n_heads / kv->n_kv_heads;
    const size_t k_row_bytes = dtype_row_bytes(kv->dtype, kv->k_dim);
    const size_t v_row_bytes = dtype_row_bytes(kv->dtype, kv->v_dim);
    const size_t k_bytes = (size_t)kv->n_kv_heads * PAGE_TOKENS * k_row_bytes;
    const uint8_t *base = kv->data;
    const attention_args args = {
        .out = device_cpu_row(&op->out, s->row_first + row) + (size_t)head * group * kv->v_dim,
        .q = device_cpu_row(&op->q, s->row_first + row) + (size_t)head * group * kv->k_dim,
        .out_stride = op->out.stride_bytes / sizeof(float),
        .q_stride = op->q.stride_bytes / sizeof(float),
        .k = base + (size_t)head * PAGE_TOKENS * k_row_bytes,
        .v = base + k_bytes + (size_t)head * PAGE_TOKENS * v_row_bytes,
        .page_stride_bytes = kv->page_stride_bytes,
        .k_row_bytes = k_row_bytes,
        .v_row_bytes = v_row_bytes,
        .pages = s->pages[kv->group],
        .kv_begin = kv_begin,
        .kv_end = kv_end,
        .sinks =
            op->sinks.data != NULL ? (const float *)op->sinks.data + (size_t)head * group : NULL,
        .n_rows = n_rows,
        .n_heads = group,
        .k_dim = kv->k_dim,
        .v_dim = kv->v_dim,
        .scale = op->scale,
        .softcap = op->softcap,
    };
    job->d->kernels.attention[kv->dtype](&args);
}

void device_cpu_attention(device *dev, const op_attention *op) {
    device_cpu *d = device_cpu_of(dev);
    WEFT_DEBUG_ASSERT(op->n_heads % op->kv.n_kv_heads == 0);
    WEFT_ASSERT(op->kv.k_dim <= KERNEL_HEAD_DIM_MAX);
    WEFT_ASSERT(op->kv.v_dim <= KERNEL_HEAD_DIM_MAX);
    tile_job job = {.d = d, .attention = op, .batch = op->batch, .n_kv_heads = op->kv.n_kv_heads};
    pool_run(d->pool, attention_task, &job, count_tiles(op->batch) * op->kv.n_kv_heads);
}
