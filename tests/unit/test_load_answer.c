/* test_load_answer.c - text, moments and counts of answers in every shape that servers send. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/load_answer.h"

#define MS UINT64_C(1000000)

static load_answer a;
static load_hist gaps;

static int open_answer(void **state) {
    (void)state;
    gaps = (load_hist){0};
    load_answer_init(&a);
    return 0;
}

static int close_answer(void **state) {
    (void)state;
    load_answer_deinit(&a);
    return 0;
}

static void push(const char *text, uint64_t ms) {
    load_answer_push(&a, text, strlen(text), ms * MS);
}

static void a_streamed_chat_is_timed_piece_by_piece(void **state) {
    (void)state;
    load_answer_begin(&a, true, 100 * MS, &gaps);
    push("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n", 110);
    push("data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"cho", 150);
    push("ices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":null}]}\n\n", 170);
    push("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", 180);
    push("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,"
         "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\ndata: [DONE]\n\n",
         190);
    assert_true(load_answer_finish(&a, 200 * MS));
    assert_string_equal(buf_cstr(&a.text), "Hello");
    assert_int_equal(a.first_ns, 150 * MS);
    assert_int_equal(a.last_ns, 170 * MS);
    assert_int_equal(a.n_pieces, 2);
    assert_int_equal(a.prompt_tokens, 9);
    assert_int_equal(a.output_tokens, 3);
    assert_int_equal(a.cached_tokens, 4);
    assert_int_equal(gaps.count, 1);
    assert_true(fabs(gaps.max_ms - 20) < 1e-9);
}

static void without_usage_pieces_are_counted(void **state) {
    (void)state;
    load_answer_begin(&a, true, 0, NULL);
    push("data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"text\":\"b\"}]}\n\n", 5);
    push("data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n", 6);
    assert_true(load_answer_finish(&a, 7 * MS));
    assert_string_equal(buf_cstr(&a.text), "ab");
    assert_int_equal(a.output_tokens, 2);
    assert_false(a.has_usage);
}

static void whole_documents_are_read(void **state) {
    (void)state;
    load_answer_begin(&a, false, 0, NULL);
    push("{\"choices\":[{\"message\":{\"content\":\"Hi\"},\"finish_re", 5);
    push("ason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}", 6);
    assert_true(load_answer_finish(&a, 7 * MS));
    assert_string_equal(buf_cstr(&a.text), "Hi");
    assert_int_equal(a.output_tokens, 2);
}

static void what_is_not_whole_is_broken(void **state) {
    (void)state;
    static const char *const broken[] = {
        "",
        "data: {\"choices\":[{\"text\":\"a\"}]}\n\n",
        "data: nonsense\n\ndata: [DONE]\n\n",
        "data: {\"error\":{\"message\":\"the engine failed\"}}\n\ndata: [DONE]\n\n",
    };
    for (size_t i = 0; i < WEFT_LEN(broken); i++) {
        load_answer_begin(&a, true, 0, NULL);
        push(broken[i], 1);
        assert_false(load_answer_finish(&a, 2 * MS));
        assert_true(a.broken[0] != 0);
    }
    assert_string_equal(a.broken, "the engine failed");
    load_answer_begin(&a, true, 0, NULL); /* and is not carried over to the next answer */
    push("data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n", 1);
    assert_true(load_answer_finish(&a, 2 * MS));
}

static void errors_say_why(void **state) {
    (void)state;
    char text[64];
    load_answer_begin(&a, true, 0, NULL);
    buf_append_cstr(&a.body, "{\"error\": {\"message\": \"queue full\"}}");
    load_answer_error(&a, text, sizeof text);
    assert_string_equal(text, "queue full");
    load_answer_begin(&a, true, 0, NULL);
    buf_append_cstr(&a.body, "<html>");
    load_answer_error(&a, text, sizeof text);
    assert_string_equal(text, "<html>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_streamed_chat_is_timed_piece_by_piece, open_answer,
                                        close_answer),
        cmocka_unit_test_setup_teardown(without_usage_pieces_are_counted, open_answer,
                                        close_answer),
        cmocka_unit_test_setup_teardown(whole_documents_are_read, open_answer, close_answer),
        cmocka_unit_test_setup_teardown(what_is_not_whole_is_broken, open_answer, close_answer),
        cmocka_unit_test_setup_teardown(errors_say_why, open_answer, close_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
