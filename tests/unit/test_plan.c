/* test_plan.c - the arithmetic of memory, number by number, and budgets that say what would fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "layout/act.h"
#include "layout/page.h"
#include "model_image.h"
#include "plan/plan.h"

static weights *w;
static geometry geo;

static void open_model(const model_spec *spec) {
    weft_error err = {0};
    w = model_image_open(spec);
    if (geometry_read(&geo, w, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
}

static int setup_llama(void **state) {
    (void)state;
    const model_spec spec = model_spec_llama();
    open_model(&spec);
    return 0;
}

static int setup_gemma3(void **state) {
    (void)state;
    const model_spec spec = model_spec_gemma3();
    open_model(&spec);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    model_image_close(&w);
    return 0;
}

static plan_request request_of(uint32_t ctx, uint32_t seqs) {
    return (plan_request){.ctx = ctx, .seqs = seqs, .n_threads = 2, .kv_type = WEFT_DTYPE_F16};
}

static plan make(const plan_request *rq) {
    plan p;
    weft_error err = {0};
    if (plan_make(&p, &geo, w, rq, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return p;
}

static void expect_refused(const plan_request *rq, weft_status want, const char *message) {
    plan p;
    weft_error err = {0};
    memset(&p, 0x5a, sizeof p);
    assert_int_equal(plan_make(&p, &geo, w, rq, &err), want);
    assert_string_equal(err.message, message);
    assert_int_equal(p.ctx, 0x5a5a5a5a);
}

static void weights_are_counted_as_stored_and_as_packed(void **state) {
    (void)state;
    const plan_request rq = request_of(0, 1);
    const plan p = make(&rq);
    assert_int_equal(p.params_total, 2 * 100 * 64 + 64);
    assert_int_equal(p.weights_bytes, 2 * 100 * 64 * 4 + 64 * 4);
    /* 100 rows are 7 panels of 16; a vector stays F32; 8 rope frequencies. */
    assert_int_equal(p.packed_bytes, 2 * 7 * 16 * 64 * 4 + 64 * 4 + 64);
    assert_int_equal(p.packed_extra_bytes, p.packed_bytes - p.weights_bytes);
}

static void weights_left_in_the_file_are_no_part_of_the_total(void **state) {
    (void)state;
    plan_request rq = request_of(0, 1);
    rq.n_threads = 3;
    const plan packed = make(&rq);
    rq.maps_weights = true;
    const plan p = make(&rq);
    assert_int_equal(packed.mapped_bytes, 0);
    assert_int_equal(p.mapped_bytes, 2 * 100 * 64 * 4);
    assert_int_equal(p.weights_bytes, 64 * 4);
    assert_int_equal(p.packed_bytes, 64 * 4 + 64);
    assert_int_equal(p.params_total, packed.params_total);
    /* Each thread packs a panel of 16 rows. */
    const uint64_t panels = 3 * 16 * 64 * 4;
    assert_int_equal(p.workspace_bytes, packed.workspace_bytes + panels);
    assert_int_equal(p.total_bytes,
                     packed.total_bytes - (packed.packed_bytes - p.packed_bytes) + panels);
}

static void defaults_come_from_the_model(void **state) {
    (void)state;
    const plan_request rq = request_of(0, 1);
    const plan p = make(&rq);
    assert_int_equal(p.ctx, 512);
    assert_int_equal(p.seqs, 1);
    assert_int_equal(p.batch_rows, 512);
    assert_int_equal(p.out_rows, 1);
    plan_request large = request_of(512, 8);
    large.n_threads = 24;
    assert_int_equal(make(&large).batch_rows, 24 * 64);
    large.n_threads = 192;
    assert_int_equal(make(&large).batch_rows, 2048);
    plan_request short_ctx = request_of(100, 2);
    assert_int_equal(make(&short_ctx).batch_rows, 200); /* a tiny context needs no more */
    short_ctx.batch_rows = 40;
    short_ctx.out_rows = 7;
    const plan chosen = make(&short_ctx);
    assert_int_equal(chosen.batch_rows, 40);
    assert_int_equal(chosen.out_rows, 7);
    const plan_request many = request_of(512, 600);
    assert_int_equal(make(&many).batch_rows, 600); /* one row a sequence at least */
}

