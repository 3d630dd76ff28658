/* http_linger.c - lets a refused client read why.
 *
 * A request that is too large is answered before it has been read. Closing a socket that still
 * has, or gets, unread bytes sends a reset, and a reset makes the client's system throw away the
 * answer it has not read yet. So a duplicate of the socket outlives libmicrohttpd's close, which
 * has shut the sending half: what the client sends is read and dropped until it stops, or
 * until time, bytes or the number of such sockets run out.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/http_impl.h"

#define LINGERS_MAX 64
#define LINGER_NS UINT64_C(2000000000)
#define LINGER_BYTES_MAX (UINT64_C(64) << 20)
#define READS_MAX 64 /* in one go, so that one fast sender does not hold the loop */

struct http_linger {
    http_watch watch;
    http_server *server;
    http_linger *next;
    uint64_t end_ns;
    uint64_t bytes_left;
    bool is_more; /* stopped reading before the socket was empty */
};

static void on_event(http_watch *w, unsigned events);
static bool drop_input(http_linger *l);

void http_linger_begin(http_server *s, int fd) {
    if (s->n_lingers >= LINGERS_MAX) {
        return;
    }
    http_linger *l = mem_zalloc(MEM_HTTP, 1, sizeof *l);
    const int copy = l != NULL ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy < 0) {
        mem_free(l);
        return;
    }
    *l = (http_linger){.watch = {.fd = copy, .fn = on_event, .owner = l},
                       .server = s,
                       .next = s->lingers,
                       .end_ns = clock_now_ns() + LINGER_NS,
                       .bytes_left = LINGER_BYTES_MAX,
                       .is_more = true};
    if (!http_loop_watch(s->loop, &l->watch, true)) {
        (void)close(copy);
        mem_free(l);
        return;
    }
    s->lingers = l;
    s->n_lingers++;
}

/* Reads where reading was left, and ends what is over. */
uint64_t http_linger_turn(http_server *s, uint64_t now_ns) {
    uint64_t next_ns = UINT64_MAX;
    http_linger **at = &s->lingers;
    while (*at != NULL) {
        http_linger *l = *at;
        const bool is_over = now_ns >= l->end_ns || (l->is_more && !drop_input(l));
        if (is_over) {
            *at = l->next;
            s->n_lingers--;
            http_loop_unwatch(s->loop, &l->watch);
            (void)close(l->watch.fd);
            mem_free(l);
            continue;
        }
        const uint64_t wanted_ns = l->is_more ? now_ns : l->end_ns;
        next_ns = wanted_ns < next_ns ? wanted_ns : next_ns;
        at = &l->next;
    }
    return next_ns;
}

void http_linger_end_all(http_server *s) { (void)http_linger_turn(s, UINT64_MAX); }

/* Only marks: the turn reads, and may free. */
static void on_event(http_watch *w, unsigned events) {
    http_linger *l = w->owner;
    l->is_more = events != 0;
}

/* False when the client has stopped sending, or has sent too much. */
static bool drop_input(http_linger *l) {
    char scratch[16384];
    for (int i = 0; i < READS_MAX; i++) {
        const ssize_t n = recv(l->watch.fd, scratch, sizeof scratch, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            l->is_more = false;
            return true;
        }
        if (n <= 0 || (uint64_t)n > l->bytes_left) {
            return n < 0 && errno == EINTR;
        }
        l->bytes_left -= (uint64_t)n;
    }
    return true;
}
