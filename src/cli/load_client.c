/* load_client.c - libcurl's multi interface, driven by poll.
 *
 * curl_multi_perform looks at every transfer on every call. With thousands of streams of which a
 * few have bytes, that look is most of the work; so libcurl is told which sockets are ready
 * (curl_multi_socket_action), and tells us which ones it waits for. They stand in one array for
 * poll, each socket knowing its place in it.
 *
 * Easy handles are made once and used again: a call is free, or in flight.
 */
#include "cli/load_client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/os.h"

typedef struct call {
    CURL *easy;
    load_post post;
    struct call *next_free;
} call;

struct load_client {
    CURLM *multi;
    struct curl_slist *headers;
    call *calls; /* [n_max] */
    call *free_calls;
    uint32_t n_max;
    struct pollfd *polls; /* [n_polls], room for polls_capacity */
    struct pollfd *ready;
    uint32_t n_polls, polls_capacity;
    uint64_t timer_ns; /* when libcurl wants to be called; UINT64_MAX never */
    bool is_out_of_memory;
};

static bool grow_polls(load_client *c) {
    if (c->n_polls < c->polls_capacity) {
        return true;
    }
    const uint32_t wanted = c->polls_capacity > 0 ? 2 * c->polls_capacity : 64;
    struct pollfd *polls = mem_realloc(MEM_CLI, c->polls, wanted, sizeof *polls);
    c->polls = polls != NULL ? polls : c->polls;
    struct pollfd *ready = mem_realloc(MEM_CLI, c->ready, wanted, sizeof *ready);
    c->ready = ready != NULL ? ready : c->ready;
    c->polls_capacity = polls != NULL && ready != NULL ? wanted : c->polls_capacity;
    return polls != NULL && ready != NULL;
}

/* The place of a socket is kept with it, one too high: NULL is "not there". */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *place) {
    load_client *c = user;
    uint32_t at = (uint32_t)(uintptr_t)place;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (at > 0) {
            const struct pollfd last = c->polls[--c->n_polls];
            c->polls[at - 1] = last;
            if (last.fd != fd) {
                curl_multi_assign(c->multi, last.fd, (void *)(uintptr_t)at);
            }
        }
        return 0;
    }
    if (at == 0) {
        if (!grow_polls(c)) {
            c->is_out_of_memory = true;
            return -1;
        }
        at = ++c->n_polls;
        c->polls[at - 1] = (struct pollfd){.fd = fd};
        curl_multi_assign(c->multi, fd, (void *)(uintptr_t)at);
    }
    c->polls[at - 1].events = (short)(((what & CURL_POLL_IN) != 0 ? POLLIN : 0) |
                                      ((what & CURL_POLL_OUT) != 0 ? POLLOUT : 0));
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *user) {
    load_client *c = user;
    (void)multi;
    c->timer_ns =
        timeout_ms < 0 ? UINT64_MAX : clock_now_ns() + (uint64_t)timeout_ms * UINT64_C(1000000);
    return 0;
}

static size_t on_data(char *bytes, size_t size, size_t n, void *user) {
    call *k = user;
    long status = 0;
    curl_easy_getinfo(k->easy, CURLINFO_RESPONSE_CODE, &status);
    k->post.on_data(k->post.user, (int)status, bytes, size * n);
    return size * n;
}