static void full_attention_takes_a_page_for_16_positions(void **state) {
    (void)state;
    const plan_request rq = request_of(100, 3);
    const plan p = make(&rq);
    assert_int_equal(p.n_groups, 1);
    assert_int_equal(p.groups[0].layer_page_bytes, 2 * 16 * (16 + 16) * 2);
    assert_int_equal(p.groups[0].page_bytes, 2 * p.groups[0].layer_page_bytes);
    assert_int_equal(p.groups[0].pages_per_seq, 7);
    assert_int_equal(p.groups[0].n_pages, 21);
    assert_int_equal(p.kv_pool_bytes, 21 * p.groups[0].page_bytes);
    assert_int_equal(p.groups[0].pool_bytes, p.kv_pool_bytes);
    assert_int_equal(p.kv_bytes, 3 * 100 * 2 * 2 * (16 + 16) * 2); /* no padding to pages */
}

static void values_inside_keys_take_no_room(void **state) {
    (void)state;
    const plan_request rq = request_of(100, 3);
    const plan apart = make(&rq);
    geo.groups[0].v_dim = 8;
    geo.groups[0].v_in_k = true;
    const plan p = make(&rq);
    assert_int_equal(p.groups[0].layer_page_bytes, 2 * 16 * 16 * 2);
    assert_int_equal(p.groups[0].n_pages, apart.groups[0].n_pages);
    assert_int_equal(p.kv_pool_bytes, apart.kv_pool_bytes / 2);
    assert_int_equal(p.kv_bytes, apart.kv_bytes / 2);
    assert_int_equal(p.total_bytes, apart.total_bytes - apart.kv_pool_bytes / 2);
}

static void kv_types_have_their_sizes(void **state) {
    (void)state;
    plan_request rq = request_of(64, 1);
    const uint64_t f16 = make(&rq).kv_bytes;
    rq.kv_type = WEFT_DTYPE_F32;
    assert_int_equal(make(&rq).kv_bytes, 2 * f16);
    rq.kv_type = WEFT_DTYPE_Q8_0;
    assert_int_equal(make(&rq).kv_bytes, f16 / 64 * 34);
    rq.kv_type = WEFT_DTYPE_Q4_0;
    assert_int_equal(make(&rq).kv_bytes, f16 / 64 * 18);
}

static void sliding_layers_take_their_window_a_chunk_and_a_cached_window(void **state) {
    (void)state;
    plan_request rq = request_of(512, 1);
    rq.batch_rows = 64;
    const plan p = make(&rq);
    assert_int_equal(p.n_groups, 2);
    assert_int_equal(p.groups[0].window, 32);
    assert_int_equal(p.groups[0].pages_per_seq, (32 + 64) / 16 + 1 + 32 / 16 + 1);
    assert_int_equal(p.groups[1].pages_per_seq, 32);
    assert_int_equal(p.groups[0].n_layers, 6);
    const uint64_t row = 2 * 32 * 2; /* K and V of one head of 32 in F16 */
    assert_int_equal(p.kv_bytes, 6 * 32 * row + 512 * row);
    rq.ctx = 24; /* shorter than the window */
    rq.batch_rows = 8;
    const plan q = make(&rq);
    assert_int_equal(q.groups[0].pages_per_seq, 2 + 2);
    assert_int_equal(q.kv_bytes, 7 * 24 * row);
}

