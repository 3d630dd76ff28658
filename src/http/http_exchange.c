/* http_exchange.c - the life of one request and its answer, driven by libmicrohttpd's callbacks.
 *
 * The library calls http_exchange_on_request once with the headers, once for each piece of body,
 * and then, with no data, again and again until a response is queued. What happens at that point:
 *
 *   1st empty call   the handler is run; if it has answered, the response is queued
 *   2nd empty call   still no answer: the connection is suspended
 *   after a resume   the answer is queued, or the connection closed because the client is gone
 *
 * Why not suspend at once? A resumed connection goes on as it was when it was suspended. After the
 * last piece of the request that is "reading", so the library would first read, find the FIN of a
 * client that has only closed its sending half, and close the connection unanswered. One empty
 * call later it is "waiting for the application", and it reads nothing. This costs one turn of
 * the loop per deferred answer.
 *
 * http_exchange_on_end is the library's last word, whatever happened, and frees the exchange.
 * Therefore nothing here frees or closes anything by itself: http_exchange_lose leaves a mark and
 * resumes the connection, and the callbacks act on the mark.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/log.h"
#include "http/http_impl.h"

#define HEADERS_BYTES_MAX 8192 /* of an answer, set by its owner */

static enum MHD_Result begin(http_server *s, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, void **context);
static enum MHD_Result receive(http_exchange *x, const char *data, size_t *data_len);
static enum MHD_Result continue_waiting(http_exchange *x);
static enum MHD_Result queue_answer(http_exchange *x);
static enum MHD_Result refuse(http_exchange *x, int status);
static void refuse_raw(const http_exchange *x);
static const char *word_refusal(const http_exchange *x, int status, char out[HTTP_REFUSAL_MAX]);
static void add_headers(http_exchange *x);
static void add_header(http_exchange *x, const char *name, const char *value);

enum MHD_Result http_exchange_on_request(void *cls, struct MHD_Connection *connection,
                                         const char *url, const char *method, const char *version,
                                         const char *data, size_t *data_len, void **context) {
    http_exchange *x = *context;
    if (x == NULL) {
        return begin(cls, connection, url, method, version, context);
    }
    if (*data_len > 0) {
        return receive(x, data, data_len);
    }
    if (x->phase == HTTP_RECEIVING) {
        x->phase = HTTP_WAITING;
        x->server->options.handler(x->server->options.user, x);
        return x->response != NULL ? queue_answer(x) : MHD_YES;
    }
    return continue_waiting(x);
}

void http_exchange_on_end(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode code) {
    http_server *s = cls;
    http_exchange *x = *context;
    if (x == NULL) {
        return;
    }
    *context = NULL;
    http_peer_unwatch(x);
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK) {
        http_peer_repeat_fin(x);
    }
    if (x->phase == HTTP_REFUSED) {
        http_linger_begin(s, x->watch.fd);
    }
    *(x->prev != NULL ? &x->prev->next : &s->exchanges) = x->next;
    if (x->next != NULL) {
        x->next->prev = x->prev;
    }
    s->n_exchanges--;
    if (x->response != NULL) {
        MHD_destroy_response(x->response);
    }
    if (x->on_end != NULL) {
        const bool is_complete = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && !x->is_gone;
        x->on_end(x->owner, is_complete);
    }
    buf_deinit(&x->body);
    buf_deinit(&x->headers);
    buf_deinit(&x->stream);
    mem_free(x);
}

/* A connection that is not suspended may be waiting for a full socket to drain. */
void http_exchange_lose(http_exchange *x) {
    x->is_gone = true;
    if (x->is_suspended) {
        http_exchange_resume(x);
    } else {
        (void)shutdown(x->watch.fd, SHUT_RDWR);
    }
}

void http_exchange_suspend(http_exchange *x) {
    WEFT_ASSERT(!x->is_suspended);
    MHD_suspend_connection(x->connection);
    x->is_suspended = true;
    http_peer_watch(x);
}

void http_exchange_resume(http_exchange *x) {
    if (x->is_suspended) {
        x->is_suspended = false;
        x->server->wants_run = true;
        MHD_resume_connection(x->connection);
    }
}

void http_exchange_answer(http_exchange *x, http_phase phase, int status, const char *content_type,
                          struct MHD_Response *response) {
    WEFT_ASSERT(x->phase == HTTP_WAITING); /* one answer, and none before the handler */
    WEFT_ASSERT(x->response == NULL);
    if (response == NULL) {
        LOG_WARN("http: no memory for an answer");
        http_exchange_lose(x);
        return;
    }
    x->response = response;
    x->status = (unsigned)status;
    x->phase = phase;
    add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    add_headers(x);
    http_exchange_resume(x);
}

void http_on_end(http_exchange *x, http_end_fn *on_end, void *owner) {
    x->on_end = on_end;
    x->owner = owner;
}

/* Checked when the answer is made: a name or value the library refuses is left out and logged. */
void http_set_header(http_exchange *x, const char *name, const char *value) {
    WEFT_ASSERT(x->phase == HTTP_WAITING);
    if (!buf_append(&x->headers, name, strlen(name) + 1) ||
        !buf_append(&x->headers, value, strlen(value) + 1)) {
        LOG_WARN("http: no room for the header '%s'", name);
        http_exchange_lose(x);
    }
}

