/* test_pool.c - every task runs once, on a thread whose number is right.
 *
 * Run under ThreadSanitizer as well: the promise that results are visible to the caller
 * afterwards, without any lock of its own, is only fully tested there. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/pool.h"

#define TASKS_MAX 1000

typedef struct job {
    uint32_t n_threads;
    uint32_t runs[TASKS_MAX];              /* how often each task ran: plain, on purpose */
    uint32_t per_thread[POOL_THREADS_MAX]; /* scratch indexed by thread: plain, on purpose */
    atomic_uint n_bad_threads;
} job;

static void count_task(void *arg, uint32_t task, uint32_t thread) {
    job *j = arg;
    if (thread >= j->n_threads) {
        atomic_fetch_add(&j->n_bad_threads, 1);
        return;
    }
    j->runs[task]++;
    j->per_thread[thread]++;
}

static void check_all_ran(job *j, uint32_t n_tasks, uint32_t times) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < TASKS_MAX; i++) {
        assert_int_equal(j->runs[i], i < n_tasks ? times : 0);
    }
    for (uint32_t i = 0; i < j->n_threads; i++) {
        total += j->per_thread[i];
    }
    assert_int_equal(total, n_tasks * times);
    assert_int_equal(atomic_load(&j->n_bad_threads), 0);
}

static void every_task_runs_exactly_once(void **state) {
    (void)state;
    const uint32_t thread_counts[] = {1, 2, 3, 8};
    const uint32_t task_counts[] = {0, 1, 2, 3, 7, 64, TASKS_MAX};
    for (size_t t = 0; t < WEFT_LEN(thread_counts); t++) {
        pool *p = NULL;
        weft_error err = {0};
        assert_int_equal(pool_create(&p, thread_counts[t], &err), WEFT_OK);
        assert_int_equal(pool_threads(p), thread_counts[t]);
        for (size_t n = 0; n < WEFT_LEN(task_counts); n++) {
            job j = {.n_threads = thread_counts[t]};
            pool_run(p, count_task, &j, task_counts[n]);
            check_all_ran(&j, task_counts[n], 1);
        }
        pool_destroy(&p);
        assert_null(p);
    }
}

static void many_short_loops_in_a_row_stay_correct(void **state) {
    (void)state;
    for (uint32_t n_threads = 2; n_threads <= 6; n_threads += 2) {
        pool *p = NULL;
        assert_int_equal(pool_create(&p, n_threads, NULL), WEFT_OK);
        job j = {.n_threads = n_threads};
        for (uint32_t round = 0; round < 3000; round++) {
            pool_run(p, count_task, &j, 5);
        }
        check_all_ran(&j, 5, 3000);
        pool_destroy(&p);
    }
}

/* Loops of different sizes and arguments follow one another: a task of one must never run with
 * the argument of another. */
static void loops_never_mix(void **state) {
    (void)state;
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 4, NULL), WEFT_OK);
    static job jobs[8];
    memset(jobs, 0, sizeof jobs);
    for (uint32_t round = 0; round < 400; round++) {
        for (uint32_t i = 0; i < WEFT_LEN(jobs); i++) {
            jobs[i].n_threads = 4;
            pool_run(p, count_task, &jobs[i], 2 + i * 3);
        }
    }
    for (uint32_t i = 0; i < WEFT_LEN(jobs); i++) {
        check_all_ran(&jobs[i], 2 + i * 3, 400);
    }
    pool_destroy(&p);
}

static void sleeping_workers_wake_up(void **state) {
    (void)state;
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 3, NULL), WEFT_OK);
    job j = {.n_threads = 3};
    for (uint32_t round = 0; round < 20; round++) {
        const struct timespec longer_than_the_spin = {.tv_nsec = 2000000};
        (void)nanosleep(&longer_than_the_spin, NULL);
        pool_run(p, count_task, &j, 9);
    }
    check_all_ran(&j, 9, 20);
    pool_destroy(&p);
}

/* Each task waits until a second one has begun: with one thread at work none would end. */
static void wait_for_company(void *arg, uint32_t task, uint32_t thread) {
    (void)task;
    (void)thread;
    atomic_uint *n_begun = arg;
    atomic_fetch_add(n_begun, 1);
    const uint64_t start = clock_now_ns();
    while (atomic_load(n_begun) % 2 != 0 && clock_now_ns() - start < 10000000000u) {
        const struct timespec moment = {.tv_nsec = 100000};
        (void)nanosleep(&moment, NULL);
    }
}

static void tasks_run_side_by_side(void **state) {
    (void)state;
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 2, NULL), WEFT_OK);
    atomic_uint n_begun = 0;
    const uint64_t start = clock_now_ns();
    pool_run(p, wait_for_company, &n_begun, 2);
    assert_int_equal(atomic_load(&n_begun), 2);
    assert_true(clock_now_ns() - start < 10000000000u);
    pool_destroy(&p);
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void idle_pools_use_no_processor(void **state) {
    (void)state;
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 2, NULL), WEFT_OK);
    job j = {.n_threads = 2};
    pool_run(p, count_task, &j, 10);
    const struct timespec moment = {.tv_nsec = 100000000};
    const uint64_t before = cpu_ns();
    (void)nanosleep(&moment, NULL);
    assert_true(cpu_ns() - before < 20000000u);
    pool_destroy(&p);
}

static void zero_means_one_thread_per_core(void **state) {
    (void)state;
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 0, NULL), WEFT_OK);
    const uint32_t cores = os_cores();
    assert_int_equal(pool_threads(p), cores < POOL_THREADS_MAX ? cores : POOL_THREADS_MAX);
    pool_destroy(&p);
}

