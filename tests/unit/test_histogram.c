/* test_histogram.c - every value is counted once, in the bucket whose bound it does not exceed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void a_value_falls_below_its_bound(void **state) {
    (void)state;
    weft_histogram h;
    histogram_init(&h, histogram_bounds_n);
    histogram_add(&h, 0);
    histogram_add(&h, 1);   /* a bound belongs to its bucket */
    histogram_add(&h, 1.5); /* the next one */
    histogram_add(&h, 65536);
    histogram_add(&h, 1e9); /* beyond */
    assert_int_equal(h.counts[0], 2);
    assert_int_equal(h.counts[1], 1);
    assert_int_equal(h.counts[WEFT_HISTOGRAM_BUCKETS - 1], 1);
    assert_int_equal(h.counts[WEFT_HISTOGRAM_BUCKETS], 1);
    assert_int_equal(h.count, 5);
    assert_true(h.sum == 0 + 1 + 1.5 + 65536 + 1e9);
}

static void bounds_ascend_and_every_bucket_can_be_reached(void **state) {
    (void)state;
    const double *const series[] = {histogram_bounds_s, histogram_bounds_n};
    for (int s = 0; s < 2; s++) {
        weft_histogram h;
        histogram_init(&h, series[s]);
        for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
            assert_true(i == 0 || series[s][i] > series[s][i - 1]);
            histogram_add(&h, series[s][i]);
            assert_int_equal(h.counts[i], 1);
        }
    }
}

static void quantiles_are_interpolated(void **state) {
    (void)state;
    weft_histogram h;
    histogram_init(&h, histogram_bounds_n);
    assert_true(histogram_quantile(&h, 0.5) == 0);
    for (int i = 0; i < 100; i++) {
        histogram_add(&h, 7); /* between 6 and 8 */
    }
    assert_true(histogram_quantile(&h, 0.5) == 7);
    assert_true(histogram_quantile(&h, 1) == 8);
    for (int i = 0; i < 100; i++) {
        histogram_add(&h, 100000); /* beyond the last bound, which is all that is known */
    }
    assert_true(histogram_quantile(&h, 0.99) == 65536);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_falls_below_its_bound),
        cmocka_unit_test(bounds_ascend_and_every_bucket_can_be_reached),
        cmocka_unit_test(quantiles_are_interpolated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
