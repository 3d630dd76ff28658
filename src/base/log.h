/* log.h - lines for the operator. Nothing below cli/ and api/ prints; it logs, and the program
 * decides where lines go. Without a sink, lines are dropped.
 *
 * Threads: any. The sink is called under a lock, one line at a time, and must not log itself.
 * A line is at most 1023 bytes without control characters; what is longer is cut with "...".
 */
#ifndef WEFT_BASE_LOG_H
#define WEFT_BASE_LOG_H

#include "base/compiler.h"

typedef enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
} log_level;

typedef void log_sink_fn(void *user, log_level level, const char *line);

void log_set_sink(log_sink_fn *sink, void *user, log_level min_level);
void log_write(log_level level, const char *fmt, ...) WEFT_PRINTF(2, 3);

#define LOG_DEBUG(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARN(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_ERROR(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif /* WEFT_BASE_LOG_H */
