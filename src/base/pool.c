/* pool.c - one parallel loop at a time, with as little ceremony as possible.
 *
 *   tasks     [ thread 0's share | thread 1's share | ... ]         as equal as they go
 *   ticket    [ run number : 32 | tasks of the share not yet claimed : 32 ]   one a thread
 *
 * A loop is published by storing new tickets. A thread works through its own share from front to
 * back, so that what neighbouring tasks read (a weight's panels) is one stream for it, and then
 * helps with the shares of others. To claim a task it lowers a ticket by one with compare-and-swap;
 * the task is the end of the share less what was left. The caller claims like any worker, so a
 * loop never waits for a worker that has not come: it waits only for tasks that were claimed. A
 * worker that arrives late finds tickets with nothing left.
 *
 * Why a late worker cannot mix up two loops: fn, arg and n_tasks are read before the swap. They
 * are rewritten only after every task of the old loop is done, when its tickets have nothing left
 * and can never be swapped again. So a swap that succeeds proves that what was read belongs to the
 * ticket. (The number of the run keeps a ticket from coming back: a thread would have to sleep
 * through 2^32 loops between its read and its swap.)
 *
 * Waiting: workers look at their own ticket for SPIN_NS after their last task, then sleep on a
 * condition. Waking takes about as long as a short loop, so a worker often comes when the loop it
 * was woken for is over: it then spins for the next one instead of lying down again. The pair
 * "store tickets, then read n_sleeping" here and "raise n_sleeping, then read tickets" there is
 * sequentially consistent, so one of the two sides sees the other. The caller waits for the last
 * tasks in the same way: it spins, then sleeps. With more threads than processors nobody spins,
 * since that would take the time of whoever has work.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"

#define SPIN_NS 80000u
#define PAUSES_PER_LOOK 16 /* between two looks at the clock */
#define CACHE_LINE_BYTES 64

typedef struct worker {
    pool *owner;
    pthread_t thread;
    uint32_t index; /* 1 ..; 0 is the caller */
} worker;

/* On a cache line of its own. */
typedef struct ticket {
    _Atomic(uint64_t) value;
    char pad[CACHE_LINE_BYTES - sizeof(uint64_t)];
} ticket;

struct pool {
    /* Read-only once the workers run. */
    worker *workers; /* [n_threads - 1] */
    ticket *tickets; /* [n_threads] */
    uint32_t n_threads;
    uint32_t n_started;
    bool is_pinned;
    uint64_t spin_ns;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* workers wait here for tickets */
    pthread_cond_t done; /* the caller waits here for n_unfinished to become 0 */

    /* The loop. Written by the caller while no ticket has anything left. */
    char pad_job[CACHE_LINE_BYTES];
    _Atomic(pool_task_fn *) fn;
    _Atomic(void *) arg;
    _Atomic(uint32_t) n_tasks;
    atomic_bool is_stopping;
    atomic_uint n_sleeping;    /* raised and lowered under lock */
    atomic_bool caller_sleeps; /* changed under lock */
    atomic_bool is_running;    /* catches a second caller and a loop inside a loop */

    char pad_unfinished[CACHE_LINE_BYTES];
    _Atomic(uint32_t) n_unfinished;
    char pad_end[CACHE_LINE_BYTES];
};

static weft_status create(pool **out, uint32_t n_threads, bool is_pinned, weft_error *err);
static weft_status workers_start(pool *p, weft_error *err);
static void run_inline(pool_task_fn *fn, void *arg, uint32_t n_tasks);
static void publish(pool *p, uint32_t n_tasks);
static void wait_until_finished(pool *p);
static void work_off(pool *p, uint32_t thread);
static void *worker_main(void *arg);
static bool spin_for_news(pool *p, uint32_t thread);
static void sleep_for_news(pool *p);
static void pause_briefly(void);

weft_status pool_create(pool **out, uint32_t n_threads, weft_error *err) {
    return create(out, n_threads, true, err);
}

weft_status pool_create_unpinned(pool **out, uint32_t n_threads, weft_error *err) {
    return create(out, n_threads, false, err);
}

