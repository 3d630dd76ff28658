/* test_journal.c - a line for each request that nobody can forge, and counts that are bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "api/journal.h"

static const journal_entry entry = {
    .endpoint = JOURNAL_CHAT,
    .status = 200,
    .id = "chatcmpl-1",
    .client = {"127.0.0.1", 9},
    .is_stream = true,
    .choices = 1,
    .prompt_tokens = 30,
    .cached_tokens = 16,
    .completion_tokens = 5,
    .miss = "diverged",
    .miss_at = 19,
    .queue_ms = 0.5,
    .prefill_ms = 10,
    .decode_ms = 20,
    .total_ms = 31.25,
    .finish = "stop",
};

static void logfmt_has_every_field_in_order(void **state) {
    (void)state;
    buf out;
    buf_init(&out, MEM_TEST, 4096);
    journal_write_line(&out, JOURNAL_LOGFMT, &entry, 1.5);
    assert_string_equal(
        buf_cstr(&out),
        "time=1.500 event=request id=chatcmpl-1 client=127.0.0.1 endpoint=chat status=200 "
        "finish=stop stream=true choices=1 prompt_tokens=30 cached_tokens=16 completion_tokens=5 "
        "cache_miss=diverged cache_miss_at=19 preemptions=0 queue_ms=0.500 prefill_ms=10.000 "
        "decode_ms=20.000 total_ms=31.250");
    buf_deinit(&out);
}

static void json_is_one_document_with_the_same_fields(void **state) {
    (void)state;
    buf out;
    buf_init(&out, MEM_TEST, 4096);
    journal_write_line(&out, JOURNAL_JSON, &entry, 1.5);
    json_t *root = json_loads(buf_cstr(&out), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_object_size(root), 19);
    assert_int_equal(json_integer_value(json_object_get(root, "cache_miss_at")), 19);
    assert_true(json_real_value(json_object_get(root, "total_ms")) == 31.25);
    assert_true(json_is_true(json_object_get(root, "stream")));
    json_decref(root);
    buf_deinit(&out);
}

static void what_clients_send_stays_one_value(void **state) {
    (void)state;
    const char evil[] = "no such path: GET /a\n status=200 \"x\"\x01\xFF";
    const journal_entry e = {.endpoint = JOURNAL_OTHER,
                             .status = 404,
                             .error = evil,
                             .queue_ms = -1,
                             .prefill_ms = -1,
                             .decode_ms = -1,
                             .total_ms = -1};
    buf out;
    buf_init(&out, MEM_TEST, 4096);
    journal_write_line(&out, JOURNAL_LOGFMT, &e, 0);
    assert_string_equal(buf_cstr(&out),
                        "time=0.000 event=request endpoint=other status=404 error=\"no such path: "
                        "GET /a\\n status=200 \\\"x\\\"\\u0001\xEF\xBF\xBD\"");
    buf_clear(&out);
    journal_write_line(&out, JOURNAL_JSON, &e, 0);
    json_t *root = json_loads(buf_cstr(&out), 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(root, "status")), 404);
    json_decref(root);
    buf_deinit(&out);
}

static int n_lines;

static void take_line(void *user, const char *line) {
    (void)user;
    n_lines += strchr(line, '\n') == NULL;
}

static void answers_are_counted_within_bounds(void **state) {
    (void)state;
    uint64_t sum = 0;
    journal j = {.format = JOURNAL_LOGFMT, .write = take_line};
    journal_entry e = entry;
    for (int status = 200; status < 240; status++) {
        e.status = status;
        journal_add(&j, &e);
        journal_add(&j, &e);
    }
    assert_int_equal(n_lines, 80);
    assert_int_equal(j.n_statuses, JOURNAL_STATUSES_MAX);
    assert_int_equal(j.statuses[3].counts[JOURNAL_CHAT], 2);
    for (uint32_t i = 0; i < j.n_statuses; i++) {
        sum += j.statuses[i].counts[JOURNAL_CHAT];
    }
    assert_int_equal(sum, 80);
    j.format = JOURNAL_NONE;
    journal_add(&j, &e);
    assert_int_equal(n_lines, 80);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_has_every_field_in_order),
        cmocka_unit_test(json_is_one_document_with_the_same_fields),
        cmocka_unit_test(what_clients_send_stays_one_value),
        cmocka_unit_test(answers_are_counted_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
