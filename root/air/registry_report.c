/* What relays say, and what they are told of tickets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/air/registry_internal.h"

#define COUNT_MAX INT64_C(1000000000)

static uint64_t count_of(const json_t *report, const char *key, int64_t max, int *bad)
{
    return (uint64_t)json_int_or(report, key, 0, 0, max, bad);
}

/* What changes with each report; counts what is of the wrong type. */
static void read_values(const json_t *report, struct relay_values *out, int *bad)
{
    out->now.bytes_in = count_of(report, "bytes_in", INT64_MAX, bad);
    out->now.bytes_out = count_of(report, "bytes_out", INT64_MAX, bad);
    out->now.accepted = count_of(report, "accepted", INT64_MAX, bad);
    out->now.closed = count_of(report, "closed", INT64_MAX, bad);
    out->listeners = count_of(report, "listeners", COUNT_MAX, bad);
    out->max_listeners = count_of(report, "max_listeners", COUNT_MAX, bad);
    out->uptime_s = json_real_or(report, "uptime_s", 0, bad);
    out->lag_s = json_real_or(report, "lag_s", NAN, bad);
    out->lead_s = json_real_or(report, "lead_s", 0, bad);
    out->cpu_s = json_real_or(report, "cpu_s", 0, bad);
    out->position = json_int_or(report, "position", -1, 0, INT64_MAX, bad);
    out->rss_bytes = json_int_or(report, "rss_bytes", 0, 0, INT64_MAX, bad);
    out->pulling = json_bool_or(report, "pulling", false, bad);
    out->draining = json_bool_or(report, "draining", false, bad);
    const json_t *agents = json_object_get(report, "agents");
    for (int i = 0; i < AGENT_COUNT; i++)
        out->agents[i] = (uint32_t)count_of(agents, fanout_agent_names[i], COUNT_MAX, bad);
}

/* [{"name","listeners","pulling"}...]: how many. */
static unsigned read_mounts(const json_t *report, struct relay_mount *out, int *bad)
{
    const json_t *told = json_object_get(report, "mounts"), *row;
    size_t i;
    *bad |= told && (!json_is_array(told) || json_array_size(told) > MOUNTS_MAX);
    if (!told || *bad) return 0;
    json_array_foreach(told, i, row)
    {
        struct mount_spec spec;
        *bad |= mount_spec_name(&spec, json_str_or(row, "name", "", bad), NULL) != 0;
        if (*bad) return 0;
        memcpy(out[i].name, spec.name, sizeof spec.name);
        out[i].listeners = (uint32_t)count_of(row, "listeners", COUNT_MAX, bad);
        out[i].pulling = json_bool_or(row, "pulling", 0, bad);
    }
    return (unsigned)i;
}

static double load_bps(const struct registry *g, const struct relay_mount *mounts, unsigned count)
{
    double sum = 0;
    for (unsigned i = 0; i < count; i++) {
        int at = mount_spec_find(g->mounts, g->mount_count, mounts[i].name);
        sum += mounts[i].listeners * (at < 0 ? g->conf.router.rate_bps : g->mounts[at].kbps * 1000.0);
    }
    return sum;
}

static void read_tickets(const struct relay *r, const json_t *report, struct relay_values *values,
                         struct router_report *out, int *bad)
{
    const json_t *told = json_object_get(report, "tickets");
    if (!told) return;
    int64_t epoch = json_int_or(told, "epoch", -1, 0, UINT32_MAX, bad);
    values->redeemed = out->redeemed = count_of(told, "redeemed", INT64_MAX, bad);
    values->expired = count_of(told, "expired", INT64_MAX, bad);
    values->unwanted = count_of(told, "refused", INT64_MAX, bad);
    out->floor = count_of(told, "floor", INT64_MAX, bad);
    out->redeemed_from_floor = count_of(told, "from_floor", INT64_MAX, bad);
    out->counts_tickets = !*bad && r && r->has_key && epoch == (int64_t)r->epoch;
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

static void keep_mounts(struct relay *r, const struct relay_mount *mounts, unsigned count)
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
static int is_another(const struct relay *r, const char *url, const char *session, int64_t now_ns)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    return registry_is_healthy(r, now_ns) && strcmp(r->session, session) != 0 &&
           (strlen(r->url) != n || strncmp(r->url, url, n) != 0);
}

