/* test_http.c - a real server on a free port of 127.0.0.1, and clients made of bare sockets.
 *
 * The server runs on a thread of its own. Its handler answers by path: "/echo" at once, "/hold"
 * never (the test does, through post_answer), "/sse" and "/lines" begin a stream that the test
 * writes to. Everything a test does to an exchange is posted, as any other thread must.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/http.h"

#define HELD_MAX 2048
#define WAIT_MS 20000 /* a machine with other things to do; below the idle timeout of 60 s */
#define BODY_BYTES_MAX 100000
#define STREAM_BYTES_MAX 200000

typedef struct fixture {
    http_server *server;
    pthread_t thread;
    atomic_uint n_handled;
    atomic_uint n_complete;
    atomic_uint n_lost;
    atomic_uint n_posted;
    atomic_bool is_refused; /* a stream write returned false */
    atomic_bool is_joined;
    http_exchange *held[HELD_MAX]; /* event thread only; NULL when ended */
    unsigned n_held;
} fixture;

static fixture fix;

/* ---- the server's side ---- */

static void on_end(void *owner, bool is_complete) {
    http_exchange **slot = owner;
    if (slot != NULL) {
        *slot = NULL;
    }
    atomic_fetch_add(is_complete ? &fix.n_complete : &fix.n_lost, 1);
}

static void echo(http_exchange *x) {
    buf out;
    buf_init(&out, MEM_TEST, 1u << 20);
    const str agent = http_header(x, "x-TEST");
    const str q = http_query(x, "q");
    buf_printf(&out, STR_FMT " " STR_FMT " q=" STR_FMT "%s t=" STR_FMT "%s c=" STR_FMT " ",
               STR_ARG(http_method(x)), STR_ARG(http_path(x)), STR_ARG(q),
               q.data == NULL ? "none" : "", STR_ARG(agent), agent.data == NULL ? "none" : "",
               STR_ARG(http_client(x)));
    if (str_eq_cstr(http_path(x), "/echo/taken")) {
        buf body;
        http_take_body(x, &body);
        buf_append_str(&out, buf_view(&body));
        buf_printf(&out, " left: %zu", http_body(x).len);
        buf_deinit(&body);
    }
    buf_append_str(&out, http_body(x));
    http_set_header(x, "X-Back", "yes");
    http_respond(x, 200, "text/plain", out.data, out.len);
    buf_deinit(&out);
}

static void handle(void *user, http_exchange *x) {
    const str path = http_path(x);
    http_exchange **slot = NULL;
    if (!str_starts_with(path, STR_LIT("/echo"))) {
        assert_true(fix.n_held < HELD_MAX);
        slot = &fix.held[fix.n_held++];
        *slot = x;
    }
    http_on_end(x, on_end, slot);
    if (slot == NULL) {
        echo(x);
    } else if (str_eq_cstr(path, "/sse")) {
        http_stream_begin(x, 200, "text/event-stream");
    } else if (str_eq_cstr(path, "/lines")) {
        http_stream_begin(x, 200, "application/x-ndjson");
    }
    atomic_fetch_add(&fix.n_handled, 1);
}

static void *run_server(void *arg) {
    weft_error err;
    assert_int_equal(http_server_run(arg, &err), WEFT_OK);
    return NULL;
}

static http_options options_small(void) {
    http_options o = http_options_default();
    o.port = 0;
    o.header_bytes_max = 8192;
    o.body_bytes_max = BODY_BYTES_MAX;
    o.stream_bytes_max = STREAM_BYTES_MAX;
    o.handler = handle;
    return o;
}

static void start(const http_options *options) {
    weft_error err;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(http_server_create(&fix.server, options, &err), WEFT_OK);
    assert_int_equal(pthread_create(&fix.thread, NULL, run_server, fix.server), 0);
}

static int setup(void **state) {
    const http_options o = options_small();
    start(&o);
    return 0;
}

static void join(void) {
    if (!atomic_exchange(&fix.is_joined, true)) {
        assert_int_equal(pthread_join(fix.thread, NULL), 0);
    }
}

