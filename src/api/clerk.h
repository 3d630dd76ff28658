/* clerk.h - one thread for work that would hold the event thread up, a job at a time.
 *
 *   clerk_try_give ──► row, bounded in bytes ──► run ──► done ──► its owner's again
 *                       │                         │
 *   clerk_withdraw      └─► its owner's at once   └─► drop
 *
 * A job is its owner's memory, lent from clerk_try_give on. run, done and drop are called on the
 * clerk's thread; run may take long. Exactly one of three gives the job back: clerk_withdraw by
 * returning true, drop, or done.
 *
 * Threads: any.
 */
#ifndef WEFT_API_CLERK_H
#define WEFT_API_CLERK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct clerk clerk;
typedef struct clerk_job clerk_job;

struct clerk_job {
    void *owner;
    size_t bytes; /* what it counts in the row */
    void (*run)(void *owner);
    /* Hands the job back: must be quick and must not call the clerk. False: not possible just now,
     * and it is called again soon. */
    bool (*done)(void *owner);
    void (*drop)(void *owner); /* instead of done, when it was withdrawn after its begin */
    clerk_job *next;           /* the clerk's, as all below */
    bool is_begun, is_withdrawn;
};

weft_status clerk_create(clerk **out, size_t bytes_max, weft_error *err) WEFT_NODISCARD;
/* Waits for the job that runs; all must have been done or withdrawn. Accepts NULL. */
void clerk_destroy(clerk **k);

/* False when the jobs in the row and the one that runs have bytes_max together with this one. One
 * alone is always taken. */
bool clerk_try_give(clerk *k, clerk_job *job) WEFT_NODISCARD;

/* The owner wants it no more. True: it had not begun. False: drop follows, unless done has been. */
bool clerk_withdraw(clerk *k, clerk_job *job) WEFT_NODISCARD;

typedef struct clerk_load {
    uint32_t jobs; /* in the row or running */
    size_t bytes;
} clerk_load;

clerk_load clerk_load_now(clerk *k);

#endif /* WEFT_API_CLERK_H */
