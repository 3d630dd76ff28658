/* model.c - loads a model of any known architecture and runs batches through it.
 *
 * What all decoders share stands here: the embedding, the output norm and matrix, one device
 * allocation for every tensor, and the frame of a forward pass (embed, layers, head). What differs
 * is in the architecture's own file behind model_arch.
 */
#include "model/model.h"

#include <string.h>

#include "base/checksum.h"
#include "base/log.h"
#include "base/mem.h"
#include "layout/pack.h"
#include "model/model_impl.h"
#include "plan/shard.h"

static const model_arch *const archs[] = {&model_arch_llama, &model_arch_gemma3, &model_arch_qwen3,
                                          &model_arch_qwen3moe};

static const model_arch *find_arch(const char *name) {
    for (size_t i = 0; i < WEFT_LEN(archs); i++) {
        if (strcmp(archs[i]->name, name) == 0) {
            return archs[i];
        }
    }
    return NULL;
}

static weft_status load_ends(model *m, loader *ld) {
    const geometry *g = ld->whole;
    linear embedding = {0};
    loader_set_layer(ld, LOADER_GLOBAL);
    weft_status status = loader_linear(ld, "token_embd", g->n_vocab, g->n_embd, &embedding);
    if (status != WEFT_OK) {
        return status;
    }
    if (embedding.bias.data != NULL) {
        return weft_fail(ld->err, WEFT_UNSUPPORTED, "%s: tensor 'token_embd.bias' is not supported",
                         weights_path(ld->w));
    }
    m->embedding = embedding.w;
    m->output = embedding;
    if (!g->has_tied_head) {
        status = loader_linear(ld, "output", g->n_vocab, g->n_embd, &m->output);
    }
    /* Weights of 8 bits are worth more than 8 of x where the result is the logits; rows are few. */
    m->output.w.input =
        m->output.w.dtype == WEFT_DTYPE_Q8_0 ? DEVICE_INPUT_KEPT : DEVICE_INPUT_EVEN;
    if (status == WEFT_OK) {
        status = loader_vector(ld, "output_norm", g->n_embd, &m->output_norm);
    }
    for (uint32_t i = 0; i < g->n_groups && status == WEFT_OK; i++) {
        status = loader_rope(ld, &g->groups[i].rope, m->arch->pairing, &m->rope[i]);
    }
    return status;
}

static weft_status load_all(model *m, loader *ld) {
    weft_status status = load_ends(m, ld);
    for (uint32_t i = 0; i < m->geo.n_layers && status == WEFT_OK; i++) {
        loader_set_layer(ld, i);
        status = m->arch->load_layer(ld, ld->whole, (char *)m->layers + i * m->arch->layer_bytes);
    }
    if (status == WEFT_OK) {
        status = loader_check_unused(ld);
    }
    return status;
}

/* One walk over all tensors of the file. *ld is what the walk found out. */
static weft_status load_tensors(model *m, loader *ld, uint64_t total_bytes) {
    uint8_t *is_used = mem_zalloc(MEM_MODEL, weights_tensor_count(ld->w), 1);
    if (is_used == NULL) {
        return weft_fail(ld->err, WEFT_NOMEM, "out of memory for a model of %u layers",
                         m->geo.n_layers);
    }
    ld->dev = m->dev;
    ld->memory = m->memory;
    ld->memory_bytes = m->memory_bytes;
    ld->total_bytes = total_bytes;
    ld->is_used = is_used;
    const weft_status status = load_all(m, ld);
    mem_free(is_used);
    ld->is_used = NULL;
    return status;
}

/* All that the packed bytes depend on. */
static pack_cache_key cache_key(const geometry *g, const plan *p, const weights *w) {
    const uint64_t layout[] = {PACK_LAYOUT_VERSION, PACK_PANEL_ROWS, PACK_ALIGN_BYTES, PLAN_ALIGN,
                               p->packed_bytes,     p->rank.rank,    p->rank.size};
    return (pack_cache_key){
        .model = weights_identity(w),
        .layout = checksum(layout, sizeof layout, checksum(g->arch, strlen(g->arch), 0))};
}

/* From the cache, if it has an image that this file would give: then m->memory is set. */
static weft_status load_cached(model *m, const pack_cache *cache, pack_cache_key key, loader ld,
                               uint64_t total_bytes) {
    if (!pack_cache_try_map(&m->image, cache, key, m->memory_bytes)) {
        return WEFT_OK;
    }
    m->memory = (void *)(uintptr_t)m->image.data; /* never written: is_packed_already */
    ld.is_packed_already = true;
    const weft_status status = load_tensors(m, &ld, total_bytes);
    if (status != WEFT_OK || (!ld.is_unlike && ld.order == m->image.order)) {
        return status;
    }
    LOG_WARN("%s: its packed weights in the cache are others; packing anew", weights_path(ld.w));
    pack_cache_unmap(&m->image);
    m->memory = NULL;
    return WEFT_OK;
}

