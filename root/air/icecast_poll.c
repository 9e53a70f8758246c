#include "root/air/icecast_poll.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/fetch.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/net.h"

#define CONNECT_MS    2000
#define TOTAL_MS      4000
#define ADDRESSES_MAX 4

struct server {
    struct icecast_poll *poll;
    char *name, *stream, *status, *mount;
    struct event *timer;
    struct fetch *fetch;                      /* NULL between two */
    struct net_addr addresses[ADDRESSES_MAX]; /* where it was asked, the last ones */
    size_t address_count;
    int64_t answered_ns; /* 0: not yet */
    uint64_t listeners;  /* then */
    int well;            /* as logged: -1 not yet */
};

struct icecast_poll {
    struct icecast_poll_conf conf;
    struct fetch_client *client;
    struct server *servers[ICECAST_POLL_MAX];
    size_t count;
};

struct icecast_poll *icecast_poll_new(const struct icecast_poll_conf *conf)
{
    struct icecast_poll *p = xcalloc(1, sizeof *p);
    p->conf = *conf;
    p->client = fetch_client_new(conf->base);
    return p;
}

static void server_free(struct server *s)
{
    if (s->fetch) fetch_cancel(s->fetch);
    if (s->timer) event_free(s->timer);
    free(s->name);
    free(s->stream);
    free(s->status);
    free(s->mount);
    free(s);
}

void icecast_poll_free(struct icecast_poll *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++)
        server_free(p->servers[i]);
    fetch_client_free(p->client);
    free(p);
}

/* What went wrong is logged when it begins, and once more when it is over. */
static void failed(struct server *s, const char *why)
{
    if (s->well != 0) log_warn("icecast", "relay %s (%s): %s", s->name, s->status, why);
    s->well = 0;
}

/* Bytes sent since the last answer. */
static uint64_t estimate(const struct server *s, const struct icecast_status *status, int64_t now)
{
    unsigned kbps = status->kbps ? status->kbps : s->poll->conf.kbps;
    double gap_s = s->answered_ns ? (double)(now - s->answered_ns) / CLOCK_NS_PER_S : 0;
    uint64_t most = status->listeners > s->listeners ? status->listeners : s->listeners;
    if (gap_s > ICECAST_GAP_S) gap_s = ICECAST_GAP_S;
    return (uint64_t)((double)most * kbps * 125 * gap_s);
}

static int has_address(const struct server *s, const struct net_addr *address)
{
    for (size_t i = 0; i < s->address_count; i++) {
        if (net_addr_equal(&s->addresses[i], address)) return 1;
    }
    return 0;
}

/* Also of one that does not answer yet: it may fetch the stream before it is asked the next time. */
static void on_address(void *context, const struct sockaddr *socket_address)
{
    struct server *s = context;
    struct net_addr address;
    if (net_addr_of(socket_address, &address) || has_address(s, &address)) return;
    if (s->address_count == ADDRESSES_MAX)
        memmove(s->addresses, s->addresses + 1, --s->address_count * sizeof *s->addresses);
    s->addresses[s->address_count++] = address;
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct server *s = context;
    struct icecast_status said;
    char *cause = NULL;
    s->fetch = NULL;
    if (error)
        cause_set(&cause, "it does not answer: %s", error);
    else if (status != 200)
        cause_set(&cause, "its status page is answered with %d", status);
    if (cause || icecast_status_read(body, len, s->mount, &said, &cause)) {
        failed(s, cause);
        free(cause);
        return;
    }
    int64_t now = clock_boot_ns();
    if (s->well != 1) log_info("icecast", "relay %s carries the stream at %s", s->name, s->stream);
    s->well = 1;
    uint64_t sent_bytes = estimate(s, &said, now);
    s->listeners = said.listeners;
    s->answered_ns = now;
    s->poll->conf.polled(s->poll->conf.context, s->name, &said, sent_bytes);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    struct server *s = context;
    char *cause = NULL;
    int ms = s->poll->conf.interval_ms ? s->poll->conf.interval_ms : ICECAST_INTERVAL_S * 1000;
    event_add(s->timer, &(struct timeval){ms / 1000, ms % 1000 * 1000});
    if (s->fetch) return; /* the last one is still under way: not two at a time */
    s->fetch = fetch_start(s->poll->client,
                           &(struct fetch_conf){.url = s->status,
                                                .connect_ms = CONNECT_MS,
                                                .total_ms = TOTAL_MS,
                                                .max_bytes = ICECAST_STATUS_MAX,
                                                .on_address = on_address,
                                                .on_end = on_end,
                                                .context = s},
                           &cause);
    if (s->fetch) return;
    failed(s, cause);
    free(cause);
}

static size_t find(const struct icecast_poll *p, const char *name)
{
    size_t i = 0;
    while (i < p->count && strcmp(p->servers[i]->name, name) != 0)
        i++;
    return i;
}

int icecast_poll_set(struct icecast_poll *p, const char *name, const char *stream, char **cause)
{
    size_t at = find(p, name);
    char *status, *mount;
    if (at < p->count && !strcmp(p->servers[at]->stream, stream)) return 0;
    if (at == ICECAST_POLL_MAX)
        return cause_set(cause, "there are %d Icecast servers already, as many as there may be",
                         ICECAST_POLL_MAX);
    if (icecast_status_address(stream, &status, &mount, cause)) return -1;
    icecast_poll_drop(p, name);
    struct server *s = xcalloc(1, sizeof *s);
    *s = (struct server){.poll = p,
                         .name = xstrdup(name),
                         .stream = xstrdup(stream),
                         .status = status,
                         .mount = mount,
                         .well = -1};
    s->timer = evtimer_new(p->conf.base, on_timer, s);
    p->servers[p->count++] = s;
    /* not all of them in the same moment */
    event_add(s->timer, &(struct timeval){0, (suseconds_t)(p->count * 1009 % 1000) * 100});
    return 0;
}

void icecast_poll_drop(struct icecast_poll *p, const char *name)
{
    size_t at = find(p, name);
    if (at == p->count) return;
    server_free(p->servers[at]);
    p->servers[at] = p->servers[--p->count];
}

int icecast_poll_pulls(const struct icecast_poll *p, const struct net_addr *peer, const char *user_agent)
{
    if (!user_agent || strncasecmp(user_agent, "icecast", 7) != 0) return 0;
    for (size_t i = 0; i < p->count; i++) {
        if (has_address(p->servers[i], peer)) return 1;
    }
    return 0;
}
