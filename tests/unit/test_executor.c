/* test_executor.c - batches do not change bits, the plan is exact, and running allocates nothing.
 *
 * The comparisons themselves are in tests/golden/bits_checks.c; here they run on tiny models, over
 * every kind of device. Contexts go well beyond Gemma 3's window, which is 32 (or 20) here.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/os.h"
#include "bits_checks.h"
#include "cpu_levels.h"

#define PAST \
    88u /* at its end the windows of 32 and 20 begin inside a page, and pages are dropped */
#define ALL 96u
#define TAIL 80u

static const char llama[] = TINY_MODELS_DIR "/llama_gqa.gguf";
static const char llama_q8_0[] = TINY_MODELS_DIR "/llama_q8_0.gguf";
static const char gemma3[] = TINY_MODELS_DIR "/gemma3.gguf";
static const char gemma3_scaled[] = TINY_MODELS_DIR "/gemma3_scaled.gguf";

static const char qwen3[] = TINY_MODELS_DIR "/qwen3.gguf";
static const char qwen3moe[] = TINY_MODELS_DIR "/qwen3moe.gguf";
static const char qwen3moe_q8_0[] = TINY_MODELS_DIR "/qwen3moe_q8_0.gguf";

static bits_config config_of(const char *path) {
    return (bits_config){.path = path,
                         .n_threads = 2,
                         .cpu_flags = CPU_FLAGS_ALL,
                         .request = {.ctx = ALL + 8,
                                     .seqs = 3,
                                     .batch_rows = ALL,
                                     .out_rows = TAIL,
                                     .kv_type = WEFT_DTYPE_F16}};
}

