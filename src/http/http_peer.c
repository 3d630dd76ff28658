/* http_peer.c - notices that a client has left while nothing is being sent to it.
 *
 * libmicrohttpd does not look at suspended connections, so their sockets are watched here.
 *
 *   broken (reset, timed out)   the client is gone
 *   FIN                         it has closed the socket, or only its sending half: TCP does not
 *                               tell. Whoever closed answers the next bytes with a reset, whoever
 *                               still listens does not: so we send some, and wait for "broken".
 *
 * What can be sent without harm depends on what the client expects next:
 *
 *   the answer's first line (HTTP/1.1)   an interim "100 Continue", which every client must skip
 *   an event of an event stream          a comment
 *   anything else                        nothing. A stream that is being written is a probe by
 *                                        itself; one that is silent for SILENT_NS is ended.
 *
 * A reset comes as fast as the network is, so one probe settles a closed socket. It is repeated for
 * a client that closes the rest later. Clients that never close half of a socket, which is nearly
 * all of them, see none of this.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/http_impl.h"

#define MS_NS UINT64_C(1000000)
#define SILENT_NS (750 * MS_NS)
#define PING_WAIT_NS (1000 * MS_NS)
#define CONTINUE_WAIT_NS_MAX (16000 * MS_NS) /* doubles up to this: interim answers add up */

static void on_event(http_watch *w, unsigned events);
static void probe(http_exchange *x, uint64_t now_ns);
static bool send_continue(http_exchange *x);

void http_peer_watch(http_exchange *x) {
    if (x->is_watched) {
        return;
    }
    x->watch.fn = on_event;
    x->watch.owner = x;
    x->is_watched = http_loop_watch(x->server->loop, &x->watch, false);
    if (!x->is_watched) {
        LOG_WARN("http: cannot watch the connection of %s", x->client);
    }
}

void http_peer_unwatch(http_exchange *x) {
    if (x->is_watched) {
        http_loop_unwatch(x->server->loop, &x->watch);
        x->is_watched = false;
    }
    if (x->is_half_closed) {
        x->is_half_closed = false;
        x->server->n_half_closed--;
    }
}

/* A FIN that comes together with the request is one edge for two things: the library reads the
 * request, takes the short read for an empty socket, and would keep the connection until it times
 * out, with a client at the other end that waits for it to be closed. Shutting the receiving half,
 * which has ended anyway, makes a new edge. */
void http_peer_repeat_fin(const http_exchange *x) {
    char byte;
    if (recv(x->watch.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        (void)shutdown(x->watch.fd, SHUT_RD);
    }
}

uint64_t http_peer_turn(http_server *s, uint64_t now_ns) {
    uint64_t next_ns = UINT64_MAX;
    if (s->n_half_closed == 0) {
        return next_ns;
    }
    for (http_exchange *x = s->exchanges; x != NULL; x = x->next) {
        if (!x->is_half_closed || x->is_gone) {
            continue;
        }
        if (now_ns >= x->probe_ns) {
            probe(x, now_ns);
        }
        next_ns = x->probe_ns < next_ns ? x->probe_ns : next_ns;
    }
    return next_ns;
}

static void on_event(http_watch *w, unsigned events) {
    http_exchange *x = w->owner;
    if ((events & HTTP_WATCH_BROKEN) != 0) {
        http_exchange_lose(x);
    } else if ((events & HTTP_WATCH_FIN) != 0 && !x->is_half_closed) {
        x->is_half_closed = true;
        x->server->n_half_closed++;
        x->probe_ns = clock_now_ns();
        x->probe_wait_ns = PING_WAIT_NS / 2;
        x->probe_written = UINT64_MAX; /* the first look never finds silence */
    }
}

/* Sends what may be sent, or finds the exchange silent. Nothing to do while the library has bytes
 * of ours: the socket then tells it. */
static void probe(http_exchange *x, uint64_t now_ns) {
    const bool is_silent = x->is_suspended && x->written_bytes == x->probe_written;
    bool is_probed = !x->is_suspended;
    uint64_t wait_ns = PING_WAIT_NS;
    if (!is_probed && x->phase == HTTP_STREAMING) {
        is_probed = http_stream_ping(x);
    } else if (!is_probed && x->is_http_1_1) {
        is_probed = send_continue(x);
        x->probe_wait_ns *= 2;
        wait_ns = x->probe_wait_ns < CONTINUE_WAIT_NS_MAX ? x->probe_wait_ns : CONTINUE_WAIT_NS_MAX;
        x->probe_wait_ns = wait_ns;
    }
    if (!is_probed) {
        wait_ns = SILENT_NS;
        if (is_silent) {
            http_exchange_lose(x);
        }
    }
    x->probe_written = x->written_bytes;
    x->probe_ns = now_ns + wait_ns;
}

/* Past the library, which is suspended and has nothing of this exchange in the socket. A full
 * socket is no news; half a line sent would spoil the answer. */
static bool send_continue(http_exchange *x) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const ssize_t sent = send(x->watch.fd, line, sizeof line - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    const bool is_full = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    if (!is_full && sent != (ssize_t)(sizeof line - 1)) {
        http_exchange_lose(x);
    }
    return true;
}
