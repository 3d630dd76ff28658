/* log.c - one sink, one lock.
 *
 * The line is formatted outside the lock into a buffer on the stack and handed over inside it,
 * so that lines of several threads never mix and a sink may use unlocked state. The level is
 * looked at first without the lock: a debug line nobody wants costs one atomic load. A sink
 * must not log: it would wait for its own lock.
 *
 * A line is at most LINE_MAX_BYTES - 1 bytes and holds no control characters (str_line_format):
 * what a client or a file sent cannot forge a second line.
 */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/str.h"

#define LINE_MAX_BYTES 1024
#define LEVEL_NONE (LOG_LEVEL_ERROR + 1)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static log_sink_fn *sink_fn; /* guarded by lock */
static void *sink_user;      /* guarded by lock */
static atomic_int level_min = LEVEL_NONE;

void log_set_sink(log_sink_fn *sink, void *user, log_level min_level) {
    pthread_mutex_lock(&lock);
    sink_fn = sink;
    sink_user = user;
    atomic_store(&level_min, sink != NULL ? (int)min_level : (int)LEVEL_NONE);
    pthread_mutex_unlock(&lock);
}

void log_write(log_level level, const char *fmt, ...) {
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed)) {
        return;
    }
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    str_line_format(line, sizeof line, fmt, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    if (sink_fn != NULL) {
        sink_fn(sink_user, level, line);
    }
    pthread_mutex_unlock(&lock);
}
