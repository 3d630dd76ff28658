/* status.h - how every fallible call of weft reports.
 *
 * Zero is success. The message is written once, where the fact is known, and names the thing,
 * the value found and the value wanted. Compare with WEFT_OK; never use !status.
 */
#ifndef WEFT_STATUS_H
#define WEFT_STATUS_H

#include "weft/export.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_STATUS_LIST(X)                       \
    X(OK, 0, "ok")                                \
    X(NOMEM, -1, "out of memory")                 \
    X(IO, -2, "input or output failed")           \
    X(FORMAT, -3, "malformed data")               \
    X(UNSUPPORTED, -4, "valid but not supported") \
    X(INVALID, -5, "invalid argument")            \
    X(LIMIT, -6, "limit exceeded")                \
    X(AGAIN, -7, "not now")                       \
    X(CANCELLED, -8, "cancelled")                 \
    X(DEVICE, -9, "device failed")                \
    X(PEER, -10, "peer failed")                   \
    X(NOTFOUND, -11, "not found")

typedef enum weft_status {
#define X(name, code, text) WEFT_##name = code,
    WEFT_STATUS_LIST(X)
#undef X
} weft_status;

#define WEFT_ERROR_MESSAGE_MAX 512

typedef struct weft_error {
    weft_status code;
    char message[WEFT_ERROR_MESSAGE_MAX]; /* one line, no trailing newline, always terminated */
} weft_error;

/* The sentence of a status: "malformed data". Static storage; never NULL. */
WEFT_API const char *weft_status_text(weft_status status);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_STATUS_H */
