/* http_stream.c - answers that come bit by bit.
 *
 *   http_stream_write ──► x->stream, bounded ──► reader ──► libmicrohttpd ──► socket
 *
 * The library asks the reader for bytes whenever the socket takes some. When there are none it is
 * suspended; the next write resumes it. So a write reaches the socket in the same turn of the loop,
 * several writes of one turn leave as one chunk, and a socket that is full lets the buffer grow
 * until stream_bytes_max ends the exchange.
 *
 * Bytes before stream_sent are with the library. They are dropped when the buffer is empty, when
 * they are most of it, or when their room is needed.
 */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "http/http_impl.h"

#define READER_BLOCK_BYTES 4096 /* of an HTTP/1.0 client; chunks are as large as they come */
#define EVENT_STREAM "text/event-stream"
#define PING ": ping\n\n"

static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t max);
static bool append(http_exchange *x, const void *data, size_t len);
static bool is_between_events(const http_exchange *x);

void http_stream_begin(http_exchange *x, int status, const char *content_type) {
    if (x->is_gone) {
        return;
    }
    x->is_event_stream = str_starts_with(str_from_cstr(content_type), STR_LIT(EVENT_STREAM));
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, READER_BLOCK_BYTES, read_stream, x, NULL);
    http_exchange_answer(x, HTTP_STREAMING, status, content_type, response);
}

bool http_stream_write(http_exchange *x, const void *data, size_t len) {
    if (x->is_gone) {
        return false;
    }
    WEFT_ASSERT(x->phase == HTTP_STREAMING);
    WEFT_ASSERT(!x->is_stream_ended);
    if (!append(x, data, len)) {
        LOG_DEBUG("http: %s takes its stream too slowly", x->client);
        http_exchange_lose(x);
        return false;
    }
    http_exchange_resume(x);
    return true;
}

void http_stream_end(http_exchange *x) {
    if (x->is_gone) {
        return;
    }
    WEFT_ASSERT(x->phase == HTTP_STREAMING);
    x->is_stream_ended = true;
    http_exchange_resume(x);
}

bool http_stream_ping(http_exchange *x) {
    if (!x->is_event_stream || !is_between_events(x) || !append(x, PING, sizeof PING - 1)) {
        return false;
    }
    http_exchange_resume(x);
    return true;
}

static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t max) {
    http_exchange *x = cls;
    const size_t left = x->stream.len - x->stream_sent;
    const size_t n = left < max ? left : max;
    if (x->is_gone) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (n > 0) {
        memcpy(out, x->stream.data + x->stream_sent, n);
        x->stream_sent += n;
        return (ssize_t)n;
    }
    if (x->is_stream_ended) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    http_exchange_suspend(x);
    return 0;
}

static bool append(http_exchange *x, const void *data, size_t len) {
    buf *b = &x->stream;
    const size_t left = b->len - x->stream_sent;
    if (len > b->max_bytes - left) {
        return false;
    }
    if (left == 0) {
        buf_clear(b);
        x->stream_sent = 0;
    } else if (len > b->max_bytes - b->len || x->stream_sent > b->capacity / 2) {
        memmove(b->data, b->data + x->stream_sent, left);
        b->len = left;
        x->stream_sent = 0;
    }
    x->written_bytes += len;
    return buf_append(b, data, len);
}

/* Sent bytes are kept until the next append, so the end of the last one is still here. */
static bool is_between_events(const http_exchange *x) {
    return x->written_bytes == 0 || str_ends_with(buf_view(&x->stream), STR_LIT("\n\n"));
}
