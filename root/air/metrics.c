/* metrics: what the root counts beside what every node does (common/station_stats.h). */
#include <event2/buffer.h>
#include <math.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/station_stats.h"
#include "root/air/air.h"
#include "root/air/tree_talk.h"
#include "root/air/live.h"
#include "root/air/sampler.h"

enum metric {
    M_LINK_EGRESS,
    M_LINKS,
    M_REDIRECTS,
    M_STARVED,
    M_FRAMES,
    M_HLS_PLAYLISTS,
    M_HLS_SEGMENTS,
    M_HLS_BYTES,
    M_RELAYS_HEALTHY,
    M_TREE_DIRECT,
    M_TREE_UNDER,
    M_TREE_HOPS,
    M_TREE_MOVES,
    M_REPORTS,
    M_REPORTS_REFUSED,
    M_SERIES,
    M_SERIES_MISSED,
    M_SERIES_REFUSED,
    M_MESSAGES,
    M_TIMEOUTS,
    M_RULE_BREAKS,
    M_COUNT
};

static const struct stats_row rows[M_COUNT] = {
    [M_LINK_EGRESS] = {"forever_link_egress_bytes_total", STATS_COUNTER, "Bytes sent to relays."},
    [M_LINKS] = {"forever_links", STATS_GAUGE, "Relays that pull now."},
    [M_REDIRECTS] = {"forever_redirects_total", STATS_COUNTER, "Listeners sent to relays."},
    [M_STARVED] = {"forever_starved", STATS_GAUGE, "1 while the air stands still for want of frames."},
    [M_FRAMES] = {"forever_frames_total", STATS_COUNTER, "Frames received from the studio."},
    [M_HLS_PLAYLISTS] = {"forever_hls_playlists_total", STATS_COUNTER, "HLS playlists served."},
    [M_HLS_SEGMENTS] = {"forever_hls_segments_total", STATS_COUNTER,
                        "HLS segments served: behind a cache, each once."},
    [M_HLS_BYTES] = {"forever_hls_bytes_total", STATS_COUNTER, "Bytes of HLS segments served."},
    [M_RELAYS_HEALTHY] = {"forever_relays_healthy", STATS_GAUGE, "Relays whose last report is fresh."},
    [M_TREE_DIRECT] = {"forever_relays_direct", STATS_GAUGE,
                       "Relays that are to get the programme from here."},
    [M_TREE_UNDER] = {"forever_relays_under", STATS_GAUGE, "Relays that were put under other relays."},
    [M_TREE_HOPS] = {"forever_relays_hops", STATS_GAUGE, "Relays on the longest way of the programme."},
    [M_TREE_MOVES] = {"forever_relays_moved_total", STATS_COUNTER, "Relays that were put elsewhere."},
    [M_REPORTS] = {"forever_relay_reports_total", STATS_COUNTER, "Reports taken from relays."},
    [M_REPORTS_REFUSED] = {"forever_relay_reports_refused_total", STATS_COUNTER,
                           "Requests of relays that were refused."},
    [M_SERIES] = {"forever_series_batches_total", STATS_COUNTER, "Stretches of 10 s told to the store."},
    [M_SERIES_MISSED] = {"forever_series_missed_total", STATS_COUNTER,
                         "Messages of them that the store was not there for."},
    [M_SERIES_REFUSED] = {"forever_series_refused_total", STATS_COUNTER,
                          "Questions about times past that were answered with 503."},
    [M_MESSAGES] = {"forever_worker_messages_total", STATS_COUNTER, "Events and requests of workers."},
    [M_TIMEOUTS] = {"forever_worker_timeouts_total", STATS_COUNTER, "Requests that got no answer in time."},
    [M_RULE_BREAKS] = {"forever_worker_rule_breaks_total", STATS_COUNTER,
                       "Workers replaced for what they said."},
};

struct metrics {
    struct air *air;
    struct station_stats *stats;
};

static void look(void *context, struct station_look *out)
{
    const struct air *air = ((struct metrics *)context)->air;
    mounts_counts(air->mounts, &out->counts);
    out->peak = mounts_peak(air->mounts);
    out->waiting = mounts_waiting(air->mounts);
    out->max_listeners = (unsigned)air->options->max_listeners;
    out->ring = air->ring;
    out->pacer = air->pacer;
    out->on_air = 1;
    out->loop_playing = fanout_loop_title(air->fanout) != NULL;
}

