/* sse.h - the client's side of server-sent events: bytes in any pieces to whole events.
 *
 *   sse s;  sse_init(&s);
 *   for each piece:  sse_push(&s, data, len, on_event, user)   ... on_event(user, "{...}")
 *   sse_deinit(&s);
 *
 * Only "data" fields count; several in one event are joined by line breaks. Comments and other
 * fields are skipped. Lines end in LF or CRLF.
 */
#ifndef WEFT_CLI_SSE_H
#define WEFT_CLI_SSE_H

#include "base/buf.h"

#define SSE_EVENT_BYTES_MAX (4u << 20)

typedef struct sse {
    buf line; /* of which the end has not come */
    buf data; /* of the event so far */
} sse;

typedef void sse_event_fn(void *user, str data);

void sse_init(sse *s);
void sse_deinit(sse *s); /* accepts a zeroed one */
/* Forgets a half event. */
void sse_reset(sse *s);
/* False when a line or an event is longer than SSE_EVENT_BYTES_MAX. */
bool sse_push(sse *s, const char *bytes, size_t len, sse_event_fn *on_event, void *user);

#endif /* WEFT_CLI_SSE_H */
