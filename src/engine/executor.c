/* executor.c - builds batches out of page numbers and tokens, and runs them.
 *
 * The batch's arrays, the cache, the scratch and (where the device does not share the host's
 * memory) the staging of logits are made once, from the plan. A run fills the arrays, enqueues the
 * forward and waits; the scratch is given back at the start of the next run, so that logits stay
 * readable between the two.
 */
#include "engine/executor.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"
#include "plan/shard.h"

#define WARM_BYTES ((uint64_t)2 << 20)

struct executor {
    device *dev;
    dist *dist; /* NULL alone */
    geometry geo;
    plan plan;
    model *model;
    kv_seqs *kv;
    model_cache cache;
    device_scratch scratch;
    tensor logits;
    void *staging; /* [out_rows][n_vocab] F32, NULL when the device is host memory */
    char *read;    /* logits of the last run on the host */
    size_t read_stride_bytes;
    int32_t *token;      /* [batch_rows] */
    int32_t *position;   /* [batch_rows][BATCH_AXES] */
    uint32_t *row_seq;   /* [batch_rows] */
    uint8_t *flags;      /* [batch_rows] */
    uint32_t *out_row;   /* [out_rows] */
    batch_seq *seqs;     /* [seqs] */
    batch_seq *out_seqs; /* [seqs] the part of each whose logits are wanted */
    batch batch, out;
    uint64_t warm_scratch, warm[GEOMETRY_LAYERS_MAX]; /* bytes of scratch and of each layer's pool
                                                       * that have been given memory */
    uint32_t warm_layer;                              /* the next one's turn */
};

static weft_status alloc_arrays(executor *e, weft_error *err) {
    const plan *p = &e->plan;
    e->token = mem_zalloc(MEM_ENGINE, p->batch_rows, sizeof *e->token);
    e->position = mem_zalloc(MEM_ENGINE, (size_t)p->batch_rows * BATCH_AXES, sizeof *e->position);
    e->row_seq = mem_zalloc(MEM_ENGINE, p->batch_rows, sizeof *e->row_seq);
    e->flags = mem_zalloc(MEM_ENGINE, p->batch_rows, sizeof *e->flags);
    e->out_row = mem_zalloc(MEM_ENGINE, p->out_rows, sizeof *e->out_row);
    e->seqs = mem_zalloc(MEM_ENGINE, p->seqs, sizeof *e->seqs);
    e->out_seqs = mem_zalloc(MEM_ENGINE, p->seqs, sizeof *e->out_seqs);
    bool is_whole = e->token != NULL && e->position != NULL && e->row_seq != NULL &&
                    e->flags != NULL && e->out_row != NULL && e->seqs != NULL &&
                    e->out_seqs != NULL;
    if (is_whole && !e->dev->is_host_memory) {
        e->staging = mem_array(MEM_ENGINE, (size_t)p->out_rows * e->geo.n_vocab, sizeof(float));
        is_whole = e->staging != NULL;
    }
    return is_whole
               ? WEFT_OK
               : weft_fail(err, WEFT_NOMEM, "out of memory for a batch of %u rows", p->batch_rows);
}

static weft_status make_kv(executor *e, weft_error *err) {
    kv_config config = {.n_groups = e->plan.n_groups,
                        .seqs_max = e->plan.seqs,
                        .ctx_max = e->plan.ctx,
                        .chunk_max = e->plan.batch_rows};
    for (uint32_t g = 0; g < config.n_groups; g++) {
        config.groups[g] = (kv_group_config){.n_pages = e->plan.groups[g].n_pages,
                                             .window = e->plan.groups[g].window};
    }
    return kv_seqs_create(&e->kv, &config, err);
}

weft_status executor_create(executor **out, device *dev, const weights *w, const geometry *g,
                            const plan *p, const model_load_options *options, dist *ranks,
                            weft_error *err) {
    executor *e = mem_zalloc(MEM_ENGINE, 1, sizeof *e);
    if (e == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for an executor");
    }
    e->dev = dev;
    e->plan = *p;
    e->dist = ranks;
    weft_status status = shard_geometry(&e->geo, g, p->rank, err);
    if (status == WEFT_OK) {
        status = alloc_arrays(e, err);
    }
    if (status == WEFT_OK) {
        status = make_kv(e, err);
    }
    if (status == WEFT_OK) {
        status = model_cache_init(&e->cache, dev, &e->geo, p, err);
    }
    if (status == WEFT_OK) {
        status = device_scratch_init(&e->scratch, dev, p->scratch_bytes, err);
    }
    if (status == WEFT_OK) {
        status = device_reserve(dev, p->workspace_bytes, err);
    }
    if (status == WEFT_OK) {
        status = model_load(&e->model, dev, g, p, w, options, err);
    }
    if (status != WEFT_OK) {
        executor_destroy(&e);
        return status;
    }
    *out = e;
    return WEFT_OK;
}

