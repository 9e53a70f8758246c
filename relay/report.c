#include "relay/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/stats.h"

struct report {
    struct report_conf conf;
    char session[17];
    uint64_t seq;
};

static json_t *agents(const struct fanout_counts *counts)
{
    json_t *object = json_object();
    for (int i = 0; i < AGENT_COUNT; i++)
        json_object_set_new(object, fanout_agent_names[i], json_integer((json_int_t)counts->agents[i]));
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
        json_array_append_new(list,
                              json_pack("{s:s,s:i,s:b}", "name", m->spec.name, "listeners",
                                        (int)node_listening(m->node), "pulling", pull_following(m->pull)));
    }
    return list;
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
    json_object_set_new(o, "session", json_string(r->session));
    put_count(o, "seq", ++r->seq);
    json_object_set_new(o, "uptime_s", json_real((double)(clock_boot_ns() - r->conf.started_ns) * 1e-9));
    put_count(o, "listeners", counts.listening);
    put_count(o, "max_listeners", r->conf.max_listeners);
    put_count(o, "accepted", counts.opened);
    put_count(o, "closed", counts.closed);
    put_count(o, "bytes_in", fetch_bytes_in(r->conf.client));
    put_count(o, "bytes_out", counts.bytes);
    json_object_set_new(o, "agents", agents(&counts));
    put_place(r, o);
    json_object_set_new(o, "mounts", mounts(r));
    json_object_set_new(o, "pulling", json_boolean(bundle_following(r->conf.bundle) != NULL));
    json_object_set_new(o, "draining",
                        json_boolean(node_draining(bundle_at(r->conf.bundle, 0)->node) != NODE_OPEN));
    json_object_set_new(o, "cpu_s", json_real(process.cpu_s));
    put_count(o, "rss_bytes", process.rss_bytes);
    return o;
}

struct report *report_new(const struct report_conf *conf)
{
    struct report *r = xcalloc(1, sizeof *r);
    r->conf = *conf;
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_wall_ns() ^ (uint64_t)getpid();
    snprintf(r->session, sizeof r->session, "%016llx", (unsigned long long)random);
    return r;
}

void report_free(struct report *r)
{
    free(r);
}
