/* test_geometry.c - numbers of a model from its metadata, and the sentence for each thing refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model_image.h"
#include "plan/geometry.h"

static geometry read_good(const model_spec *spec) {
    geometry g;
    weft_error err = {0};
    weights *w = model_image_open(spec);
    if (geometry_read(&g, w, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    model_image_close(&w);
    return g;
}

static void expect_refused(const model_spec *spec, weft_status want, const char *message) {
    geometry g;
    weft_error err = {0};
    memset(&g, 0x5a, sizeof g);
    weights *w = model_image_open(spec);
    assert_int_equal(geometry_read(&g, w, &err), want);
    assert_string_equal(err.message, message);
    assert_int_equal(g.n_layers, 0x5a5a5a5a); /* written only on success */
    model_image_close(&w);
}

static void expect_edit_refused(model_spec spec, model_edit edit, weft_status want,
                                const char *message) {
    spec.edits = &edit;
    spec.n_edits = 1;
    expect_refused(&spec, want, message);
}

static void llama_is_read(void **state) {
    (void)state;
    const model_edit edits[] = {{"general.name", META_STRING, 0, "Tiny"}};
    model_spec spec = model_spec_llama();
    spec.edits = edits;
    spec.n_edits = 1;
    const geometry g = read_good(&spec);
    assert_string_equal(g.arch, "llama");
    assert_string_equal(g.name, "Tiny");
    assert_int_equal(g.n_layers, 2);
    assert_int_equal(g.n_embd, 64);
    assert_int_equal(g.n_ff, 96);
    assert_int_equal(g.n_vocab, 100);
    assert_int_equal(g.n_heads, 4);
    assert_int_equal(g.n_kv_heads, 2);
    assert_int_equal(g.k_dim, 16);
    assert_int_equal(g.v_dim, 16);
    assert_int_equal(g.ctx_train, 512);
    assert_true(g.rms_eps == 1e-5f);
    assert_true(g.embed_scale == 1.0f);
    assert_true(g.attn_scale == 0.25f);
    assert_true(g.attn_softcap == 0.0f && g.logit_softcap == 0.0f);
    assert_false(g.has_tied_head);
    assert_int_equal(g.n_groups, 1);
    assert_int_equal(g.groups[0].window, 0);
    assert_int_equal(g.groups[0].n_layers, 2);
    assert_int_equal(g.groups[0].n_kv_heads, 2);
    assert_int_equal(g.groups[0].rope.n_dims, 16);
    assert_true(g.groups[0].rope.base == 50000.0f);
    assert_int_equal(g.groups[0].rope.scaling, ROPE_SCALING_NONE);
    assert_int_equal(g.layer_group[0], 0);
    assert_int_equal(g.layer_group[1], 0);
}

static void absent_keys_have_their_defaults(void **state) {
    (void)state;
    const model_edit edits[] = {
        MODEL_WITHOUT("llama.attention.head_count_kv"),
        MODEL_WITHOUT("llama.rope.dimension_count"),
        MODEL_WITHOUT("llama.rope.freq_base"),
        MODEL_WITHOUT("llama.attention.layer_norm_rms_epsilon"),
    };
    model_spec spec = model_spec_llama();
    spec.edits = edits;
    spec.n_edits = 4;
    spec.has_output = false;
    const geometry g = read_good(&spec);
    assert_int_equal(g.n_kv_heads, 4);
    assert_int_equal(g.groups[0].rope.n_dims, 16);
    assert_true(g.groups[0].rope.base == 10000.0f);
    assert_true(g.rms_eps == 1e-5f);
    assert_true(g.has_tied_head);
    assert_string_equal(g.name, "");
}

