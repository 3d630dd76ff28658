/* test_load_hist.c - percentiles within half a percent of sorting all values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/load_hist.h"
#include "cli/load_plan.h"

#define COUNT 20000

static load_hist h, other;
static double values[COUNT];

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void percentiles_agree_with_sorting(void **state) {
    (void)state;
    static const double shares[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
    uint64_t random = 3;
    double sum = 0;
    h = other = (load_hist){0};
    for (uint32_t i = 0; i < COUNT; i++) {
        values[i] = 0.01 * exp(12 * load_random_unit(&random)); /* 10 us to half an hour */
        sum += values[i];
        load_hist_add(i % 3 == 0 ? &h : &other, values[i]);
    }
    load_hist_merge(&h, &other);
    qsort(values, COUNT, sizeof *values, compare);
    for (size_t i = 0; i < WEFT_LEN(shares); i++) {
        const double exact = values[(size_t)ceil(shares[i] * COUNT) - 1];
        assert_true(fabs(load_hist_percentile(&h, shares[i]) - exact) <= 0.0051 * exact);
    }
    assert_int_equal(h.count, COUNT);
    assert_true(fabs(load_hist_mean(&h) - sum / COUNT) < 1e-6 * sum / COUNT);
    assert_true(h.min_ms == values[0] && h.max_ms == values[COUNT - 1]);
}

static void nothing_is_zero_and_one_is_itself(void **state) {
    (void)state;
    h = (load_hist){0};
    assert_true(load_hist_percentile(&h, 0.5) == 0 && load_hist_mean(&h) == 0);
    load_hist_add(&h, 12.345);
    assert_true(load_hist_percentile(&h, 0) == 12.345 && load_hist_percentile(&h, 0.99) == 12.345);
}

static void what_lies_outside_goes_to_the_ends(void **state) {
    (void)state;
    h = (load_hist){0};
    load_hist_add(&h, 0);
    load_hist_add(&h, 1e12);
    load_hist_add(&h, 1e12);
    assert_int_equal(h.buckets[0], 1);
    assert_int_equal(h.buckets[LOAD_HIST_BUCKETS - 1], 2);
    assert_true(load_hist_percentile(&h, 0.99) == 1e12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_agree_with_sorting),
        cmocka_unit_test(nothing_is_zero_and_one_is_itself),
        cmocka_unit_test(what_lies_outside_goes_to_the_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
