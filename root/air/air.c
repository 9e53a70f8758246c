#include "root/air/air.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "root/air/ctl.h"
#include "root/air/dispatch.h"
#include "root/air/fleet.h"
#include "root/air/geo.h"
#include "root/air/icecast_poll.h"
#include "root/air/link_listen.h"
#include "root/air/recall.h"
#include "root/air/sampler.h"
#include "root/air/live.h"
#include "root/air/tree_talk.h"

#define PAST_S       600.0 /* kept behind the air: what /api/segments shows, and for resumes */
#define START_LEAD_S 1.5   /* held ahead before the first frame airs */
#define WAIT_MS      20000 /* a listener waits for the first music this long */
#define TICK_MS      250
#define SPARE_FDS    256

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
    dispatch_tick(air);
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
    progress_clear(&air->progress);
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
    dispatch_begin(&air);
    air.tick = event_new(air.base, -1, EV_PERSIST, on_tick, &air);
    event_add(air.tick, &(struct timeval){0, TICK_MS * 1000});
    event_base_dispatch(air.base);
    free_parts(&air);
    log_info("air", "stopped");
    return 0;
}
