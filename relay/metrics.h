/* metrics: /metrics of a relay, Prometheus text with the root's names where both count the same. */
#ifndef FOREVER_RELAY_METRICS_H
#define FOREVER_RELAY_METRICS_H
#include "common/fetch.h"
#include "common/http.h"
#include "relay/join.h"
#include "relay/node.h"
#include "relay/pull.h"

struct metrics;

struct metrics_conf {
    struct http_server *http;
    struct fetch_client *client;
    struct node *node;
    const struct pull *pull;
    const struct join *join;
    unsigned max_listeners;
};

/* Registers its route and counts the server's requests. */
struct metrics *metrics_new(const struct metrics_conf *conf);
void metrics_free(struct metrics *metrics); /* after the server */

#endif
