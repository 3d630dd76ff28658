/* test_completion_json.c - the quick way to write a chunk gives the bytes of the slow way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/api_json.h"
#include "api/completion_json.h"

static void compare(const completion_head *h, uint32_t index, str text) {
    buf quick, slow;
    buf_init(&quick, MEM_TEST, 1u << 20);
    buf_init(&slow, MEM_TEST, 1u << 20);
    json_t *root = completion_json_chunk(h, index, text, NULL, WEFT_FINISH_NONE);
    buf_append_cstr(&slow, "data: ");
    assert_true(api_json_dump(&slow, root));
    buf_append_cstr(&slow, "\n\n");
    json_decref(root);
    completion_json_text_event(&quick, h, index, text);
    assert_string_equal(buf_cstr(&quick), buf_cstr(&slow));
    buf_deinit(&quick);
    buf_deinit(&slow);
}

static void text_events_equal_dumped_chunks(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "a",
        " word",
        "\"quoted\" \\ back",
        "line\nbreak\ttab\r\b\f",
        "\x01\x1f\x7f",
        "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80",
        "broken \xC3",
        "\xFF\xFE",
        "/slash/",
    };
    completion_head h;
    for (int kind = 0; kind < 4; kind++) {
        completion_head_init(&h, kind % 2 == 0, "a \"model\"\\name");
        h.has_usage_field = kind >= 2;
        for (size_t i = 0; i < WEFT_LEN(texts); i++) {
            compare(&h, (uint32_t)(i * 7), str_from_cstr(texts[i]));
        }
    }
}

static void every_byte_and_random_bytes_too(void **state) {
    (void)state;
    completion_head h;
    char bytes[64];
    uint64_t random = 88172645463325252u;
    completion_head_init(&h, true, "m");
    for (int round = 0; round < 2000; round++) {
        const size_t len = round < 256 ? 1 : (size_t)(round % 64);
        for (size_t i = 0; i < len; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[i] = round < 256 ? (char)round : (char)random;
        }
        compare(&h, 0, str_from(bytes, len));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_events_equal_dumped_chunks),
        cmocka_unit_test(every_byte_and_random_bytes_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
