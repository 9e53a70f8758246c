/* link_internal: what the files of the link's sending side share: link_server.c (sockets, life) and
 * link_fill.c (what goes into a link's buffer, and when). */
#ifndef FOREVER_COMMON_LINK_INTERNAL_H
#define FOREVER_COMMON_LINK_INTERNAL_H
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/link.h"

#define LINK_BUFFER_MAX (256u << 10) /* one record more may lie above it */

struct link {
    struct link *next;
    struct link_server *server;
    void *peer;
    int fd, dead;
    int held; /* the transport keeps bytes that the socket has not taken */
    const struct fanout_transport *transport;
    void *transport_self;
    struct event readable, writable;
    struct evbuffer *out;
    char station[40], id[LINK_ID_MAX];
    uint32_t branch;
    uint64_t position; /* of the next frame to send */
    uint64_t start;    /* marks before it count only when they hold there */
    uint64_t serial;   /* of the last mark sent */
    uint64_t begin;    /* its beginning ends here; 0: it is over */
    double begun;      /* frames of it that were sent, and what else, as frames */
    double earned;     /* what of that it does not owe */
    uint64_t needed;   /* frames ahead of the air that go at once */
    uint64_t ahead;    /* that it wants at most */
    struct link_pace pace;
    int64_t until_ns;
    int64_t clock_ns, told_ns, progress_ns; /* the next clock; the last one; the socket took */
};

struct link_server {
    struct event_base *base;
    struct ring *ring;
    struct link_server_conf conf;
    struct link *links;
    struct event *tick, *sweep;
    json_t *path; /* NULL: none */
    unsigned count;
    uint64_t bytes;
};

/* link_fill.c */
uint64_t link_frames_of(double seconds);
/* The first frame not yet on air. */
uint64_t link_air(const struct link_server *server);
/* Begins a link whose pace has begun: its place in the ring, HELLO and the first clock. -1 when memory is
 * out.
 */
int link_begin(struct link *link, const struct link_ask *ask, int64_t now);
/* The clock each second, or a word that means nothing while the air stands; where the server itself gets the
 * programme from. -1 when memory is out. */
int link_tell_time(struct link *link, int64_t now);
int link_tell_path(struct link *link);
/* What is due, as far as the buffer holds it. 1 when more is due; -1 when the link can't go on, with *why. */
int link_fill(struct link *link, int64_t now, const char **why);

#endif
