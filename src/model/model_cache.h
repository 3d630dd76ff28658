/* model_cache.h - the device memory behind page numbers.
 *
 *   group 0 ─► layer 0: page 0 | page 1 | ...   layer 1: page 0 | page 1 | ...
 *
 * One allocation per KV group, sized by the plan; a layer's pages lie together.
 */
#ifndef WEFT_MODEL_MODEL_CACHE_H
#define WEFT_MODEL_MODEL_CACHE_H

#include "base/status.h"
#include "device/device.h"
#include "plan/plan.h"

typedef struct model_cache {
    device *dev;
    uint32_t n_groups;
    void *base[GEOMETRY_GROUPS_MAX];
    uint64_t bytes[GEOMETRY_GROUPS_MAX];
    uint32_t n_layers;
    device_kv layer[GEOMETRY_LAYERS_MAX]; /* [n_layers] */
} model_cache;

weft_status model_cache_init(model_cache *c, device *dev, const geometry *g, const plan *p,
                             weft_error *err) WEFT_NODISCARD;
void model_cache_deinit(model_cache *c);

#endif /* WEFT_MODEL_MODEL_CACHE_H */
