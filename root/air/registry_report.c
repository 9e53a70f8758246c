/* What relays say, and what they are told of tickets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "root/air/registry_internal.h"

#define COUNT_MAX INT64_C(1000000000)

static uint64_t count_of(const struct json_flat *report, const char *key, int64_t max, int *bad)
{
    return (uint64_t)json_flat_int_or(report, key, 0, 0, max, bad);
}

/* What changes with each report; counts what is of the wrong type. */
static void read_values(const struct json_flat *report, struct registry_values *out, int *bad)
{
    out->now.bytes_in = count_of(report, "bytes_in", INT64_MAX, bad);
    out->now.bytes_out = count_of(report, "bytes_out", INT64_MAX, bad);
    out->now.accepted = count_of(report, "accepted", INT64_MAX, bad);
    out->now.closed = count_of(report, "closed", INT64_MAX, bad);
    out->listeners = count_of(report, "listeners", COUNT_MAX, bad);
    out->max_listeners = count_of(report, "max_listeners", COUNT_MAX, bad);
    out->uptime_s = json_flat_real_or(report, "uptime_s", 0, bad);
    out->lag_s = json_flat_real_or(report, "lag_s", NAN, bad);
    out->lead_s = json_flat_real_or(report, "lead_s", 0, bad);
    out->cpu_s = json_flat_real_or(report, "cpu_s", 0, bad);
    out->position = json_flat_int_or(report, "position", -1, 0, INT64_MAX, bad);
    out->rss_bytes = json_flat_int_or(report, "rss_bytes", 0, 0, INT64_MAX, bad);
    out->pulling = json_flat_bool_or(report, "pulling", false, bad);
    out->draining = json_flat_bool_or(report, "draining", false, bad);
    const struct json_flat *agents = json_flat_get(report, "agents");
    for (int i = 0; i < AGENT_COUNT; i++)
        out->agents[i] = (uint32_t)count_of(agents, fanout_agent_names[i], COUNT_MAX, bad);
}

/* [{"name","listeners","pulling"}...]: how many. */
static unsigned read_mounts(const struct json_flat *report, struct registry_mount *out, int *bad)
{
    const struct json_flat *told = json_flat_get(report, "mounts"), *row = told + 1;
    size_t count = json_flat_items(told);
    *bad |= told && (told->type != JSON_FLAT_ARRAY || count > MOUNTS_MAX);
    if (!told || *bad) return 0;
    for (size_t i = 0; i < count; i++, row += row->cells) {
        struct mount_spec spec;
        *bad |= mount_spec_name(&spec, json_flat_str_or(row, "name", "", bad), NULL) != 0;
        if (*bad) return 0;
        memcpy(out[i].name, spec.name, sizeof spec.name);
        out[i].listeners = (uint32_t)count_of(row, "listeners", COUNT_MAX, bad);
        out[i].pulling = json_flat_bool_or(row, "pulling", 0, bad);
    }
    return (unsigned)count;
}

static double load_bps(const struct registry *g, const struct registry_mount *mounts, unsigned count)
{
    double sum = 0;
    for (unsigned i = 0; i < count; i++) {
        int at = mount_spec_find(g->mounts, g->mount_count, mounts[i].name);
        sum += mounts[i].listeners * (at < 0 ? g->conf.router.rate_bps : g->mounts[at].kbps * 1000.0);
    }
    return sum;
}

static void read_tickets(const struct json_flat *report, struct registry_said *out, int *bad)
{
    const struct json_flat *told = json_flat_get(report, "tickets");
    out->epoch = -1;
    if (!told) return;
    out->epoch = json_flat_int_or(told, "epoch", -1, 0, UINT32_MAX, bad);
    out->values.redeemed = count_of(told, "redeemed", INT64_MAX, bad);
    out->values.expired = count_of(told, "expired", INT64_MAX, bad);
    out->values.unwanted = count_of(told, "refused", INT64_MAX, bad);
    out->floor = count_of(told, "floor", INT64_MAX, bad);
    out->from_floor = count_of(told, "from_floor", INT64_MAX, bad);
}

/* One that another has followed: what comes of it now was overtaken on the way. Not for long: should the two
 * have come in the wrong order, the one that lives is heard again. */
