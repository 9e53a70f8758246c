/* router: which relay a listener is sent to (docs/ROUTING.md). Pure: no I/O, and all time is the caller's.
 *
 * Feasible relays first: heard of, reachable, not draining, of the listener's scheme, with a slot, a join and
 * traffic left. Of those the one of least cost, in money for a GB: price, what its monthly allotment is worth
 * at present, distance, and a price of use that rises towards its capacity; among near equals the less used
 * of two drawn at random. Every choice takes a few operations, however many relays there are.
 *
 * Listeners that were sent and not yet reported are counted by their tickets: reported + q * pending, q the
 * share of tickets that listeners come with. */
#ifndef FOREVER_ROOT_AIR_ROUTER_H
#define FOREVER_ROOT_AIR_ROUTER_H
#include <stddef.h>
#include <stdint.h>

#include "root/air/region.h"
#include "root/air/terms.h"

#define ROUTER_RELAYS_MAX 16384
#define ROUTER_NONE_SLOT  UINT32_MAX
#define ROUTER_WEEK_HOURS 168

struct router;

struct router_conf {
    int64_t suspect_ns, dead_ns; /* silence after which nobody is sent, and listeners count as lost */
    double rate_bps;             /* of the main mount */
    int no_reserve;              /* 1: no slots are kept free for the loss of the largest relay */
};
#define ROUTER_SUSPECT_S 5
#define ROUTER_DEAD_S    10

/* rate_bps must be there; other members that are 0 take their defaults. */
struct router *router_new(const struct router_conf *conf);
void router_free(struct router *router);

/* Relays: each has a slot, a number below ROUTER_RELAYS_MAX. */

/* ROUTER_NONE_SLOT when all are taken. */
uint32_t router_add(struct router *router, const struct relay_terms *terms, int64_t now_ns);
void router_remove(struct router *router, uint32_t slot);
void router_set_terms(struct router *router, uint32_t slot, const struct relay_terms *terms, int64_t now_ns);
void router_set_reachable(struct router *router, uint32_t slot, int reachable, int64_t now_ns);
/* What was sent in the billing month that is on, and when it begins and ends (since 1970). */
void router_set_month(struct router *router, uint32_t slot, uint64_t sent_bytes, int64_t begins_s,
                      int64_t ends_s, int64_t now_ns);

struct router_report {
    uint64_t listeners, max_listeners;
    double load_bps;    /* their rates together; 0: so many times the main mount's */
    double joins_per_s; /* it takes at most; 0: not said */
    double uplink_bps;  /* 0: not said. The terms go first */
    double links_bps;   /* of it, to other relays */
    uint64_t bytes_out; /* to listeners, ever growing */
    int draining, secure;
    int single;         /* it carries the main mount alone */
    int counts_tickets; /* the rest is there, and of this router's numbers */
    uint64_t floor, redeemed_from_floor, redeemed;
};
void router_heard(struct router *router, uint32_t slot, const struct router_report *report, int64_t now_ns);
/* Its program started anew: tickets of its earlier life are void, their numbers go on. */
void router_restarted(struct router *router, uint32_t slot, int64_t now_ns);
/* The lowest number of a ticket that may still be good: the relay counts what came of those from there on. */
uint64_t router_floor(struct router *router, uint32_t slot, int64_t now_ns);

/* Now and then, at least every second: wall time for the billing months. */
void router_tick(struct router *router, int64_t now_ns, int64_t wall_s);
/* What a listener stays, and how much longer one who is there. Learned by whoever counts them. */
void router_set_stay(struct router *router, double stay_s, double residual_s);

/* What was learned in an earlier life (root/air/recall.h): all that this one would come to know slowly. */

/* Listeners at relays in each hour of the week, the first of which is that of 1970-01-01 00:00 UTC; negative:
 * nothing is known of it. What was learned of hours in this life is replaced. */
void router_set_week(struct router *router, const double week[ROUTER_WEEK_HOURS]);
void router_week_clear(double week[ROUTER_WEEK_HOURS]);
/* So many were there in that hour (since 1970): weighed against the same hour of the weeks before. Called in
 * the order of time. */
void router_week_learn(double week[ROUTER_WEEK_HOURS], int64_t hour, double listeners);
/* pacing: what a GB of its allotment is worth, as router_view tells it; redemption: of its tickets. What is
 * out of range is left as it is. */
void router_recall(struct router *router, uint32_t slot, double pacing, double redemption, int64_t now_ns);

/* Choosing */

struct router_ask {
    struct relay_region region;
    int secure, further; /* further: it wants what only relays of ours have, other mounts */
    double rate_bps;     /* of the mount; 0: the main one's */
    uint64_t random;     /* 64 fresh bits */
    uint32_t but;        /* not this one; ROUTER_NONE_SLOT: none */
};
enum router_answer {
    ROUTER_TO,     /* slot */
    ROUTER_HOLD,   /* all that could take it have their joins for now: ask again after hold_ns */
    ROUTER_NOBODY, /* none has room */
};
struct router_choice {
    uint32_t slot;
    int64_t hold_ns;
    double cost;  /* money for a GB, with distance, without the price of use */
    int reserved; /* of ROUTER_NOBODY: there are places, but they are kept */
};
enum router_answer router_choose(struct router *router, const struct router_ask *ask, int64_t now_ns,
                                 struct router_choice *out);
/* A ticket is given out for it: its number. */
uint64_t router_issue(struct router *router, uint32_t slot, double rate_bps, int64_t now_ns);
/* Up to `max` relays with room, near in cost, each once; how many. */
size_t router_several(struct router *router, const struct router_ask *ask, int64_t now_ns, uint32_t *slots,
                      size_t max);
/* How many more listeners it takes, as far as is known: those on their way are counted. */
uint32_t router_room(const struct router *router, uint32_t slot);

/* What is known of one. */
enum router_state { ROUTER_NEW, ROUTER_ALIVE, ROUTER_SUSPECT, ROUTER_DEAD };
enum router_why { /* what keeps listeners from being sent there */
                  ROUTER_FEASIBLE,
                  ROUTER_UNHEARD,
                  ROUTER_UNREACHABLE,
                  ROUTER_DRAINING,
                  ROUTER_FULL_UP,
                  ROUTER_TRAFFIC,
                  ROUTER_JOINS,
                  ROUTER_WHYS
};
extern const char *const router_why_names[ROUTER_WHYS];
struct router_view {
    enum router_state state;
    enum router_why why;
    uint64_t estimate, slots, pending, issued; /* listeners; that it can take; tickets on their way; ever */
    double redemption, pacing, cost;           /* q; of the allotment, and all in all, money for a GB */
    uint64_t month_bytes;
    int spent; /* its allotment ends with those who are there: they have to be moved */
    /* so many more are there than its terms, its own limit or all of its line allow, by its last report */
    uint64_t over;
};
void router_view(struct router *router, uint32_t slot, int64_t now_ns, struct router_view *out);

enum router_verdict { ROUTER_SERVE, ROUTER_REDIRECT, ROUTER_FULL };
/* A listener more, when `listening` are served here. stays: its agent does not follow redirects. any_relay:
 * some relay has room. */
enum router_verdict router_admit(uint64_t listening, uint64_t relay_limit, uint64_t max_listeners, int stays,
                                 int any_relay);

#endif