static void open_rig(bits_rig *rig, const bits_config *c) {
    weft_error err = {0};
    if (bits_rig_open(rig, c, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
}

static void expect_same_bits(const bits_config *c) {
    static uint64_t whole[TAIL], rows[TAIL];
    static const uint32_t chunks[] = {7, 1, 33};
    bits_rig rig;
    open_rig(&rig, c);
    assert_int_equal(bits_together(&rig, PAST, PAST - 5), BITS_TOGETHER_ROWS);
    bits_prefill(&rig, ALL, ALL, TAIL, whole);
    const size_t n_chunks = c->cpu_flags != 0 ? 3 : 2; /* the references are slow */
    for (size_t i = 0; i < n_chunks; i++) {
        bits_prefill(&rig, ALL, chunks[i], TAIL, rows);
        assert_int_equal(bits_equal(whole, rows, TAIL), TAIL);
    }
    bits_rig_close(&rig);
}

/* At every level that the machine has, plain C among them, and at all its flags together. */
static void expect_same_bits_everywhere(const char *path) {
    bits_config c = config_of(path);
    expect_same_bits(&c);
    for (size_t i = 0; i < WEFT_LEN(cpu_levels); i++) {
        c.cpu_flags = cpu_levels[i].flags;
        if ((c.cpu_flags & ~cpu_flags_detect()) == 0 && c.cpu_flags != cpu_flags_detect()) {
            expect_same_bits(&c);
        }
    }
    c.cpu_flags = 0;
    c.is_deferred = true; /* runs on the references as well */
    expect_same_bits(&c);
}

static void llama_rows_do_not_depend_on_their_batch(void **state) {
    (void)state;
    expect_same_bits_everywhere(llama);
    expect_same_bits_everywhere(llama_q8_0);
}

static void gemma3_rows_do_not_depend_on_their_batch(void **state) {
    (void)state;
    expect_same_bits_everywhere(gemma3);
    expect_same_bits_everywhere(gemma3_scaled);
}

static void qwen3_rows_do_not_depend_on_their_batch(void **state) {
    (void)state;
    expect_same_bits_everywhere(qwen3);
    expect_same_bits_everywhere(qwen3moe);
    expect_same_bits_everywhere(qwen3moe_q8_0);
}

static void rows_do_not_depend_on_their_batch_in_any_kv_type(void **state) {
    (void)state;
    static const weft_dtype types[] = {WEFT_DTYPE_F32, WEFT_DTYPE_Q8_0, WEFT_DTYPE_Q4_0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        bits_config c = config_of(i == 1 ? llama_q8_0 : gemma3);
        c.request.kv_type = types[i];
        expect_same_bits(&c);
    }
}

static void expect_same_bits_by_threads(const char *path) {
    static uint64_t one[TAIL], two[TAIL], three[TAIL];
    uint64_t *rows[] = {one, two, three};
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        bits_rig rig;
        bits_config c = config_of(path);
        c.n_threads = n_threads;
        open_rig(&rig, &c);
        bits_prefill(&rig, ALL, n_threads == 3 ? 7 : ALL, TAIL, rows[n_threads - 1]);
        bits_rig_close(&rig);
    }
    assert_int_equal(bits_equal(one, two, TAIL), TAIL);
    assert_int_equal(bits_equal(one, three, TAIL), TAIL);
}

static void rows_do_not_depend_on_threads(void **state) {
    (void)state;
    expect_same_bits_by_threads(llama);
    expect_same_bits_by_threads(gemma3);
    expect_same_bits_by_threads(qwen3moe_q8_0);
}

static void fingerprint(const bits_config *c, uint64_t rows[TAIL]) {
    bits_rig rig;
    open_rig(&rig, c);
    bits_prefill(&rig, ALL, ALL, TAIL, rows);
    bits_rig_close(&rig);
}

/* Copies a file, or flips the lowest bit of every byte of its second half in place and puts the
 * time of its last change back: a file that looks the same and is not. */
static void copy_file(const char *from, const char *to) {
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(os_read_file(&data, &len, from, 1 << 24, NULL), WEFT_OK);
    assert_int_equal(os_write_file(to, data, len, NULL), WEFT_OK);
    mem_free(data);
}

static void change_in_place(const char *path) {
    struct stat st;
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(os_read_file(&data, &len, path, 1 << 24, NULL), WEFT_OK);
    for (size_t i = len / 2; i < len; i++) {
        data[i] ^= 1;
    }
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    mem_free(data);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static uint32_t cached_files(const char *dir) {
    uint32_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += strstr(e->d_name, ".pack") != NULL;
    }
    assert_int_equal(closedir(d), 0);
    return n;
}

static void packed_weights_from_the_cache_give_the_same_bits(void **state) {
    (void)state;
    static uint64_t want[TAIL], got[TAIL];
    char dir[] = "/tmp/weft-cache-XXXXXX", command[64], copy[64];
    assert_non_null(mkdtemp(dir));
    snprintf(copy, sizeof copy, "%s/copy.gguf", dir);
    copy_file(llama_q8_0, copy);
    bits_config c = config_of(copy);
    for (int i = 0; i < 2; i++) {
        c.cache_dir = NULL;
        fingerprint(&c, want);
        c.cache_dir = dir;
        for (int start = 0; start < 3; start++) { /* written (anew), then mapped */
            fingerprint(&c, got);
            assert_int_equal(bits_equal(want, got, TAIL), TAIL);
            assert_int_equal(cached_files(dir), 1);
        }
        change_in_place(copy); /* the cache must notice that it holds other weights */
    }
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* Nothing is held but vectors and the angles of rotations; experts are matrices like others. */
static void expect_matrices_in_the_file(const bits_rig *rig) {
    uint64_t matrices = 0, held = 0;
    for (size_t i = 0; i < weights_tensor_count(rig->w); i++) {
        const weights_tensor *t = weights_tensor_at(rig->w, i);
        matrices += t->n_dims > 1 ? t->n_bytes : 0;
        held += t->n_dims > 1 ? 0 : plan_tensor_bytes(t);
    }
    for (uint32_t i = 0; i < rig->geo.n_groups; i++) {
        held += plan_rope_bytes(&rig->geo.groups[i].rope);
    }
    assert_int_equal(rig->plan.mapped_bytes, matrices);
    assert_int_equal(rig->plan.packed_bytes, held);
}

static void weights_left_in_the_file_give_the_same_bits(void **state) {
    (void)state;
    static const char *const paths[] = {
        llama,    llama_q8_0,   gemma3, gemma3_scaled, TINY_MODELS_DIR "/llama_tied.gguf",
        qwen3moe, qwen3moe_q8_0};
    static uint64_t want[TAIL], got[TAIL];
    for (size_t i = 0; i < WEFT_LEN(paths); i++) {
        for (int is_deferred = 0; is_deferred < 2; is_deferred++) {
            bits_config c = config_of(paths[i]);
            c.is_deferred = is_deferred != 0;
            fingerprint(&c, want);
            c.request.maps_weights = true;
            bits_rig rig;
            open_rig(&rig, &c);
            expect_matrices_in_the_file(&rig);
            weights_release(&rig.w); /* the model holds it as long as it needs it */
            bits_prefill(&rig, ALL, 33, TAIL, got);
            assert_int_equal(bits_equal(want, got, TAIL), TAIL);
            bits_rig_close(&rig);
        }
    }
}

static uint32_t widest_input(const geometry *g) {
    const uint32_t heads = g->n_heads * g->v_dim;
    const uint32_t wider = g->n_embd > g->n_ff ? g->n_embd : g->n_ff;
    return wider > heads ? wider : heads;
}

static bool has_float_matrices(const weights *w) {
    bool has = false;
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        has |= weights_tensor_at(w, i)->n_dims > 1 && act_is_float(weights_tensor_at(w, i)->dtype);
    }
    return has;
}

/* The largest step the plan allows: every row taken, every logit row wanted. */
static void expect_exact_plan(const char *path, bool is_deferred) {
    static uint64_t rows[TAIL];
    bits_rig rig;
    bits_config c = config_of(path);
    c.is_deferred = is_deferred;
    open_rig(&rig, &c);
    bits_prefill(&rig, ALL, ALL, TAIL, rows);
    const executor_usage u = executor_usage_now(rig.exec);
    assert_int_equal(executor_scratch_peak(rig.exec), rig.plan.scratch_bytes);
    assert_int_equal(u.scratch_bytes, rig.plan.scratch_bytes);
    assert_int_equal(executor_scratch_peak(rig.exec), plan_scratch_bytes(&rig.geo, ALL, TAIL));
    assert_int_equal(u.kv_pool_bytes, rig.plan.kv_pool_bytes);
    const attn_shape shape = {.n_heads = rig.geo.n_heads,
                              .n_kv_heads = rig.geo.n_kv_heads,
                              .v_dim = rig.geo.v_dim,
                              .n_threads = c.n_threads};
    const uint64_t products =
        act_workspace_bytes(ALL, widest_input(&rig.geo), has_float_matrices(rig.w));
    const uint64_t attention = attn_workspace_bytes(&shape, c.request.seqs, c.request.ctx);
    const expert_routing *r = &rig.geo.routing;
    const uint64_t experts =
        r->n_used > 0 ? expert_workspace_bytes(r, ALL, rig.geo.n_embd, rig.geo.n_ff_expert) : 0;
    const uint64_t one = products > attention ? products : attention;
    assert_int_equal(u.workspace_bytes, one > experts ? one : experts);
    assert_int_equal(u.weights_bytes, rig.plan.packed_bytes);
    bits_rig_close(&rig);
}

static void scratch_peak_is_what_the_plan_says(void **state) {
    (void)state;
    static const char *const paths[] = {llama, llama_q8_0, gemma3,       gemma3_scaled,
                                        qwen3, qwen3moe,   qwen3moe_q8_0};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        expect_exact_plan(paths[i], false);
        expect_exact_plan(paths[i], true);
    }
}

