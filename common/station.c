#include "common/station_internal.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"

#define LOCATION_MAX  1024
#define TAIL_SLACK_S  2
#define RETRY_AFTER_S 10

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

/* Who is let in */

int station_resumes(const struct http_request *r)
{
    struct station_ask ask;
    station_request_ask(r, &ask);
    return ask.offset > 0;
}

int station_hops(const struct http_request *r)
{
    char text[8];
    const char *value = http_query_get(r, "hop", text, sizeof text);
    int hops = value ? atoi(value) : 0;
    return hops < 0 ? 0 : hops > STATION_HOPS_MAX ? STATION_HOPS_MAX : hops;
}

static void send_away(struct http_request *r, const char *location)
{
    http_add_header(r, "Location", location);
    http_add_header(r, "Cache-Control", "no-store");
    http_add_header(r, "Access-Control-Expose-Headers", STATION_EXPOSED);
    http_reply(r, 302, NULL, NULL, 0);
}

/* To an address without query. */
static void redirect(struct http_request *r, const char *location, const char *query)
{
    char *target = xasprintf("%s?%s", location, query);
    send_away(r, target);
    free(target);
}

const char *station_location_ticket(const char *location)
{
    const char *ticket = strstr(location, "?ticket=");
    return ticket ? ticket + strlen("?ticket=") : NULL;
}

/* To another node, which is told how many have sent it on before. */
static void send_on(const struct station *s, struct http_request *r, const char *location)
{
    char hop[12];
    snprintf(hop, sizeof hop, "%d",
             station_hops(r) < STATION_HOPS_MAX ? station_hops(r) + 1 : STATION_HOPS_MAX);
    char *hopped = station_query_set(http_query(r), "hop", hop), *target = station_elsewhere_url(s, location);
    /* the one it came with is of use at this node alone */
    char *query = station_query_set(hopped, "ticket", station_location_ticket(location));
    redirect(r, target, query);
    free(target);
    free(hopped);
    free(query);
}

/* A first request for what is not held (any more, or yet) is told what is, so that the address that the
 * player keeps names the bytes it gets: then it can resume. 1 when it was answered. */
static int correct(struct station *s, struct http_request *r)
{
    struct station_ask ask;
    char text[24];
    station_request_ask(r, &ask);
    if (!ask.has_from || ask.offset || http_query_get(r, "nearest", text, sizeof text) ||
        station_agent_stays(http_header(r, "User-Agent")))
        return 0;
    uint64_t byte = station_first_byte(s, &ask);
    if (byte == station_ask_byte(&ask, ring_kbps(s->ring))) return 0;
    uint64_t position = mp3_frame_at(ring_kbps(s->ring), byte), air = station_air(s);
    if (position > ask.from) position += station_frames(TAIL_SLACK_S); /* the tail moves on meanwhile */
    snprintf(text, sizeof text, "%llu", (unsigned long long)(position < air ? position : air));
    /* relative, so that whatever stands before this node may have its own name for it */
    char *from = station_query_set(http_query(r), "from", text);
    char *query = station_query_set(from, "nearest", "1");
    redirect(r, http_path(r), query);
    free(query);
    free(from);
    return 1;
}

/* The programme is missing and the loop plays. One that goes on with what it had waits: it is not to get
 * other bytes in their place. */
static int missing(struct station *s, const struct http_request *r)
{
    return station_resumes(r) && fanout_loops(s->fanout);
}

/* One that begins hears the loop, at the address of those who do not count bytes. 1 when it was answered. */
static int to_loop(struct station *s, struct http_request *r)
{
    struct station_ask ask;
    station_request_ask(r, &ask);
    if (!ask.has_from || !fanout_loops(s->fanout)) return 0;
    char *nearest = station_query_set(http_query(r), "nearest", NULL);
    char *query = station_query_set(nearest, "from", NULL);
    redirect(r, http_path(r), query);
    free(query);
    free(nearest);
    return 1;
}

static void refuse(struct http_request *r, int status, unsigned retry_s, const char *why)
{
    char text[16];
    snprintf(text, sizeof text, "%u", retry_s);
    http_add_header(r, "Retry-After", text);
    http_add_header(r, "Cache-Control", "no-store");
    http_add_header(r, "Access-Control-Expose-Headers", STATION_EXPOSED);
    http_reply_error(r, status, "%s", why);
}

void station_turn_away(struct http_request *r, const char *why)
{
    refuse(r, 503, RETRY_AFTER_S, why);
}

enum limits_verdict station_room(const struct station *s, const struct http_request *r)
{
    if (!s->conf.gate) return LIMITS_OK;
    return gate_judge(s->conf.gate, s->mount, ring_kbps(s->ring), r, station_spare(s, r));
}

void station_refuse(const struct station *s, struct http_request *r, enum limits_verdict verdict)
{
    int personal = limits_is_personal(verdict), status = personal ? 429 : 503;
    const char *why = verdict == LIMITS_OTHER ? "no listener is taken now"
                      : personal              ? "too many listeners from this address"
                                              : "no room for another listener";
    unsigned retry_s = RETRY_AFTER_S;
    if (s->conf.gate && http_method(r) != HTTP_HEAD)
        status = gate_refuse(s->conf.gate, verdict, why, &retry_s);
    refuse(r, status, retry_s, why);
}

void station_refuse_full(const struct station *s, struct http_request *r)
{
    enum limits_verdict room = station_room(s, r);
    station_refuse(s, r, s->conf.gate && room == LIMITS_OK ? LIMITS_OTHER : room);
}

/* A 503 ends the playing for good, a broken connection is tried again: so who resumes, and may be served
 * soon, is cut. */
