/* test_arena.c - aligned, zeroed, bounded, and gone all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void objects_are_zeroed_aligned_and_apart(void **state) {
    (void)state;
    arena a;
    arena_init(&a, MEM_TEST, 1 << 20);
    unsigned char *last = NULL;
    for (size_t i = 0; i < 500; i++) {
        const size_t size = 1 + i % 97;
        unsigned char *p = arena_alloc(&a, 1, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t j = 0; j < size; j++) {
            assert_int_equal(p[j], 0);
        }
        memset(p, 0xff, size);
        assert_true(p != last);
        last = p;
    }
    arena_deinit(&a);
}

static void limit_is_exact(void **state) {
    (void)state;
    arena a;
    arena_init(&a, MEM_TEST, 64);
    assert_non_null(arena_alloc(&a, 3, 16));
    assert_int_equal(a.used_bytes, 48);
    assert_null(arena_alloc(&a, 1, 17));
    assert_non_null(arena_alloc(&a, 1, 1));
    assert_int_equal(a.used_bytes, 64);
    assert_null(arena_alloc(&a, 1, 1));
    assert_null(arena_alloc(&a, 0, 0));
    arena_deinit(&a);
}

static void memory_taken_stays_near_the_limit(void **state) {
    (void)state;
    const uint64_t before = mem_stats_room(MEM_TEST).live_bytes;
    arena a;
    arena_init(&a, MEM_TEST, 100);
    assert_non_null(arena_alloc(&a, 1, 10));
    assert_true(mem_stats_room(MEM_TEST).live_bytes - before <= 100 + 32);
    arena_deinit(&a);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    arena a;
    arena_init(&a, MEM_TEST, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX, 2));
    assert_null(arena_alloc(&a, SIZE_MAX, 1));
    assert_null(arena_alloc(&a, SIZE_MAX - 40, 1));
    assert_null(arena_alloc(&a, (size_t)PTRDIFF_MAX, 1));
    assert_null(arena_strndup(&a, "", SIZE_MAX));
    assert_int_equal(a.used_bytes, 0);
    arena_deinit(&a);
}

static void objects_larger_than_a_chunk_are_served(void **state) {
    (void)state;
    arena a;
    arena_init(&a, MEM_TEST, SIZE_MAX);
    unsigned char *small = arena_alloc(&a, 1, 10);
    unsigned char *large = arena_alloc(&a, 1, 5 << 20);
    assert_non_null(small);
    assert_non_null(large);
    large[(5 << 20) - 1] = 1;
    assert_non_null(arena_alloc(&a, 1, 10));
    arena_deinit(&a);
}

static void reset_keeps_the_largest_chunk_and_zeroes_again(void **state) {
    (void)state;
    const uint64_t before = mem_stats_room(MEM_TEST).live_bytes;
    arena a;
    arena_init(&a, MEM_TEST, 1 << 20);
    for (int i = 0; i < 100; i++) {
        void *p = arena_alloc(&a, 1, 1000);
        assert_non_null(p);
        memset(p, 0xee, 1000);
    }
    const uint64_t full = mem_stats_room(MEM_TEST).live_bytes;
    arena_reset(&a);
    const uint64_t kept = mem_stats_room(MEM_TEST).live_bytes;
    assert_true(kept > before);
    assert_true(kept < full);
    assert_int_equal(a.used_bytes, 0);
    const uint64_t allocs = mem_stats_room(MEM_TEST).allocs;
    const unsigned char *p = arena_alloc(&a, 1, 1000);
    assert_non_null(p);
    assert_int_equal(mem_stats_room(MEM_TEST).allocs, allocs);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(p[i], 0);
    }
    arena_deinit(&a);
    assert_int_equal(mem_stats_room(MEM_TEST).live_bytes, before);
}

static void zeroed_and_empty_arenas_are_accepted(void **state) {
    (void)state;
    arena a = {0};
    arena_reset(&a);
    arena_deinit(&a);
    arena_init(&a, MEM_TEST, 100);
    arena_reset(&a);
    arena_deinit(&a);
}

static void refused_memory_leaves_the_arena_usable(void **state) {
    (void)state;
    arena a;
    arena_init(&a, MEM_TEST, 1 << 20);
    mem_fail_after(0);
    assert_null(arena_alloc(&a, 1, 100));
    assert_int_equal(a.used_bytes, 0);
    assert_non_null(arena_alloc(&a, 1, 100));
    mem_fail_after(0);
    assert_null(arena_alloc(&a, 1, 100000));
    assert_int_equal(a.used_bytes, 112);
    mem_fail_after(-1);
    arena_deinit(&a);
}

static void copies_end_with_nul(void **state) {
    (void)state;
    arena a;
    arena_init(&a, MEM_TEST, 1000);
    assert_string_equal(arena_strndup(&a, "selvage", 4), "selv");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    arena_deinit(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_aligned_and_apart),
        cmocka_unit_test(limit_is_exact),
        cmocka_unit_test(memory_taken_stays_near_the_limit),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(objects_larger_than_a_chunk_are_served),
        cmocka_unit_test(reset_keeps_the_largest_chunk_and_zeroes_again),
        cmocka_unit_test(zeroed_and_empty_arenas_are_accepted),
        cmocka_unit_test(refused_memory_leaves_the_arena_usable),
        cmocka_unit_test(copies_end_with_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
