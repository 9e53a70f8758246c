/* link_server: the sending side of a link: one ring, any number of relays.
 *
 * A link is a position in the ring and a small buffer of what its socket has not taken yet; the ring is the
 * queue. pump() puts records into the buffer, in an order that lets the relay keep up a ring of its own: what
 * is void (BRANCH), then marks, then frames. It stops when the buffer is full, and goes on when the socket
 * has taken it. What the relay needs now (up to START_S ahead of the air) goes at once; beyond that a bucket
 * of frames, filled at fill_rate, holds it back, so that a wake costs no more than it should.
 *
 * Frames and marks carry the ring's present branch: what lies before a fork belongs to it as well. After a
 * fork the marks from there on are sent again, since a relay may drop more than was void; it knows one it
 * has.
 *
 * A link ends when its socket does, when it takes nothing for STALL_NS, when the ring's tail passes it (it
 * lags by all that is held), or when the ring was begun anew. */
#include "common/link.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

#define BUFFER_MAX    (256u << 10) /* one record more may lie above it */
#define CLOCK_ROOM    (64u << 10)  /* a clock behind more than this would come too late to be true */
#define RECORD_FRAMES 64u
#define START_S       2.0
#define TICK_MS       100
#define STALL_NS      (10 * CLOCK_NS_PER_S)
#define BUCKET_S      2.0
#define ROUNDS        4 /* of filling and sending, before other links have their turn */
#define COMMANDS_MAX  (2 * BUFFER_MAX)

struct link {
    struct link *next;
    struct link_server *server;
    void *peer;
    int fd, dead;
    struct event readable, writable;
    struct evbuffer *out;
    char station[40];
    uint32_t branch;
    uint64_t position; /* of the next frame to send */
    uint64_t start;    /* marks before it count only when they hold there */
    uint64_t serial;   /* of the last mark sent */
    uint64_t ahead;    /* frames ahead of the air that it wants at most */
    double bucket;     /* frames it may run ahead */
    int64_t bucket_ns, clock_ns, progress_ns;
};

struct link_server {
    struct event_base *base;
    struct ring *ring;
    struct link_server_conf conf;
    struct link *links;
    struct event *tick, *sweep;
    unsigned count;
    uint64_t bytes;
};

static uint64_t frames_of(double seconds)
{
    return (uint64_t)(seconds * MP3_RATE / MP3_FRAME_SAMPLES + 0.5);
}

/* The first frame not yet on air. */
static uint64_t air_of(const struct link_server *server)
{
    uint32_t ns;
    uint64_t on_air = server->conf.air(server->conf.context, &ns);
    return on_air == UINT64_MAX ? ring_floor(server->ring) : on_air + 1;
}