static void put_off(struct http_request *r, const char *why)
{
    struct station_ask ask;
    station_request_ask(r, &ask);
    if (!ask.offset || http_method(r) == HTTP_HEAD) {
        station_turn_away(r, why);
        return;
    }
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = http_detach(r);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* 1 when it was answered, 0 when it has to wait. */
static int decide_stream(struct station *s, struct http_request *r)
{
    char location[LOCATION_MAX] = "";
    enum station_asking asking = http_method(r) == HTTP_HEAD ? STATION_HEAD : STATION_GET;
    switch (s->conf.admit(s->conf.context, r, asking, location, sizeof location)) {
    case STATION_SERVE:
        if (missing(s, r)) return 0;
        if (!to_loop(s, r) && !correct(s, r)) station_serve(s, r, 0);
        return 1;
    case STATION_CARRY:
        station_serve(s, r, 1);
        return 1;
    case STATION_REDIRECT:
        send_on(s, r, location);
        return 1;
    case STATION_AWAY:
        send_away(r, location);
        return 1;
    case STATION_FULL:
        station_refuse_full(s, r);
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
        put_off(r, "nothing to play yet");
    }
    arm(s);
}

void station_answer(struct station *s, struct http_request *r, enum station_asking asking,
                    int (*decide)(struct station *s, struct http_request *r))
{
    if (decide(s, r)) return;
    struct station_waiter *w = s->conf.wait_ms > 0 ? malloc(sizeof *w) : NULL;
    if (!w) {
        put_off(r, "nothing to play yet");
        return;
    }
    *w = (struct station_waiter){.station = s,
                                 .request = r,
                                 .decide = decide,
                                 .until_ns = clock_boot_ns() + s->conf.wait_ms * INT64_C(1000000),
                                 .burst_s = station_burst_s(r, asking)};
    STAILQ_INSERT_TAIL(&s->waiters, w, entry);
    s->waiting++;
    http_defer(r, on_gone, w);
    if (s->waiting == 1) arm(s);
}

struct station_waiter *station_part(struct station *s)
{
    struct station_waiter *first = STAILQ_FIRST(&s->waiters);
    STAILQ_INIT(&s->waiters);
    s->waiting = 0;
    return first;
}

void station_take_over(struct station *s, struct station_waiter *w)
{
    for (struct station_waiter *next; w; w = next) {
        next = STAILQ_NEXT(w, entry);
        if (s) {
            w->station = s;
            STAILQ_INSERT_TAIL(&s->waiters, w, entry);
            s->waiting++;
        } else {
            put_off(w->request, "the station is closing");
            free(w);
        }
    }
    if (s) arm(s);
}

static void on_stream(void *context, struct http_request *r)
{
    station_answer(context, r, STATION_GET, decide_stream);
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
            if (w->decide(s, w->request)) {
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

void station_set_main(struct station *further, struct station *main)
{
    if (further->conf.main) LIST_REMOVE(further, sibling);
    further->conf.main = main;
    LIST_INSERT_HEAD(&main->further, further, sibling);
}

void station_set_identity(struct station *s, const struct station_identity *identity)
{
    s->conf.identity = *identity;
}

unsigned station_waiting(const struct station *s)
{
    return s->waiting;
}

double station_burst_s(const struct http_request *r, enum station_asking asking)
{
    struct station_ask ask;
    station_request_ask(r, &ask);
    if (ask.burst_s >= 0) return ask.burst_s;
    return asking == STATION_LISTEN ? STATION_LISTEN_BURST_S : 0;
}

double station_waiting_burst_s(const struct station *s)
{
    const struct station_waiter *w;
    double most = 0;
    STAILQ_FOREACH(w, &s->waiters, entry)
    {
        if (w->burst_s > most) most = w->burst_s;
    }
    return most;
}

uint64_t station_peak(const struct station *s)
{
    return s->peak;
}

/* The main mount's routes stand for those of every mount. */
#define MOUNT_ROUTES 4
static const struct http_route stream_routes[MOUNT_ROUTES] = {
    {HTTP_GET | HTTP_HEAD, "/stream.mp3", on_stream, 1,
     "the stream; ICY metadata on request; ?from=FRAME can be resumed"},
    {HTTP_GET, "/stream.m3u", station_on_m3u, 1, "playlist with the stream's address"},
    {HTTP_GET, "/stream.pls", station_on_pls, 1, "the same, as PLS"},
    {HTTP_GET, "/stream.xspf", station_on_xspf, 1, "the same, as XSPF"},
};
static const struct http_route main_routes[] = {
    {HTTP_GET, "/api/listen", station_on_listen, 1, "where to listen, and the address that can be resumed"},
    {HTTP_GET, "/api/sync", station_on_sync, 1, "where a listener is in the programme"},
    {HTTP_GET, "/status-json.xsl", station_on_status, 1, "what Icecast says about its mounts"},
    {HTTP_GET | HTTP_RESERVED, "/health", station_on_health, 1,
     "200 when the node is well, else 503 with the reason"},
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
    if (conf->gate) fanout_on_ended(fanout, gate_on_ended, conf->gate);
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
    http_server_unroute(s->http, main_routes, s);
    if (s->conf.main) LIST_REMOVE(s, sibling);
    struct station *further;
    while ((further = LIST_FIRST(&s->further))) {
        LIST_REMOVE(further, sibling);
        further->conf.main = NULL;
    }
    struct station_waiter *w;
    while ((w = STAILQ_FIRST(&s->waiters))) {
        struct http_request *r = w->request;
        forget(s, w);
        put_off(r, "the station is closing");
    }
    event_free(s->timeout);
    free(s);
}