void executor_destroy(executor **out) {
    executor *e = *out;
    if (e == NULL) {
        return;
    }
    model_destroy(&e->model);
    device_scratch_deinit(&e->scratch);
    model_cache_deinit(&e->cache);
    kv_seqs_destroy(&e->kv);
    mem_free(e->staging);
    mem_free(e->token);
    mem_free(e->position);
    mem_free(e->row_seq);
    mem_free(e->flags);
    mem_free(e->out_row);
    mem_free(e->seqs);
    mem_free(e->out_seqs);
    mem_free(e);
    *out = NULL;
}

kv_seqs *executor_kv(executor *e) { return e->kv; }

const plan *executor_plan(const executor *e) { return &e->plan; }

const geometry *executor_geometry(const executor *e) { return &e->geo; }

/* Appends the last n rows of a sequence to those whose logits are wanted. */
static void add_out(executor *e, const batch_seq *s, uint32_t n) {
    batch_seq *t = &e->out_seqs[e->out.n_seqs++];
    *t = *s;
    t->row_first = e->out.n_rows;
    t->n_rows = n;
    t->n_past += s->n_rows - n;
    e->out.n_rows += n;
}

/* Appends one item's rows to the batch. */
static void add_item(executor *e, const executor_item *item) {
    batch *b = &e->batch;
    batch_seq *s = &e->seqs[b->n_seqs];
    *s = (batch_seq){.row_first = b->n_rows,
                     .n_rows = item->n_tokens,
                     .n_past = item->from,
                     .state_in = BATCH_STATE_NONE,
                     .state_out = BATCH_STATE_NONE};
    for (uint32_t g = 0; g < e->plan.n_groups; g++) {
        s->pages[g] = kv_seq_pages(e->kv, item->seq, g);
    }
    for (uint32_t i = 0; i < item->n_tokens; i++) {
        const uint32_t r = b->n_rows + i;
        const bool is_out = i + item->n_out >= item->n_tokens;
        e->token[r] = item->tokens[i];
        for (uint32_t a = 0; a < BATCH_AXES; a++) {
            e->position[r * BATCH_AXES + a] = (int32_t)(item->from + i);
        }
        e->row_seq[r] = b->n_seqs;
        e->flags[r] = is_out ? BATCH_LOGITS : 0;
        if (is_out) {
            e->out_row[b->n_out++] = r;
        }
    }
    b->n_rows += item->n_tokens;
    b->n_seqs++;
    if (item->n_out > 0) {
        add_out(e, s, item->n_out);
    }
}

static weft_status check_items(const executor *e, const executor_item *items, uint32_t n_items,
                               weft_error *err) {
    uint64_t n_rows = 0, n_out = 0;
    for (uint32_t i = 0; i < n_items; i++) {
        WEFT_ASSERT(items[i].n_tokens > 0);
        WEFT_ASSERT(items[i].n_out <= items[i].n_tokens);
        WEFT_ASSERT(items[i].from + items[i].n_tokens <= kv_seq_tokens(e->kv, items[i].seq));
        n_rows += items[i].n_tokens;
        n_out += items[i].n_out;
    }
    if (n_items > e->plan.seqs || n_rows > e->plan.batch_rows || n_out > e->plan.out_rows) {
        return weft_fail(err, WEFT_LIMIT,
                         "a step of %u sequences, %llu rows, %llu logit rows; planned for %u, %u, "
                         "%u",
                         n_items, (unsigned long long)n_rows, (unsigned long long)n_out,
                         e->plan.seqs, e->plan.batch_rows, e->plan.out_rows);
    }
    return WEFT_OK;
}

