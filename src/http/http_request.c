/* http_request.c - what a handler may ask about a request.
 *
 * libmicrohttpd has parsed it: every string here is its memory, good until the exchange ends. It
 * looks names up without regard to case, which is right for headers; parameters are compared
 * exactly. A path with an encoded NUL is cut there, as libmicrohttpd hands it over.
 *
 * Sizes are checked twice: what is announced, before the body is read (http_request_check), and
 * what really comes, while it does (http_exchange.c).
 */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "http/http_impl.h"

typedef struct lookup {
    str name;
    str value;
} lookup;

static void format_client(const http_exchange *x, char *out, size_t out_bytes);
static enum MHD_Result compare_name(void *cls, enum MHD_ValueKind kind, const char *name,
                                    size_t name_len, const char *value, size_t value_len);

void http_request_init(http_exchange *x, const char *url, const char *method, const char *version) {
    x->path = str_from_cstr(url);
    x->method = str_from_cstr(method);
    x->is_http_1_1 = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    buf_init(&x->body, MEM_HTTP, x->server->options.body_bytes_max);
    format_client(x, x->client, sizeof x->client);
}

int http_request_check(const http_exchange *x) {
    const http_options *options = &x->server->options;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info != NULL && info->header_size > options->header_bytes_max) {
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    const str length = http_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t announced = 0;
    if (length.data != NULL && str_parse_u64(length, &announced) &&
        announced > options->body_bytes_max) {
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    return 0;
}

str http_method(const http_exchange *x) { return x->method; }

str http_path(const http_exchange *x) { return x->path; }

str http_body(const http_exchange *x) { return buf_view(&x->body); }

void http_take_body(http_exchange *x, buf *out) {
    *out = x->body;
    buf_init(&x->body, MEM_HTTP, 0);
}

str http_client(const http_exchange *x) { return str_from_cstr(x->client); }

http_server *http_exchange_server(const http_exchange *x) { return x->server; }

str http_header(const http_exchange *x, const char *name) {
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(x->connection, MHD_HEADER_KIND, name, strlen(name), &value,
                                      &len) == MHD_NO) {
        return (str){0};
    }
    return str_from(value != NULL ? value : "", len);
}

str http_query(const http_exchange *x, const char *name) {
    lookup wanted = {.name = str_from_cstr(name)};
    (void)MHD_get_connection_values_n(x->connection, MHD_GET_ARGUMENT_KIND, compare_name, &wanted);
    return wanted.value;
}

/* Stops at the first of that name. A parameter without '=' has an empty value. */
static enum MHD_Result compare_name(void *cls, enum MHD_ValueKind kind, const char *name,
                                    size_t name_len, const char *value, size_t value_len) {
    lookup *wanted = cls;
    if (!str_eq(str_from(name, name_len), wanted->name)) {
        return MHD_YES;
    }
    wanted->value = str_from(value != NULL ? value : "", value_len);
    return MHD_NO;
}

/* An IPv4 client of a dual-stack socket is written as IPv4. */
static void format_client(const http_exchange *x, char *out, size_t out_bytes) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const char *done = NULL;
    if (info == NULL || info->client_addr == NULL) {
        done = NULL;
    } else if (info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)info->client_addr;
        done = inet_ntop(AF_INET, &v4->sin_addr, out, (socklen_t)out_bytes);
    } else if (info->client_addr->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)info->client_addr)->sin6_addr;
        done = IN6_IS_ADDR_V4MAPPED(v6)
                   ? inet_ntop(AF_INET, v6->s6_addr + 12, out, (socklen_t)out_bytes)
                   : inet_ntop(AF_INET6, v6, out, (socklen_t)out_bytes);
    }
    if (done == NULL) {
        out[0] = '\0';
    }
}
