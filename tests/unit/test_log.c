/* test_log.c - lines reach the sink whole, filtered and one at a time. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

#define THREADS 4
#define LINES 500

typedef struct seen {
    int n_lines;
    log_level level;
    char last[2048];
    int n_inside; /* how many threads are in the sink now */
    int n_mixed;
} seen;

static void sink(void *user, log_level level, const char *line) {
    seen *s = user;
    s->n_inside++;
    s->n_mixed += s->n_inside != 1 ? 1 : 0;
    s->n_lines++;
    s->level = level;
    (void)snprintf(s->last, sizeof s->last, "%s", line);
    s->n_inside--;
}

static void without_a_sink_lines_are_dropped(void **state) {
    (void)state;
    log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
    LOG_ERROR("nobody hears %d", 1);
}

static void lines_below_the_level_are_dropped(void **state) {
    (void)state;
    seen s = {0};
    log_set_sink(sink, &s, LOG_LEVEL_WARN);
    LOG_DEBUG("a");
    LOG_INFO("b");
    assert_int_equal(s.n_lines, 0);
    LOG_WARN("%s has %d", "pool", 3);
    assert_int_equal(s.n_lines, 1);
    assert_int_equal(s.level, LOG_LEVEL_WARN);
    assert_string_equal(s.last, "pool has 3");
    LOG_ERROR("d");
    assert_int_equal(s.n_lines, 2);
    log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
    LOG_ERROR("e");
    assert_int_equal(s.n_lines, 2);
}

static void one_call_is_one_line(void **state) {
    (void)state;
    seen s = {0};
    log_set_sink(sink, &s, LOG_LEVEL_DEBUG);
    LOG_INFO("user said '%s'", "x\nERROR forged");
    assert_string_equal(s.last, "user said 'x?ERROR forged'");
    LOG_INFO("%05000d", 1);
    assert_true(strlen(s.last) < 1024);
    assert_string_equal(s.last + strlen(s.last) - 3, "...");
    log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
}

static void *write_lines(void *arg) {
    for (int i = 0; i < LINES; i++) {
        LOG_INFO("thread %d line %d", *(const int *)arg, i);
    }
    return NULL;
}

static void threads_take_turns_in_the_sink(void **state) {
    (void)state;
    seen s = {0};
    log_set_sink(sink, &s, LOG_LEVEL_INFO);
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    log_set_sink(NULL, NULL, LOG_LEVEL_DEBUG);
    assert_int_equal(s.n_lines, THREADS * LINES);
    assert_int_equal(s.n_mixed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_sink_lines_are_dropped),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(one_call_is_one_line),
        cmocka_unit_test(threads_take_turns_in_the_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
