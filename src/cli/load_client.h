/* load_client.h - many HTTP requests at once on one thread, over libcurl.
 *
 *   load_client_post(c, &post) ...  any number of times, also from within on_done
 *   load_client_turn(c, timeout_ms)  ──► on_data(user, bytes) ... on_done(user, what became of it)
 *
 * Connections are kept and used again. Proxies are gone past: a load through one would measure it.
 *
 * Threads: one. Limits: `in_flight_max` requests at once.
 */
#ifndef WEFT_CLI_LOAD_CLIENT_H
#define WEFT_CLI_LOAD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

typedef struct load_client load_client;

typedef struct load_done {
    int http_status;      /* 0: no answer came */
    double retry_after_s; /* of a 429 or 503; 0 without */
    bool is_timeout;
    const char *error; /* why there is no whole answer; NULL when there is */
} load_done;

typedef struct load_post {
    const char *url;
    str body; /* borrowed until on_done */
    void (*on_data)(void *user, int http_status, const char *bytes, size_t len);
    void (*on_done)(void *user, const load_done *done);
    void *user;
} load_post;

/* key: sent as "Authorization: Bearer"; NULL = none. Raises the soft limit of open files. */
weft_status load_client_create(load_client **out, uint32_t in_flight_max, const char *key,
                               double timeout_s, weft_error *err) WEFT_NODISCARD;
/* Drops what is in flight without a word. */
void load_client_destroy(load_client **c);

/* WEFT_LIMIT above in_flight_max, WEFT_NOMEM. */
weft_status load_client_post(load_client *c, const load_post *post, weft_error *err) WEFT_NODISCARD;
/* Waits until something happens, at most timeout_ms, and calls back. */
weft_status load_client_turn(load_client *c, int timeout_ms, weft_error *err) WEFT_NODISCARD;

/* One GET, waited for. Any status but 200 is WEFT_IO. */
weft_status load_client_get(load_client *c, const char *url, buf *out,
                            weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_CLI_LOAD_CLIENT_H */
