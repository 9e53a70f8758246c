#include "relay/report.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/stats.h"
#include "relay/admission.h"

#define LENGTHS_EVERY  8  /* reports: they are for people, who look now and then */
#define VERSIONS_EVERY 32 /* reports: they change with a new session only, but any report may get lost */

struct report {
    struct report_conf conf;
    uint64_t seq;
    uint64_t rate_bytes; /* sent to listeners when the last report was made */
    int64_t rate_ns;
};

static json_t *agents(const struct fanout_counts *counts, int all)
{
    json_t *object = json_object();
    for (int i = 0; i < AGENT_COUNT; i++) {
        if (all || counts->agents[i])
            json_object_set_new(object, fanout_agent_names[i], json_integer((json_int_t)counts->agents[i]));
    }
    return object;
}

static void put_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* The programme's place here: unknown while nothing is pulled, since the air then stands for want of frames.
 * All mounts are at the same place: one that is heard tells it. */
static void put_place(const struct report *r, json_t *object)
{
    struct node *node = bundle_heard(r->conf.bundle);
    const struct pull *pull = bundle_following(r->conf.bundle);
    struct pacer *pacer = node ? node_pacer(node) : NULL;
    uint64_t air = node ? pacer_air(pacer, NULL) : 0;
    json_object_set_new(object, "position", air ? json_integer((json_int_t)air) : json_null());
    json_object_set_new(object, "lag_s", pull ? json_real(-bundle_offset_s(r->conf.bundle)) : json_null());
    json_object_set_new(object, "lead_s", json_real(node ? pacer_lead_s(pacer) : 0));
}

static json_t *mounts(const struct report *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bundle_count(r->conf.bundle); i++) {
        const struct bundle_mount *m = bundle_at(r->conf.bundle, i);
        struct fanout_counts counts;
        node_counts(m->node, &counts);
        json_t *o = json_pack("{s:s,s:b}", "name", m->spec.name, "pulling", pull_following(m->pull));
        put_count(o, "listeners", counts.listening);
        put_count(o, "accepted", counts.opened);
        put_count(o, "closed", counts.closed);
        put_count(o, "bytes_in", pull_counts(m->pull)->bytes);
        put_count(o, "bytes_out", counts.bytes);
        if (counts.listening) json_object_set_new(o, "agents", agents(&counts, 0));
        json_array_append_new(list, o);
    }
    return list;
}

/* Each slot holds those before it too. */
static json_t *lengths(const struct fanout_counts *counts)
{
    json_t *list = json_array();
    uint64_t sum = 0;
    for (int i = 0; i < FANOUT_LENGTHS; i++) {
        sum += counts->lengths[i];
        json_array_append_new(list, json_integer((json_int_t)sum));
    }
    return list;
}

static json_t *versions(void)
{
    struct utsname system;
    if (uname(&system)) snprintf(system.release, sizeof system.release, "unknown");
    return json_pack("{s:s,s:s,s:s,s:s}", "libevent", event_get_version(), "openssl",
                     OpenSSL_version(OPENSSL_VERSION_STRING), "libcurl", fetch_library(), "kernel",
                     system.release);
}

/* Where the programme comes from, and to which relays it goes on. */
static void put_tree(const struct report *r, json_t *o)
{
    const char *upstream = bundle_upstream(r->conf.bundle);
    if (upstream) json_object_set_new(o, "upstream", json_string(upstream));
    if (r->conf.link_url)
        json_object_set_new(o, "link",
                            json_pack("{s:s,s:s}", "url", r->conf.link_url, "pin", r->conf.link_pin));
    if (!r->conf.feed) return;
    put_count(o, "links", feed_links(r->conf.feed));
    put_count(o, "links_bps", feed_bps(r->conf.feed));
    put_count(o, "link_bytes_out", feed_bytes(r->conf.feed));
}

/* To listeners, since the report before. */
static double sent_bps(struct report *r, uint64_t bytes)
{
    int64_t now_ns = clock_boot_ns(), since_ns = now_ns - r->rate_ns;
    double bps = r->rate_ns && since_ns > 0 ? (double)(bytes - r->rate_bytes) * 8e9 / (double)since_ns : 0;
    r->rate_ns = now_ns;
    r->rate_bytes = bytes;
    return bps;
}

json_t *report_make(struct report *r)
{
    struct fanout_counts counts;
    struct stats_process process;
    bundle_tick(r->conf.bundle);
    bundle_counts(r->conf.bundle, &counts);
    stats_process_read(&process);
    json_t *o = json_object();
    json_object_set_new(o, "name", json_text_lossy(r->conf.name));
    json_object_set_new(o, "public_url", json_text_lossy(r->conf.public_url));
    json_object_set_new(o, "version", json_string(FOREVER_VERSION));
    json_object_set_new(o, "session", json_string(r->conf.id));
    put_count(o, "seq", ++r->seq);
    json_object_set_new(o, "uptime_s", json_real((double)(clock_boot_ns() - r->conf.started_ns) * 1e-9));
    put_count(o, "listeners", counts.listening);
    put_count(o, "max_listeners", r->conf.max_listeners);
    put_count(o, "accepted", counts.opened);
    put_count(o, "closed", counts.closed);
    put_count(o, "bytes_in", fetch_bytes_in(r->conf.client));
    put_count(o, "bytes_out", counts.bytes);
    json_object_set_new(o, "agents", agents(&counts, 1));
    put_place(r, o);
    json_object_set_new(o, "mounts", mounts(r));
    json_object_set_new(o, "pulling", json_boolean(bundle_following(r->conf.bundle) != NULL));
    json_object_set_new(o, "draining",
                        json_boolean(node_draining(bundle_at(r->conf.bundle, 0)->node) != NODE_OPEN));
    json_object_set_new(o, "cpu_s", json_real(process.cpu_s));
    put_count(o, "rss_bytes", process.rss_bytes);
    put_count(o, "fds", process.fds);
    put_count(o, "fd_limit", process.fd_limit);
    put_count(o, "sent_bps", (uint64_t)sent_bps(r, counts.bytes));
    if (r->conf.joins_per_s > 0) json_object_set_new(o, "joins_per_s", json_real(r->conf.joins_per_s));
    if (r->conf.admission) json_object_set_new(o, "tickets", admission_json(r->conf.admission));
    if (r->conf.uplink_bps) put_count(o, "uplink_bps", r->conf.uplink_bps);
    put_tree(r, o);
    if (r->seq % LENGTHS_EVERY == 1) json_object_set_new(o, "lengths", lengths(&counts));
    if (r->seq % VERSIONS_EVERY == 1) json_object_set_new(o, "versions", versions());
    if (r->conf.ledger) json_object_set_new(o, "ledger", ledger_json(r->conf.ledger));
    return o;
}

struct report *report_new(const struct report_conf *conf)
{
    struct report *r = xcalloc(1, sizeof *r);
    r->conf = *conf;
    return r;
}

void report_free(struct report *r)
{
    free(r);
}
