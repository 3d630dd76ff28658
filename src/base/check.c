/* check.c - the end of the road for a broken assertion.
 *
 * An assertion that breaks is our own mistake: the state can no longer be trusted, so nothing
 * is cleaned up and no sink is asked. One line goes to stderr with a single unbuffered write
 * and the process aborts, which leaves a core file or a debugger at the right frame.
 */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *expr, const char *file, int line) {
    char text[1024];
    const int len = snprintf(text, sizeof text, "%s:%d: assertion failed: %s\n", file, line, expr);
    if (len > 0) {
        const size_t n = (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
        const ssize_t written = write(STDERR_FILENO, text, n);
        (void)written; /* there is nobody left to tell */
    }
    abort();
}
