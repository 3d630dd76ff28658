/* geometry.c - from GGUF metadata to numbers that can be trusted.
 *
 * Each architecture has one reader: it knows which keys its converter writes, what they default to
 * and which features it does not have. A key that asks for something we do not compute (experts,
 * YaRN, ...) is refused by name rather than ignored: a model that runs wrongly is worse than one
 * that does not run.
 *
 * Formulas: llama.cpp's converters write these keys; the meaning of each is the model's own
 * config.json (rope_theta -> rope.freq_base, and so on).
 */
#include "plan/geometry.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"

#define DIM_MAX 1048576u
#define HEADS_MAX 4096u
#define HEAD_DIM_MAX 1024u
#define CTX_MAX (1u << 28)

typedef struct reader {
    const weights *w;
    geometry *g;
    weft_error *err;
} reader;

typedef weft_status arch_read_fn(reader *r);

static weft_status read_llama(reader *r);
static weft_status read_gemma3(reader *r);
static weft_status read_qwen3(reader *r);
static weft_status read_qwen3moe(reader *r);

static const struct {
    const char *name;
    arch_read_fn *read;
} archs[] = {
    {"llama", read_llama},
    {"gemma3", read_gemma3},
    {"qwen3", read_qwen3},
    {"qwen3moe", read_qwen3moe},
};

static const char *const arch_names[] = {"llama", "gemma3", "qwen3", "qwen3moe", NULL};

const char *const *geometry_archs(void) { return arch_names; }

/* ---- keys ---- */

static const char *path(const reader *r) { return weights_path(r->w); }

static void arch_key(const reader *r, const char *suffix, char *out, size_t out_bytes) {
    snprintf(out, out_bytes, "%s.%s", r->g->arch, suffix);
}

/* Reads "<arch>.<suffix>" into [min, max]. An absent key leaves *out, which must hold the default;
 * a default of 0 with min above 0 makes the key required. */
static weft_status get_u32(const reader *r, const char *suffix, uint32_t min, uint32_t max,
                           uint32_t *out) {
    char key[160];
    bool found = false;
    arch_key(r, suffix, key, sizeof key);
    const weft_status status = weights_get_u32(r->w, key, out, &found, r->err);
    if (status != WEFT_OK) {
        return status;
    }
    if (!found && *out < min) {
        return weft_fail(r->err, WEFT_FORMAT, "%s: metadata key '%s' is missing", path(r), key);
    }
    if (*out < min || *out > max) {
        return weft_fail(r->err, WEFT_FORMAT, "%s: %s is %u, wanted %u to %u", path(r), key, *out,
                         min, max);
    }
    return WEFT_OK;
}

static weft_status get_f32(const reader *r, const char *suffix, float min, float max, float *out) {
    char key[160];
    bool found = false;
    arch_key(r, suffix, key, sizeof key);
    const weft_status status = weights_get_f32(r->w, key, out, &found, r->err);
    if (status != WEFT_OK) {
        return status;
    }
    if (!(*out >= min && *out <= max)) {
        return weft_fail(r->err, WEFT_FORMAT, "%s: %s is %g, wanted %g to %g", path(r), key,
                         (double)*out, (double)min, (double)max);
    }
    return WEFT_OK;
}

/* Refuses a feature that the architecture's file does not compute. */
static weft_status refuse_nonzero(const reader *r, const char *suffix, const char *feature) {
    uint32_t n = 0;
    const weft_status status = get_u32(r, suffix, 0, UINT32_MAX, &n);
    if (status != WEFT_OK || n == 0) {
        return status;
    }
    return weft_fail(r->err, WEFT_UNSUPPORTED, "%s: %s.%s is %u, but %s are not supported", path(r),
                     r->g->arch, suffix, n, feature);
}

/* ---- what all decoders share ---- */

static weft_status read_vocab_size(const reader *r) {
    const weights_tensor *t = weights_find(r->w, "token_embd.weight");
    if (t == NULL) {
        return weft_fail(r->err, WEFT_FORMAT, "%s: tensor 'token_embd.weight' is missing", path(r));
    }
    if (t->n_dims != 2 || t->dims[0] == 0 || t->dims[0] > (1u << 24) ||
        t->dims[1] != r->g->n_embd) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: tensor 'token_embd.weight' is [%llu][%llu], wanted [vocabulary][%u]",
                         path(r), (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                         r->g->n_embd);
    }
    r->g->n_vocab = (uint32_t)t->dims[0];
    return WEFT_OK;
}

