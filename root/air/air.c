#include "root/air/air.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/proc.h"
#include "root/air/ctl.h"
#include "root/air/fleet.h"
#include "root/air/geo.h"
#include "root/air/icecast_poll.h"
#include "root/air/link_listen.h"
#include "root/air/recall.h"
#include "root/air/sampler.h"
#include "root/air/live.h"
#include "root/air/loops.h"
#include "root/air/tree_talk.h"
#include "root/track.h"

#define PAST_S       600.0 /* kept behind the air: what /api/segments shows, and for resumes */
#define START_LEAD_S 1.5   /* held ahead before the first frame airs */
#define WAIT_MS      20000 /* a listener waits for the first music this long */
#define TICK_MS      250
/* With credit and no word from it for this share of the lead, the studio hangs. The least leaves it time to
 * find its place in a long file. */
#define STUDIO_SILENT_SHARE 0.5
#define STUDIO_SILENT_MIN_S 12
#define STUDIO_SILENT_MAX_S 45
#define PROGRESS_LOG_S      10
#define SPARE_FDS           256

uint64_t air_position(const struct air *air)
{
    return pacer_air(air->pacer, NULL);
}

int air_has_music(const struct air *air)
{
    return ring_head(air->ring) > ring_tail(air->ring);
}

double air_lead_s(const struct air *air)
{
    return pacer_lead_s(air->pacer);
}

int air_skip(struct air *air, uint64_t *position, char **cause)
{
    return schedule_skip(air->schedule, position, cause);
}

/* What the parts ask of each other */

static uint64_t on_air(void *context)
{
    return air_position(context);
}

static int64_t until_on_air(void *context, uint64_t position)
{
    return pacer_until(((struct air *)context)->pacer, position);
}

static int air_runs(void *context)
{
    return !pacer_starved(((struct air *)context)->pacer);
}

static uint64_t on_air_exact(void *context, uint32_t *ns)
{
    return pacer_on_air(((struct air *)context)->pacer, ns);
}

static int hls_mount(void *context, size_t index, struct hls_mount *out)
{
    const struct air *air = context;
    for (size_t i = 0; i < mounts_count(air->mounts); i++) {
        const struct mount *m = mounts_at(air->mounts, i);
        if (!m->spec.always || index--) continue;
        *out = (struct hls_mount){.name = m->spec.name, .ring = m->ring};
        return 1;
    }
    return 0;
}

static void on_polled(void *context, const char *name, const struct icecast_status *status,
                      uint64_t sent_bytes)
{
    const struct air *air = context;
    registry_polled(air->registry, name, status->listeners, status->max_listeners, sent_bytes,
                    clock_boot_ns());
}

static int on_healthy(void *context, char *text, size_t size)
{
    struct air *air = context;
    int well = 0;
    if (!air_has_music(air))
        snprintf(text, size, "no music yet");
    else if (pacer_starved(air->pacer))
        snprintf(text, size, "the programme has run dry");
    else
        well = 1;
    return well;
}

static int on_tell(void *context, enum role role, enum wire_type type, json_t *body)
{
    struct air *air = context;
    if (air->workers) return switchboard_send(workers_switchboard(air->workers), role, type, body);
    json_decref(body);
    return -1;
}

static void on_changed(void *context)
{
    struct air *air = context;
    link_server_wake(air->link);
    mounts_follow(air->mounts);
    if (!air->had_music && air_has_music(air)) {
        air->had_music = 1;
        log_info("air", "music, %.1f s after the start", (double)(clock_boot_ns() - air->started_ns) / 1e9);
        station_wake(air->station);
    }
}

/* Workers */

