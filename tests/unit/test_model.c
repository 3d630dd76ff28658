/* test_model.c - loading checks every tensor, reports what it does not know, gives back what it
 * took; and a batch with something no model does is refused by name.
 *
 * Files are the tiny models, with one entry of their tensor list changed in a copy in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"
#include "device/device_cpu.h"
#include "model/model.h"

static pool *threads;
static device *dev;
static char *image;
static size_t image_len;

static int setup(void **state) {
    (void)state;
    weft_error err;
    return pool_create(&threads, 1, &err) != WEFT_OK ||
           device_cpu_create(&dev, threads, cpu_flags_detect(), &err) != WEFT_OK;
}

static int teardown(void **state) {
    (void)state;
    device_destroy(&dev);
    pool_destroy(&threads);
    return 0;
}

static void read_image(const char *path) {
    weft_error err = {0};
    if (os_read_file(&image, &image_len, path, 1 << 20, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
}

/* The tensor list's entry of that name: right behind the name stand n_dims, dims, type, offset. */
static char *find_entry(const char *name) {
    const size_t len = strlen(name);
    for (size_t i = 8; i + len < image_len; i++) {
        uint64_t stored = 0;
        memcpy(&stored, image + i - 8, 8);
        if (stored == len && memcmp(image + i, name, len) == 0) {
            return image + i;
        }
    }
    fail_msg("no tensor '%s'", name);
    return NULL;
}

static weft_status load(model **m, const model_load_options *options, weft_error *err) {
    weights *w = NULL;
    geometry g;
    plan p;
    const plan_request rq = {.ctx = 32, .seqs = 1, .n_threads = 1, .kv_type = WEFT_DTYPE_F16};
    weft_status status = weights_open_memory(&w, image, image_len, "tiny.gguf", err);
    if (status == WEFT_OK) {
        status = geometry_read(&g, w, err);
    }
    if (status == WEFT_OK) {
        status = plan_make(&p, &g, w, &rq, err);
    }
    if (status == WEFT_OK) {
        status = model_load(m, dev, &g, &p, w, options, err);
    }
    weights_release(&w);
    return status;
}

static void expect_refused(weft_status want, const char *message) {
    model *m = NULL;
    weft_error err = {0};
    const uint64_t live = mem_stats_total().live_bytes;
    assert_int_equal(load(&m, NULL, &err), want);
    assert_string_equal(err.message, message);
    assert_null(m);
    assert_int_equal(mem_stats_total().live_bytes, live);
    mem_free(image);
    image = NULL;
}