static weft_status read_dims(const reader *r) {
    geometry *g = r->g;
    const struct {
        const char *suffix;
        uint32_t max;
        uint32_t *out;
    } required[] = {
        {"block_count", GEOMETRY_LAYERS_MAX, &g->n_layers},
        {"context_length", CTX_MAX, &g->ctx_train},
        {"embedding_length", DIM_MAX, &g->n_embd},
        {"feed_forward_length", DIM_MAX, &g->n_ff},
        {"attention.head_count", HEADS_MAX, &g->n_heads},
    };
    for (size_t i = 0; i < WEFT_LEN(required); i++) {
        const weft_status status =
            get_u32(r, required[i].suffix, 1, required[i].max, required[i].out);
        if (status != WEFT_OK) {
            return status;
        }
    }
    g->n_kv_heads = g->n_heads;
    g->k_dim = g->v_dim = g->n_embd / g->n_heads;
    const struct {
        const char *suffix;
        uint32_t max;
        uint32_t *out;
    } optional[] = {
        {"attention.head_count_kv", HEADS_MAX, &g->n_kv_heads},
        {"attention.key_length", HEAD_DIM_MAX, &g->k_dim},
        {"attention.value_length", HEAD_DIM_MAX, &g->v_dim},
    };
    for (size_t i = 0; i < WEFT_LEN(optional); i++) {
        const weft_status status =
            get_u32(r, optional[i].suffix, 1, optional[i].max, optional[i].out);
        if (status != WEFT_OK) {
            return status;
        }
    }
    if (g->n_heads % g->n_kv_heads != 0) {
        return weft_fail(r->err, WEFT_FORMAT,
                         "%s: %s.attention.head_count_kv is %u, wanted a divisor of the %u heads",
                         path(r), g->arch, g->n_kv_heads, g->n_heads);
    }
    return read_vocab_size(r);
}

static weft_status read_decoder(const reader *r) {
    geometry *g = r->g;
    weft_status status = read_dims(r);
    if (status == WEFT_OK) {
        g->rms_eps = 1e-5f;
        status = get_f32(r, "attention.layer_norm_rms_epsilon", 0.0f, 1.0f, &g->rms_eps);
    }
    if (status == WEFT_OK) {
        g->attn_scale = 1.0f / sqrtf((float)g->k_dim);
        status = get_f32(r, "attention.scale", 1e-6f, 1e6f, &g->attn_scale);
    }
    g->embed_scale = 1.0f;
    g->has_tied_head = weights_find(r->w, "output.weight") == NULL;
    return status;
}

static float yarn_mscale(float factor, float of) { return 1.0f + 0.1f * of * logf(factor); }

/* The attention factor is the file's own, or follows from the factor; with a multiplier m it is
 * that over the same of m, which then belongs to the scores of attention. */
static weft_status read_yarn(const reader *r, geometry_rope *rope) {
    geometry_yarn *y = &rope->yarn;
    float given = 0.0f, times = 1.0f, multiplier = 0.0f;
    *y = (geometry_yarn){
        .ctx_original = r->g->ctx_train, .beta_fast = 32.0f, .beta_slow = 1.0f, .ramp = 1.0f};
    const struct {
        const char *suffix;
        float min, max, *out;
    } keys[] = {
        {"rope.scaling.factor", 1.0f, 1e6f, &rope->factor},
        {"rope.scaling.yarn_beta_fast", 1e-3f, 1e6f, &y->beta_fast},
        {"rope.scaling.yarn_beta_slow", 1e-3f, 1e6f, &y->beta_slow},
        {"rope.scaling.yarn_ext_factor", 0.0f, 1.0f, &y->ramp},
        {"rope.scaling.yarn_attn_factor", 0.0f, 1e3f, &given},
        {"rope.scaling.attn_factor", 1e-3f, 1e3f, &times},
        {"rope.scaling.yarn_log_multiplier", 0.0f, 1e3f, &multiplier},
    };
    weft_status status =
        get_u32(r, "rope.scaling.original_context_length", 1, CTX_MAX, &y->ctx_original);
    for (size_t i = 0; i < WEFT_LEN(keys) && status == WEFT_OK; i++) {
        status = get_f32(r, keys[i].suffix, keys[i].min, keys[i].max, keys[i].out);
    }
    rope->scaling = ROPE_SCALING_YARN;
    rope->mscale = given;
    if (given == 0.0f) {
        rope->mscale = yarn_mscale(rope->factor, 1.0f) / yarn_mscale(rope->factor, multiplier);
    }
    rope->mscale *= times;
    return status;
}

