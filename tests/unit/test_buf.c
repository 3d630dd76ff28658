/* test_buf.c - grows to its limit and not past it; one look at the end is enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void appends_follow_one_another(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 1000);
    assert_string_equal(buf_cstr(&b), "");
    assert_true(buf_append_cstr(&b, "warp"));
    assert_true(buf_append_char(&b, ' '));
    assert_true(buf_append_str(&b, STR_LIT("weft")));
    assert_true(buf_printf(&b, " %d %s", 42, "ends"));
    assert_true(buf_append(&b, NULL, 0));
    assert_string_equal(buf_cstr(&b), "warp weft 42 ends");
    assert_int_equal(b.len, strlen("warp weft 42 ends"));
    assert_true(str_eq_cstr(buf_view(&b), "warp weft 42 ends"));
    buf_deinit(&b);
}

static void content_may_hold_nul(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 10);
    assert_true(buf_append(&b, "a\0b", 3));
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "a\0b", 4);
    buf_deinit(&b);
}

static void growth_keeps_content(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 100000);
    for (int i = 0; i < 20000; i++) {
        assert_true(buf_append_char(&b, (char)('a' + i % 26)));
    }
    assert_int_equal(b.len, 20000);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(b.data[i], 'a' + i % 26);
    }
    buf_deinit(&b);
}

static void limit_is_exact_and_failure_sticks(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 5);
    assert_true(buf_append_cstr(&b, "12345"));
    assert_false(buf_append_char(&b, '6'));
    assert_true(b.is_failed);
    assert_string_equal(buf_cstr(&b), "12345");
    assert_false(buf_append(&b, "", 0));
    assert_false(buf_printf(&b, "x"));
    assert_null(buf_take(&b));
    buf_clear(&b);
    assert_true(buf_append_cstr(&b, "ok"));
    assert_string_equal(buf_cstr(&b), "ok");
    buf_deinit(&b);
}

static void storage_is_bounded_by_the_limit(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 100);
    for (int i = 0; i < 100; i++) {
        assert_true(buf_append_char(&b, 'x'));
    }
    assert_true(b.capacity <= 101);
    buf_deinit(&b);
    buf_init(&b, MEM_TEST, 0);
    assert_true(buf_append(&b, NULL, 0));
    assert_true(buf_printf(&b, "%s", ""));
    assert_false(buf_append_char(&b, 'x'));
    buf_deinit(&b);
}

static void printing_past_the_limit_leaves_content_alone(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 10);
    assert_true(buf_append_cstr(&b, "12345"));
    assert_false(buf_printf(&b, "%s", "678901"));
    assert_string_equal(buf_cstr(&b), "12345");
    buf_clear(&b);
    assert_true(buf_printf(&b, "%s", "1234567890"));
    assert_string_equal(buf_cstr(&b), "1234567890");
    buf_deinit(&b);
}

static void printing_more_than_fits_the_storage_grows_it(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 10000);
    assert_true(buf_append_cstr(&b, "<"));
    assert_true(buf_printf(&b, "%0500d>", 7));
    assert_int_equal(b.len, 502);
    assert_string_equal(buf_cstr(&b) + 499, "07>");
    buf_deinit(&b);
}

static void reserved_appends_do_not_ask_for_memory(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, SIZE_MAX);
    assert_true(buf_reserve(&b, 1000));
    const uint64_t allocs = mem_stats_room(MEM_TEST).allocs;
    for (int i = 0; i < 1000; i++) {
        assert_true(buf_append_char(&b, 'x'));
    }
    assert_int_equal(mem_stats_room(MEM_TEST).allocs, allocs);
    assert_false(buf_reserve(&b, SIZE_MAX));
    assert_false(buf_reserve(&b, SIZE_MAX - 1001));
    buf_deinit(&b);
}

static void taking_gives_the_storage_away(void **state) {
    (void)state;
    buf b;
    buf_init(&b, MEM_TEST, 100);
    char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    assert_true(buf_append_cstr(&b, "cloth"));
    char *taken = buf_take(&b);
    assert_string_equal(taken, "cloth");
    assert_int_equal(b.len, 0);
    assert_true(buf_append_cstr(&b, "more"));
    assert_string_equal(taken, "cloth");
    mem_free(empty);
    mem_free(taken);
    buf_deinit(&b);
}

static void refused_memory_fails_the_buffer_whichever_request_it_was(void **state) {
    (void)state;
    const uint64_t live = mem_stats_room(MEM_TEST).live_bytes;
    for (int64_t nth = 0; nth < 4; nth++) {
        buf b;
        buf_init(&b, MEM_TEST, 1000);
        mem_fail_after(nth);
        for (int i = 0; i < 200; i++) {
            (void)buf_append_cstr(&b, "abc");
        }
        char *taken = buf_take(&b);
        mem_fail_after(-1);
        assert_true((taken == NULL) == b.is_failed);
        assert_true(taken != NULL || b.len % 3 == 0);
        mem_free(taken);
        buf_deinit(&b);
    }
    assert_int_equal(mem_stats_room(MEM_TEST).live_bytes, live);
}

static void zeroed_buffers_can_be_dropped(void **state) {
    (void)state;
    buf b = {0};
    buf_deinit(&b);
    buf_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_follow_one_another),
        cmocka_unit_test(content_may_hold_nul),
        cmocka_unit_test(growth_keeps_content),
        cmocka_unit_test(limit_is_exact_and_failure_sticks),
        cmocka_unit_test(storage_is_bounded_by_the_limit),
        cmocka_unit_test(printing_past_the_limit_leaves_content_alone),
        cmocka_unit_test(printing_more_than_fits_the_storage_grows_it),
        cmocka_unit_test(reserved_appends_do_not_ask_for_memory),
        cmocka_unit_test(taking_gives_the_storage_away),
        cmocka_unit_test(refused_memory_fails_the_buffer_whichever_request_it_was),
        cmocka_unit_test(zeroed_buffers_can_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
