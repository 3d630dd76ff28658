/* test_mem.c - the gate counts, aligns, refuses overflow and fails on request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void counts_by_room_return_to_where_they_were(void **state) {
    (void)state;
    const mem_stats before = mem_stats_room(MEM_TEST);
    const mem_stats other = mem_stats_room(MEM_KV);
    void *p = mem_alloc(MEM_TEST, 100);
    void *q = mem_zalloc(MEM_TEST, 10, 5);
    assert_non_null(p);
    assert_non_null(q);
    mem_stats now = mem_stats_room(MEM_TEST);
    assert_int_equal(now.live_bytes - before.live_bytes, 150);
    assert_int_equal(now.allocs - before.allocs, 2);
    p = mem_realloc(MEM_TEST, p, 40, 5);
    assert_non_null(p);
    now = mem_stats_room(MEM_TEST);
    assert_int_equal(now.live_bytes - before.live_bytes, 250);
    assert_int_equal(now.allocs - before.allocs, 3);
    mem_free(p);
    mem_free(q);
    mem_free(NULL);
    assert_int_equal(mem_stats_room(MEM_TEST).live_bytes, before.live_bytes);
    assert_int_equal(mem_stats_room(MEM_KV).allocs, other.allocs);
}

static void total_is_the_sum_of_rooms(void **state) {
    (void)state;
    void *p = mem_alloc(MEM_HTTP, 33);
    uint64_t live = 0;
    uint64_t allocs = 0;
    for (int room = 0; room < MEM_ROOM_COUNT; room++) {
        live += mem_stats_room((mem_room)room).live_bytes;
        allocs += mem_stats_room((mem_room)room).allocs;
    }
    assert_int_equal(mem_stats_total().live_bytes, live);
    assert_int_equal(mem_stats_total().allocs, allocs);
    mem_free(p);
}

static void reallocation_moves_the_count_to_the_new_room(void **state) {
    (void)state;
    const mem_stats test = mem_stats_room(MEM_TEST);
    const mem_stats kv = mem_stats_room(MEM_KV);
    void *p = mem_alloc(MEM_TEST, 64);
    p = mem_realloc(MEM_KV, p, 1, 96);
    assert_int_equal(mem_stats_room(MEM_TEST).live_bytes, test.live_bytes);
    assert_int_equal(mem_stats_room(MEM_KV).live_bytes - kv.live_bytes, 96);
    mem_free(p);
    assert_int_equal(mem_stats_room(MEM_KV).live_bytes, kv.live_bytes);
}

static void storage_is_aligned_to_16(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes < 200; bytes += 7) {
        unsigned char *p = mem_alloc(MEM_TEST, bytes);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        p[0] = 1; /* a size of 0 is served as 1 */
        p = mem_realloc(MEM_TEST, p, bytes + 100, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_int_equal(p[0], 1);
        mem_free(p);
    }
}

static void zeroed_storage_is_zero(void **state) {
    (void)state;
    unsigned char *p = mem_zalloc(MEM_TEST, 1000, 3);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(p[i], 0);
    }
    mem_free(p);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    assert_null(mem_array(MEM_TEST, SIZE_MAX, 2));
    assert_null(mem_zalloc(MEM_TEST, SIZE_MAX / 2, 3));
    assert_null(mem_alloc(MEM_TEST, SIZE_MAX));
    assert_null(mem_alloc(MEM_TEST, (size_t)PTRDIFF_MAX - 8));
    assert_null(mem_realloc(MEM_TEST, NULL, SIZE_MAX, SIZE_MAX));
    assert_null(mem_strndup(MEM_TEST, "", SIZE_MAX));
    assert_int_equal(mem_stats_total().live_bytes, live);
}

static void failed_reallocation_keeps_the_block(void **state) {
    (void)state;
    char *p = mem_strndup(MEM_TEST, "thread", 6);
    const uint64_t live = mem_stats_room(MEM_TEST).live_bytes;
    assert_null(mem_realloc(MEM_TEST, p, SIZE_MAX, 2));
    mem_fail_after(0);
    assert_null(mem_realloc(MEM_TEST, p, 100, 1));
    assert_string_equal(p, "thread");
    assert_int_equal(mem_stats_room(MEM_TEST).live_bytes, live);
    mem_free(p);
}

static void only_the_nth_request_fails(void **state) {
    (void)state;
    mem_fail_after(2);
    void *p[5];
    for (int i = 0; i < 5; i++) {
        p[i] = mem_alloc(MEM_TEST, 8);
        assert_true((p[i] == NULL) == (i == 2));
    }
    mem_fail_after(0);
    mem_fail_after(-1);
    void *q = mem_alloc(MEM_TEST, 8);
    assert_non_null(q);
    mem_free(q);
    for (int i = 0; i < 5; i++) {
        mem_free(p[i]);
    }
}

static void copies_end_with_nul(void **state) {
    (void)state;
    char *p = mem_strndup(MEM_TEST, "warp and weft", 4);
    assert_string_equal(p, "warp");
    char *q = mem_strndup(MEM_TEST, NULL, 0);
    assert_string_equal(q, "");
    mem_free(p);
    mem_free(q);
}

static void rooms_have_names(void **state) {
    (void)state;
    assert_string_equal(mem_room_name(MEM_BASE), "base");
    assert_string_equal(mem_room_name(MEM_TEST), "test");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_room_return_to_where_they_were),
        cmocka_unit_test(total_is_the_sum_of_rooms),
        cmocka_unit_test(reallocation_moves_the_count_to_the_new_room),
        cmocka_unit_test(storage_is_aligned_to_16),
        cmocka_unit_test(zeroed_storage_is_zero),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(failed_reallocation_keeps_the_block),
        cmocka_unit_test(only_the_nth_request_fails),
        cmocka_unit_test(copies_end_with_nul),
        cmocka_unit_test(rooms_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
