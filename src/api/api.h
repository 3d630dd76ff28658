/* api.h - OpenAI's HTTP API over a loaded engine: JSON to requests and back.
 *
 *   http handler ─► api routes ─► body checked field by field ─► weft_request_submit
 *   on_ready ─► http_server_post ─► weft_request_poll ─► SSE chunk or collected answer
 *
 * A parameter that is accepted is honoured; one that is not supported is refused by name.
 *
 * Threads: the http event thread, except where said.
 */
#ifndef WEFT_API_API_H
#define WEFT_API_API_H

#include "http/http.h"
#include "weft/engine.h"

typedef struct api api;

typedef struct api_options {
    const char *model_id; /* the name clients use; "/v1/models" lists it */
    const char *api_key;  /* NULL = none wanted */
} api_options;

/* Without an engine (set later, once loaded) /health answers 503 and requests 503. */
weft_status api_create(api **out, const api_options *options, weft_error *err) WEFT_NODISCARD;
void api_destroy(api **a);

/* Any thread. The engine is borrowed and must outlive the api's exchanges. */
void api_set_engine(api *a, weft_engine *en);

/* The http_handler_fn: user is the api. */
void api_handle(void *user, http_exchange *x);

/* The http_refusal_fn: OpenAI's error object. */
const char *api_refusal(void *user, int status, const char *message, char *out, size_t out_bytes);

#endif /* WEFT_API_API_H */
