#include "common/station_internal.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

#define HEADER_MAX    4096
#define LOCATION_MAX  1024
#define RETRY_AFTER_S "10"

#define EXPOSED                                                                                              \
    "Icy-MetaInt, Icy-Br, Icy-Name, Icy-Genre, Icy-Description, Icy-Url, Icy-Pub, X-Forever-Position, "      \
    "Retry-After"

uint64_t station_air(const struct station *s)
{
    return s->conf.air(s->conf.context);
}

const json_t *station_title(const struct station *s, uint64_t position)
{
    const struct ring_mark *mark = ring_mark_at(s->ring, "title", position);
    return mark ? mark->body : NULL;
}

/* Radios built on the ESP libraries give up at a 302, or forget on it that they wanted metadata. */
int station_agent_stays(const char *user_agent)
{
    static const char *const known[] = {"esp8266", "esp32",   "esp-radio", "espradio",
                                        "karadio", "yoradio", "arduino"};
    for (size_t i = 0; user_agent && i < sizeof known / sizeof *known; i++) {
        if (strcasestr(user_agent, known[i])) return 1;
    }
    return 0;
}

/* The header of the stream */

struct header {
    char text[HEADER_MAX];
    size_t len;
};

static void __attribute__((format(printf, 2, 3))) put(struct header *h, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(h->text + h->len, sizeof h->text - h->len, format, ap);
    va_end(ap);
    /* a line that does not fit is left out whole */
    if (n > 0 && (size_t)n < sizeof h->text - h->len) h->len += (size_t)n;
    h->text[h->len] = '\0';
}

static void put_text(struct header *h, const char *name, const char *value)
{
    char clean[512];
    size_t n = 0;
    for (const char *v = value; v && *v && n + 1 < sizeof clean; v++) {
        if ((unsigned char)*v >= 0x20 && *v != 0x7f) clean[n++] = *v;
    }
    clean[n] = '\0';
    if (n) put(h, "%s: %s\r\n", name, clean);
}

static void write_header(const struct station *s, const struct http_request *r, int icy, uint64_t position,
                         struct header *h)
{
    unsigned kbps = ring_kbps(s->ring);
    h->len = 0;
    put(h, "HTTP/1.%d 200 OK\r\n%sContent-Type: audio/mpeg\r\nCache-Control: no-store\r\n", http_minor(r),
        http_common_headers(s->http));
    put(h, "Connection: close\r\nAccept-Ranges: none\r\nX-Content-Type-Options: nosniff\r\n"
           "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: " EXPOSED "\r\n");
    put(h, "X-Forever-Position: %" PRIu64 "\r\n", position);
    put(h, "icy-br: %u\r\nice-audio-info: ice-samplerate=%d;ice-bitrate=%u;ice-channels=2\r\n", kbps,
        MP3_RATE, kbps);
    put_text(h, "icy-name", s->conf.identity.name);
    put_text(h, "icy-genre", s->conf.identity.genre);
    put_text(h, "icy-description", s->conf.identity.description);
    put_text(h, "icy-url", s->conf.identity.url);
    put(h, "icy-pub: 0\r\n");
    if (icy) put(h, "icy-metaint: %d\r\n", FANOUT_ICY_METAINT);
    put(h, "\r\n");
}

static int wants_icy(const struct http_request *r)
{
    const char *value = http_header(r, "Icy-MetaData");
    return value && atoi(value) > 0;
}

/* ?from=FRAME; what is no number counts as not given: the stream plays all the same. */
static int wants_from(const struct http_request *r, uint64_t *from)
{
    char text[24], *end;
    const char *value = http_query_get(r, "from", text, sizeof text);
    if (!value || *value < '0' || *value > '9') return 0;
    errno = 0;
    *from = strtoull(value, &end, 10);
    return !*end && !errno;
}