static json_t *configure(void *context, enum role role, unsigned generation)
{
    const struct air *air = context;
    const struct options *o = air->options;
    (void)role;
    json_t *libraries = json_array();
    for (size_t i = 0; i < o->library.count; i++) {
        char *text = path_to_text(o->library.items[i]);
        json_array_append_new(libraries, json_string(text));
        free(text);
    }
    char *state = path_to_text(o->state);
    json_t *body =
        json_pack("{s:s,s:o,s:i,s:f,s:I,s:f,s:s,s:i}", "state", state, "libraries", libraries, "bitrate_kbps",
                  (int)o->bitrate, "lead_s", o->lead, "seed", (json_int_t)o->seed, "target_lufs",
                  o->target_lufs, "log_level", log_level_name(o->level), "generation", (int)generation);
    json_object_set_new(body, "mounts", mounts_specs(air->mounts));
    if (o->fallback) {
        char *fallback = path_to_text(o->fallback);
        json_object_set_new(body, "fallback", json_string(fallback));
        free(fallback);
    }
    json_object_set_new(body, "max_tempo_change_pct", json_real(o->max_tempo_change));
    json_object_set_new(body, "min_play_pct", json_real(o->min_play));
    json_object_set_new(body, "history_days", json_integer(o->history_days));
    free(state);
    return body;
}

static void on_up(void *context, enum role role, struct switch_end *end)
{
    struct air *air = context;
    if (role == ROLE_STUDIO) schedule_studio_up(air->schedule);
    if (role == ROLE_STORE) {
        schedule_store_up(air->schedule);
        sampler_store_up(air->sampler);
        recall_store_up(air->recall);
    }
    if (role == ROLE_CODER) mounts_coder_up(air->mounts);
    if (role == ROLE_LIVE) live_up(air->live, end);
}

static void on_down(void *context, enum role role)
{
    struct air *air = context;
    if (role == ROLE_STUDIO) {
        live_studio_down(air->live);
        schedule_studio_down(air->schedule);
    }
    if (role == ROLE_CODER) mounts_coder_down(air->mounts);
    if (role == ROLE_LIVE) live_down(air->live);
}

/* A line at the beginning, at the end, and now and then in between. */
static void on_progress(struct air *air, json_t *body)
{
    int changed = !air->progress || !json_equal(air->progress, body);
    json_decref(air->progress);
    air->progress = json_incref(body);
    int64_t now = clock_boot_ns(), pending = json_int_or(body, "pending", 0, 0, INT64_MAX, NULL);
    int64_t outdated = json_int_or(body, "outdated", 0, 0, INT64_MAX, NULL);
    int64_t total = json_int_or(body, "total", 0, 0, INT64_MAX, NULL);
    if (!changed || !total) return;
    if ((pending || outdated) && now - air->progress_logged_ns < PROGRESS_LOG_S * CLOCK_NS_PER_S) return;
    air->progress_logged_ns = now;
    log_info("air", "analysed %lld of %lld tracks, %lld failed, %lld to go, %lld to be heard again",
             (long long)json_int_or(body, "analysed", 0, 0, INT64_MAX, NULL), (long long)total,
             (long long)json_int_or(body, "failed", 0, 0, INT64_MAX, NULL), (long long)pending,
             (long long)outdated);
}

static int on_event(void *context, struct switch_end *end, const struct wire_row *row,
                    const struct msg *message, json_t *body, char **cause)
{
    (void)end;
    struct air *air = context;
    switch (row->type) {
    case WIRE_FRAMES:
        return schedule_frames(air->schedule, message, cause);
    case WIRE_LACKS:
        mounts_lacks(air->mounts, body);
        return 0;
    case WIRE_ENCODED:
        return mounts_encoded(air->mounts, message, cause);
    case WIRE_MARK:
        return schedule_mark(air->schedule, body, cause);
    case WIRE_FORK:
        return schedule_fork(air->schedule, body, cause);
    case WIRE_LOOP:
        loops_renew(air->mounts, air->options->state, body);
        return 0;
    case WIRE_ALIVE: /* that it was heard is all there is to it */
        return 0;
    case WIRE_PROGRESS:
        on_progress(air, body);
        return 0;
    default:
        if (live_event(air->live, row, body)) return 0;
        return cause_set(cause, "air has no use for %s", row->name);
    }
}

static void on_stopped(void *context)
{
    event_base_loopbreak(((struct air *)context)->base);
}

