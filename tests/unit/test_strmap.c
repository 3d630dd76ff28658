/* test_strmap.c - finds what was put, counts keys once, survives refused memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/strmap.h"

#define KEYS 5000

static char keys[KEYS][12];

static str key(size_t i) {
    (void)snprintf(keys[i], sizeof keys[i], "token.%zu", i);
    return str_from_cstr(keys[i]);
}

static void every_key_is_found_with_its_value(void **state) {
    (void)state;
    strmap m;
    strmap_init(&m, MEM_TEST);
    for (size_t i = 0; i < KEYS; i++) {
        assert_true(strmap_put(&m, key(i), (uint32_t)i * 3));
    }
    assert_int_equal(m.count, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        uint32_t value = 0;
        assert_true(strmap_get(&m, key(i), &value));
        assert_int_equal(value, i * 3);
    }
    uint32_t value = 77;
    assert_false(strmap_get(&m, STR_LIT("token.5000"), &value));
    assert_false(strmap_get(&m, STR_LIT("token"), &value));
    assert_int_equal(value, 77);
    strmap_deinit(&m);
}

static void putting_again_replaces(void **state) {
    (void)state;
    strmap m;
    strmap_init(&m, MEM_TEST);
    assert_true(strmap_put(&m, STR_LIT("a"), 1));
    assert_true(strmap_put(&m, STR_LIT("a"), 2));
    assert_int_equal(m.count, 1);
    uint32_t value = 0;
    assert_true(strmap_get(&m, STR_LIT("a"), &value));
    assert_int_equal(value, 2);
    strmap_deinit(&m);
}

static void empty_and_binary_keys_are_keys(void **state) {
    (void)state;
    strmap m;
    strmap_init(&m, MEM_TEST);
    uint32_t value = 0;
    assert_false(strmap_get(&m, (str){0}, &value));
    assert_true(strmap_put(&m, (str){0}, 5));
    assert_true(strmap_put(&m, STR_LIT("a\0b"), 6));
    assert_true(strmap_put(&m, STR_LIT("a\0c"), 7));
    assert_true(strmap_get(&m, STR_LIT(""), &value));
    assert_int_equal(value, 5);
    assert_true(strmap_get(&m, STR_LIT("a\0b"), &value));
    assert_int_equal(value, 6);
    assert_int_equal(m.count, 3);
    strmap_deinit(&m);
}

static void a_quarter_of_the_slots_stays_free(void **state) {
    (void)state;
    strmap m;
    strmap_init(&m, MEM_TEST);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(strmap_put(&m, key(i), 0));
        assert_true(m.count <= m.capacity / 4 * 3);
        assert_int_equal(m.capacity & (m.capacity - 1), 0);
    }
    strmap_deinit(&m);
}

static void reserved_puts_do_not_ask_for_memory(void **state) {
    (void)state;
    strmap m;
    strmap_init(&m, MEM_TEST);
    assert_true(strmap_reserve(&m, 1000));
    const uint64_t allocs = mem_stats_room(MEM_TEST).allocs;
    for (size_t i = 0; i < 1000; i++) {
        assert_true(strmap_put(&m, key(i), (uint32_t)i));
    }
    assert_int_equal(mem_stats_room(MEM_TEST).allocs, allocs);
    assert_false(strmap_reserve(&m, UINT32_MAX));
    strmap_deinit(&m);
}

static void refused_memory_keeps_what_was_there(void **state) {
    (void)state;
    for (int64_t nth = 0; nth < 4; nth++) {
        strmap m;
        strmap_init(&m, MEM_TEST);
        mem_fail_after(nth);
        uint32_t n_put = 0;
        while (n_put < 64 && strmap_put(&m, key(n_put), n_put)) {
            n_put++;
        }
        mem_fail_after(-1);
        assert_int_equal(m.count, n_put);
        for (uint32_t i = 0; i < n_put; i++) {
            uint32_t value = 0;
            assert_true(strmap_get(&m, key(i), &value));
            assert_int_equal(value, i);
        }
        assert_true(strmap_put(&m, STR_LIT("after"), 1));
        strmap_deinit(&m);
    }
}

static void zeroed_maps_can_be_asked_and_dropped(void **state) {
    (void)state;
    strmap m = {0};
    uint32_t value = 0;
    assert_false(strmap_get(&m, STR_LIT("a"), &value));
    strmap_deinit(&m);
}

/* Sixteen bytes of which the second half undoes what the first did to str_hash, which has no secret:
 * anyone can write a file full of such names. */
static void names_made_to_meet_do_not_meet(void **state) {
    (void)state;
    enum { N = 4000 };
    static uint64_t words[N][2];
    static bool is_seen[1u << 16];
    uint32_t n_distinct = 0;
    strmap m;
    strmap_init(&m, MEM_TEST);
    for (uint64_t i = 0; i < N; i++) {
        uint64_t h = (0x9e3779b97f4a7c15u ^ 16u ^ i) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
        words[i][0] = i;
        words[i][1] = h ^ 12345;
        const str name = str_from((const char *)words[i], 16);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        assert_true(str_hash(name) == str_hash(str_from((const char *)words[0], 16)));
#endif
        assert_true(strmap_put(&m, name, (uint32_t)i));
    }
    for (uint32_t i = 0; i < m.capacity; i++) {
        const uint32_t hash = m.slots[i].hash & 0xffff;
        if (m.slots[i].key.data != NULL && !is_seen[hash]) {
            is_seen[hash] = true;
            n_distinct++;
        }
    }
    assert_true(n_distinct > N * 9 / 10); /* of 65536 values, some 120 pairs meet by chance */
    for (uint32_t i = 0; i < N; i++) {
        uint32_t value = 0;
        assert_true(strmap_get(&m, str_from((const char *)words[i], 16), &value));
        assert_int_equal(value, i);
    }
    strmap_deinit(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_found_with_its_value),
        cmocka_unit_test(putting_again_replaces),
        cmocka_unit_test(empty_and_binary_keys_are_keys),
        cmocka_unit_test(a_quarter_of_the_slots_stays_free),
        cmocka_unit_test(reserved_puts_do_not_ask_for_memory),
        cmocka_unit_test(refused_memory_keeps_what_was_there),
        cmocka_unit_test(zeroed_maps_can_be_asked_and_dropped),
        cmocka_unit_test(names_made_to_meet_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
