/* fuzz_http.c - bytes of a client, over a real connection, to a server of this process.
 *
 * The parser is libmicrohttpd's; what is searched for here are orders of its callbacks that http/
 * does not survive: bodies refused half-way, pipelined requests behind a deferred one, streams of
 * clients that are gone. The first byte chooses how the client ends. The handler touches all of the
 * request and answers as the path says: at once, later, in a stream, or never.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/http.h"

#define INPUT_MAX 65536
#define ANSWER_WAIT_MS 2

typedef struct answer {
    http_exchange *exchange; /* NULL when it has ended */
    bool is_stream;
} answer;

static http_server *server;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_end(void *owner, bool is_complete) { ((answer *)owner)->exchange = NULL; }

/* Runs on a later turn, when the exchange may have ended. */
static void answer_later(void *arg) {
    answer *a = arg;
    if (a->exchange != NULL && a->is_stream) {
        for (int i = 0; i < 3 && http_stream_write(a->exchange, "data: x\n\n", 9); i++) {
        }
    }
    if (a->exchange != NULL && a->is_stream) {
        http_stream_end(a->exchange);
    } else if (a->exchange != NULL) {
        http_respond(a->exchange, 200, "text/plain", "late", 4);
    }
    if (a->exchange != NULL) {
        http_on_end(a->exchange, NULL, NULL);
    }
    mem_free(a);
}

static void handle(void *user, http_exchange *x) {
    static volatile uint64_t sink; /* keeps the reads */
    sink = str_hash(http_method(x)) ^ str_hash(http_path(x)) ^ str_hash(http_body(x)) ^
           str_hash(http_query(x, "q")) ^ str_hash(http_header(x, "x")) ^ str_hash(http_client(x));
    (void)sink;
    const str path = http_path(x);
    const char kind = path.len > 1 ? path.data[1] : '/';
    if (kind == 'n') {
        return;
    }
    if (kind != 'l' && kind != 's') {
        http_set_header(x, "X-Path", path.data);
        http_respond(x, 200, "text/plain", path.data, path.len);
        return;
    }
    answer *a = mem_zalloc(MEM_TEST, 1, sizeof *a);
    WEFT_ASSERT(a != NULL);
    *a = (answer){.exchange = x, .is_stream = kind == 's'};
    http_on_end(x, on_end, a);
    if (a->is_stream) {
        http_stream_begin(x, 200, "text/event-stream");
    }
    WEFT_ASSERT(http_server_post(server, answer_later, a));
}

static void *run(void *arg) {
    WEFT_ASSERT(http_server_run(server, NULL) == WEFT_OK);
    return NULL;
}

static void start(void) {
    pthread_t thread;
    http_options o = http_options_default();
    o.port = 0;
    o.connections_max = 512;
    o.header_bytes_max = 4096;
    o.body_bytes_max = 1000;
    o.stream_bytes_max = 20;
    o.idle_timeout_s = 1;
    o.handler = handle;
    WEFT_ASSERT(http_server_create(&server, &o, NULL) == WEFT_OK);
    WEFT_ASSERT(pthread_create(&thread, NULL, run, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (server == NULL) {
        start();
    }
    if (size < 1 || size > INPUT_MAX) {
        return 0;
    }
    const struct linger reset = {.l_onoff = 1};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    WEFT_ASSERT(fd >= 0);
    WEFT_ASSERT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    (void)send(fd, data + 1, size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if ((data[0] & 1) != 0) {
        (void)shutdown(fd, SHUT_WR);
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char answer_bytes[4096];
    while ((data[0] & 2) != 0 && poll(&p, 1, ANSWER_WAIT_MS) > 0 &&
           recv(fd, answer_bytes, sizeof answer_bytes, 0) > 0) {
    }
    /* A reset, so that no connection outlives its input, and no port stays in TIME_WAIT. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
    return 0;
}