/* A studio that could send and has said nothing for long is replaced. */
static void watch_studio(struct air *air)
{
    struct switch_end *end = switchboard_serving(workers_switchboard(air->workers), ROLE_STUDIO);
    if (!end || ring_head(air->ring) >= schedule_credit(air->schedule)) return;
    double limit_s = air->options->lead * STUDIO_SILENT_SHARE;
    if (limit_s < STUDIO_SILENT_MIN_S) limit_s = STUDIO_SILENT_MIN_S;
    if (limit_s > STUDIO_SILENT_MAX_S) limit_s = STUDIO_SILENT_MAX_S;
    if ((double)(clock_boot_ns() - switch_end_heard_ns(end)) > limit_s * CLOCK_NS_PER_S)
        workers_fail(air->workers, ROLE_STUDIO, "it is silent");
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct air *air = arg;
    air_position(air); /* moves the ring's floor and its anchor on, whoever listens */
    schedule_tick(air->schedule);
    mounts_tick(air->mounts);
    registry_tick(air->registry, clock_boot_ns(), clock_wall_ns() / CLOCK_NS_PER_S);
    live_tick(air->live);
    fleet_tick(air->fleet);
    sampler_tick(air->sampler);
    recall_tick(air->recall);
    watch_studio(air);
}

/* Life */

int air_reload(struct air *air, char **cause)
{
    log_info("air", "certificates are read again, the access log is opened again");
    char *why = NULL;
    int failed = front_reload(air->front, cause);
    if (!air->geo || !geo_reload(air->geo, &why)) return failed;
    log_error("air", "--geo-db: %s; the old one stays in use", why);
    if (failed || !cause)
        free(why);
    else
        *cause = why;
    return -1;
}

void air_stop(struct air *air)
{
    if (air->stopping++) {
        event_base_loopbreak(air->base);
        return;
    }
    log_info("air", "stopping");
    http_server_stop(air->http);
    if (air->door) http_server_stop(link_listen_server(air));
    if (air->workers) sampler_flush(air->sampler);
    if (air->workers) recall_flush(air->recall);
    if (air->workers)
        workers_stop(air->workers);
    else
        event_base_loopbreak(air->base);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    if (number == SIGHUP)
        air_reload(arg, NULL);
    else
        air_stop(arg);
}