/* Scratch with the head as its largest part, then the feed-forward, then attention. */
static void scratch_formula_holds_for_other_batches(void **state) {
    (void)state;
    static const uint32_t rows_and_out[][2] = {{1, 1}, {16, 1}, {64, 3}, {96, 1}, {96, 64}};
    for (size_t i = 0; i < sizeof rows_and_out / sizeof rows_and_out[0]; i++) {
        uint64_t hashes[64];
        bits_rig rig;
        bits_config c = config_of(gemma3_scaled);
        c.request.seqs = 1;
        c.request.batch_rows = rows_and_out[i][0];
        c.request.out_rows = rows_and_out[i][1];
        open_rig(&rig, &c);
        bits_prefill(&rig, rows_and_out[i][0], rows_and_out[i][0], rows_and_out[i][1], hashes);
        assert_int_equal(executor_scratch_peak(rig.exec), rig.plan.scratch_bytes);
        bits_rig_close(&rig);
    }
}

/* Two answers, one row each a step, from their first token on; beside them nothing, or a chunk of a
 * prompt with as many of its logits as the plan has room for. */
static void expect_no_allocation(const bits_config *c) {
    static const uint32_t chunks[] = {0, 1, 7, 16, 33, ALL - 2};
    weft_error err = {0};
    bits_rig rig;
    int32_t tokens[ALL];
    open_rig(&rig, c);
    bits_tokens(tokens, ALL, rig.geo.n_vocab, 1);
    kv_seqs *kv = executor_kv(rig.exec);
    const kv_seq seqs[] = {kv_seq_try_open(kv, ALL), kv_seq_try_open(kv, ALL)};
    const uint64_t allocs = mem_stats_total().allocs;
    for (uint32_t i = 0; i < ALL; i++) {
        const uint32_t n = chunks[i % WEFT_LEN(chunks)], n_out = n < TAIL - 2 ? n : TAIL - 2;
        const kv_seq prompt = kv_seq_try_open(kv, ALL);
        const executor_item items[] = {{seqs[0], i, 1, &tokens[i], 1},
                                       {seqs[1], i, 1, &tokens[ALL - 1 - i], 1},
                                       {prompt, 0, n, tokens, n_out}};
        for (uint32_t k = 0; k < 3; k++) {
            kv_seq_grow(kv, items[k].seq, items[k].from, items[k].from + items[k].n_tokens);
        }
        assert_int_equal(executor_run(rig.exec, items, n > 0 ? 3 : 2, &err), WEFT_OK);
        kv_seq_close(kv, prompt);
    }
    assert_int_equal(mem_stats_total().allocs, allocs);
    kv_seq_close(kv, seqs[0]);
    kv_seq_close(kv, seqs[1]);
    bits_rig_close(&rig);
}

