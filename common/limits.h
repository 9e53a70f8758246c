/* limits: who may become a listener of this node. One place for root and relay; pure, the caller brings the
 * clock.
 *
 * Capacity (the node's, a mount's, the uplink's, the rate of joins) makes a 503, and a root may send such a
 * listener to a relay instead. What one address may have (listeners at a time, joins a minute) makes a 429
 * wherever it turns up; an address counts as its network of address_bits4 or address_bits6, since a household
 * has a /64. All that is 0 is without limit. Memory is bounded: as many networks as there may be listeners
 * and ADDRESSES_SPARE more; when they are used up, those without a listener are forgotten, the longest unseen
 * first. */
#ifndef FOREVER_COMMON_LIMITS_H
#define FOREVER_COMMON_LIMITS_H
#include <stddef.h>
#include <stdint.h>

#include "common/net.h"

enum limits_verdict {
    LIMITS_OK,
    LIMITS_NODE,    /* as many listeners as the node may have */
    LIMITS_MOUNT,   /* as many as the mount may have */
    LIMITS_UPLINK,  /* their rates and this one's are more than the uplink's budget */
    LIMITS_JOINS,   /* too many joins at a time at this node */
    LIMITS_ADDRESS, /* as many listeners as one network may have */
    LIMITS_ADDRESS_JOINS,
    LIMITS_MEMORY, /* no room to remember another network */
    LIMITS_OTHER,  /* not for a limit: the node drains, or has nothing to play */
    LIMITS_VERDICTS
};
/* For metrics and logs: "node", "mount", ... */
extern const char *const limits_names[LIMITS_VERDICTS];

struct limits_conf {
    unsigned listeners;  /* of the node */
    uint64_t uplink_bps; /* what may be sent to listeners, headers of packets included */
    double joins_per_s;  /* of the node, with a bucket of as many seconds as LIMITS_JOIN_BUCKET_S */
    unsigned address_listeners;
    double address_joins_per_min;          /* with a bucket of a minute's */
    unsigned address_bits4, address_bits6; /* 0: 32 and 64 */
};
#define LIMITS_JOIN_BUCKET_S 3 /* one more than a root sends at once: those may come late, and together */

struct limits;

/* What a listener holds. A value of 8 bytes, so that it fits where a pointer does. */
struct limits_seat {
    uint32_t address; /* its number and 1 */
    uint16_t mount;   /* the same; 0: no seat */
    uint16_t kbps;
};

struct limits *limits_new(const struct limits_conf *conf);
void limits_free(struct limits *limits); /* every seat must have been left */
/* How many may hear a mount; 0: no limit of its own, as with all that were not named here. */
void limits_mount(struct limits *limits, const char *mount, unsigned listeners);

/* What one who comes now would be told. spare: as many more listeners than there are places may sit, for one
 * who comes back while its old connection still seems to. */
enum limits_verdict limits_judge(struct limits *limits, const char *mount, unsigned kbps,
                                 const struct net_addr *peer, unsigned spare, int64_t now_ns);
/* The same, and when it is OK, takes a seat, to be left when the listener goes. */
enum limits_verdict limits_enter(struct limits *limits, const char *mount, unsigned kbps,
                                 const struct net_addr *peer, unsigned spare, int64_t now_ns,
                                 struct limits_seat *seat);
void limits_leave(struct limits *limits, struct limits_seat seat); /* an empty one is fine */
const char *limits_seat_mount(const struct limits *limits, struct limits_seat seat);
/* 1 when the refusal is for what this address does, not for want of room: 429. */
int limits_is_personal(enum limits_verdict verdict);
/* When to come again, in whole seconds (Retry-After). */
unsigned limits_retry_s(const struct limits *limits, enum limits_verdict verdict);
/* A refusal was given: it is counted, and now and then a line of how many is due: 1, with the number since
 * the last line in *since. */
int limits_refused(struct limits *limits, enum limits_verdict verdict, int64_t now_ns, uint64_t *since);

struct limits_counts {
    uint64_t refused[LIMITS_VERDICTS]; /* [LIMITS_OK] unused */
    unsigned seats, addresses;         /* now */
    uint64_t used_bps;                 /* of the uplink, by the seats' rates */
};
const struct limits_counts *limits_counts(const struct limits *limits);

#endif
