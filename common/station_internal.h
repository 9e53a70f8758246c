/* station_internal: what station.c (who is let in), station_stream.c (the stream's answer), station_sync.c
 * (where to listen, where a listener is) and station_pages.c (what is written about it) share. */
#ifndef FOREVER_COMMON_STATION_INTERNAL_H
#define FOREVER_COMMON_STATION_INTERNAL_H
#include <stdint.h>
#include <sys/queue.h>

#include "common/station.h"
#include "common/station_ask.h"

/* What scripts of other origins may read. */
#define STATION_EXPOSED                                                                                      \
    "Icy-MetaInt, Icy-Br, Icy-Name, Icy-Genre, Icy-Description, Icy-Url, Icy-Pub, X-Forever-Position, "      \
    "Accept-Ranges, Content-Range, Retry-After"

struct event;

struct station_waiter {
    STAILQ_ENTRY(station_waiter) entry;
    struct station *station;
    struct http_request *request;
    int (*decide)(struct station *station, struct http_request *request);
    int64_t until_ns;
    double burst_s; /* it wants so much before the air */
};

struct station {
    struct http_server *http;
    struct ring *ring;
    struct fanout *fanout;
    struct station_conf conf;
    STAILQ_HEAD(, station_waiter) waiters; /* in order of their deadlines: all wait equally long */
    unsigned waiting;
    struct event *timeout;
    int waking, woken_again;
    uint64_t peak;
    int64_t started_wall_ns;
    const char *mount;
    const struct http_route *routes; /* of the mount */
    LIST_HEAD(, station) further;    /* the main one's: the other mounts */
    LIST_ENTRY(station) sibling;
};

uint64_t station_air(const struct station *station);
void station_reply_json(struct http_request *request, int status, json_t *value); /* takes value over */
/* Absolute URL of a path of this node, in fresh memory; relative when nobody knows a host. */
char *station_url(const struct station *station, const struct http_request *request, const char *path);
/* The same of the stream itself. */
char *station_stream_url(const struct station *station, const struct http_request *request);

/* The same of the stream itself. */
char *station_stream_url(const struct station *station, const struct http_request *request);
/* This mount's stream at another node, of the main one's there; fresh memory. */
char *station_elsewhere_url(const struct station *station, const char *main_stream);
/* The value of the ticket in such an address, borrowed from it; NULL when there is none. */
const char *station_location_ticket(const char *location);
#define STATION_LISTEN_BURST_S 15.0 /* outlasts a node's restart */

/* Answers now when decide says 1, else at a wake that makes it do so, or with 503 when the wait is over. */
void station_answer(struct station *station, struct http_request *request, enum station_asking asking,
                    int (*decide)(struct station *station, struct http_request *request));
void station_turn_away(struct http_request *request, const char *why);
/* Frames of at least so many seconds. */
uint64_t station_frames(double seconds);

void station_request_ask(const struct http_request *request, struct station_ask *ask);
/* The byte of the endless stream that an answer made now begins with. */
uint64_t station_first_byte(const struct station *station, const struct station_ask *ask);
/* As many more listeners than there are places may sit: some, for one that resumes and still seems to listen
 * here (its old connection is dead and not noticed yet); else 0. */
unsigned station_spare(const struct station *station, const struct http_request *request);
/* Answers with why there is no room; _full finds that out by itself. */
void station_refuse(const struct station *station, struct http_request *request, enum limits_verdict verdict);
void station_refuse_full(const struct station *station, struct http_request *request);
/* Answers a GET or HEAD of the stream with it; carrier: to one who is no listener. */
void station_serve(struct station *station, struct http_request *request, int carrier);

void station_on_listen(void *context, struct http_request *request);
void station_on_sync(void *context, struct http_request *request);
void station_on_xspf(void *context, struct http_request *request);
void station_on_m3u(void *context, struct http_request *request);
void station_on_pls(void *context, struct http_request *request);
void station_on_status(void *context, struct http_request *request);
void station_on_health(void *context, struct http_request *request);

#endif