static void scratch_is_the_widest_moment_of_a_forward(void **state) {
    (void)state;
    /* In rows of odd numbers of 16 floats: 3 of n_embd 64, one cos and sin of 16, then the largest
     * of attention (64 + 32 + 32 + 64), feed-forward (2 * 96), logits (112). Where not all rows go
     * on in the last layer, those that do have a residual (64) and angles of their own there. */
    assert_int_equal(plan_scratch_bytes(&geo, 10, 1), 10 * 4 * (3 * 80 + 16 + 80 + 48 + 48 + 80));
    assert_int_equal(plan_scratch_bytes(&geo, 1, 2), 4 * (3 * 80 + 16 + 80 + 48 + 48 + 80));
    assert_int_equal(plan_scratch_bytes(&geo, 10, 9),
                     10 * 4 * (3 * 80 + 16 + 48 + 48) + 9 * 4 * (80 + 16 + 80 + 80));
    geo.n_vocab = 1000; /* rows to 1008 floats */
    assert_int_equal(plan_scratch_bytes(&geo, 10, 2), 10 * 4 * (3 * 80 + 16 + 80 + 48 + 48 + 80));
    assert_int_equal(plan_scratch_bytes(&geo, 10, 9),
                     10 * 4 * (3 * 80 + 16) + 9 * 4 * (80 + 16 + 1008));
    assert_int_equal(plan_scratch_bytes(&geo, 10, 10), 10 * 4 * (3 * 80 + 16 + 1008));
    plan_request rq = request_of(64, 4);
    rq.batch_rows = 16;
    assert_int_equal(make(&rq).scratch_bytes, plan_scratch_bytes(&geo, 16, 4));
    assert_int_equal(make(&rq).workspace_bytes, act_workspace_bytes(16, 96, true));
}

static void the_total_is_the_sum(void **state) {
    (void)state;
    const plan_request rq = request_of(64, 2);
    const plan p = make(&rq);
    assert_int_equal(p.total_bytes, p.weights_bytes + p.packed_extra_bytes + p.kv_pool_bytes +
                                        p.state_pool_bytes + p.scratch_bytes + p.workspace_bytes +
                                        p.process_bytes);
    assert_int_equal(p.state_bytes, 0);
    assert_true(p.process_bytes > 1u << 20);
}

static void kv_memory_is_dealt_out_in_whole_pages(void **state) {
    (void)state;
    plan_request rq = request_of(512, 8);
    const plan whole = make(&rq);
    const uint64_t one = whole.kv_pool_bytes / 8;
    rq.kv_mem_bytes = 3 * one + one / 2;
    const plan p = make(&rq);
    assert_true(p.kv_pool_bytes <= rq.kv_mem_bytes);
    assert_true(p.kv_pool_bytes >
                rq.kv_mem_bytes - 2 * p.groups[0].page_bytes - 2 * p.groups[1].page_bytes);
    for (uint32_t g = 0; g < p.n_groups; g++) {
        assert_true(p.groups[g].n_pages >= 3 * p.groups[g].pages_per_seq);
    }
    rq.kv_mem_bytes = one; /* exactly one context */
    assert_int_equal(make(&rq).kv_pool_bytes, one);
    rq.kv_mem_bytes = 100 * whole.kv_pool_bytes; /* no more than is of use */
    assert_int_equal(make(&rq).kv_pool_bytes, whole.kv_pool_bytes);
}

static void requests_out_of_range_are_named(void **state) {
    (void)state;
    plan_request rq = request_of(64, 0);
    expect_refused(&rq, WEFT_INVALID, "sequences at once is 0, wanted 1 to 65536");
    rq.seqs = 65537;
    expect_refused(&rq, WEFT_INVALID, "sequences at once is 65537, wanted 1 to 65536");
    rq = request_of(513, 1);
    expect_refused(&rq, WEFT_LIMIT, "context of 513 positions, but the model's maximum is 512");
    rq = request_of(64, 8);
    rq.batch_rows = 7;
    expect_refused(&rq, WEFT_INVALID, "batch of 7 rows, wanted 8 (one a sequence) to 65536");
    rq.batch_rows = 65537;
    expect_refused(&rq, WEFT_INVALID, "batch of 65537 rows, wanted 8 (one a sequence) to 65536");
}

