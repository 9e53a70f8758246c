/* api: what the site, operators and others read as JSON (docs/API.md). Every answer is made afresh from the
 * ring's marks and the counters; positions are frames, so that a page can show what its listener hears rather
 * than what is on air. */
#include <event2/event.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/stats.h"
#include "root/air/air.h"
#include "root/air/geo.h"
#include "root/air/live.h"
#include "root/air/pictures.h"

#define SEGMENTS_PAST_S 600.0
#define FRAME_S         ((double)MP3_FRAME_SAMPLES / MP3_RATE)

static double wall_s(void)
{
    return (double)clock_wall_ns() / 1e9;
}

/* Seconds from the air to a sample: negative in the past. */
static double seconds_to(int64_t sample, uint64_t air)
{
    return (double)(sample - (int64_t)air * MP3_FRAME_SAMPLES) / MP3_RATE;
}

static uint64_t frames_back(uint64_t position, double seconds)
{
    uint64_t n = (uint64_t)(seconds / FRAME_S);
    return position > n ? position - n : 0;
}

static json_t *segment_json(const struct schedule_segment *s, uint64_t air)
{
    double start = seconds_to(s->start_sample, air), end = seconds_to(s->end_sample, air), wall = wall_s();
    json_t *o = schedule_public(s);
    json_object_set_new(o, "start_s", json_real(start));
    json_object_set_new(o, "end_s", json_real(end));
    json_object_set_new(o, "starts_at", json_real(wall + start));
    json_object_set_new(o, "ends_at", json_real(wall + end));
    json_object_set_new(o, "on_air", json_boolean(start <= 0 && end > 0));
    return o;
}

/* Now */

static json_t *art_path(int64_t track)
{
    char path[48];
    snprintf(path, sizeof path, "/art/%lld", (long long)track);
    return json_string(path);
}

static void set_text(json_t *object, const char *key, const json_t *from, const char *member)
{
    const char *text = json_str_or(from, member, "", NULL);
    json_object_set_new(object, key, json_string(text));
}

/* Adds who is heard: of a transition's two tracks the one the title names. */
static void set_track(json_t *object, const json_t *track)
{
    int64_t id = json_int_or(track, "track", 0, 0, INT64_MAX, NULL);
    json_object_set_new(object, "track", id ? json_integer(id) : json_null());
    json_object_set_new(object, "art", id ? art_path(id) : json_null());
    set_text(object, "album", track, "album");
}

static const json_t *named_track(const json_t *segment, const json_t *title)
{
    const json_t *tracks = json_object_get(segment, "tracks"), *track;
    size_t i;
    json_array_foreach(tracks, i, track)
    {
        if (!strcmp(json_str_or(track, "title", "", NULL), json_str_or(title, "title", "", NULL)) &&
            !strcmp(json_str_or(track, "artist", "", NULL), json_str_or(title, "artist", "", NULL)))
            return track;
    }
    return json_array_get(tracks, 0);
}

struct now {
    uint64_t air;
    json_t *segment;     /* on air, public */
    json_t *next;        /* the track after it */
    const json_t *title; /* the ring's */
    int64_t playing;
};

static json_t *next_of(const json_t *track, double in_s)
{
    const char *artist = json_str_or(track, "artist", "", NULL),
               *title = json_str_or(track, "title", "", NULL);
    char *text = xasprintf("%s%s%s", artist, *artist && *title ? " - " : "", title);
    json_t *o = json_pack("{s:s,s:s,s:s,s:f}", "title", title, "artist", artist, "text", text, "in_s", in_s);
    free(text);
    set_track(o, track);
    return o;
}

static int see_now(void *context, const struct schedule_segment *s)
{
    struct now *now = context;
    const json_t *tracks = json_object_get(s->body, "tracks");
    if (!now->segment) {
        now->segment = segment_json(s, now->air);
        now->playing = json_int_or(named_track(s->body, now->title), "track", 0, 0, INT64_MAX, NULL);
    }
    const json_t *last = json_array_get(tracks, json_array_size(tracks) - 1);
    if (json_int_or(last, "track", 0, 0, INT64_MAX, NULL) == now->playing) return 0;
    now->next = next_of(last, fmax(0, seconds_to(s->start_sample, now->air)));
    return 1;
}

