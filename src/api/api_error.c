/* api_error.c - one table from status to HTTP code, one shape for every error.
 */
#include "api/api_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/api_json.h"

static const struct {
    weft_status status;
    int http_status;
    const char *code;
} status_table[] = {
    {WEFT_INVALID, 400, NULL},
    {WEFT_FORMAT, 400, NULL},
    {WEFT_UNSUPPORTED, 400, "unsupported"},
    {WEFT_LIMIT, 400, "context_length_exceeded"},
    {WEFT_NOTFOUND, 404, "not_found"},
    {WEFT_CANCELLED, 503, "cancelled"},
};

static const char *type_of(int http_status) {
    switch (http_status) {
    case 400:
    case 404:
    case 405:
    case 413:
    case 431: return "invalid_request_error";
    case 401: return "authentication_error";
    case 429: return "rate_limit_error";
    default: return "server_error";
    }
}

bool api_error_set(api_error *e, int http_status, const char *code, const char *message) {
    *e = (api_error){.http_status = http_status, .type = type_of(http_status), .code = code};
    snprintf(e->message, sizeof e->message, "%s", message);
    return false;
}

bool api_error_bad(api_error *e, const char *param, const char *fmt, ...) {
    va_list args;
    api_error_set(e, 400, NULL, "");
    snprintf(e->param, sizeof e->param, "%s", param != NULL ? param : "");
    va_start(args, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, args);
    va_end(args);
    return false;
}

bool api_error_from(api_error *e, weft_status status, const weft_error *err) {
    for (size_t i = 0; i < WEFT_LEN(status_table); i++) {
        if (status_table[i].status == status) {
            return api_error_set(e, status_table[i].http_status, status_table[i].code,
                                 err->message);
        }
    }
    return api_error_set(e, 500, NULL, err->message);
}

bool api_error_full(api_error *e, const weft_engine *en, const char *message) {
    api_error_set(e, 429, "queue_full", message);
    e->retry_after_s = (weft_engine_retry_after_ms(en) + 999) / 1000;
    return false;
}

void api_error_respond(const api_error *e, http_exchange *x) {
    json_t *root = api_json_error(e);
    if (e->http_status == 429) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", e->retry_after_s > 0 ? e->retry_after_s : 1);
        http_set_header(x, "Retry-After", seconds);
    }
    if (e->http_status == 401) {
        http_set_header(x, "WWW-Authenticate", "Bearer");
    }
    api_json_respond(x, e->http_status, root);
}
