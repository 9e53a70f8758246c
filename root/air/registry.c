#include "root/air/registry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/fanout.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mount.h"
#include "root/air/router.h"

#define FORGET_S     86400
#define NAME_MAX_LEN 64
#define URL_MAX_LEN  512
#define COUNT_MAX    INT64_C(1000000000)

_Static_assert(AGENT_COUNT == sizeof((struct registry_totals *)0)->agents / sizeof(uint64_t),
               "agent families");

struct counters {
    uint64_t bytes_in, bytes_out, accepted, closed;
};

struct relay {
    char *name, *url, *version, *session;
    int64_t seq, heard_ns;
    struct counters now, before; /* of this session; of all earlier ones */
    uint64_t listeners, max_listeners, sessions, redirects, agents[AGENT_COUNT];
    uint64_t sent; /* redirects since the last report */
    double uptime_s, lag_s, lead_s, cpu_s;
    int64_t position, rss_bytes;
    int pulling, draining;
    json_t *mounts; /* NULL: it tells none */
    /* the operator's */
    struct relay_terms terms;
    enum registry_kind kind;
    int enrolled, unreachable;
    struct registry_month month;
};

struct registry {
    struct relay *relays[REGISTRY_MAX];
    size_t count;
};

struct registry *registry_new(void)
{
    return xcalloc(1, sizeof(struct registry));
}

static void relay_free(struct relay *r)
{
    free(r->name);
    free(r->url);
    free(r->version);
    free(r->session);
    json_decref(r->mounts);
    free(r);
}

void registry_free(struct registry *registry)
{
    if (!registry) return;
    for (size_t i = 0; i < registry->count; i++)
        relay_free(registry->relays[i]);
    free(registry);
}

static double age_s(const struct relay *r, int64_t now_ns)
{
    return r->heard_ns ? (double)(now_ns - r->heard_ns) / 1e9 : INFINITY;
}

static int is_healthy(const struct relay *r, int64_t now_ns)
{
    return age_s(r, now_ns) < REGISTRY_HEALTHY_S;
}

/* The address goes into a Location header and a page: nothing in it may end either. */
static int url_is_sound(const char *url)
{
    size_t head = !strncasecmp(url, "http://", 7)    ? 7
                  : !strncasecmp(url, "https://", 8) ? 8
                                                     : 0,
           n = strlen(url);
    if (!head || n == head || n > URL_MAX_LEN) return 0;
    for (size_t i = 0; i < n; i++) {
        if (url[i] <= ' ' || url[i] > '~' || strchr("\"<>\\^`{|}?#", url[i])) return 0;
    }
    return 1;
}

static int text_is_sound(const char *text, size_t max)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 127) return 0;
    }
    return n && n <= max;
}

static void forget(struct registry *registry, size_t index)
{
    relay_free(registry->relays[index]);
    registry->relays[index] = registry->relays[--registry->count];
}

static void forget_silent(struct registry *registry, int64_t now_ns)
{
    for (size_t i = registry->count; i-- > 0;) {
        if (!registry->relays[i]->enrolled && age_s(registry->relays[i], now_ns) > FORGET_S)
            forget(registry, i);
    }
    if (registry->count < REGISTRY_MAX) return;
    size_t oldest = REGISTRY_MAX;
    for (size_t i = 0; i < registry->count; i++) {
        if (registry->relays[i]->enrolled) continue;
        if (oldest == REGISTRY_MAX || registry->relays[i]->heard_ns < registry->relays[oldest]->heard_ns)
            oldest = i;
    }
    if (oldest < REGISTRY_MAX) forget(registry, oldest);
}

static struct relay *find(const struct registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->count; i++) {
        if (!strcmp(registry->relays[i]->name, name)) return registry->relays[i];
    }
    return NULL;
}

