/* test_load_report.c - figures, medians and equality; the three shapes have what they must. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/load_plot.h"
#include "cli/load_report.h"

static load_result result;

static void figures_are_what_they_are_called(void **state) {
    (void)state;
    result = (load_result){.seconds = 4,
                           .n_asked = 10,
                           .n_ok = 8,
                           .n_good = 5,
                           .n_counted = 8,
                           .prompt_tokens = 800,
                           .cached_tokens = 200,
                           .output_tokens = 400};
    load_hist_add(&result.ttft, 30);
    load_hist_add(&result.e2e, 70);
    const load_figures f = load_figures_from(&result);
    assert_true(f.of[LOAD_FIGURE_OUTPUT_TOK_S] == 100 && f.of[LOAD_FIGURE_TOTAL_TOK_S] == 300);
    assert_true(f.of[LOAD_FIGURE_REQUESTS_S] == 2 && f.of[LOAD_FIGURE_GOODPUT_S] == 1.25);
    assert_true(f.of[LOAD_FIGURE_GOOD_SHARE] == 0.5 && f.of[LOAD_FIGURE_CACHED_SHARE] == 0.25);
    assert_true(f.of[LOAD_FIGURE_PROMPT_TOKENS] == 100 && f.of[LOAD_FIGURE_OUTPUT_TOKENS] == 50);
    assert_true(f.of[LOAD_FIGURE_TTFT_P99] == 30 && f.of[LOAD_FIGURE_E2E_P50] == 70);
    assert_true(f.of[LOAD_FIGURE_ITL_P50] == 0);
}

static void a_median_is_of_each_figure_by_itself(void **state) {
    (void)state;
    load_figures all[4] = {0};
    for (uint32_t i = 0; i < 4; i++) {
        all[i].of[LOAD_FIGURE_SECONDS] = i * 10;
        all[i].of[LOAD_FIGURE_TTFT_P50] = 100 - i;
    }
    assert_true(load_figures_median(all, 3).of[LOAD_FIGURE_SECONDS] == 10);
    assert_true(load_figures_median(all, 3).of[LOAD_FIGURE_TTFT_P50] == 99);
    assert_true(load_figures_median(all, 4).of[LOAD_FIGURE_SECONDS] == 15);
}

static void answers_are_compared_one_by_one(void **state) {
    (void)state;
    char same[] = "abcd", left[] = "abXX", right[] = "abYYYYYY", lonely[] = "z";
    char *first[] = {same, left, lonely, NULL}, *second[] = {same, right, NULL, NULL};
    const load_result a = {.texts = first, .n_texts = 4}, b = {.texts = second, .n_texts = 4};
    load_equality e = {0};
    load_equality_add(&e, &a, &b);
    assert_int_equal(e.n_both, 2);
    assert_int_equal(e.n_same, 1);
    assert_true(fabs(e.common_sum - 1.25) < 1e-9);
}

static const load_target targets[] = {{.url = "http://a?x=<&", .model = "m"}, {.url = "http://b"}};
static const load_settings settings = {.is_chat = true, .slo_ttft_ms = 500};
static load_point points[2];

static load_report report_of(uint32_t n_targets) {
    for (uint32_t i = 0; i < 2; i++) {
        points[i] = (load_point){.load = 4 * i + 1};
        for (uint32_t side = 0; side < 2; side++) {
            load_side *s = &points[i].sides[side];
            s->n_ok = 8;
            s->figures.of[LOAD_FIGURE_OUTPUT_TOK_S] = 100 * (i + 1) * (2 - side);
        }
    }
    points[0].sides[0].errors[LOAD_TIMEOUT] = 3;
    strncpy(points[0].sides[0].error_texts[LOAD_TIMEOUT], "too slow", 20);
    return (load_report){.targets = targets,
                         .n_targets = n_targets,
                         .settings = &settings,
                         .rounds = 1,
                         .points = points,
                         .n_points = 2};
}

static void the_table_names_ratios_and_errors(void **state) {
    (void)state;
    const load_report r = report_of(2);
    buf out;
    buf_init(&out, MEM_TEST, 1u << 20);
    load_report_table(&r, &out);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text, "2.00x"));
    assert_non_null(strstr(text, "3 timeout, the first: too slow"));
    assert_non_null(strstr(text, "goo"));
    buf_deinit(&out);
}

static void the_json_has_every_figure(void **state) {
    (void)state;
    const load_report r = report_of(1);
    json_t *root = load_report_json(&r);
    const json_t *first = json_array_get(json_object_get(root, "results"), 0);
    assert_int_equal(json_array_size(json_object_get(root, "results")), 2);
    assert_int_equal(json_array_size(json_object_get(root, "comparison")), 0);
    assert_true(json_real_value(json_object_get(first, "output_tok_s")) == 200);
    assert_true(json_is_real(json_object_get(first, "ttft_ms_p99")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(first, "errors"), "timeout")), 3);
    json_decref(root);
}

static void the_plot_is_one_picture_with_safe_names(void **state) {
    (void)state;
    const load_report r = report_of(2);
    buf out;
    buf_init(&out, MEM_TEST, 1u << 20);
    load_plot_write(&r, &out);
    const char *text = buf_cstr(&out);
    assert_non_null(strstr(text, "<svg"));
    assert_non_null(strstr(text, "</svg>"));
    assert_non_null(strstr(text, "http://a?x=&lt;&amp;"));
    assert_null(strstr(text, "nan"));
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_what_they_are_called),
        cmocka_unit_test(a_median_is_of_each_figure_by_itself),
        cmocka_unit_test(answers_are_compared_one_by_one),
        cmocka_unit_test(the_table_names_ratios_and_errors),
        cmocka_unit_test(the_json_has_every_figure),
        cmocka_unit_test(the_plot_is_one_picture_with_safe_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
