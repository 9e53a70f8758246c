#include "common/station_stats.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

#define ANSWERS_MAX 128 /* pairs of route and status; both come from small sets */

enum {
    M_LISTENERS,
    M_MAX,
    M_PEAK,
    M_WAITING,
    M_OPENED,
    M_SECONDS,
    M_EGRESS,
    M_SHORT_WRITES,
    M_SKIPS,
    M_POSITION,
    M_BRANCH,
    M_LEAD,
    M_STARVATIONS,
    M_LOOP,
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
    [M_SHORT_WRITES] = {"forever_listener_short_writes_total", STATS_COUNTER,
                        "Writes the kernel did not take whole."},
    [M_SKIPS] = {"forever_listener_skips_total", STATS_COUNTER, "Listeners moved on because they lagged."},
    [M_POSITION] = {"forever_position_frames", STATS_GAUGE, "Absolute number of the frame on air."},
    [M_BRANCH] = {"forever_branch", STATS_GAUGE, "Branch of the programme."},
    [M_LEAD] = {"forever_lead_seconds", STATS_GAUGE, "Programme held ahead of the air."},
    [M_STARVATIONS] = {"forever_encoder_starvation_total", STATS_COUNTER, "Times the programme ran dry."},
    [M_LOOP] = {"forever_loop_playing", STATS_GAUGE, "1 while the loop is heard instead of the programme."},
};

struct station_stats {
    struct station_stats_conf conf;
    struct stats common, own;
    int64_t started_wall_ns;
    struct answers {
        const char *route;
        int status;
        double count;
    } answers[ANSWERS_MAX];
    size_t answer_count;
};

static void on_done(void *context, const char *route, int status)
{
    struct station_stats *s = context;
    size_t i = 0;
    while (i < s->answer_count && (s->answers[i].status != status || strcmp(s->answers[i].route, route)))
        i++;
    if (i == ANSWERS_MAX) return;
    if (i == s->answer_count)
        s->answers[s->answer_count++] = (struct answers){.route = route, .status = status};
    s->answers[i].count++;
}

static void collect(const struct station_look *look, double *v)
{
    v[M_LISTENERS] = (double)look->counts.listening;
    v[M_MAX] = look->max_listeners;
    v[M_PEAK] = (double)look->peak;
    v[M_WAITING] = look->waiting;
    v[M_OPENED] = (double)look->counts.opened;
    v[M_SECONDS] = look->counts.seconds;
    v[M_EGRESS] = (double)look->counts.bytes;
    v[M_SHORT_WRITES] = (double)look->counts.short_writes;
    v[M_SKIPS] = (double)look->counts.skips;
    v[M_POSITION] = (double)(look->on_air ? pacer_air(look->pacer, NULL) : ring_floor(look->ring));
    v[M_BRANCH] = ring_branch(look->ring);
    v[M_LEAD] = look->on_air ? pacer_lead_s(look->pacer) : 0;
    v[M_STARVATIONS] = (double)pacer_starvations(look->pacer);
    v[M_LOOP] = look->loop_playing;
}

static void write_by_name(struct evbuffer *out, const char *metric, const char *key, const char *const *names,
                          const uint64_t *counts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, key, names[i]);
        stats_write_sample(out, metric, label, (double)counts[i]);
    }
}

static void write_series(const struct station_stats *s, const struct fanout_counts *counts,
                         struct evbuffer *out)
{
    stats_write_head(out, "forever_listeners_by_agent", STATS_GAUGE,
                     "Listeners of this node by family of player.");
    write_by_name(out, "forever_listeners_by_agent", "agent", fanout_agent_names, counts->agents,
                  AGENT_COUNT);
    stats_write_head(out, "forever_listener_sessions_total", STATS_COUNTER,
                     "Listeners that ended, by reason.");
    write_by_name(out, "forever_listener_sessions_total", "end", fanout_end_names, counts->ended,
                  FANOUT_END_COUNT);
    stats_write_head(out, "forever_http_requests_total", STATS_COUNTER,
                     "Requests answered, by route and status.");
    for (size_t i = 0; i < s->answer_count; i++) {
        char label[200] = "", status[16];
        snprintf(status, sizeof status, "%d", s->answers[i].status);
        stats_label(label, sizeof label, "route", s->answers[i].route);
        stats_label(label, sizeof label, "code", status);
        stats_write_sample(out, "forever_http_requests_total", label, s->answers[i].count);
    }
}

static void on_metrics(void *context, struct http_request *request)
{
    struct station_stats *s = context;
    struct station_look look = {0};
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        http_reply_error(request, 503, "out of memory");
        return;
    }
    s->conf.look(s->conf.context, &look);
    collect(&look, s->common.values);
    stats_write(&s->common, out);
    write_series(s, &look.counts, out);
    s->conf.values(s->conf.context, s->own.values);
    stats_write(&s->own, out);
    if (s->conf.series) s->conf.series(s->conf.context, out);
    stats_write_process(out, s->conf.role, s->started_wall_ns);
    http_reply_buffer(request, 200, "text/plain; version=0.0.4; charset=utf-8", out);
    evbuffer_free(out);
}

struct station_stats *station_stats_new(const struct station_stats_conf *conf)
{
    static const struct http_route routes[] = {
        {HTTP_GET | HTTP_RESERVED, "/metrics", on_metrics, 0, "counters in Prometheus' text format"},
    };
    struct station_stats *s = xcalloc(1, sizeof *s);
    for (size_t i = 0; i < conf->row_count; i++) {
        for (size_t k = 0; k < M_COUNT; k++)
            assert(strcmp(conf->rows[i].name, rows[k].name));
    }
    s->conf = *conf;
    s->started_wall_ns = clock_wall_ns();
    stats_init(&s->common, rows, M_COUNT);
    stats_init(&s->own, conf->rows, conf->row_count);
    http_server_routes(conf->http, routes, 1, s);
    http_server_on_done(conf->http, on_done, s);
    return s;
}

void station_stats_free(struct station_stats *s)
{
    if (!s) return;
    stats_free(&s->common);
    stats_free(&s->own);
    free(s);
}
