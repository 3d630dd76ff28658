/* http.c - the server: starting, the event loop, posted functions, stopping.
 *
 * One turn of the loop:
 *
 *   wait ─► watched sockets ─► posted functions ─► half-closed peers ─► libmicrohttpd ─► lingers
 *
 * What writes to exchanges comes before libmicrohttpd, so that it is sent in the same turn: a
 * thousand tokens posted by another thread cost one wake-up. What is resumed within libmicrohttpd's
 * callbacks asks for another turn (wants_run): with our own loop, the library wakes nobody.
 * Nothing but those callbacks frees an exchange.
 *
 * Stopping is a counter that http_server_stop raises and the loop reads. From 1 on the listening
 * socket is closed, answers say "Connection: close", and the loop ends when the last exchange has,
 * or at the deadline; from 2 on it ends at once. Ending marks the remaining exchanges as lost, so
 * that every on_end has been called when http_server_run returns, and then runs what is still
 * posted; later posts are refused. So nothing that was handed to us is forgotten.
 *
 * Read next: http_impl.h, http_exchange.c.
 */
#include "http/http.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/os.h"
#include "http/http_impl.h"

/* A connection's memory holds the headers of request and answer, and one chunk of a stream. */
#define CONNECTION_BYTES_EXTRA 16384
#define SPARE_FILES 64 /* descriptors for everything that is not a connection */
#define POSTS_FIRST 64
#define END_TURNS_MAX 8

static weft_status start_daemon(http_server *s, weft_error *err);
static void raise_file_limit(uint32_t connections_max);
static void log_message(void *user, const char *fmt, va_list args) WEFT_PRINTF(2, 0);
static bool run_posts(http_server *s);
static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code);
static bool is_over(http_server *s);
static void begin_drain(http_server *s);
static int wait_ms(http_server *s, uint64_t next_ns);
static void end_all(http_server *s);

http_options http_options_default(void) {
    return (http_options){
        .host = "127.0.0.1",
        .port = 8080,
        .connections_max = 4096,
        .header_bytes_max = 16384,
        .body_bytes_max = (size_t)32 << 20,
        .stream_bytes_max = (size_t)1 << 20,
        .idle_timeout_s = 60,
    };
}

weft_status http_server_create(http_server **out, const http_options *options, weft_error *err) {
    weft_status status = WEFT_OK;
    WEFT_ASSERT(options->handler != NULL);
    http_server *s = mem_zalloc(MEM_HTTP, 1, sizeof *s);
    if (s == NULL) {
        return weft_fail(err, WEFT_NOMEM, "http: no memory for the server");
    }
    s->options = *options;
    s->listen_fd = -1;
    (void)pthread_mutex_init(&s->lock, NULL); /* cannot fail without attributes */
    raise_file_limit(options->connections_max);
    status = http_listen(&s->listen_fd, &s->port, options->host, options->port, err);
    if (status != WEFT_OK) {
        goto fail;
    }
    s->options.host = NULL; /* was borrowed, is no longer needed */
    status = start_daemon(s, err);
    if (status != WEFT_OK) {
        goto fail;
    }
    status = http_loop_create(&s->loop, s->daemon, err);
    if (status != WEFT_OK) {
        goto fail;
    }
    *out = s;
    return WEFT_OK;
fail:
    http_server_destroy(&s);
    return status;
}

void http_server_destroy(http_server **server) {
    http_server *s = *server;
    *server = NULL;
    if (s == NULL) {
        return;
    }
    end_all(s); /* no-op after http_server_run */
    http_loop_destroy(&s->loop);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s->posts.items);
    mem_free(s->posts_running.items);
    mem_free(s);
}

uint16_t http_server_port(const http_server *s) { return s->port; }

