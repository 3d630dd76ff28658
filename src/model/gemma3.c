/* gemma3.c - Gemma 3, text.
 *
 *   x += post_norm(attention(norm(x)));  x += post_norm(ffn(norm(x)))
 *
 * Gemma Team 2025, "Gemma 3 Technical Report", section 2: five layers that see a sliding window,
 * then one that sees everything, each kind with its own rotation base; queries and keys normalised
 * by head; norms before and after each part; embeddings scaled by sqrt(n_embd); GELU-gated
 * feed-forward. GGUF stores norm weights with 1 already added.
 */
#include "model/model_impl.h"

typedef struct gemma3_layer {
    tensor attn_norm, attn_post_norm, ffn_norm, ffn_post_norm;
    attention_layer attention;
    ffn_layer ffn;
} gemma3_layer;

static weft_status load_layer(loader *ld, const geometry *g, void *layer) {
    gemma3_layer *l = layer;
    const struct {
        const char *name;
        tensor *out;
    } norms[] = {
        {"attn_norm", &l->attn_norm},
        {"post_attention_norm", &l->attn_post_norm},
        {"ffn_norm", &l->ffn_norm},
        {"post_ffw_norm", &l->ffn_post_norm},
    };
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_LEN(norms) && status == WEFT_OK; i++) {
        status = loader_vector(ld, norms[i].name, g->n_embd, norms[i].out);
    }
    if (status == WEFT_OK) {
        status = loader_attention(ld, g, &l->attention);
    }
    if (status == WEFT_OK) {
        status = loader_ffn(ld, g, &l->ffn);
    }
    return status;
}

static void layer(const model *m, const forward *f, uint32_t i, hidden *s) {
    const geometry *g = &m->geo;
    const gemma3_layer *l = model_layer(m, i);
    norm_run(f, g, l->attn_norm, s->x, s->h);
    attention_run(f, g, &l->attention, i, s);
    norm_run(f, g, l->attn_post_norm, s->y, s->y);
    residual_norm(f, g, l->ffn_norm, s->x, s->y, s->h);
    ffn_run(f, &l->ffn, ACT_KIND_GELU_TANH, s->h, s->y);
    norm_run(f, g, l->ffn_post_norm, s->y, s->y);
    residual_add(f, s->x, s->y);
}

const model_arch model_arch_gemma3 = {
    .name = "gemma3",
    .layer_bytes = sizeof(gemma3_layer),
    .load_layer = load_layer,
    .layer = layer,
    .pairing = ROPE_HALVES,
};
