/* test_slice.c - parts of ranks follow each other, cover everything and cut nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout/slice.h"

static void alone_one_has_everything(void **state) {
    (void)state;
    const slice none = slice_of(20, 4, (slice_rank){0, 0});
    const slice one = slice_of(20, 4, (slice_rank){0, 1});
    assert_int_equal(none.from, 0);
    assert_int_equal(none.count, 20);
    assert_int_equal(one.from, 0);
    assert_int_equal(one.count, 20);
}

static void parts_cover_everything_in_whole_units(void **state) {
    (void)state;
    for (uint32_t size = 1; size <= 9; size++) {
        for (uint32_t units = 0; units <= 20; units++) {
            const uint32_t unit = 32;
            uint32_t at = 0, least = UINT32_MAX, most = 0;
            for (uint32_t rank = 0; rank < size; rank++) {
                const slice s = slice_of(units * unit, unit, (slice_rank){rank, size});
                assert_int_equal(s.from, at);
                assert_int_equal(s.count % unit, 0);
                assert_true(rank == 0 || s.count <= least); /* lower ranks have the larger parts */
                at += s.count;
                least = s.count < least ? s.count : least;
                most = s.count > most ? s.count : most;
            }
            assert_int_equal(at, units * unit);
            assert_true(most - least <= unit);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_one_has_everything),
        cmocka_unit_test(parts_cover_everything_in_whole_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
