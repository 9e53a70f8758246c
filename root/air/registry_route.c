/* Listeners on their way to a relay: the choice, its ticket and its address. */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "root/air/registry_internal.h"

#define OVER_S       60 /* in which who is too many is moved */
#define OVER_LEAST_S 10
#define OVER_SHARE   64 /* of its listeners */

static int write_location(struct registry *g, struct relay *r, const struct registry_ask *ask,
                          double rate_bps, int64_t now_ns, char *location, size_t size)
{
    int n;
    if (r->kind == REGISTRY_ICECAST) {
        n = snprintf(location, size, "%s", r->url);
        if (n < (int)size && !ask->probe) router_issue(g->router, r->slot, rate_bps, now_ns);
        return n < (int)size ? 0 : -1;
    }
    if (strlen(r->url) + sizeof "/stream.mp3?ticket=" + TICKET_TEXT > size) return -1;
    if (ask->probe) {
        snprintf(location, size, "%s/stream.mp3", r->url);
        return 0;
    }
    struct ticket ticket = {.epoch = r->epoch,
                            .expires_ds = ticket_clock(now_ns) + TICKET_LIFE_S * 10,
                            .sequence = router_issue(g->router, r->slot, rate_bps, now_ns),
                            .flags = ask->later ? TICKET_LISTEN : 0};
    char text[TICKET_TEXT] = "";
    if (!r->has_key || ticket_sign(g->signer, r->key, &ticket, text))
        snprintf(location, size, "%s/stream.mp3", r->url);
    else
        snprintf(location, size, "%s/stream.mp3?ticket=%s", r->url, text);
    return 0;
}

enum router_answer registry_route(struct registry *g, const struct registry_ask *ask, int64_t now_ns,
                                  char *location, size_t size, struct registry_choice *out)
{
    struct router_ask to = {.secure = ask->secure != 0,
                            .random = ask->random,
                            .but = ROUTER_NONE_SLOT,
                            .further = ask->later || ask->resumes};
    struct router_choice choice;
    int at = ask->mount ? mount_spec_find(g->mounts, g->mount_count, ask->mount) : 0;
    *out = (struct registry_choice){0};
    region_parse(ask->region ? ask->region : "", &to.region);
    if (at > 0) {
        to.further = 1;
        to.rate_bps = g->mounts[at].kbps * 1000.0;
    }
    enum router_answer answer = router_choose(g->router, &to, now_ns, &choice);
    out->hold_ns = choice.hold_ns;
    out->reserved = choice.reserved;
    if (answer != ROUTER_TO) return answer;
    struct relay *r = g->slots[choice.slot];
    if (write_location(g, r, ask, to.rate_bps, now_ns, location, size)) return ROUTER_NOBODY;
    out->as_is = r->kind == REGISTRY_ICECAST;
    out->name = r->terms.name;
    if (!ask->probe) r->redirects++;
    return ROUTER_TO;
}

int registry_is_spent(struct registry *g, const char *name, int64_t now_ns)
{
    struct relay *r = registry_relay(g, name);
    struct router_view v;
    if (!r) return 0;
    router_view(g->router, r->slot, now_ns, &v);
    if (v.spent && !r->spent)
        log_warn("registry", "relay %s has sent %.3f of its %.3f GB of the month: its listeners are moved",
                 name, (double)v.month_bytes / 1e9, (double)r->terms.allotment_bytes / 1e9);
    if (!v.spent && r->spent) log_info("registry", "relay %s has traffic again", name);
    r->spent = v.spent != 0;
    return v.spent;
}

unsigned registry_too_many(struct registry *g, const char *name, int64_t now_ns, int *deadline_s)
{
    struct relay *r = registry_relay(g, name);
    struct router_view v;
    if (!r) return 0;
    router_view(g->router, r->slot, now_ns, &v);
    /* one more or less is nothing: rates are not known to the bit. Once they are moved, it is all of them */
    if (!v.over || (!r->over_ns && v.over * OVER_SHARE <= v.estimate)) {
        if (r->over_ns && v.state == ROUTER_ALIVE)
            log_info("registry", "relay %s has no more listeners than it may have", name);
        r->over_ns = 0;
        return 0;
    }
    if (!r->over_ns) {
        r->over_ns = now_ns;
        log_info("registry", "relay %s has %llu listeners too many: those who resume are moved", name,
                 (unsigned long long)v.over);
    }
    int64_t left_s = OVER_S - (now_ns - r->over_ns) / INT64_C(1000000000);
    *deadline_s = left_s > OVER_LEAST_S ? (int)left_s : OVER_LEAST_S;
    return v.over < UINT32_MAX ? (unsigned)v.over : UINT32_MAX;
}

size_t registry_others(struct registry *g, const char *but, int secure, uint64_t random, int64_t now_ns,
                       const char **urls, unsigned *rooms, size_t max)
{
    uint32_t slots[16];
    struct router_ask ask = {.secure = secure != 0, .random = random, .but = ROUTER_NONE_SLOT, .further = 1};
    const struct relay *r = but ? registry_relay(g, but) : NULL;
    if (r) {
        ask.but = r->slot;
        region_parse(r->terms.region, &ask.region);
    }
    if (max > sizeof slots / sizeof *slots) max = sizeof slots / sizeof *slots;
    size_t n = router_several(g->router, &ask, now_ns, slots, max);
    for (size_t i = 0; i < n; i++) {
        urls[i] = g->slots[slots[i]]->url;
        uint32_t room = router_room(g->router, slots[i]);
        if (rooms) rooms[i] = room > REGISTRY_ROOM_SHARE ? room / REGISTRY_ROOM_SHARE : 1;
    }
    return n;
}
