/* http_listen.c - from "host" and a port to a listening socket.
 *
 * We bind ourselves instead of leaving it to libmicrohttpd: its failure is one bit, and "Address
 * already in use" is what the user has to read. The first address the name stands for is taken.
 * An IPv6 wildcard also takes IPv4 clients.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/http_impl.h"

static int bind_socket(const struct addrinfo *address);
static uint16_t bound_port(int fd);

weft_status http_listen(int *out_fd, uint16_t *out_port, const char *host, uint16_t port,
                        weft_error *err) {
    const bool is_v6 = strchr(host, ':') != NULL;
    const char *open = is_v6 ? "[" : "";
    const char *shut = is_v6 ? "]" : "";
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        const char *why = rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc);
        return weft_fail(err, WEFT_IO, "cannot listen on %s%s%s:%u: %s", open, host, shut, port,
                         why);
    }
    const int fd = bind_socket(found);
    const int error = errno;
    freeaddrinfo(found);
    if (fd < 0) {
        return weft_fail(err, WEFT_IO, "cannot listen on %s%s%s:%u: %s", open, host, shut, port,
                         strerror(error));
    }
    http_loop_keepalive(fd);
    *out_port = bound_port(fd);
    *out_fd = fd;
    return WEFT_OK;
}

/* The listening socket, or -1 and errno. */
static int bind_socket(const struct addrinfo *address) {
    const int on = 1;
    const int off = 0;
    const int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    bool is_ok = fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
                 setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (is_ok && address->ai_family == AF_INET6) {
        is_ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
    }
    is_ok =
        is_ok && bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    if (!is_ok) {
        const int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static uint16_t bound_port(int fd) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}
