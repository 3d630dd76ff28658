/* test_check.c - a broken assertion ends the process and says which. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"

/* Runs in a child, since the parent has to live on. Returns how the child ended. */
static int end_of_child(int value, char *text, size_t text_bytes) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends[1], STDERR_FILENO);
        WEFT_ASSERT(value == 3);
        _exit(0);
    }
    (void)close(ends[1]);
    const ssize_t n = read(ends[0], text, text_bytes - 1);
    text[n > 0 ? n : 0] = '\0';
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void broken_assertions_abort_with_their_text(void **state) {
    (void)state;
    char text[512];
    const int status = end_of_child(4, text, sizeof text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "test_check.c:"));
    assert_non_null(strstr(text, ": assertion failed: value == 3\n"));
}

static void kept_assertions_do_nothing(void **state) {
    (void)state;
    char text[512];
    const int status = end_of_child(3, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(text, "");
}

static void an_assertion_is_an_expression(void **state) {
    (void)state;
    int n = 0;
    for (WEFT_ASSERT(n == 0); n < 3; n++) {
        WEFT_DEBUG_ASSERT(n < 3);
    }
    assert_int_equal(n, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_assertions_abort_with_their_text),
        cmocka_unit_test(kept_assertions_do_nothing),
        cmocka_unit_test(an_assertion_is_an_expression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
