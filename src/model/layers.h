/* layers.h - what architectures share: weights of a layer, and the steps of a forward pass.
 *
 * A layer function takes one const forward * and tensors in scratch; it enqueues device operations
 * and returns nothing. T is the rows on their way.
 *
 *   rows         0   1   2   3   4    a prompt, of which the logits of 4 are wanted
 *   layer 0      all all all all all  keys and values, then queries, attention and feed-forward
 *   last layer   kv  kv  kv  kv  all  of 0 to 3 nothing is read after their keys and values
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

/* The hidden states on their way through the layers: of all rows of the batch, and once the last
 * layer has their keys and values, of those whose logits are wanted. In scratch. */
typedef struct hidden {
    const batch *batch;                  /* whose rows these are */
    const rope_layer *rope;              /* [n_groups] */
    tensor x;                            /* [T][n_embd] residual stream */
    tensor h;                            /* [T][n_embd] what a part of a layer reads */
    tensor y;                            /* [T][n_embd] what it finds */
    tensor cos_sin[GEOMETRY_GROUPS_MAX]; /* [T][2 * n_freqs] rotation angles of each KV group */
} hidden;

/* All rows of the batch: scratch taken, angles made, x not yet. rope is borrowed. */
hidden hidden_start(const forward *f, const geometry *g, const rope_layer *rope);

/* y [T][n_embd] <- root mean square norm of x, times w. y may be x. */
void norm_run(const forward *f, const geometry *g, tensor w, tensor x, tensor y);

/* x += y: what a part of a layer found is added to the residual stream. */
void residual_add(const forward *f, tensor x, tensor y);

/* The same, and y <- norm of the new x, in one pass. */
void residual_norm(const forward *f, const geometry *g, tensor w, tensor x, tensor r, tensor y);

/* s->y <- attention of s->h over layer i of the cache. In the last layer s is left with the rows
 * whose logits are wanted. */
void attention_run(const forward *f, const geometry *g, const attention_layer *a, uint32_t i,
                   hidden *s);

void ffn_run(const forward *f, const ffn_layer *ffn, act_kind kind, tensor x, tensor y);

void experts_run(const forward *f, const geometry *g, const experts_layer *e, act_kind kind,
                 tensor x, tensor y);

/* Logits [T][n_vocab] of x [T][n_embd], which is normalised in place: norm, output product, soft
 * cap. */
tensor head_run(const forward *f, const geometry *g, tensor norm, const linear *output, tensor x);

#endif /* WEFT_MODEL_LAYERS_H */