weft_status http_server_run(http_server *s, weft_error *err) {
    weft_status status = WEFT_OK;
    WEFT_ASSERT(s->daemon != NULL); /* it runs once */
    uint64_t next_ns = UINT64_MAX;  /* when a turn is due though nothing happens */
    while (!is_over(s)) {
        http_loop_wait(s->loop, wait_ms(s, next_ns));
        (void)run_posts(s);
        const uint64_t peer_ns = http_peer_turn(s, clock_now_ns());
        s->wants_run = false;
        if (MHD_run(s->daemon) == MHD_NO) {
            status = weft_fail(err, WEFT_IO, "http: the event loop failed");
            break;
        }
        const uint64_t linger_ns = http_linger_turn(s, clock_now_ns());
        next_ns = peer_ns < linger_ns ? peer_ns : linger_ns;
    }
    end_all(s);
    return status;
}

void http_server_stop(http_server *s, uint32_t drain_ms) {
    atomic_store(&s->drain_ms, drain_ms);
    atomic_fetch_add(&s->n_stops, 1);
    http_loop_wake(s->loop);
}

bool http_server_is_draining(const http_server *s) { return atomic_load(&s->n_stops) > 0; }

/* The lock is held. Whoever takes the row takes all of it: one wake is enough. */
static void wake_once(http_server *s) {
    if (!s->is_woken && s->posts.count > 0) {
        s->is_woken = true;
        s->n_wakes++;
        http_loop_wake(s->loop);
    }
}

/* The lock is held. */
static bool append_post(http_server *s, http_post_fn *fn, void *arg) {
    http_posts *posts = &s->posts;
    bool is_taken = !s->is_closed;
    if (is_taken && posts->count == posts->capacity) {
        const size_t wanted = posts->capacity > 0 ? 2 * posts->capacity : POSTS_FIRST;
        http_post *items = mem_realloc(MEM_HTTP, posts->items, wanted, sizeof *items);
        is_taken = items != NULL;
        if (is_taken) {
            posts->items = items;
            posts->capacity = wanted;
        }
    }
    if (is_taken) {
        posts->items[posts->count++] = (http_post){fn, arg};
    }
    return is_taken;
}

bool http_server_post(http_server *s, http_post_fn *fn, void *arg) {
    (void)pthread_mutex_lock(&s->lock);
    const bool is_taken = append_post(s, fn, arg);
    wake_once(s);
    (void)pthread_mutex_unlock(&s->lock);
    return is_taken;
}

bool http_server_put(http_server *s, http_post_fn *fn, void *arg) {
    (void)pthread_mutex_lock(&s->lock);
    const bool is_taken = append_post(s, fn, arg);
    (void)pthread_mutex_unlock(&s->lock);
    return is_taken;
}

void http_server_wake(http_server *s) {
    (void)pthread_mutex_lock(&s->lock);
    wake_once(s);
    (void)pthread_mutex_unlock(&s->lock);
}

uint64_t http_server_wakes(http_server *s) {
    (void)pthread_mutex_lock(&s->lock);
    const uint64_t n = s->n_wakes;
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

/* Runs what was posted before now; false when there was nothing. What they post comes next time. */
static bool run_posts(http_server *s) {
    (void)pthread_mutex_lock(&s->lock);
    const http_posts taken = s->posts;
    s->posts = s->posts_running;
    s->is_woken = false;
    (void)pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < taken.count; i++) {
        taken.items[i].fn(taken.items[i].arg);
    }
    s->posts_running = taken;
    s->posts_running.count = 0;
    return taken.count > 0;
}

static bool is_over(http_server *s) {
    const unsigned n_stops = atomic_load(&s->n_stops);
    if (n_stops == 0) {
        return false;
    }
    if (!s->is_drain_begun) {
        begin_drain(s);
    }
    return s->n_exchanges == 0 || n_stops > 1 || clock_now_ns() >= s->drain_end_ns;
}

/* The library stops accepting, and hands the listening socket back to be closed. */
static void begin_drain(http_server *s) {
    s->is_drain_begun = true;
    s->drain_end_ns = clock_now_ns() + (uint64_t)atomic_load(&s->drain_ms) * 1000000u;
    (void)MHD_quiesce_daemon(s->daemon);
    (void)close(s->listen_fd);
    s->listen_fd = -1;
}