static int teardown(void **state) {
    http_server_stop(fix.server, 0);
    join();
    http_server_destroy(&fix.server);
    return 0;
}

static bool wait_count(atomic_uint *counter, unsigned wanted, unsigned ms) {
    const uint64_t end_ns = clock_now_ns() + (uint64_t)ms * 1000000u;
    while (clock_now_ns() < end_ns && atomic_load(counter) < wanted) {
        (void)usleep(500);
    }
    return atomic_load(counter) >= wanted;
}

static void do_answer(void *arg) {
    for (unsigned i = 0; i < fix.n_held; i++) {
        if (fix.held[i] != NULL) {
            http_respond(fix.held[i], 200, "text/plain", "late", 4);
        }
    }
}

static void do_write(void *arg) {
    const char *text = arg;
    for (unsigned i = 0; i < fix.n_held; i++) {
        if (fix.held[i] != NULL && !http_stream_write(fix.held[i], text, strlen(text))) {
            atomic_store(&fix.is_refused, true);
        }
    }
    atomic_fetch_add(&fix.n_posted, 1);
}

static void do_end(void *arg) {
    for (unsigned i = 0; i < fix.n_held; i++) {
        if (fix.held[i] != NULL) {
            http_stream_end(fix.held[i]);
        }
    }
}

static void post(http_post_fn *fn, const char *text) {
    assert_true(http_server_post(fix.server, fn, (void *)(uintptr_t)text));
}

/* ---- the client's side ---- */

static int dial(void) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(fix.server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static int ask(const char *text) {
    const int fd = dial();
    say(fd, text);
    return fd;
}

/* Reads until `text` has come (NULL: until the end), or time is up. */
static bool hear(int fd, buf *got, const char *text, int ms) {
    const uint64_t end_ns = clock_now_ns() + (uint64_t)ms * 1000000u;
    for (;;) {
        if (text != NULL && strstr(buf_cstr(got), text) != NULL) {
            return true;
        }
        const uint64_t now_ns = clock_now_ns();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char piece[65536];
        if (now_ns >= end_ns || poll(&p, 1, (int)((end_ns - now_ns) / 1000000u) + 1) <= 0) {
            return false;
        }
        const ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0) {
            return n == 0 && text == NULL;
        }
        buf_append(got, piece, (size_t)n);
    }
}

static void expect(int fd, const char *text) {
    buf got;
    buf_init(&got, MEM_TEST, 16u << 20);
    if (!hear(fd, &got, text, WAIT_MS)) {
        fail_msg("wanted '%s', got '%s'", text, buf_cstr(&got));
    }
    buf_deinit(&got);
}

static void expect_end(int fd) {
    buf got;
    buf_init(&got, MEM_TEST, 16u << 20);
    assert_true(hear(fd, &got, NULL, WAIT_MS));
    buf_deinit(&got);
}

/* ---- requests ---- */

static void a_request_is_answered_at_once(void **state) {
    const int fd = ask("GET /echo/a%20b?p=1&q=x%26y HTTP/1.1\r\nHost: h\r\nX-Test: v\r\n\r\n");
    expect(fd, "GET /echo/a b q=x&y t=v c=127.0.0.1 ");
    close(fd);
    const int other = ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(other, "q=none t=none");
    close(other);
    assert_true(wait_count(&fix.n_complete, 2, WAIT_MS));
}

