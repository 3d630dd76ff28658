/* test_page.c - how many pages positions take, held against counting them one by one, and where
 * bytes of keys in columns lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout/page.h"

static void counts_round_up(void **state) {
    (void)state;
    assert_int_equal(page_count(0), 0);
    assert_int_equal(page_count(1), 1);
    assert_int_equal(page_count(16), 1);
    assert_int_equal(page_count(17), 2);
    assert_int_equal(page_count(UINT32_MAX), 268435456); /* no 32-bit overflow */
}

static void a_full_group_keeps_every_position(void **state) {
    (void)state;
    assert_int_equal(page_count_group(0, 100, 8), 7);
    assert_int_equal(page_count_group(0, 0, 8), 0);
}

static void a_window_never_takes_more_than_all(void **state) {
    (void)state;
    assert_int_equal(page_count_group(512, 40, 64), 3);
    assert_int_equal(page_count_group(32, 4096, 64), 7);
    assert_int_equal(page_count_group(UINT32_MAX, 100, UINT32_MAX), 7);
}

/* Pages that a step of `chunk` rows from n_past needs, counted: every page with a visible or a new
 * position. */
static uint32_t count_needed(uint32_t window, uint32_t n_past, uint32_t chunk) {
    uint32_t n = 0;
    const uint32_t first = n_past + 1 > window ? n_past + 1 - window : 0;
    for (uint32_t page = 0; page * PAGE_TOKENS < n_past + chunk; page++) {
        n += (page + 1) * PAGE_TOKENS > first;
    }
    return n;
}

static void a_window_has_room_for_every_step(void **state) {
    (void)state;
    for (uint32_t window = 1; window < 70; window += 3) {
        for (uint32_t chunk_max = 1; chunk_max < 50; chunk_max += 2) {
            const uint32_t have = page_count_group(window, 400, chunk_max);
            uint32_t most = 0;
            for (uint32_t n_past = 0; n_past + chunk_max <= 400; n_past++) {
                const uint32_t need = count_needed(window, n_past, chunk_max);
                most = need > most ? need : most;
            }
            assert_true(most <= have);
            assert_true(have <= most + 1); /* and hardly more */
        }
    }
}

/* Every byte of every row has a place of its own, and together they fill the page. */
static void columns_hold_all_bytes_of_rows(void **state) {
    (void)state;
    static const weft_dtype dtypes[] = {WEFT_DTYPE_F32, WEFT_DTYPE_F16, WEFT_DTYPE_Q8_0,
                                        WEFT_DTYPE_Q4_0};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        const size_t row_bytes = page_row_bytes(dtypes[d], 64, 64, true);
        uint8_t seen[64 * sizeof(float) * PAGE_TOKENS] = {0};
        for (size_t i = 0; i < row_bytes * PAGE_TOKENS; i++) {
            const size_t at = page_column_byte(dtypes[d], i % row_bytes, i / row_bytes);
            assert_true(at < row_bytes * PAGE_TOKENS);
            assert_int_equal(seen[at]++, 0);
        }
    }
    /* The second value of position 3; a scale, and the first code of the second block. */
    assert_int_equal(page_column_byte(WEFT_DTYPE_F32, 4, 3), 64 + 12);
    assert_int_equal(page_column_byte(WEFT_DTYPE_F16, 2, 3), 32 + 6);
    assert_int_equal(page_column_byte(WEFT_DTYPE_Q8_0, 1, 3), 7);
    assert_int_equal(page_column_byte(WEFT_DTYPE_Q8_0, 34 + 2, 3), 34 * 16 + 32 + 3);
    assert_int_equal(page_column_byte(WEFT_DTYPE_Q4_0, 17, 15), 17 * 16 + 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_round_up),
        cmocka_unit_test(a_full_group_keeps_every_position),
        cmocka_unit_test(a_window_never_takes_more_than_all),
        cmocka_unit_test(a_window_has_room_for_every_step),
        cmocka_unit_test(columns_hold_all_bytes_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