static void kv_types_that_do_not_fit_are_named(void **state) {
    (void)state;
    plan_request rq = request_of(64, 1);
    rq.kv_type = WEFT_DTYPE_Q8_0; /* heads of 16 */
    expect_refused(&rq, WEFT_UNSUPPORTED,
                   "KV type Q8_0 stores blocks of 32, which head sizes 16 and 16 are no multiples "
                   "of");
    rq.kv_type = WEFT_DTYPE_Q4_K;
    expect_refused(&rq, WEFT_INVALID, "KV type Q4_K is not one of F16, F32, Q8_0, Q4_0");
    rq.kv_type = WEFT_DTYPE_COUNT;
    expect_refused(&rq, WEFT_INVALID, "KV type ? is not one of F16, F32, Q8_0, Q4_0");
}

static void weights_in_the_file_are_not_shared_by_ranks(void **state) {
    (void)state;
    plan_request rq = request_of(64, 1);
    rq.maps_weights = true;
    rq.rank = (slice_rank){1, 2};
    expect_refused(&rq, WEFT_UNSUPPORTED,
                   "weights that stay in the file are read whole: 2 ranks cannot share them");
}

static void weights_without_products_are_named(void **state) {
    (void)state;
    plan p;
    weft_error err = {0};
    const model_edit edit = {"llama.embedding_length", META_U32, 256, NULL};
    model_spec spec = model_spec_llama();
    spec.edits = &edit;
    spec.n_edits = 1;
    spec.n_embd = 256;
    spec.dtype = WEFT_DTYPE_Q8_K;
    open_model(&spec);
    const plan_request rq = request_of(64, 1);
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_UNSUPPORTED);
    assert_string_equal(err.message, "tiny.gguf: tensor 'token_embd.weight' has type Q8_K, which "
                                     "has no products yet");
    model_image_close(&w);
}

/* Reads the number after `before` in the message. */
static uint32_t number_after(const char *message, const char *before) {
    const char *at = strstr(message, before);
    uint32_t n = 0;
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(before), "%u", &n), 1);
    return n;
}

static void a_small_kv_budget_says_what_would_fit(void **state) {
    (void)state;
    plan p;
    weft_error err = {0};
    plan_request rq = request_of(512, 4);
    rq.batch_rows = 32;
    rq.kv_mem_bytes = 40000;
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "KV memory of 39.06 KiB is too small: "));
    rq.ctx = number_after(err.message, "for a context of 512; ");
    assert_true(rq.ctx > 0 && rq.ctx < 512);
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_OK); /* it does fit */
    rq.ctx += 16;
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_LIMIT); /* and no more would */
    rq.kv_mem_bytes = 100;
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "KV memory of 100 B is too small: "));
    assert_null(strstr(err.message, "would fit"));
}

static void a_small_budget_says_what_would_fit(void **state) {
    (void)state;
    plan p;
    weft_error err = {0};
    plan_request rq = request_of(512, 1);
    rq.batch_rows = 32;
    const plan whole = make(&rq);
    rq.mem_bytes = whole.total_bytes - whole.kv_pool_bytes / 4;
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "memory budget of "));
    rq.ctx = number_after(err.message, "for a context of 512; ");
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_OK);
    assert_true(p.total_bytes <= rq.mem_bytes);
}

static void a_small_budget_for_many_says_what_would_fit(void **state) {
    (void)state;
    plan p;
    weft_error err = {0};
    plan_request rq = request_of(512, 8);
    rq.batch_rows = 32;
    const plan whole = make(&rq);
    rq.mem_bytes = whole.total_bytes - whole.kv_pool_bytes / 2;
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "are needed for 8 contexts of 512; 8 of "));
    rq.ctx = number_after(err.message, "; 8 of ");
    assert_true(rq.ctx > 0 && rq.ctx < 512);
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_OK);
    rq = request_of(512, 512); /* not even a page for each of so many */
    const plan many = make(&rq);
    rq.mem_bytes = many.total_bytes - many.kv_pool_bytes + many.kv_pool_bytes / 512 * 2;
    assert_int_equal(plan_make(&p, &geo, w, &rq, &err), WEFT_LIMIT);
    assert_non_null(strstr(err.message, "; 1 of 512 would fit"));
}

