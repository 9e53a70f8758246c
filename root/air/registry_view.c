/* Relays as others are shown them. */
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "root/air/registry_internal.h"

static void set_int(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *mounts_json(const struct relay *r)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < r->mount_count; i++) {
        const struct registry_mount *m = &r->mounts[i];
        json_array_append_new(list, json_pack("{s:s,s:I,s:b}", "name", m->name, "listeners",
                                              (json_int_t)m->listeners, "pulling", m->pulling));
    }
    return list;
}

/* What the choice thinks of it. */
static json_t *routing_json(struct registry *g, const struct relay *r, int64_t now_ns)
{
    static const char *const states[] = {"new", "alive", "suspect", "dead"};
    struct router_view v;
    router_view(g->router, r->slot, now_ns, &v);
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(states[v.state]));
    json_object_set_new(o, "why_not", v.why ? json_string(router_why_names[v.why]) : json_null());
    set_int(o, "listeners", v.estimate);
    json_object_set_new(o, "slots",
                        v.slots < UINT32_MAX / 2 ? json_integer((json_int_t)v.slots) : json_null());
    set_int(o, "pending", v.pending);
    json_object_set_new(o, "redemption", json_real(v.redemption));
    json_object_set_new(o, "pacing_per_gb", json_real(v.pacing));
    set_int(o, "month_bytes", v.month_bytes);
    json_object_set_new(o, "spent", json_boolean(v.spent));
    return o;
}

static json_t *relay_json(struct registry *g, const struct relay *r, int64_t now_ns)
{
    const struct registry_values *v = &r->values;
    json_t *agents = json_object();
    for (int i = 0; i < AGENT_COUNT; i++)
        set_int(agents, fanout_agent_names[i], v->agents[i]);
    int healthy = registry_is_healthy(g, r, now_ns);
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:b}", "name", r->terms.name, "public_url",
                          r->url, "version", r->version, "region", r->terms.region, "healthy", healthy,
                          "draining", v->draining || r->terms.drained, "pulling", healthy && v->pulling,
                          "enrolled", r->enrolled, "reachable", !r->unreachable);
    set_int(o, "listeners", healthy ? v->listeners : 0);
    set_int(o, "max_listeners", v->max_listeners);
    set_int(o, "accepted", r->before.accepted + v->now.accepted);
    set_int(o, "bytes_in", r->before.bytes_in + v->now.bytes_in);
    set_int(o, "bytes_out", r->before.bytes_out + v->now.bytes_out);
    set_int(o, "redirects", r->redirects);
    set_int(o, "sessions", r->sessions);
    json_object_set_new(o, "agents", agents);
    json_object_set_new(o, "position",
                        v->position < 0 || !r->heard_ns ? json_null() : json_integer(v->position));
    json_object_set_new(o, "uptime_s", json_finite(v->uptime_s));
    json_object_set_new(o, "lag_s", json_finite(v->lag_s));
    json_object_set_new(o, "lead_s", json_finite(v->lead_s));
    json_object_set_new(o, "cpu_s", json_finite(v->cpu_s));
    json_object_set_new(o, "rss_bytes", json_integer(v->rss_bytes));
    json_object_set_new(o, "report_age_s", json_finite(registry_age_s(r, now_ns)));
    json_object_set_new(o, "mounts", mounts_json(r));
    json_object_set_new(o, "tickets",
                        json_pack("{s:I,s:I,s:I}", "redeemed", (json_int_t)v->redeemed, "expired",
                                  (json_int_t)v->expired, "refused", (json_int_t)v->unwanted));
    json_object_set_new(o, "routing", routing_json(g, r, now_ns));
    return o;
}

json_t *registry_json(struct registry *g, size_t first, size_t count, int64_t now_ns)
{
    json_t *list = json_array();
    for (size_t i = first; i < g->count && i - first < count; i++)
        json_array_append_new(list, relay_json(g, g->list[i], now_ns));
    return list;
}

/* Whoever was accepted and does not listen has gone, also with a relay that died or fell silent, which could
 * not count it. A silent one that comes back still has its listeners: then it is less again. */
static uint64_t closed_of(const struct registry *g, const struct relay *r, int64_t now_ns)
{
    uint64_t accepted = r->before.accepted + r->values.now.accepted,
             listening = registry_is_healthy(g, r, now_ns) ? r->values.listeners : 0;
    return accepted > listening ? accepted - listening : 0;
}

void registry_totals(const struct registry *g, int64_t now_ns, struct registry_totals *out)
{
    *out = (struct registry_totals){.known = (unsigned)g->count};
    for (size_t i = 0; i < g->count; i++) {
        const struct relay *r = g->list[i];
        out->bytes_in += r->before.bytes_in + r->values.now.bytes_in;
        out->bytes_out += r->before.bytes_out + r->values.now.bytes_out;
        out->accepted += r->before.accepted + r->values.now.accepted;
        out->closed += closed_of(g, r, now_ns);
        out->earlier.bytes_in += r->earlier.bytes_in;
        out->earlier.bytes_out += r->earlier.bytes_out;
        out->earlier.accepted += r->earlier.accepted;
        out->earlier.closed += r->earlier.closed;
        if (!registry_is_healthy(g, r, now_ns)) continue;
        out->healthy++;
        out->listeners += r->values.listeners;
        for (int k = 0; k < AGENT_COUNT; k++)
            out->agents[k] += r->values.agents[k];
    }
}

static void view(const struct registry *g, const struct relay *r, int64_t now_ns, struct registry_view *out)
{
    const struct registry_values *v = &r->values;
    int healthy = registry_is_healthy(g, r, now_ns);
    *out = (struct registry_view){.name = r->terms.name,
                                  .url = r->url,
                                  .version = r->version,
                                  .session = r->session,
                                  .slot = r->slot,
                                  .terms = &r->terms,
                                  .kind = r->kind,
                                  .healthy = healthy,
                                  .enrolled = r->enrolled,
                                  .reachable = !r->unreachable,
                                  .draining = v->draining,
                                  .listeners = healthy ? v->listeners : 0,
                                  .max_listeners = v->max_listeners,
                                  .accepted = r->before.accepted + v->now.accepted,
                                  .closed = closed_of(g, r, now_ns),
                                  .bytes_in = r->before.bytes_in + v->now.bytes_in,
                                  .bytes_out = r->before.bytes_out + v->now.bytes_out,
                                  .sessions = r->sessions,
                                  .redirects = r->redirects,
                                  .redeemed = v->redeemed,
                                  .expired = v->expired,
                                  .unwanted = v->unwanted,
                                  .session_accepted = v->now.accepted,
                                  .session_closed = v->now.closed,
                                  .session_bytes_in = v->now.bytes_in,
                                  .session_bytes_out = v->now.bytes_out,
                                  .lag_s = r->heard_ns ? v->lag_s : NAN,
                                  .age_s = registry_age_s(r, now_ns),
                                  .cpu_s = v->cpu_s,
                                  .lead_s = v->lead_s,
                                  .rss_bytes = v->rss_bytes,
                                  .pulling = healthy && v->pulling};
}

int registry_view(const struct registry *g, size_t index, int64_t now_ns, struct registry_view *out)
{
    if (index >= g->count) return -1;
    view(g, g->list[index], now_ns, out);
    return 0;
}

int registry_find(const struct registry *g, const char *name, int64_t now_ns, struct registry_view *out)
{
    const struct relay *r = registry_relay(g, name);
    if (!r) return -1;
    view(g, r, now_ns, out);
    return 0;
}