json_t *api_now(const struct air *air)
{
    struct now now = {.air = air_position(air)};
    uint64_t position = now.air ? now.air - 1 : 0; /* the frame that sounds */
    struct registry_totals relays;
    registry_totals(air->registry, clock_boot_ns(), &relays);
    uint64_t listeners = mounts_listening(air->mounts) + relays.listeners;
    const json_t *loop = fanout_loop_title(air->fanout);
    now.title = station_title(air->station, position);
    schedule_segments(air->ring, position, UINT64_MAX, see_now, &now);
    json_t *o =
        json_pack("{s:s,s:s,s:I,s:I,s:f,s:f,s:b,s:I,s:f,s:i}", "station", air->options->name, "station_id",
                  ring_station(air->ring), "branch", (json_int_t)ring_branch(air->ring), "position",
                  (json_int_t)now.air, "frame_s", FRAME_S, "time", wall_s(), "on_air",
                  air_has_music(air) && !pacer_starved(air->pacer), "listeners", (json_int_t)listeners,
                  "lead_s", air_lead_s(air), "bitrate_kbps", (int)air->options->bitrate);
    if (air->options->description)
        json_object_set_new(o, "description", json_text_lossy(air->options->description));
    json_object_set_new(o, "loop", json_boolean(loop != NULL));
    set_text(o, "title", loop ? loop : now.title, "title");
    set_text(o, "artist", loop ? loop : now.title, "artist");
    set_text(o, "text", loop ? loop : now.title, "text");
    set_track(o, now.segment ? named_track(now.segment, now.title) : NULL);
    if (now.segment) {
        int64_t start = json_int_or(now.segment, "start_sample", 0, 0, INT64_MAX, NULL);
        int64_t end = json_int_or(now.segment, "end_sample", 0, 0, INT64_MAX, NULL);
        json_object_set_new(o, "elapsed_s", json_real(-seconds_to(start, now.air)));
        json_object_set_new(o, "remaining_s", json_real(seconds_to(end, now.air)));
    }
    json_object_set_new(o, "segment", now.segment ? now.segment : json_null());
    json_object_set_new(o, "next", now.next ? now.next : json_null());
    json_object_set_new(o, "live", live_now(air->live));
    return o;
}

/* Segments */

struct listing {
    uint64_t air;
    json_t *list;
};

static int see_segment(void *context, const struct schedule_segment *s)
{
    struct listing *l = context;
    json_array_append_new(l->list, segment_json(s, l->air));
    return 0;
}

/* Titles as listeners' players show them, for pages that follow what they play. */
static json_t *titles_since(const struct air *air, uint64_t from)
{
    json_t *list = json_array();
    const struct ring_mark *mark, *held = ring_mark_at(air->ring, "title", from);
    for (size_t i = 0; (mark = ring_mark(air->ring, i)); i++) {
        if (strcmp(mark->kind, "title") || (mark->position <= from && mark != held)) continue;
        json_t *o = json_copy(mark->body);
        json_object_set_new(o, "position", json_integer((json_int_t)mark->position));
        json_array_append_new(list, o);
    }
    return list;
}

json_t *api_segments(const struct air *air)
{
    struct listing l = {.air = air_position(air), .list = json_array()};
    uint64_t from = frames_back(l.air, SEGMENTS_PAST_S);
    schedule_segments(air->ring, from, UINT64_MAX, see_segment, &l);
    return json_pack("{s:I,s:I,s:f,s:f,s:o,s:o}", "branch", (json_int_t)ring_branch(air->ring), "position",
                     (json_int_t)l.air, "frame_s", FRAME_S, "time", wall_s(), "segments", l.list, "titles",
                     titles_since(air, from));
}

/* Stats */

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *agents_json(const struct air *air)
{
    struct registry_totals relays;
    registry_totals(air->registry, clock_boot_ns(), &relays);
    struct fanout_counts sum, *c = &sum;
    mounts_counts(air->mounts, &sum);
    json_t *o = json_object();
    for (int i = 0; i < AGENT_COUNT; i++)
        set_count(o, fanout_agent_names[i], c->agents[i] + relays.agents[i]);
    return o;
}

static json_t *ended_json(const struct fanout_counts *c)
{
    json_t *o = json_object();
    for (int i = 0; i < FANOUT_END_COUNT; i++)
        set_count(o, fanout_end_names[i], c->ended[i]);
    return o;
}

static json_t *process_json(void)
{
    struct stats_process p;
    stats_process_read(&p);
    return json_pack("{s:f,s:I,s:I,s:I,s:i,s:i}", "cpu_s", p.cpu_s, "rss_bytes", (json_int_t)p.rss_bytes,
                     "pss_bytes", (json_int_t)p.pss_bytes, "private_bytes", (json_int_t)p.private_bytes,
                     "fds", (int)p.fds, "fd_limit", (int)p.fd_limit);
}

/* All nodes together: relays are no listeners of the root, so their sums are those of everybody. */
static json_t *cluster_json(const struct air *air, const struct fanout_counts *here,
                            const struct registry_totals *relays)
{
    json_t *o = json_object();
    set_count(o, "nodes", 1 + relays->healthy);
    set_count(o, "listeners", here->listening + relays->listeners);
    set_count(o, "accepted", here->opened + relays->accepted);
    set_count(o, "closed", here->closed + relays->closed);
    set_count(o, "bytes_out", here->bytes + relays->bytes_out);
    set_count(o, "link_bytes_out", mounts_link_bytes(air->mounts));
    set_count(o, "bytes_in", relays->bytes_in);
    return o;
}

