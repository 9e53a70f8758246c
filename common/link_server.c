/* link_server: the sending side of a link: one ring, any number of relays.
 *
 * A link is a position in the ring and a small buffer of what its socket has not taken yet; the ring is the
 * queue. Filling (link_fill.c) puts records into the buffer; it stops when the buffer is full, and goes on
 * when the socket has taken it. Over TLS the socket is written to through the link's transport, which may
 * keep the rest of a record; the link counts as sending until that is gone too.
 *
 * A link ends when its socket does, when it takes nothing for STALL_NS, when the ring's tail passes it (it
 * lags by all that is held), or when the ring was begun anew. */
#include "common/link.h"

#include <errno.h>
#include <event2/util.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/link_internal.h"
#include "common/log.h"
#include "common/mem.h"

#define TICK_MS  100
#define STALL_NS (10 * CLOCK_NS_PER_S)
#define ROUNDS   4 /* of filling and sending, before other links have their turn */
#define PIECES   16

static void link_close(struct link *link, const char *why)
{
    if (link->dead) return;
    if (why) log_warn("link", "relay dropped at frame %" PRIu64 ": %s", link->position, why);
    link->dead = 1;
    event_del(&link->readable);
    event_del(&link->writable);
    if (link->transport) link->transport->free(link->transport_self, 0);
    close(link->fd);
    link_pace_end(&link->pace);
    link->server->count--;
    event_active(link->server->sweep, EV_TIMEOUT, 0);
}

static void link_free(struct link *link)
{
    evbuffer_free(link->out);
    free(link);
}

/* Gives up the dead, from the loop's top, where nobody holds a link. */
static void on_sweep(evutil_socket_t fd, short what, void *context)
{
    struct link_server *server = context;
    (void)fd, (void)what;
    for (struct link **at = &server->links; *at;) {
        struct link *link = *at;
        if (!link->dead) {
            at = &link->next;
            continue;
        }
        void *peer = link->peer;
        *at = link->next;
        link_free(link);
        if (server->conf.closed) server->conf.closed(server->conf.context, peer);
        at = &server->links; /* the callback may have changed the list */
    }
    if (server->count == 0) event_del(server->tick);
}

/* --- sending --- */

/* Bytes taken, or -1 with errno; *full when the socket takes no more for now. */
static ssize_t push(struct link *link, int *full)
{
    struct evbuffer_iovec pieces[PIECES];
    struct iovec iov[PIECES];
    int n = evbuffer_peek(link->out, -1, NULL, pieces, PIECES);
    if (n > PIECES) n = PIECES;
    for (int i = 0; i < n; i++)
        iov[i] = (struct iovec){pieces[i].iov_base, pieces[i].iov_len};
    *full = 0;
    if (link->transport) return link->transport->write(link->transport_self, link->fd, iov, n, full);
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    return sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* 1 when all is with the socket, 0 when it takes no more, -1 when the link was closed. */
static int flush(struct link *link, int64_t now)
{
    while (evbuffer_get_length(link->out) || link->held) {
        int full;
        ssize_t sent = push(link, &full);
        if (sent < 0 && errno == EINTR) continue;
        link->held = full;
        if (sent > 0) {
            evbuffer_drain(link->out, (size_t)sent);
            link->server->bytes += (uint64_t)sent;
            link->progress_ns = now;
        }
        if (full || (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))) return 0;
        if (sent < 0 || (sent == 0 && evbuffer_get_length(link->out))) {
            link_close(link, NULL);
            return -1;
        }
    }
    link->progress_ns = now;
    return 1;
}

/* Fills and sends as far as both go. */
static void serve(struct link *link, int64_t now)
{
    int more = 1, empty = 1;
    const char *why;
    for (int i = 0; i < ROUNDS && more && empty; i++) {
        more = link_fill(link, now, &why);
        if (more < 0) {
            link_close(link, why);
            return;
        }
        if ((empty = flush(link, now)) < 0) return;
    }
    if (more || !empty)
        event_add(&link->writable, NULL);
    else
        event_del(&link->writable);
}

