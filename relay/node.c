#include "relay/node_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mount.h"
#include "common/mp3.h"
#include "common/proc.h"
#include "common/ticket.h"
#include "relay/admission.h"
#include "relay/elsewhere.h"

#define FIRST_KBPS   192 /* until the root has told */
#define PAST_S       90  /* held behind the air: burst, laggards, resumes */
#define LEAD_SLACK_S 20  /* the clock of a node that joins may be off */
#define LAG_LIMIT_S  20
#define START_LEAD_S 0.5
#define WAIT_MS      8000

/* The one that stands for the relay. */
static struct node *main_of(const struct node *n)
{
    return n->conf.main ? n->conf.main : (struct node *)(uintptr_t)n;
}

static uint64_t node_air(void *context)
{
    struct node *n = context;
    return pacer_air(n->pacer, NULL);
}

static int node_runs(void *context)
{
    return !pacer_starved(((struct node *)context)->pacer);
}

static int64_t node_until(void *context, uint64_t position)
{
    const struct node *n = context;
    return pacer_until(n->pacer, position);
}

/* By the clock kept with what is held; asks without moving the air. */
double node_behind_s(const struct node *n)
{
    struct ring_anchor anchor;
    int known = ring_anchor(n->ring, &anchor);
    if (ring_head(n->ring) == ring_tail(n->ring)) return INFINITY;
    if (known < 0) return -1; /* never aired: it begins with what comes */
    int64_t since = known ? clock_boot_ns() - anchor.boot_ns : clock_wall_ns() - anchor.wall_ns;
    if (since < 0) return INFINITY; /* wall time went back: nothing is known */
    return (double)(mp3_frame_to_ns(anchor.position) + since - mp3_frame_to_ns(ring_head(n->ring))) * 1e-9;
}

void node_set_linked(struct node *n, int linked)
{
    n->linked = linked;
}

int node_playable(struct node *n)
{
    /* without a link nothing comes after what is held: a start would be a standstill */
    if (!n->linked && node_behind_s(n) > 0) return 0;
    uint64_t air = node_air(n);
    return !pacer_starved(n->pacer) && air > ring_tail(n->ring) && ring_head(n->ring) > air;
}

static int elsewhere(void *context, int secure, size_t i, char *location, size_t size)
{
    const struct node *n = context;
    return elsewhere_name(n->conf.elsewhere, secure, i, location, size);
}

/* A full disk is told as such: the listener is sent away. */
int node_rouse(struct node *n)
{
    char *cause = NULL;
    if (ring_rouse(n->ring, &cause) == 0) return 0;
    log_error("relay", "mount %s can't be woken: %s", n->conf.mount, cause);
    free(cause);
    return -1;
}

static const char *ticket_of(const struct http_request *request, char text[TICKET_TEXT])
{
    return http_query_get(request, "ticket", text, TICKET_TEXT);
}

/* The places that are left are for those who come with a ticket. */
static int is_kept(struct node *n, const struct http_request *request, const char *ticket)
{
    if (!n->conf.admission || !n->conf.gate || station_is_twin(n->station, request)) return 0;
    unsigned listening = limits_counts(gate_limits(n->conf.gate))->seats;
    return admission_judge(n->conf.admission, ticket, listening, clock_boot_ns()) == ADMISSION_ELSEWHERE;
}

static void taken(void *context, struct http_request *request)
{
    const struct node *n = context;
    char text[TICKET_TEXT];
    if (n->conf.admission)
        admission_taken(n->conf.admission, ticket_of(request, text), station_resumes(request),
                        clock_boot_ns());
}

static enum station_verdict admit(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size)
{
    struct node *n = context;
    char text[TICKET_TEXT];
    enum limits_verdict room = station_room(n->station, request);
    const char *ticket = ticket_of(request, text);
    int resumes = station_resumes(request), leaves = node_draining(n) || (resumes && main_of(n)->moving);
    /* while it drains, whoever is here can wait until another node has room */
    enum elsewhere_need need = !resumes || !leaves || room != LIMITS_OK ? ELSEWHERE_TRY
                               : node_draining(n) == NODE_CLOSED        ? ELSEWHERE_MUST_GO
                                                                        : ELSEWHERE_CAN_WAIT;
    int full = leaves || room != LIMITS_OK, kept = !full && !resumes && is_kept(n, request, ticket);
    /* one hop more: the root takes no notice of a relay that filled up since its report */
    if ((full || kept) && !limits_is_personal(room) &&
        (resumes || station_hops(request) < STATION_HOPS_MAX) &&
        !station_agent_stays(http_header(request, "User-Agent")) &&
        !elsewhere_send(n->conf.elsewhere, http_secure(request), need, asking != STATION_GET, location,
                        size)) {
        main_of(n)->sent_on += asking == STATION_GET;
        return STATION_REDIRECT;
    }
    /* it listens here, as far as its listener knows: nobody who could take it over is no reason to end that
     */
    if (resumes && leaves && room == LIMITS_OK) full = node_draining(n) == NODE_CLOSED;
    if (full) {
        main_of(n)->turned_away += asking == STATION_GET;
        return STATION_FULL;
    }
    if (asking == STATION_HEAD) return STATION_SERVE;
    if (node_rouse(n)) return STATION_FULL;
    n->asking_s = station_burst_s(request, asking); /* it does not wait yet */
    n->conf.wanted(n->conf.context);
    n->asking_s = 0;
    if (node_playable(n)) return STATION_SERVE;
    /* nothing comes, and may not for long: whoever can hear the loop hears that */
    if (!resumes &&
        (fanout_loops(n->fanout) || (n->conf.troubled(n->conf.context) && fanout_loop_now(n->fanout))))
        return STATION_SERVE;
    return n->conf.hopeless(n->conf.context) ? STATION_FULL : STATION_WAIT;
}

