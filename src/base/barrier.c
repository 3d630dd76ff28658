/* barrier.c - the last to come opens the next meeting; the others wait until its number changed.
 */
#include "base/barrier.h"

#include "base/check.h"

void barrier_init(barrier *b, uint32_t n_threads) {
    WEFT_ASSERT(n_threads > 0);
    *b = (barrier){.n_threads = n_threads};
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->all_here, NULL);
}

void barrier_deinit(barrier *b) {
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->all_here);
}

void barrier_meet(barrier *b) {
    pthread_mutex_lock(&b->lock);
    const uint64_t mine = b->n_meetings;
    if (++b->n_here == b->n_threads) {
        b->n_here = 0;
        b->n_meetings++;
        pthread_cond_broadcast(&b->all_here);
    }
    while (b->n_meetings == mine) {
        pthread_cond_wait(&b->all_here, &b->lock);
    }
    pthread_mutex_unlock(&b->lock);
}
