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
    M_OFFSET,
    M_REPORTS,
    M_REPORTS_FAILED,
    M_DRAINING,
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
    [M_OFFSET] = {"forever_clock_offset_seconds", STATS_GAUGE,
                  "How far this node is ahead of the root's clock."},
    [M_REPORTS] = {"forever_reports_total", STATS_COUNTER, "Reports the root has taken."},
    [M_REPORTS_FAILED] = {"forever_reports_failed_total", STATS_COUNTER, "Reports the root has not taken."},
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
    struct node *node = m->conf.node;
    node_counts(node, &out->counts);
    out->peak = node_peak(node);
    out->refused = node_turned_away(node);
    out->waiting = node_waiting(node);
    out->max_listeners = m->conf.max_listeners;
    out->ring = node_ring(node);
    out->pacer = node_pacer(node);
    out->on_air = node_playable(node);
}

static void values(void *context, double *v)
{
    const struct relay_metrics *m = context;
    const struct pull_counts *pull = pull_counts(m->conf.pull);
    const struct join_counts *join = join_counts(m->conf.join);
    v[M_LINK_UP] = pull_following(m->conf.pull);
    v[M_LINK_ATTEMPTS] = (double)pull->attempts;
    v[M_LINK_FAILURES] = (double)pull->failures;
    v[M_LINKS] = (double)pull->links;
    v[M_LINK_RESETS] = (double)pull->resets;
    v[M_INGRESS] = (double)fetch_bytes_in(m->conf.client);
    v[M_OFFSET] = pacer_offset_s(node_pacer(m->conf.node));
    v[M_REPORTS] = (double)join->taken;
    v[M_REPORTS_FAILED] = (double)join->failed;
    v[M_DRAINING] = node_draining(m->conf.node);
    v[M_SENT_ON] = (double)node_sent_on(m->conf.node);
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
                                                              .context = m});
    return m;
}

void relay_metrics_free(struct relay_metrics *m)
{
    if (!m) return;
    station_stats_free(m->stats);
    free(m);
}
