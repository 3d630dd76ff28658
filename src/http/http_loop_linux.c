/* http_loop_linux.c - one epoll set around everything.
 *
 *   epoll ──┬── libmicrohttpd's epoll set, nested, level-triggered
 *           ├── eventfd, level-triggered, emptied here
 *           └── watched sockets, edge-triggered
 *
 * A watched socket may at the same time be in libmicrohttpd's set: sets do not disturb each other.
 * Edges matter: after the peer's FIN a level would be reported for ever, and an answer that takes
 * a minute would be waited for by a spinning loop. EPOLLHUP and EPOLLERR need not be asked for.
 *
 * Watches are told apart from the two fixed members by address.
 */
#include "http/http_loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/check.h"
#include "base/mem.h"

#define EVENTS_MAX 256 /* of one wait; the rest come with the next */

struct http_loop {
    int epoll_fd;
    int wake_fd;
};

static bool add(http_loop *loop, int fd, uint32_t events, void *tag);

unsigned http_loop_daemon_flags(void) { return MHD_USE_EPOLL; }

weft_status http_loop_create(http_loop **out, struct MHD_Daemon *daemon, weft_error *err) {
    weft_status status = WEFT_OK;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    http_loop *loop = mem_zalloc(MEM_HTTP, 1, sizeof *loop);
    if (loop == NULL) {
        return weft_fail(err, WEFT_NOMEM, "http: no memory for the event loop");
    }
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        status = weft_fail(err, WEFT_IO, "http: cannot make an epoll set: %s", strerror(errno));
        goto fail;
    }
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        status = weft_fail(err, WEFT_IO, "http: cannot make an eventfd: %s", strerror(errno));
        goto fail;
    }
    if (info == NULL || !add(loop, info->epoll_fd, EPOLLIN, NULL) ||
        !add(loop, loop->wake_fd, EPOLLIN, loop)) {
        status = weft_fail(err, WEFT_IO, "http: cannot fill the epoll set: %s", strerror(errno));
        goto fail;
    }
    *out = loop;
    return WEFT_OK;
fail:
    http_loop_destroy(&loop);
    return status;
}

void http_loop_destroy(http_loop **loop) {
    http_loop *gone = *loop;
    *loop = NULL;
    if (gone == NULL) {
        return;
    }
    if (gone->wake_fd >= 0) {
        (void)close(gone->wake_fd);
    }
    if (gone->epoll_fd >= 0) {
        (void)close(gone->epoll_fd);
    }
    mem_free(gone);
}

/* 30 s of silence, then three probes 10 s apart. A refusal is no harm: the default is two hours. */
void http_loop_keepalive(int listen_fd) {
    const int on = 1;
    const int idle_s = 30;
    const int step_s = 10;
    const int probes = 3;
    (void)setsockopt(listen_fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(listen_fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(listen_fd, IPPROTO_TCP, TCP_KEEPINTVL, &step_s, sizeof step_s);
    (void)setsockopt(listen_fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* Fails only when the counter is full, and then the loop is awake already. */
void http_loop_wake(http_loop *loop) {
    const uint64_t one = 1;
    const int saved = errno; /* a signal handler must leave it alone */
    const ssize_t written = write(loop->wake_fd, &one, sizeof one);
    (void)written;
    errno = saved;
}

bool http_loop_watch(http_loop *loop, http_watch *w, bool wants_input) {
    WEFT_ASSERT(w->fd >= 0);
    return add(loop, w->fd, EPOLLRDHUP | EPOLLET | (wants_input ? (uint32_t)EPOLLIN : 0), w);
}

void http_loop_unwatch(http_loop *loop, http_watch *w) {
    const int rc = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    WEFT_ASSERT(rc == 0); /* or the descriptor was closed, and reused, under the watch */
}

void http_loop_wait(http_loop *loop, int timeout_ms) {
    struct epoll_event events[EVENTS_MAX];
    const int n = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, timeout_ms);
    for (int i = 0; i < n; i++) { /* n is -1 after a signal */
        if (events[i].data.ptr == NULL) {
            continue;
        }
        if (events[i].data.ptr == loop) {
            uint64_t count = 0;
            const ssize_t got = read(loop->wake_fd, &count, sizeof count);
            (void)got;
            continue;
        }
        http_watch *w = events[i].data.ptr;
        const uint32_t bits = events[i].events;
        unsigned told = 0;
        told |= (bits & (EPOLLHUP | EPOLLERR)) != 0 ? (unsigned)HTTP_WATCH_BROKEN : 0;
        told |= (bits & EPOLLRDHUP) != 0 ? (unsigned)HTTP_WATCH_FIN : 0;
        told |= (bits & EPOLLIN) != 0 ? (unsigned)HTTP_WATCH_INPUT : 0;
        w->fn(w, told);
    }
}

static bool add(http_loop *loop, int fd, uint32_t events, void *tag) {
    struct epoll_event event = {.events = events, .data.ptr = tag};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}
