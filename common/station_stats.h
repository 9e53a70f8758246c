/* station_stats: /metrics of a node, as Prometheus text.
 *
 * What every node counts (listeners, the air, answered requests, the process) is written here, under the same
 * names wherever it is counted. A program brings one table of what is its own; its values and labelled series
 * are filled in just before each page. */
#ifndef FOREVER_COMMON_STATION_STATS_H
#define FOREVER_COMMON_STATION_STATS_H
#include <stddef.h>
#include <stdint.h>

#include "common/fanout.h"
#include "common/http.h"
#include "common/pacer.h"
#include "common/ring.h"
#include "common/stats.h"

struct evbuffer;
struct station_stats;

/* How the node stands at the moment of a page. */
struct station_look {
    struct fanout_counts counts; /* since the start of the program, like peak */
    uint64_t peak;
    unsigned waiting, max_listeners;
    struct ring *ring;
    struct pacer *pacer;
    int on_air; /* 0: nothing plays, and the pacer is not asked to move the air */
    int loop_playing;
};

struct station_stats_conf {
    struct http_server *http;
    const char *role; /* forever_build_info's */
    /* the program's own, static; none of them has the name of a common one */
    const struct stats_row *rows;
    size_t row_count;
    void (*look)(void *context, struct station_look *out); /* out is zeroed */
    void (*values)(void *context, double *values);         /* one for each row, kept from page to page */
    void (*series)(void *context, struct evbuffer *out);   /* labelled ones; may be NULL */
    void *context;
};

/* Registers its route and counts the server's requests. Freed after the server. */
struct station_stats *station_stats_new(const struct station_stats_conf *conf);
void station_stats_free(struct station_stats *stats);

#endif
