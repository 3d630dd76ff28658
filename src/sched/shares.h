/* shares.h - who has had how much: counters that make turns fair between clients. Pure.
 *
 *   client   served                    next turn: the least served of those with work
 *   alice    ████████████
 *   bob      ███████                   ◄── bob
 *   carol    (was away)  ─► comes back at least where the least served is
 *
 * A client is whoever a request says it comes from. While it has requests it is present. What it
 * had while alone is not held against it, nor is time away saved up: it enters no lower than the
 * floor, the least that anybody present has had. (Virtual token counters: Sheng et al. 2024,
 * "Fairness in Serving Large Language Models".)
 *
 * Threads: engine thread only.   Errors: shares_init only.
 */
#ifndef WEFT_SCHED_SHARES_H
#define WEFT_SCHED_SHARES_H

#include <stdint.h>

#include "base/status.h"

#define SHARES_ABSENT_MAX 256u /* clients remembered while away */

typedef struct share {
    uint64_t client;
    double served;      /* rows, weighted by what they cost */
    uint32_t n_present; /* requests waiting and running; 0 = away */
    uint32_t n_running;
} share;

typedef struct shares {
    share *all; /* [capacity], the first count are in use */
    uint32_t count, capacity;
    double floor;
} shares;

/* Room for the clients of n_requests_max requests, and some who are away. */
weft_status shares_init(shares *s, uint32_t n_requests_max, weft_error *err) WEFT_NODISCARD;
void shares_deinit(shares *s); /* accepts an empty one */

/* A request of the client came, and one went. The index is valid until the client's last goes. */
uint32_t shares_enter(shares *s, uint64_t client);
void shares_leave(shares *s, uint32_t at);
void shares_charge(shares *s, uint32_t at, double rows); /* negative: given back */

void shares_check(const shares *s);

#endif /* WEFT_SCHED_SHARES_H */
