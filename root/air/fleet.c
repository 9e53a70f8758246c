#include "root/air/overview.h"
#include "root/air/sampler.h"
#include "root/air/fleet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/air.h"
#include "root/air/enrolment.h"
#include "root/air/icecast_poll.h"
#include "root/air/tree_talk.h"

struct tag {
    LIST_ENTRY(tag) next;
    struct link_server *server;
    char name[TERMS_NAME_MAX + 1]; /* "": of nobody on the list */
};

struct fleet {
    struct air *air;
    struct roster *roster;
    struct reach *reach;
    struct enrolment *enrolment;
    LIST_HEAD(, tag) tags;
};

static int64_t now_s(void)
{
    return clock_wall_ns() / CLOCK_NS_PER_S;
}

struct roster *fleet_roster(struct fleet *fleet)
{
    return fleet->roster;
}

struct reach *fleet_reach(struct fleet *fleet)
{
    return fleet->reach;
}

/* Links */

void *fleet_link(struct fleet *fleet, const struct roster_entry *entry, struct link_server *server)
{
    struct tag *tag = xcalloc(1, sizeof *tag);
    tag->server = server;
    if (entry) memcpy(tag->name, entry->terms.name, sizeof tag->name);
    LIST_INSERT_HEAD(&fleet->tags, tag, next);
    return tag;
}

void fleet_link_ended(struct fleet *fleet, void *peer)
{
    (void)fleet;
    struct tag *tag = peer;
    LIST_REMOVE(tag, next);
    free(tag);
}

void fleet_close_links(struct fleet *fleet, const char *name)
{
    struct tag *tag, *after;
    for (tag = LIST_FIRST(&fleet->tags); tag; tag = after) {
        after = LIST_NEXT(tag, next);
        if (!strcmp(tag->name, name)) link_server_close_peer(tag->server, tag);
    }
}

/* The registry */

static void tell_registry(struct fleet *fleet, const struct roster_entry *e)
{
    struct registry *registry = fleet->air->registry;
    int icecast = e->kind == ROSTER_ICECAST;
    char *cause = NULL;
    struct reach_view reach;
    if (registry_enrol(registry, &e->terms, icecast ? e->url : NULL,
                       icecast ? REGISTRY_ICECAST : REGISTRY_FOREVER, clock_boot_ns(), &cause))
        log_error("relays", "%s", cause);
    free(cause);
    cause = NULL;
    if (icecast && icecast_poll_set(fleet->air->icecasts, e->terms.name, e->url, &cause))
        log_error("relays", "%s", cause);
    free(cause);
    if (icecast) return;
    int reached = e->uncalled || (reach_view(e, &reach) ? e->url != NULL : reach.reached);
    registry_set_reachable(registry, e->terms.name, reached && !e->revoked_s, clock_boot_ns());
}

static void on_changed(void *context, const struct roster_entry *e, int gone)
{
    struct fleet *fleet = context;
    if (gone || e->revoked_s) fleet_close_links(fleet, e->terms.name);
    if (gone || e->revoked_s) tree_talk_revoked(fleet->air->tree_talk, e->terms.name);
    if (gone || e->revoked_s || e->uncalled) reach_forget(fleet->reach, e);
    if (gone && e->kind == ROSTER_ICECAST) icecast_poll_drop(fleet->air->icecasts, e->terms.name);
    if (gone) {
        registry_unenrol(fleet->air->registry, e->terms.name);
        sampler_forget(fleet->air->sampler, e->terms.name);
    } else {
        tell_registry(fleet, e);
    }
}

static void on_reached(void *context, const struct roster_entry *e, int reached)
{
    struct fleet *fleet = context;
    registry_set_reachable(fleet->air->registry, e->terms.name, reached && !e->revoked_s, clock_boot_ns());
}

/* Life */

struct fleet *fleet_open(struct air *air, char **cause)
{
    struct fleet *fleet = xcalloc(1, sizeof *fleet);
    char *path = xasprintf("%s/%s", air->options->state, ROSTER_FILE);
    fleet->air = air;
    LIST_INIT(&fleet->tags);
    fleet->roster =
        roster_open(&(struct roster_conf){.path = path, .changed = on_changed, .context = fleet}, cause);
    free(path);
    if (!fleet->roster) {
        free(fleet);
        return NULL;
    }
    fleet->reach = reach_new(&(struct reach_conf){
        .base = air->base, .roster = fleet->roster, .told = on_reached, .context = fleet});
    fleet->enrolment = enrolment_new(fleet);
    for (size_t i = 0; i < roster_count(fleet->roster); i++)
        tell_registry(fleet, roster_at(fleet->roster, i));
    return fleet;
}

void fleet_free(struct fleet *fleet)
{
    if (!fleet) return;
    reach_free(fleet->reach);
    enrolment_free(fleet->enrolment);
    roster_free(fleet->roster);
    for (struct tag *tag = LIST_FIRST(&fleet->tags), *after; tag; tag = after) {
        after = LIST_NEXT(tag, next);
        free(tag);
    }
    free(fleet);
}