static void no_run_allocates(void **state) {
    (void)state;
    static const char *const paths[] = {llama, llama_q8_0, gemma3,       gemma3_scaled,
                                        qwen3, qwen3moe,   qwen3moe_q8_0};
    for (size_t i = 0; i < WEFT_LEN(paths); i++) {
        bits_config c = config_of(paths[i]);
        expect_no_allocation(&c);
        c.request.maps_weights = true;
        c.request.kv_type = i == 1 ? WEFT_DTYPE_Q8_0 : i == 2 ? WEFT_DTYPE_Q4_0 : WEFT_DTYPE_F32;
        expect_no_allocation(&c);
    }
}

/* Before the first run, in the middle of runs and to the end: bits stay, and there is an end. */
static void warming_changes_no_bits(void **state) {
    (void)state;
    static uint64_t cold[TAIL], warm[TAIL];
    const char *const models[] = {llama, gemma3};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const bits_config c = config_of(models[i]);
        bits_rig rig;
        open_rig(&rig, &c);
        bits_prefill(&rig, ALL, ALL, TAIL, cold);
        assert_true(executor_try_warm(rig.exec));
        bits_prefill(&rig, ALL, 33, TAIL, warm);
        assert_int_equal(bits_equal(cold, warm, TAIL), TAIL);
        const executor_usage u = executor_usage_now(rig.exec);
        const uint64_t pieces_max =
            (u.scratch_bytes + u.kv_pool_bytes) / (2u << 20) + 1 + GEOMETRY_LAYERS_MAX;
        for (uint64_t n = 0; executor_try_warm(rig.exec); n++) {
            assert_true(n < pieces_max);
        }
        assert_false(executor_try_warm(rig.exec));
        bits_prefill(&rig, ALL, 7, TAIL, warm);
        assert_int_equal(bits_equal(cold, warm, TAIL), TAIL);
        bits_rig_close(&rig);
    }
}