static weft_status load_weights(model *m, const geometry *whole, const plan *p, const weights *w,
                                const model_load_options *options, weft_error *err) {
    loader ld = {.w = w,
                 .options = options,
                 .whole = whole,
                 .rank = p->rank,
                 .err = err,
                 .maps_weights = p->mapped_bytes > 0};
    const bool can_cache = options != NULL && m->dev->is_host_memory && !ld.maps_weights;
    const pack_cache *cache = can_cache ? options->cache : NULL;
    const pack_cache_key key = cache_key(&m->geo, p, w);
    weft_status status = WEFT_OK;
    if (cache != NULL && key.model != 0) {
        status = load_cached(m, cache, key, ld, p->weights_bytes);
    }
    if (status != WEFT_OK || m->memory != NULL) {
        return status;
    }
    status = device_alloc(m->dev, &m->memory, m->memory_bytes, err);
    if (status == WEFT_OK) {
        status = load_tensors(m, &ld, p->weights_bytes + p->mapped_bytes);
    }
    if (status == WEFT_OK && cache != NULL && key.model != 0) {
        pack_cache_write_start(&m->writer, cache, key, ld.order, m->memory, m->memory_bytes);
    }
    return status;
}

weft_status model_load(model **out, device *dev, const geometry *g, const plan *p, const weights *w,
                       const model_load_options *options, weft_error *err) {
    const model_arch *arch = find_arch(g->arch);
    if (arch == NULL) {
        return weft_fail(err, WEFT_UNSUPPORTED, "architecture '%s' is not supported", g->arch);
    }
    model *m = mem_zalloc(MEM_MODEL, 1, sizeof *m);
    if (m != NULL) {
        *m = (model){.arch = arch, .dev = dev, .memory_bytes = p->packed_bytes};
        /* Holding it changes no part of what a reader sees. */
        m->file = p->mapped_bytes > 0 ? weights_retain((weights *)(uintptr_t)w) : NULL;
        m->layers = mem_zalloc(MEM_MODEL, g->n_layers, arch->layer_bytes);
    }
    weft_status status =
        m == NULL || m->layers == NULL
            ? weft_fail(err, WEFT_NOMEM, "out of memory for a model of %u layers", g->n_layers)
            : shard_geometry(&m->geo, g, p->rank, err);
    if (status == WEFT_OK) {
        status = load_weights(m, g, p, w, options, err);
    }
    if (status != WEFT_OK) {
        model_destroy(&m);
        return status;
    }
    *out = m;
    return WEFT_OK;
}

void model_destroy(model **m) {
    if (*m != NULL) {
        pack_cache_write_end(&(*m)->writer);
        if ((*m)->image.data != NULL) {
            pack_cache_unmap(&(*m)->image);
        } else {
            device_free((*m)->dev, (*m)->memory, (*m)->memory_bytes);
        }
        weights_release(&(*m)->file);
        mem_free((*m)->layers);
        mem_free(*m);
        *m = NULL;
    }
}

const geometry *model_geometry(const model *m) { return &m->geo; }

static weft_status refuse(const model *m, const char *what, weft_error *err) {
    return weft_fail(err, WEFT_UNSUPPORTED, "architecture '%s' does not take %s", m->geo.arch,
                     what);
}

weft_status model_check_batch(const model *m, const batch *b, weft_error *err) {
    if (b->adapter != NULL) {
        return refuse(m, "adapters", err);
    }
    if (b->embeddings != NULL) {
        return refuse(m, "embedding rows as input", err);
    }
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        const batch_seq *s = &b->seqs[i];
        if (s->n_spans != 0) {
            return refuse(m, "spans that see both ways", err);
        }
        if (s->tree_mask != NULL) {
            return refuse(m, "tree masks", err);
        }
        if (s->cross_memory != NULL) {
            return refuse(m, "cross-attention memory", err);
        }
        if (s->state_in != BATCH_STATE_NONE || s->state_out != BATCH_STATE_NONE) {
            return refuse(m, "recurrent states", err);
        }
    }
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (b->token[r] < 0 || (uint32_t)b->token[r] >= m->geo.n_vocab) {
            return weft_fail(err, WEFT_INVALID, "token %d is not in the vocabulary of %u",
                             b->token[r], m->geo.n_vocab);
        }
        if ((b->flags[r] & (BATCH_HIDDEN | BATCH_POOLED)) != 0) {
            return refuse(m, "rows that want hidden states", err);
        }
    }
    return WEFT_OK;
}

void model_forward(const model *m, const forward *f, tensor *logits) {
    hidden s = hidden_start(f, &m->geo, m->rope);
    const op_embed embed = {
        .y = s.x, .table = m->embedding, .batch = f->batch, .scale = m->geo.embed_scale};
    f->dev->ops->embed(f->dev, &embed);
    for (uint32_t i = 0; i < m->geo.n_layers; i++) {
        m->arch->layer(m, f, i, &s);
    }
    *logits = head_run(f, &m->geo, m->output_norm, &m->output, s.x);
}