static weft_status create(pool **out, uint32_t n_threads, bool is_pinned, weft_error *err) {
    if (n_threads > POOL_THREADS_MAX) {
        return weft_fail(err, WEFT_LIMIT, "%u threads asked for, at most %d are allowed",
                         (unsigned)n_threads, POOL_THREADS_MAX);
    }
    if (n_threads == 0) {
        const uint32_t cores = os_cores();
        n_threads = cores < POOL_THREADS_MAX ? cores : POOL_THREADS_MAX;
    }
    pool *p = mem_zalloc(MEM_BASE, 1, sizeof *p);
    if (p == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a thread pool");
    }
    p->n_threads = n_threads;
    p->is_pinned = is_pinned;
    p->spin_ns = n_threads <= os_cpus() ? SPIN_NS : 0;
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        mem_free(p);
        return weft_fail(err, WEFT_NOMEM, "the system refused a lock for a thread pool");
    }
    const int wake_rc = pthread_cond_init(&p->wake, NULL);
    const int done_rc = pthread_cond_init(&p->done, NULL);
    WEFT_ASSERT(wake_rc == 0); /* with default attributes neither system allocates */
    WEFT_ASSERT(done_rc == 0);
    p->tickets = mem_zalloc(MEM_BASE, n_threads, sizeof *p->tickets);
    const weft_status status =
        p->tickets != NULL ? workers_start(p, err)
                           : weft_fail(err, WEFT_NOMEM, "out of memory for a pool of %u threads",
                                       (unsigned)n_threads);
    if (status != WEFT_OK) {
        pool_destroy(&p);
        return status;
    }
    *out = p;
    return WEFT_OK;
}

void pool_destroy(pool **pp) {
    pool *p = *pp;
    if (p == NULL) {
        return;
    }
    WEFT_ASSERT(!atomic_load(&p->is_running));
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->is_stopping, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->n_started; i++) {
        const int rc = pthread_join(p->workers[i].thread, NULL);
        WEFT_ASSERT(rc == 0);
    }
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    mem_free(p->tickets);
    mem_free(p->workers);
    mem_free(p);
    *pp = NULL;
}

uint32_t pool_threads(const pool *p) { return p->n_threads; }

void pool_run(pool *p, pool_task_fn *fn, void *arg, uint32_t n_tasks) {
    const bool was_running = atomic_exchange(&p->is_running, true);
    WEFT_ASSERT(!was_running);
    if (p->n_threads == 1 || n_tasks <= 1) {
        run_inline(fn, arg, n_tasks);
    } else {
        atomic_store_explicit(&p->fn, fn, memory_order_release);
        atomic_store_explicit(&p->arg, arg, memory_order_release);
        atomic_store_explicit(&p->n_tasks, n_tasks, memory_order_release);
        publish(p, n_tasks);
        work_off(p, 0);
        wait_until_finished(p);
    }
    atomic_store_explicit(&p->is_running, false, memory_order_release);
}

/* Signals are blocked in workers, so that handlers run on the program's own threads. */
static weft_status workers_start(pool *p, weft_error *err) {
    const uint32_t n_workers = p->n_threads - 1;
    if (n_workers == 0) {
        return WEFT_OK;
    }
    p->workers = mem_zalloc(MEM_BASE, n_workers, sizeof *p->workers);
    if (p->workers == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a pool of %u threads",
                         (unsigned)p->n_threads);
    }
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = 0;
    for (uint32_t i = 0; i < n_workers && rc == 0; i++) {
        p->workers[i] = (worker){.owner = p, .index = i + 1};
        rc = os_thread_start(&p->workers[i].thread, worker_main, &p->workers[i]);
        p->n_started += rc == 0 ? 1 : 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        return weft_fail(err, WEFT_NOMEM, "the system started %u of %u threads: %s",
                         (unsigned)p->n_started, (unsigned)n_workers, strerror(rc));
    }
    return WEFT_OK;
}

static void run_inline(pool_task_fn *fn, void *arg, uint32_t n_tasks) {
    for (uint32_t task = 0; task < n_tasks; task++) {
        fn(arg, task, 0);
    }
}

/* The first task of a thread's share; of thread + 1, the end of it. What does not divide goes to
 * the lowest numbers. */
static uint32_t share_begin(uint32_t n_tasks, uint32_t thread, uint32_t n_threads) {
    const uint32_t extra = n_tasks % n_threads;
    return n_tasks / n_threads * thread + (thread < extra ? thread : extra);
}

