/* qwen3.c - Qwen3, dense and with experts.
 *
 *   x += attention(norm(x));  x += down(silu(gate(norm(x))) * up(norm(x)))
 *
 * Yang et al. 2025, "Qwen3 Technical Report", section 2: Llama's layer with a norm of every query
 * and key head and no biases. In the models with experts (qwen3moe) each layer's feed-forward is a
 * choice of them: softmax over all, the best n_used, their weights normalised. The rotation pairs
 * halves of a head.
 */
#include "model/model_impl.h"

typedef struct qwen3_layer {
    tensor attn_norm, ffn_norm;
    attention_layer attention;
    ffn_layer ffn;         /* dense models */
    experts_layer experts; /* the others */
} qwen3_layer;

static weft_status load_layer(loader *ld, const geometry *g, void *layer) {
    qwen3_layer *l = layer;
    weft_status status = loader_vector(ld, "attn_norm", g->n_embd, &l->attn_norm);
    if (status == WEFT_OK) {
        status = loader_attention(ld, g, &l->attention);
    }
    if (status == WEFT_OK) {
        status = loader_vector(ld, "ffn_norm", g->n_embd, &l->ffn_norm);
    }
    if (status != WEFT_OK) {
        return status;
    }
    return g->routing.n_experts > 0 ? loader_experts(ld, g, &l->experts)
                                    : loader_ffn(ld, g, &l->ffn);
}

static void layer(const model *m, const forward *f, uint32_t i, hidden *s) {
    const geometry *g = &m->geo;
    const qwen3_layer *l = model_layer(m, i);
    norm_run(f, g, l->attn_norm, s->x, s->h);
    attention_run(f, g, &l->attention, i, s);
    residual_norm(f, g, l->ffn_norm, s->x, s->y, s->h);
    if (g->routing.n_experts > 0) {
        experts_run(f, g, &l->experts, ACT_KIND_SILU, s->h, s->y);
    } else {
        ffn_run(f, &l->ffn, ACT_KIND_SILU, s->h, s->y);
    }
    residual_add(f, s->x, s->y);
}

const model_arch model_arch_qwen3 = {
    .name = "qwen3",
    .layer_bytes = sizeof(qwen3_layer),
    .load_layer = load_layer,
    .layer = layer,
    .pairing = ROPE_HALVES,
};

const model_arch model_arch_qwen3moe = {
    .name = "qwen3moe",
    .layer_bytes = sizeof(qwen3_layer),
    .load_layer = load_layer,
    .layer = layer,
    .pairing = ROPE_HALVES,
};
