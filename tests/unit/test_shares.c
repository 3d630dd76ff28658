/* test_shares.c - what clients have had, and where they enter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "sched/shares.h"

static shares s;

static int setup(void **state) {
    (void)state;
    weft_error err = {0};
    return shares_init(&s, 4, &err) == WEFT_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    shares_check(&s);
    shares_deinit(&s);
    return 0;
}

static void a_newcomer_enters_with_the_least_served(void **state) {
    (void)state;
    const uint32_t a = shares_enter(&s, 10), b = shares_enter(&s, 20);
    shares_charge(&s, a, 100);
    shares_charge(&s, b, 70);
    const uint32_t c = shares_enter(&s, 30);
    assert_true(s.all[c].served == 70);
    assert_int_equal(shares_enter(&s, 10), a); /* one row a client */
    assert_true(s.all[a].served == 100);
    assert_int_equal(s.all[a].n_present, 2);
}

static void what_one_had_alone_is_not_held_against_it(void **state) {
    (void)state;
    const uint32_t a = shares_enter(&s, 10);
    shares_charge(&s, a, 1000);
    shares_leave(&s, a);
    const uint32_t b = shares_enter(&s, 20); /* nobody is there */
    assert_true(s.all[b].served == 1000);
    assert_true(s.all[shares_enter(&s, 10)].served == 1000);
}

static void time_away_is_not_saved_up_and_debt_stays(void **state) {
    (void)state;
    const uint32_t a = shares_enter(&s, 10), b = shares_enter(&s, 20);
    shares_charge(&s, a, 500);
    shares_leave(&s, a);
    assert_true(s.all[shares_enter(&s, 10)].served == 500); /* going and coming pays nothing */
    shares_leave(&s, a);
    shares_charge(&s, b, 900);
    assert_true(s.all[shares_enter(&s, 10)].served == 900);
}

static void clients_away_are_forgotten_when_room_is_wanted(void **state) {
    (void)state;
    const uint32_t first = shares_enter(&s, 1);
    for (uint64_t c = 2; c < 5000; c++) {
        const uint32_t at = shares_enter(&s, c);
        shares_charge(&s, at, 1);
        shares_leave(&s, at);
        assert_true(s.count <= s.capacity);
    }
    assert_int_equal(s.all[first].client, 1); /* never those present */
}

static void creation_can_fail(void **state) {
    (void)state;
    shares none;
    weft_error err = {0};
    mem_fail_after(0);
    assert_int_equal(shares_init(&none, 4, &err), WEFT_NOMEM);
    mem_fail_after(-1);
    assert_string_equal(err.message, "out of memory for the shares of 260 clients");
    shares_deinit(&none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_newcomer_enters_with_the_least_served, setup, teardown),
        cmocka_unit_test_setup_teardown(what_one_had_alone_is_not_held_against_it, setup, teardown),
        cmocka_unit_test_setup_teardown(time_away_is_not_saved_up_and_debt_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(clients_away_are_forgotten_when_room_is_wanted, setup,
                                        teardown),
        cmocka_unit_test(creation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
