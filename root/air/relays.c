/* relays: what relays ask of the root (docs/PROTOCOL.md): the link, and answers to their reports. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/json_flat.h"
#include "common/json_write.h"
#include "common/link_query.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/sampler.h"
#include "root/air/air.h"
#include "root/air/fleet.h"
#include "root/air/link_listen.h"
#include "root/air/loops.h"
#include "root/air/tree_talk.h"

#define REPORT_MAX        16384
#define REPORT_VALUES_MAX 1024
#define STREAM_URL_MAX    1024
#define SPENT_DRAIN_S     60 /* what is left of an allotment then carries them for longer */
#define ELSEWHERE_MAX     3  /* relays told to a relay that may have to send listeners on */

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
    if (!status && mounts_links(air->mounts) >= AIR_LINKS_MAX) {
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

static void on_loop(void *context, struct http_request *request)
{
    struct air *air = context;
    const struct roster_entry *entry;
    if (let_in(air, request, &entry)) loops_reply(air->mounts, request);
}

static void tell_stream(struct json_write *answer, const char *base)
{
    char url[STREAM_URL_MAX];
    if (snprintf(url, sizeof url, "%s/stream.mp3", base) < (int)sizeof url) json_write_str(answer, NULL, url);
}

/* Where a relay that is full or drains sends its listeners on to: others with room, then the root, which is
 * named but sent nobody as long as there are others. */
static void tell_elsewhere(const struct air *air, const struct registry_view *relay, int64_t now_ns,
                           struct json_write *answer)
{
    const char *urls[ELSEWHERE_MAX], *own = air->options->public_url;
    unsigned rooms[ELSEWHERE_MAX];
    int secure = !strncasecmp(relay->url, "https:", 6);
    size_t n = registry_others(air->registry, relay->name, secure, (uint64_t)now_ns, now_ns, urls, rooms,
                               ELSEWHERE_MAX);
    uint64_t listening = mounts_listening(air->mounts), most = (uint64_t)air->options->max_listeners;
    int here = own && (!strncasecmp(own, "https:", 6)) == secure && listening < most;
    json_write_open(answer, "elsewhere", '[');
    for (size_t i = 0; i < n; i++)
        tell_stream(answer, urls[i]);
    if (here) tell_stream(answer, own);
    json_write_close(answer, ']');
    json_write_open(answer, "elsewhere_room", '[');
    for (size_t i = 0; i < n; i++)
        json_write_int(answer, NULL, rooms[i]);
    if (here) json_write_int(answer, NULL, n ? 0 : 1 + (int64_t)(most - listening) / REGISTRY_ROOM_SHARE);
    json_write_close(answer, ']');
}

/* entry NULL: it is not on the list; news NULL: the report was an old one. */
static void answer(struct air *air, const struct roster_entry *entry, const char *name,
                   const struct json_flat *news, int private, struct json_write *out)
{
    struct registry_view relay;
    int64_t now_ns = clock_boot_ns();
    json_write_begin(out);
    json_write_open(out, NULL, '{');
    json_write_bool(out, "ok", 1);
    json_write_int(out, "interval_s", REGISTRY_INTERVAL_S);
    json_write_int(out, "kbps", ring_kbps(air->ring));
    loops_tell(air->mounts, out);
    sampler_report(air->sampler, name, news, out);
    if (!registry_find(air->registry, name, now_ns, &relay)) tell_elsewhere(air, &relay, now_ns, out);
    registry_ticket_write(air->registry, name, now_ns, out);
    if (news) tree_talk_heard(air->tree_talk, entry, news, out);
    if (entry) fleet_answer(air->fleet, entry, private, out);
    /* the operator's own word on draining goes first */
    int spent = registry_is_spent(air->registry, name, now_ns);
    if (spent && !(entry && entry->terms.drained)) {
        json_write_open(out, "drain", '{');
        json_write_int(out, "deadline_s", SPENT_DRAIN_S);
        json_write_close(out, '}');
    }
    int deadline_s = 0;
    unsigned too_many = registry_too_many(air->registry, name, now_ns, &deadline_s);
    if (too_many) {
        json_write_open(out, "move", '{');
        json_write_int(out, "listeners", too_many);
        json_write_int(out, "deadline_s", deadline_s);
        json_write_close(out, '}');
    }
    json_write_close(out, '}');
}

/* The credential says who it is, and who is on the list has one. 0, or -1 with *cause when the report says
 * otherwise. */
static int check_name(const struct air *air, const struct roster_entry *entry, const struct json_flat *report,
                      char **cause)
{
    const char *name = json_flat_str_or(report, "name", "", NULL);
    if (!entry && roster_find(fleet_roster(air->fleet), name))
        return cause_set(cause, "%s is on the list, and known by its credential", name);
    if (!entry || !strcmp(name, entry->terms.name)) return 0;
    return cause_set(cause, "this is the credential of %s, but the report is of \"%.64s\"", entry->terms.name,
                     name);
}

static void on_report(void *context, struct http_request *request)
{
    static char text[REPORT_MAX + 1];
    static struct json_flat report[REPORT_VALUES_MAX];
    static struct json_write out;
    struct air *air = context;
    const struct roster_entry *entry;
    if (!let_in(air, request, &entry)) return;
    size_t len;
    const void *body = http_body(request, &len);
    char *cause = NULL;
    int news = -1;
    if (len > REPORT_MAX) {
        cause_set(&cause, "a report of %zu bytes, at most %d are taken", len, REPORT_MAX);
    } else {
        memcpy(text, body, len);
        if (!json_flat_read(text, len, report, REPORT_VALUES_MAX, &cause) &&
            !check_name(air, entry, report, &cause))
            news = registry_report(air->registry, entry ? entry->terms.name : NULL, report, clock_boot_ns(),
                                   &cause);
    }
    if (news < 0) {
        air->reports_refused++;
        http_reply_error(request, 400, "%s", cause);
        free(cause);
        return;
    }
    air->reports++;
    if (news && entry) fleet_reported(air->fleet, entry, report);
    answer(air, entry, entry ? entry->terms.name : json_flat_str_or(report, "name", "", NULL),
           news ? report : NULL, is_door(air, request), &out);
    http_reply(request, 200, "application/json", out.text, out.len);
}

void relays_routes(struct air *air, struct http_server *http)
{
    static const struct http_route routes[] = {
        {HTTP_GET | HTTP_RESERVED, "/link", on_link, 0, "the programme for a relay (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/link/pace", on_pace, 0, "how fast a link fills (docs/PROTOCOL.md)"},
        {HTTP_GET | HTTP_RESERVED, "/link/loop", on_loop, 0,
         "what a relay plays when there is no programme (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/api/relay/report", on_report, 0,
         "how a relay fares (docs/PROTOCOL.md)"},
    };
    http_server_routes(http, routes, sizeof routes / sizeof *routes, air);
}