static void a_body_is_handed_over_whole(void **state) {
    const int fd = ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01234");
    (void)usleep(20000);
    assert_int_equal(atomic_load(&fix.n_handled), 0);
    say(fd, "56789");
    expect(fd, "c=127.0.0.1 0123456789");
    say(fd, "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    expect(fd, "PUT /echo q=none t=none c=127.0.0.1 abcdefg");
    say(fd, "POST /echo/taken HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz");
    expect(fd, "c=127.0.0.1 xyz left: 0");
    close(fd);
}

static void every_method_is_delivered(void **state) {
    static const char *const methods[] = {"GET", "DELETE", "OPTIONS", "PATCH", "BREW"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char text[128];
        char wanted[64];
        (void)snprintf(text, sizeof text, "%s /echo HTTP/1.1\r\nHost: h\r\n\r\n", methods[i]);
        (void)snprintf(wanted, sizeof wanted, "\r\n\r\n%s /echo", methods[i]);
        const int fd = ask(text);
        expect(fd, wanted);
        close(fd);
    }
}

static void head_gets_headers_only(void **state) {
    const int fd = ask("HEAD /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    buf got;
    buf_init(&got, MEM_TEST, 65536);
    assert_true(hear(fd, &got, NULL, WAIT_MS));
    assert_non_null(strstr(got.data, "X-Back: yes"));
    assert_non_null(strstr(got.data, "Content-Length: 37"));
    assert_true(str_ends_with(buf_view(&got), STR_LIT("\r\n\r\n")));
    buf_deinit(&got);
    close(fd);
    const int stream = ask("HEAD /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(stream, "\r\n\r\n");
    assert_true(wait_count(&fix.n_complete, 2, WAIT_MS));
    close(stream);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    const int fd =
        ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: h\r\n\r\n"
            "GET /echo/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    (void)usleep(20000);
    assert_int_equal(atomic_load(&fix.n_handled), 1);
    post(do_answer, NULL);
    buf got;
    buf_init(&got, MEM_TEST, 65536);
    assert_true(hear(fd, &got, NULL, WAIT_MS));
    const char *first = strstr(got.data, "late");
    const char *second = strstr(got.data, "/echo/2");
    const char *third = strstr(got.data, "/echo/3");
    assert_true(first != NULL && second != NULL && third != NULL);
    assert_true(first < second && second < third);
    buf_deinit(&got);
    close(fd);
}

static void an_awaited_100_continue_comes(void **state) {
    const int fd = ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
                       "Expect: 100-continue\r\n\r\n");
    expect(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "xyz");
    expect(fd, "c=127.0.0.1 xyz");
    close(fd);
}

static void a_large_body_is_refused_before_it_is_sent(void **state) {
    const int fd = ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n"
                       "Expect: 100-continue\r\n\r\n");
    expect(fd, "HTTP/1.1 413 ");
    close(fd);
    assert_int_equal(atomic_load(&fix.n_handled), 0);
}

/* The client sends all of it before it reads: the refusal must not be lost to a reset. */
static void check_large_body(const char *head, const char *chunk_head, const char *chunk_tail) {
    static char piece[20000];
    memset(piece, 'x', sizeof piece);
    const int fd = ask(head);
    for (int i = 0; i < 200; i++) {
        if (send(fd, chunk_head, strlen(chunk_head), MSG_NOSIGNAL) < 0 ||
            send(fd, piece, sizeof piece, MSG_NOSIGNAL) < 0 ||
            send(fd, chunk_tail, strlen(chunk_tail), MSG_NOSIGNAL) < 0) {
            fail_msg("piece %d: %s", i, strerror(errno));
        }
    }
    expect(fd, "may have at most 100000 bytes");
    close(fd);
    assert_int_equal(atomic_load(&fix.n_handled), 0);
}

static void a_large_body_gets_413(void **state) {
    check_large_body("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n", "", "");
}

static void a_large_chunked_body_gets_413(void **state) {
    check_large_body("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
                     "4e20\r\n", "\r\n");
}

static void large_headers_get_431(void **state) {
    char text[9100];
    const int n =
        snprintf(text, sizeof text, "GET /echo HTTP/1.1\r\nHost: h\r\nX: %09000d\r\n\r\n", 0);
    assert_true(n > 9000 && n < (int)sizeof text);
    const int fd = ask(text);
    expect(fd, "HTTP/1.1 431 ");
    close(fd);
    assert_int_equal(atomic_load(&fix.n_handled), 0);
}

static void malformed_requests_do_no_harm(void **state) {
    static const char *const bad[] = {
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /echo\r\n\r\n",
        "GET /echo HTTP/9.9\r\n\r\n",
        "GET /echo HTTP/1.1\r\nno colon here\r\n\r\n",
        "GET /echo HTTP/1.1\r\n: empty\r\n\r\n",
        "GET /echo%00%zz%f HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /echo?%00=%00&&=&q HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
        "chunked\r\n\r\nzz",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
        "chunked\r\n\r\nffffffffffffffffff\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX",
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
    };
    enum { N = sizeof bad / sizeof bad[0] };
    int fds[N];
    for (size_t i = 0; i < N; i++) {
        fds[i] = ask(bad[i]);
        assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
    }
    (void)usleep(50000);
    for (size_t i = 0; i < N; i++) {
        close(fds[i]);
    }
    const int fd = ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, "HTTP/1.1 200 OK");
    close(fd);
}

