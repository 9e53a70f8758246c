/* Listening sockets of the HTTP server.
 *
 * Connections are taken in by small lots, and what those ask for is answered in between: when thousands come
 * back at once, few of them are open requests at a time.
 *
 * When descriptors run out, accept fails and the socket stays readable: a loop that just tries again spins,
 * and clients hang. A descriptor kept in reserve is given up to take the waiting connections in and close
 * them (they are told 503 and learn at once), and then the socket rests for a moment. */
#include "common/http_internal.h"

#include <errno.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define BACKLOG      4096
#define SHED_MAX     256 /* connections refused in one go when descriptors ran out */
#define LOT          32
#define REST_MS      100
#define LOG_EVERY_NS (10 * CLOCK_NS_PER_S)

struct http_listen {
    struct http_listen *next;
    struct http_server *server;
    struct tls *tls;
    struct evconnlistener *listener;
    struct event *rest;
    int reserve, taken; /* of the present lot */
};

static int64_t last_logged_ns;

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_for(struct http_listen *l, int ms)
{
    const struct timeval t = {0, ms * 1000};
    evconnlistener_disable(l->listener);
    evtimer_add(l->rest, &t);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len,
                      void *context)
{
    (void)listener;
    (void)len;
    struct http_listen *l = context;
    http_conn_accept(l->server, l->tls, fd, address);
    if (++l->taken >= LOT) pause_for(l, 0); /* on with it in the next turn of the loop */
}

static void on_rest_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct http_listen *l = context;
    if (l->reserve < 0) l->reserve = reserve_open();
    l->taken = 0;
    evconnlistener_enable(l->listener);
}

static void on_accept_error(struct evconnlistener *listener, void *context)
{
    struct http_listen *l = context;
    int error = EVUTIL_SOCKET_ERROR(), shed = 0;
    if (error == EMFILE || error == ENFILE) {
        if (l->reserve >= 0) close(l->reserve);
        for (int fd; shed < SHED_MAX &&
                     (fd = accept4(evconnlistener_get_fd(listener), NULL, NULL, SOCK_CLOEXEC)) >= 0;
             shed++)
            http_conn_shed(l->server, fd, !l->tls);
        l->reserve = reserve_open();
    }
    if (last_logged_ns == 0 || clock_boot_ns() - last_logged_ns > LOG_EVERY_NS) {
        last_logged_ns = clock_boot_ns();
        log_error("http", "accept: %s (%d connections refused; raise the limit of open files)",
                  strerror(error), shed);
    }
    pause_for(l, REST_MS);
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } a = {.six = {0}};
    socklen_t len = sizeof a;
    if (getsockname(fd, &a.any, &len)) return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.six.sin6_port : a.four.sin_port);
}

/* A listening socket, or -1 with errno. */
static int listen_socket(const struct sockaddr *address, socklen_t len, int dual)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1,
        v6only = !dual;
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    if (bind(fd, address, len) || listen(fd, BACKLOG)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int add(struct http_server *s, struct tls *tls, int fd)
{
    struct http_listen *l = xcalloc(1, sizeof *l);
    l->server = s;
    l->tls = tls;
    l->listener =
        evconnlistener_new(s->base, on_accept, l, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!l->listener) {
        close(fd);
        free(l);
        return -1;
    }
    evconnlistener_set_error_cb(l->listener, on_accept_error);
    l->reserve = reserve_open();
    l->rest = evtimer_new(s->base, on_rest_over, l);
    l->next = s->listens;
    s->listens = l;
    return 0;
}

static int listen_any(struct http_server *s, struct tls *tls, int port, int *bound)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = listen_socket((struct sockaddr *)&six, sizeof six, 1);
    if (fd < 0 && errno != EADDRINUSE && errno != EACCES) /* a system without IPv6 */
        fd = listen_socket((struct sockaddr *)&four, sizeof four, 0);
    if (fd < 0) return -1;
    *bound = port_of(fd);
    return add(s, tls, fd);
}

int http_server_listen_tls(struct http_server *s, struct tls *tls, const char *host, int port, int *port_out,
                           char **cause)
{
    int bound = port, taken = 0, error = 0;
    if (!*host) {
        if (listen_any(s, tls, port, &bound))
            return cause_set(cause, "listen on port %d: %s", port, strerror(errno));
        if (port_out) *port_out = bound;
        return 0;
    }
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *list;
    int failed = getaddrinfo(host, service, &hints, &list);
    if (failed) return cause_set(cause, "listen on %s: %s", host, gai_strerror(failed));
    for (struct addrinfo *a = list; a; a = a->ai_next) { /* a name may stand for several addresses */
        if (a->ai_family == AF_INET) ((struct sockaddr_in *)a->ai_addr)->sin_port = htons((uint16_t)bound);
        if (a->ai_family == AF_INET6) ((struct sockaddr_in6 *)a->ai_addr)->sin6_port = htons((uint16_t)bound);
        int fd = listen_socket(a->ai_addr, a->ai_addrlen, 0);
        if (fd < 0 || (bound = port_of(fd), add(s, tls, fd)))
            error = errno;
        else
            taken++;
    }
    freeaddrinfo(list);
    if (!taken) return cause_set(cause, "listen on %s port %d: %s", host, port, strerror(error));
    if (port_out) *port_out = bound;
    return 0;
}

int http_server_listen(struct http_server *s, const char *host, int port, int *port_out, char **cause)
{
    return http_server_listen_tls(s, NULL, host, port, port_out, cause);
}

void http_listen_stop(struct http_server *s)
{
    while (s->listens) {
        struct http_listen *l = s->listens;
        s->listens = l->next;
        evconnlistener_free(l->listener);
        event_free(l->rest);
        if (l->reserve >= 0) close(l->reserve);
        free(l);
    }
}
