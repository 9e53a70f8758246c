/* relays: what relays ask of the root (docs/PROTOCOL.md), and who is served here or sent to one. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/geo.h"
#include "root/air/router.h"

#define LINKS_MAX     1024
#define LINK_VERSION  1
#define REPORT_MAX    16384
#define STATION_HEX   32
#define LEAD_MAX_S    86400
#define BACK_MAX_S    30
#define ELSEWHERE_MAX 3 /* relays told to a relay that may have to send listeners on */
#define LOCATION_MAX  1024

/* Takes the same time wherever the two differ. */
static int same_secret(const char *given, const char *secret)
{
    size_t n = strlen(given), m = strlen(secret);
    volatile unsigned char differ = n != m;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(given[i] ^ secret[i % m]);
    return !differ;
}

/* 1 when the request may go on; else it was answered. */
static int let_in(struct air *air, struct http_request *request)
{
    const char *given = http_header(request, "authorization"), *secret = air->options->relay_token;
    if (!given || strncasecmp(given, "Bearer ", 7)) {
        http_add_header(request, "WWW-Authenticate", "Bearer");
        http_reply_error(request, 401, "a bearer token is needed");
        return 0;
    }
    if (!http_peer_is_loopback(request)) {
        http_reply_error(request, 403, "relays are let in over loopback only, since this is plain HTTP");
    } else if (!secret) {
        http_reply_error(request, 403, "this root has no relay-token-file");
    } else if (!same_secret(given + 7, secret)) {
        log_warn("relays", "wrong token from %s", http_peer(request));
        http_reply_error(request, 403, "wrong token");
    } else {
        return 1;
    }
    air->reports_refused++;
    return 0;
}

/* Decimal digits only, up to `end`. */
static int read_number(const char *text, char end, uint64_t max, uint64_t *out, const char **after)
{
    uint64_t n = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (n > (max - (uint64_t)(*c - '0')) / 10) return -1;
        n = n * 10 + (uint64_t)(*c - '0');
    }
    if (c == text || *c != end) return -1;
    *out = n;
    if (after) *after = end ? c + 1 : c;
    return 0;
}

struct link_ask {
    struct mount *mount;
    int has_from;
    uint64_t lead_s; /* 0: as much as there is */
    uint64_t back_s; /* before the air, without from */
    uint64_t branch, position;
    char station[STATION_HEX + 1];
};

/* 0; else the status, with *why. */
static int read_ask(struct air *air, const struct http_request *request, struct link_ask *ask,
                    const char **why)
{
    char text[64], station[64];
    uint64_t version = LINK_VERSION;
    if (http_query_get(request, "version", text, sizeof text) &&
        read_number(text, '\0', 1000000, &version, NULL)) {
        *why = "version must be a number";
        return 400;
    }
    if (version != LINK_VERSION) {
        *why = "this root speaks version 1 of the link";
        return 409;
    }
    const char *mount = http_query_get(request, "mount", text, sizeof text);
    ask->mount = mounts_find(air->mounts, mount ? mount : MOUNT_MAIN);
    if (!ask->mount) {
        *why = "no such mount";
        return 404;
    }
    if (http_query_get(request, "lead", text, sizeof text) &&
        (read_number(text, '\0', LEAD_MAX_S, &ask->lead_s, NULL) || !ask->lead_s)) {
        *why = "lead must be a whole number of seconds, up to a day";
        return 400;
    }
    if (http_query_get(request, "back", text, sizeof text) &&
        read_number(text, '\0', BACK_MAX_S, &ask->back_s, NULL)) {
        *why = "back must be a whole number of seconds, up to 30";
        return 400;
    }
    const char *from = http_query_get(request, "from", text, sizeof text), *rest;
    const char *id = http_query_get(request, "station", station, sizeof station);
    if (!from && !id) return 0;
    if (!from || !id || strlen(id) != STATION_HEX || strspn(id, "0123456789abcdef") != STATION_HEX) {
        *why = "from and station (32 hex digits) come together";
        return 400;
    }
    if (read_number(from, ',', UINT32_MAX, &ask->branch, &rest) ||
        read_number(rest, '\0', INT64_MAX, &ask->position, NULL)) {
        *why = "from must be BRANCH,POSITION";
        return 400;
    }
    ask->has_from = 1;
    memcpy(ask->station, id, sizeof ask->station);
    return 0;
}

