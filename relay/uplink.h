/* uplink: one link to one parent: asks, decodes, hands on records, and says in the words of the log why it
 * ended. What becomes of it is the pull's. */
#ifndef FOREVER_RELAY_UPLINK_H
#define FOREVER_RELAY_UPLINK_H
#include <stdint.h>

#include "common/fetch.h"
#include "common/link.h"
#include "relay/follow.h"
#include "relay/parents.h"

struct uplink;

struct uplink_conf {
    struct fetch_client *client;
    const struct parent *parent; /* read during the call only */
    int icecast; /* the parent is an Icecast server (relay/icecast); the rest of the request is then of no use
                  */
    const char *mount, *node;      /* node: this one's id */
    struct ring *ring;             /* what is held; read during the call only */
    int has_from;                  /* asks for what follows that */
    double lead_s, back_s, less_s; /* as struct link_ask's */
    /* 0, or -1 to end the link; *broken says why when a rule was broken. */
    int (*record)(void *context, struct uplink *uplink, const struct link_record *record, char **broken);
    /* After each lot of records, in so many bytes. */
    void (*taken)(void *context, struct uplink *uplink, size_t bytes);
    /* It is over: `why` is the callee's, who frees the uplink. refused: asking again soon is of no use. */
    void (*ended)(void *context, struct uplink *uplink, char *why, int refused);
    void *context;
};

/* NULL with *cause. */
struct uplink *uplink_start(const struct uplink_conf *conf, char **cause);
void uplink_free(struct uplink *uplink); /* NULL is fine; also from within a callback of another one */

int uplink_parent(const struct uplink *uplink);       /* its id */
const char *uplink_url(const struct uplink *uplink);  /* of the parent */
int uplink_accepted(const struct uplink *uplink);     /* 200 came */
const char *uplink_link(const struct uplink *uplink); /* HELLO's link id; "" before, or when it told none */
struct follow *uplink_follow(struct uplink *uplink);  /* of this link */
/* HELLO's: the first frame that the parent did not hold then; 0 before. */
uint64_t uplink_head(const struct uplink *uplink);
/* What is held is what it was when the link was asked for, as far as its answer depends on that. */
int uplink_still_fits(const struct uplink *uplink, const struct ring *ring);
/* When frames came last that were not held yet, or were to come at last: a parent that holds less than we do
 * fills at twice the rate, and then goes on. */
int64_t uplink_fresh_ns(const struct uplink *uplink);

#endif
