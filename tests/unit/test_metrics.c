/* test_metrics.c - numbers, causes and histograms as Prometheus reads them, under both sets of names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/metrics.h"

static double bounds[WEFT_HISTOGRAM_BUCKETS];
static weft_engine_stats stats;
static const weft_engine_info info = {.arch = "llama", .planned = {.kv_pool_bytes = 4096}};
static metrics_answers shapes;
static journal answers = {.n_statuses = 1, .statuses = {{429, {3, 0, 0}}}};
static buf out;

static weft_histogram histogram_of(uint64_t first, uint64_t beyond) {
    weft_histogram h = {.bounds = bounds, .count = first + beyond, .sum = 2.5};
    h.counts[0] = first;
    h.counts[WEFT_HISTOGRAM_BUCKETS] = beyond;
    return h;
}

static int fill(void **state) {
    (void)state;
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        bounds[i] = 0.5 * (i + 1);
    }
    stats = (weft_engine_stats){
        .running = 3,
        .waiting = 7,
        .generated_tokens = 1234567890123,
        .prefix_hits = 48,
        .recalled_tokens = 32,
        .n_groups = 2,
        .pages = {{.total = 10, .used = 4, .cached = 5}, {.window = 512, .total = 4, .used = 3}},
        .prefix_misses = {1, 2, 3, 4},
        .rejected = {10, 20, 30, 40},
        .finished = {0, 5, 6, 7, 8, 9}};
    weft_histogram *all[] = {&stats.first_token_s, &stats.inter_token_s, &stats.queue_s,
                             &stats.prefill_s,     &stats.decode_s,      &stats.end_to_end_s,
                             &stats.step_s,        &stats.step_rows};
    for (size_t i = 0; i < WEFT_LEN(all); i++) {
        *all[i] = histogram_of(2 + i, 1);
    }
    metrics_answers_init(&shapes);
    metrics_answers_add(
        &shapes,
        &(weft_usage){.prompt_tokens = 100, .completion_tokens = 5, .decode_ns = 2000000000});
    metrics_answers_add(&shapes, &(weft_usage){.prompt_tokens = 30, .completion_tokens = 1});
    buf_init(&out, MEM_TEST, 1u << 20);
    return 0;
}

static int end(void **state) {
    (void)state;
    buf_deinit(&out);
    return 0;
}

static const char *written(metrics_names names, bool is_loaded) {
    const metrics_source m = {.model_id = "a \"b\"",
                              .info = is_loaded ? &info : NULL,
                              .stats = is_loaded ? &stats : NULL,
                              .journal = &answers,
                              .answers = &shapes,
                              .refused = {2, 9, 50, 60},
                              .preparing = 4,
                              .wakes = 70,
                              .resident_bytes = 77};
    buf_clear(&out);
    metrics_write(&out, names, &m);
    return buf_cstr(&out);
}

static void has(const char *text, const char *line) {
    assert_non_null(text);
    if (strstr(text, line) == NULL) {
        fail_msg("'%.*s' is missing in\n%.*s", (int)strlen(line), line, (int)strlen(text), text);
    }
}

static void own_names_have_every_figure(void **state) {
    (void)state;
    static const char *const lines[] = {
        "\nweft_requests_waiting 7\n",
        "\nweft_generated_tokens_total 1234567890123\n",
        "\nweft_kv_pages{group=\"0\",window=\"0\",state=\"free\"} 1\n",
        "\nweft_kv_pages{group=\"1\",window=\"512\",state=\"used\"} 3\n",
        "\nweft_prefix_miss_tokens_total{cause=\"evicted\"} 3\n",
        "\nweft_recalled_tokens_total 32\n",
        "\nweft_requests_rejected_total{cause=\"queue_full\"} 12\n",
        "\nweft_requests_rejected_total{cause=\"too_long\"} 39\n",
        "\nweft_requests_rejected_total{cause=\"body_too_large\"} 50\n",
        "\nweft_requests_rejected_total{cause=\"headers_too_large\"} 60\n",
        "\nweft_requests_preparing 4\n",
        "\nweft_http_wakes_total 70\n",
        "\nweft_requests_finished_total{reason=\"deadline\"} 9\n",
        "\nweft_memory_planned_bytes{part=\"kv_pool\"} 4096\n",
        "\nweft_http_requests_total{endpoint=\"chat\",code=\"429\"} 3\n",
        "\nweft_time_to_first_token_seconds_bucket{le=\"0.5\"} 2\n",
        "\nweft_time_to_first_token_seconds_bucket{le=\"12\"} 2\n",
        "\nweft_time_to_first_token_seconds_bucket{le=\"+Inf\"} 3\n",
        "\nweft_time_to_first_token_seconds_sum 2.5\n",
        "\nweft_end_to_end_seconds_count 8\n",
        "\nweft_request_prompt_tokens_bucket{le=\"96\"} 1\n",
        "\nweft_request_prompt_tokens_sum 130\n",
        "\nweft_request_generated_tokens_sum 6\n",
        "\nweft_time_per_output_token_seconds_sum 0.5\n",
        "\nweft_time_per_output_token_seconds_count 1\n",
        "\nweft_model_info{model=\"a \\\"b\\\"\",arch=\"llama\"} 1\n",
        "\nprocess_resident_memory_bytes 77\n",
    };
    const char *text = written(METRICS_WEFT, true);
    assert_false(out.is_failed);
    for (size_t i = 0; i < WEFT_LEN(lines); i++) {
        has(text, lines[i]);
    }
    assert_null(strstr(text, "vllm:"));
}

static void the_other_names_carry_the_model(void **state) {
    (void)state;
    const char *text = written(METRICS_VLLM, true);
    has(text, "\nvllm:num_requests_running{model_name=\"a \\\"b\\\"\",engine=\"0\"} 3\n");
    has(text, "\nvllm:prefix_cache_hits_total{model_name=\"a \\\"b\\\"\",engine=\"0\"} 48\n");
    has(text, "\nvllm:kv_cache_usage_perc{model_name=\"a \\\"b\\\"\",engine=\"0\"} 0.75\n");
    has(text, ",engine=\"0\",finished_reason=\"abort\"} 7\n");
    has(text, "\nvllm:e2e_request_latency_seconds_bucket{model_name=\"a \\\"b\\\"\",engine=\"0\","
              "le=\"+Inf\"} 8\n");
    has(text, "\nvllm:request_prompt_tokens_count{model_name=\"a \\\"b\\\"\",engine=\"0\"} 2\n");
    has(text, "\nvllm:request_generation_tokens_sum{model_name=\"a \\\"b\\\"\",engine=\"0\"} 6\n");
    has(text, "\nvllm:request_time_per_output_token_seconds_sum{model_name=\"a \\\"b\\\"\","
              "engine=\"0\"} 0.5\n");
    assert_null(strstr(text, "\nweft_request"));
}

static void while_loading_little_is_known(void **state) {
    (void)state;
    has(written(METRICS_WEFT, false), "weft_build_info{version=");
    assert_null(strstr(buf_cstr(&out), "weft_requests_running"));
    has(buf_cstr(&out), "\nweft_requests_rejected_total{cause=\"queue_full\"} 2\n");
    has(buf_cstr(&out), "\nweft_requests_rejected_total{cause=\"body_too_large\"} 50\n");
    has(written(METRICS_VLLM, false), "process_resident_memory_bytes 77\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(own_names_have_every_figure, fill, end),
        cmocka_unit_test_setup_teardown(the_other_names_carry_the_model, fill, end),
        cmocka_unit_test_setup_teardown(while_loading_little_is_known, fill, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
