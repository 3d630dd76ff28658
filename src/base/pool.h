/* pool.h - a fixed set of threads that run one parallel loop at a time.
 *
 * pool_run hands out task numbers 0..n_tasks-1 to the caller and the workers and returns when all
 * are done. Each thread begins with a share of its own, neighbouring tasks in order, and then helps
 * the others. Workers spin for a moment before they sleep, because
 * a forward pass is hundreds of short loops in a row; an idle pool uses no CPU.
 *
 * Threads: pool_run from one thread at a time.  Errors: pool_create only.
 */
#ifndef WEFT_BASE_POOL_H
#define WEFT_BASE_POOL_H

#include <stdint.h>

#include "base/status.h"

#define POOL_THREADS_MAX 1024

typedef struct pool pool;

/* thread is in [0, pool_threads): scratch can be indexed by it. */
typedef void pool_task_fn(void *arg, uint32_t task, uint32_t thread);

/* n_threads includes the caller of pool_run; 0 means one per physical core this process may
 * use (affinity and cgroup limits respected). */
weft_status pool_create(pool **out, uint32_t n_threads, weft_error *err) WEFT_NODISCARD;
/* The same with workers that the system may move from core to core. pool_create keeps each on one
 * core when there is one for each (os_thread_pin). Thread 0 stays free: it is whoever calls
 * pool_run, and would be bound, with every thread it starts, after the pool is gone as well. */
weft_status pool_create_unpinned(pool **out, uint32_t n_threads, weft_error *err) WEFT_NODISCARD;
void pool_destroy(pool **p);

uint32_t pool_threads(const pool *p);
void pool_run(pool *p, pool_task_fn *fn, void *arg, uint32_t n_tasks);

#endif /* WEFT_BASE_POOL_H */