static void watch_signals(struct air *air)
{
    static const int numbers[AIR_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < AIR_SIGNALS; i++) {
        air->signals[i] = evsignal_new(air->base, numbers[i], on_signal, air);
        event_add(air->signals[i], NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* Segments that began before this were told to the store by an earlier life, which stored its anchor every
 * few seconds; the one that was then on air may be told twice, which the store notices. */
static uint64_t aired_from(struct ring *ring)
{
    struct ring_anchor anchor;
    if (ring_anchor(ring, &anchor) < 0) return ring_tail(ring);
    const struct ring_mark *mark = ring_mark_at(ring, "segment", anchor.position);
    return mark ? mark->position : ring_tail(ring);
}

static int open_ring(struct air *air, char **cause)
{
    const struct options *o = air->options;
    char *path = xasprintf("%s/main.ring", o->state);
    struct ring_conf conf = {
        .path = path, .kbps = (unsigned)o->bitrate, .past_s = PAST_S, .lead_s = o->lead + 10};
    int result = ring_open(&air->ring, &conf, cause);
    free(path);
    if (result || !ring_lost(air->ring)) return result;
    /* frames that relays may hold are lost here: what is made instead has another name */
    log_warn("air", "the programme on disk was damaged: it goes on at frame %llu in a new branch",
             (unsigned long long)ring_head(air->ring));
    return ring_retract(air->ring, ring_branch(air->ring) + 1, ring_head(air->ring), cause);
}

static struct registry *make_registry(const struct options *o)
{
    struct registry_conf conf = {
        .router = {.rate_bps = (double)o->bitrate * 1000, .no_reserve = !strcmp(o->relay_reserve, "none")}};
    if (getrandom(conf.master, sizeof conf.master, 0) != sizeof conf.master) abort();
    struct registry *registry = registry_new(&conf);
    registry_set_mounts(registry, o->mounts, o->mount_count);
    return registry;
}

static void make_parts(struct air *air)
{
    const struct options *o = air->options;
    uint64_t reported = aired_from(air->ring);
    air->pacer = pacer_new(air->ring, &(struct pacer_conf){.start_lead_s = START_LEAD_S});
    air->fanout = fanout_new(air->base, air->ring,
                             &(struct fanout_conf){.burst_s = AIR_BURST_S,
                                                   .lag_limit_s = AIR_LAG_LIMIT_S,
                                                   .air = on_air,
                                                   .until = until_on_air,
                                                   .filler = mounts_at(air->mounts, 0)->filler,
                                                   .runs = air_runs,
                                                   .context = air});
    const struct station_identity identity = {
        .name = o->name, .description = o->description, .genre = o->genre, .url = o->public_url};
    air->link_budget.bytes_per_s = o->fill_budget_mbps * 1e6 / 8;
    air->link = link_server_new(air->base, air->ring,
                                &(struct link_server_conf){.name = identity.name,
                                                           .description = identity.description,
                                                           .genre = identity.genre,
                                                           .url = identity.url,
                                                           .mount = MOUNT_MAIN,
                                                           .burst_s = AIR_BURST_S,
                                                           .fill_rate = AIR_LINK_FILL_RATE,
                                                           .budget = &air->link_budget,
                                                           .air = on_air_exact,
                                                           .closed = relays_link_ended,
                                                           .context = air});
    air->registry = make_registry(o);
    air->icecasts = icecast_poll_new(&(struct icecast_poll_conf){
        .base = air->base, .kbps = (unsigned)o->bitrate, .polled = on_polled, .context = air});
    air->http = front_server(air->front, "forever-root/" FOREVER_VERSION);
    air->station = station_new(air->base, air->http, air->ring, air->fanout,
                               &(struct station_conf){.identity = identity,
                                                      .public_url = o->public_url,
                                                      .gate = front_gate(air->front),
                                                      .wait_ms = WAIT_MS,
                                                      .admit = relays_admit,
                                                      .elsewhere = relays_elsewhere,
                                                      .healthy = on_healthy,
                                                      .air = on_air,
                                                      .context = air});
    mounts_parts(air->mounts);
    air->hls =
        hls_new(air->http, &(struct hls_conf){.mount = hls_mount, .air = on_air_exact, .context = air});
    air->schedule = schedule_new(&(struct schedule_conf){.ring = air->ring,
                                                         .lead_s = o->lead,
                                                         .aired_from = reported,
                                                         .air = on_air,
                                                         .tell = on_tell,
                                                         .changed = on_changed,
                                                         .context = air});
    air->had_music = air_has_music(air);
    api_routes(air);
    air->sampler = sampler_new(air);
    sampler_routes(air->sampler);
    air->recall = recall_new(air);
    overview_routes(air);
    relays_routes(air, air->http);
    air->live = live_new(air);
    pages_routes(air->http);
    air->metrics = metrics_new(air);
}

static void say_hello(const struct air *air)
{
    const struct options *o = air->options;
    const char *host = *o->host ? o->host : "localhost";
    const char *open = strchr(host, ':') ? "[" : "", *shut = *open ? "]" : "";
    log_info("air",
             "%s: player http://%s%s%s:%d/ dashboard http://%s%s%s:%d/dashboard stream "
             "http://%s%s%s:%d/stream.mp3",
             o->name, open, host, shut, air->port, open, host, shut, air->port, open, host, shut, air->port);
    if (air->had_music)
        log_info("air", "goes on at frame %llu with %.0f s in hand", (unsigned long long)air_position(air),
                 air_lead_s(air));
    else
        log_info("air", "no music yet: the first track is on its way");
    if (air->door)
        log_info("air", "relays link at port %d, whose key is %s", link_listen_port(air),
                 link_listen_pin(air));
    if (!o->relay_token && !air->door)
        log_info("air", "no link listener and no --relay-token-file: relays are not let in");
}

static void free_parts(struct air *air)
{
    ctl_server_free(air->ctl);
    workers_free(air->workers);
    air->workers = NULL;
    if (air->tick) event_free(air->tick);
    if (air->turn) event_free(air->turn);
    for (size_t i = 0; i < AIR_SIGNALS; i++) {
        if (air->signals[i]) event_free(air->signals[i]);
    }
    mounts_stop(air->mounts);
    if (air->station) station_free(air->station);
    hls_free(air->hls);
    /* a reset rather than an end: players then try again, perhaps elsewhere */
    if (air->fanout) fanout_free(air->fanout, 1);
    if (air->link) link_server_free(air->link);
    if (air->http) http_server_free(air->http);
    link_listen_close(air);
    metrics_free(air->metrics);
    live_free(air->live);
    recall_free(air->recall);
    sampler_free(air->sampler);
    front_free(air->front);
    schedule_free(air->schedule);
    fleet_free(air->fleet);
    icecast_poll_free(air->icecasts);
    registry_free(air->registry);
    tree_talk_free(air->tree_talk);
    geo_close(air->geo);
    if (air->pacer) pacer_free(air->pacer);
    mounts_free(air->mounts);
    if (air->ring) ring_close(air->ring);
    json_decref(air->progress);
    if (air->base) event_base_free(air->base);
}

static int check_fd_limit(const struct options *o)
{
    unsigned limit = proc_raise_fd_limit();
    if (limit && limit < (unsigned long)o->max_listeners + SPARE_FDS)
        log_warn("air",
                 "only %u descriptors are allowed, for up to %ld listeners; raise the limit (ulimit -n)",
                 limit, o->max_listeners);
    return 0;
}

/* 0, or an exit code with *cause. */
static int set_up(struct air *air, char **cause)
{
    const struct options *o = air->options;
    if (proc_make_dir(o->state, cause)) return EX_CANTCREAT;
    if (proc_lock_state(o->state, cause)) return errno == EWOULDBLOCK ? EX_TEMPFAIL : EX_CANTCREAT;
    if (open_ring(air, cause) || mounts_open(&air->mounts, air, cause)) return EX_CANTCREAT;
    air->front = front_new(air->base, &o->front, (unsigned)o->max_listeners, cause);
    if (!air->front) return EX_NOINPUT;
    char *why = NULL;
    if (o->geo_db && !(air->geo = geo_open(o->geo_db, &why))) {
        cause_set(cause, "--geo-db: %s", why);
        free(why);
        return EX_NOINPUT;
    }
    make_parts(air);
    air->fleet = fleet_open(air, cause);
    if (!air->fleet) return EX_CONFIG;
    int tls_port;
    if (front_listen(air->front, air->http, &air->port, &tls_port, cause)) return EX_UNAVAILABLE;
    if (link_listen_open(air, cause)) return EX_UNAVAILABLE;
    air->tree_talk = tree_talk_new(air, (unsigned)o->link_fanout, cause);
    if (!air->tree_talk) return EX_OSERR;
    if (air->door) {
        relays_routes(air, link_listen_server(air));
        fleet_routes(air->fleet, link_listen_server(air));
    }
    air->ctl = ctl_server_new(air, cause);
    if (!air->ctl) return EX_CANTCREAT;
    return 0;
}

int air_run(const struct options *options)
{
    struct air air = {.options = options, .started_ns = clock_boot_ns(), .started_wall_ns = clock_wall_ns()};
    char *cause = NULL;
    check_fd_limit(options);
    air.base = event_base_new();
    int code = set_up(&air, &cause);
    if (code) {
        log_error("air", "%s", cause);
        free(cause);
        free_parts(&air);
        return code;
    }
    watch_signals(&air);
    say_hello(&air);
    struct workers_conf conf = {.path = options->worker,
                                .analysers = (unsigned)options->analysers,
                                .coder = options->mount_count > 1,
                                .configure = configure,
                                .up = on_up,
                                .down = on_down,
                                .event = on_event,
                                .stopped = on_stopped,
                                .context = &air};
    air.workers = workers_new(air.base, &conf);
    air.tick = event_new(air.base, -1, EV_PERSIST, on_tick, &air);
    event_add(air.tick, &(struct timeval){0, TICK_MS * 1000});
    event_base_dispatch(air.base);
    free_parts(&air);
    log_info("air", "stopped");
    return 0;
}