/* NULL when there is no room. */
static struct relay *add(struct registry *registry, const char *name)
{
    if (registry->count == REGISTRY_MAX) return NULL;
    struct relay *r = xcalloc(1, sizeof *r);
    r->name = xstrdup(name);
    r->url = xstrdup("");
    r->version = xstrdup("");
    r->session = xstrdup("");
    snprintf(r->terms.name, sizeof r->terms.name, "%s", name);
    registry->relays[registry->count++] = r;
    return r;
}

static uint64_t count_of(const json_t *report, const char *key, int64_t max, int *bad)
{
    return (uint64_t)json_int_or(report, key, 0, 0, max, bad);
}

static void replace_text(char **old, const char *text)
{
    if (!strcmp(*old, text)) return;
    free(*old);
    *old = xstrdup(text);
}

int registry_enrol(struct registry *registry, const struct relay_terms *terms, const char *url,
                   enum registry_kind kind, char **cause)
{
    if (!text_is_sound(terms->name, NAME_MAX_LEN))
        return cause_set(cause, "name must be 1 to %d printable bytes", NAME_MAX_LEN);
    if (url && !url_is_sound(url))
        return cause_set(cause, "%s: the address must be an absolute http or https address", terms->name);
    struct relay *r = find(registry, terms->name);
    if (!r) r = add(registry, terms->name);
    if (!r) return cause_set(cause, "there are %d relays already, as many as there may be", REGISTRY_MAX);
    r->enrolled = 1;
    r->terms = *terms;
    r->kind = kind;
    if (url) replace_text(&r->url, url);
    return 0;
}

int registry_unenrol(struct registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->count; i++) {
        if (strcmp(registry->relays[i]->name, name)) continue;
        forget(registry, i);
        return 0;
    }
    return -1;
}

int registry_set_reachable(struct registry *registry, const char *name, int reachable)
{
    struct relay *r = find(registry, name);
    if (!r) return -1;
    r->unreachable = !reachable;
    return 0;
}

int registry_set_ledger(struct registry *registry, const char *name, const struct registry_month *month)
{
    struct relay *r = find(registry, name);
    if (!r) return -1;
    r->month = *month;
    return 0;
}

int registry_polled(struct registry *registry, const char *name, uint64_t listeners, uint64_t max_listeners,
                    uint64_t sent_bytes, int64_t now_ns)
{
    struct relay *r = find(registry, name);
    if (!r) return -1;
    if (listeners > r->listeners) r->now.accepted += listeners - r->listeners; /* as far as can be seen */
    r->listeners = listeners;
    uint64_t most = r->terms.max_listeners;
    if (max_listeners && (!most || most > max_listeners)) most = max_listeners;
    r->max_listeners = most ? most : REGISTRY_ICECAST_SLOTS;
    r->now.bytes_out += sent_bytes;
    r->heard_ns = now_ns;
    r->sent = 0;
    return 0;
}

/* [{"name","listeners","pulling"}...] as it may be shown; a new reference, NULL when the relay tells none. */
static json_t *mounts_of(const json_t *report, int *bad)
{
    const json_t *told = json_object_get(report, "mounts"), *row;
    size_t i;
    *bad |= told && (!json_is_array(told) || json_array_size(told) > MOUNTS_MAX);
    if (!told || *bad) return NULL;
    json_t *list = json_array();
    json_array_foreach(told, i, row)
    {
        struct mount_spec spec;
        const char *name = json_str_or(row, "name", "", bad);
        *bad |= mount_spec_name(&spec, name, NULL) != 0;
        json_array_append_new(list, json_pack("{s:s,s:I,s:b}", "name", *bad ? "" : name, "listeners",
                                              (json_int_t)count_of(row, "listeners", COUNT_MAX, bad),
                                              "pulling", json_bool_or(row, "pulling", 0, bad)));
    }
    return list;
}

