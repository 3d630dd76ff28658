/* model_impl.h - what an architecture file provides and what it may use. Private to model/.
 */
#ifndef WEFT_MODEL_MODEL_IMPL_H
#define WEFT_MODEL_MODEL_IMPL_H

#include "base/compiler.h"
#include "model/layers.h"
#include "model/loader.h"
#include "model/model.h"

/* One architecture: how its layers are loaded, and its pass over a batch. */
typedef struct model_arch {
    const char *name;   /* general.architecture */
    size_t layer_bytes; /* size of its layer struct */
    /* Fills one layer struct from the names of the loader's layer. */
    weft_status (*load_layer)(loader *ld, const geometry *g, void *layer);
    /* s->x <- layer i applied to it; of the last, only for rows whose logits are wanted. */
    void (*layer)(const model *m, const forward *f, uint32_t i, hidden *s);
    rope_pairing pairing;
} model_arch;

extern const model_arch model_arch_llama;
extern const model_arch model_arch_gemma3;
extern const model_arch model_arch_qwen3;
extern const model_arch model_arch_qwen3moe;

struct model {
    const model_arch *arch;
    geometry geo;
    device *dev;
    void *memory; /* one device allocation for every tensor, or the image below */
    size_t memory_bytes;
    weights *file;             /* held when matrices stay in it */
    pack_cache_image image;    /* mapped, when the cache had it */
    pack_cache_writer *writer; /* writing memory to the cache, else NULL */
    device_weight embedding;
    tensor output_norm;
    linear output; /* the embedding again when the head is tied */
    rope_layer rope[GEOMETRY_GROUPS_MAX];
    void *layers; /* [n_layers] of arch->layer_bytes */
};

static inline const void *model_layer(const model *m, uint32_t i) {
    return (const char *)m->layers + i * m->arch->layer_bytes;
}

#endif /* WEFT_MODEL_MODEL_IMPL_H */