static void link_close(struct link *link, const char *why)
{
    if (link->dead) return;
    if (why) log_warn("link", "relay dropped at frame %" PRIu64 ": %s", link->position, why);
    link->dead = 1;
    event_del(&link->readable);
    event_del(&link->writable);
    close(link->fd);
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

/* --- filling the buffer --- */

/* The ring's branch is no longer the link's: says from where on. 0, or -1 when the link can't go on. */
static int pump_branch(struct link *link)
{
    struct ring *ring = link->server->ring;
    uint64_t fork;
    if (ring_fork_after(ring, link->branch, link->position, &fork)) return -1;
    if (fork < link->position) link->position = fork;
    link->start = link->position;
    link->serial = 0;
    link->branch = ring_branch(ring);
    return link_put_branch(link->out, link->position, link->branch);
}

/* 1 when the buffer filled up before the last mark, -1 when memory is out. */
static int pump_marks(struct link *link)
{
    struct ring *ring = link->server->ring;
    const struct ring_mark *mark;
    while ((mark = ring_mark_since(ring, link->serial))) {
        if (evbuffer_get_length(link->out) >= BUFFER_MAX) return 1;
        link->serial = mark->serial;
        if (mark->position <= link->start && ring_mark_at(ring, mark->kind, link->start) != mark) continue;
        struct ring_mark now = *mark;
        now.branch = link->branch;
        if (link_put_mark(link->out, &now)) return -1;
    }
    return 0;
}

/* The position up to which frames may go now. */
static uint64_t frames_limit(struct link *link, int64_t now)
{
    struct link_server *server = link->server;
    double rate = server->conf.fill_rate * MP3_RATE / MP3_FRAME_SAMPLES;
    double most = BUCKET_S * rate > RECORD_FRAMES ? BUCKET_S * rate : RECORD_FRAMES;
    link->bucket += (double)(now - link->bucket_ns) / 1e9 * rate;
    link->bucket_ns = now;
    if (link->bucket > most) link->bucket = most;
    uint64_t air = air_of(server), head = ring_head(server->ring);
    uint64_t limit = link->position + (uint64_t)link->bucket, needed = air + frames_of(START_S);
    if (limit < needed) limit = needed;
    if (limit > air && limit - air > link->ahead) limit = air + link->ahead;
    return limit < head ? limit : head;
}

/* 1 when the buffer filled up before the limit, -1 when memory is out. */
static int pump_frames(struct link *link, int64_t now)
{
    struct ring *ring = link->server->ring;
    unsigned kbps = ring_kbps(ring);
    uint64_t limit = frames_limit(link, now);
    while (link->position < limit) {
        if (evbuffer_get_length(link->out) >= BUFFER_MAX) return 1;
        uint64_t left = limit - link->position;
        uint32_t count = left < RECORD_FRAMES ? (uint32_t)left : RECORD_FRAMES;
        uint64_t from = mp3_frame_offset(kbps, link->position),
                 to = mp3_frame_offset(kbps, link->position + count);
        const uint8_t *bytes = ring_bytes(ring, from, to);
        if (link_put_frames(link->out, link->position, link->branch, count, bytes, (size_t)(to - from)))
            return -1;
        link->position += count;
        link->bucket = link->bucket > count ? link->bucket - count : 0;
    }
    return 0;
}

/* What is due, as far as the buffer holds it. 1 when more is due, -1 when the link was closed. */
static int pump(struct link *link, int64_t now)
{
    struct ring *ring = link->server->ring;
    const char *why = NULL;
    if (strcmp(link->station, ring_station(ring)))
        why = "another station is on";
    else if (link->branch != ring_branch(ring) && pump_branch(link))
        why = "its branch is not known";
    else if (link->position < ring_tail(ring))
        why = "it lags behind all that is held";
    else if (link->position > ring_head(ring) && !link->server->conf.follows)
        why = "the programme was begun anew";
    int more = why ? -1 : pump_marks(link);
    if (more == 0) more = pump_frames(link, now);
    if (more < 0) link_close(link, why ? why : "out of memory");
    return more;
}

/* --- sending --- */

/* 1 when the buffer is empty, 0 when the socket takes no more, -1 when the link was closed. */
static int flush(struct link *link, int64_t now)
{
    struct evbuffer_iovec pieces[16];
    struct iovec iov[16];
    while (evbuffer_get_length(link->out)) {
        int n = evbuffer_peek(link->out, -1, NULL, pieces, 16);
        if (n > 16) n = 16;
        for (int i = 0; i < n; i++)
            iov[i] = (struct iovec){pieces[i].iov_base, pieces[i].iov_len};
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)n};
        ssize_t sent = sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (sent <= 0) {
            link_close(link, NULL);
            return -1;
        }
        evbuffer_drain(link->out, (size_t)sent);
        link->server->bytes += (uint64_t)sent;
        link->progress_ns = now;
    }
    link->progress_ns = now;
    return 1;
}

/* Fills and sends as far as both go. */
static void serve(struct link *link)
{
    int64_t now = clock_boot_ns();
    int more = 1, empty = 1;
    for (int i = 0; i < ROUNDS && more && empty; i++) {
        more = pump(link, now);
        if (more < 0 || (empty = flush(link, now)) < 0) return;
    }
    if (more || !empty)
        event_add(&link->writable, NULL);
    else
        event_del(&link->writable);
}

/* The clock each second; while the air stands, a command that means nothing: a silent link looks dead. */
static int tell_time(struct link *link, int64_t now)
{
    uint32_t ns;
    if (now < link->clock_ns || evbuffer_get_length(link->out) > CLOCK_ROOM) return 0;
    link->clock_ns = now + CLOCK_NS_PER_S;
    uint64_t position = link->server->conf.air(link->server->conf.context, &ns);
    if (position != UINT64_MAX) return link_put_clock(link->out, position, ns);
    json_t *wait = json_pack("{s:s}", "command", "wait");
    int rc = link_put_command(link->out, wait);
    json_decref(wait);
    return rc;
}