static int healthy(void *context, char *text, size_t size)
{
    struct node *n = context;
    return n->conf.healthy(n->conf.context, text, size);
}

static void parts_close(struct node *n)
{
    if (n->fanout) {
        struct fanout_counts last;
        fanout_counts_cut(n->fanout, &last);
        fanout_counts_add(&n->before, &last);
        if (station_peak(n->station) > n->peak) n->peak = station_peak(n->station);
    }
    if (n->links) n->link_bytes_before += link_server_bytes(n->links);
    link_server_free(n->links);
    n->links = NULL;
    station_free(n->station);
    if (n->fanout) fanout_free(n->fanout, 1);
    filler_free(n->filler);
    if (n->pacer) pacer_free(n->pacer);
    if (n->ring) ring_close(n->ring);
    n->station = NULL;
    n->fanout = NULL;
    n->filler = NULL;
    n->pacer = NULL;
    n->ring = NULL;
}

struct station_identity node_identity(const struct node *n)
{
    return identity_of(&main_of(n)->identity);
}

static const char *mount_name(const struct node *n)
{
    return n->conf.mount ? n->conf.mount : MOUNT_MAIN;
}

static void filler_open(struct node *n)
{
    if (n->conf.foreign) return;
    n->filler = filler_new(n->ring);
    filler_set_title(n->filler, filler_title_of(main_of(n)->identity.name));
    filler_set_loop(n->filler, loop_load(n->conf.state, mount_name(n), n->kbps, NULL));
}

void node_set_loop(struct node *n, struct loop *loop)
{
    char *cause = NULL;
    if (loop_save(loop, n->conf.state, mount_name(n), &cause)) log_warn("relay", "%s", cause);
    free(cause);
    if (n->filler)
        filler_set_loop(n->filler, loop);
    else
        loop_free(loop);
}

const struct loop *node_loop(const struct node *n)
{
    return n->filler ? filler_loop(n->filler) : NULL;
}

static int parts_open(struct node *n, char **cause)
{
    /* what is only assumed must not replace what an earlier life has kept: it stays in memory */
    char *path = !n->told        ? NULL
                 : n->conf.mount ? mount_ring_path(n->conf.state, n->conf.mount)
                                 : xasprintf("%s/main.ring", n->conf.state);
    const struct ring_conf ring = {.path = path,
                                   .kbps = n->kbps,
                                   .past_s = PAST_S,
                                   .lead_s = n->conf.lead_s + LEAD_SLACK_S,
                                   .resting = n->conf.mount != NULL,
                                   .foreign = n->conf.foreign};
    int result = ring_open(&n->ring, &ring, cause);
    free(path);
    if (result) return -1;
    const struct pacer_conf pacer = {.start_lead_s = START_LEAD_S};
    n->pacer = pacer_new(n->ring, &pacer);
    filler_open(n);
    const struct fanout_conf fanout = {.burst_s = NODE_BURST_S,
                                       .lag_limit_s = LAG_LIMIT_S,
                                       .air = node_air,
                                       .until = node_until,
                                       .filler = n->filler,
                                       .runs = node_runs,
                                       .context = n};
    n->fanout = fanout_new(n->conf.base, n->ring, &fanout);
    const struct station_conf station = {.identity = node_identity(n),
                                         .public_url = n->conf.public_url,
                                         .mount = n->conf.mount,
                                         .main = n->conf.main ? n->conf.main->station : NULL,
                                         .gate = n->conf.gate,
                                         .wait_ms = WAIT_MS,
                                         .admit = admit,
                                         .taken = taken,
                                         .elsewhere = elsewhere,
                                         .healthy = healthy,
                                         .air = node_air,
                                         .context = n};
    n->station = station_new(n->conf.base, n->conf.http, n->ring, n->fanout, &station);
    if (!n->conf.foreign) node_open_links(n);
    struct node *further;
    LIST_FOREACH(further, &n->further, sibling)
    station_set_main(further->station, n->station);
    return 0;
}

/* The bit rate heard of last, from the state directory; 0 when there is none. */
static unsigned remembered_kbps(const char *state)
{
    char *path = xasprintf("%s/kbps", state), *text = proc_read_file(path, 16, NULL, NULL);
    unsigned kbps = text ? (unsigned)strtoul(text, NULL, 10) : 0;
    free(text);
    free(path);
    return mp3_kbps_valid(kbps) ? kbps : 0;
}

