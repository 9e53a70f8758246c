#include "root/air/registry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "common/mem.h"
#include "root/air/registry_internal.h"

#define FORGET_S   86400
#define SWEEP_NS   INT64_C(60000000000)
#define HASH_LEAST 64
/* What a listener stays, before any have gone, and as if so many had; who is there stays longer than who has
 * come, since some stay for hours. */
#define STAY_FIRST_S  1800
#define STAY_FIRST    50
#define STAY_MEMORY   0.999
#define STAY_LEAST_S  60
#define STAY_MOST_S   86400
#define STAY_RESIDUAL 2

_Static_assert(AGENT_COUNT == REGISTRY_AGENTS, "agent families");

struct registry *registry_new(const struct registry_conf *conf)
{
    struct registry *g = xcalloc(1, sizeof *g);
    g->conf = *conf;
    if (g->conf.router.rate_bps <= 0) g->conf.router.rate_bps = 128000;
    if (!g->conf.router.suspect_ns) g->conf.router.suspect_ns = REGISTRY_HEALTHY_S * INT64_C(1000000000);
    g->router = router_new(&g->conf.router);
    g->signer = ticket_signer_new();
    if (!g->signer) log_warn("registry", "no HMAC-SHA256 here: listeners are sent on without tickets");
    g->slots = xcalloc(ROUTER_RELAYS_MAX, sizeof(struct relay *));
    g->stays = STAY_FIRST;
    g->stayed_s = STAY_FIRST * STAY_FIRST_S;
    g->hash_size = HASH_LEAST;
    g->hash = xcalloc(g->hash_size, sizeof *g->hash);
    return g;
}

static void relay_free(struct relay *r)
{
    free(r->url);
    free(r->mounts);
    free(r);
}

void registry_free(struct registry *g)
{
    if (!g) return;
    for (size_t i = 0; i < g->count; i++)
        relay_free(g->list[i]);
    router_free(g->router);
    ticket_signer_free(g->signer);
    free(g->list);
    free(g->slots);
    free(g->hash);
    free(g);
}

struct router *registry_router(struct registry *g)
{
    return g->router;
}

void registry_set_mounts(struct registry *g, const struct mount_spec *list, size_t count)
{
    g->mount_count = count < MOUNTS_MAX ? count : MOUNTS_MAX;
    memcpy(g->mounts, list, g->mount_count * sizeof *list);
}

double registry_age_s(const struct relay *r, int64_t now_ns)
{
    return r->heard_ns ? (double)(now_ns - r->heard_ns) / 1e9 : INFINITY;
}

int registry_is_healthy(const struct registry *g, const struct relay *r, int64_t now_ns)
{
    return r->heard_ns && now_ns - r->heard_ns < g->conf.router.suspect_ns;
}

int registry_is_secure(const struct relay *r)
{
    return !strncasecmp(r->url, "https:", 6);
}

/* The address goes into a Location header and a page: nothing in it may end either. */
int registry_url_is_sound(const char *url)
{
    size_t head = !strncasecmp(url, "http://", 7)    ? 7
                  : !strncasecmp(url, "https://", 8) ? 8
                                                     : 0,
           n = strlen(url);
    if (!head || n == head || n > REGISTRY_URL_MAX) return 0;
    for (size_t i = 0; i < n; i++) {
        if (url[i] <= ' ' || url[i] > '~' || strchr("\"<>\\^`{|}?#", url[i])) return 0;
    }
    return 1;
}

int registry_text_is_sound(const char *text, size_t max)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 127) return 0;
    }
    return n && n <= max;
}

void registry_set_url(struct relay *r, const char *url)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    if (strlen(r->url) == n && !strncmp(r->url, url, n)) return;
    free(r->url);
    r->url = xstrndup(url, n);
}

/* Names: open addressing, at most half full. */

static size_t hash_of(const char *name)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return (size_t)(h ^ h >> 32);
}

