/* test_barrier.c - nobody leaves a meeting before all have come, and it can be held again and again.
 *
 * Run under ThreadSanitizer as well: what was written before a meeting is read after it without
 * another lock. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/barrier.h"
#include "base/compiler.h"

#define THREADS_MAX 5u
#define ROUNDS 2000u

typedef struct party {
    barrier all;
    uint32_t n_threads;
    uint32_t round[THREADS_MAX]; /* plain, on purpose */
} party;

typedef struct guest {
    party *at;
    uint32_t index, n_early; /* n_early: others that were not there when this one went on */
} guest;

static void *meet_often(void *arg) {
    guest *g = arg;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        g->at->round[g->index] = round;
        barrier_meet(&g->at->all);
        for (uint32_t i = 0; i < g->at->n_threads; i++) {
            g->n_early += g->at->round[i] != round;
        }
        barrier_meet(&g->at->all); /* all have looked */
    }
    return NULL;
}

static void everybody_is_there_when_one_goes_on(void **state) {
    (void)state;
    static const uint32_t counts[] = {1, 2, THREADS_MAX};
    for (size_t c = 0; c < WEFT_LEN(counts); c++) {
        party p = {.n_threads = counts[c]};
        guest guests[THREADS_MAX];
        pthread_t threads[THREADS_MAX];
        barrier_init(&p.all, p.n_threads);
        for (uint32_t i = 0; i < p.n_threads; i++) {
            guests[i] = (guest){.at = &p, .index = i};
            assert_int_equal(pthread_create(&threads[i], NULL, meet_often, &guests[i]), 0);
        }
        for (uint32_t i = 0; i < p.n_threads; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(guests[i].n_early, 0);
        }
        barrier_deinit(&p.all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_there_when_one_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
