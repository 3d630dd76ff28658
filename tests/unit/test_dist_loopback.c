/* test_dist_loopback.c - ranks in threads: sums arrive everywhere, in the same bits, every time. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dist/dist.h"

#define RANKS 3u
#define ROUNDS 200u
#define ROWS 5u
#define COLS 7u
#define STRIDE 9u

static float value_of(uint32_t rank, uint32_t round, uint32_t i) {
    /* Sums of these depend on their order. */
    const float wide[RANKS] = {1e8f, 1.0f, -1e8f};
    return wide[rank] * (float)(1 + (round + i) % 5) / 3.0f;
}

typedef struct job {
    dist *rank;
    float got[ROUNDS][ROWS][STRIDE];
} job;

static void *rank_main(void *arg) {
    job *j = arg;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < ROWS * STRIDE; i++) {
            (&j->got[round][0][0])[i] = value_of(j->rank->place.rank, round, i);
        }
        dist_sum(j->rank, &j->got[round][0][0], STRIDE, ROWS, COLS);
    }
    return NULL;
}

static void sums_are_those_of_ascending_ranks(void **state) {
    (void)state;
    static job jobs[RANKS];
    dist *ranks[RANKS];
    pthread_t threads[RANKS];
    assert_int_equal(dist_loopback_create(ranks, RANKS, (size_t)ROWS * COLS, NULL), WEFT_OK);
    for (uint32_t i = 0; i < RANKS; i++) {
        jobs[i].rank = ranks[i];
        assert_int_equal(ranks[i]->place.rank, i);
        assert_int_equal(ranks[i]->place.size, RANKS);
        assert_int_equal(pthread_create(&threads[i], NULL, rank_main, &jobs[i]), 0);
    }
    for (uint32_t i = 0; i < RANKS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (uint32_t round = 0; round < ROUNDS; round++) {
            for (uint32_t i = 0; i < ROWS * STRIDE; i++) {
                float want = value_of(rank, round, i); /* gaps between rows stay */
                if (i % STRIDE < COLS) {
                    want = value_of(0, round, i);
                    want += value_of(1, round, i);
                    want += value_of(2, round, i);
                }
                assert_memory_equal(&(&jobs[rank].got[round][0][0])[i], &want, sizeof want);
            }
        }
        dist_destroy(&ranks[rank]);
        assert_null(ranks[rank]);
    }
}

static void alone_nothing_moves(void **state) {
    (void)state;
    dist *rank = NULL;
    float x[4] = {1, 2, 3, 4};
    const float want[4] = {1, 2, 3, 4};
    assert_int_equal(dist_loopback_create(&rank, 1, 4, NULL), WEFT_OK);
    dist_sum(rank, x, 4, 1, 4);
    assert_memory_equal(x, want, sizeof want);
    dist_destroy(&rank);
}

static void creation_that_fails_leaves_nothing(void **state) {
    (void)state;
    dist *ranks[RANKS] = {0};
    weft_error err;
    assert_int_equal(dist_loopback_create(ranks, 0, 4, &err), WEFT_INVALID);
    assert_string_equal(err.message, "0 ranks that share 4 values, wanted 1 to 1024 ranks");
    const uint64_t live = mem_stats_total().live_bytes;
    for (int64_t nth = 0; nth < 2 + RANKS; nth++) {
        mem_fail_after(nth);
        assert_int_equal(dist_loopback_create(ranks, RANKS, 4, &err), WEFT_NOMEM);
        mem_fail_after(-1);
        assert_int_equal(mem_stats_total().live_bytes, live);
        memset(ranks, 0, sizeof ranks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_ascending_ranks),
        cmocka_unit_test(alone_nothing_moves),
        cmocka_unit_test(creation_that_fails_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
