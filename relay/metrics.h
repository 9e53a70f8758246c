/* metrics: what a relay counts beside what every node does (common/station_stats.h). */
#ifndef FOREVER_RELAY_METRICS_H
#define FOREVER_RELAY_METRICS_H
#include "common/fetch.h"
#include "common/front.h"
#include "common/http.h"
#include "relay/bundle.h"
#include "relay/feed.h"
#include "relay/join.h"
#include "relay/ledger.h"

struct relay_metrics;

struct relay_metrics_conf {
    struct http_server *http;
    const struct front *front;
    struct fetch_client *client;
    struct bundle *bundle;
    const struct join *join;
    struct ledger *ledger;   /* NULL fine */
    const struct feed *feed; /* NULL: feeds no other relays */
    unsigned max_listeners;
};

/* Registers its route and counts the server's requests. */
struct relay_metrics *relay_metrics_new(const struct relay_metrics_conf *conf);
void relay_metrics_free(struct relay_metrics *metrics); /* after the server */

#endif