static void remember_kbps(const struct node *n)
{
    char *path = xasprintf("%s/kbps", n->conf.state), *text = xasprintf("%u\n", n->kbps), *cause = NULL;
    if (proc_write_file(path, text, strlen(text), 0600, &cause)) log_warn("relay", "%s", cause);
    free(cause);
    free(text);
    free(path);
}

int node_new(struct node **out, const struct node_conf *conf, char **cause)
{
    struct node *n = xcalloc(1, sizeof *n);
    n->conf = *conf;
    LIST_INIT(&n->further);
    n->kbps = conf->mount ? conf->kbps : remembered_kbps(conf->state);
    n->told = n->kbps != 0;
    if (!n->told) n->kbps = FIRST_KBPS;
    if (!conf->mount) identity_load(&n->identity, conf->state);
    if (parts_open(n, cause)) {
        identity_free(&n->identity);
        free(n);
        return -1;
    }
    if (conf->main) LIST_INSERT_HEAD(&conf->main->further, n, sibling);
    *out = n;
    return 0;
}

void node_free(struct node *n)
{
    if (!n) return;
    if (n->conf.main) LIST_REMOVE(n, sibling);
    parts_close(n);
    json_decref(n->lineage);
    identity_free(&n->identity);
    free(n);
}

int node_set_kbps(struct node *n, unsigned kbps, char **cause)
{
    if (kbps == n->kbps && n->told) return 0;
    if (n->told)
        log_info("relay", "the bit rate of %s is %u kbit/s, was %u",
                 n->conf.mount ? n->conf.mount : "the station", kbps, n->kbps);
    /* bytes that somebody counted are those of a rate that was told, not of one that was assumed */
    struct station_waiter *waiting = n->told ? NULL : station_part(n->station);
    parts_close(n);
    n->told = 1;
    n->kbps = kbps;
    int result = parts_open(n, cause);
    station_take_over(n->station, waiting);
    if (result) return -1;
    if (!n->conf.mount) remember_kbps(n);
    return 0;
}

static void tell_identity(struct node *n)
{
    const struct station_identity now = node_identity(n);
    station_set_identity(n->station, &now);
    if (n->links) link_server_set_texts(n->links, now.name, now.description, now.genre, now.url);
    if (n->filler) filler_set_title(n->filler, filler_title_of(now.name));
}

void node_set_identity(struct node *n, const struct station_identity *to)
{
    struct node *main = main_of(n), *further;
    identity_set(&main->identity, to, main->conf.state);
    tell_identity(main);
    LIST_FOREACH(further, &main->further, sibling)
    tell_identity(further);
}

void node_set_draining(struct node *n, enum node_draining draining)
{
    main_of(n)->draining = draining;
}

enum node_draining node_draining(const struct node *n)
{
    return main_of(n)->draining;
}

void node_set_moving(struct node *n, int moving)
{
    main_of(n)->moving = moving;
}

unsigned node_room_elsewhere(const struct node *n)
{
    return elsewhere_room(n->conf.elsewhere);
}

void node_rest(struct node *n)
{
    if (n->conf.mount && !ring_resting(n->ring) && !node_needed_by(n) && node_behind_s(n) > 0)
        ring_rest(n->ring);
}

struct ring *node_ring(struct node *n)
{
    return n->ring;
}

struct pacer *node_pacer(struct node *n)
{
    return n->pacer;
}

struct fanout *node_fanout(struct node *n)
{
    return n->fanout;
}

struct station *node_station(struct node *n)
{
    return n->station;
}

void node_music(struct node *n)
{
    if (n->links) link_server_wake(n->links);
    if (station_waiting(n->station) && node_playable(n)) station_wake(n->station);
}

unsigned node_waiting(const struct node *n)
{
    return station_waiting(n->station);
}

double node_waiting_burst_s(const struct node *n)
{
    return fmax(fmax(station_waiting_burst_s(n->station), n->asking_s), n->asking_back_s);
}

unsigned node_listening(const struct node *n)
{
    return (unsigned)fanout_counts(n->fanout)->listening;
}

unsigned node_wanted_by(const struct node *n)
{
    return node_listening(n) + station_waiting(n->station);
}

void node_counts(const struct node *n, struct fanout_counts *out)
{
    *out = n->before;
    fanout_counts_add(out, fanout_counts(n->fanout));
}

void node_counts_cut(const struct node *n, struct fanout_counts *out)
{
    fanout_counts_cut(n->fanout, out);
    fanout_counts_add(out, &n->before);
}

uint64_t node_turned_away(const struct node *n)
{
    return n->turned_away;
}

uint64_t node_sent_on(const struct node *n)
{
    return n->sent_on;
}

uint64_t node_peak(const struct node *n)
{
    uint64_t now = station_peak(n->station);
    return now > n->peak ? now : n->peak;
}