static int has_ended(const struct relay *r, const char *session, int64_t now_ns)
{
    for (int i = 0; i < REGISTRY_ENDED; i++) {
        if (!strcmp(r->ended[i].session, session) &&
            now_ns - r->ended[i].ns < REGISTRY_LATE_S * INT64_C(1000000000))
            return 1;
    }
    return 0;
}

/* The program has started (anew): its tickets get a key of their own. */
static void begin_session(struct registry *g, struct relay *r, const char *session, int64_t now_ns)
{
    r->before.bytes_in += r->values.now.bytes_in;
    r->before.bytes_out += r->values.now.bytes_out;
    r->before.accepted += r->values.now.accepted;
    r->before.closed += r->values.now.closed;
    r->sessions++;
    memmove(&r->ended[1], &r->ended[0], sizeof r->ended - sizeof r->ended[0]);
    memcpy(r->ended[0].session, r->session, sizeof r->session);
    r->ended[0].ns = now_ns;
    snprintf(r->session, sizeof r->session, "%s", session);
    r->has_key =
        g->signer && !ticket_derive(g->signer, g->conf.master, r->terms.name, r->session, r->key, &r->epoch);
    router_restarted(g->router, r->slot, now_ns);
}

static void keep_mounts(struct relay *r, const struct registry_mount *mounts, unsigned count)
{
    if (count != r->mount_count) {
        free(r->mounts);
        r->mounts = count ? xmalloc(count * sizeof *mounts) : NULL;
        r->mount_count = count;
    }
    if (count) memcpy(r->mounts, mounts, count * sizeof *mounts);
}

/* Two that call themselves alike, as relays of one machine do by themselves: neither address is the other's.
 */
static int is_another(const struct registry *g, const struct relay *r, const char *url, const char *session,
                      int64_t now_ns)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    return registry_is_healthy(g, r, now_ns) && strcmp(r->session, session) != 0 &&
           (strlen(r->url) != n || strncmp(r->url, url, n) != 0);
}

int registry_report(struct registry *g, const char *name, const struct json_flat *report, int64_t now_ns,
                    char **cause)
{
    int bad = 0, bad_mounts = 0;
    if (!report || report->type != JSON_FLAT_OBJECT) return cause_set(cause, "a report is a JSON object");
    struct registry_said said = {.name = name ? name : json_flat_str_or(report, "name", "", &bad),
                                 .url = json_flat_str_or(report, "public_url", "", &bad),
                                 .version = json_flat_str_or(report, "version", "", &bad),
                                 .session = json_flat_str_or(report, "session", "", &bad),
                                 .seq = json_flat_int_or(report, "seq", 0, 1, INT64_MAX, &bad)};
    read_values(report, &said.values, &bad);
    said.joins_per_s = json_flat_real_or(report, "joins_per_s", 0, &bad);
    said.uplink_bps = count_of(report, "uplink_bps", INT64_MAX, &bad);
    said.links_bps = count_of(report, "links_bps", INT64_MAX, &bad);
    read_tickets(report, &said, &bad);
    if (bad) return cause_set(cause, "a member is of the wrong type or out of range");
    said.mount_count = read_mounts(report, said.mounts, &bad_mounts);
    if (bad_mounts) return cause_set(cause, "mounts must be a list of name, listeners and pulling");
    return registry_heard(g, &said, !name, now_ns, cause);
}

static int check_said(const struct registry_said *said, char **cause)
{
    if (!registry_text_is_sound(said->name, TERMS_NAME_MAX))
        return cause_set(cause, "name must be 1 to %d printable bytes", TERMS_NAME_MAX);
    if (!registry_url_is_sound(said->url))
        return cause_set(cause, "public_url must be an absolute http or https address");
    if (!registry_text_is_sound(said->session, REGISTRY_SESSION_MAX - 1) ||
        !registry_text_is_sound(said->version, REGISTRY_VERSION_MAX - 1) || said->seq < 1)
        return cause_set(cause, "session, seq and version must be there, of at most %d and %d bytes",
                         REGISTRY_SESSION_MAX - 1, REGISTRY_VERSION_MAX - 1);
    return 0;
}