static void llama_options_are_read(void **state) {
    (void)state;
    const model_edit edits[] = {
        {"llama.attention.key_length", META_U32, 24, NULL},
        {"llama.attention.value_length", META_U64, 32, NULL},
        {"llama.attention.scale", META_F32, 0.5, NULL},
        {"llama.attention.sliding_window", META_U32, 100, NULL},
        {"llama.rope.scaling.type", META_STRING, 0, "linear"},
        {"llama.rope.scaling.factor", META_F32, 4, NULL},
        {"llama.expert_count", META_U32, 0, NULL},
    };
    model_spec spec = model_spec_llama();
    spec.edits = edits;
    spec.n_edits = sizeof edits / sizeof edits[0];
    geometry g = read_good(&spec);
    assert_int_equal(g.k_dim, 24);
    assert_int_equal(g.v_dim, 32);
    assert_true(g.attn_scale == 0.5f);
    assert_int_equal(g.groups[0].window, 100);
    assert_int_equal(g.groups[0].rope.scaling, ROPE_SCALING_LINEAR);
    assert_true(g.groups[0].rope.factor == 4.0f);
    assert_int_equal(g.groups[0].k_dim, 24);
    assert_int_equal(g.groups[0].v_dim, 32);
    spec = model_spec_llama();
    spec.has_rope_freqs = true;
    g = read_good(&spec);
    assert_int_equal(g.groups[0].rope.scaling, ROPE_SCALING_FACTORS);
    const model_edit none = {"llama.rope.scaling.type", META_STRING, 0, "none"};
    spec = model_spec_llama();
    spec.edits = &none;
    spec.n_edits = 1;
    assert_int_equal(read_good(&spec).groups[0].rope.scaling, ROPE_SCALING_NONE);
}

static void yarn_has_its_keys_and_their_defaults(void **state) {
    (void)state;
    const model_edit edits[] = {
        {"llama.rope.scaling.type", META_STRING, 0, "yarn"},
        {"llama.rope.scaling.factor", META_F32, 4, NULL},
        {"llama.rope.scaling.original_context_length", META_U32, 128, NULL},
        {"llama.rope.scaling.yarn_attn_factor", META_F32, 1.5, NULL},
        {"llama.rope.scaling.yarn_beta_fast", META_F32, 16, NULL},
    };
    model_spec spec = model_spec_llama();
    spec.edits = edits;
    spec.n_edits = 2;
    geometry_rope rope = read_good(&spec).groups[0].rope;
    assert_int_equal(rope.scaling, ROPE_SCALING_YARN);
    assert_int_equal(rope.yarn.ctx_original, 512);
    assert_true(rope.factor == 4.0f && rope.yarn.beta_fast == 32.0f);
    assert_true(rope.yarn.beta_slow == 1.0f && rope.yarn.ramp == 1.0f);
    assert_true(fabsf(rope.mscale - 1.1386294f) < 1e-6f); /* 1 + ln(4) / 10 */
    spec.n_edits = 5;
    rope = read_good(&spec).groups[0].rope;
    assert_int_equal(rope.yarn.ctx_original, 128);
    assert_true(rope.mscale == 1.5f && rope.yarn.beta_fast == 16.0f);
}

/* Writers may leave the type out, use the older key, or write 0 for none. */
static void a_linear_factor_counts_without_its_type(void **state) {
    (void)state;
    const model_edit edits[] = {{"llama.rope.scaling.factor", META_F32, 4, NULL},
                                {"llama.rope.scale_linear", META_F32, 2, NULL},
                                {"llama.rope.scaling.factor", META_F32, 0, NULL}};
    const float factors[] = {4.0f, 2.0f, 1.0f};
    for (size_t i = 0; i < 3; i++) {
        model_spec spec = model_spec_llama();
        spec.edits = &edits[i];
        spec.n_edits = 1;
        const geometry g = read_good(&spec);
        assert_true(g.groups[0].rope.factor == factors[i]);
        assert_int_equal(g.groups[0].rope.scaling, i < 2 ? ROPE_SCALING_LINEAR : ROPE_SCALING_NONE);
    }
}

