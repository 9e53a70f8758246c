#include "relay/metrics.h"

#include <stdlib.h>

#include "common/mem.h"
#include "common/station_stats.h"

enum {
    M_LINK_UP,
    M_LINK_ATTEMPTS,
    M_LINK_FAILURES,
    M_LINKS,
    M_LINK_RESETS,
    M_INGRESS,
    M_SWITCHES,
    M_FEEDS,
    M_FEEDS_REFUSED,
    M_LINK_EGRESS,
    M_OFFSET,
    M_REPORTS,
    M_REPORTS_FAILED,
    M_DRAINING,
    M_MONTH_BYTES,
    M_MONTH_START,
    M_SENT_ON,
    M_COUNT
};

static const struct stats_row rows[M_COUNT] = {
    [M_LINK_UP] = {"forever_link_up", STATS_GAUGE, "1 while the programme is pulled from the root."},
    [M_LINK_ATTEMPTS] = {"forever_link_attempts_total", STATS_COUNTER, "Times a link was asked for."},
    [M_LINK_FAILURES] = {"forever_link_failures_total", STATS_COUNTER, "Links refused, cut or not reached."},
    [M_LINKS] = {"forever_link_starts_total", STATS_COUNTER, "Links that came up."},
    [M_LINK_RESETS] = {"forever_link_resets_total", STATS_COUNTER, "Links that did not join what was held."},
    [M_INGRESS] = {"forever_ingress_bytes_total", STATS_COUNTER, "Bytes received from the root."},
    [M_SWITCHES] = {"forever_link_switches_total", STATS_COUNTER,
                    "Times another parent took over while a link was up."},
    [M_FEEDS] = {"forever_links", STATS_GAUGE, "Relays that are fed from here, by mount."},
    [M_FEEDS_REFUSED] = {"forever_links_refused_total", STATS_COUNTER,
                         "Relays not let in that wanted to be fed."},
    [M_LINK_EGRESS] = {"forever_link_egress_bytes_total", STATS_COUNTER, "Bytes sent to relays."},
    [M_OFFSET] = {"forever_clock_offset_seconds", STATS_GAUGE,
                  "How far this node is ahead of the root's clock."},
    [M_REPORTS] = {"forever_reports_total", STATS_COUNTER, "Reports the root has taken."},
    [M_REPORTS_FAILED] = {"forever_reports_failed_total", STATS_COUNTER, "Reports the root has not taken."},
    [M_MONTH_BYTES] = {"forever_month_bytes", STATS_GAUGE, "Sent in the billing month, as billed."},
    [M_MONTH_START] = {"forever_month_start_seconds", STATS_GAUGE,
                       "When the billing month began, since 1970."},
    [M_DRAINING] = {"forever_draining", STATS_GAUGE, "1 when no new listener is taken."},
    [M_SENT_ON] = {"forever_redirects_total", STATS_COUNTER,
                   "Listeners sent on to another node for want of room."},
};

struct relay_metrics {
    struct relay_metrics_conf conf;
    struct station_stats *stats;
};

static void look(void *context, struct station_look *out)
{
    const struct relay_metrics *m = context;
    struct node *main = bundle_at(m->conf.bundle, 0)->node, *heard = bundle_heard(m->conf.bundle);
    bundle_counts(m->conf.bundle, &out->counts);
    out->peak = bundle_peak(m->conf.bundle);
    out->waiting = bundle_waiting(m->conf.bundle);
    out->max_listeners = m->conf.max_listeners;
    out->ring = node_ring(heard ? heard : main);
    out->pacer = node_pacer(heard ? heard : main);
    out->on_air = heard != NULL;
    for (size_t i = 0; i < bundle_count(m->conf.bundle); i++)
        out->loop_playing |= fanout_loop_title(node_fanout(bundle_at(m->conf.bundle, i)->node)) != NULL;
}