/* Until the library, a half-closed peer, a linger or the end of the drain wants its turn. Rounded
 * up, so that the loop does not spin through the last millisecond. */
static int wait_ms(http_server *s, uint64_t next_ns) {
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    const uint64_t now_ns = clock_now_ns();
    if (s->wants_run) {
        return 0;
    }
    if (s->is_drain_begun && s->drain_end_ns < next_ns) {
        next_ns = s->drain_end_ns;
    }
    uint64_t ms = UINT64_MAX;
    if (next_ns != UINT64_MAX) {
        ms = next_ns > now_ns ? (next_ns - now_ns + 999999u) / 1000000u : 0;
    }
    if (MHD_get_timeout(s->daemon, &library_ms) == MHD_YES && library_ms < ms) {
        ms = library_ms;
    }
    if (ms == UINT64_MAX) {
        return -1;
    }
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Stopping the library with suspended connections is forbidden. Losing an exchange resumes its
 * connection; it is over for the library one or two runs later. */
static void end_all(http_server *s) {
    if (s->daemon != NULL && !s->is_drain_begun) {
        begin_drain(s);
    }
    if (s->daemon != NULL) {
        for (http_exchange *x = s->exchanges; x != NULL; x = x->next) {
            http_exchange_lose(x);
        }
        for (int i = 0; i < END_TURNS_MAX && s->n_exchanges > 0; i++) {
            (void)MHD_run(s->daemon);
        }
        MHD_stop_daemon(s->daemon);
        s->daemon = NULL;
        WEFT_ASSERT(s->n_exchanges == 0);
    }
    if (s->loop != NULL) {
        http_linger_end_all(s);
    }
    if (s->listen_fd >= 0) {
        (void)close(s->listen_fd);
        s->listen_fd = -1;
    }
    (void)pthread_mutex_lock(&s->lock);
    s->is_closed = true;
    (void)pthread_mutex_unlock(&s->lock);
    while (run_posts(s)) {
    }
}

static weft_status start_daemon(http_server *s, weft_error *err) {
    const unsigned flags = MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME | http_loop_daemon_flags();
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, http_exchange_on_request, s, MHD_OPTION_EXTERNAL_LOGGER, log_message,
        s, MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        s->options.connections_max, MHD_OPTION_CONNECTION_TIMEOUT, s->options.idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->options.header_bytes_max + CONNECTION_BYTES_EXTRA,
        MHD_OPTION_NOTIFY_COMPLETED, http_exchange_on_end, s, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_END);
    if (s->daemon == NULL) {
        return weft_fail(err, WEFT_IO, "http: libmicrohttpd %s does not start on port %u",
                         MHD_get_version(), s->port);
    }
    return WEFT_OK;
}

/* At its limit of connections the library takes the listening socket out of its set, and puts it
 * back only at the start of a run after one has closed: without that run, a client in the kernel's
 * queue would wait until another one wakes us. */
static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code) {
    http_server *s = user;
    s->wants_run = s->wants_run || code == MHD_CONNECTION_NOTIFY_CLOSED;
}

/* A thousand streams are a thousand descriptors. */
static void raise_file_limit(uint32_t connections_max) {
    const uint64_t files_max = os_files_raise();
    if (files_max < (uint64_t)connections_max + SPARE_FILES) {
        LOG_WARN("http: only %llu files may be open, too few for %u connections",
                 (unsigned long long)files_max, connections_max);
    }
}

/* What the library reports is the doing of clients: of interest to whoever looks for it. */
static void log_message(void *user, const char *fmt, va_list args) {
    char line[256];
    const int n = vsnprintf(line, sizeof line, fmt, args);
    if (n <= 0) {
        return;
    }
    line[strcspn(line, "\n")] = '\0';
    LOG_DEBUG("http: %s", line);
}
