/* status.h - writing errors. Reading them is weft/status.h.
 *
 * Threads: any. The error belongs to the caller.
 */
#ifndef WEFT_BASE_STATUS_H
#define WEFT_BASE_STATUS_H

#include "base/compiler.h"
#include "weft/status.h"

/* Writes the message if err is not NULL and returns code, so that callers can write
 * `return weft_fail(err, WEFT_FORMAT, "%s: tensor '%s' needs %zu bytes, file has %zu", ...)`.
 * A message that does not fit is cut with "..."; control characters become '?'. */
weft_status weft_fail(weft_error *err, weft_status code, const char *fmt, ...) WEFT_PRINTF(3, 4);

/* Puts context before an existing message: "model.gguf: " + message. No-op when err is NULL. */
void weft_error_prefix(weft_error *err, const char *fmt, ...) WEFT_PRINTF(2, 3);

#endif /* WEFT_BASE_STATUS_H */
