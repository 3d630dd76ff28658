/* clock.c - monotonic time for measuring, wall time for dates.
 *
 * CLOCK_MONOTONIC exists on Linux and macOS and is served without a system call on both. It
 * may be slowed by time synchronisation but never steps, which is what timeouts and speed
 * figures need. Both calls can fail only for a clock the system does not have: our mistake.
 */
#include "base/clock.h"

#include <time.h>

#include "base/check.h"

uint64_t clock_now_ns(void) {
    struct timespec now;
    const int rc = clock_gettime(CLOCK_MONOTONIC, &now);
    WEFT_ASSERT(rc == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

double clock_seconds(uint64_t ns) { return (double)ns * 1e-9; }

int64_t clock_unix_s(void) {
    struct timespec now;
    const int rc = clock_gettime(CLOCK_REALTIME, &now);
    WEFT_ASSERT(rc == 0);
    return (int64_t)now.tv_sec;
}