/* ---- deferred answers and streams ---- */

static void an_answer_may_come_later(void **state) {
    const int fd = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    (void)usleep(10000);
    post(do_answer, NULL);
    expect(fd, "\r\n\r\nlate");
    assert_true(wait_count(&fix.n_complete, 1, WAIT_MS));
    say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"); /* the connection is kept */
    expect(fd, "GET /echo");
    close(fd);
}

static void stream_writes_arrive_one_by_one(void **state) {
    const int fd = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    buf got;
    buf_init(&got, MEM_TEST, 65536);
    assert_true(hear(fd, &got, "\r\n\r\n", WAIT_MS)); /* the headers do not wait for bytes */
    assert_non_null(strstr(got.data, "Transfer-Encoding: chunked"));
    uint64_t fastest_ns = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        buf_clear(&got);
        const uint64_t begin_ns = clock_now_ns();
        post(do_write, "data: 1\n\n");
        assert_true(hear(fd, &got, "9\r\ndata: 1\n\n\r\n", WAIT_MS));
        const uint64_t took_ns = clock_now_ns() - begin_ns;
        fastest_ns = took_ns < fastest_ns ? took_ns : fastest_ns;
    }
    assert_true(fastest_ns < UINT64_C(40000000)); /* a delayed ACK would hold every one of them */
    post(do_end, NULL);
    assert_true(hear(fd, &got, "0\r\n\r\n", WAIT_MS));
    assert_true(wait_count(&fix.n_complete, 1, WAIT_MS));
    buf_deinit(&got);
    close(fd);
}