void http_respond(http_exchange *x, int status, const char *content_type, const void *body,
                  size_t len) {
    struct MHD_Response *response = NULL;
    if (x->is_gone) {
        return;
    }
    void *copy = mem_alloc(MEM_HTTP, len);
    if (copy != NULL) {
        if (len > 0) {
            memcpy(copy, body, len);
        }
        response = MHD_create_response_from_buffer_with_free_callback(len, copy, mem_free);
        if (response == NULL) {
            mem_free(copy);
        }
    }
    http_exchange_answer(x, HTTP_ANSWERED, status, content_type, response);
}

/* The headers are there. Out of memory closes the connection. */
static enum MHD_Result begin(http_server *s, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, void **context) {
    http_exchange *x = mem_zalloc(MEM_HTTP, 1, sizeof *x);
    if (x == NULL) {
        LOG_WARN("http: no memory for a request");
        return MHD_NO;
    }
    x->server = s;
    x->connection = connection;
    x->phase = HTTP_RECEIVING;
    x->next = s->exchanges;
    if (x->next != NULL) {
        x->next->prev = x;
    }
    s->exchanges = x;
    s->n_exchanges++;
    x->watch.fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    buf_init(&x->headers, MEM_HTTP, HEADERS_BYTES_MAX);
    buf_init(&x->stream, MEM_HTTP, s->options.stream_bytes_max);
    http_request_init(x, url, method, version);
    *context = x;
    const int refusal = http_request_check(x);
    return refusal != 0 ? refuse(x, refusal) : MHD_YES;
}

/* Takes a piece of the body. A body that is announced is checked in begin; one that comes in
 * chunks may turn out too large only here, where the library takes no response any more. */
static enum MHD_Result receive(http_exchange *x, const char *data, size_t *data_len) {
    const size_t len = *data_len;
    *data_len = 0;
    if (len > x->server->options.body_bytes_max - x->body.len) {
        refuse_raw(x);
        x->phase = HTTP_REFUSED;
        return MHD_NO;
    }
    if (!buf_append(&x->body, data, len)) {
        LOG_WARN("http: no memory for a request body");
        return MHD_NO;
    }
    return MHD_YES;
}

static enum MHD_Result continue_waiting(http_exchange *x) {
    if (x->is_gone) {
        return MHD_NO;
    }
    if (x->response != NULL) {
        return queue_answer(x);
    }
    http_exchange_suspend(x);
    return MHD_YES;
}

static enum MHD_Result queue_answer(http_exchange *x) {
    if (http_server_is_draining(x->server)) {
        add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    const enum MHD_Result result = MHD_queue_response(x->connection, x->status, x->response);
    MHD_destroy_response(x->response); /* the library has its own reference */
    x->response = NULL;
    return result;
}

static enum MHD_Result refuse(http_exchange *x, int status) {
    char text[HTTP_REFUSAL_MAX];
    const char *type = word_refusal(x, status, text);
    x->phase = HTTP_REFUSED;
    x->status = (unsigned)status;
    x->response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    if (x->response == NULL) {
        return MHD_NO;
    }
    add_header(x, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    return queue_answer(x);
}

/* A 413 past the library, which then closes the connection: nothing else was sent for this
 * request, and what was sent for earlier ones is in the socket already. */
static void refuse_raw(const http_exchange *x) {
    char text[HTTP_REFUSAL_MAX];
    char all[HTTP_REFUSAL_MAX + 256];
    const char *type = word_refusal(x, MHD_HTTP_CONTENT_TOO_LARGE, text);
    const int n = snprintf(all, sizeof all,
                           "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
                           "Content-Type: %.64s\r\nContent-Length: %zu\r\n\r\n%s",
                           type, strlen(text), text);
    const ssize_t sent = send(x->watch.fd, all, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* best effort: the connection is closed either way */
}

/* Writes the body, terminated, and returns its content type. */
static const char *word_refusal(const http_exchange *x, int status, char out[HTTP_REFUSAL_MAX]) {
    char message[128];
    const bool is_body = status == MHD_HTTP_CONTENT_TOO_LARGE;
    const http_options *options = &x->server->options;
    snprintf(message, sizeof message, "the %s of a request may have at most %zu bytes",
             is_body ? "body" : "header",
             is_body ? options->body_bytes_max : options->header_bytes_max);
    if (options->refusal != NULL) {
        return options->refusal(options->user, x, status, message, out, HTTP_REFUSAL_MAX);
    }
    snprintf(out, HTTP_REFUSAL_MAX, "%s\n", message);
    return "text/plain";
}

static void add_headers(http_exchange *x) {
    const char *at = x->headers.data;
    const char *end = at != NULL ? at + x->headers.len : NULL;
    while (at < end) {
        const char *name = at;
        const char *value = name + strlen(name) + 1;
        add_header(x, name, value);
        at = value + strlen(value) + 1;
    }
}

static void add_header(http_exchange *x, const char *name, const char *value) {
    if (MHD_add_response_header(x->response, name, value) == MHD_NO) {
        LOG_WARN("http: the header '%s: %s' cannot be sent", name, value);
    }
}
