/* test_sse.c - events come out whole, however the bytes were cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/sse.h"

static char seen[4096]; /* "<event><event>" */

static void note(void *user, str data) {
    (void)user;
    strncat(seen, "<", sizeof seen - strlen(seen) - 1);
    strncat(seen, data.data, data.len);
    strncat(seen, ">", sizeof seen - strlen(seen) - 1);
}

static int clear(void **state) {
    (void)state;
    seen[0] = 0;
    return 0;
}

static const char stream[] = ": a comment\n\ndata: {\"a\": 1}\n\nevent: x\r\ndata:two\r\n\r\n"
                             "data: three\ndata: lines\nid: 7\n\n\n\ndata: [DONE]\n\n";
static const char wanted[] = "<{\"a\": 1}><two><three\nlines><[DONE]>";

static void every_cut_gives_the_same_events(void **state) {
    (void)state;
    for (size_t cut = 1; cut < sizeof stream; cut++) {
        sse s;
        sse_init(&s);
        seen[0] = 0;
        for (size_t at = 0; at < sizeof stream - 1; at += cut) {
            const size_t left = sizeof stream - 1 - at;
            assert_true(sse_push(&s, stream + at, left < cut ? left : cut, note, NULL));
        }
        assert_string_equal(seen, wanted);
        sse_deinit(&s);
    }
}

static void half_an_event_is_forgotten_on_reset(void **state) {
    (void)state;
    sse s;
    sse_init(&s);
    assert_true(sse_push(&s, "data: half\ndata: of", 19, note, NULL));
    sse_reset(&s);
    assert_true(sse_push(&s, "data: whole\n\n", 13, note, NULL));
    assert_string_equal(seen, "<whole>");
    sse_deinit(&s);
}

static void a_line_without_end_is_refused(void **state) {
    (void)state;
    static char long_line[1u << 20];
    bool is_fine = true;
    sse s;
    sse_init(&s);
    memset(long_line, 'x', sizeof long_line);
    for (int i = 0; i < 5; i++) {
        is_fine = sse_push(&s, long_line, sizeof long_line, note, NULL);
        assert_true(is_fine || i == 4);
    }
    assert_false(is_fine);
    assert_string_equal(seen, "");
    sse_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_cut_gives_the_same_events, clear),
        cmocka_unit_test_setup(half_an_event_is_forgotten_on_reset, clear),
        cmocka_unit_test_setup(a_line_without_end_is_refused, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