void link_server_wake(struct link_server *server)
{
    int64_t now = clock_boot_ns();
    for (struct link *link = server->links; link; link = link->next) {
        if (link->dead) continue;
        if (evbuffer_get_length(link->out) && now - link->progress_ns > STALL_NS) {
            link_close(link, "it took nothing for 10 s");
            continue;
        }
        if (tell_time(link, now))
            link_close(link, "out of memory");
        else
            serve(link);
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
    serve(context);
}

/* A relay says nothing here: what comes is dropped, and only the end matters. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
    char scratch[4096];
    (void)what;
    ssize_t n = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        link_close(context, NULL);
}

/* --- links --- */

/* Where a relay that holds (branch, position) goes on; *void_from is UINT64_MAX when all it has is good. */
static uint64_t resume_at(const struct link_server *server, uint32_t branch, uint64_t position,
                          const char *station, uint64_t burst, uint64_t *void_from)
{
    const struct ring *ring = server->ring;
    *void_from = UINT64_MAX;
    if (strcmp(station, ring_station(ring))) return burst;
    if (ring_fork_after(ring, branch, position, void_from)) {
        *void_from = 0;
        return burst;
    }
    /* it has more than there is here: that was lost, and will be made anew */
    if (position > ring_head(ring) && *void_from > ring_head(ring) && !server->conf.follows)
        *void_from = ring_head(ring);
    uint64_t next = position < *void_from ? position : *void_from;
    return next < ring_tail(ring) ? burst : next;
}

static void set_text(json_t *body, const char *key, const char *text)
{
    if (text && *text) json_object_set_new(body, key, json_text_lossy(text));
}

static int greet(struct link *link, uint64_t void_from)
{
    struct link_server *server = link->server;
    uint64_t air = air_of(server), head = ring_head(server->ring);
    double lead_s = head > air ? (double)(head - air) * MP3_FRAME_SAMPLES / MP3_RATE : 0;
    json_t *body = json_pack("{s:i,s:s,s:o,s:s,s:i,s:I,s:I,s:I,s:f}", "version", 1, "station", link->station,
                             "name", json_text_lossy(server->conf.name ? server->conf.name : ""), "mount",
                             server->conf.mount, "kbps", (int)ring_kbps(server->ring), "branch",
                             (json_int_t)link->branch, "position", (json_int_t)link->position, "air_position",
                             (json_int_t)(air ? air - 1 : 0), "lead_s", lead_s);
    set_text(body, "description", server->conf.description);
    set_text(body, "genre", server->conf.genre);
    set_text(body, "url", server->conf.url);
    if (void_from != UINT64_MAX) json_object_set_new(body, "void_from", json_integer((json_int_t)void_from));
    int rc = link_put_hello(link->out, body);
    json_decref(body);
    return rc;
}

static void socket_options(int fd)
{
    int on = 1, timeout_ms = (int)(STALL_NS / 1000000);
    evutil_make_socket_nonblocking(fd);
    /* both fail on what is no TCP socket, which is fine */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

int link_server_add(struct link_server *server, int fd, const char *header, int has_from, uint32_t branch,
                    uint64_t position, const char *station, double back_s, void *peer)
{
    struct ring *ring = server->ring;
    struct link *link = calloc(1, sizeof *link);
    struct evbuffer *out = evbuffer_new();
    if (!link || !out || evbuffer_add(out, header, strlen(header))) {
        if (out) evbuffer_free(out);
        free(link);
        close(fd);
        return -1;
    }
    socket_options(fd);
    uint64_t air = air_of(server), back = frames_of(fmax(back_s, server->conf.burst_s)),
             void_from = UINT64_MAX;
    uint64_t burst = air > back ? air - back : 0;
    if (burst < ring_tail(ring)) burst = ring_tail(ring);
    if (burst > ring_head(ring)) burst = ring_head(ring); /* the air of a ring that follows is ahead of it */
    *link = (struct link){.server = server, .peer = peer, .fd = fd, .out = out, .branch = ring_branch(ring)};
    link->position =
        has_from ? resume_at(server, branch, position, station ? station : "", burst, &void_from) : burst;
    link->start = link->position;
    link->ahead = UINT64_MAX;
    link->bucket_ns = link->progress_ns = clock_boot_ns();
    strncpy(link->station, ring_station(ring), sizeof link->station - 1);
    event_assign(&link->readable, server->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    event_assign(&link->writable, server->base, fd, EV_WRITE | EV_PERSIST, on_writable, link);
    event_add(&link->readable, NULL);
    if (!event_pending(server->tick, EV_TIMEOUT, NULL))
        event_add(server->tick, &(struct timeval){.tv_usec = TICK_MS * 1000});
    link->next = server->links;
    server->links = link;
    server->count++;
    if (greet(link, void_from) || tell_time(link, link->bucket_ns))
        link_close(link, "out of memory");
    else
        serve(link);
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
    free(server);
}

void link_server_close_peer(struct link_server *server, void *peer)
{
    for (struct link *link = server->links; link; link = link->next) {
        if (link->peer == peer) link_close(link, NULL);
    }
}

void link_server_command(struct link_server *server, void *peer, json_t *body)
{
    for (struct link *link = server->links; link; link = link->next) {
        if (link->dead || link->peer != peer || evbuffer_get_length(link->out) > COMMANDS_MAX) continue;
        if (link_put_command(link->out, body))
            link_close(link, "out of memory");
        else
            serve(link);
    }
}

void link_server_limit(struct link_server *server, void *peer, double ahead_s)
{
    for (struct link *link = server->links; link; link = link->next) {
        if (link->peer == peer) link->ahead = ahead_s > START_S ? frames_of(ahead_s) : frames_of(START_S);
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
