/* status.c - error messages: written once, prefixed on the way up.
 *
 * A message is one line of at most WEFT_ERROR_MESSAGE_MAX - 1 bytes. Much of what goes into it
 * comes from files and sockets, so control characters never reach a terminal or a log through
 * an error. A caller may pass NULL for the error when the code alone is enough; everything
 * here accepts that.
 *
 * The cutting and cleaning is str_line_format, shared with log.c.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"

const char *weft_status_text(weft_status status) {
    switch (status) {
#define X(name, code, text) \
    case WEFT_##name: return text;
        WEFT_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

weft_status weft_fail(weft_error *err, weft_status code, const char *fmt, ...) {
    WEFT_ASSERT(code != WEFT_OK);
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        str_line_format(err->message, sizeof err->message, fmt, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

void weft_error_prefix(weft_error *err, const char *fmt, ...) {
    if (err == NULL) {
        return;
    }
    /* The old message may be an argument of the new one, so nothing is written in place. */
    char old[WEFT_ERROR_MESSAGE_MAX];
    memcpy(old, err->message, sizeof old);
    char prefix[WEFT_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    str_line_format(prefix, sizeof prefix, fmt, args);
    va_end(args);
    const weft_status code = err->code;
    if (code == WEFT_OK) {
        return; /* nothing failed, so there is nothing to put context before */
    }
    (void)weft_fail(err, code, "%s%s", prefix, old);
}
