/* barrier.h - a meeting point of a fixed number of threads.
 *
 * Nobody goes on before all are there; then it is ready for the next meeting. What a thread wrote
 * before it came, all see afterwards. Not every system has POSIX's barriers.
 *
 * Threads: init and deinit while nobody meets.
 */
#ifndef WEFT_BASE_BARRIER_H
#define WEFT_BASE_BARRIER_H

#include <pthread.h>
#include <stdint.h>

typedef struct barrier {
    pthread_mutex_t lock;
    pthread_cond_t all_here;
    uint32_t n_threads;
    uint32_t n_here;     /* guarded by lock */
    uint64_t n_meetings; /* guarded by lock */
} barrier;

void barrier_init(barrier *b, uint32_t n_threads);
void barrier_deinit(barrier *b);

/* Returns when every thread has come here. */
void barrier_meet(barrier *b);

#endif /* WEFT_BASE_BARRIER_H */