static void serve(struct station *s, struct http_request *r)
{
    uint64_t from = 0;
    int has_from = wants_from(r, &from), icy = wants_icy(r), probe = http_method(r) == HTTP_HEAD;
    uint64_t position = fanout_start_position(s->fanout, has_from, from);
    struct header h;
    write_header(s, r, icy, position, &h);
    char agent[256];
    const char *sent = http_header(r, "User-Agent");
    snprintf(agent, sizeof agent, "%s", sent ? sent : "");
    int fd = http_detach(r);
    if (probe) {
        /* the very header of a GET, which has no length: so it does not go through http_reply */
        if (send(fd, h.text, h.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)h.len) shutdown(fd, SHUT_WR);
        close(fd);
        return;
    }
    /* the position that the header names, whatever frame is due by now */
    struct fanout_listener_conf listener = {.icy = icy,
                                            .user_agent = agent,
                                            .has_from = 1,
                                            .from = position,
                                            .header = h.text,
                                            .header_len = h.len};
    if (fanout_add(s->fanout, fd, &listener)) {
        log_warn("station", "a listener was not taken: %s", strerror(errno));
        return;
    }
    uint64_t now = fanout_counts(s->fanout)->listening;
    if (now > s->peak) s->peak = now;
}

/* Who is let in */

static void redirect(struct http_request *r, const char *location)
{
    const char *query = http_query(r);
    char *target = *query ? xasprintf("%s?%s", location, query) : xstrdup(location);
    http_add_header(r, "Location", target);
    free(target);
    http_add_header(r, "Cache-Control", "no-store");
    http_add_header(r, "Access-Control-Expose-Headers", EXPOSED);
    http_reply(r, 302, NULL, NULL, 0);
}

static void turn_away(struct http_request *r, const char *why)
{
    http_add_header(r, "Retry-After", RETRY_AFTER_S);
    http_add_header(r, "Cache-Control", "no-store");
    http_reply_error(r, 503, "%s", why);
}

/* 1 when it was answered, 0 when it has to wait. */
static int decide(struct station *s, struct http_request *r)
{
    char location[LOCATION_MAX] = "";
    int probe = http_method(r) == HTTP_HEAD;
    switch (s->conf.admit(s->conf.context, r, probe, location, sizeof location)) {
    case STATION_SERVE:
        serve(s, r);
        return 1;
    case STATION_REDIRECT:
        redirect(r, location);
        return 1;
    case STATION_FULL:
        turn_away(r, "no room for another listener");
        return 1;
    case STATION_WAIT:
        return 0;
    }
    return 0;
}

static void arm(struct station *s)
{
    const struct station_waiter *first = STAILQ_FIRST(&s->waiters);
    if (!first) {
        evtimer_del(s->timeout);
        return;
    }
    int64_t left_us = (first->until_ns - clock_boot_ns()) / 1000;
    if (left_us < 1000) left_us = 1000;
    struct timeval t = {left_us / 1000000, left_us % 1000000};
    evtimer_add(s->timeout, &t);
}

static void forget(struct station *s, struct station_waiter *w)
{
    STAILQ_REMOVE(&s->waiters, w, station_waiter, entry);
    s->waiting--;
    free(w);
}

static void on_gone(void *context)
{
    struct station_waiter *w = context;
    forget(w->station, w);
}

static void on_timeout(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct station *s = context;
    int64_t now = clock_boot_ns();
    struct station_waiter *w;
    while ((w = STAILQ_FIRST(&s->waiters)) && w->until_ns <= now) {
        struct http_request *r = w->request;
        forget(s, w);
        turn_away(r, "nothing to play yet");
    }
    arm(s);
}

static void on_stream(void *context, struct http_request *r)
{
    struct station *s = context;
    if (decide(s, r)) return;
    struct station_waiter *w = s->conf.wait_ms > 0 ? malloc(sizeof *w) : NULL;
    if (!w) {
        turn_away(r, "nothing to play yet");
        return;
    }
    *w = (struct station_waiter){
        .station = s, .request = r, .until_ns = clock_boot_ns() + s->conf.wait_ms * INT64_C(1000000)};
    STAILQ_INSERT_TAIL(&s->waiters, w, entry);
    s->waiting++;
    http_defer(r, on_gone, w);
    if (s->waiting == 1) arm(s);
}

