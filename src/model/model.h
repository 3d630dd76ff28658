/* model.h - a loaded model: weights on a device and the function that runs a batch through them.
 *
 *   model_load:     weights ─► packed on the device, layer by layer, with progress
 *   model_forward:  tokens ─► embed ─► layers [0, n) ─► head ─► logits of the wanted rows
 *
 * An architecture is one file (llama.c, gemma3.c) with a model_arch; it reads like its paper and
 * calls the layer functions of layers.h. docs/adding-a-model.md adds one.
 *
 * Threads: load and forward from one thread. Ownership: a model owns its device memory and
 * borrows the device.
 */
#ifndef WEFT_MODEL_MODEL_H
#define WEFT_MODEL_MODEL_H

#include "base/status.h"
#include "device/batch.h"
#include "device/device.h"
#include "dist/dist.h"
#include "model/model_cache.h"
#include "plan/geometry.h"
#include "plan/plan.h"
#include "weights/pack_cache.h"
#include "weights/weights.h"

typedef struct model model;

/* Called between tensors from the loading thread. Returning false cancels (WEFT_CANCELLED). */
typedef bool model_progress_fn(void *user, uint64_t done_bytes, uint64_t total_bytes);

typedef struct model_load_options {
    model_progress_fn *progress; /* or NULL */
    void *user;
    const pack_cache *cache; /* where packed weights are kept from start to start, or NULL */
} model_load_options;

/* The weights may be released afterwards: nothing of the mapping is kept, unless the plan leaves
 * matrices in the file, in which case the model holds the weights too. With a cache the packed
 * weights are mapped from there when it has them, else written to it beside what comes next;
 * model_destroy waits for that. A device without host memory has no cache. */
weft_status model_load(model **out, device *dev, const geometry *g, const plan *p, const weights *w,
                       const model_load_options *options, weft_error *err) WEFT_NODISCARD;
void model_destroy(model **m);

/* The rank's own geometry. */
const geometry *model_geometry(const model *m);

/* What a forward works with, for adapters and stages to join later. */
typedef struct forward {
    device *dev;
    const batch *batch;
    const model_cache *cache;
    device_scratch *scratch;
    dist *dist; /* the rank, where several share the model; NULL alone */
} forward;

/* Refuses what the model cannot do (adapters, spans, trees, embeddings, ...), by name. */
weft_status model_check_batch(const model *m, const batch *b, weft_error *err) WEFT_NODISCARD;

/* Enqueues the pass; *logits is [n_out][n_vocab] F32 in scratch, rows in batch->out_row order,
 * valid until the scratch is released. The caller marks and releases the scratch and syncs. */
void model_forward(const model *m, const forward *f, tensor *logits);

#endif /* WEFT_MODEL_MODEL_H */