static void gemma3_has_two_kinds_of_layers(void **state) {
    (void)state;
    const model_spec spec = model_spec_gemma3();
    const geometry g = read_good(&spec);
    assert_int_equal(g.n_groups, 2);
    assert_int_equal(g.groups[0].window, 32);
    assert_int_equal(g.groups[1].window, 0);
    assert_int_equal(g.groups[0].n_layers, 6);
    assert_int_equal(g.groups[1].n_layers, 1);
    for (uint32_t i = 0; i < 7; i++) {
        assert_int_equal(g.layer_group[i], i == 5 ? 1 : 0);
    }
    assert_true(g.groups[0].rope.base == 10000.0f);
    assert_true(g.groups[1].rope.base == 1000000.0f);
    assert_true(g.embed_scale == 8.0f);
    assert_true(g.attn_scale == 1.0f / sqrtf(32.0f));
    assert_true(g.has_tied_head);
}

static void gemma3_options_are_read(void **state) {
    (void)state;
    const model_edit edits[] = {
        {"gemma3.attention.sliding_window_pattern", META_U32, 2, NULL},
        {"gemma3.rope.freq_base_swa", META_F32, 4000, NULL},
        {"gemma3.rope.scaling.type", META_STRING, 0, "linear"},
        {"gemma3.rope.scaling.factor", META_F32, 8, NULL},
        {"gemma3.attn_logit_softcapping", META_F32, 50, NULL},
        {"gemma3.final_logit_softcapping", META_F32, 30, NULL},
        {"gemma3.block_count", META_U32, 62, NULL},
    };
    model_spec spec = model_spec_gemma3();
    spec.edits = edits;
    spec.n_edits = sizeof edits / sizeof edits[0];
    const geometry g = read_good(&spec);
    assert_int_equal(g.groups[0].n_layers, 31);
    assert_int_equal(g.groups[1].n_layers, 31);
    assert_int_equal(g.layer_group[0], 0);
    assert_int_equal(g.layer_group[1], 1);
    assert_true(g.groups[0].rope.base == 4000.0f);
    assert_true(g.groups[1].rope.factor == 8.0f);
    assert_true(g.groups[0].rope.factor == 1.0f); /* scaling is for the full layers alone */
    assert_int_equal(g.groups[0].rope.scaling, ROPE_SCALING_NONE);
    assert_true(g.attn_softcap == 50.0f);
    assert_true(g.logit_softcap == 30.0f);
    assert_true(g.attn_scale == 0.25f); /* of 62 layers: by n_embd / n_heads = 16 */
}

static void missing_keys_are_named(void **state) {
    (void)state;
    static const char *const keys[] = {"llama.block_count", "llama.context_length",
                                       "llama.embedding_length", "llama.feed_forward_length",
                                       "llama.attention.head_count"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char message[128];
        snprintf(message, sizeof message, "tiny.gguf: metadata key '%s' is missing", keys[i]);
        expect_edit_refused(model_spec_llama(), (model_edit)MODEL_WITHOUT(keys[i]), WEFT_FORMAT,
                            message);
    }
    expect_edit_refused(model_spec_llama(), (model_edit)MODEL_WITHOUT("general.architecture"),
                        WEFT_FORMAT, "tiny.gguf: metadata key 'general.architecture' is missing");
    expect_edit_refused(model_spec_gemma3(),
                        (model_edit)MODEL_WITHOUT("gemma3.attention.sliding_window"), WEFT_FORMAT,
                        "tiny.gguf: metadata key 'gemma3.attention.sliding_window' is missing");
}