/* Reads what changes with each report; -1 when a member is of the wrong type. */
static int read_values(const json_t *report, struct relay *out)
{
    int bad = 0;
    out->now.bytes_in = count_of(report, "bytes_in", INT64_MAX, &bad);
    out->now.bytes_out = count_of(report, "bytes_out", INT64_MAX, &bad);
    out->now.accepted = count_of(report, "accepted", INT64_MAX, &bad);
    out->now.closed = count_of(report, "closed", INT64_MAX, &bad);
    out->listeners = count_of(report, "listeners", COUNT_MAX, &bad);
    out->max_listeners = count_of(report, "max_listeners", COUNT_MAX, &bad);
    out->uptime_s = json_real_or(report, "uptime_s", 0, &bad);
    out->lag_s = json_real_or(report, "lag_s", NAN, &bad);
    out->lead_s = json_real_or(report, "lead_s", 0, &bad);
    out->cpu_s = json_real_or(report, "cpu_s", 0, &bad);
    out->position = json_int_or(report, "position", -1, 0, INT64_MAX, &bad);
    out->rss_bytes = json_int_or(report, "rss_bytes", 0, 0, INT64_MAX, &bad);
    out->pulling = json_bool_or(report, "pulling", false, &bad);
    out->draining = json_bool_or(report, "draining", false, &bad);
    const json_t *agents = json_object_get(report, "agents");
    for (int i = 0; i < AGENT_COUNT; i++)
        out->agents[i] = count_of(agents, fanout_agent_names[i], COUNT_MAX, &bad);
    return bad ? -1 : 0;
}

int registry_report(struct registry *registry, const char *name, const json_t *report, int64_t now_ns,
                    char **cause)
{
    int bad = 0;
    if (!name) name = json_str_or(report, "name", "", &bad);
    const char *url = json_str_or(report, "public_url", "", &bad);
    const char *version = json_str_or(report, "version", "", &bad);
    const char *session = json_str_or(report, "session", "", &bad);
    int64_t seq = json_int_or(report, "seq", 0, 1, INT64_MAX, &bad);
    struct relay values = {0};
    if (!json_is_object(report)) return cause_set(cause, "a report is a JSON object");
    if (bad || read_values(report, &values))
        return cause_set(cause, "a member is of the wrong type or out of range");
    if (!text_is_sound(name, NAME_MAX_LEN))
        return cause_set(cause, "name must be 1 to %d printable bytes", NAME_MAX_LEN);
    if (!url_is_sound(url)) return cause_set(cause, "public_url must be an absolute http or https address");
    if (!text_is_sound(session, NAME_MAX_LEN) || !text_is_sound(version, NAME_MAX_LEN) || !seq)
        return cause_set(cause, "session, seq and version must be there");
    values.mounts = mounts_of(report, &bad);
    if (bad) {
        json_decref(values.mounts);
        return cause_set(cause, "mounts must be a list of name, listeners and pulling");
    }
    char clean[URL_MAX_LEN + 1];
    snprintf(clean, sizeof clean, "%s", url);
    for (size_t n = strlen(clean); n && clean[n - 1] == '/';)
        clean[--n] = '\0';
    struct relay *r = find(registry, name);
    if (!r) {
        forget_silent(registry, now_ns);
        r = add(registry, name);
        if (r) log_info("registry", "relay %s at %s reports for the first time", name, clean);
    }
    if (!r) {
        json_decref(values.mounts);
        return cause_set(cause, "there are %d relays already, as many as there may be", REGISTRY_MAX);
    }
    if (!strcmp(r->session, session)) {
        if (seq <= r->seq) {
            json_decref(values.mounts);
            return 0;
        }
    } else {
        r->before.bytes_in += r->now.bytes_in;
        r->before.bytes_out += r->now.bytes_out;
        r->before.accepted += r->now.accepted;
        r->before.closed += r->now.closed;
        r->sessions++;
        replace_text(&r->session, session);
    }
    replace_text(&r->version, version);
    replace_text(&r->url, clean);
    values.name = r->name;
    values.url = r->url;
    values.version = r->version;
    values.session = r->session;
    values.before = r->before;
    values.sessions = r->sessions;
    values.redirects = r->redirects;
    values.terms = r->terms;
    values.kind = r->kind;
    values.enrolled = r->enrolled;
    values.unreachable = r->unreachable;
    values.month = r->month;
    values.seq = seq;
    values.heard_ns = now_ns;
    json_decref(r->mounts);
    *r = values;
    return 1;
}