static bool set_up_call(load_client *c, call *k, long timeout_ms) {
    k->easy = curl_easy_init();
    if (k->easy == NULL) {
        return false;
    }
    curl_easy_setopt(k->easy, CURLOPT_PRIVATE, k);
    curl_easy_setopt(k->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(k->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(k->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(k->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(k->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(k->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(k->easy, CURLOPT_WRITEDATA, k);
    k->next_free = c->free_calls;
    c->free_calls = k;
    return true;
}

static bool add_header(load_client *c, const char *line) {
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    c->headers = longer != NULL ? longer : c->headers;
    return longer != NULL;
}

static bool set_up(load_client *c, uint32_t in_flight_max, const char *key, double timeout_s) {
    char bearer[1024];
    snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", key != NULL ? key : "");
    c->multi = curl_multi_init();
    c->calls = mem_zalloc(MEM_CLI, in_flight_max, sizeof *c->calls);
    if (c->multi == NULL || c->calls == NULL || !add_header(c, "Content-Type: application/json") ||
        !add_header(c, "Expect:") || (key != NULL && !add_header(c, bearer))) {
        return false;
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)in_flight_max);
    for (c->n_max = 0; c->n_max < in_flight_max; c->n_max++) {
        if (!set_up_call(c, &c->calls[c->n_max], (long)(timeout_s * 1000))) {
            return false;
        }
    }
    return true;
}

weft_status load_client_create(load_client **out, uint32_t in_flight_max, const char *key,
                               double timeout_s, weft_error *err) {
    load_client *c = mem_zalloc(MEM_CLI, 1, sizeof *c);
    os_files_raise();
    if (c == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        mem_free(c);
        return weft_fail(err, WEFT_NOMEM, "cannot start libcurl");
    }
    c->timer_ns = UINT64_MAX;
    if (!set_up(c, in_flight_max, key, timeout_s)) {
        load_client_destroy(&c);
        return weft_fail(err, WEFT_NOMEM, "out of memory for %u requests at once", in_flight_max);
    }
    *out = c;
    return WEFT_OK;
}

void load_client_destroy(load_client **client) {
    load_client *c = *client;
    *client = NULL;
    if (c == NULL) {
        return;
    }
    for (uint32_t i = 0; i < c->n_max; i++) {
        curl_multi_remove_handle(c->multi, c->calls[i].easy);
        curl_easy_cleanup(c->calls[i].easy);
    }
    curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->headers);
    curl_global_cleanup();
    mem_free(c->calls);
    mem_free(c->polls);
    mem_free(c->ready);
    mem_free(c);
}

weft_status load_client_post(load_client *c, const load_post *post, weft_error *err) {
    call *k = c->free_calls;
    if (k == NULL) {
        return weft_fail(err, WEFT_LIMIT, "%u requests are in flight, no more are taken", c->n_max);
    }
    k->post = *post;
    curl_easy_setopt(k->easy, CURLOPT_URL, post->url);
    curl_easy_setopt(k->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.len);
    curl_easy_setopt(k->easy, CURLOPT_POSTFIELDS, post->body.data);
    if (curl_multi_add_handle(c->multi, k->easy) != CURLM_OK) {
        return weft_fail(err, WEFT_NOMEM, "libcurl takes no more requests");
    }
    c->free_calls = k->next_free;
    return WEFT_OK;
}

/* The call is free before its owner hears of the end, who may want to post the next one. */
static void finish_call(load_client *c, CURL *easy, CURLcode result) {
    call *k = NULL;
    long status = 0;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &k);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after);
    WEFT_ASSERT(k != NULL);
    curl_multi_remove_handle(c->multi, easy);
    const load_post post = k->post;
    k->next_free = c->free_calls;
    c->free_calls = k;
    const load_done done = {.http_status = (int)status,
                            .retry_after_s = (double)retry_after,
                            .is_timeout = result == CURLE_OPERATION_TIMEDOUT,
                            .error = result == CURLE_OK ? NULL : curl_easy_strerror(result)};
    post.on_done(post.user, &done);
}

static void finish_calls(load_client *c) {
    int left = 0;
    for (CURLMsg *m = curl_multi_info_read(c->multi, &left); m != NULL;
         m = curl_multi_info_read(c->multi, &left)) {
        if (m->msg == CURLMSG_DONE) {
            finish_call(c, m->easy_handle, m->data.result);
        }
    }
}

static int wait_ms(const load_client *c, int timeout_ms) {
    const uint64_t now = clock_now_ns();
    if (c->timer_ns == UINT64_MAX) {
        return timeout_ms;
    }
    const uint64_t ms = c->timer_ns <= now ? 0 : (c->timer_ns - now + 999999u) / 1000000u;
    return ms < (uint64_t)timeout_ms ? (int)ms : timeout_ms;
}

weft_status load_client_turn(load_client *c, int timeout_ms, weft_error *err) {
    int n_running = 0;
    uint32_t n_ready = 0;
    const int n = poll(c->polls, c->n_polls, wait_ms(c, timeout_ms));
    if (n < 0 && errno != EINTR) {
        return weft_fail(err, WEFT_IO, "cannot wait for %u sockets: %s", c->n_polls,
                         strerror(errno));
    }
    for (uint32_t i = 0; n > 0 && i < c->n_polls; i++) { /* libcurl will change the array */
        if (c->polls[i].revents != 0) {
            c->ready[n_ready++] = c->polls[i];
        }
    }
    for (uint32_t i = 0; i < n_ready; i++) {
        const short events = c->ready[i].revents;
        const int bits = ((events & (POLLIN | POLLHUP)) != 0 ? CURL_CSELECT_IN : 0) |
                         ((events & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                         ((events & (POLLERR | POLLNVAL)) != 0 ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(c->multi, c->ready[i].fd, bits, &n_running);
    }
    if (c->timer_ns <= clock_now_ns()) {
        c->timer_ns = UINT64_MAX;
        curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
    }
    finish_calls(c);
    return c->is_out_of_memory ? weft_fail(err, WEFT_NOMEM, "out of memory for sockets") : WEFT_OK;
}

static size_t collect(char *bytes, size_t size, size_t n, void *user) {
    return buf_append(user, bytes, size * n) ? size * n : 0;
}

weft_status load_client_get(load_client *c, const char *url, buf *out, weft_error *err) {
    weft_status result = WEFT_OK;
    long status = 0;
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a request");
    }
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 30000L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, out);
    const CURLcode rc = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (rc != CURLE_OK) {
        result = weft_fail(err, WEFT_IO, "%s: %s", url, curl_easy_strerror(rc));
    } else if (status != 200) {
        result = weft_fail(err, WEFT_IO, "%s: HTTP status %ld, wanted 200", url, status);
    }
    curl_easy_cleanup(easy);
    return result;
}
