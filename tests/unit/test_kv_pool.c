/* test_kv_pool.c - pages are handed out once, reservations are kept, nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "kv/kv_pool.h"

static kv_pool *make(uint32_t count) {
    kv_pool *pool = NULL;
    weft_error err = {0};
    assert_int_equal(kv_pool_create(&pool, count, &err), WEFT_OK);
    kv_pool_check(pool);
    return pool;
}

static void every_page_is_handed_out_once(void **state) {
    (void)state;
    bool is_taken[50] = {false};
    kv_pool *pool = make(50);
    assert_true(kv_pool_try_reserve(pool, 50));
    for (uint32_t i = 0; i < 50; i++) {
        const kv_page page = kv_pool_take(pool);
        assert_true(page < 50);
        assert_false(is_taken[page]);
        is_taken[page] = true;
        assert_int_equal(kv_pool_holders(pool, page), 1);
        kv_pool_check(pool);
    }
    assert_int_equal(kv_pool_held(pool), 50);
    for (kv_page page = 0; page < 50; page++) {
        assert_true(kv_pool_release(pool, page));
        kv_pool_check(pool);
    }
    assert_int_equal(kv_pool_held(pool), 0);
    kv_pool_destroy(&pool);
    assert_null(pool);
}

static void reserved_pages_are_not_available(void **state) {
    (void)state;
    kv_pool *pool = make(10);
    assert_int_equal(kv_pool_count(pool), 10);
    assert_true(kv_pool_try_reserve(pool, 7));
    assert_int_equal(kv_pool_available(pool), 3);
    assert_false(kv_pool_try_reserve(pool, 4));
    assert_int_equal(kv_pool_available(pool), 3); /* a refusal takes nothing */
    assert_true(kv_pool_try_reserve(pool, 3));
    assert_true(kv_pool_try_reserve(pool, 0));
    const kv_page page = kv_pool_take(pool);
    assert_int_equal(kv_pool_available(pool), 0); /* out of the reservation */
    kv_pool_unreserve(pool, 9);
    assert_int_equal(kv_pool_available(pool), 9);
    kv_pool_check(pool);
    assert_true(kv_pool_release(pool, page));
    assert_int_equal(kv_pool_available(pool), 10);
    kv_pool_destroy(&pool);
}

static void the_last_holder_frees_a_page(void **state) {
    (void)state;
    kv_pool *pool = make(2);
    assert_true(kv_pool_try_reserve(pool, 1));
    const kv_page page = kv_pool_take(pool);
    kv_pool_retain(pool, page);
    kv_pool_retain(pool, page);
    assert_int_equal(kv_pool_holders(pool, page), 3);
    assert_int_equal(kv_pool_held(pool), 1);
    assert_false(kv_pool_release(pool, page));
    assert_false(kv_pool_release(pool, page));
    kv_pool_check(pool);
    assert_true(kv_pool_release(pool, page));
    assert_int_equal(kv_pool_available(pool), 2);
    kv_pool_destroy(&pool);
}

static void shuffling_changes_the_order_and_loses_nothing(void **state) {
    (void)state;
    kv_page first[64], second[64];
    kv_page *orders[] = {first, second};
    kv_pool *pool = make(64);
    for (uint64_t seed = 0; seed < 2; seed++) {
        uint64_t seen = 0;
        kv_pool_shuffle(pool, seed);
        kv_pool_check(pool);
        assert_true(kv_pool_try_reserve(pool, 64));
        for (uint32_t i = 0; i < 64; i++) {
            orders[seed][i] = kv_pool_take(pool);
            seen |= (uint64_t)1 << orders[seed][i];
        }
        assert_true(seen == UINT64_MAX);
        for (kv_page page = 0; page < 64; page++) {
            kv_pool_release(pool, page);
        }
    }
    assert_memory_not_equal(first, second, sizeof first);
    kv_pool_destroy(&pool);
}

static void empty_pools_and_too_large_ones(void **state) {
    (void)state;
    weft_error err = {0};
    kv_pool *pool = make(0);
    assert_false(kv_pool_try_reserve(pool, 1));
    kv_pool_destroy(&pool);
    kv_pool_destroy(&pool); /* accepts NULL */
    assert_int_equal(kv_pool_create(&pool, KV_PAGES_MAX + 1, &err), WEFT_LIMIT);
    assert_string_equal(err.message, "1073741825 KV pages, the most is 1073741824");
    assert_null(pool);
}

static void creation_survives_every_failing_allocation(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    for (int64_t nth = 0; nth < 3; nth++) {
        weft_error err = {0};
        kv_pool *pool = NULL;
        mem_fail_after(nth);
        assert_int_equal(kv_pool_create(&pool, 10, &err), WEFT_NOMEM);
        mem_fail_after(-1);
        assert_null(pool);
        assert_string_equal(err.message, "out of memory for a table of 10 KV pages");
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
}

static void a_random_walk_keeps_the_books(void **state) {
    (void)state;
    enum { PAGES = 97 };
    uint32_t holders[PAGES] = {0}, n_held = 0, n_reserved = 0;
    uint64_t seed = 3;
    kv_pool *pool = make(PAGES);
    for (uint32_t step = 0; step < 50000; step++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const uint32_t r = (uint32_t)(seed >> 33);
        const kv_page page = r / 8 % PAGES;
        if (r % 8 < 2) {
            const uint32_t n = r / 8 % 6;
            const bool fits = n_held + n_reserved + n <= PAGES;
            assert_int_equal(kv_pool_try_reserve(pool, n), fits);
            n_reserved += fits ? n : 0;
        } else if (r % 8 < 4 && n_reserved > 0) {
            const kv_page taken = kv_pool_take(pool);
            assert_int_equal(holders[taken], 0);
            holders[taken] = 1;
            n_held++;
            n_reserved--;
        } else if (r % 8 == 4 && holders[page] > 0) {
            kv_pool_retain(pool, page);
            holders[page]++;
        } else if (r % 8 > 4 && holders[page] > 0) {
            const bool is_free = --holders[page] == 0;
            assert_int_equal(kv_pool_release(pool, page), is_free);
            n_held -= is_free;
        }
        assert_int_equal(kv_pool_held(pool), n_held);
        assert_int_equal(kv_pool_available(pool), PAGES - n_held - n_reserved);
        kv_pool_check(pool);
    }
    for (kv_page page = 0; page < PAGES; page++) {
        assert_int_equal(kv_pool_holders(pool, page), holders[page]);
        while (holders[page] > 0) {
            holders[page]--;
            kv_pool_release(pool, page);
        }
    }
    kv_pool_unreserve(pool, n_reserved);
    kv_pool_destroy(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_handed_out_once),
        cmocka_unit_test(reserved_pages_are_not_available),
        cmocka_unit_test(the_last_holder_frees_a_page),
        cmocka_unit_test(shuffling_changes_the_order_and_loses_nothing),
        cmocka_unit_test(empty_pools_and_too_large_ones),
        cmocka_unit_test(creation_survives_every_failing_allocation),
        cmocka_unit_test(a_random_walk_keeps_the_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
