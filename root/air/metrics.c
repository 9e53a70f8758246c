/* metrics: /metrics in Prometheus' text format. One table of what this program counts; labelled series are
 * written beside it. */
#include <event2/buffer.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/stats.h"
#include "root/air/air.h"

#define CODES_MAX 128 /* pairs of route and status */

enum metric {
    M_LISTENERS,
    M_PEAK,
    M_WAITING,
    M_OPENED,
    M_SECONDS,
    M_EGRESS,
    M_LINK_EGRESS,
    M_LINKS,
    M_REDIRECTS,
    M_REFUSED,
    M_SHORT_WRITES,
    M_SKIPS,
    M_POSITION,
    M_BRANCH,
    M_LEAD,
    M_STARVED,
    M_STARVATIONS,
    M_FRAMES,
    M_RELAYS_HEALTHY,
    M_REPORTS,
    M_REPORTS_REFUSED,
    M_MESSAGES,
    M_TIMEOUTS,
    M_RULE_BREAKS,
    M_COUNT
};

static const struct stats_row rows[M_COUNT] = {
    [M_LISTENERS] = {"forever_listeners", STATS_GAUGE, "Listeners served by this node now."},
    [M_PEAK] = {"forever_listeners_peak", STATS_GAUGE, "Most listeners at a time since the start."},
    [M_WAITING] = {"forever_listeners_waiting", STATS_GAUGE, "Listeners waiting for the first music."},
    [M_OPENED] = {"forever_listener_starts_total", STATS_COUNTER, "Listeners that were let in."},
    [M_SECONDS] = {"forever_listening_seconds_total", STATS_COUNTER,
                   "Time listened, of sessions that have ended."},
    [M_EGRESS] = {"forever_egress_bytes_total", STATS_COUNTER, "Bytes sent to listeners."},
    [M_LINK_EGRESS] = {"forever_link_egress_bytes_total", STATS_COUNTER, "Bytes sent to relays."},
    [M_LINKS] = {"forever_links", STATS_GAUGE, "Relays that pull now."},
    [M_REDIRECTS] = {"forever_redirects_total", STATS_COUNTER, "Listeners sent to relays."},
    [M_REFUSED] = {"forever_refused_total", STATS_COUNTER,
                   "Listeners turned away because all places were taken."},
    [M_SHORT_WRITES] = {"forever_listener_short_writes_total", STATS_COUNTER,
                        "Writes the kernel did not take whole."},
    [M_SKIPS] = {"forever_listener_skips_total", STATS_COUNTER, "Listeners moved on because they lagged."},
    [M_POSITION] = {"forever_position_frames", STATS_GAUGE, "Absolute number of the frame on air."},
    [M_BRANCH] = {"forever_branch", STATS_GAUGE, "Branch of the programme."},
    [M_LEAD] = {"forever_encoder_ahead_seconds", STATS_GAUGE, "Programme held ahead of the air."},
    [M_STARVED] = {"forever_starved", STATS_GAUGE, "1 while the air stands still for want of frames."},
    [M_STARVATIONS] = {"forever_encoder_starvation_total", STATS_COUNTER, "Times the programme ran dry."},
    [M_FRAMES] = {"forever_frames_total", STATS_COUNTER, "Frames received from the studio."},
    [M_RELAYS_HEALTHY] = {"forever_relays_healthy", STATS_GAUGE, "Relays whose last report is fresh."},
    [M_REPORTS] = {"forever_relay_reports_total", STATS_COUNTER, "Reports taken from relays."},
    [M_REPORTS_REFUSED] = {"forever_relay_reports_refused_total", STATS_COUNTER,
                           "Requests of relays that were refused."},
    [M_MESSAGES] = {"forever_worker_messages_total", STATS_COUNTER, "Events and requests of workers."},
    [M_TIMEOUTS] = {"forever_worker_timeouts_total", STATS_COUNTER, "Requests that got no answer in time."},
    [M_RULE_BREAKS] = {"forever_worker_rule_breaks_total", STATS_COUNTER,
                       "Workers replaced for what they said."},
};

