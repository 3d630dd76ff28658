/* llama.c - Llama 2 and 3.x, and all that were built like them (SmolLM2, Mistral, ...).
 *
 *   x += attention(norm(x));  x += down(silu(gate(norm(x))) * up(norm(x)))
 *
 * Touvron et al. 2023, "Llama 2", section 2.2: pre-normalisation with RMSNorm, SwiGLU, rotary
 * positions, grouped-query attention. GGUF converters permute the rows of q and k so that the
 * rotation pairs neighbours (ROPE_PAIRS).
 */
#include "model/model_impl.h"

typedef struct llama_layer {
    tensor attn_norm, ffn_norm;
    attention_layer attention;
    ffn_layer ffn;
} llama_layer;

static weft_status load_layer(loader *ld, const geometry *g, void *layer) {
    llama_layer *l = layer;
    weft_status status = loader_vector(ld, "attn_norm", g->n_embd, &l->attn_norm);
    if (status == WEFT_OK) {
        status = loader_attention(ld, g, &l->attention);
    }
    if (status == WEFT_OK) {
        status = loader_vector(ld, "ffn_norm", g->n_embd, &l->ffn_norm);
    }
    if (status == WEFT_OK) {
        status = loader_ffn(ld, g, &l->ffn);
    }
    return status;
}

static void layer(const model *m, const forward *f, uint32_t i, hidden *s) {
    const geometry *g = &m->geo;
    const llama_layer *l = model_layer(m, i);
    norm_run(f, g, l->attn_norm, s->x, s->h);
    attention_run(f, g, &l->attention, i, s);
    residual_norm(f, g, l->ffn_norm, s->x, s->y, s->h);
    ffn_run(f, &l->ffn, ACT_KIND_SILU, s->h, s->y);
    residual_add(f, s->x, s->y);
}

const model_arch model_arch_llama = {
    .name = "llama",
    .layer_bytes = sizeof(llama_layer),
    .load_layer = load_layer,
    .layer = layer,
    .pairing = ROPE_PAIRS,
};
