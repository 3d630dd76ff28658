/* loader.h - tensors from a file, onto the device, into the structs of layers.h.
 *
 * A matrix is packed, a vector becomes F32. Shapes are checked against what the geometry demands;
 * a tensor that is missing or has another shape is named with both. Tensors that were never asked
 * for are reported at the end, so that nothing in a file is silently ignored.
 *
 * When the memory already holds the packed tensors (a mapped pack cache), nothing is written: the
 * same walk compares each vector, and one panel of each matrix, with what the file gives.
 */
#ifndef WEFT_MODEL_LOADER_H
#define WEFT_MODEL_LOADER_H

#include "model/layers.h"

typedef struct loader {
    device *dev;
    const weights *w;
    char *memory;           /* device memory, plan_tensor_bytes a tensor */
    bool maps_weights;      /* matrices stay in the file */
    bool is_packed_already; /* memory is read-only and holds the tensors of an earlier load */
    bool is_unlike;         /* it does not hold what this file gives */
    size_t memory_bytes, used_bytes;
    uint64_t done_bytes, total_bytes;
    uint64_t order;   /* a sum over the tensors taken so far: names, places, shapes */
    uint8_t *is_used; /* [tensor count] */
    uint32_t layer;   /* names below are within "blk.<layer>." unless LOADER_GLOBAL */
    const model_load_options *options;
    const geometry *whole; /* of the model; the loader takes the rank's part of each tensor */
    slice_rank rank;
    weft_error *err;
} loader;

#define LOADER_GLOBAL UINT32_MAX

/* Which layer the following names belong to. */
void loader_set_layer(loader *ld, uint32_t layer);

/* "attn_q" -> blk.N.attn_q.weight [rows][cols] and, when the file has it, blk.N.attn_q.bias. */
weft_status loader_linear(loader *ld, const char *name, uint32_t rows, uint32_t cols,
                          linear *out) WEFT_NODISCARD;

/* "attn_norm" -> blk.N.attn_norm.weight [n] as F32 [1][n]. */
weft_status loader_vector(loader *ld, const char *name, uint32_t n, tensor *out) WEFT_NODISCARD;

/* The same when the file has it; data stays NULL otherwise. */
weft_status loader_vector_if_any(loader *ld, const char *name, uint32_t n,
                                 tensor *out) WEFT_NODISCARD;

/* attn_q, attn_k, attn_v, attn_output, and attn_q_norm and attn_k_norm where the file has them. */
weft_status loader_attention(loader *ld, const geometry *g, attention_layer *out) WEFT_NODISCARD;

/* ffn_gate, ffn_up, ffn_down. */
weft_status loader_ffn(loader *ld, const geometry *g, ffn_layer *out) WEFT_NODISCARD;

/* ffn_gate_inp, and ffn_gate_exps, ffn_up_exps, ffn_down_exps: [experts][rows][cols]. */
weft_status loader_experts(loader *ld, const geometry *g, experts_layer *out) WEFT_NODISCARD;

/* Frequencies of one kind of layer: base^(-2i/n_dims), divided by the scaling. */
weft_status loader_rope(loader *ld, const geometry_rope *r, rope_pairing pairing,
                        rope_layer *out) WEFT_NODISCARD;

/* Logs the tensors of the file that nothing asked for; refuses those that scale others. */
weft_status loader_check_unused(const loader *ld) WEFT_NODISCARD;

#endif /* WEFT_MODEL_LOADER_H */
