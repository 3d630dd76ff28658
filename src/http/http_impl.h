/* http_impl.h - what the files of this room share: the server and its exchanges.
 *
 *   RECEIVING ──► WAITING ──► ANSWERED | STREAMING ──► ended, freed
 *       └───────► REFUSED ────────────────────────────►
 *
 * An exchange is made when its headers are there and freed in http_exchange_on_end, the library's
 * last word about a request. Between the two its connection is suspended while it has nothing to
 * send: the library then forgets the socket, and http_peer.c watches it.
 *
 * Threads: the event thread, except what says otherwise.
 */
#ifndef WEFT_HTTP_HTTP_IMPL_H
#define WEFT_HTTP_HTTP_IMPL_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include <microhttpd.h>

#include "base/buf.h"
#include "http/http.h"
#include "http/http_loop.h"

#define HTTP_REFUSAL_MAX 512 /* bytes of the body of a 413 or 431 */

typedef enum http_phase {
    HTTP_RECEIVING, /* the handler has not seen it */
    HTTP_REFUSED,   /* ... and never will: too large */
    HTTP_WAITING,   /* for its owner's answer */
    HTTP_ANSWERED,
    HTTP_STREAMING,
} http_phase;

struct http_exchange {
    http_server *server;
    struct MHD_Connection *connection;
    http_exchange *next, *prev; /* in server->exchanges */
    http_phase phase;
    bool is_http_1_1;
    bool is_suspended; /* the library does not look at the connection */
    bool is_gone;      /* to be ended as soon as the library runs */

    /* request; the strings live in the library's memory of this request */
    str method;
    str path;
    buf body;
    char client[INET6_ADDRSTRLEN];

    /* answer */
    http_end_fn *on_end;
    void *owner;
    buf headers;                   /* name NUL value NUL ... */
    struct MHD_Response *response; /* made, not yet handed to the library */
    unsigned status;

    /* stream */
    buf stream; /* the first stream_sent bytes are with the library */
    size_t stream_sent;
    uint64_t written_bytes; /* since stream_begin */
    bool is_stream_ended;
    bool is_event_stream;

    /* peer */
    http_watch watch;
    bool is_watched;
    bool is_half_closed;    /* a FIN came: gone, or only done with sending? */
    uint64_t probe_ns;      /* next look at a half-closed peer */
    uint64_t probe_wait_ns; /* then this long to the one after */
    uint64_t probe_written; /* written_bytes at the last look */
};

typedef struct http_post {
    http_post_fn *fn;
    void *arg;
} http_post;

typedef struct http_posts {
    http_post *items;
    size_t count;
    size_t capacity;
} http_posts;

typedef struct http_linger http_linger;

struct http_server {
    http_options options;
    struct MHD_Daemon *daemon;
    http_loop *loop;
    int listen_fd; /* -1 when no longer listening */
    uint16_t port;

    http_exchange *exchanges;
    uint32_t n_exchanges;
    uint32_t n_half_closed;
    http_linger *lingers;
    uint32_t n_lingers;

    bool wants_run; /* the library has work that no socket tells of */
    bool is_drain_begun;
    uint64_t drain_end_ns;
    atomic_uint n_stops;  /* any thread, signal handlers */
    atomic_uint drain_ms; /* likewise */

    pthread_mutex_t lock;
    http_posts posts;         /* guarded by lock */
    bool is_closed;           /* guarded by lock: no more posts */
    bool is_woken;            /* guarded by lock: the loop will look at posts */
    uint64_t n_wakes;         /* guarded by lock */
    http_posts posts_running; /* event thread; changes places with posts */
};

/* ---- http_listen.c ---- */

weft_status http_listen(int *out_fd, uint16_t *out_port, const char *host, uint16_t port,
                        weft_error *err) WEFT_NODISCARD;

/* ---- http_exchange.c ---- */

/* The library's callbacks; cls is the server. */
enum MHD_Result http_exchange_on_request(void *cls, struct MHD_Connection *connection,
                                         const char *url, const char *method, const char *version,
                                         const char *data, size_t *data_len, void **context);
void http_exchange_on_end(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode code);

/* Ends it early: the library closes the connection in its next run, then on_end(false). */
void http_exchange_lose(http_exchange *x);
/* Only within a callback of the library. */
void http_exchange_suspend(http_exchange *x);
void http_exchange_resume(http_exchange *x); /* no-op when it is not suspended */
/* Takes a new answer (NULL: memory is out, the exchange is lost) and lets the library have it. */
void http_exchange_answer(http_exchange *x, http_phase phase, int status, const char *content_type,
                          struct MHD_Response *response);

/* ---- http_request.c ---- */

void http_request_init(http_exchange *x, const char *url, const char *method, const char *version);
/* Header and body sizes, as far as they are announced: 0, or the status to refuse with. */
int http_request_check(const http_exchange *x);

/* ---- http_stream.c ---- */

/* Sends a comment that clients skip, so that a dead connection shows. False: not possible here. */
bool http_stream_ping(http_exchange *x);

/* ---- http_peer.c: is the client of a suspended exchange still there? ---- */

void http_peer_watch(http_exchange *x); /* no-op when watched */
void http_peer_unwatch(http_exchange *x);
/* Tells the library once more of a FIN that it may have missed; before the next request. */
void http_peer_repeat_fin(const http_exchange *x);
/* Looks after half-closed peers; returns when to come again, UINT64_MAX for never. */
uint64_t http_peer_turn(http_server *s, uint64_t now_ns);

/* ---- http_linger.c: connections closed on a client that may still be sending ---- */

/* Before the library closes fd. */
void http_linger_begin(http_server *s, int fd);
uint64_t http_linger_turn(http_server *s, uint64_t now_ns); /* likewise */
void http_linger_end_all(http_server *s);

#endif /* WEFT_HTTP_HTTP_IMPL_H */