/* Where the name stands, or the empty place where it would. */
static size_t hash_find(const struct registry *g, const char *name)
{
    size_t at = hash_of(name) & (g->hash_size - 1);
    while (g->hash[at] && strcmp(g->list[g->hash[at] - 1]->terms.name, name))
        at = (at + 1) & (g->hash_size - 1);
    return at;
}

static void hash_grow(struct registry *g)
{
    free(g->hash);
    g->hash_size *= 2;
    g->hash = xcalloc(g->hash_size, sizeof *g->hash);
    for (size_t i = 0; i < g->count; i++)
        g->hash[hash_find(g, g->list[i]->terms.name)] = (uint32_t)i + 1;
}

/* What follows without a gap is put in anew. */
static void hash_remove(struct registry *g, const char *name)
{
    size_t at = hash_find(g, name);
    g->hash[at] = 0;
    for (at = (at + 1) & (g->hash_size - 1); g->hash[at]; at = (at + 1) & (g->hash_size - 1)) {
        uint32_t value = g->hash[at];
        g->hash[at] = 0;
        g->hash[hash_find(g, g->list[value - 1]->terms.name)] = value;
    }
}

struct relay *registry_relay(const struct registry *g, const char *name)
{
    uint32_t value = g->hash[hash_find(g, name)];
    return value ? g->list[value - 1] : NULL;
}

/* Coming and going */

void registry_drop(struct registry *g, struct relay *r)
{
    hash_remove(g, r->terms.name);
    router_remove(g->router, r->slot);
    g->slots[r->slot] = NULL;
    struct relay *last = g->list[--g->count];
    if (last != r) {
        g->hash[hash_find(g, last->terms.name)] = r->place + 1;
        g->list[r->place] = last;
        last->place = r->place;
    }
    relay_free(r);
}

/* The longest silent one that nobody enrolled makes room. */
static void make_room(struct registry *g)
{
    struct relay *oldest = NULL;
    for (size_t i = 0; i < g->count; i++) {
        struct relay *r = g->list[i];
        if (!r->enrolled && (!oldest || r->heard_ns < oldest->heard_ns)) oldest = r;
    }
    if (oldest) registry_drop(g, oldest);
}

struct relay *registry_add(struct registry *g, const char *name, int64_t now_ns)
{
    if (g->count == REGISTRY_MAX) make_room(g);
    if (g->count == REGISTRY_MAX) return NULL;
    struct relay *r = xcalloc(1, sizeof *r);
    snprintf(r->terms.name, sizeof r->terms.name, "%s", name);
    r->slot = router_add(g->router, &r->terms, now_ns);
    r->url = xstrdup("");
    if (g->count == g->capacity) {
        g->capacity = g->capacity ? g->capacity * 2 : 16;
        g->list = xrealloc(g->list, g->capacity * sizeof(struct relay *));
    }
    if ((g->count + 1) * 2 > g->hash_size) hash_grow(g);
    r->place = (uint32_t)g->count;
    size_t at = hash_find(g, name);
    g->list[g->count++] = r;
    g->hash[at] = r->place + 1;
    g->slots[r->slot] = r;
    return r;
}

static void tell_stay(struct registry *g)
{
    double stay_s = g->stayed_s / g->stays;
    if (stay_s < STAY_LEAST_S) stay_s = STAY_LEAST_S;
    if (stay_s > STAY_MOST_S) stay_s = STAY_MOST_S;
    router_set_stay(g->router, stay_s, STAY_RESIDUAL * stay_s);
}

/* By Little's law: a listener's stay is the time that all have listened over how many have gone. */
static void learn_stay(struct registry *g, double seconds, int64_t now_ns)
{
    uint64_t listeners = 0, closed = 0;
    for (size_t i = 0; i < g->count; i++) {
        const struct relay *r = g->list[i];
        closed += r->before.closed + r->values.now.closed;
        if (registry_is_healthy(g, r, now_ns)) listeners += r->values.listeners;
    }
    if (closed > g->closed && g->closed) {
        g->stays = g->stays * STAY_MEMORY + (double)(closed - g->closed);
        g->stayed_s *= STAY_MEMORY;
    }
    g->stayed_s += (double)listeners * seconds;
    g->closed = closed;
    tell_stay(g);
}

