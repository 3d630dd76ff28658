/* test_drain.c - a queue that empties at a known rate is predicted at that rate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/drain.h"

#define MS 1000000ull

static void the_rate_is_that_of_those_who_leave(void **state) {
    (void)state;
    drain d = {0};
    uint64_t now = 5 * MS;
    for (int step = 0; step < 1000; step++, now += 10 * MS) {
        drain_observe(&d, 40, step % 20 == 0, now); /* one every 200 ms */
    }
    assert_true(d.each_ns > 195 * MS && d.each_ns < 205 * MS);
    assert_in_range(drain_retry_ms(&d, 40), 3900, 4100); /* half of 40, 200 ms each */
    for (int step = 0; step < 1000; step++, now += 10 * MS) {
        drain_observe(&d, 40, step % 20 == 0 ? 4 : 0, now);
    }
    assert_in_range(drain_retry_ms(&d, 400), 9700, 10300); /* 50 ms each */
}

static void time_without_a_queue_does_not_count(void **state) {
    (void)state;
    drain d = {0};
    drain_observe(&d, 1, 0, 10 * MS);
    drain_observe(&d, 1, 1, 110 * MS);
    const double each_ns = d.each_ns;
    drain_observe(&d, 0, 0, 100000 * MS);
    drain_observe(&d, 0, 1, 200000 * MS); /* came and went within a step */
    assert_true(d.each_ns == each_ns);
    drain_observe(&d, 1, 1, 200100 * MS);
    assert_true(d.each_ns > 99 * MS && d.each_ns < 101 * MS);
}

/* Who leaves first may have gone because its client hung up. */
static void the_first_to_leave_soon_weighs_little(void **state) {
    (void)state;
    drain d = {0};
    drain_observe(&d, 12, 0, 10 * MS);
    drain_observe(&d, 12, 1, 20 * MS);
    for (uint64_t i = 1; i <= 4; i++) {
        drain_observe(&d, 12, 1, (20 + 500 * i) * MS);
    }
    assert_in_range(drain_retry_ms(&d, 12), 2400, 2450); /* (10 + 4 * 500) / 5 ms each */
}

static void the_answer_has_limits(void **state) {
    (void)state;
    drain d = {0};
    assert_int_equal(drain_retry_ms(&d, 1000), DRAIN_RETRY_MS_MIN); /* nothing measured */
    drain_observe(&d, 1, 0, 1);
    drain_observe(&d, 1, 1, 3600 * 1000 * MS);
    assert_int_equal(drain_retry_ms(&d, 1000), DRAIN_RETRY_MS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_is_that_of_those_who_leave),
        cmocka_unit_test(time_without_a_queue_does_not_count),
        cmocka_unit_test(the_first_to_leave_soon_weighs_little),
        cmocka_unit_test(the_answer_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
