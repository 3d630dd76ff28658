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

static void layers(const model *m, const forward *f, uint32_t from, uint32_t to, tensor x) {
    const geometry *g = &m->geo;
    const tensor h = device_scratch_take(f->scratch, WEFT_DTYPE_F32, x.rows, g->n_embd);
    const tensor y = device_scratch_take(f->scratch, WEFT_DTYPE_F32, x.rows, g->n_embd);
    const tensor cos_sin = rope_angles(f, &m->rope[0]);
    for (uint32_t i = from; i < to; i++) {
        const llama_layer *l = model_layer(m, i);
        norm_run(f, g, l->attn_norm, x, h);
        attention_run(f, g, &l->attention, &m->rope[0], i, cos_sin, h, y);
        residual_norm(f, g, l->ffn_norm, x, y, h);
        ffn_run(f, &l->ffn, ACT_KIND_SILU, h, y);
        residual_add(f, x, y);
    }
}

const model_arch model_arch_llama = {
    .name = "llama",
    .layer_bytes = sizeof(llama_layer),
    .load_layer = load_layer,
    .layers = layers,
    .pairing = ROPE_PAIRS,
};
