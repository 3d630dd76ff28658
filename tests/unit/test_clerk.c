/* test_clerk.c - a job runs once on another thread, and is given back exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <time.h>

#include "api/clerk.h"
#include "base/mem.h"

#define BYTES_MAX 100u
#define JOBS 8u

typedef struct job {
    clerk_job job;
    uint32_t n_run, n_done, n_drop; /* guarded by fix.lock */
    uint32_t place;                 /* of its run among all; guarded by fix.lock */
    uint32_t n_refusals;            /* so often done finds no memory; guarded by fix.lock */
    uint32_t n_refused;             /* so often it has found none; guarded by fix.lock */
    bool waits;                     /* in run, until it is let go; guarded by fix.lock */
    pthread_t thread;
} job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t n_run;
    job jobs[JOBS];
    clerk *clerk;
} fix;

static void run(void *owner) {
    job *j = owner;
    pthread_mutex_lock(&fix.lock);
    j->thread = pthread_self();
    j->n_run++;
    j->place = fix.n_run++;
    pthread_cond_broadcast(&fix.changed);
    while (j->waits) {
        pthread_cond_wait(&fix.changed, &fix.lock);
    }
    pthread_mutex_unlock(&fix.lock);
}

static void count(uint32_t *n) {
    pthread_mutex_lock(&fix.lock);
    ++*n;
    pthread_cond_broadcast(&fix.changed);
    pthread_mutex_unlock(&fix.lock);
}

static bool done(void *owner) {
    job *j = owner;
    pthread_mutex_lock(&fix.lock);
    const bool is_given = j->n_refusals == 0;
    j->n_refusals -= !is_given;
    j->n_refused += !is_given;
    pthread_cond_broadcast(&fix.changed);
    pthread_mutex_unlock(&fix.lock);
    if (is_given) {
        count(&j->n_done);
    }
    return is_given;
}

static void drop(void *owner) { count(&((job *)owner)->n_drop); }

static void let_go(job *j) {
    pthread_mutex_lock(&fix.lock);
    j->waits = false;
    pthread_cond_broadcast(&fix.changed);
    pthread_mutex_unlock(&fix.lock);
}

static void wait_for(const uint32_t *n, uint32_t wanted) {
    pthread_mutex_lock(&fix.lock);
    while (*n < wanted) {
        pthread_cond_wait(&fix.changed, &fix.lock);
    }
    pthread_mutex_unlock(&fix.lock);
}

static bool give(uint32_t i, size_t bytes) {
    job *j = &fix.jobs[i];
    j->job = (clerk_job){.owner = j, .bytes = bytes, .run = run, .done = done, .drop = drop};
    return clerk_try_give(fix.clerk, &j->job);
}

/* Gives job 0, which stands in its run until it is let go. */
static void hold(size_t bytes) {
    fix.jobs[0].waits = true;
    assert_true(give(0, bytes));
    wait_for(&fix.jobs[0].n_run, 1);
}

static void check_back(uint32_t i, uint32_t n_run, uint32_t n_done, uint32_t n_drop) {
    assert_int_equal(fix.jobs[i].n_run, n_run);
    assert_int_equal(fix.jobs[i].n_done, n_done);
    assert_int_equal(fix.jobs[i].n_drop, n_drop);
}

static int set_up(void **state) {
    weft_error err;
    (void)state;
    fix.n_run = 0;
    for (uint32_t i = 0; i < JOBS; i++) {
        fix.jobs[i] = (job){0};
    }
    pthread_mutex_init(&fix.lock, NULL);
    pthread_cond_init(&fix.changed, NULL);
    return clerk_create(&fix.clerk, BYTES_MAX, &err) == WEFT_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    clerk_destroy(&fix.clerk);
    pthread_mutex_destroy(&fix.lock);
    pthread_cond_destroy(&fix.changed);
    return fix.clerk == NULL ? 0 : -1;
}

static void jobs_run_in_their_order_on_another_thread(void **state) {
    (void)state;
    hold(1);
    for (uint32_t i = 1; i < JOBS; i++) {
        assert_true(give(i, 1));
    }
    assert_int_equal(clerk_load_now(fix.clerk).jobs, JOBS);
    let_go(&fix.jobs[0]);
    wait_for(&fix.jobs[JOBS - 1].n_done, 1);
    for (uint32_t i = 0; i < JOBS; i++) {
        check_back(i, 1, 1, 0);
        assert_int_equal(fix.jobs[i].place, i);
        assert_false(pthread_equal(fix.jobs[i].thread, pthread_self()));
        assert_true(pthread_equal(fix.jobs[i].thread, fix.jobs[0].thread));
    }
}

