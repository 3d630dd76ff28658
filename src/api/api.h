/* api.h - OpenAI's HTTP API over a loaded engine: JSON to requests and back.
 *
 *   http handler ─► api routes ─► body checked field by field ─► weft_request_submit
 *                                 (a large one on a thread of its own)
 *   on_ready ─► http_server_put ─► (once a turn of the engine) http_server_wake
 *            ─► weft_request_poll ─► SSE chunk or collected answer
 *
 * Fair shares are between clients: the API keys where there are several, else the addresses.
 * A parameter that is accepted is honoured; one that is not supported is refused by name.
 *
 * Threads: the http event thread, except where said.
 */
#ifndef WEFT_API_API_H
#define WEFT_API_API_H

#include "api/journal.h"
#include "http/http.h"
#include "weft/engine.h"

typedef struct api api;

#define API_KEYS_MAX 64u

typedef struct api_options {
    const char *model_id;    /* the name clients use; "/v1/models" lists it */
    const char *const *keys; /* [n_keys]; any of them is accepted, without them none is wanted */
    size_t n_keys;
    journal_format log_format;
    journal_line_fn *log; /* takes a line for each request */
    void *log_user;
} api_options;

/* Without an engine (set later, once loaded) /health answers 503 and requests 503. */
weft_status api_create(api **out, const api_options *options, weft_error *err) WEFT_NODISCARD;
/* No exchange may be left. Waits for the body that is being read, and so comes before the engine is
 * closed. */
void api_destroy(api **a);

/* Any thread. The engine is borrowed and must outlive the api's exchanges. Its on_turn must call
 * http_server_wake of the server that api_handle serves: nothing else tells of new tokens. */
void api_set_engine(api *a, weft_engine *en);

/* The http_handler_fn: user is the api. */
void api_handle(void *user, http_exchange *x);

/* The http_refusal_fn: OpenAI's error object. Counted and logged as any other answer. */
const char *api_refusal(void *user, const http_exchange *x, int status, const char *message,
                        char *out, size_t out_bytes);

#endif /* WEFT_API_API_H */
