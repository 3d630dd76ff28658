/* api_error.h - what went wrong with a request, in HTTP's and OpenAI's words.
 *
 *   {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
 */
#ifndef WEFT_API_API_ERROR_H
#define WEFT_API_API_ERROR_H

#include <stdbool.h>

#include "http/http.h"
#include "weft/engine.h"

typedef struct api_error {
    int http_status;
    const char *type;       /* "invalid_request_error", ... */
    const char *code;       /* "model_not_found", ..., or NULL */
    char param[64];         /* which parameter, "" without */
    uint32_t retry_after_s; /* of a 429 */
    char message[WEFT_ERROR_MESSAGE_MAX];
} api_error;

/* A bad request: 400 about `param` (NULL = none). Returns false, so that callers can
 * `return api_error_bad(...)`. */
bool api_error_bad(api_error *e, const char *param, const char *fmt, ...) WEFT_PRINTF(3, 4);

/* Any other: the type and code follow from the HTTP status. Returns false. */
bool api_error_set(api_error *e, int http_status, const char *code, const char *message);

/* From weft's own status: the one table of HTTP codes. Returns false. */
bool api_error_from(api_error *e, weft_status status, const weft_error *err);

/* Too many wait: 429, and when to come back by the rate at which the engine serves. Returns
 * false. */
bool api_error_full(api_error *e, const weft_engine *en, const char *message);

/* Answers the exchange with it. */
void api_error_respond(const api_error *e, http_exchange *x);

#endif /* WEFT_API_API_ERROR_H */
