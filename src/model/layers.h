/* layers.h - what architectures share: weights of a layer, and the steps of a forward pass.
 *
 * A layer function takes one const forward * and tensors in scratch; it enqueues device operations
 * and returns nothing. T is the rows of the batch.
 */
#ifndef WEFT_MODEL_LAYERS_H
#define WEFT_MODEL_LAYERS_H

#include "model/model.h"

/* y = x W^T + b */
typedef struct linear {
    device_weight w;
    tensor bias; /* [1][outputs] F32, data NULL without */
} linear;

/* Grouped-query attention. Norms with data NULL are absent. */
typedef struct attention_layer {
    linear q, k, v, o;
    tensor q_norm, k_norm; /* [1][head_dim], applied to every head before rope */
} attention_layer;

/* Gated feed-forward: down(act(gate(x)) * up(x)). */
typedef struct ffn_layer {
    linear gate, up, down;
} ffn_layer;

/* A router and the same gated feed-forward for each of its experts. */
typedef struct experts_layer {
    linear router;
    device_stack gate, up, down;
} experts_layer;

/* The rotation of one kind of layer: frequencies at load, cos and sin once a forward. */
typedef struct rope_layer {
    tensor inv_freq; /* [1][n_freqs] */
    rope_pairing pairing;
    float mscale;
} rope_layer;

/* y [T][n_embd] <- root mean square norm of x, times w. y may be x. */
void norm_run(const forward *f, const geometry *g, tensor w, tensor x, tensor y);

/* x += y: what a part of a layer found is added to the residual stream. */
void residual_add(const forward *f, tensor x, tensor y);

/* The same, and y <- norm of the new x, in one pass. */
void residual_norm(const forward *f, const geometry *g, tensor w, tensor x, tensor r, tensor y);

/* cos_sin [T][2 * n_freqs] for every row of the batch. */
tensor rope_angles(const forward *f, const rope_layer *r);

/* y [T][n_embd] <- attention over layer i of the cache. x is the normalised input. */
void attention_run(const forward *f, const geometry *g, const attention_layer *a,
                   const rope_layer *r, uint32_t i, tensor cos_sin, tensor x, tensor y);

void ffn_run(const forward *f, const ffn_layer *ffn, act_kind kind, tensor x, tensor y);

void experts_run(const forward *f, const geometry *g, const experts_layer *e, act_kind kind,
                 tensor x, tensor y);

/* Logits of the batch's out rows: norm, output product, soft cap. x [T][n_embd]. */
tensor head_run(const forward *f, const geometry *g, tensor norm, const linear *output, tensor x);

#endif /* WEFT_MODEL_LAYERS_H */