static void a_budget_below_the_weights_names_both_numbers(void **state) {
    (void)state;
    char want[32], message[128];
    plan_request rq = request_of(512, 1);
    plan_format_bytes(make(&rq).total_bytes, want, sizeof want);
    snprintf(message, sizeof message, "memory budget of 1000 B is too small: %s are needed", want);
    rq.mem_bytes = 1000;
    expect_refused(&rq, WEFT_LIMIT, message);
}

/* What a hostile header can ask for stays within 64 bits. */
static void giant_geometries_are_refused_not_wrapped(void **state) {
    (void)state;
    const geometry kept = geo;
    geo.n_heads = geo.n_kv_heads = geo.groups[0].n_kv_heads = 4096;
    geo.k_dim = geo.v_dim = geo.groups[0].k_dim = geo.groups[0].v_dim = 1024;
    geo.n_layers = geo.groups[0].n_layers = 1024;
    geo.ctx_train = 1u << 28;
    plan_request rq = request_of(1u << 28, 65536);
    rq.kv_type = WEFT_DTYPE_F32;
    expect_refused(&rq, WEFT_LIMIT,
                   "KV pools for 65536 contexts of 268435456 positions would take more than 2^60 "
                   "bytes");
    geo = kept;
    geo.ctx_train = 1u << 28;
    rq.kv_type = WEFT_DTYPE_F16;
    expect_refused(&rq, WEFT_LIMIT,
                   "1099511627776 KV pages for 65536 contexts of 268435456 positions, the most is "
                   "1073741824");
    geo = kept;
}

static void sizes_are_printed_for_people(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {1536, "1.50 KiB"},
        {(uint64_t)5 << 30, "5.00 GiB"},
        {UINT64_MAX, "16777216.00 TiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];
        plan_format_bytes(cases[i].bytes, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(weights_are_counted_as_stored_and_as_packed, setup_llama,
                                        teardown),
        cmocka_unit_test_setup_teardown(weights_left_in_the_file_are_no_part_of_the_total,
                                        setup_llama, teardown),
        cmocka_unit_test_setup_teardown(defaults_come_from_the_model, setup_llama, teardown),
        cmocka_unit_test_setup_teardown(full_attention_takes_a_page_for_16_positions, setup_llama,
                                        teardown),
        cmocka_unit_test_setup_teardown(values_inside_keys_take_no_room, setup_llama, teardown),
        cmocka_unit_test_setup_teardown(kv_types_have_their_sizes, setup_gemma3, teardown),
        cmocka_unit_test_setup_teardown(
            sliding_layers_take_their_window_a_chunk_and_a_cached_window, setup_gemma3, teardown),
        cmocka_unit_test_setup_teardown(scratch_is_the_widest_moment_of_a_forward, setup_llama,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_total_is_the_sum, setup_gemma3, teardown),
        cmocka_unit_test_setup_teardown(kv_memory_is_dealt_out_in_whole_pages, setup_gemma3,
                                        teardown),
        cmocka_unit_test_setup_teardown(requests_out_of_range_are_named, setup_llama, teardown),
        cmocka_unit_test_setup_teardown(kv_types_that_do_not_fit_are_named, setup_llama, teardown),
        cmocka_unit_test(weights_in_the_file_are_not_shared_by_ranks),
        cmocka_unit_test(weights_without_products_are_named),
        cmocka_unit_test_setup_teardown(a_small_kv_budget_says_what_would_fit, setup_gemma3,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_small_budget_says_what_would_fit, setup_gemma3, teardown),
        cmocka_unit_test_setup_teardown(a_small_budget_for_many_says_what_would_fit, setup_gemma3,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_budget_below_the_weights_names_both_numbers, setup_llama,
                                        teardown),
        cmocka_unit_test_setup_teardown(giant_geometries_are_refused_not_wrapped, setup_llama,
                                        teardown),
        cmocka_unit_test(sizes_are_printed_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
