/* model_cache.c - one device allocation per KV group, and each layer's place in it.
 */
#include "model/model_cache.h"

weft_status model_cache_init(model_cache *c, device *dev, const geometry *g, const plan *p,
                             weft_error *err) {
    *c = (model_cache){.dev = dev, .n_groups = p->n_groups, .n_layers = g->n_layers};
    for (uint32_t i = 0; i < p->n_groups; i++) {
        c->bytes[i] = p->groups[i].pool_bytes;
        if (c->bytes[i] == 0) {
            continue; /* a model may have no layer of this kind */
        }
        const weft_status status = device_alloc(dev, &c->base[i], c->bytes[i], err);
        if (status != WEFT_OK) {
            model_cache_deinit(c);
            return status;
        }
    }
    uint32_t n_placed[GEOMETRY_GROUPS_MAX] = {0};
    for (uint32_t i = 0; i < g->n_layers; i++) {
        const uint32_t group = g->layer_group[i];
        const plan_group *pg = &p->groups[group];
        const uint64_t layer_bytes = pg->n_pages * pg->layer_page_bytes;
        c->layer[i] = (device_kv){.data = (char *)c->base[group] + n_placed[group] * layer_bytes,
                                  .page_stride_bytes = pg->layer_page_bytes,
                                  .dtype = p->kv_type,
                                  .n_kv_heads = g->groups[group].n_kv_heads,
                                  .k_dim = g->groups[group].k_dim,
                                  .v_dim = g->groups[group].v_dim,
                                  .v_in_k = g->groups[group].v_in_k,
                                  .group = group};
        n_placed[group]++;
    }
    return WEFT_OK;
}

void model_cache_deinit(model_cache *c) {
    for (uint32_t i = 0; i < c->n_groups; i++) {
        device_free(c->dev, c->base[i], c->bytes[i]);
    }
    *c = (model_cache){0};
}