void fleet_routes(struct fleet *fleet, struct http_server *door)
{
    enrolment_routes(fleet->enrolment, door);
}

void fleet_tick(struct fleet *fleet)
{
    reach_tick(fleet->reach, clock_boot_ns());
    roster_tick(fleet->roster, now_s());
}

void fleet_warn(struct fleet *fleet, const struct http_request *request, const char *why)
{
    enrolment_warn(fleet->enrolment, request, why);
}

/* Reports */

void fleet_reported(struct fleet *fleet, const struct roster_entry *entry, const struct json_flat *report)
{
    reach_reported(fleet->reach, entry, json_flat_str_or(report, "public_url", "", NULL),
                   json_flat_str_or(report, "session", "", NULL), clock_boot_ns());
}

void fleet_answer(struct fleet *fleet, const struct roster_entry *entry, int credential,
                  struct json_write *answer)
{
    const char *next = credential ? roster_handover(fleet->roster, entry) : NULL;
    struct reach_view reach;
    if (next) json_write_str(answer, "credential", next);
    if (!entry->uncalled && !reach_view(entry, &reach) && reach.known && !reach.reached)
        json_write_str(answer, "unreachable", reach.words);
    if (!entry->terms.drained) return;
    int64_t left_s = entry->drain_until_s - now_s();
    json_write_open(answer, "drain", '{');
    if (entry->drain_until_s) json_write_int(answer, "deadline_s", left_s > 0 ? left_s : 0);
    json_write_close(answer, '}');
}

/* Views */

static const char *state_of(const struct roster_entry *e)
{
    if (e->kind == ROSTER_ICECAST) return "icecast";
    if (e->revoked_s) return "revoked";
    if (e->credential.set) return "enrolled";
    if (!e->token.set) return "waiting for an invitation";
    return now_s() < e->token_until_s ? "invited" : "its token has expired";
}

static void put_time(json_t *o, const char *member, int64_t s)
{
    json_object_set_new(o, member, s ? json_integer(s) : json_null());
}

json_t *fleet_json(struct fleet *fleet, const struct roster_entry *e)
{
    const struct relay_terms *t = &e->terms;
    struct registry_view seen;
    struct reach_view reach;
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:I,s:i,s:f,s:I,s:I,s:b}", "name", t->name, "kind",
                          roster_kinds[e->kind], "state", state_of(e), "region", t->region, "allotment_bytes",
                          (json_int_t)t->allotment_bytes, "reset_day", t->reset_day, "price_per_gb",
                          t->price_per_gb, "uplink_bps", (json_int_t)t->uplink_bps, "max_listeners",
                          (json_int_t)t->max_listeners, "drained", t->drained);
    json_object_set_new(o, "public_url", e->url ? json_string(e->url) : json_null());
    put_time(o, "added_s", e->added_s);
    put_time(o, "enrolled_s", e->enrolled_s);
    put_time(o, "revoked_s", e->revoked_s);
    put_time(o, "drain_until_s", e->drain_until_s);
    put_time(o, "token_until_s", e->token.set && !e->token_used_s ? e->token_until_s : 0);
    json_object_set_new(o, "rotating", json_boolean(e->next.set));
    if (!reach_view(e, &reach)) {
        json_object_set_new(o, "public_url", json_string(reach.url));
        json_object_set_new(o, "reachable", json_boolean(reach.reached));
        json_object_set_new(o, "reach", json_string(reach.words));
        json_object_set_new(
            o, "reach_age_s",
            json_finite(reach.known ? (double)(clock_boot_ns() - reach.asked_ns) / 1e9 : NAN));
        json_object_set_new(o, "clock_ahead_s", json_finite(reach.ahead_s));
    } else if (e->kind == ROSTER_FOREVER) {
        json_object_set_new(o, "reachable", json_boolean((e->url || e->uncalled) && !e->revoked_s));
        json_object_set_new(o, "reach",
                            json_string(e->revoked_s  ? "revoked"
                                        : e->uncalled ? "not called, by the operator's word"
                                                      : "not called yet"));
    }
    if (!registry_find(fleet->air->registry, t->name, clock_boot_ns(), &seen)) {
        json_object_set_new(o, "healthy", json_boolean(seen.healthy));
        json_object_set_new(o, "draining", json_boolean(seen.draining));
        json_object_set_new(o, "listeners", json_integer((json_int_t)seen.listeners));
        json_object_set_new(o, "report_age_s", json_finite(seen.age_s));
        json_object_set_new(o, "version", seen.version ? json_string(seen.version) : json_null());
        struct overview month = {.view = seen,
                                 .book = books_find(sampler_books(fleet->air->sampler), t->name),
                                 .now_s = clock_wall_ns() / CLOCK_NS_PER_S};
        overview_judge(&month);
        json_object_set_new(o, "ledger", overview_ledger_json(&month));
    }
    return o;
}