void registry_stays(const struct registry *g, struct registry_stays *out)
{
    *out = (struct registry_stays){g->stays, g->stayed_s};
}

void registry_recall_stays(struct registry *g, const struct registry_stays *stays)
{
    if (!(stays->gone >= 1 && stays->gone < 1e15 && stays->listened_s >= 1 && stays->listened_s < 1e18))
        return;
    g->stays = stays->gone;
    g->stayed_s = stays->listened_s;
    tell_stay(g);
}

int registry_recall(struct registry *g, const char *name, const struct registry_learned *learned,
                    int64_t now_ns)
{
    struct relay *r = registry_relay(g, name);
    if (!r) return -1;
    router_recall(g->router, r->slot, learned->pacing, learned->redemption, now_ns);
    return 0;
}

static void sweep(struct registry *g, int64_t now_ns)
{
    if (now_ns - g->swept_ns < SWEEP_NS) return;
    if (g->swept_ns) learn_stay(g, (double)(now_ns - g->swept_ns) / 1e9, now_ns);
    g->swept_ns = now_ns;
    for (size_t i = g->count; i-- > 0;) {
        struct relay *r = g->list[i];
        if (!r->enrolled && registry_age_s(r, now_ns) > FORGET_S) registry_drop(g, r);
    }
}

void registry_tick(struct registry *g, int64_t now_ns, int64_t wall_s)
{
    if (!g->begun_ns) g->begun_ns = now_ns;
    sweep(g, now_ns);
    router_tick(g->router, now_ns, wall_s);
}

int registry_enrol(struct registry *g, const struct relay_terms *terms, const char *url,
                   enum registry_kind kind, int64_t now_ns, char **cause)
{
    struct relay_region region;
    if (!registry_text_is_sound(terms->name, TERMS_NAME_MAX))
        return cause_set(cause, "a relay's name must be 1 to %d printable bytes", TERMS_NAME_MAX);
    if (url && !registry_url_is_sound(url))
        return cause_set(cause, "%s: the address must be an absolute http or https address", terms->name);
    if (region_parse(terms->region, &region))
        return cause_set(cause, "%s: %s is no region: a continent (eu na sa as af oc), or eu-de", terms->name,
                         terms->region);
    struct relay *r = registry_relay(g, terms->name);
    if (!r) r = registry_add(g, terms->name, now_ns);
    if (!r) return cause_set(cause, "there are %d relays already, as many as there may be", REGISTRY_MAX);
    r->enrolled = 1;
    r->terms = *terms;
    r->kind = kind;
    r->fixed_url = url != NULL;
    if (url) registry_set_url(r, url);
    router_set_terms(g->router, r->slot, terms, now_ns);
    return 0;
}

int registry_unenrol(struct registry *g, const char *name)
{
    struct relay *r = registry_relay(g, name);
    if (!r) return -1;
    registry_drop(g, r);
    return 0;
}

int registry_set_reachable(struct registry *g, const char *name, int reachable, int64_t now_ns)
{
    struct relay *r = registry_relay(g, name);
    if (!r) return -1;
    r->unreachable = !reachable;
    router_set_reachable(g->router, r->slot, reachable, now_ns);
    return 0;
}

int registry_set_ledger(struct registry *g, const char *name, const struct registry_month *month,
                        int64_t now_ns)
{
    struct relay *r = registry_relay(g, name);
    if (!r) return -1;
    r->month = *month;
    router_set_month(g->router, r->slot, month->sent_bytes, month->begins_s, month->ends_s, now_ns);
    return 0;
}
