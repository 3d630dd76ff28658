/* http_loop.h - waiting: the library's sockets, wake-ups and watched sockets, in one call.
 *
 *   libmicrohttpd's own set ──┐
 *   wake-up ──────────────────┼──► http_loop_wait ──► a watch's function, for each watched socket
 *   watched sockets ──────────┘
 *
 * This is the part of http/ that differs between systems: one file per system implements it.
 * Threads: http_loop_wake from any thread and from signal handlers; the rest on the event thread.
 */
#ifndef WEFT_HTTP_HTTP_LOOP_H
#define WEFT_HTTP_HTTP_LOOP_H

#include <stdbool.h>

#include "base/status.h"

struct MHD_Daemon;
typedef struct http_loop http_loop;
typedef struct http_watch http_watch;

typedef enum http_watch_event {
    HTTP_WATCH_FIN = 1,    /* the peer will send no more */
    HTTP_WATCH_BROKEN = 2, /* the connection is dead in both directions */
    HTTP_WATCH_INPUT = 4,
} http_watch_event;

typedef void http_watch_fn(http_watch *w, unsigned events); /* a set of http_watch_event */

/* Storage of the owner; may be given up within its own fn, never within another's. */
struct http_watch {
    int fd;
    http_watch_fn *fn;
    void *owner;
};

/* What MHD_start_daemon must be told so that http_loop_create can use the daemon. */
unsigned http_loop_daemon_flags(void);

/* The daemon is borrowed: it must be running whenever http_loop_wait is called. */
weft_status http_loop_create(http_loop **out, struct MHD_Daemon *daemon,
                             weft_error *err) WEFT_NODISCARD;
void http_loop_destroy(http_loop **loop);

/* Of a listening socket, for what it accepts: a client whose machine is gone without a word is
 * broken after a minute of silence. */
void http_loop_keepalive(int listen_fd);

/* Makes a running or the next http_loop_wait return. */
void http_loop_wake(http_loop *loop);

/* Each event is told once, when it comes, or right away when it is already there. Input is told
 * only on demand. False when the system refuses. */
bool http_loop_watch(http_loop *loop, http_watch *w, bool wants_input) WEFT_NODISCARD;
/* Must come before the socket is closed. */
void http_loop_unwatch(http_loop *loop, http_watch *w);

/* Sleeps until something happens or timeout_ms is over (-1: never) and calls the functions of
 * the watches. Whether the daemon has work the caller finds out by running it. */
void http_loop_wait(http_loop *loop, int timeout_ms);

#endif /* WEFT_HTTP_HTTP_LOOP_H */
