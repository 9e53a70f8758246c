/* station_internal: what station.c (the stream and who is let in) and station_pages.c (what is written about
 * it) share. */
#ifndef FOREVER_COMMON_STATION_INTERNAL_H
#define FOREVER_COMMON_STATION_INTERNAL_H
#include <stdint.h>
#include <sys/queue.h>

#include "common/station.h"

struct event;

struct station_waiter {
    STAILQ_ENTRY(station_waiter) entry;
    struct station *station;
    struct http_request *request;
    int64_t until_ns;
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
/* Absolute URL of a path of this node, in fresh memory; relative when nobody knows a host. */
char *station_url(const struct station *station, const struct http_request *request, const char *path);
/* The same of the stream itself. */
char *station_stream_url(const struct station *station, const struct http_request *request);

void station_on_m3u(void *context, struct http_request *request);
void station_on_pls(void *context, struct http_request *request);
void station_on_status(void *context, struct http_request *request);
void station_on_health(void *context, struct http_request *request);

#endif