int registry_report(struct registry *g, const char *name, const json_t *report, int64_t now_ns, char **cause)
{
    int bad = 0;
    if (!json_is_object(report)) return cause_set(cause, "a report is a JSON object");
    int says_so = !name;
    if (says_so) name = json_str_or(report, "name", "", &bad);
    const char *url = json_str_or(report, "public_url", "", &bad);
    const char *version = json_str_or(report, "version", "", &bad);
    const char *session = json_str_or(report, "session", "", &bad);
    int64_t seq = json_int_or(report, "seq", 0, 1, INT64_MAX, &bad);
    struct relay_values values = {0};
    struct router_report heard = {.secure = !strncasecmp(url, "https:", 6)};
    read_values(report, &values, &bad);
    double joins_per_s = json_real_or(report, "joins_per_s", 0, &bad);
    uint64_t uplink_bps = count_of(report, "uplink_bps", INT64_MAX, &bad);
    uint64_t links_bps = count_of(report, "links_bps", INT64_MAX, &bad);
    if (bad) return cause_set(cause, "a member is of the wrong type or out of range");
    if (!registry_text_is_sound(name, TERMS_NAME_MAX))
        return cause_set(cause, "name must be 1 to %d printable bytes", TERMS_NAME_MAX);
    if (!registry_url_is_sound(url))
        return cause_set(cause, "public_url must be an absolute http or https address");
    if (!registry_text_is_sound(session, REGISTRY_SESSION_MAX - 1) ||
        !registry_text_is_sound(version, REGISTRY_VERSION_MAX - 1) || !seq)
        return cause_set(cause, "session, seq and version must be there, of at most %d and %d bytes",
                         REGISTRY_SESSION_MAX - 1, REGISTRY_VERSION_MAX - 1);
    struct relay_mount mounts[MOUNTS_MAX];
    unsigned mount_count = read_mounts(report, mounts, &bad);
    if (bad) return cause_set(cause, "mounts must be a list of name, listeners and pulling");
    struct relay *r = registry_relay(g, name);
    if (r && has_ended(r, session, now_ns)) return 0;
    if (r && says_so && is_another(r, url, session, now_ns))
        return cause_set(cause, "another relay of the name %s reports, at %s: each needs a --name of its own",
                         name, r->url);
    if (r && !strcmp(r->session, session)) {
        if (seq <= r->seq) return 0;
        read_tickets(r, report, &values, &heard, &bad);
    } else {
        read_tickets(NULL, report, &values, &heard, &bad);
    }
    if (bad) return cause_set(cause, "tickets must be counts");
    if (!r) {
        r = registry_add(g, name, now_ns);
        if (!r) return cause_set(cause, "there are %d relays already, as many as there may be", REGISTRY_MAX);
        log_info("registry", "relay %s at %s reports for the first time", name, url);
    }
    if (strcmp(r->session, session)) begin_session(g, r, session, now_ns);
    snprintf(r->version, sizeof r->version, "%s", version);
    if (!r->fixed_url) registry_set_url(r, url);
    r->values = values;
    r->seq = seq;
    r->heard_ns = now_ns;
    keep_mounts(r, mounts, mount_count);
    heard.secure = registry_is_secure(r);
    heard.listeners = values.listeners;
    heard.max_listeners = values.max_listeners;
    heard.load_bps = load_bps(g, mounts, mount_count);
    heard.uplink_bps = (double)uplink_bps;
    heard.links_bps = (double)links_bps;
    heard.joins_per_s = joins_per_s > 0 ? joins_per_s : 0;
    heard.bytes_out = r->before.bytes_out + values.now.bytes_out;
    heard.draining = values.draining;
    router_heard(g->router, r->slot, &heard, now_ns);
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

json_t *registry_ticket_json(struct registry *g, const char *name, int64_t now_ns)
{
    struct relay *r = registry_relay(g, name);
    if (!r || !r->has_key) return NULL;
    char key[TICKET_KEY_TEXT];
    ticket_key_write(r->key, key);
    return json_pack("{s:I,s:s,s:I,s:I}", "epoch", (json_int_t)r->epoch, "key", key, "clock",
                     (json_int_t)ticket_clock(now_ns), "floor",
                     (json_int_t)router_floor(g->router, r->slot, now_ns));
}
