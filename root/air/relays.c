/* relays: what relays ask of the root (docs/PROTOCOL.md), and who is served here or sent to one. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link_query.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/feed.h"
#include "root/air/air.h"
#include "root/air/fleet.h"
#include "root/air/geo.h"
#include "root/air/icecast_poll.h"
#include "root/air/link_listen.h"
#include "root/air/router.h"

#define LINKS_MAX     1024
#define REPORT_MAX    16384
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

/* It came in where relays link, and so over TLS with the station's own key. */
static int is_door(const struct air *air, const struct http_request *request)
{
    return air->door && http_request_server(request) == link_listen_server(air);
}

/* 1 when the request may go on (*entry: of whom; NULL: whoever has the token of relay-token-file); else it
 * was answered. A credential counts at the link listener, and over loopback at any. */
static int let_in(struct air *air, struct http_request *request, const struct roster_entry **entry)
{
    const char *given = http_header(request, "authorization"), *secret = air->options->relay_token;
    int near = http_peer_is_loopback(request), door = is_door(air, request), revoked;
    *entry = NULL;
    if (!given || strncasecmp(given, "Bearer ", 7)) {
        http_add_header(request, "WWW-Authenticate", "Bearer");
        http_reply_error(request, 401, "a bearer token is needed");
        return 0;
    }
    given += 7;
    if (!near && !door) {
        http_reply_error(request, 403,
                         "relays are let in over loopback, and at the link listener, whose key they know");
    } else if ((*entry = roster_authenticate(fleet_roster(air->fleet), given, &revoked))) {
        return 1;
    } else if (revoked) {
        http_reply_error(request, 403, "this relay's credential was revoked");
    } else if (near && secret && same_secret(given, secret)) {
        return 1;
    } else {
        fleet_warn(air->fleet, request, "wrong token");
        http_reply_error(request, 403, "this root knows no such relay%s",
                         near && !secret ? ", and has no relay-token-file" : "");
    }
    air->reports_refused++;
    return 0;
}

static void on_link(void *context, struct http_request *request)
{
    struct air *air = context;
    struct link_query query;
    const char *why = NULL;
    const struct roster_entry *entry;
    if (!let_in(air, request, &entry)) return;
    int status = link_query_read(request, &query, &why);
    struct mount *mount = status ? NULL : mounts_find(air->mounts, query.mount);
    if (!status && !mount) {
        status = 404;
        why = "no such mount";
    }
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
    if (!status && mount_want(mount, query.ask.back_s)) {
        status = 503;
        why = "this mount can't be woken now";
    }
    if (status) {
        if (status == 503) http_add_header(request, "Retry-After", "1");
        http_reply_error(request, status, "%s", why);
        return;
    }
    log_info("relays", "link of %s to %s%s%s", mount->spec.name, entry ? entry->terms.name : "",
             entry ? " at " : "", http_peer(request));
    air->links_started++;
    query.ask.peer = fleet_link(air->fleet, entry, mount->link);
    if (!link_door_give(mount->link, request, &query.ask)) return;
    log_warn("relays", "a link could not be set up");
    fleet_link_ended(air->fleet, query.ask.peer);
}

void relays_link_ended(void *context, void *peer)
{
    struct air *air = context;
    log_info("relays", "a link ended");
    fleet_link_ended(air->fleet, peer);
}

/* A relay says how fast it wants its link to fill: no faster than what airs when nobody listens there. */
static void on_pace(void *context, struct http_request *request)
{
    struct air *air = context;
    char id[LINK_ID_MAX];
    double times;
    const struct roster_entry *entry;
    if (!let_in(air, request, &entry)) return;
    if (link_query_pace(request, id, &times)) {
        http_reply_error(request, 400, "link must be an id of 16 hex digits, and fill 1 or 2");
        return;
    }
    for (size_t i = 0; i < mounts_count(air->mounts); i++) {
        if (link_server_pace(mounts_at(air->mounts, i)->link, id, times)) continue;
        http_reply(request, 200, NULL, NULL, 0);
        return;
    }
    http_reply_error(request, 404, "no such link");
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

/* The credential says who it is. 0, or -1 with *cause when the report says otherwise. */
static int check_name(const struct roster_entry *entry, const json_t *report, char **cause)
{
    const char *name = json_str_or(report, "name", "", NULL);
    if (!entry || !strcmp(name, entry->terms.name)) return 0;
    return cause_set(cause, "this is the credential of %s, but the report is of \"%.64s\"", entry->terms.name,
                     name);
}

static void on_report(void *context, struct http_request *request)
{
    struct air *air = context;
    const struct roster_entry *entry;
    if (!let_in(air, request, &entry)) return;
    size_t len;
    const void *text = http_body(request, &len);
    char *cause = NULL;
    json_t *report = json_parse(text, len, REPORT_MAX, &cause);
    int news = report && !check_name(entry, report, &cause)
                   ? registry_report(air->registry, entry ? entry->terms.name : NULL, report, clock_boot_ns(),
                                     &cause)
                   : -1;
    if (news > 0 && entry) fleet_reported(air->fleet, entry, report);
    char *public_url = news < 0 ? NULL : xstrdup(json_str_or(report, "public_url", "", NULL));
    const char *name = entry ? entry->terms.name : json_str_or(report, "name", "", NULL);
    json_t *ledger = news < 0 ? NULL : feed_report(air->feed, name, news ? report : NULL);
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
    if (ledger) json_object_set_new(answer, "ledger", ledger);
    if (entry) fleet_answer(air->fleet, entry, is_door(air, request), answer);
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

/* An Icecast server of the operator's, which carries the mount on. There is room for it, as for a relay's
 * link. */
static int may_carry(const struct air *air, const struct http_request *request, const char *agent)
{
    return mounts_links(air->mounts) < LINKS_MAX &&
           icecast_poll_pulls(air->icecasts, http_peer_addr(request), agent);
}

enum station_verdict relays_admit_to(struct air *air, struct mount *mount, struct http_request *request,
                                     enum station_asking asking, char *location, size_t size)
{
    int probe = asking != STATION_GET;
    const struct options *o = air->options;
    if (!air_has_music(air)) return STATION_WAIT;
    /* who was sent here by a relay stays: one hop, and one more from a relay that can't */
    const char *agent = http_header(request, "user-agent");
    if (asking == STATION_GET && may_carry(air, request, agent)) {
        enum station_verdict served = serve_from(mount, request, asking);
        return served == STATION_SERVE ? STATION_CARRY : served;
    }
    int stays = station_agent_stays(agent) || station_hops(request) > 0;
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

void relays_routes(struct air *air, struct http_server *http)
{
    static const struct http_route routes[] = {
        {HTTP_GET | HTTP_RESERVED, "/link", on_link, 0, "the programme for a relay (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/link/pace", on_pace, 0, "how fast a link fills (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/api/relay/report", on_report, 0,
         "how a relay fares (docs/PROTOCOL.md)"},
    };
    http_server_routes(http, routes, sizeof routes / sizeof *routes, air);
}