static void values(void *context, double *v)
{
    const struct air *air = ((struct metrics *)context)->air;
    const struct switchboard_counts *w = switchboard_counts(workers_switchboard(air->workers));
    struct registry_totals relays;
    struct tree_counts tree;
    tree_talk_counts(air->tree_talk, &tree);
    registry_totals(air->registry, clock_boot_ns(), &relays);
    v[M_LINK_EGRESS] = (double)mounts_link_bytes(air->mounts);
    v[M_LINKS] = (double)mounts_links(air->mounts);
    v[M_REDIRECTS] = (double)air->redirects;
    v[M_STARVED] = pacer_starved(air->pacer);
    v[M_FRAMES] = (double)schedule_frames_received(air->schedule);
    v[M_HLS_PLAYLISTS] = (double)hls_counts(air->hls)->playlists;
    v[M_HLS_SEGMENTS] = (double)hls_counts(air->hls)->segments;
    v[M_HLS_BYTES] = (double)hls_counts(air->hls)->segment_bytes;
    v[M_RELAYS_HEALTHY] = relays.healthy;
    v[M_TREE_DIRECT] = tree.direct;
    v[M_TREE_UNDER] = tree.known - tree.direct;
    v[M_TREE_HOPS] = tree.deepest;
    v[M_TREE_MOVES] = (double)tree.moves;
    v[M_REPORTS] = (double)air->reports;
    v[M_REPORTS_REFUSED] = (double)air->reports_refused;
    const struct sampler_counts *series = sampler_counts(air->sampler);
    v[M_SERIES] = (double)series->batches;
    v[M_SERIES_MISSED] = (double)series->missed;
    v[M_SERIES_REFUSED] = (double)series->refused;
    v[M_MESSAGES] = (double)(w->events + w->requests);
    v[M_TIMEOUTS] = (double)w->timeouts;
    v[M_RULE_BREAKS] = (double)w->rule_breaks;
}

static void write_library(const struct air *air, struct evbuffer *out)
{
    static const char *const states[] = {"analysed", "failed", "pending"};
    stats_write_head(out, "forever_library_tracks", STATS_GAUGE, "Tracks of the library by state.");
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char label[64] = "";
        stats_label(label, sizeof label, "state", states[i]);
        stats_write_sample(out, "forever_library_tracks", label,
                           (double)json_integer_value(json_object_get(air->progress.last, states[i])));
    }
    stats_write_head(out, "forever_library_outdated", STATS_GAUGE,
                     "Of the analysed tracks, those that a newer version will analyse again.");
    stats_write_sample(out, "forever_library_outdated", "",
                       (double)json_integer_value(json_object_get(air->progress.last, "outdated")));
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

static double mount_listeners(const struct mount *m)
{
    return (double)fanout_counts(m->fanout)->listening;
}
static double mount_awake(const struct mount *m)
{
    return m->awake;
}
static double mount_links(const struct mount *m)
{
    return link_server_count(m->link);
}
static double mount_out(const struct mount *m)
{
    return (double)fanout_counts(m->fanout)->bytes;
}
static double mount_link_out(const struct mount *m)
{
    return (double)link_server_bytes(m->link);
}
static double mount_wakes(const struct mount *m)
{
    return (double)m->wakes;
}
static double mount_frames(const struct mount *m)
{
    return (double)m->frames;
}

static void write_mounts(const struct air *air, struct evbuffer *out)
{
    static const struct {
        const char *name;
        enum stats_kind kind;
        const char *help;
        double (*value)(const struct mount *mount);
    } columns[] = {
        {"forever_mount_listeners", STATS_GAUGE, "Listeners of this node by mount.", mount_listeners},
        {"forever_mount_awake", STATS_GAUGE, "1 while the mount is encoded.", mount_awake},
        {"forever_mount_links", STATS_GAUGE, "Relays that pull the mount.", mount_links},
        {"forever_mount_egress_bytes_total", STATS_COUNTER, "Bytes sent to listeners by mount.", mount_out},
        {"forever_mount_link_egress_bytes_total", STATS_COUNTER, "Bytes sent to relays by mount.",
         mount_link_out},
        {"forever_mount_wakes_total", STATS_COUNTER, "Times the mount woke.", mount_wakes},
        {"forever_mount_frames_total", STATS_COUNTER, "Frames received from the coder.", mount_frames},
    };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        stats_write_head(out, columns[i].name, columns[i].kind, columns[i].help);
        for (size_t k = 0; k < mounts_count(air->mounts); k++) {
            const struct mount *m = mounts_at(air->mounts, k);
            char label[64] = "";
            stats_label(label, sizeof label, "mount", m->spec.name);
            stats_write_sample(out, columns[i].name, label, columns[i].value(m));
        }
    }
}

static void series(void *context, struct evbuffer *out)
{
    struct air *air = ((struct metrics *)context)->air;
    front_metrics(air->front, out);
    write_library(air, out);
    write_workers(air, out);
    transitions_write(schedule_transitions(air->schedule), out);
    write_mounts(air, out);
    overview_metrics(air, out);
    live_metrics(air->live, out);
}

struct metrics *metrics_new(struct air *air)
{
    struct metrics *m = xcalloc(1, sizeof *m);
    m->air = air;
    m->stats = station_stats_new(&(struct station_stats_conf){.http = air->http,
                                                              .role = "root",
                                                              .rows = rows,
                                                              .row_count = M_COUNT,
                                                              .look = look,
                                                              .values = values,
                                                              .series = series,
                                                              .context = m});
    return m;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics) return;
    station_stats_free(metrics->stats);
    free(metrics);
}