/* rope.dimension_count, rope.freq_base and the scaling keys into one rope. */
static weft_status read_rope(const reader *r, geometry_rope *rope) {
    const geometry *g = r->g;
    rope->n_dims = g->k_dim;
    rope->base = 10000.0f;
    rope->factor = 1.0f;
    rope->mscale = 1.0f;
    weft_status status = get_u32(r, "rope.dimension_count", 2, g->k_dim, &rope->n_dims);
    if (status == WEFT_OK) {
        status = get_f32(r, "rope.freq_base", 1.0f, 1e12f, &rope->base);
    }
    if (status != WEFT_OK) {
        return status;
    }
    if (rope->n_dims % 2 != 0) {
        return weft_fail(r->err, WEFT_FORMAT, "%s: %s.rope.dimension_count is %u, wanted even",
                         path(r), g->arch, rope->n_dims);
    }
    char key[160];
    str type = {0};
    bool found = false;
    arch_key(r, "rope.scaling.type", key, sizeof key);
    status = weights_get_str(r->w, key, &type, &found, r->err);
    if (status != WEFT_OK) {
        return status;
    }
    if (!found || str_eq_cstr(type, "linear")) { /* writers may leave "linear" out */
        status = get_f32(r, "rope.scale_linear", 0.0f, 1e6f, &rope->factor); /* the older name */
        if (status == WEFT_OK) {
            status = get_f32(r, "rope.scaling.factor", 0.0f, 1e6f, &rope->factor);
        }
        rope->factor = rope->factor == 0.0f ? 1.0f : rope->factor; /* 0 means none */
        rope->scaling = rope->factor != 1.0f ? ROPE_SCALING_LINEAR : ROPE_SCALING_NONE;
    } else if (str_eq_cstr(type, "yarn")) {
        status = read_yarn(r, rope);
    } else if (!str_eq_cstr(type, "none")) {
        status = weft_fail(r->err, WEFT_UNSUPPORTED,
                           "%s: %s is '" STR_FMT "', supported are 'none', 'linear', 'yarn' and "
                           "'llama3' (a rope_freqs tensor)",
                           path(r), key, STR_ARG(type));
    }
    const bool has_factors = weights_find(r->w, "rope_freqs.weight") != NULL;
    if (status == WEFT_OK && has_factors && rope->scaling == ROPE_SCALING_YARN) {
        status = weft_fail(r->err, WEFT_UNSUPPORTED,
                           "%s: %s is 'yarn', but there is a rope_freqs.weight too", path(r), key);
    } else if (status == WEFT_OK && has_factors) {
        rope->scaling = ROPE_SCALING_FACTORS;
    }
    return status;
}

static geometry_group make_group(const geometry *g, uint32_t window, geometry_rope rope) {
    return (geometry_group){.window = window,
                            .n_kv_heads = g->n_kv_heads,
                            .k_dim = g->k_dim,
                            .v_dim = g->v_dim,
                            .rope = rope};
}

/* ---- architectures ---- */

/* Layers that are all alike: one KV group, with a window or without. */
static weft_status read_uniform(reader *r) {
    geometry *g = r->g;
    geometry_rope rope = {0};
    uint32_t window = 0;
    weft_status status = read_decoder(r);
    if (status == WEFT_OK) {
        status = read_rope(r, &rope);
    }
    if (status == WEFT_OK) {
        status = get_u32(r, "attention.sliding_window", 0, CTX_MAX, &window);
    }
    g->n_groups = 1;
    g->groups[0] = make_group(g, window, rope);
    g->groups[0].n_layers = g->n_layers;
    return status;
}

static weft_status read_llama(reader *r) {
    weft_status status = read_uniform(r);
    return status == WEFT_OK ? refuse_nonzero(r, "expert_count", "experts") : status;
}

static weft_status read_qwen3(reader *r) { return read_llama(r); }

/* Every layer chooses among experts: softmax of all, weights of the chosen normalised. */
static weft_status read_qwen3moe(reader *r) {
    geometry *g = r->g;
    expert_routing *e = &g->routing;
    weft_status status = read_uniform(r);
    if (status == WEFT_OK) {
        status = get_u32(r, "expert_count", 1, EXPERTS_MAX, &e->n_experts);
    }
    if (status == WEFT_OK) {
        const uint32_t most = e->n_experts < EXPERTS_USED_MAX ? e->n_experts : EXPERTS_USED_MAX;
        status = get_u32(r, "expert_used_count", 1, most, &e->n_used);
    }
    if (status == WEFT_OK) {
        status = get_u32(r, "expert_feed_forward_length", 1, DIM_MAX, &g->n_ff_expert);
    }
    if (status == WEFT_OK) {
        status = refuse_nonzero(r, "leading_dense_block_count", "dense layers among experts");
    }
    if (status == WEFT_OK) {
        status = refuse_nonzero(r, "expert_shared_count", "shared experts");
    }
    e->score = EXPERT_SCORE_SOFTMAX;
    e->is_normalised = true;
    e->scale = 1.0f;
    g->n_ff = 0;
    return status;
}

