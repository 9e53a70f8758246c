/* pull: the relay's link to its root for one mount, as long as somebody listens to that.
 *
 *     idle --wanted--> connecting --200--> following --nobody for the linger--> idle
 *                        ^   |                 |
 *                        |   +--failed--+--cut-+
 *                        +--- waiting <-+          (also ends in idle when nobody listens for the linger)
 *
 * Waiting takes a jittered time that doubles with each failure in a row, longer when the root refuses us.
 * A change of what is wrong is logged once, not each attempt. While idle nothing runs, no timer either. */
#ifndef FOREVER_RELAY_PULL_H
#define FOREVER_RELAY_PULL_H
#include <stddef.h>
#include <stdint.h>

#include "common/fetch.h"
#include "relay/node.h"

struct pull;

struct pull_conf {
    struct event_base *base;
    struct fetch_client *client;
    struct node *node;
    const char *root, *token, *mount; /* outlive the pull; mount NULL: the main one */
    int icecast; /* root is the address of an Icecast server's stream (relay/icecast); no token, no mount */
    double lead_s, linger_s;
    /* the ring of another bit rate can't be opened: the relay is of no more use */
    void (*failed)(void *context, const char *why);
    /* "drain", "undrain", "move" or another one; deadline_s negative when none was given; NULL: nobody minds
     */
    void (*command)(void *context, const char *command, double deadline_s, unsigned listeners);
    void *context;
};

struct pull *pull_new(const struct pull_conf *conf);
void pull_free(struct pull *pull);
/* Somebody listens or wants to. */
void pull_want(struct pull *pull);
/* 1 when nobody listens, and nothing is under way. */
int pull_idle(const struct pull *pull);
/* 1 when a link is up. */
int pull_following(const struct pull *pull);
/* 1 when the root refuses us: waiting for music is of no use. */
int pull_refused(const struct pull *pull);
/* What is wrong with the link, NULL when nothing is or nobody listens. */
const char *pull_trouble(const struct pull *pull);

struct pull_counts {
    uint64_t attempts, failures, links, resets; /* resets: links that did not join what was held */
    uint64_t bytes;                             /* of their bodies */
};
const struct pull_counts *pull_counts(const struct pull *pull);

#endif
