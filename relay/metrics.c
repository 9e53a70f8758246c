#include "relay/metrics.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/stats.h"

#define ANSWERS_MAX 64 /* pairs of route and status; both come from small sets */

enum {
    M_LISTENERS,
    M_MAX,
    M_PEAK,
    M_WAITING,
    M_OPENED,
    M_SECONDS,
    M_EGRESS,
    M_REFUSED,
    M_SHORT_WRITES,
    M_SKIPS,
    M_LINK_UP,
    M_LINK_ATTEMPTS,
    M_LINK_FAILURES,
    M_LINKS,
    M_LINK_RESETS,
    M_INGRESS,
    M_POSITION,
    M_BRANCH,
    M_LEAD,
    M_OFFSET,
    M_STARVATIONS,
    M_REPORTS,
    M_REPORTS_FAILED,
    M_DRAINING,
    M_COUNT
};

static const struct stats_row rows[M_COUNT] = {
    [M_LISTENERS] = {"forever_listeners", STATS_GAUGE, "Listeners served by this node now."},
    [M_MAX] = {"forever_listeners_max", STATS_GAUGE, "Listeners this node serves at most."},
    [M_PEAK] = {"forever_listeners_peak", STATS_GAUGE, "Most listeners at a time since the start."},
    [M_WAITING] = {"forever_listeners_waiting", STATS_GAUGE, "Listeners waiting for the first music."},
    [M_OPENED] = {"forever_listener_starts_total", STATS_COUNTER, "Listeners that were let in."},
    [M_SECONDS] = {"forever_listening_seconds_total", STATS_COUNTER,
                   "Time listened, of sessions that have ended."},
    [M_EGRESS] = {"forever_egress_bytes_total", STATS_COUNTER, "Bytes sent to listeners."},
    [M_REFUSED] = {"forever_refused_total", STATS_COUNTER,
                   "Listeners turned away because all places were taken."},
    [M_SHORT_WRITES] = {"forever_listener_short_writes_total", STATS_COUNTER,
                        "Writes the kernel did not take whole."},
    [M_SKIPS] = {"forever_listener_skips_total", STATS_COUNTER, "Listeners moved on because they lagged."},
    [M_LINK_UP] = {"forever_link_up", STATS_GAUGE, "1 while the programme is pulled from the root."},
    [M_LINK_ATTEMPTS] = {"forever_link_attempts_total", STATS_COUNTER, "Times a link was asked for."},
    [M_LINK_FAILURES] = {"forever_link_failures_total", STATS_COUNTER, "Links refused, cut or not reached."},
    [M_LINKS] = {"forever_link_starts_total", STATS_COUNTER, "Links that came up."},
    [M_LINK_RESETS] = {"forever_link_resets_total", STATS_COUNTER, "Links that did not join what was held."},
    [M_INGRESS] = {"forever_ingress_bytes_total", STATS_COUNTER, "Bytes received from the root."},
    [M_POSITION] = {"forever_position_frames", STATS_GAUGE, "Absolute number of the frame on air."},
    [M_BRANCH] = {"forever_branch", STATS_GAUGE, "Branch of the programme."},
    [M_LEAD] = {"forever_lead_seconds", STATS_GAUGE, "Programme held ahead of the air."},
    [M_OFFSET] = {"forever_clock_offset_seconds", STATS_GAUGE,
                  "How far this node is ahead of the root's clock."},
    [M_STARVATIONS] = {"forever_encoder_starvation_total", STATS_COUNTER, "Times the programme ran dry."},
    [M_REPORTS] = {"forever_reports_total", STATS_COUNTER, "Reports the root has taken."},
    [M_REPORTS_FAILED] = {"forever_reports_failed_total", STATS_COUNTER, "Reports the root has not taken."},
    [M_DRAINING] = {"forever_draining", STATS_GAUGE, "1 when no new listener is taken."},
};

struct answers {
    char route[64];
    int status;
    double count;
};

struct relay_metrics {
    struct relay_metrics_conf conf;
    struct stats stats;
    int64_t started_wall_ns;
    struct answers answers[ANSWERS_MAX];
    size_t answer_count;
};

static void on_done(void *context, const char *route, int status)
{
    struct relay_metrics *m = context;
    size_t i = 0;
    while (i < m->answer_count && (m->answers[i].status != status || strcmp(m->answers[i].route, route)))
        i++;
    if (i == ANSWERS_MAX) return;
    if (i == m->answer_count) {
        m->answers[i].status = status;
        snprintf(m->answers[i].route, sizeof m->answers[i].route, "%s", route);
        m->answer_count++;
    }
    m->answers[i].count++;
}