void link_server_wake(struct link_server *server)
{
    int64_t now = clock_boot_ns();
    for (struct link *link = server->links; link; link = link->next) {
        if (link->dead) continue;
        if ((evbuffer_get_length(link->out) || link->held) && now - link->progress_ns > STALL_NS) {
            link_close(link, "it took nothing for 10 s");
            continue;
        }
        if (link->until_ns && now >= link->until_ns) {
            link_close(link, NULL);
            continue;
        }
        if (link_tell_time(link, now))
            link_close(link, "out of memory");
        else
            serve(link, now);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    link_server_wake(context);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    serve(context, clock_boot_ns());
}

/* A relay says nothing here: what comes is dropped, and only the end matters. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct link *link = context;
    char scratch[4096];
    (void)what;
    if (link->transport) {
        if (link->transport->drain(link->transport_self, fd)) link_close(link, NULL);
        return;
    }
    ssize_t n = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        link_close(link, NULL);
}

/* --- links --- */

static void socket_options(int fd)
{
    int on = 1, timeout_ms = (int)(STALL_NS / 1000000);
    evutil_make_socket_nonblocking(fd);
    /* both fail on what is no TCP socket, which is fine */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

/* Hard to guess: who knows it may set the link's pace. */
static void name_link(struct link *link)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_boot_ns() ^ (uint64_t)(uintptr_t)link;
    snprintf(link->id, sizeof link->id, "%016" PRIx64, random);
}

int link_server_add(struct link_server *server, int fd, const struct link_ask *ask)
{
    struct link *link = calloc(1, sizeof *link);
    struct evbuffer *out = evbuffer_new();
    if (!link || !out || evbuffer_add(out, ask->header, strlen(ask->header))) {
        if (out) evbuffer_free(out);
        free(link);
        if (ask->transport) ask->transport->free(ask->transport_self, 1);
        close(fd);
        return -1;
    }
    socket_options(fd);
    int64_t now = clock_boot_ns();
    *link = (struct link){.server = server,
                          .peer = ask->peer,
                          .fd = fd,
                          .transport = ask->transport,
                          .transport_self = ask->transport_self,
                          .out = out,
                          .until_ns = ask->until_ns,
                          .progress_ns = now};
    link_pace_begin(&link->pace, server->conf.budget, ring_kbps(server->ring), server->conf.fill_rate, now);
    name_link(link);
    event_assign(&link->readable, server->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    event_assign(&link->writable, server->base, fd, EV_WRITE | EV_PERSIST, on_writable, link);
    event_add(&link->readable, NULL);
    if (!event_pending(server->tick, EV_TIMEOUT, NULL))
        event_add(server->tick, &(struct timeval){.tv_usec = TICK_MS * 1000});
    link->next = server->links;
    server->links = link;
    server->count++;
    if (link_begin(link, ask, now))
        link_close(link, "out of memory");
    else
        serve(link, now);
    return 0;
}

struct link_server *link_server_new(struct event_base *base, struct ring *ring,
                                    const struct link_server_conf *conf)
{
    struct link_server *server = xcalloc(1, sizeof *server);
    server->base = base;
    server->ring = ring;
    server->conf = *conf;
    if (!(server->conf.fill_rate >= 1)) server->conf.fill_rate = 1; /* slower and the air overtakes it */
    server->tick = event_new(base, -1, EV_PERSIST, on_tick, server);
    server->sweep = event_new(base, -1, 0, on_sweep, server);
    return server;
}

void link_server_free(struct link_server *server)
{
    if (!server) return;
    for (struct link *link = server->links, *next; link; link = next) {
        next = link->next;
        link_close(link, NULL);
        link_free(link);
    }
    event_free(server->tick);
    event_free(server->sweep);
    json_decref(server->path);
    free(server);
}

void link_server_close_peer(struct link_server *server, void *peer)
{
    for (struct link *link = server->links; link; link = link->next) {
        if (link->peer == peer) link_close(link, NULL);
    }
}

int link_server_pace(struct link_server *server, const char *id, double times)
{
    for (struct link *link = server->links; link; link = link->next) {
        if (link->dead || strcmp(link->id, id)) continue;
        link_pace_set(&link->pace, fmin(fmax(times, 1), server->conf.fill_rate));
        return 0;
    }
    return -1;
}

void link_server_set_texts(struct link_server *server, const char *name, const char *description,
                           const char *genre, const char *url)
{
    server->conf.name = name;
    server->conf.description = description;
    server->conf.genre = genre;
    server->conf.url = url;
}

void link_server_set_path(struct link_server *server, json_t *path)
{
    if (server->path && json_equal(server->path, path)) return;
    json_decref(server->path);
    server->path = json_incref(path);
    for (struct link *link = server->links; link; link = link->next) {
        if (link->dead) continue;
        if (link_tell_path(link))
            link_close(link, "out of memory");
        else
            serve(link, clock_boot_ns());
    }
}

unsigned link_server_count(const struct link_server *server)
{
    return server->count;
}

uint64_t link_server_bytes(const struct link_server *server)
{
    return server->bytes;
}