weft_status executor_run(executor *e, const executor_item *items, uint32_t n_items,
                         weft_error *err) {
    weft_status status = check_items(e, items, n_items, err);
    if (status != WEFT_OK) {
        return status;
    }
    e->batch = (batch){.token = e->token,
                       .position = e->position,
                       .seq = e->row_seq,
                       .flags = e->flags,
                       .out_row = e->out_row,
                       .seqs = e->seqs,
                       .out = &e->out};
    e->out = (batch){.seqs = e->out_seqs};
    for (uint32_t i = 0; i < n_items; i++) {
        add_item(e, &items[i]);
    }
    status = model_check_batch(e->model, &e->batch, err);
    if (status != WEFT_OK) {
        return status;
    }
    device_scratch_release(&e->scratch, 0);
    const forward f = {.dev = e->dev,
                       .batch = &e->batch,
                       .cache = &e->cache,
                       .scratch = &e->scratch,
                       .dist = e->dist};
    model_forward(e->model, &f, &e->logits);
    status = device_sync(e->dev, err);
    if (status == WEFT_OK && e->batch.n_out > 0) {
        e->read = device_read(e->dev, e->logits, e->staging, &e->read_stride_bytes);
    }
    return status;
}

static uint64_t layer_bytes(const executor *e, const device_kv *layer) {
    return e->plan.groups[layer->group].n_pages * layer->page_stride_bytes;
}

/* The piece at *from, which moves on. False at the end. */
static bool try_touch(void *base, uint64_t bytes, uint64_t *from) {
    if (*from >= bytes) {
        return false;
    }
    const uint64_t left = bytes - *from;
    os_region_touch((char *)base + *from, left < WARM_BYTES ? left : WARM_BYTES);
    *from += WARM_BYTES;
    return true;
}

/* Scratch, then the pools: of every layer the beginning first, as pages are handed out. */
bool executor_try_warm(executor *e) {
    if (!e->dev->is_host_memory) {
        return false;
    }
    if (try_touch(e->scratch.base, e->scratch.bytes, &e->warm_scratch)) {
        return true;
    }
    for (uint32_t n_whole = 0; n_whole < e->cache.n_layers;) {
        const uint32_t l = e->warm_layer;
        e->warm_layer = (l + 1) % e->cache.n_layers;
        if (try_touch(e->cache.layer[l].data, layer_bytes(e, &e->cache.layer[l]), &e->warm[l])) {
            return true;
        }
        n_whole++;
    }
    return false;
}

float *executor_logits(executor *e, uint32_t i) {
    WEFT_ASSERT(i < e->batch.n_out);
    return (float *)(e->read + i * e->read_stride_bytes);
}

uint64_t executor_page_bytes(const executor *e) {
    uint64_t bytes = 0;
    for (uint32_t l = 0; l < e->cache.n_layers && e->dev->is_host_memory; l++) {
        bytes += e->cache.layer[l].page_stride_bytes;
    }
    return bytes;
}

static char *page_in(const device_kv *layer, kv_page page) {
    return (char *)layer->data + (size_t)page * layer->page_stride_bytes;
}

void executor_page_get(const executor *e, const kv_page *pages, void *out) {
    char *to = out;
    for (uint32_t l = 0; l < e->cache.n_layers; l++) {
        const device_kv *layer = &e->cache.layer[l];
        memcpy(to, page_in(layer, pages[layer->group]), layer->page_stride_bytes);
        to += layer->page_stride_bytes;
    }
}

void executor_page_put(executor *e, const kv_page *pages, const void *in) {
    const char *from = in;
    for (uint32_t l = 0; l < e->cache.n_layers; l++) {
        const device_kv *layer = &e->cache.layer[l];
        if (pages[layer->group] != KV_PAGE_NONE) {
            memcpy(page_in(layer, pages[layer->group]), from, layer->page_stride_bytes);
        }
        from += layer->page_stride_bytes;
    }
}

executor_usage executor_usage_now(const executor *e) {
    executor_usage u = {.weights_bytes = e->plan.packed_bytes,
                        .scratch_bytes = e->scratch.bytes,
                        .workspace_bytes = e->plan.workspace_bytes};
    for (uint32_t g = 0; g < e->cache.n_groups; g++) {
        u.kv_pool_bytes += e->cache.bytes[g];
    }
    return u;
}

uint64_t executor_scratch_peak(const executor *e) { return e->scratch.peak_bytes; }
