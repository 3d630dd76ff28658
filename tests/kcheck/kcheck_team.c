/* kcheck_team.c - a meeting point. Not every system has barriers, so it is made of a counter.
 */
#include "kcheck_team.h"

#include "base/check.h"

void kc_team_init(kc_team *team, uint32_t n_threads) {
    *team = (kc_team){.n_threads = n_threads};
    WEFT_ASSERT(pthread_mutex_init(&team->lock, NULL) == 0);
    WEFT_ASSERT(pthread_cond_init(&team->all_here, NULL) == 0);
}

void kc_team_meet(kc_team *team) {
    pthread_mutex_lock(&team->lock);
    const uint64_t meeting = team->n_meetings;
    if (++team->n_here == team->n_threads) {
        team->n_here = 0;
        team->n_meetings++;
        pthread_cond_broadcast(&team->all_here);
    }
    while (team->n_meetings == meeting) {
        pthread_cond_wait(&team->all_here, &team->lock);
    }
    pthread_mutex_unlock(&team->lock);
}
