/* drain.h - how fast the queue empties, and so when a refused caller may come back. Pure.
 *
 *   requests leave the queue ──► average time between two that leave while others wait
 *   retry after  =  that time * half of those waiting
 *
 * Half, so that who comes back finds room and the machine has not run dry meanwhile.
 */
#ifndef WEFT_SCHED_DRAIN_H
#define WEFT_SCHED_DRAIN_H

#include <stdint.h>

#define DRAIN_RETRY_MS_MIN 1000u
#define DRAIN_RETRY_MS_MAX 60000u

typedef struct drain {
    uint64_t last_ns; /* of the last observation, 0 = none */
    uint64_t busy_ns; /* with a queue, since the last one that left */
    double each_ns;   /* moving average, 0 = not measured */
    uint32_t n_seen;  /* of what it is made, at most ten */
} drain;

/* Once a step: n_before waited since the last observation, n_left of them have left. */
void drain_observe(drain *d, uint32_t n_before, uint32_t n_left, uint64_t now_ns);

/* Between DRAIN_RETRY_MS_MIN and _MAX. */
uint32_t drain_retry_ms(const drain *d, uint32_t n_waiting);

#endif /* WEFT_SCHED_DRAIN_H */
