/* completion.h - one completion request from body to last byte.
 *
 *   body ─► intake (here, or a large one with the clerk) ─► a weft_request for each choice
 *   engine's thread: on_ready ─► (once until looked at) http_server_put
 *   event thread:    pump ─► polls every choice ─► SSE chunks, or one document at the end
 *
 * A client that sends "X-Weft-Cache: explain" gets a header of that name, which says how much of
 * the (first) prompt was cached and why no more; a stream then begins with its first token.
 *
 * A completion belongs to its exchange: when the exchange is over, for whatever reason, its
 * requests are released and so cancelled. Event thread only, but for the waking.
 */
#ifndef WEFT_API_COMPLETION_H
#define WEFT_API_COMPLETION_H

#include "api/clerk.h"
#include "api/metrics.h"
#include "api/openai_request.h"

/* Of the bodies that the clerk has: two of the largest. */
#define COMPLETION_CLERK_BYTES_MAX (64u << 20)

typedef struct completion_context {
    weft_engine *en;
    clerk *clerk; /* reads large bodies */
    const char *model_id;
    uint64_t client;          /* whose fair share a request comes out of */
    journal *journal;         /* told of the end */
    metrics_refused *refused; /* counts those that never reached the engine */
    metrics_answers *answers; /* counts those that it gave */
} completion_context;

/* Takes the exchange over and answers it, now or later, errors included. */
void completion_start(http_exchange *x, openai_kind kind, const completion_context *context);

#endif /* WEFT_API_COMPLETION_H */
