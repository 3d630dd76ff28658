/* model_image.c - default keys of two architectures, with the edits of a test laid over them. */
#include "model_image.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "gguf_image.h"

static const model_edit llama_keys[] = {
    {"llama.block_count", META_U32, 2, NULL},
    {"llama.context_length", META_U32, 512, NULL},
    {"llama.embedding_length", META_U32, 64, NULL},
    {"llama.feed_forward_length", META_U32, 96, NULL},
    {"llama.attention.head_count", META_U32, 4, NULL},
    {"llama.attention.head_count_kv", META_U32, 2, NULL},
    {"llama.attention.layer_norm_rms_epsilon", META_F32, 1e-5, NULL},
    {"llama.rope.dimension_count", META_U32, 16, NULL},
    {"llama.rope.freq_base", META_F32, 50000, NULL},
};

static const model_edit gemma3_keys[] = {
    {"gemma3.block_count", META_U32, 7, NULL},
    {"gemma3.context_length", META_U32, 512, NULL},
    {"gemma3.embedding_length", META_U32, 64, NULL},
    {"gemma3.feed_forward_length", META_U32, 128, NULL},
    {"gemma3.attention.head_count", META_U32, 4, NULL},
    {"gemma3.attention.head_count_kv", META_U32, 1, NULL},
    {"gemma3.attention.key_length", META_U32, 32, NULL},
    {"gemma3.attention.value_length", META_U32, 32, NULL},
    {"gemma3.attention.sliding_window", META_U32, 32, NULL},
    {"gemma3.attention.layer_norm_rms_epsilon", META_F32, 1e-6, NULL},
    {"gemma3.rope.freq_base", META_F32, 1000000, NULL},
};

static uint8_t *image; /* what the open weights borrow */

model_spec model_spec_llama(void) {
    return (model_spec){.arch = "llama", .n_embd = 64, .n_vocab = 100, .has_output = true};
}

model_spec model_spec_gemma3(void) {
    return (model_spec){.arch = "gemma3", .n_embd = 64, .n_vocab = 100};
}

static void write_key(gguf_image *g, const model_edit *e) {
    static const int64_t zeros[8];
    switch (e->type) {
    case META_TYPE_COUNT: break; /* left out */
    case META_STRING: gguf_image_str(g, e->key, e->text); break;
    case META_ARRAY: gguf_image_ints(g, e->key, META_U32, zeros, (uint64_t)e->number); break;
    case META_F32:
    case META_F64: gguf_image_float(g, e->key, e->type, e->number); break;
    default: gguf_image_int(g, e->key, e->type, (int64_t)e->number); break;
    }
}

static const model_edit *find_edit(const model_spec *spec, const char *key) {
    for (size_t i = 0; i < spec->n_edits; i++) {
        if (strcmp(spec->edits[i].key, key) == 0) {
            return &spec->edits[i];
        }
    }
    return NULL;
}

static bool is_default_key(const model_edit *keys, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(keys[i].key, key) == 0) {
            return true;
        }
    }
    return strcmp(key, "general.architecture") == 0;
}

static void write_keys(gguf_image *g, const model_spec *spec) {
    const bool is_gemma3 = strcmp(spec->arch, "gemma3") == 0;
    const model_edit *keys = is_gemma3 ? gemma3_keys : llama_keys;
    const size_t n = is_gemma3 ? sizeof gemma3_keys / sizeof gemma3_keys[0]
                               : sizeof llama_keys / sizeof llama_keys[0];
    const model_edit arch = {"general.architecture", META_STRING, 0, spec->arch};
    const model_edit *edit = find_edit(spec, arch.key);
    write_key(g, edit != NULL ? edit : &arch);
    for (size_t i = 0; i < n; i++) {
        edit = find_edit(spec, keys[i].key);
        write_key(g, edit != NULL ? edit : &keys[i]);
    }
    for (size_t i = 0; i < spec->n_edits; i++) {
        if (!is_default_key(keys, n, spec->edits[i].key)) {
            write_key(g, &spec->edits[i]);
        }
    }
}

weights *model_image_open(const model_spec *spec) {
    gguf_image g;
    weights *w = NULL;
    weft_error err = {0};
    size_t len = 0;
    const uint64_t matrix[] = {spec->n_vocab, spec->n_embd};
    const uint64_t vector[] = {spec->n_embd};
    const uint64_t freqs[] = {8};
    WEFT_ASSERT(image == NULL);
    gguf_image_init(&g, 3);
    write_keys(&g, spec);
    if (spec->n_vocab != 0) {
        gguf_image_tensor(&g, "token_embd.weight", spec->dtype, 2, matrix, NULL);
        gguf_image_tensor(&g, "output_norm.weight", WEFT_DTYPE_F32, 1, vector, NULL);
    }
    if (spec->has_output) {
        gguf_image_tensor(&g, "output.weight", spec->dtype, 2, matrix, NULL);
    }
    if (spec->has_rope_freqs) {
        gguf_image_tensor(&g, "rope_freqs.weight", WEFT_DTYPE_F32, 1, freqs, NULL);
    }
    image = gguf_image_finish(&g, &len);
    gguf_image_deinit(&g);
    if (weights_open_memory(&w, image, len, "tiny.gguf", &err) != WEFT_OK) {
        fprintf(stderr, "%s\n", err.message);
        WEFT_ASSERT(w != NULL);
    }
    return w;
}

void model_image_close(weights **w) {
    weights_release(w);
    mem_free(image);
    image = NULL;
}
