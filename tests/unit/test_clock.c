/* test_clock.c - time goes forward and has the unit it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void monotonic_time_never_goes_back(void **state) {
    (void)state;
    uint64_t last = clock_now_ns();
    for (int i = 0; i < 10000; i++) {
        const uint64_t now = clock_now_ns();
        assert_true(now >= last);
        last = now;
    }
}

static void nanoseconds_are_nanoseconds(void **state) {
    (void)state;
    const struct timespec wait = {.tv_nsec = 20000000};
    const uint64_t start = clock_now_ns();
    (void)nanosleep(&wait, NULL);
    const uint64_t took = clock_now_ns() - start;
    assert_true(took >= 19000000);
    assert_true(took < 10000000000u); /* generous: the machine may be busy */
    assert_true(clock_seconds(1500000000u) == 1.5);
}

static void wall_time_is_after_this_was_written(void **state) {
    (void)state;
    assert_true(clock_unix_s() > 1700000000);
    const int64_t system = (int64_t)time(NULL);
    assert_true(clock_unix_s() - system <= 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(nanoseconds_are_nanoseconds),
        cmocka_unit_test(wall_time_is_after_this_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