static void on_link(void *context, struct http_request *request)
{
    struct air *air = context;
    struct link_ask ask = {0};
    const char *why = NULL;
    if (!let_in(air, request)) return;
    int status = read_ask(air, request, &ask, &why);
    if (!status && http_method(request) != HTTP_GET) {
        status = 405;
        why = "a link is asked for with GET";
    }
    if (!status && !air_has_music(air)) {
        status = 503;
        why = "no music yet";
    }
    if (!status && mounts_links(air->mounts) >= LINKS_MAX) {
        status = 503;
        why = "too many links";
    }
    if (!status && mount_want(ask.mount, (double)ask.back_s)) {
        status = 503;
        why = "this mount can't be woken now";
    }
    if (status) {
        if (status == 503) http_add_header(request, "Retry-After", "1");
        http_reply_error(request, status, "%s", why);
        return;
    }
    char *header = xasprintf("HTTP/1.1 200 OK\r\n%sContent-Type: application/x-forever-link\r\n"
                             "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                             http_common_headers(http_request_server(request)));
    struct link_server *link = ask.mount->link;
    log_info("relays", "link of %s to %s", ask.mount->spec.name, http_peer(request));
    int fd = http_detach(request);
    void *peer = (void *)(uintptr_t)++air->links_started; /* a tag of its own */
    if (link_server_add(link, fd, header, ask.has_from, (uint32_t)ask.branch, ask.position,
                        ask.has_from ? ask.station : NULL, (double)ask.back_s, peer))
        log_warn("relays", "a link could not be set up");
    else if (ask.lead_s)
        link_server_limit(link, peer, (double)ask.lead_s);
    free(header);
}

/* Where a relay that is full sends its listeners on to: others with room, then the root. */
static json_t *elsewhere_of(const struct air *air, const char *relay)
{
    json_t *list = json_array();
    char location[LOCATION_MAX];
    int secure = relay && !strncasecmp(relay, "https:", 6);
    const char *own = air->options->public_url;
    for (size_t i = 0; i < ELSEWHERE_MAX; i++) {
        if (registry_elsewhere(air->registry, relay, secure, clock_boot_ns(), i, location, sizeof location))
            break;
        json_array_append_new(list, json_string(location));
    }
    if (own && (!strncasecmp(own, "https:", 6)) == secure &&
        mounts_listening(air->mounts) < (uint64_t)air->options->max_listeners)
        json_array_append_new(list, json_sprintf("%s/stream.mp3", own));
    return list;
}

static void on_report(void *context, struct http_request *request)
{
    struct air *air = context;
    if (!let_in(air, request)) return;
    size_t len;
    const void *text = http_body(request, &len);
    char *cause = NULL;
    json_t *report = json_parse(text, len, REPORT_MAX, &cause);
    int news = report ? registry_report(air->registry, NULL, report, clock_boot_ns(), &cause) : -1;
    char *public_url = news < 0 ? NULL : xstrdup(json_str_or(report, "public_url", "", NULL));
    json_decref(report);
    if (news < 0) {
        air->reports_refused++;
        http_reply_error(request, 400, "%s", cause);
        free(cause);
        return;
    }
    air->reports++;
    json_t *answer = json_pack("{s:b,s:i,s:i,s:o,s:o}", "ok", 1, "interval_s", REGISTRY_INTERVAL_S, "kbps",
                               (int)ring_kbps(air->ring), "mounts", mounts_specs(air->mounts), "elsewhere",
                               elsewhere_of(air, public_url));
    char *body = json_text(answer);
    http_reply(request, 200, "application/json", body, strlen(body));
    free(body);
    json_decref(answer);
    free(public_url);
}

int relays_elsewhere(void *context, int secure, size_t i, char *location, size_t size)
{
    const struct air *air = context;
    return registry_elsewhere(air->registry, NULL, secure, clock_boot_ns(), i, location, size);
}

enum station_verdict relays_admit(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size)
{
    struct air *air = context;
    return relays_admit_to(air, mounts_at(air->mounts, 0), request, asking, location, size);
}

/* A place is there: and sound? */
static enum station_verdict serve_from(struct mount *mount, const struct http_request *request,
                                       enum station_asking asking)
{
    if (asking == STATION_HEAD) return STATION_SERVE;
    if (mount_want(mount, station_burst_s(request, asking))) return STATION_FULL;
    return mount_playable(mount) ? STATION_SERVE : STATION_WAIT;
}

enum station_verdict relays_admit_to(struct air *air, struct mount *mount, struct http_request *request,
                                     enum station_asking asking, char *location, size_t size)
{
    int probe = asking != STATION_GET;
    const struct options *o = air->options;
    if (!air_has_music(air)) return STATION_WAIT;
    /* who was sent here by a relay stays: one hop, and one more from a relay that can't */
    int stays = station_agent_stays(http_header(request, "user-agent")) || station_hops(request) > 0;
    int secure = http_secure(request);
    uint64_t listening = mounts_listening(air->mounts), random = 0;
    enum limits_verdict room = station_room(mount->station, request);
    if (limits_is_personal(room)) {
        air->refused += !probe;
        return STATION_FULL;
    }
    char region[GEO_REGION_MAX];
    geo_region(air->geo, http_peer_addr(request), region);
    uint64_t most = room == LIMITS_OK ? listening + 1 : listening;
    enum router_verdict verdict = router_admit(listening, (uint64_t)o->relay_limit, most, stays,
                                               registry_has_room(air->registry, secure, clock_boot_ns()));
    if (verdict == ROUTER_REDIRECT) {
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
            random = listening * 2654435761u;
        if (!registry_route(air->registry, random, probe, secure, clock_boot_ns(), location, size)) {
            air->redirects += !probe;
            if (!probe) geo_count(air->geo, region);
            return STATION_REDIRECT;
        }
        verdict = listening < most ? ROUTER_SERVE : ROUTER_FULL;
    }
    if (verdict == ROUTER_SERVE) {
        enum station_verdict served = serve_from(mount, request, asking);
        if (served == STATION_SERVE && !probe) geo_count(air->geo, region);
        return served;
    }
    air->refused += !probe;
    return STATION_FULL;
}

void relays_routes(struct air *air)
{
    static const struct http_route routes[] = {
        {HTTP_GET | HTTP_RESERVED, "/link", on_link, 0, "the programme for a relay (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/api/relay/report", on_report, 0,
         "how a relay fares (docs/PROTOCOL.md)"},
    };
    http_server_routes(air->http, routes, sizeof routes / sizeof *routes, air);
}
