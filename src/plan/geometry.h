/* geometry.h - the numbers of a model: one struct, whatever file they came from.
 *
 * Read from GGUF metadata (later also from config.json), checked once, then trusted by the planner
 * and by model/. All sizes are elements; 0 means "does not have it" unless said.
 */
#ifndef WEFT_PLAN_GEOMETRY_H
#define WEFT_PLAN_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "layout/experts.h"
#include "weights/weights.h"

#define GEOMETRY_LAYERS_MAX 1024u
#define GEOMETRY_GROUPS_MAX 4u
#define GEOMETRY_ARCH_BYTES 32u

typedef enum rope_scaling {
    ROPE_SCALING_NONE,
    ROPE_SCALING_LINEAR,  /* positions divided by factor */
    ROPE_SCALING_FACTORS, /* a rope_freqs tensor divides each frequency ("llama3") */
    ROPE_SCALING_YARN     /* low frequencies divided by factor, high ones kept, a ramp between */
} rope_scaling;

/* YaRN (arXiv 2309.00071): a frequency that turns more than beta_fast times in ctx_original
 * positions is kept, one that turns less than beta_slow times is divided by the factor. */
typedef struct geometry_yarn {
    uint32_t ctx_original;
    float beta_fast, beta_slow;
    float ramp; /* 1: as the paper has it; 0: all frequencies are divided */
} geometry_yarn;

/* Rotation of one kind of layer. */
typedef struct geometry_rope {
    uint32_t n_dims; /* rotated values of a head, even */
    float base;
    rope_scaling scaling;
    float factor; /* of ROPE_SCALING_LINEAR and YARN, 1 without */
    float mscale; /* of cosines and sines: 1 but for ROPE_SCALING_YARN */
    geometry_yarn yarn;
} geometry_rope;

/* Layers that share a KV group: the same window and head shape. */
typedef struct geometry_group {
    uint32_t window; /* 0 = full attention */
    uint32_t n_layers;
    uint32_t n_kv_heads, k_dim, v_dim;
    bool v_in_k; /* a value is the first v_dim of its key, and not stored again (latent attention;
                  * no architecture that is here sets it) */
    geometry_rope rope;
} geometry_group;

typedef struct geometry {
    char arch[GEOMETRY_ARCH_BYTES]; /* general.architecture */
    char name[128];                 /* general.name, for people; may be empty */
    uint32_t n_layers, n_embd, n_ff, n_vocab;
    uint32_t n_heads, n_kv_heads;
    uint32_t k_dim, v_dim; /* of one head */
    uint32_t ctx_train;    /* the model's own maximum */
    float rms_eps;
    float embed_scale;                 /* 1 when embeddings are used as they are */
    float attn_scale;                  /* applied to q . k */
    float attn_softcap, logit_softcap; /* 0 = none */
    expert_routing routing;            /* n_experts 0: every layer is dense */
    uint32_t n_ff_expert;              /* of one expert; n_ff is that of dense layers */
    bool has_tied_head;                /* the output matrix is the embedding table */
    uint32_t n_groups;
    geometry_group groups[GEOMETRY_GROUPS_MAX];
    uint8_t layer_group[GEOMETRY_LAYERS_MAX]; /* [n_layers] */
} geometry;

/* Fills and checks everything. An architecture no file of model/ implements is refused by name;
 * the list of those it knows is in the message. */
weft_status geometry_read(geometry *out, const weights *w, weft_error *err) WEFT_NODISCARD;

/* "llama", "gemma3", ... up to NULL. */
const char *const *geometry_archs(void);

#endif /* WEFT_PLAN_GEOMETRY_H */