struct metrics {
    struct air *air;
    struct stats stats;
    struct code {
        const char *route;
        int status;
        double count;
    } codes[CODES_MAX];
    size_t code_count;
};

static void collect(struct metrics *m)
{
    const struct air *air = m->air;
    const struct fanout_counts *c = fanout_counts(air->fanout);
    const struct switchboard_counts *w = switchboard_counts(workers_switchboard(air->workers));
    struct registry_totals relays;
    registry_totals(air->registry, &relays);
    double *v = m->stats.values;
    v[M_LISTENERS] = (double)c->listening;
    v[M_PEAK] = (double)station_peak(air->station);
    v[M_WAITING] = (double)station_waiting(air->station);
    v[M_OPENED] = (double)c->opened;
    v[M_SECONDS] = c->seconds;
    v[M_EGRESS] = (double)c->bytes;
    v[M_LINK_EGRESS] = (double)link_server_bytes(air->link);
    v[M_LINKS] = (double)link_server_count(air->link);
    v[M_REDIRECTS] = (double)air->redirects;
    v[M_REFUSED] = (double)air->refused;
    v[M_SHORT_WRITES] = (double)c->short_writes;
    v[M_SKIPS] = (double)c->skips;
    v[M_POSITION] = (double)air_position(air);
    v[M_BRANCH] = (double)ring_branch(air->ring);
    v[M_LEAD] = air_lead_s(air);
    v[M_STARVED] = pacer_starved(air->pacer);
    v[M_STARVATIONS] = (double)pacer_starvations(air->pacer);
    v[M_FRAMES] = (double)schedule_frames_received(air->schedule);
    v[M_RELAYS_HEALTHY] = relays.healthy;
    v[M_REPORTS] = (double)air->reports;
    v[M_REPORTS_REFUSED] = (double)air->reports_refused;
    v[M_MESSAGES] = (double)(w->events + w->requests);
    v[M_TIMEOUTS] = (double)w->timeouts;
    v[M_RULE_BREAKS] = (double)w->rule_breaks;
}

static void write_listener_kinds(const struct air *air, struct evbuffer *out)
{
    const struct fanout_counts *c = fanout_counts(air->fanout);
    stats_write_head(out, "forever_listeners_by_agent", STATS_GAUGE,
                     "Listeners of this node by family of player.");
    for (int i = 0; i < AGENT_COUNT; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, "agent", fanout_agent_names[i]);
        stats_write_sample(out, "forever_listeners_by_agent", label, (double)c->agents[i]);
    }
    stats_write_head(out, "forever_listener_sessions_total", STATS_COUNTER,
                     "Listeners that ended, by reason.");
    for (int i = 0; i < FANOUT_END_COUNT; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, "end", fanout_end_names[i]);
        stats_write_sample(out, "forever_listener_sessions_total", label, (double)c->ended[i]);
    }
}

static void write_library(const struct air *air, struct evbuffer *out)
{
    static const char *const states[] = {"analysed", "failed", "pending"};
    stats_write_head(out, "forever_library_tracks", STATS_GAUGE, "Tracks of the library by state.");
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, "state", states[i]);
        stats_write_sample(out, "forever_library_tracks", label,
                           (double)json_integer_value(json_object_get(air->progress, states[i])));
    }
}

static void write_workers(const struct air *air, struct evbuffer *out)
{
    stats_write_head(out, "forever_worker_restarts_total", STATS_COUNTER,
                     "Workers started again after they ended.");
    for (int role = ROLE_STORE; role < ROLE_COUNT; role++) {
        char label[64] = "";
        stats_label(label, sizeof label, "role", role_name((enum role)role));
        stats_write_sample(out, "forever_worker_restarts_total", label,
                           workers_restarts(air->workers, (enum role)role));
    }
}