static void the_row_is_bounded_in_bytes(void **state) {
    (void)state;
    hold(60);
    assert_false(give(1, 41));
    assert_true(give(2, 40));
    assert_false(give(3, 1));
    assert_int_equal(clerk_load_now(fix.clerk).bytes, 100);
    assert_true(clerk_withdraw(fix.clerk, &fix.jobs[2].job));
    assert_true(give(3, 1));
    let_go(&fix.jobs[0]);
    wait_for(&fix.jobs[3].n_done, 1);
    assert_int_equal(clerk_load_now(fix.clerk).bytes, 0);
    check_back(1, 0, 0, 0);
    check_back(2, 0, 0, 0);
}

static void one_alone_is_taken_however_large(void **state) {
    (void)state;
    fix.jobs[0].waits = true;
    assert_true(give(0, SIZE_MAX));
    assert_false(give(1, 0));
    let_go(&fix.jobs[0]);
    wait_for(&fix.jobs[0].n_done, 1);
    assert_true(give(1, 0));
    wait_for(&fix.jobs[1].n_done, 1);
}

static void withdrawn_before_its_begin_it_never_runs(void **state) {
    (void)state;
    static const uint32_t left[] = {2, 4};
    hold(1);
    for (uint32_t i = 1; i <= 5; i++) {
        assert_true(give(i, 1));
    }
    assert_true(clerk_withdraw(fix.clerk, &fix.jobs[1].job)); /* first, middle and last */
    assert_true(clerk_withdraw(fix.clerk, &fix.jobs[3].job));
    assert_true(clerk_withdraw(fix.clerk, &fix.jobs[5].job));
    assert_int_equal(clerk_load_now(fix.clerk).jobs, 3);
    assert_true(give(6, 1));
    let_go(&fix.jobs[0]);
    wait_for(&fix.jobs[6].n_done, 1);
    for (uint32_t i = 0; i < WEFT_LEN(left); i++) {
        check_back(left[i], 1, 1, 0);
        check_back(left[i] + 1, 0, 0, 0);
    }
    check_back(1, 0, 0, 0);
}

static void withdrawn_while_it_runs_it_is_dropped(void **state) {
    (void)state;
    hold(1);
    assert_false(clerk_withdraw(fix.clerk, &fix.jobs[0].job));
    assert_true(give(1, 1));
    let_go(&fix.jobs[0]);
    wait_for(&fix.jobs[1].n_done, 1);
    check_back(0, 1, 0, 1);
}

static void withdrawn_after_done_it_is_not_dropped(void **state) {
    (void)state;
    assert_true(give(0, 1));
    wait_for(&fix.jobs[0].n_done, 1);
    assert_false(clerk_withdraw(fix.clerk, &fix.jobs[0].job));
    assert_true(give(1, 1));
    wait_for(&fix.jobs[1].n_done, 1);
    check_back(0, 1, 1, 0);
}

static void done_is_called_until_it_succeeds(void **state) {
    (void)state;
    fix.jobs[0].n_refusals = 3;
    assert_true(give(0, 1));
    wait_for(&fix.jobs[0].n_done, 1);
    assert_int_equal(fix.jobs[0].n_refusals, 0);
    check_back(0, 1, 1, 0);
}

static void withdrawn_while_done_fails_it_is_dropped(void **state) {
    (void)state;
    fix.jobs[0].n_refusals = UINT32_MAX;
    assert_true(give(0, 1));
    wait_for(&fix.jobs[0].n_refused, 1);
    assert_false(clerk_withdraw(fix.clerk, &fix.jobs[0].job));
    wait_for(&fix.jobs[0].n_drop, 1);
    check_back(0, 1, 0, 1);
}

static void *let_go_later(void *arg) {
    const struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    let_go(arg);
    return NULL;
}

static void destroying_waits_for_what_runs(void **state) {
    pthread_t later;
    (void)state;
    hold(1);
    assert_false(clerk_withdraw(fix.clerk, &fix.jobs[0].job));
    assert_int_equal(pthread_create(&later, NULL, let_go_later, &fix.jobs[0]), 0);
    clerk_destroy(&fix.clerk);
    check_back(0, 1, 0, 1);
    pthread_join(later, NULL);
}

static void no_memory_is_an_error(void **state) {
    clerk *k = NULL;
    weft_error err;
    (void)state;
    mem_fail_after(0);
    assert_int_equal(clerk_create(&k, 1, &err), WEFT_NOMEM);
    mem_fail_after(-1);
    clerk_destroy(&k);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(jobs_run_in_their_order_on_another_thread),
        TEST(the_row_is_bounded_in_bytes),
        TEST(one_alone_is_taken_however_large),
        TEST(withdrawn_before_its_begin_it_never_runs),
        TEST(withdrawn_while_it_runs_it_is_dropped),
        TEST(withdrawn_after_done_it_is_not_dropped),
        TEST(done_is_called_until_it_succeeds),
        TEST(withdrawn_while_done_fails_it_is_dropped),
        TEST(destroying_waits_for_what_runs),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