static void numbers_out_of_range_are_named_with_the_range(void **state) {
    (void)state;
    static const struct {
        model_edit edit;
        const char *message;
    } cases[] = {
        {{"llama.block_count", META_U32, 0, NULL}, "llama.block_count is 0, wanted 1 to 1024"},
        {{"llama.block_count", META_U32, 1025, NULL},
         "llama.block_count is 1025, wanted 1 to 1024"},
        {{"llama.context_length", META_U32, 268435457, NULL},
         "llama.context_length is 268435457, wanted 1 to 268435456"},
        {{"llama.embedding_length", META_U32, 1048577, NULL},
         "llama.embedding_length is 1048577, wanted 1 to 1048576"},
        {{"llama.feed_forward_length", META_U32, 0, NULL},
         "llama.feed_forward_length is 0, wanted 1 to 1048576"},
        {{"llama.attention.head_count", META_U32, 4097, NULL},
         "llama.attention.head_count is 4097, wanted 1 to 4096"},
        {{"llama.attention.head_count_kv", META_U32, 0, NULL},
         "llama.attention.head_count_kv is 0, wanted 1 to 4096"},
        {{"llama.attention.head_count_kv", META_U32, 3, NULL},
         "llama.attention.head_count_kv is 3, wanted a divisor of the 4 heads"},
        {{"llama.attention.head_count_kv", META_U32, 8, NULL},
         "llama.attention.head_count_kv is 8, wanted a divisor of the 4 heads"},
        {{"llama.attention.key_length", META_U32, 1025, NULL},
         "llama.attention.key_length is 1025, wanted 1 to 1024"},
        {{"llama.attention.value_length", META_U32, 0, NULL},
         "llama.attention.value_length is 0, wanted 1 to 1024"},
        {{"llama.attention.layer_norm_rms_epsilon", META_F32, -1, NULL},
         "llama.attention.layer_norm_rms_epsilon is -1, wanted 0 to 1"},
        {{"llama.attention.layer_norm_rms_epsilon", META_F32, NAN, NULL},
         "key 'llama.attention.layer_norm_rms_epsilon' is f32 nan; want a finite number"},
        {{"llama.attention.scale", META_F32, 0, NULL},
         "llama.attention.scale is 0, wanted 1e-06 to 1e+06"},
        {{"llama.rope.dimension_count", META_U32, 18, NULL},
         "llama.rope.dimension_count is 18, wanted 2 to 16"},
        {{"llama.rope.dimension_count", META_U32, 15, NULL},
         "llama.rope.dimension_count is 15, wanted even"},
        {{"llama.rope.freq_base", META_F32, 0, NULL},
         "llama.rope.freq_base is 0, wanted 1 to 1e+12"},
        {{"llama.attention.sliding_window", META_U32, 268435457, NULL},
         "llama.attention.sliding_window is 268435457, wanted 0 to 268435456"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[256];
        snprintf(message, sizeof message, "tiny.gguf: %s", cases[i].message);
        expect_edit_refused(model_spec_llama(), cases[i].edit, WEFT_FORMAT, message);
    }
    const model_edit edits[] = {{"llama.rope.scaling.type", META_STRING, 0, "linear"},
                                {"llama.rope.scaling.factor", META_F32, -1, NULL}};
    model_spec spec = model_spec_llama();
    spec.edits = edits;
    spec.n_edits = 2;
    expect_refused(&spec, WEFT_FORMAT,
                   "tiny.gguf: llama.rope.scaling.factor is -1, wanted 0 to 1e+06");
}

static void gemma3_numbers_out_of_range_are_named(void **state) {
    (void)state;
    static const struct {
        model_edit edit;
        const char *message;
    } cases[] = {
        {{"gemma3.attention.sliding_window", META_U32, 0, NULL},
         "tiny.gguf: gemma3.attention.sliding_window is 0, wanted 1 to 268435456"},
        {{"gemma3.attention.sliding_window_pattern", META_U32, 0, NULL},
         "tiny.gguf: gemma3.attention.sliding_window_pattern is 0, wanted 1 to 1024"},
        {{"gemma3.rope.freq_base_swa", META_F32, 0.5, NULL},
         "tiny.gguf: gemma3.rope.freq_base_swa is 0.5, wanted 1 to 1e+12"},
        {{"gemma3.attn_logit_softcapping", META_F32, -1, NULL},
         "tiny.gguf: gemma3.attn_logit_softcapping is -1, wanted 0 to 1e+06"},
        {{"gemma3.final_logit_softcapping", META_F32, -1, NULL},
         "tiny.gguf: gemma3.final_logit_softcapping is -1, wanted 0 to 1e+06"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_edit_refused(model_spec_gemma3(), cases[i].edit, WEFT_FORMAT, cases[i].message);
    }
}

static void features_we_lack_are_refused_by_name(void **state) {
    (void)state;
    expect_edit_refused(model_spec_llama(), (model_edit){"llama.expert_count", META_U32, 8, NULL},
                        WEFT_UNSUPPORTED,
                        "tiny.gguf: llama.expert_count is 8, but experts are not supported");
    expect_edit_refused(model_spec_llama(),
                        (model_edit){"llama.rope.scaling.type", META_STRING, 0, "longrope"},
                        WEFT_UNSUPPORTED,
                        "tiny.gguf: llama.rope.scaling.type is 'longrope', supported are 'none', "
                        "'linear', 'yarn' and 'llama3' (a rope_freqs tensor)");
    const model_edit yarn = {"llama.rope.scaling.type", META_STRING, 0, "yarn"};
    model_spec both = model_spec_llama();
    both.has_rope_freqs = true;
    expect_edit_refused(both, yarn, WEFT_UNSUPPORTED,
                        "tiny.gguf: llama.rope.scaling.type is 'yarn', but there is a "
                        "rope_freqs.weight too");
    expect_edit_refused(
        model_spec_llama(), (model_edit){"general.architecture", META_STRING, 0, "mamba"},
        WEFT_UNSUPPORTED,
        "tiny.gguf: architecture 'mamba' is not supported (llama, gemma3, qwen3, qwen3moe are)");
}

#define QWEN3MOE_KEYS 10u

/* Default keys of a model with 8 experts, 3 a row, after which a test may put one of its own. */
static model_spec spec_qwen3moe(model_edit edits[QWEN3MOE_KEYS + 1]) {
    const model_edit keys[QWEN3MOE_KEYS] = {
        {"qwen3moe.block_count", META_U32, 2, NULL},
        {"qwen3moe.context_length", META_U32, 512, NULL},
        {"qwen3moe.embedding_length", META_U32, 64, NULL},
        {"qwen3moe.feed_forward_length", META_U32, 96, NULL},
        {"qwen3moe.attention.head_count", META_U32, 4, NULL},
        {"qwen3moe.attention.key_length", META_U32, 32, NULL},
        {"qwen3moe.attention.value_length", META_U32, 32, NULL},
        {"qwen3moe.expert_count", META_U32, 8, NULL},
        {"qwen3moe.expert_used_count", META_U32, 3, NULL},
        {"qwen3moe.expert_feed_forward_length", META_U32, 40, NULL},
    };
    memcpy(edits, keys, sizeof keys);
    model_spec spec = model_spec_llama();
    spec.arch = "qwen3moe";
    spec.edits = edits;
    spec.n_edits = QWEN3MOE_KEYS;
    return spec;
}

static void qwen3moe_routing_is_read(void **state) {
    (void)state;
    model_edit edits[QWEN3MOE_KEYS + 1];
    const model_spec spec = spec_qwen3moe(edits);
    const geometry g = read_good(&spec);
    assert_int_equal(g.routing.n_experts, 8);
    assert_int_equal(g.routing.n_used, 3);
    assert_int_equal(g.routing.score, EXPERT_SCORE_SOFTMAX);
    assert_true(g.routing.is_normalised);
    assert_true(g.routing.scale == 1.0f);
    assert_int_equal(g.n_ff_expert, 40);
    assert_int_equal(g.n_ff, 0); /* no layer is dense */
    assert_int_equal(g.groups[0].n_layers, 2);
}

static void impossible_experts_are_refused(void **state) {
    (void)state;
    const struct {
        const char *key;
        double number;
        weft_status status;
        const char *message;
    } cases[] = {
        {"qwen3moe.expert_count", 513, WEFT_FORMAT,
         "tiny.gguf: qwen3moe.expert_count is 513, wanted 1 to 512"},
        {"qwen3moe.expert_used_count", 9, WEFT_FORMAT,
         "tiny.gguf: qwen3moe.expert_used_count is 9, wanted 1 to 8"},
        {"qwen3moe.expert_feed_forward_length", 0, WEFT_FORMAT,
         "tiny.gguf: qwen3moe.expert_feed_forward_length is 0, wanted 1 to 1048576"},
        {"qwen3moe.expert_shared_count", 1, WEFT_UNSUPPORTED,
         "tiny.gguf: qwen3moe.expert_shared_count is 1, but shared experts are not supported"},
        {"qwen3moe.leading_dense_block_count", 1, WEFT_UNSUPPORTED,
         "tiny.gguf: qwen3moe.leading_dense_block_count is 1, but dense layers among experts are "
         "not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model_edit edits[QWEN3MOE_KEYS + 1];
        model_spec spec = spec_qwen3moe(edits);
        const model_edit edit = {cases[i].key, META_U32, cases[i].number, NULL};
        size_t at = 0;
        while (at < QWEN3MOE_KEYS && strcmp(edits[at].key, edit.key) != 0) {
            at++;
        }
        edits[at] = edit;
        spec.n_edits = at == QWEN3MOE_KEYS ? QWEN3MOE_KEYS + 1 : QWEN3MOE_KEYS;
        expect_refused(&spec, cases[i].status, cases[i].message);
    }
}

static void wrong_types_are_named(void **state) {
    (void)state;
    static const model_edit edits[] = {
        {"llama.block_count", META_STRING, 0, "two"},
        {"llama.attention.head_count_kv", META_ARRAY, 2, NULL},
        {"llama.rope.freq_base", META_STRING, 0, "1"},
        {"llama.rope.scaling.type", META_U32, 1, NULL},
        {"general.architecture", META_U32, 1, NULL},
        {"general.name", META_U32, 1, NULL},
    };
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        geometry g;
        weft_error err = {0};
        model_spec spec = model_spec_llama();
        spec.edits = &edits[i];
        spec.n_edits = 1;
        weights *w = model_image_open(&spec);
        assert_int_equal(geometry_read(&g, w, &err), WEFT_FORMAT);
        assert_non_null(strstr(err.message, edits[i].key));
        model_image_close(&w);
    }
}

static void the_embedding_table_must_fit(void **state) {
    (void)state;
    model_spec spec = model_spec_llama();
    spec.n_embd = 32;
    expect_refused(&spec, WEFT_FORMAT,
                   "tiny.gguf: tensor 'token_embd.weight' is [100][32], wanted [vocabulary][64]");
    spec = model_spec_llama();
    spec.n_vocab = 0;
    spec.has_output = false;
    expect_refused(&spec, WEFT_FORMAT, "tiny.gguf: holds a vocabulary only, a model was wanted");
    spec.has_rope_freqs = true;
    expect_refused(&spec, WEFT_FORMAT, "tiny.gguf: tensor 'token_embd.weight' is missing");
}

static void more_heads_than_width_need_a_head_size(void **state) {
    (void)state;
    expect_edit_refused(
        model_spec_llama(), (model_edit){"llama.attention.head_count", META_U32, 128, NULL},
        WEFT_FORMAT, "tiny.gguf: metadata key 'llama.attention.key_length' is missing");
}

static void known_architectures_are_listed(void **state) {
    (void)state;
    const char *const *names = geometry_archs();
    assert_string_equal(names[0], "llama");
    assert_string_equal(names[1], "gemma3");
    assert_string_equal(names[2], "qwen3");
    assert_string_equal(names[3], "qwen3moe");
    assert_null(names[4]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_is_read),
        cmocka_unit_test(absent_keys_have_their_defaults),
        cmocka_unit_test(llama_options_are_read),
        cmocka_unit_test(yarn_has_its_keys_and_their_defaults),
        cmocka_unit_test(a_linear_factor_counts_without_its_type),
        cmocka_unit_test(gemma3_has_two_kinds_of_layers),
        cmocka_unit_test(gemma3_options_are_read),
        cmocka_unit_test(missing_keys_are_named),
        cmocka_unit_test(numbers_out_of_range_are_named_with_the_range),
        cmocka_unit_test(gemma3_numbers_out_of_range_are_named),
        cmocka_unit_test(features_we_lack_are_refused_by_name),
        cmocka_unit_test(qwen3moe_routing_is_read),
        cmocka_unit_test(impossible_experts_are_refused),
        cmocka_unit_test(wrong_types_are_named),
        cmocka_unit_test(the_embedding_table_must_fit),
        cmocka_unit_test(more_heads_than_width_need_a_head_size),
        cmocka_unit_test(known_architectures_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