static void values(void *context, double *v)
{
    const struct relay_metrics *m = context;
    struct pull_counts pull;
    const struct join_counts *join = join_counts(m->conf.join);
    bundle_pulls(m->conf.bundle, &pull);
    v[M_LINK_UP] = bundle_following(m->conf.bundle) != NULL;
    v[M_LINK_ATTEMPTS] = (double)pull.attempts;
    v[M_LINK_FAILURES] = (double)pull.failures;
    v[M_LINKS] = (double)pull.links;
    v[M_LINK_RESETS] = (double)pull.resets;
    v[M_INGRESS] = (double)fetch_bytes_in(m->conf.client);
    v[M_SWITCHES] = (double)pull.switches;
    v[M_FEEDS] = m->conf.feed ? feed_links(m->conf.feed) : 0;
    v[M_FEEDS_REFUSED] = m->conf.feed ? (double)feed_refused(m->conf.feed) : 0;
    v[M_LINK_EGRESS] = m->conf.feed ? (double)feed_bytes(m->conf.feed) : 0;
    v[M_OFFSET] = bundle_offset_s(m->conf.bundle);
    v[M_REPORTS] = (double)join->taken;
    v[M_REPORTS_FAILED] = (double)join->failed;
    int64_t since_s = 0;
    if (m->conf.ledger) v[M_MONTH_BYTES] = (double)ledger_bytes(m->conf.ledger, &since_s);
    v[M_MONTH_START] = (double)since_s;
    v[M_DRAINING] = node_draining(bundle_at(m->conf.bundle, 0)->node) != NODE_OPEN;
    v[M_SENT_ON] = (double)node_sent_on(bundle_at(m->conf.bundle, 0)->node);
}

static double mount_listeners(const struct bundle_mount *m)
{
    return node_listening(m->node);
}
static double mount_up(const struct bundle_mount *m)
{
    return pull_following(m->pull);
}
static double mount_out(const struct bundle_mount *m)
{
    struct fanout_counts counts;
    node_counts(m->node, &counts);
    return (double)counts.bytes;
}

static double mount_in(const struct bundle_mount *m)
{
    return (double)pull_counts(m->pull)->bytes;
}

static void series(void *context, struct evbuffer *out)
{
    static const struct {
        const char *name;
        enum stats_kind kind;
        const char *help;
        double (*value)(const struct bundle_mount *mount);
    } columns[] = {
        {"forever_mount_listeners", STATS_GAUGE, "Listeners of this node by mount.", mount_listeners},
        {"forever_mount_link_up", STATS_GAUGE, "1 while the mount is pulled from the root.", mount_up},
        {"forever_mount_ingress_bytes_total", STATS_COUNTER, "Bytes of links by mount.", mount_in},
        {"forever_mount_egress_bytes_total", STATS_COUNTER, "Bytes sent to listeners by mount.", mount_out},
    };
    const struct relay_metrics *m = context;
    if (m->conf.front) front_metrics(m->conf.front, out);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        stats_write_head(out, columns[i].name, columns[i].kind, columns[i].help);
        for (size_t k = 0; k < bundle_count(m->conf.bundle); k++) {
            const struct bundle_mount *mount = bundle_at(m->conf.bundle, k);
            char label[64] = "";
            stats_label(label, sizeof label, "mount", mount->spec.name);
            stats_write_sample(out, columns[i].name, label, columns[i].value(mount));
        }
    }
}

struct relay_metrics *relay_metrics_new(const struct relay_metrics_conf *conf)
{
    struct relay_metrics *m = xcalloc(1, sizeof *m);
    m->conf = *conf;
    m->stats = station_stats_new(&(struct station_stats_conf){.http = conf->http,
                                                              .role = "relay",
                                                              .rows = rows,
                                                              .row_count = M_COUNT,
                                                              .look = look,
                                                              .values = values,
                                                              .series = series,
                                                              .context = m});
    return m;
}

void relay_metrics_free(struct relay_metrics *m)
{
    if (!m) return;
    station_stats_free(m->stats);
    free(m);
}