/* What each thread may use. Every thread has one task, which waits for those of the others. */
typedef struct places {
    uint32_t n_threads;
    atomic_uint n_came;
    uint32_t cpus[POOL_THREADS_MAX], cores[POOL_THREADS_MAX];
} places;

static void note_place(void *arg, uint32_t task, uint32_t thread) {
    (void)task;
    places *seen = arg;
    seen->cpus[thread] = os_cpus();
    seen->cores[thread] = os_cores();
    atomic_fetch_add(&seen->n_came, 1);
    const uint64_t start = clock_now_ns();
    while (atomic_load(&seen->n_came) < seen->n_threads && clock_now_ns() - start < 5000000000u) {
        const struct timespec moment = {.tv_nsec = 100000};
        (void)nanosleep(&moment, NULL);
    }
}

static void note_places(pool *p, places *seen) {
    *seen = (places){.n_threads = pool_threads(p)};
    pool_run(p, note_place, seen, seen->n_threads);
    assert_int_equal(atomic_load(&seen->n_came), seen->n_threads);
}

static void unpinned_threads_may_use_every_processor(void **state) {
    (void)state;
    static places seen;
    pool *p = NULL;
    assert_int_equal(pool_create_unpinned(&p, 0, NULL),
                     WEFT_OK); /* a number that would be pinned */
    note_places(p, &seen);
    for (uint32_t i = 0; i < seen.n_threads; i++) {
        assert_int_equal(seen.cpus[i], os_cpus());
    }
    pool_destroy(&p);
}

static void *try_pin(void *arg) {
    bool *is_pinned = arg;
    *is_pinned = os_thread_pin(0, os_cores());
    return NULL;
}

/* Where the system pins at all, and there is more than one core to choose from. */
static void workers_stay_on_one_core_and_the_caller_is_free(void **state) {
    (void)state;
    static places seen;
    pthread_t thread;
    bool can_pin = false;
    assert_int_equal(pthread_create(&thread, NULL, try_pin, &can_pin), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (!can_pin || os_cores() < 2) {
        skip();
    }
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 0, NULL), WEFT_OK);
    note_places(p, &seen);
    assert_int_equal(seen.cpus[0], os_cpus());
    for (uint32_t i = 1; i < seen.n_threads; i++) {
        assert_int_equal(seen.cores[i], 1);
        assert_true(seen.cpus[i] < os_cpus());
    }
    pool_destroy(&p);
}

static void too_many_threads_are_refused(void **state) {
    (void)state;
    pool *p = NULL;
    weft_error err = {0};
    assert_int_equal(pool_create(&p, POOL_THREADS_MAX + 1, &err), WEFT_LIMIT);
    assert_string_equal(err.message, "1025 threads asked for, at most 1024 are allowed");
    assert_null(p);
}

typedef struct meeting {
    atomic_uint n_came;
    atomic_uint first[2]; /* the first task of each thread, plus 1 */
} meeting;

/* Each thread's first task waits for the other's. */
static void meet(void *arg, uint32_t task, uint32_t thread) {
    meeting *m = arg;
    if (atomic_load(&m->first[thread]) == 0) {
        atomic_store(&m->first[thread], task + 1);
        atomic_fetch_add(&m->n_came, 1);
        const uint64_t start = clock_now_ns();
        while (atomic_load(&m->n_came) < 2 && clock_now_ns() - start < 5000000000u) {
        }
    }
}

static void a_thread_begins_with_its_own_share(void **state) {
    (void)state;
    pool *p = NULL;
    assert_int_equal(pool_create(&p, 2, NULL), WEFT_OK);
    for (uint32_t n_tasks = 2; n_tasks < 12; n_tasks++) {
        meeting m = {0};
        pool_run(p, meet, &m, n_tasks);
        assert_int_equal(atomic_load(&m.first[0]), 1);
        assert_int_equal(atomic_load(&m.first[1]), (n_tasks + 1) / 2 + 1);
    }
    pool_destroy(&p);
}

static void refused_memory_leaves_nothing_behind(void **state) {
    (void)state;
    const uint64_t live = mem_stats_room(MEM_BASE).live_bytes;
    int64_t nth = 0;
    for (;; nth++) {
        pool *p = NULL;
        weft_error err = {0};
        mem_fail_after(nth);
        const weft_status status = pool_create(&p, 3, &err);
        mem_fail_after(-1);
        if (status == WEFT_OK) {
            pool_destroy(&p);
            break;
        }
        assert_int_equal(status, WEFT_NOMEM);
        assert_null(p);
        assert_int_equal(mem_stats_room(MEM_BASE).live_bytes, live);
    }
    assert_int_equal(nth, 3); /* the pool, its tickets, its workers */
    assert_int_equal(mem_stats_room(MEM_BASE).live_bytes, live);
}

static void destroying_accepts_nothing(void **state) {
    (void)state;
    pool *p = NULL;
    pool_destroy(&p);
    assert_null(p);
    /* At once after creation, while workers may still be starting. */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pool_create(&p, 4, NULL), WEFT_OK);
        pool_destroy(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_exactly_once),
        cmocka_unit_test(many_short_loops_in_a_row_stay_correct),
        cmocka_unit_test(loops_never_mix),
        cmocka_unit_test(sleeping_workers_wake_up),
        cmocka_unit_test(tasks_run_side_by_side),
        cmocka_unit_test(idle_pools_use_no_processor),
        cmocka_unit_test(zero_means_one_thread_per_core),
        cmocka_unit_test(unpinned_threads_may_use_every_processor),
        cmocka_unit_test(workers_stay_on_one_core_and_the_caller_is_free),
        cmocka_unit_test(too_many_threads_are_refused),
        cmocka_unit_test(a_thread_begins_with_its_own_share),
        cmocka_unit_test(refused_memory_leaves_nothing_behind),
        cmocka_unit_test(destroying_accepts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
