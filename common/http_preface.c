/* What a trusted proxy sends in front of everything else, TLS included: the PROXY header.
 *
 * It is looked at with MSG_PEEK, so that not one byte behind it is taken; while some of it is missing, the
 * socket does not count as readable before there is one byte more (SO_RCVLOWAT). A peer that sends none loses
 * nothing by being asked. The connection's deadline runs meanwhile. */
#include <errno.h>
#include <sys/socket.h>

#include "common/http_internal.h"
#include "common/proxy.h"

static void go_on(struct http_conn *c)
{
    event_free(c->preface);
    c->preface = NULL;
    http_conn_begin(c);
}

static void on_preface(evutil_socket_t fd, short what, void *context)
{
    struct http_conn *c = context;
    uint8_t bytes[PROXY_HEADER_MAX];
    struct proxy_header header;
    (void)what;
    ssize_t have = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (have < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (have <= 0) {
        http_conn_free(c);
        return;
    }
    int len = proxy_header_parse(bytes, (size_t)have, &header), lowat = 1;
    if (len == PROXY_MORE && have != c->preface_seen) {
        lowat = (int)have + 1;
        c->preface_seen = have;
        setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof lowat);
        return;
    }
    if (len == PROXY_MORE) len = PROXY_BROKEN; /* readable, and no byte more: it has ended in the middle */
    if (c->preface_seen) setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof lowat);
    if (len == PROXY_BROKEN || (len > 0 && recv(fd, bytes, (size_t)len, MSG_DONTWAIT) != len)) {
        c->server->counts.proxy_broken++;
        http_conn_free(c);
        return;
    }
    c->server->counts.proxy_headers += len > 0;
    if (len > 0 && header.has_source) {
        c->peer = header.source;
        c->loopback = 0;
        c->trusted = net_list_has(c->server->trusted, &c->peer);
    }
    go_on(c);
}

int http_preface_start(struct http_conn *c)
{
    c->preface = event_new(c->server->base, c->fd, EV_READ | EV_PERSIST, on_preface, c);
    if (!c->preface || event_add(c->preface, NULL)) return -1;
    c->state = HTTP_CONN_PREFACE;
    return 0;
}
