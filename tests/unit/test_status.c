/* test_status.c - errors carry one clean line and accept not being wanted.
 *
 * Messages often quote what a file or a client sent, so the tests look mostly at what happens
 * to text that is too long or not text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"

static void every_status_has_a_sentence(void **state) {
    (void)state;
#define X(name, code, text) assert_string_equal(weft_status_text(WEFT_##name), text);
    WEFT_STATUS_LIST(X)
#undef X
    assert_string_equal(weft_status_text((weft_status)-1000), "unknown status");
}

static void failing_writes_code_and_message(void **state) {
    (void)state;
    weft_error err = {0};
    assert_int_equal(weft_fail(&err, WEFT_FORMAT, "%s: has %d", "a.gguf", 7), WEFT_FORMAT);
    assert_int_equal(err.code, WEFT_FORMAT);
    assert_string_equal(err.message, "a.gguf: has 7");
}

static void failing_accepts_no_error(void **state) {
    (void)state;
    assert_int_equal(weft_fail(NULL, WEFT_IO, "%s", "lost"), WEFT_IO);
    weft_error_prefix(NULL, "model: ");
}

static void control_characters_become_question_marks(void **state) {
    (void)state;
    weft_error err = {0};
    (void)weft_fail(&err, WEFT_FORMAT, "name '%s'", "a\n\x1b[2J\x7f\t");
    assert_string_equal(err.message, "name 'a?"
                                     "?[2J?"
                                     "?'");
    (void)weft_fail(&err, WEFT_FORMAT, "%s", "na\xc3\xafve");
    assert_string_equal(err.message, "na\xc3\xafve");
}

static void long_messages_are_cut_visibly(void **state) {
    (void)state;
    weft_error err = {0};
    char text[2 * WEFT_ERROR_MESSAGE_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)weft_fail(&err, WEFT_LIMIT, "%s", text);
    assert_int_equal(strlen(err.message), WEFT_ERROR_MESSAGE_MAX - 1);
    assert_string_equal(err.message + WEFT_ERROR_MESSAGE_MAX - 4, "...");
    text[WEFT_ERROR_MESSAGE_MAX - 1] = '\0'; /* the longest that fits stays whole */
    (void)weft_fail(&err, WEFT_LIMIT, "%s", text);
    assert_string_equal(err.message, text);
}

static void a_cut_never_splits_a_character(void **state) {
    (void)state;
    /* Shifted by 0..3 bytes, so that the cut falls on every byte of a four-byte character. */
    for (size_t shift = 0; shift < 4; shift++) {
        char text[WEFT_ERROR_MESSAGE_MAX + 64] = "abc";
        size_t len = shift;
        while (len + 4 < sizeof text) {
            memcpy(text + len, "\xf0\x9f\xa7\xb5", 4);
            len += 4;
        }
        text[len] = '\0';
        weft_error err = {0};
        (void)weft_fail(&err, WEFT_LIMIT, "%s", text);
        const size_t kept = strlen(err.message) - 3;
        assert_string_equal(err.message + kept, "...");
        assert_int_equal((kept - shift) % 4, 0);
        assert_true(kept >= WEFT_ERROR_MESSAGE_MAX - 8);
    }
}

static void prefix_goes_before_the_message(void **state) {
    (void)state;
    weft_error err = {0};
    (void)weft_fail(&err, WEFT_NOTFOUND, "no tensor '%s'", "output");
    weft_error_prefix(&err, "%s: ", "model.gguf");
    assert_int_equal(err.code, WEFT_NOTFOUND);
    assert_string_equal(err.message, "model.gguf: no tensor 'output'");
}

static void prefix_may_quote_the_message_itself(void **state) {
    (void)state;
    weft_error err = {0};
    (void)weft_fail(&err, WEFT_IO, "gone");
    weft_error_prefix(&err, "again %s, ", err.message);
    assert_string_equal(err.message, "again gone, gone");
}

static void prefix_of_no_failure_changes_nothing(void **state) {
    (void)state;
    weft_error err = {0};
    weft_error_prefix(&err, "model: ");
    assert_int_equal(err.code, WEFT_OK);
    assert_string_equal(err.message, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_sentence),
        cmocka_unit_test(failing_writes_code_and_message),
        cmocka_unit_test(failing_accepts_no_error),
        cmocka_unit_test(control_characters_become_question_marks),
        cmocka_unit_test(long_messages_are_cut_visibly),
        cmocka_unit_test(a_cut_never_splits_a_character),
        cmocka_unit_test(prefix_goes_before_the_message),
        cmocka_unit_test(prefix_may_quote_the_message_itself),
        cmocka_unit_test(prefix_of_no_failure_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