static void publish(pool *p, uint32_t n_tasks) {
    WEFT_ASSERT(atomic_load_explicit(&p->n_unfinished, memory_order_relaxed) == 0);
    atomic_store_explicit(&p->n_unfinished, n_tasks, memory_order_relaxed);
    for (uint32_t t = p->n_threads; t-- > 0;) {
        const uint64_t old = atomic_load_explicit(&p->tickets[t].value, memory_order_relaxed);
        WEFT_ASSERT((uint32_t)old == 0);
        const uint32_t n =
            share_begin(n_tasks, t + 1, p->n_threads) - share_begin(n_tasks, t, p->n_threads);
        atomic_store(&p->tickets[t].value, ((old >> 32) + 1) << 32 | n);
    }
    if (atomic_load(&p->n_sleeping) == 0) {
        return;
    }
    /* The caller takes a task itself, so n_tasks - 1 helpers are enough. */
    pthread_mutex_lock(&p->lock);
    const uint32_t n_sleeping = atomic_load(&p->n_sleeping);
    if (n_sleeping <= n_tasks - 1) {
        pthread_cond_broadcast(&p->wake);
    } else {
        for (uint32_t i = 0; i < n_tasks - 1; i++) {
            pthread_cond_signal(&p->wake);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

static bool is_finished(const pool *p) {
    return atomic_load_explicit(&p->n_unfinished, memory_order_acquire) == 0;
}

static void wait_until_finished(pool *p) {
    if (is_finished(p)) {
        return;
    }
    const uint64_t start = p->spin_ns > 0 ? clock_now_ns() : 0;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (is_finished(p)) {
                return;
            }
            pause_briefly();
        }
    } while (p->spin_ns > 0 && clock_now_ns() - start < p->spin_ns);
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->n_unfinished) != 0) {
        pthread_cond_wait(&p->done, &p->lock);
    }
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

/* Claims and runs the tasks that are left of a share; returns how many. */
static uint32_t work_off_share(pool *p, uint32_t share, uint32_t thread) {
    _Atomic(uint64_t) *from = &p->tickets[share].value;
    uint32_t n_done = 0;
    uint64_t seen = atomic_load_explicit(from, memory_order_acquire);
    while ((uint32_t)seen != 0) {
        pool_task_fn *fn = atomic_load_explicit(&p->fn, memory_order_acquire);
        void *arg = atomic_load_explicit(&p->arg, memory_order_acquire);
        const uint32_t n_tasks = atomic_load_explicit(&p->n_tasks, memory_order_acquire);
        const uint32_t n_left = (uint32_t)seen;
        if (atomic_compare_exchange_weak_explicit(from, &seen, seen - 1, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            fn(arg, share_begin(n_tasks, share + 1, p->n_threads) - n_left, thread);
            n_done++;
            seen = atomic_load_explicit(from, memory_order_acquire);
        }
    }
    return n_done;
}

/* Runs tasks until none is left, of the thread's own share first. Finished tasks are counted once
 * at the end, not one by one: the counter is shared by all threads. */
static void work_off(pool *p, uint32_t thread) {
    uint32_t n_done = 0;
    for (uint32_t i = 0; i < p->n_threads; i++) {
        n_done += work_off_share(p, (thread + i) % p->n_threads, thread);
    }
    /* While n_done is not counted the loop cannot end, so all of it belongs to one loop. */
    if (n_done > 0 && atomic_fetch_sub(&p->n_unfinished, n_done) == n_done && thread != 0 &&
        atomic_load(&p->caller_sleeps)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *worker_main(void *arg) {
    const worker *w = arg;
    pool *p = w->owner;
    char name[16];
    (void)snprintf(name, sizeof name, "weft-%u", (unsigned)w->index);
    os_thread_name(name);
    if (p->is_pinned) {
        (void)os_thread_pin(w->index, p->n_threads);
    }
    while (!atomic_load_explicit(&p->is_stopping, memory_order_acquire)) {
        work_off(p, w->index);
        if (!spin_for_news(p, w->index)) {
            sleep_for_news(p);
        }
    }
    return NULL;
}

/* Whether the thread's own share has tasks: it spins on a line that others rarely touch. */
static bool has_news(pool *p, uint32_t thread) {
    return (uint32_t)atomic_load(&p->tickets[thread].value) != 0 || atomic_load(&p->is_stopping);
}

static bool anyone_has_news(pool *p) {
    for (uint32_t t = 0; t < p->n_threads; t++) {
        if (has_news(p, t)) {
            return true;
        }
    }
    return false;
}

static bool spin_for_news(pool *p, uint32_t thread) {
    if (p->spin_ns == 0) {
        return anyone_has_news(p);
    }
    const uint64_t start = clock_now_ns();
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            if (has_news(p, thread)) {
                return true;
            }
            pause_briefly();
        }
    } while (clock_now_ns() - start < p->spin_ns);
    return false;
}

static void sleep_for_news(pool *p) {
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_sleeping, 1);
    if (!anyone_has_news(p)) {
        pthread_cond_wait(&p->wake, &p->lock);
    }
    atomic_fetch_sub(&p->n_sleeping, 1);
    pthread_mutex_unlock(&p->lock);
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* "yield" does nothing on most cores; this waits about as long */
#endif
}
