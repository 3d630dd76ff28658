/* journal.h - what the API has answered: a line and a count for each request.
 *
 *   logfmt  time=1732560000.123 event=request id=cmpl-... endpoint=chat status=200 ...
 *   json    {"time": 1732560000.123, "event": "request", "id": "cmpl-...", ...}
 *
 * A line has every field of an entry, in one order; a field without a value is left out. No text of
 * prompts or answers is ever in it.
 *
 * Threads: the http event thread.
 */
#ifndef WEFT_API_JOURNAL_H
#define WEFT_API_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* The client has left before its answer was complete: as others log it, no status of HTTP. */
#define JOURNAL_CLIENT_LEFT 499

typedef enum journal_format { JOURNAL_NONE, JOURNAL_LOGFMT, JOURNAL_JSON } journal_format;

typedef enum journal_endpoint { JOURNAL_CHAT, JOURNAL_TEXT, JOURNAL_OTHER } journal_endpoint;
#define JOURNAL_ENDPOINTS 3u

typedef struct journal_entry {
    journal_endpoint endpoint;
    int status;
    const char *id; /* NULL: refused before it had one */
    str client;     /* address */
    bool is_stream;
    uint32_t choices;
    uint32_t prompt_tokens, cached_tokens, completion_tokens, preemptions;
    const char *miss; /* why no more was cached; NULL when unknown */
    uint32_t miss_at;
    double queue_ms, prefill_ms, decode_ms, total_ms; /* negative: unknown */
    const char *finish;                               /* NULL without */
    const char *error;                                /* NULL without */
} journal_entry;

typedef void journal_line_fn(void *user, const char *line); /* without the line's end */

#define JOURNAL_STATUSES_MAX 16u

typedef struct journal {
    journal_format format;
    journal_line_fn *write;
    void *user;
    /* Answers by endpoint and status; what no longer fits is counted as status 0. */
    struct {
        int status;
        uint64_t counts[JOURNAL_ENDPOINTS];
    } statuses[JOURNAL_STATUSES_MAX];
    uint32_t n_statuses;
} journal;

void journal_add(journal *j, const journal_entry *e);
const char *journal_endpoint_name(journal_endpoint e);

/* One line of the given format; unix_s is the time that it tells. */
void journal_write_line(buf *out, journal_format format, const journal_entry *e, double unix_s);

#endif /* WEFT_API_JOURNAL_H */
