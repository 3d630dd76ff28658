/* kcheck_team.h - threads that time the same case at once.
 *
 * Each thread goes through all cases with a state and memory of its own. They wait for each other
 * before a sample, and again after it to add up what each one took.
 */
#ifndef WEFT_TESTS_KCHECK_TEAM_H
#define WEFT_TESTS_KCHECK_TEAM_H

#include <pthread.h>
#include <stdint.h>

#define KC_THREADS_MAX 64

typedef struct kc_team {
    pthread_mutex_t lock;
    pthread_cond_t all_here;
    uint32_t n_threads, n_here; /* n_here and n_meetings are guarded by lock */
    uint64_t n_meetings;
    uint64_t ns[KC_THREADS_MAX]; /* of the sample just taken; a thread's own until they meet */
} kc_team;

void kc_team_init(kc_team *team, uint32_t n_threads);
/* Returns when every thread has come here. */
void kc_team_meet(kc_team *team);

#endif /* WEFT_TESTS_KCHECK_TEAM_H */
