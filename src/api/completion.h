/* completion.h - one completion request from body to last byte.
 *
 *   body ─► openai_request ─► a weft_request for every prompt and choice
 *   engine's thread: on_ready ─► (once until looked at) http_server_post
 *   event thread:    pump ─► polls every choice ─► SSE chunks, or one document at the end
 *
 * A completion belongs to its exchange: when the exchange is over, for whatever reason, its
 * requests are released and so cancelled. Event thread only, but for the waking.
 */
#ifndef WEFT_API_COMPLETION_H
#define WEFT_API_COMPLETION_H

#include "api/openai_request.h"

typedef struct completion_context {
    weft_engine *en;
    const char *model_id;
} completion_context;

/* Takes the exchange over and answers it, now or later, errors included. */
void completion_start(http_exchange *x, openai_kind kind, const completion_context *context);

#endif /* WEFT_API_COMPLETION_H */