/* Gemma 3: every 6th layer sees everything, the others a window; the two kinds rotate differently.
 * 27B (62 layers) scales queries by its hidden size per head instead of the head size. */
static weft_status read_gemma3(reader *r) {
    enum { SLIDING = 0, FULL = 1, LAYERS_27B = 62 };
    geometry *g = r->g;
    geometry_rope full = {0};
    uint32_t window = 0, pattern = 6;
    float base_local = 10000.0f;
    weft_status status = read_decoder(r);
    if (status == WEFT_OK) {
        status = read_rope(r, &full);
    }
    if (status == WEFT_OK) {
        status = get_u32(r, "attention.sliding_window", 1, CTX_MAX, &window);
    }
    if (status == WEFT_OK) {
        status = get_u32(r, "attention.sliding_window_pattern", 1, GEOMETRY_LAYERS_MAX, &pattern);
    }
    if (status == WEFT_OK) {
        status = get_f32(r, "rope.freq_base_swa", 1.0f, 1e12f, &base_local);
    }
    if (status == WEFT_OK) {
        status = get_f32(r, "attn_logit_softcapping", 0.0f, 1e6f, &g->attn_softcap);
    }
    if (status == WEFT_OK) {
        status = get_f32(r, "final_logit_softcapping", 0.0f, 1e6f, &g->logit_softcap);
    }
    if (status == WEFT_OK) {
        status = refuse_nonzero(r, "expert_count", "experts");
    }
    if (status != WEFT_OK) {
        return status;
    }
    if (g->n_layers == LAYERS_27B) {
        g->attn_scale = 1.0f / sqrtf((float)g->n_embd / (float)g->n_heads);
    }
    g->embed_scale = sqrtf((float)g->n_embd);
    const geometry_rope local = {
        .n_dims = full.n_dims, .base = base_local, .factor = 1.0f, .mscale = 1.0f};
    g->n_groups = 2;
    g->groups[SLIDING] = make_group(g, window, local);
    g->groups[FULL] = make_group(g, 0, full);
    for (uint32_t i = 0; i < g->n_layers; i++) {
        g->layer_group[i] = (i + 1) % pattern == 0 ? FULL : SLIDING;
        g->groups[g->layer_group[i]].n_layers++;
    }
    return WEFT_OK;
}

/* ---- entry ---- */

static weft_status read_names(reader *r) {
    str arch = {0}, name = {0};
    bool found = false;
    weft_status status = weights_get_str(r->w, "general.architecture", &arch, &found, r->err);
    if (status != WEFT_OK) {
        return status;
    }
    if (!found) {
        return weft_fail(r->err, WEFT_FORMAT, "%s: metadata key 'general.architecture' is missing",
                         path(r));
    }
    snprintf(r->g->arch, sizeof r->g->arch, STR_FMT, STR_ARG(arch));
    status = weights_get_str(r->w, "general.name", &name, &found, r->err);
    if (status == WEFT_OK && found) {
        snprintf(r->g->name, sizeof r->g->name, STR_FMT, STR_ARG(name));
    }
    return status;
}

weft_status geometry_read(geometry *out, const weights *w, weft_error *err) {
    geometry g = {0};
    reader r = {.w = w, .g = &g, .err = err};
    weft_status status = read_names(&r);
    if (status != WEFT_OK) {
        return status;
    }
    for (size_t i = 0; i < WEFT_LEN(archs); i++) {
        if (strcmp(archs[i].name, g.arch) == 0) {
            if (weights_tensor_count(w) == 0) {
                return weft_fail(err, WEFT_FORMAT,
                                 "%s: holds a vocabulary only, a model was wanted", path(&r));
            }
            status = archs[i].read(&r);
            if (status == WEFT_OK) {
                *out = g;
            }
            return status;
        }
    }
    char known[128] = "";
    for (size_t i = 0, used = 0; arch_names[i] != NULL && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 arch_names[i]);
    }
    return weft_fail(err, WEFT_UNSUPPORTED, "%s: architecture '%s' is not supported (%s are)",
                     path(&r), g.arch, known);
}