static void collect(struct relay_metrics *m, const struct fanout_counts *counts)
{
    struct node *node = m->conf.node;
    struct pacer *pacer = node_pacer(node);
    const struct pull_counts *pull = pull_counts(m->conf.pull);
    const struct join_counts *join = join_counts(m->conf.join);
    double *v = m->stats.values;
    int on = node_playable(node); /* else the air stands: nothing to move */
    v[M_LISTENERS] = (double)counts->listening;
    v[M_MAX] = m->conf.max_listeners;
    v[M_PEAK] = (double)node_peak(node);
    v[M_WAITING] = node_waiting(node);
    v[M_OPENED] = (double)counts->opened;
    v[M_SECONDS] = counts->seconds;
    v[M_EGRESS] = (double)counts->bytes;
    v[M_REFUSED] = (double)node_turned_away(node);
    v[M_SHORT_WRITES] = (double)counts->short_writes;
    v[M_SKIPS] = (double)counts->skips;
    v[M_LINK_UP] = pull_following(m->conf.pull);
    v[M_LINK_ATTEMPTS] = (double)pull->attempts;
    v[M_LINK_FAILURES] = (double)pull->failures;
    v[M_LINKS] = (double)pull->links;
    v[M_LINK_RESETS] = (double)pull->resets;
    v[M_INGRESS] = (double)fetch_bytes_in(m->conf.client);
    v[M_POSITION] = (double)(on ? pacer_air(pacer, NULL) : ring_floor(node_ring(node)));
    v[M_BRANCH] = ring_branch(node_ring(node));
    v[M_LEAD] = on ? pacer_lead_s(pacer) : 0;
    v[M_OFFSET] = pacer_offset_s(pacer);
    v[M_STARVATIONS] = (double)pacer_starvations(pacer);
    v[M_REPORTS] = (double)join->taken;
    v[M_REPORTS_FAILED] = (double)join->failed;
    v[M_DRAINING] = node_draining(node);
}

static void write_series(const struct relay_metrics *m, const struct fanout_counts *counts,
                         struct evbuffer *out)
{
    char label[200];
    stats_write_head(out, "forever_listeners_by_agent", STATS_GAUGE,
                     "Listeners of this node by family of player.");
    for (int i = 0; i < AGENT_COUNT; i++) {
        *label = '\0';
        stats_label(label, sizeof label, "agent", fanout_agent_names[i]);
        stats_write_sample(out, "forever_listeners_by_agent", label, (double)counts->agents[i]);
    }
    stats_write_head(out, "forever_listener_sessions_total", STATS_COUNTER,
                     "Listeners that ended, by reason.");
    for (int i = 0; i < FANOUT_END_COUNT; i++) {
        *label = '\0';
        stats_label(label, sizeof label, "end", fanout_end_names[i]);
        stats_write_sample(out, "forever_listener_sessions_total", label, (double)counts->ended[i]);
    }
    stats_write_head(out, "forever_http_requests_total", STATS_COUNTER,
                     "Requests answered, by route and status.");
    for (size_t i = 0; i < m->answer_count; i++) {
        char status[16];
        *label = '\0';
        snprintf(status, sizeof status, "%d", m->answers[i].status);
        stats_label(label, sizeof label, "route", m->answers[i].route);
        stats_label(label, sizeof label, "code", status);
        stats_write_sample(out, "forever_http_requests_total", label, m->answers[i].count);
    }
}

static void on_metrics(void *context, struct http_request *request)
{
    struct relay_metrics *m = context;
    struct evbuffer *out = evbuffer_new();
    struct fanout_counts counts;
    if (!out) {
        http_reply_error(request, 503, "out of memory");
        return;
    }
    node_counts(m->conf.node, &counts);
    collect(m, &counts);
    stats_write(&m->stats, out);
    write_series(m, &counts, out);
    stats_write_process(out, "relay", m->started_wall_ns);
    http_reply_buffer(request, 200, "text/plain; version=0.0.4; charset=utf-8", out);
    evbuffer_free(out);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/metrics", on_metrics, 0, "Prometheus text"},
};

struct relay_metrics *relay_metrics_new(const struct relay_metrics_conf *conf)
{
    struct relay_metrics *m = xcalloc(1, sizeof *m);
    m->conf = *conf;
    m->started_wall_ns = clock_wall_ns();
    stats_init(&m->stats, rows, M_COUNT);
    http_server_routes(conf->http, routes, sizeof routes / sizeof *routes, m);
    http_server_on_done(conf->http, on_done, m);
    return m;
}

void relay_metrics_free(struct relay_metrics *m)
{
    if (!m) return;
    stats_free(&m->stats);
    free(m);
}
