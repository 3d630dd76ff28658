/* test_openai_request.c - what is left of a body that has been read. (tests/serve has the fields.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/openai_request.h"

static void of_a_body_only_stop_strings_stay(void **state) {
    openai_request r;
    api_error e;
    (void)state;
    const str body =
        str_from_cstr("{\"prompt\": \"a\", \"model\": \"m\", \"stop\": [\"x\", \"yz\"]}");
    assert_true(openai_request_read(&r, OPENAI_TEXT, body, &e));
    openai_request_forget_body(&r);
    assert_null(r.model);
    assert_int_equal(json_array_size(r.body), 2);
    assert_string_equal(r.options.stop[0], "x");
    assert_string_equal(r.options.stop[1], "yz");
    openai_request_deinit(&r);
}

/* It may be as large as a body may. */
static void of_a_refused_body_nothing_stays(void **state) {
    openai_request r;
    api_error e;
    (void)state;
    const str body = str_from_cstr("{\"prompt\": \"a\", \"stop\": [[], [], []]}");
    assert_false(openai_request_read(&r, OPENAI_TEXT, body, &e));
    openai_request_forget_body(&r);
    assert_null(r.body);
    openai_request_deinit(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_body_only_stop_strings_stay),
        cmocka_unit_test(of_a_refused_body_nothing_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