static void an_old_client_gets_a_stream_without_chunks(void **state) {
    const int fd = ask("GET /sse HTTP/1.0\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    post(do_write, "data: 1\n\n");
    post(do_end, NULL);
    buf got;
    buf_init(&got, MEM_TEST, 65536);
    assert_true(hear(fd, &got, NULL, WAIT_MS));
    assert_true(str_ends_with(buf_view(&got), STR_LIT("\r\n\r\ndata: 1\n\n")));
    buf_deinit(&got);
    close(fd);
}

static void a_client_that_does_not_read_is_cut(void **state) {
    static char large[100001];
    memset(large, 'x', sizeof large - 1);
    const int fd = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    for (unsigned i = 0; i < 400 && !atomic_load(&fix.is_refused); i++) {
        post(do_write, large);
        assert_true(wait_count(&fix.n_posted, i + 1, WAIT_MS));
    }
    assert_true(atomic_load(&fix.is_refused));
    assert_true(wait_count(&fix.n_lost, 1, WAIT_MS));
    close(fd);
}

static void two_hundred_streams_are_served(void **state) {
    enum { N = 200, WRITES = 20 };
    static int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    assert_true(wait_count(&fix.n_handled, N, WAIT_MS));
    for (unsigned i = 0; i < WRITES; i++) {
        post(do_write, "data: token\n\n");
        assert_true(wait_count(&fix.n_posted, i + 1, WAIT_MS));
    }
    post(do_end, NULL);
    for (int i = 0; i < N; i++) {
        buf got;
        buf_init(&got, MEM_TEST, 65536);
        assert_true(hear(fds[i], &got, "0\r\n\r\n", WAIT_MS));
        int n_tokens = 0;
        for (const char *at = got.data; (at = strstr(at, "data: token")) != NULL; at++) {
            n_tokens++;
        }
        assert_int_equal(n_tokens, WRITES);
        buf_deinit(&got);
        close(fds[i]);
    }
    assert_true(wait_count(&fix.n_complete, N, WAIT_MS));
}

/* ---- clients that leave, and clients that only seem to ---- */

static void a_client_that_leaves_while_waiting_is_noticed(void **state) {
    const int fd = ask("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    (void)usleep(10000);
    close(fd);
    assert_true(wait_count(&fix.n_lost, 1, WAIT_MS));
}

static void a_client_that_leaves_a_silent_event_stream_is_noticed(void **state) {
    const int fd = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(fd, "\r\n\r\n");
    close(fd);
    assert_true(wait_count(&fix.n_lost, 1, WAIT_MS));
}

/* No probe can be sent to the first two; the third leaves only after it has been probed. */
static void other_clients_that_leave_are_noticed(void **state) {
    const int old = ask("GET /hold HTTP/1.0\r\n\r\n");
    const int lines = ask("GET /lines HTTP/1.1\r\nHost: h\r\n\r\n");
    const int half = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(lines, "\r\n\r\n");
    assert_int_equal(shutdown(half, SHUT_WR), 0);
    expect(half, "100 Continue");
    assert_true(wait_count(&fix.n_handled, 3, WAIT_MS));
    (void)usleep(10000);
    close(old);
    close(lines);
    close(half);
    assert_true(wait_count(&fix.n_lost, 3, WAIT_MS));
}

static void a_half_closed_client_gets_its_answer(void **state) {
    const int fd = ask("POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    (void)usleep(100000);
    post(do_answer, NULL);
    expect(fd, "\r\n\r\nlate");
    expect_end(fd);
    assert_true(wait_count(&fix.n_complete, 1, WAIT_MS));
    assert_int_equal(atomic_load(&fix.n_lost), 0);
    close(fd);
}

static void a_half_closed_client_gets_an_answer_given_at_once(void **state) {
    const int fd = ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect(fd, "GET /echo");
    expect_end(fd);
    close(fd);
}

/* Four writes, over longer than a silent stream may last. */
static void half_closed_clients_get_their_streams(void **state) {
    const int events = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    const int lines = ask("GET /lines HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(shutdown(events, SHUT_WR), 0);
    assert_int_equal(shutdown(lines, SHUT_WR), 0);
    assert_true(wait_count(&fix.n_handled, 2, WAIT_MS));
    for (int i = 0; i < 4; i++) {
        (void)usleep(250000);
        post(do_write, "data: 1\n\n");
        expect(events, "data: 1\n\n");
        expect(lines, "data: 1\n\n");
    }
    post(do_end, NULL);
    expect_end(events);
    expect_end(lines);
    assert_true(wait_count(&fix.n_complete, 2, WAIT_MS));
    assert_int_equal(atomic_load(&fix.n_lost), 0);
    close(events);
    close(lines);
}

/* ---- the loop ---- */

static uint64_t server_cpu_ns(void) {
    clockid_t clock;
    struct timespec t;
    assert_int_equal(pthread_getcpuclockid(fix.thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &t), 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void idle_connections_use_no_cpu(void **state) {
    int fds[9];
    for (int i = 0; i < 9; i += 3) {
        fds[i] = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
        fds[i + 1] = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        fds[i + 2] = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_int_equal(shutdown(fds[i + 2], SHUT_WR), 0);
    }
    assert_true(wait_count(&fix.n_handled, 9, WAIT_MS));
    (void)usleep(50000);
    const uint64_t begin_ns = server_cpu_ns();
    (void)usleep(500000);
    assert_true(server_cpu_ns() - begin_ns < UINT64_C(10000000)); /* 2 % of the time */
    for (int i = 0; i < 9; i++) {
        close(fds[i]);
    }
}

static atomic_uint post_last[4];

static void do_count(void *arg) {
    const uintptr_t id = (uintptr_t)arg;
    const unsigned thread = (unsigned)(id >> 16);
    const unsigned nth = (unsigned)(id & 0xffff);
    assert_int_equal(atomic_load(&post_last[thread]) + 1, nth);
    atomic_store(&post_last[thread], nth);
    atomic_fetch_add(&fix.n_posted, 1);
}

static void *post_many(void *arg) {
    for (uintptr_t i = 1; i <= 5000; i++) {
        assert_true(http_server_post(fix.server, do_count, (void *)(((uintptr_t)arg << 16) | i)));
    }
    return NULL;
}

static void posts_of_every_thread_run_in_order(void **state) {
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) {
        atomic_store(&post_last[i], 0);
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(wait_count(&fix.n_posted, 20000, WAIT_MS));
}

static void what_is_put_runs_with_one_wake(void **state) {
    (void)usleep(20000); /* the loop sleeps */
    atomic_store(&post_last[0], 0);
    const uint64_t before = http_server_wakes(fix.server);
    for (uintptr_t round = 0; round < 5; round++) {
        for (uintptr_t i = 1; i <= 100; i++) {
            assert_true(http_server_put(fix.server, do_count, (void *)(round * 100 + i)));
        }
        assert_int_equal(atomic_load(&fix.n_posted), 100 * round);
        http_server_wake(fix.server);
        assert_true(wait_count(&fix.n_posted, 100 * ((unsigned)round + 1), WAIT_MS));
        http_server_wake(fix.server); /* nothing is there: nobody is woken */
        assert_int_equal(http_server_wakes(fix.server), before + round + 1);
    }
    assert_true(http_server_put(fix.server, do_count, (void *)501));
    post(do_count, (void *)502); /* a post wakes for those put before it, too */
    assert_true(wait_count(&fix.n_posted, 502, WAIT_MS));
    assert_int_equal(http_server_wakes(fix.server), before + 6);
}

static void stopping_lets_exchanges_finish(void **state) {
    const int fd = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    http_server_stop(fix.server, 10000);
    assert_true(http_server_is_draining(fix.server));
    (void)usleep(50000);
    const int late = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(fix.server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof to), -1);
    close(late);
    post(do_answer, NULL);
    buf got;
    buf_init(&got, MEM_TEST, 65536);
    assert_true(hear(fd, &got, NULL, WAIT_MS));
    assert_non_null(strstr(got.data, "Connection: close"));
    assert_true(str_ends_with(buf_view(&got), STR_LIT("late")));
    buf_deinit(&got);
    join();
    assert_int_equal(atomic_load(&fix.n_complete), 1);
    close(fd);
}

static void the_drain_ends_at_its_deadline(void **state) {
    const int a = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    const int b = ask("GET /sse HTTP/1.1\r\nHost: h\r\n\r\n");
    const int c = ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    assert_true(wait_count(&fix.n_handled, 2, WAIT_MS));
    const uint64_t begin_ns = clock_now_ns();
    http_server_stop(fix.server, 100);
    join();
    assert_true(clock_now_ns() - begin_ns >= UINT64_C(100000000));
    assert_int_equal(atomic_load(&fix.n_lost), 2);
    assert_false(http_server_post(fix.server, do_count, NULL)); /* nobody would run it */
    close(a);
    close(b);
    close(c);
}

static void a_second_stop_ends_at_once(void **state) {
    const int fd = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 1, WAIT_MS));
    const uint64_t begin_ns = clock_now_ns();
    http_server_stop(fix.server, 60000);
    http_server_stop(fix.server, 60000);
    join();
    assert_true(clock_now_ns() - begin_ns < UINT64_C(5000000000));
    assert_int_equal(atomic_load(&fix.n_lost), 1);
    close(fd);
}

static void a_full_server_lets_the_next_wait(void **state) {
    http_options o = options_small();
    o.connections_max = 2;
    start(&o);
    const int a = ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    const int b = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(wait_count(&fix.n_handled, 2, WAIT_MS));
    const int c = ask("GET /echo/c HTTP/1.1\r\nHost: h\r\n\r\n");
    (void)usleep(50000);
    assert_int_equal(atomic_load(&fix.n_handled), 2);
    close(a);
    expect(c, "/echo/c");
    close(b);
    close(c);
    (void)teardown(state);
}

static void idle_connections_are_closed(void **state) {
    http_options o = options_small();
    o.idle_timeout_s = 1;
    start(&o);
    const int idle = dial();
    const int busy = ask("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_end(idle);
    assert_int_equal(atomic_load(&fix.n_lost), 0);
    post(do_answer, NULL);
    expect(busy, "late");
    close(idle);
    close(busy);
    (void)teardown(state);
}

static void a_port_in_use_is_named(void **state) {
    http_options o = options_small();
    start(&o);
    http_server *other = NULL;
    weft_error err;
    char wanted[128];
    o.port = http_server_port(fix.server);
    (void)snprintf(wanted, sizeof wanted, "cannot listen on 127.0.0.1:%u: Address already in use",
                   o.port);
    assert_int_equal(http_server_create(&other, &o, &err), WEFT_IO);
    assert_string_equal(err.message, wanted);
    assert_null(other);
    o.host = "256.1.1.1";
    assert_int_equal(http_server_create(&other, &o, &err), WEFT_IO);
    assert_non_null(strstr(err.message, "cannot listen on 256.1.1.1:"));
    (void)teardown(state);
}

static void no_memory_is_an_error(void **state) {
    const http_options o = options_small();
    const mem_stats before = mem_stats_room(MEM_HTTP);
    weft_status status = WEFT_NOMEM;
    for (int nth = 0; status != WEFT_OK; nth++) {
        http_server *s = NULL;
        weft_error err;
        assert_true(nth < 100);
        mem_fail_after(nth);
        status = http_server_create(&s, &o, &err);
        mem_fail_after(-1);
        assert_int_equal(status == WEFT_OK, s != NULL);
        http_server_destroy(&s);
    }
    assert_int_equal(mem_stats_room(MEM_HTTP).live_bytes, before.live_bytes);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SERVED(a_request_is_answered_at_once),
        SERVED(a_body_is_handed_over_whole),
        SERVED(every_method_is_delivered),
        SERVED(head_gets_headers_only),
        SERVED(pipelined_requests_are_answered_in_order),
        SERVED(an_awaited_100_continue_comes),
        SERVED(a_large_body_is_refused_before_it_is_sent),
        SERVED(a_large_body_gets_413),
        SERVED(a_large_chunked_body_gets_413),
        SERVED(large_headers_get_431),
        SERVED(malformed_requests_do_no_harm),
        SERVED(an_answer_may_come_later),
        SERVED(stream_writes_arrive_one_by_one),
        SERVED(an_old_client_gets_a_stream_without_chunks),
        SERVED(a_client_that_does_not_read_is_cut),
        SERVED(two_hundred_streams_are_served),
        SERVED(a_client_that_leaves_while_waiting_is_noticed),
        SERVED(a_client_that_leaves_a_silent_event_stream_is_noticed),
        SERVED(other_clients_that_leave_are_noticed),
        SERVED(a_half_closed_client_gets_its_answer),
        SERVED(a_half_closed_client_gets_an_answer_given_at_once),
        SERVED(half_closed_clients_get_their_streams),
        SERVED(idle_connections_use_no_cpu),
        SERVED(posts_of_every_thread_run_in_order),
        SERVED(what_is_put_runs_with_one_wake),
        SERVED(stopping_lets_exchanges_finish),
        SERVED(the_drain_ends_at_its_deadline),
        SERVED(a_second_stop_ends_at_once),
        cmocka_unit_test(a_full_server_lets_the_next_wait),
        cmocka_unit_test(idle_connections_are_closed),
        cmocka_unit_test(a_port_in_use_is_named),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