json_t *api_stats(const struct air *air)
{
    const struct options *o = air->options;
    struct fanout_counts sum, *c = &sum;
    mounts_counts(air->mounts, &sum);
    const struct switchboard_counts *m = switchboard_counts(workers_switchboard(air->workers));
    struct registry_totals relays;
    registry_totals(air->registry, clock_boot_ns(), &relays);
    json_t *s = json_pack(
        "{s:s,s:s,s:s,s:f,s:f,s:f,s:f,s:f,s:b}", "version", FOREVER_VERSION, "station", o->name, "station_id",
        ring_station(air->ring), "time", wall_s(), "started_at", (double)air->started_wall_ns / 1e9,
        "uptime_s", (double)(clock_boot_ns() - air->started_ns) / 1e9, "lead_s", air_lead_s(air),
        "lead_target_s", schedule_lead_s(air->schedule), "starved", pacer_starved(air->pacer));
    set_count(s, "bitrate_kbps", (uint64_t)o->bitrate);
    set_count(s, "position", air_position(air));
    set_count(s, "branch", ring_branch(air->ring));
    set_count(s, "tail", ring_tail(air->ring));
    set_count(s, "head", ring_head(air->ring));
    set_count(s, "starvations", pacer_starvations(air->pacer));
    set_count(s, "relay_limit", (uint64_t)o->relay_limit);
    set_count(s, "max_listeners", (uint64_t)o->max_listeners);
    set_count(s, "listeners", c->listening);
    set_count(s, "listeners_total", c->listening + relays.listeners);
    set_count(s, "peak", mounts_peak(air->mounts));
    set_count(s, "waiting", mounts_waiting(air->mounts));
    set_count(s, "accepted", c->opened);
    set_count(s, "closed", c->closed);
    set_count(s, "bytes_out", c->bytes);
    json_object_set_new(s, "cluster", cluster_json(air, c, &relays));
    set_count(s, "redirects", air->redirects);
    set_count(s, "refused", air->refused);
    set_count(s, "links", mounts_links(air->mounts));
    set_count(s, "link_bytes_out", mounts_link_bytes(air->mounts));
    json_object_set_new(s, "ended", ended_json(c));
    json_object_set_new(s, "agents", agents_json(air));
    json_object_set_new(s, "live", live_json(air->live));
    json_object_set_new(s, "mounts", mounts_json(air->mounts));
    json_object_set_new(s, "relays", registry_json(air->registry, 0, REGISTRY_SHOWN, clock_boot_ns()));
    json_object_set_new(s, "geo", geo_json(air->geo));
    json_object_set(s, "analysis", air->progress.last);
    if (!air->progress.last)
        json_object_set_new(s, "analysis",
                            json_pack("{s:i,s:i,s:i,s:i,s:i}", "total", 0, "analysed", 0, "failed", 0,
                                      "pending", 0, "outdated", 0));
    json_object_set_new(s, "workers", workers_json(air->workers));
    json_object_set_new(s, "messages",
                        json_pack("{s:I,s:I,s:I,s:I}", "events", (json_int_t)m->events, "requests",
                                  (json_int_t)m->requests, "timeouts", (json_int_t)m->timeouts, "rule_breaks",
                                  (json_int_t)m->rule_breaks));
    json_object_set_new(s, "process", process_json());
    return s;
}

/* HTTP */

void api_reply(struct http_request *request, json_t *body)
{
    char *text = json_text(body);
    http_add_header(request, "Cache-Control", "no-cache");
    http_reply(request, 200, "application/json", text, strlen(text));
    free(text);
    json_decref(body);
}

static void on_now(void *context, struct http_request *request)
{
    api_reply(request, api_now(context));
}

static void on_segments(void *context, struct http_request *request)
{
    api_reply(request, api_segments(context));
}

static void on_stats(void *context, struct http_request *request)
{
    api_reply(request, api_stats(context));
}

void api_routes(struct air *air)
{
    static const struct http_route routes[] = {
        {HTTP_GET, "/api/now", on_now, 1, "what is on air"},
        {HTTP_GET, "/api/segments", on_segments, 1,
         "the programme: ten minutes past and all that is planned"},
        {HTTP_GET | HTTP_RESERVED, "/api/stats", on_stats, 1, "listeners, relays, workers, counters"},
    };
    http_server_routes(air->http, routes, sizeof routes / sizeof *routes, air);
    pictures_routes(air);
}
