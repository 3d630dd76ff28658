/* http.h - an HTTP/1.1 server with streams, on one event thread. Knows nothing of language models.
 *
 *   accept ─► parse ─► handler(exchange) ──► http_respond            whole body, done
 *                                       └──► http_stream_begin ─► http_stream_write ... ─► end
 *   other threads ─► http_server_post(fn, arg) ─► fn runs on the event thread
 *
 * The handler is called once the whole request is there. It may answer at once, or keep the
 * exchange and answer later from the event thread (a posted function). An exchange lives until its
 * answer is complete or its client is gone; `on_end` tells its owner exactly once, last of all.
 *
 * A client that goes away is noticed within a second even while nothing is being written. One that
 * has only closed its sending half gets its answer: it is told apart by sending it something it
 * must skip, "100 Continue" before an answer, a comment between two writes of a
 * "text/event-stream". Where nothing can be sent (HTTP/1.0 before the answer, other streams, an
 * event stream within an event), a client that has closed its sending half is gone when nothing is
 * written for 0.75 s.
 *
 * Threads: everything here is called on the event thread, except http_server_stop and
 * those around http_server_post. Limits: header, body and connection counts in http_options.
 */
#ifndef WEFT_HTTP_HTTP_H
#define WEFT_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

typedef struct http_server http_server;
typedef struct http_exchange http_exchange;

typedef void http_handler_fn(void *user, http_exchange *x);
typedef void http_end_fn(void *owner, bool is_complete); /* false: the client left early */
typedef void http_post_fn(void *arg);
/* Words a refusal that the server makes by itself (413, 431): writes a terminated text of at most
 * out_bytes and returns its content type. */
typedef const char *http_refusal_fn(void *user, const http_exchange *x, int status,
                                    const char *message, char *out, size_t out_bytes);

typedef struct http_options {
    const char *host;         /* "127.0.0.1", "0.0.0.0", "::" */
    uint16_t port;            /* 0 = a free one */
    uint32_t connections_max; /* more wait in the system's queue until one is closed */
    size_t header_bytes_max;  /* more is answered with 431 */
    size_t body_bytes_max;    /* more is answered with 413 */
    size_t stream_bytes_max;  /* unsent bytes of one stream; more ends the exchange */
    uint32_t idle_timeout_s;  /* of a connection where no bytes move, unless its exchange waits for
                               * its owner */
    http_handler_fn *handler;
    http_refusal_fn *refusal; /* NULL: the message, as plain text */
    void *user;               /* of both */
} http_options;

http_options http_options_default(void);

/* Binds and listens; a port in use or not permitted is WEFT_IO naming host and port. Raises the
 * process's soft limit of open files to the hard one. */
weft_status http_server_create(http_server **out, const http_options *options,
                               weft_error *err) WEFT_NODISCARD;
void http_server_destroy(http_server **s);
uint16_t http_server_port(const http_server *s);

/* Runs the event loop on the calling thread until it is stopped; once. When it returns, every
 * on_end has been called and every posted function has run. */
weft_status http_server_run(http_server *s, weft_error *err) WEFT_NODISCARD;

/* Begins to drain: no new connections, running exchanges may finish for up to drain_ms, then the
 * loop ends. A second call ends it at once. Any thread; safe in a signal handler. */
void http_server_stop(http_server *s, uint32_t drain_ms);
bool http_server_is_draining(const http_server *s);

/* Runs fn(arg) on the event thread soon, those of one thread in order. Any thread; never blocks.
 * False, and fn will not run, when memory is out or http_server_run has returned. The last ones run
 * after all exchanges have ended. */
bool http_server_post(http_server *s, http_post_fn *fn, void *arg);

/* The same in two halves, for who has many things to hand over at once: each is put, and one wake
 * at the end runs them. Until then they may run or not. */
bool http_server_put(http_server *s, http_post_fn *fn, void *arg);
void http_server_wake(http_server *s); /* no-op when nothing is there */
/* How often the event thread was woken for what was posted and put. */
uint64_t http_server_wakes(http_server *s);

/* ---- the request; borrowed until the exchange ends ---- */

str http_method(const http_exchange *x);
str http_path(const http_exchange *x);                     /* decoded, without the query */
str http_query(const http_exchange *x, const char *name);  /* empty data NULL when absent */
str http_header(const http_exchange *x, const char *name); /* likewise; case-insensitive name */
str http_body(const http_exchange *x);
/* Into a buffer of the caller's, for who reads it where the exchange may end meanwhile: another
 * thread. http_body is empty from then on. */
void http_take_body(http_exchange *x, buf *out);
str http_client(const http_exchange *x); /* "127.0.0.1" */
http_server *http_exchange_server(const http_exchange *x);

/* ---- the answer ---- */

/* Told once when the exchange is over, whatever the reason; x is no more afterwards. An answer is
 * complete when the system has taken its last byte; one to a HEAD, when it has the headers. */
void http_on_end(http_exchange *x, http_end_fn *on_end, void *owner);

/* Before respond or stream_begin, where one that HTTP cannot carry (line breaks) is left out and
 * logged. Copied. */
void http_set_header(http_exchange *x, const char *name, const char *value);

/* The whole answer. The body is copied. */
void http_respond(http_exchange *x, int status, const char *content_type, const void *body,
                  size_t len);

/* A chunked answer. Writes are copied into a bounded buffer and sent in the same turn of the loop.
 * write returns false when the client is gone or far too slow: the exchange is over then (on_end
 * follows). A write to an event stream should end with an event. */
void http_stream_begin(http_exchange *x, int status, const char *content_type);
bool http_stream_write(http_exchange *x, const void *data, size_t len);
void http_stream_end(http_exchange *x);

#endif /* WEFT_HTTP_HTTP_H */