/* Routing */

static int is_secure(const struct relay *r)
{
    return !strncasecmp(r->url, "https:", 6);
}

static size_t candidates(const struct registry *registry, int secure, int64_t now_ns,
                         struct router_relay *out)
{
    for (size_t i = 0; i < registry->count; i++) {
        const struct relay *r = registry->relays[i];
        out[i] = (struct router_relay){.listeners = r->listeners,
                                       .max_listeners = r->max_listeners,
                                       .sent = r->sent,
                                       .able = is_healthy(r, now_ns) && !r->draining && !r->terms.drained &&
                                               !r->unreachable && is_secure(r) == secure};
    }
    return registry->count;
}

int registry_has_room(const struct registry *registry, int secure, int64_t now_ns)
{
    struct router_relay list[REGISTRY_MAX];
    return router_choose(list, candidates(registry, secure, now_ns, list), 0) >= 0;
}

static int write_location(const struct relay *r, char *location, size_t size)
{
    int n = snprintf(location, size, "%s/stream.mp3", r->url);
    return n < 0 || (size_t)n >= size ? -1 : 0;
}

int registry_route(struct registry *registry, uint64_t random, int probe, int secure, int64_t now_ns,
                   char *location, size_t size)
{
    struct router_relay list[REGISTRY_MAX];
    int i = router_choose(list, candidates(registry, secure, now_ns, list), random);
    if (i < 0 || write_location(registry->relays[i], location, size)) return -1;
    if (!probe) {
        registry->relays[i]->sent++;
        registry->relays[i]->redirects++;
    }
    return 0;
}

int registry_elsewhere(const struct registry *registry, const char *but_url, int secure, int64_t now_ns,
                       size_t i, char *location, size_t size)
{
    struct router_relay list[REGISTRY_MAX];
    size_t count = candidates(registry, secure, now_ns, list);
    for (size_t k = 0; but_url && k < count; k++) {
        if (!strcmp(registry->relays[k]->url, but_url)) list[k].able = 0;
    }
    for (;; i--) {
        int best = router_least_used(list, count);
        if (best < 0) return -1;
        if (i == 0) return write_location(registry->relays[best], location, size);
        list[best].able = 0;
    }
}

/* Views */

static json_t *relay_json(const struct relay *r, int64_t now_ns)
{
    json_t *agents = json_object();
    for (int i = 0; i < AGENT_COUNT; i++)
        json_object_set_new(agents, fanout_agent_names[i], json_integer((json_int_t)r->agents[i]));
    int healthy = is_healthy(r, now_ns);
    uint64_t accepted = r->before.accepted + r->now.accepted, in = r->before.bytes_in + r->now.bytes_in,
             out = r->before.bytes_out + r->now.bytes_out;
    json_t *o = json_pack(
        "{s:s,s:s,s:s,s:b,s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "name", r->name, "public_url", r->url,
        "version", r->version, "healthy", healthy, "draining", r->draining, "pulling", healthy && r->pulling,
        "listeners", (json_int_t)(healthy ? r->listeners : 0), "max_listeners", (json_int_t)r->max_listeners,
        "accepted", (json_int_t)accepted, "bytes_in", (json_int_t)in, "bytes_out", (json_int_t)out,
        "redirects", (json_int_t)r->redirects, "sessions", (json_int_t)r->sessions, "agents", agents);
    json_object_set_new(o, "position", r->position < 0 ? json_null() : json_integer(r->position));
    json_object_set_new(o, "uptime_s", json_finite(r->uptime_s));
    json_object_set_new(o, "lag_s", json_finite(r->lag_s));
    json_object_set_new(o, "lead_s", json_finite(r->lead_s));
    json_object_set_new(o, "cpu_s", json_finite(r->cpu_s));
    json_object_set_new(o, "rss_bytes", json_integer(r->rss_bytes));
    json_object_set_new(o, "report_age_s", json_finite(age_s(r, now_ns)));
    json_object_set(o, "mounts", r->mounts);
    return o;
}