static double relay_listeners(const struct registry_view *v)
{
    return (double)v->listeners;
}
static double relay_up(const struct registry_view *v)
{
    return v->healthy;
}
static double relay_lag(const struct registry_view *v)
{
    return v->lag_s;
}
static double relay_out(const struct registry_view *v)
{
    return (double)v->bytes_out;
}
static double relay_in(const struct registry_view *v)
{
    return (double)v->bytes_in;
}
static double relay_redirects(const struct registry_view *v)
{
    return (double)v->redirects;
}

static void write_relays(const struct air *air, struct evbuffer *out)
{
    static const struct {
        const char *name;
        enum stats_kind kind;
        const char *help;
        double (*value)(const struct registry_view *view);
    } series[] = {
        {"forever_relay_up", STATS_GAUGE, "1 when the relay's last report is fresh.", relay_up},
        {"forever_relay_listeners", STATS_GAUGE, "Listeners of the relay as it reports.", relay_listeners},
        {"forever_relay_lag_seconds", STATS_GAUGE, "The root's clock minus the relay's.", relay_lag},
        {"forever_relay_egress_bytes_total", STATS_COUNTER, "Bytes the relay sent to listeners.", relay_out},
        {"forever_relay_ingress_bytes_total", STATS_COUNTER, "Bytes the relay pulled.", relay_in},
        {"forever_relay_redirects_total", STATS_COUNTER, "Listeners sent to the relay.", relay_redirects},
    };
    struct registry_view view;
    if (registry_view(air->registry, 0, &view)) return;
    for (size_t i = 0; i < sizeof series / sizeof *series; i++) {
        stats_write_head(out, series[i].name, series[i].kind, series[i].help);
        for (size_t k = 0; !registry_view(air->registry, k, &view); k++) {
            char label[1400] = "";
            double value = series[i].value(&view);
            stats_label(label, sizeof label, "relay", view.name);
            stats_label(label, sizeof label, "url", view.url);
            if (!isnan(value)) stats_write_sample(out, series[i].name, label, value);
        }
    }
}

static void write_codes(const struct metrics *m, struct evbuffer *out)
{
    stats_write_head(out, "forever_http_requests_total", STATS_COUNTER,
                     "Requests answered, by route and status.");
    for (size_t i = 0; i < m->code_count; i++) {
        char label[200] = "", status[16];
        snprintf(status, sizeof status, "%d", m->codes[i].status);
        stats_label(label, sizeof label, "route", m->codes[i].route);
        stats_label(label, sizeof label, "code", status);
        stats_write_sample(out, "forever_http_requests_total", label, m->codes[i].count);
    }
}

static void on_metrics(void *context, struct http_request *request)
{
    struct metrics *m = context;
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        http_reply_error(request, 503, "out of memory");
        return;
    }
    collect(m);
    stats_write(&m->stats, out);
    write_listener_kinds(m->air, out);
    write_library(m->air, out);
    write_workers(m->air, out);
    write_relays(m->air, out);
    write_codes(m, out);
    stats_write_process(out, "root", m->air->started_wall_ns);
    http_reply_buffer(request, 200, "text/plain; version=0.0.4; charset=utf-8", out);
    evbuffer_free(out);
}

/* Routes are strings of the route tables, so their addresses tell them apart. */
static void on_done(void *context, const char *route, int status)
{
    struct metrics *m = context;
    size_t i = 0;
    while (i < m->code_count && (m->codes[i].status != status || strcmp(m->codes[i].route, route) != 0))
        i++;
    if (i == CODES_MAX) return;
    if (i == m->code_count) m->codes[m->code_count++] = (struct code){.route = route, .status = status};
    m->codes[i].count++;
}

struct metrics *metrics_new(struct air *air)
{
    static const struct http_route routes[] = {
        {HTTP_GET, "/metrics", on_metrics, 0, "counters in Prometheus' text format"},
    };
    struct metrics *m = xcalloc(1, sizeof *m);
    m->air = air;
    stats_init(&m->stats, rows, M_COUNT);
    http_server_routes(air->http, routes, 1, m);
    http_server_on_done(air->http, on_done, m);
    return m;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics) return;
    stats_free(&metrics->stats);
    free(metrics);
}
