/* pull: the relay's link to one of its parents for one mount, as long as somebody listens to that, and for
 * the linger after that, less what it was sent before it was needed (common/link_pace).
 *
 *     idle --wanted--> connecting --200--> following --nobody for the linger--> idle
 *                        ^   |                 |
 *                        |   +--failed--+--cut-+
 *                        +--- waiting <-+          (also ends in idle when nobody listens for the linger)
 *
 * A parent that fails is left for the next one at once, which goes on at the same position; with none left,
 * waiting takes a jittered time that doubles with each failure in a row, longer when we are refused. While
 * the parent is not the first in order, or brings nothing new, one that comes before it (or any other) and
 * has rested is tried beside the link, which it replaces when its HELLO has come: nothing is missed. In the
 * linger the parent is told to send no faster than what airs. A change of what is wrong is logged once, not
 * each attempt. While idle nothing runs, no timer either. */
#ifndef FOREVER_RELAY_PULL_H
#define FOREVER_RELAY_PULL_H
#include <stddef.h>
#include <stdint.h>

#include "common/fetch.h"
#include "relay/lineage.h"
#include "relay/node.h"
#include "relay/parents.h"

struct pull;

struct pull_conf {
    struct event_base *base;
    struct fetch_client *client;
    struct node *node;
    struct parents *parents; /* shared with others; outlives the pull, as the texts do */
    const char *mount, *id;  /* mount NULL: the main one; id: this node's (relay/lineage) */
    int icecast;             /* the one parent is the address of an Icecast server's stream (relay/icecast) */
    double lead_s, linger_s;
    /* the ring of another bit rate can't be opened: the relay is of no more use */
    void (*failed)(void *context, const char *why);
    /* The way of the programme to here is another (a list of ids, this one's last); NULL: nobody minds */
    void (*lineage)(void *context, const json_t *path);
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
/* The way of the programme to here while a link is up; NULL: none. Borrowed. */
const json_t *pull_lineage(const struct pull *pull);
/* 1 when the root refuses us: waiting for music is of no use. */
int pull_refused(const struct pull *pull);
/* What is wrong with the link, NULL when nothing is or nobody listens. */
const char *pull_trouble(const struct pull *pull);

struct pull_counts {
    uint64_t attempts, failures, links, resets; /* resets: links that did not join what was held */
    uint64_t switches;                          /* to another parent while a link was up */
    uint64_t bytes;                             /* of their bodies */
};
const struct pull_counts *pull_counts(const struct pull *pull);

/* The longest pause before a parent that can't be reached is tried again, in ms, by how far behind the air is
 * what somebody hears (negative: ahead; INFINITY: nobody does): short enough that several tries lie in what
 * is held, and as short until what was missed is no longer made up for (FILLER_PATIENCE_S). */
int pull_retry_cap_ms(double behind_s);

#endif