/* What the choice goes by. */
static void tell_router(struct registry *g, const struct relay *r, const struct registry_said *said,
                        int counts_tickets, int64_t now_ns)
{
    const struct registry_values *v = &said->values;
    router_heard(g->router, r->slot,
                 &(struct router_report){.listeners = v->listeners,
                                         .max_listeners = v->max_listeners,
                                         .load_bps = load_bps(g, said->mounts, said->mount_count),
                                         .joins_per_s = said->joins_per_s > 0 ? said->joins_per_s : 0,
                                         .uplink_bps = (double)said->uplink_bps,
                                         .links_bps = (double)said->links_bps,
                                         .bytes_out = r->before.bytes_out + v->now.bytes_out,
                                         .draining = v->draining,
                                         .secure = registry_is_secure(r),
                                         .counts_tickets = counts_tickets,
                                         .floor = said->floor,
                                         .redeemed_from_floor = said->from_floor,
                                         .redeemed = v->redeemed},
                 now_ns);
}

int registry_heard(struct registry *g, const struct registry_said *said, int unproven, int64_t now_ns,
                   char **cause)
{
    if (check_said(said, cause)) return -1;
    struct relay *r = registry_relay(g, said->name);
    if (r && has_ended(r, said->session, now_ns)) return 0;
    if (r && unproven && is_another(g, r, said->url, said->session, now_ns))
        return cause_set(cause, "another relay of the name %s reports, at %s: each needs a --name of its own",
                         said->name, r->url);
    int goes_on = r && !strcmp(r->session, said->session);
    if (goes_on && said->seq <= r->seq) return 0;
    if (!r) {
        r = registry_add(g, said->name, now_ns);
        if (!r) return cause_set(cause, "there are %d relays already, as many as there may be", REGISTRY_MAX);
        log_info("registry", "relay %s at %s reports for the first time", said->name, said->url);
    }
    int counts_tickets = goes_on && r->has_key && said->epoch == (int64_t)r->epoch;
    int first = !r->sessions;
    if (!goes_on) begin_session(g, r, said->session, now_ns);
    snprintf(r->version, sizeof r->version, "%s", said->version);
    if (!r->fixed_url) registry_set_url(r, said->url);
    r->values = said->values;
    r->seq = said->seq;
    r->heard_ns = now_ns;
    if (first && g->begun_ns && said->values.uptime_s * 1e9 > (double)(now_ns - g->begun_ns)) {
        r->earlier = r->values.now;
        r->earlier.closed = r->earlier.accepted - r->values.listeners;
    }
    keep_mounts(r, said->mounts, said->mount_count);
    tell_router(g, r, said, counts_tickets, now_ns);
    return 1;
}

int registry_polled(struct registry *g, const char *name, uint64_t listeners, uint64_t max_listeners,
                    uint64_t sent_bytes, int64_t now_ns)
{
    struct relay *r = registry_relay(g, name);
    if (!r) return -1;
    if (listeners > r->values.listeners) /* as far as can be seen */
        r->values.now.accepted += listeners - r->values.listeners;
    r->values.listeners = listeners;
    if (!max_listeners && !r->terms.max_listeners) max_listeners = REGISTRY_ICECAST_SLOTS;
    r->values.max_listeners = max_listeners ? max_listeners : r->terms.max_listeners;
    r->values.now.bytes_out += sent_bytes;
    r->heard_ns = now_ns;
    router_heard(g->router, r->slot,
                 &(struct router_report){.listeners = listeners,
                                         .max_listeners = r->values.max_listeners,
                                         .bytes_out = r->values.now.bytes_out,
                                         .secure = registry_is_secure(r),
                                         .single = 1},
                 now_ns);
    return 0;
}

int registry_ticket(struct registry *g, const char *name, int64_t now_ns, struct registry_ticket *out)
{
    struct relay *r = registry_relay(g, name);
    if (!r || !r->has_key) return -1;
    *out = (struct registry_ticket){.epoch = r->epoch,
                                    .clock = ticket_clock(now_ns),
                                    .floor = router_floor(g->router, r->slot, now_ns),
                                    .key = r->key};
    return 0;
}

void registry_ticket_write(struct registry *g, const char *name, int64_t now_ns, struct json_write *answer)
{
    struct registry_ticket t;
    char key[TICKET_KEY_TEXT];
    if (registry_ticket(g, name, now_ns, &t)) return;
    ticket_key_write(t.key, key);
    json_write_open(answer, "ticket", '{');
    json_write_int(answer, "epoch", t.epoch);
    json_write_str(answer, "key", key);
    json_write_int(answer, "clock", t.clock);
    json_write_int(answer, "floor", (int64_t)t.floor);
    json_write_close(answer, '}');
}
