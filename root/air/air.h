/* air: the process that is on air, put together. Private to root/air and root/main.c.
 *
 * One event loop on one thread (the access log's writer has its own). Workers' messages come in by the
 * switchboard, frames go through the schedule into the ring, the pacer says which of them are on air, fan-out
 * and links send them. Nothing waits. */
#ifndef FOREVER_ROOT_AIR_AIR_H
#define FOREVER_ROOT_AIR_AIR_H
#include <stdint.h>
#include <jansson.h>

#include "common/fanout.h"
#include "common/front.h"
#include "common/hls.h"
#include "common/http.h"
#include "common/link.h"
#include "common/link_door.h"
#include "common/pacer.h"
#include "common/ring.h"
#include "common/station.h"
#include "root/air/mounts.h"
#include "root/air/options.h"
#include "root/air/progress.h"
#include "root/air/registry.h"
#include "root/air/schedule.h"
#include "root/air/workers.h"

struct event_base;
struct event;
struct ctl_server;
struct metrics;
struct live;
struct tree_talk;
struct sampler;
struct recall;
struct fleet;
struct geo;
struct icecast_poll;

#define AIR_SIGNALS        3
#define AIR_LINKS_MAX      1024
#define AIR_BURST_S        4.0
#define AIR_LAG_LIMIT_S    20.0
#define AIR_LINK_FILL_RATE 2.0

struct air {
    struct event_base *base;
    const struct options *options;
    struct ring *ring;
    struct pacer *pacer;
    struct fanout *fanout;
    struct link_server *link;
    struct link_budget link_budget; /* of all mounts' links */
    struct link_door *door;         /* NULL: none */
    struct front *front;
    struct http_server *http;
    struct station *station;
    struct mounts *mounts; /* the main one, whose parts these are, among them */
    struct hls *hls;
    struct workers *workers;
    struct schedule *schedule;
    struct registry *registry;
    struct tree_talk *tree_talk;
    struct icecast_poll *icecasts;
    struct fleet *fleet;
    struct geo *geo; /* NULL: no database */
    struct live *live;
    struct sampler *sampler;
    struct recall *recall;
    struct ctl_server *ctl;
    struct metrics *metrics;
    struct event *tick, *signals[AIR_SIGNALS];
    struct event *turn;       /* of those who wait for a relay; NULL before the first */
    struct progress progress; /* of the analysis */
    int64_t started_ns, started_wall_ns;
    uint64_t redirects, refused, reports, reports_refused;
    uint64_t links_started;
    int64_t reserve_told_ns; /* when the log said last that places are kept */
    int port, stopping, had_music;
};

/* Runs the station until it is told to stop: the process's exit code. */
int air_run(const struct options *options);

uint64_t air_position(const struct air *air);
int air_has_music(const struct air *air);
double air_lead_s(const struct air *air);
/* Something else begins: as schedule_skip. */
int air_skip(struct air *air, uint64_t *position, char **cause);
/* Reads certificates and the geo database again, opens the access log again. 0, or -1 with *cause: what could
 * not be read stays as it was. */
int air_reload(struct air *air, char **cause);
/* Ends the loop in order. */
void air_stop(struct air *air);

/* api.c: what the site and others read. New references. */
json_t *api_now(const struct air *air);
json_t *api_segments(const struct air *air);
json_t *api_stats(const struct air *air);
void api_routes(struct air *air);
/* Answers with a body, which it consumes; not to be cached. */
void api_reply(struct http_request *request, json_t *body);

/* overview_api.c: the relays and what they cost, for people and programs */
void overview_routes(struct air *air);
struct overview;
/* The index-th relay of the registry, judged. 0, or -1 past the end. */
int overview_of(struct air *air, size_t index, int64_t now_ns, int64_t now_s, struct overview *out);
/* overview_metrics.c */
void overview_metrics(struct air *air, struct evbuffer *out);

/* relays.c: the link, reports */
void relays_routes(struct air *air, struct http_server *http);
void relays_link_ended(void *context, void *peer); /* a link_server's `closed` */
/* admit.c: who is served here, and who is sent to a relay */
enum station_verdict relays_admit(void *context, struct http_request *request, enum station_asking asking,
                                  char *location, size_t size);
int relays_elsewhere(void *context, int secure, size_t i, char *location, size_t size);
enum station_verdict relays_admit_to(struct air *air, struct mount *mount, struct http_request *request,
                                     enum station_asking asking, char *location, size_t size);

/* metrics.c */
struct metrics *metrics_new(struct air *air);
void metrics_free(struct metrics *metrics);

/* pages.c: the site, from memory */
void pages_routes(struct http_server *http);

#endif