void station_wake(struct station *s)
{
    if (s->waking) { /* from within an admission: looks once more */
        s->woken_again = 1;
        return;
    }
    s->waking = 1;
    do {
        s->woken_again = 0;
        STAILQ_HEAD(, station_waiter) asking = STAILQ_HEAD_INITIALIZER(asking);
        STAILQ_CONCAT(&asking, &s->waiters);
        struct station_waiter *w;
        while ((w = STAILQ_FIRST(&asking))) {
            STAILQ_REMOVE_HEAD(&asking, entry);
            if (decide(s, w->request)) {
                s->waiting--;
                free(w);
            } else {
                STAILQ_INSERT_TAIL(&s->waiters, w, entry);
            }
        }
    } while (s->woken_again);
    s->waking = 0;
    arm(s);
}

void station_set_identity(struct station *s, const struct station_identity *identity)
{
    s->conf.identity = *identity;
}

unsigned station_waiting(const struct station *s)
{
    return s->waiting;
}

uint64_t station_peak(const struct station *s)
{
    return s->peak;
}

/* The main mount's routes stand for those of every mount. */
#define MOUNT_ROUTES 3
static const struct http_route stream_routes[MOUNT_ROUTES] = {
    {HTTP_GET | HTTP_HEAD, "/stream.mp3", on_stream, 1,
     "the stream; ICY metadata on request, ?from=FRAME resumes"},
    {HTTP_GET, "/stream.m3u", station_on_m3u, 1, "playlist with the stream's address"},
    {HTTP_GET, "/stream.pls", station_on_pls, 1, "the same, as PLS"},
};
static const struct http_route main_routes[] = {
    {HTTP_GET, "/status-json.xsl", station_on_status, 1, "what Icecast says about its mounts"},
    {HTTP_GET, "/health", station_on_health, 1, "200 when the node is well, else 503 with the reason"},
};

/* Counters keep a route's path for as long as the program runs, so those of a mount are never freed. */
static const struct http_route *routes_of(const char *mount)
{
    static struct named {
        struct named *next;
        char *mount;
        struct http_route routes[MOUNT_ROUTES];
    } * known;
    if (!strcmp(mount, "stream")) return stream_routes;
    struct named *n = known;
    while (n && strcmp(n->mount, mount))
        n = n->next;
    if (n) return n->routes;
    n = xcalloc(1, sizeof *n);
    n->mount = xstrdup(mount);
    memcpy(n->routes, stream_routes, sizeof n->routes);
    for (int i = 0; i < MOUNT_ROUTES; i++)
        n->routes[i].path = xasprintf("/%s%s", mount, strrchr(stream_routes[i].path, '.'));
    n->next = known;
    known = n;
    return n->routes;
}

struct station *station_new(struct event_base *base, struct http_server *http, struct ring *ring,
                            struct fanout *fanout, const struct station_conf *conf)
{
    struct station *s = xcalloc(1, sizeof *s);
    s->http = http;
    s->ring = ring;
    s->fanout = fanout;
    s->conf = *conf;
    s->started_wall_ns = clock_wall_ns();
    STAILQ_INIT(&s->waiters);
    s->timeout = evtimer_new(base, on_timeout, s);
    s->mount = conf->mount ? conf->mount : "stream";
    s->routes = routes_of(s->mount);
    LIST_INIT(&s->further);
    http_server_routes(http, s->routes, MOUNT_ROUTES, s);
    if (conf->main)
        LIST_INSERT_HEAD(&conf->main->further, s, sibling);
    else
        http_server_routes(http, main_routes, sizeof main_routes / sizeof *main_routes, s);
    return s;
}

void station_free(struct station *s)
{
    if (!s) return;
    http_server_unroute(s->http, s->routes, s);
    if (s->conf.main)
        LIST_REMOVE(s, sibling);
    else
        http_server_unroute(s->http, main_routes, s);
    struct station_waiter *w;
    while ((w = STAILQ_FIRST(&s->waiters))) {
        struct http_request *r = w->request;
        forget(s, w);
        turn_away(r, "the station is closing");
    }
    event_free(s->timeout);
    free(s);
}