static void every_tiny_model_loads(void **state) {
    (void)state;
    static const char *const names[] = {"llama_gqa", "llama3_rope",   "llama_tied",
                                        "llama_mha", "llama_bias",    "llama_q8_0",
                                        "gemma3",    "gemma3_scaled", "gemma3_27b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        model *m = NULL;
        weft_error err = {0};
        const uint64_t live = mem_stats_total().live_bytes;
        snprintf(path, sizeof path, "%s/%s.gguf", TINY_MODELS_DIR, names[i]);
        read_image(path);
        if (load(&m, NULL, &err) != WEFT_OK) {
            fail_msg("%s", err.message);
        }
        assert_int_equal(model_geometry(m)->n_vocab, 264);
        model_destroy(&m);
        assert_null(m);
        model_destroy(&m);
        mem_free(image);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
}

static void a_missing_tensor_is_named(void **state) {
    (void)state;
    static const char *const names[] = {"blk.1.attn_k.weight", "blk.0.ffn_norm.weight",
                                        "output_norm.weight", "blk.1.ffn_down.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char message[128];
        read_image(TINY_MODELS_DIR "/llama_gqa.gguf");
        find_entry(names[i])[0] = 'X';
        snprintf(message, sizeof message, "tiny.gguf: tensor '%s' is missing", names[i]);
        expect_refused(WEFT_FORMAT, message);
    }
    read_image(TINY_MODELS_DIR "/gemma3.gguf");
    find_entry("blk.6.post_ffw_norm.weight")[0] = 'X';
    expect_refused(WEFT_FORMAT, "tiny.gguf: tensor 'blk.6.post_ffw_norm.weight' is missing");
}

/* Swaps the two dimensions of a matrix, or cuts one off a vector. */
static void a_tensor_of_another_shape_is_named_with_both(void **state) {
    (void)state;
    uint64_t dims[2];
    read_image(TINY_MODELS_DIR "/llama_gqa.gguf");
    char *at = find_entry("blk.0.attn_k.weight") + strlen("blk.0.attn_k.weight") + 4;
    memcpy(dims, at, 16);
    memcpy(at, &dims[1], 8);
    memcpy(at + 8, &dims[0], 8);
    expect_refused(WEFT_FORMAT,
                   "tiny.gguf: tensor 'blk.0.attn_k.weight' is [64][32], wanted [32][64]");
    read_image(TINY_MODELS_DIR "/llama_gqa.gguf");
    at = find_entry("blk.1.attn_norm.weight") + strlen("blk.1.attn_norm.weight") + 4;
    dims[0] = 60;
    memcpy(at, dims, 8);
    expect_refused(WEFT_FORMAT, "tiny.gguf: tensor 'blk.1.attn_norm.weight' is [60], wanted [64]");
}

static char logged[1024];

static void keep_log(void *user, log_level level, const char *line) {
    (void)user;
    (void)level;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", line);
}

static void tensors_nobody_asked_for_are_reported(void **state) {
    (void)state;
    model *m = NULL;
    weft_error err = {0};
    read_image(TINY_MODELS_DIR "/llama_bias.gguf");
    find_entry("blk.1.attn_q.bias")[0] = 'X'; /* optional: the model loads without it */
    log_set_sink(keep_log, NULL, LOG_LEVEL_WARN);
    logged[0] = 0;
    assert_int_equal(load(&m, NULL, &err), WEFT_OK);
    log_set_sink(NULL, NULL, LOG_LEVEL_WARN);
    assert_non_null(strstr(logged, "tiny.gguf: tensor 'Xlk.1.attn_q.bias' is not used by this "
                                   "architecture"));
    model_destroy(&m);
    mem_free(image);
}

static void a_scale_nobody_applies_is_refused(void **state) {
    (void)state;
    read_image(TINY_MODELS_DIR "/llama_bias.gguf");
    memcpy(find_entry("blk.1.attn_q.bias"), "blk.1.att_q.scale", strlen("blk.1.att_q.scale"));
    expect_refused(WEFT_UNSUPPORTED, "tiny.gguf: tensor 'blk.1.att_q.scale' scales another one, "
                                     "which is not supported");
}

typedef struct seen {
    uint64_t done, total;
    uint32_t n_calls, stop_after;
} seen;

static bool see(void *user, uint64_t done_bytes, uint64_t total_bytes) {
    seen *s = user;
    assert_true(done_bytes > s->done);
    assert_true(done_bytes <= total_bytes);
    s->done = done_bytes;
    s->total = total_bytes;
    return ++s->n_calls != s->stop_after;
}

static void progress_counts_up_to_the_total(void **state) {
    (void)state;
    model *m = NULL;
    weft_error err = {0};
    seen s = {0};
    const model_load_options options = {.progress = see, .user = &s};
    read_image(TINY_MODELS_DIR "/gemma3.gguf");
    assert_int_equal(load(&m, &options, &err), WEFT_OK);
    assert_int_equal(s.done, s.total);
    model_destroy(&m);
    s = (seen){.stop_after = 5};
    assert_int_equal(load(&m, &options, &err), WEFT_CANCELLED);
    assert_string_equal(err.message, "tiny.gguf: loading was cancelled");
    assert_int_equal(s.n_calls, 5);
    assert_null(m);
    mem_free(image);
}

static void loading_survives_every_failing_allocation(void **state) {
    (void)state;
    model *m = NULL;
    read_image(TINY_MODELS_DIR "/llama3_rope.gguf"); /* factors are read to the host as well */
    const uint64_t live = mem_stats_total().live_bytes;
    for (int64_t nth = 0; m == NULL; nth++) {
        weft_error err = {0};
        mem_fail_after(nth);
        const weft_status status = load(&m, NULL, &err);
        mem_fail_after(-1);
        assert_int_equal(status, m != NULL ? WEFT_OK : WEFT_NOMEM);
        assert_true(m != NULL || mem_stats_total().live_bytes == live);
    }
    model_destroy(&m);
    assert_int_equal(mem_stats_total().live_bytes, live);
    mem_free(image);
}

static void what_no_model_does_is_refused_by_name(void **state) {
    (void)state;
    model *m = NULL;
    weft_error err = {0};
    read_image(TINY_MODELS_DIR "/llama_gqa.gguf");
    assert_int_equal(load(&m, NULL, &err), WEFT_OK);
    int32_t token = 5;
    uint8_t flags = BATCH_LOGITS;
    const uint32_t number = 0;
    const batch_span span = {0, 1};
    const tensor t = {0};
    batch_seq s = {.n_rows = 1, .state_in = BATCH_STATE_NONE, .state_out = BATCH_STATE_NONE};
    batch b = {.n_rows = 1, .n_seqs = 1, .token = &token, .flags = &flags, .seqs = &s};
    assert_int_equal(model_check_batch(m, &b, &err), WEFT_OK);
#define EXPECT(change, undo, what)                                                    \
    do {                                                                              \
        change;                                                                       \
        assert_int_equal(model_check_batch(m, &b, &err), WEFT_UNSUPPORTED);           \
        assert_string_equal(err.message, "architecture 'llama' does not take " what); \
        undo;                                                                         \
    } while (0)
    EXPECT(b.adapter = &number, b.adapter = NULL, "adapters");
    EXPECT(b.embeddings = &t, b.embeddings = NULL, "embedding rows as input");
    EXPECT((s.spans = &span, s.n_spans = 1), s.n_spans = 0, "spans that see both ways");
    EXPECT(s.tree_mask = &number, s.tree_mask = NULL, "tree masks");
    EXPECT(s.cross_memory = &t, s.cross_memory = NULL, "cross-attention memory");
    EXPECT(s.state_in = 0, s.state_in = BATCH_STATE_NONE, "recurrent states");
    EXPECT(flags = BATCH_HIDDEN, flags = 0, "rows that want hidden states");
    EXPECT(flags = BATCH_POOLED, flags = 0, "rows that want hidden states");
#undef EXPECT
    token = 264;
    assert_int_equal(model_check_batch(m, &b, &err), WEFT_INVALID);
    assert_string_equal(err.message, "token 264 is not in the vocabulary of 264");
    model_destroy(&m);
    mem_free(image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tiny_model_loads),
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_tensor_of_another_shape_is_named_with_both),
        cmocka_unit_test(tensors_nobody_asked_for_are_reported),
        cmocka_unit_test(a_scale_nobody_applies_is_refused),
        cmocka_unit_test(progress_counts_up_to_the_total),
        cmocka_unit_test(loading_survives_every_failing_allocation),
        cmocka_unit_test(what_no_model_does_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