static void a_step_beyond_the_plan_is_refused_with_numbers(void **state) {
    (void)state;
    int32_t tokens[ALL] = {0};
    weft_error err = {0};
    bits_rig rig;
    bits_config c = config_of(llama);
    c.request.batch_rows = 8;
    c.request.out_rows = 2;
    open_rig(&rig, &c);
    kv_seqs *kv = executor_kv(rig.exec);
    const kv_seq seq = kv_seq_try_open(kv, 32);
    kv_seq_grow(kv, seq, 0, 8);
    kv_seq_grow(kv, seq, 8, 16);
    const executor_item many_rows = {seq, 0, 9, tokens, 1};
    assert_int_equal(executor_run(rig.exec, &many_rows, 1, &err), WEFT_LIMIT);
    assert_string_equal(err.message,
                        "a step of 1 sequences, 9 rows, 1 logit rows; planned for 3, 8, 2");
    const executor_item many_out = {seq, 0, 8, tokens, 3};
    assert_int_equal(executor_run(rig.exec, &many_out, 1, &err), WEFT_LIMIT);
    tokens[1] = (int32_t)rig.geo.n_vocab;
    const executor_item foreign = {seq, 0, 2, tokens, 1};
    assert_int_equal(executor_run(rig.exec, &foreign, 1, &err), WEFT_INVALID);
    tokens[1] = -1;
    assert_int_equal(executor_run(rig.exec, &foreign, 1, &err), WEFT_INVALID);
    kv_seq_close(kv, seq);
    bits_rig_close(&rig);
}

/* Opens again and again with one more allocation allowed, until it succeeds. */
static void expect_clean_failures(const bits_config *c) {
    const uint64_t live = mem_stats_total().live_bytes;
    for (int64_t nth = 0; nth < 1000; nth++) {
        bits_rig rig;
        weft_error err = {0};
        mem_fail_after(nth);
        const weft_status status = bits_rig_open(&rig, c, &err);
        mem_fail_after(-1);
        if (status == WEFT_OK) {
            bits_rig_close(&rig);
            assert_int_equal(mem_stats_total().live_bytes, live);
            assert_true(nth > 20);
            return;
        }
        assert_int_equal(status, WEFT_NOMEM);
        assert_non_null(strstr(err.message, "out of memory"));
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    fail_msg("a thousand allocations to open a tiny model");
}

static void opening_survives_every_failing_allocation(void **state) {
    (void)state;
    bits_config c = config_of(llama);
    c.n_threads = 1;
    expect_clean_failures(&c);
    c.path = gemma3;
    c.is_deferred = true;
    expect_clean_failures(&c);
    c.path = TINY_MODELS_DIR "/llama3_rope.gguf";
    expect_clean_failures(&c);
    c.path = qwen3moe;
    expect_clean_failures(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_rows_do_not_depend_on_their_batch),
        cmocka_unit_test(gemma3_rows_do_not_depend_on_their_batch),
        cmocka_unit_test(qwen3_rows_do_not_depend_on_their_batch),
        cmocka_unit_test(rows_do_not_depend_on_their_batch_in_any_kv_type),
        cmocka_unit_test(rows_do_not_depend_on_threads),
        cmocka_unit_test(packed_weights_from_the_cache_give_the_same_bits),
        cmocka_unit_test(weights_left_in_the_file_give_the_same_bits),
        cmocka_unit_test(scratch_peak_is_what_the_plan_says),
        cmocka_unit_test(scratch_formula_holds_for_other_batches),
        cmocka_unit_test(no_run_allocates),
        cmocka_unit_test(warming_changes_no_bits),
        cmocka_unit_test(a_step_beyond_the_plan_is_refused_with_numbers),
        cmocka_unit_test(opening_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
