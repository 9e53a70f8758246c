#include "root/air/enrolment.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/http.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/attempts.h"
#include "root/air/fleet.h"

#define BODY_MAX 8192

/* Somebody who waits for the call to his address. */
struct wait {
    LIST_ENTRY(wait) next;
    struct enrolment *enrolment;
    struct http_request *request;
    char name[ENROL_NAME_MAX + 1];
};

struct enrolment {
    struct fleet *fleet;
    struct attempts *attempts;
    LIST_HEAD(, wait) waits;
};

static double wall_s(void)
{
    return (double)clock_wall_ns() / 1e9;
}

static void reply(struct http_request *request, json_t *body)
{
    char *text = json_text(body);
    http_add_header(request, "Cache-Control", "no-store");
    http_reply(request, 200, "application/json", text, strlen(text));
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    json_decref(body);
}

/* 1 when it may go on; else it was answered. */
static int may_try(struct enrolment *e, struct http_request *request)
{
    unsigned wait_s = attempts_take(e->attempts, http_peer_addr(request), clock_boot_ns());
    char text[16];
    if (!wait_s) return 1;
    snprintf(text, sizeof text, "%u", wait_s);
    http_add_header(request, "Retry-After", text);
    http_reply_error(request, 429, "too many attempts: try again in %u s", wait_s);
    return 0;
}

void enrolment_warn(struct enrolment *e, const struct http_request *request, const char *why)
{
    if (attempts_log(e->attempts, http_peer_addr(request), clock_boot_ns()))
        log_warn("relays", "%s was not let in: %s", http_peer(request), why);
}

static void refuse(struct enrolment *e, struct http_request *request, const char *why)
{
    enrolment_warn(e, request, why);
    http_reply_error(request, 403, "%s", why);
}

static const char *const exchange_words[] = {
    [ROSTER_UNKNOWN_TOKEN] =
        "this token is not known: it was replaced by a later one, or is of another station",
    [ROSTER_USED_TOKEN] = "this token was used already: \"forever-root ctl relay invite NAME\" makes another "
                          "one; if it was not you "
                          "who used it, revoke the relay",
    [ROSTER_EXPIRED_TOKEN] =
        "this token has expired: \"forever-root ctl relay invite NAME\" makes another one",
};

static void on_enrol(void *context, struct http_request *request)
{
    struct enrolment *e = context;
    size_t len;
    const void *text = http_body(request, &len);
    char credential[ENROL_SECRET_TEXT], *cause = NULL;
    const struct roster_entry *entry = NULL;
    if (!may_try(e, request)) return;
    json_t *ask = json_parse(text, len, BODY_MAX, NULL);
    int bad = 0;
    const char *secret = json_str_or(ask, "secret", "", &bad), *name = json_str_or(ask, "name", "", &bad);
    if (!json_is_object(ask) || bad || !*secret || !*name) {
        http_reply_error(request, 400, "secret and name must be there");
        json_decref(ask);
        return;
    }
    enum roster_exchange got = roster_exchange(fleet_roster(e->fleet), secret,
                                               clock_wall_ns() / CLOCK_NS_PER_S, credential, &entry, &cause);
    switch (got) {
    case ROSTER_ENROLLED:
        attempts_refund(e->attempts, http_peer_addr(request), clock_boot_ns());
        fleet_close_links(e->fleet, entry->terms.name); /* by a credential that has ended */
        log_info("relays", "%s has enrolled, from %s", entry->terms.name, http_peer(request));
        reply(request, json_pack("{s:b,s:s,s:s,s:f}", "ok", 1, "name", entry->terms.name, "credential",
                                 credential, "clock", wall_s()));
        OPENSSL_cleanse(credential, sizeof credential);
        break;
    case ROSTER_NOT_WRITTEN:
        log_error("relays", "%s can't enrol: %s", entry->terms.name, cause);
        http_reply_error(request, 503, "the root can't write its list; the token is as good as before");
        break;
    default:
        refuse(e, request, exchange_words[got]);
    }
    free(cause);
    json_decref(ask);
}

static void wait_free(struct wait *w)
{
    LIST_REMOVE(w, next);
    free(w);
}

static void on_called(void *context, const struct dial_result *result)
{
    struct wait *w = context;
    reply(w->request, json_pack("{s:b,s:b,s:s,s:f,s:o}", "ok", 1, "reachable", result->reached, "words",
                                result->words, "clock", wall_s(), "ahead_s", json_finite(result->ahead_s)));
    wait_free(w);
}

static void on_cancelled(void *context)
{
    struct wait *w = context;
    struct fleet *fleet = w->enrolment->fleet;
    const struct roster_entry *entry = roster_find(fleet_roster(fleet), w->name);
    if (entry) reach_unask(fleet_reach(fleet), entry, w);
    wait_free(w);
}

static void on_check(void *context, struct http_request *request)
{
    struct enrolment *e = context;
    size_t len;
    const void *text = http_body(request, &len);
    const char *given = http_header(request, "authorization");
    char *cause = NULL;
    if (!may_try(e, request)) return;
    const struct roster_entry *entry = given && !strncasecmp(given, "Bearer ", 7)
                                           ? roster_authenticate(fleet_roster(e->fleet), given + 7, NULL)
                                           : NULL;
    if (!entry) {
        refuse(e, request, "this root knows no such credential");
        return;
    }
    attempts_refund(e->attempts, http_peer_addr(request), clock_boot_ns());
    json_t *ask = json_parse(text, len, BODY_MAX, NULL);
    struct wait *w = xcalloc(1, sizeof *w);
    w->enrolment = e;
    w->request = request;
    memcpy(w->name, entry->terms.name, sizeof w->name);
    LIST_INSERT_HEAD(&e->waits, w, next);
    if (reach_ask(fleet_reach(e->fleet), entry, json_str_or(ask, "public_url", "", NULL), on_called, w,
                  &cause)) {
        http_reply_error(request, 400, "%s", cause);
        free(cause);
        wait_free(w);
    } else {
        http_defer(request, on_cancelled, w);
    }
    json_decref(ask);
}

struct enrolment *enrolment_new(struct fleet *fleet)
{
    struct enrolment *e = xcalloc(1, sizeof *e);
    e->fleet = fleet;
    e->attempts = attempts_new(ATTEMPTS_IN_ALL);
    LIST_INIT(&e->waits);
    return e;
}

void enrolment_free(struct enrolment *e)
{
    if (!e) return;
    for (struct wait *w = LIST_FIRST(&e->waits), *after; w; w = after) {
        after = LIST_NEXT(w, next);
        free(w);
    }
    attempts_free(e->attempts);
    free(e);
}

void enrolment_routes(struct enrolment *e, struct http_server *door)
{
    static const struct http_route routes[] = {
        {HTTP_POST | HTTP_RESERVED, "/api/relay/enrol", on_enrol, 0,
         "a token for a relay's credential (docs/PROTOCOL.md)"},
        {HTTP_POST | HTTP_RESERVED, "/api/relay/check", on_check, 0,
         "calls a relay back at its address (docs/PROTOCOL.md)"},
    };
    http_server_routes(door, routes, sizeof routes / sizeof *routes, e);
}