json_t *registry_json(const struct registry *registry, size_t first, size_t count, int64_t now_ns)
{
    json_t *list = json_array();
    for (size_t i = first; i < registry->count && i - first < count; i++)
        json_array_append_new(list, relay_json(registry->relays[i], now_ns));
    return list;
}

/* Whoever was accepted and does not listen has gone, also with a relay that died or fell silent, which could
 * not count it. A silent one that comes back still has its listeners: then it is less again. */
static uint64_t closed_of(const struct relay *r, int64_t now_ns)
{
    uint64_t accepted = r->before.accepted + r->now.accepted,
             listening = is_healthy(r, now_ns) ? r->listeners : 0;
    return accepted > listening ? accepted - listening : 0;
}

void registry_totals(const struct registry *registry, int64_t now_ns, struct registry_totals *out)
{
    *out = (struct registry_totals){.known = (unsigned)registry->count};
    for (size_t i = 0; i < registry->count; i++) {
        const struct relay *r = registry->relays[i];
        out->bytes_in += r->before.bytes_in + r->now.bytes_in;
        out->bytes_out += r->before.bytes_out + r->now.bytes_out;
        out->accepted += r->before.accepted + r->now.accepted;
        out->closed += closed_of(r, now_ns);
        if (!is_healthy(r, now_ns)) continue;
        out->healthy++;
        out->listeners += r->listeners;
        for (int k = 0; k < AGENT_COUNT; k++)
            out->agents[k] += r->agents[k];
    }
}

static void view(const struct relay *r, int64_t now_ns, struct registry_view *out)
{
    int healthy = is_healthy(r, now_ns);
    *out = (struct registry_view){.name = r->name,
                                  .url = r->url,
                                  .version = r->version,
                                  .session = r->session,
                                  .terms = &r->terms,
                                  .kind = r->kind,
                                  .healthy = healthy,
                                  .enrolled = r->enrolled,
                                  .reachable = !r->unreachable,
                                  .draining = r->draining,
                                  .listeners = healthy ? r->listeners : 0,
                                  .max_listeners = r->max_listeners,
                                  .accepted = r->before.accepted + r->now.accepted,
                                  .closed = closed_of(r, now_ns),
                                  .cpu_s = r->cpu_s,
                                  .lead_s = r->lead_s,
                                  .rss_bytes = r->rss_bytes,
                                  .pulling = healthy && r->pulling,
                                  .bytes_in = r->before.bytes_in + r->now.bytes_in,
                                  .bytes_out = r->before.bytes_out + r->now.bytes_out,
                                  .session_accepted = r->now.accepted,
                                  .session_closed = r->now.closed,
                                  .session_bytes_in = r->now.bytes_in,
                                  .session_bytes_out = r->now.bytes_out,
                                  .sessions = r->sessions,
                                  .redirects = r->redirects,
                                  .lag_s = r->heard_ns ? r->lag_s : NAN,
                                  .age_s = age_s(r, now_ns)};
}

int registry_view(const struct registry *registry, size_t index, int64_t now_ns, struct registry_view *out)
{
    if (index >= registry->count) return -1;
    view(registry->relays[index], now_ns, out);
    return 0;
}

int registry_find(const struct registry *registry, const char *name, int64_t now_ns,
                  struct registry_view *out)
{
    const struct relay *r = find(registry, name);
    if (!r) return -1;
    view(r, now_ns, out);
    return 0;
}
