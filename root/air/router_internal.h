/* router_internal: what router.c (relays and what is known of them), router_choose.c, router_pace.c (traffic)
 * and router_timer.c share. */
#ifndef FOREVER_ROOT_AIR_ROUTER_INTERNAL_H
#define FOREVER_ROOT_AIR_ROUTER_INTERNAL_H
#include "root/air/router.h"
#include "root/air/router_index.h"

#define PERIODS          8 /* of tickets: ROUTER_PERIOD_NS each */
#define ROUTER_PERIOD_NS INT64_C(5000000000)

struct router_relay {
    int64_t heard_ns, tokens_ns, due_ns;
    uint64_t issued, starts[PERIODS]; /* tickets ever; before which number a period began */
    int64_t period;
    uint64_t floor, redeemed_from; /* as last reported: of those from floor on, so many were used */
    uint64_t below;                /* used ones below floor, ever */
    uint64_t allotment_bytes, month_base, out_base, bytes_out;
    int64_t month_begins_s, month_ends_s;
    double price, uplink_bps, terms_uplink_bps, load_bps, joins_per_s, tokens;
    float q, pacing, cost; /* cost: of the last review, without distance */
    struct relay_region region;
    struct router_index *near, *wide; /* of its country, NULL when that is unknown; of its continent */
    uint32_t listeners, max_listeners, terms_listeners, estimate, slots, traffic_slots, free_counted, owed;
    uint32_t near_place, wide_place, heap_place;
    uint16_t bucket;
    uint8_t state, why;
    unsigned taken : 1, secure : 1, drained : 1, draining : 1, unreachable : 1, filled : 1, indexed : 1,
        waits : 1, single : 1;
};

struct router {
    struct router_conf conf;
    struct router_relay *relays; /* grows to ROUTER_RELAYS_MAX */
    uint32_t capacity, high;     /* slots from high on were never taken */
    uint32_t *vacant, vacant_count;
    uint32_t *heap, heap_count; /* by due_ns */
    /* of each scheme: plain, secure */
    struct router_index continents[2][REGION_CONTINENTS];
    struct router_index *countries[2][REGION_COUNTRIES]; /* NULL: no relay was ever there */
    struct {
        uint64_t free;           /* slots of those that are alive */
        uint32_t alive, waits;   /* relays; those that only lack a join */
        uint32_t largest, dirty; /* the one with most listeners; it may be another by now */
        uint64_t owed;           /* listeners of relays that fell silent and may come back */
        int64_t owed_until_ns;
    } of[2];
    double stay_s, residual_s, bucket_low[INDEX_BUCKETS];
    /* traffic */
    int64_t paced_s, wall_s;
    double week[ROUTER_WEEK_HOURS]; /* listeners at that hour; negative: not learned yet */
    double week_mean, listening_sum;
    unsigned listening_samples;
    int64_t learned_hour;
};

/* router.c: everything about a relay that follows from what is known is worked out anew. */
void router_review(struct router *router, uint32_t slot, int64_t now_ns);
void router_advance(struct router *router, int64_t now_ns);
uint64_t router_pending(const struct router_relay *relay);
double router_slot_rate(const struct router *router, const struct router_relay *relay);

/* router_timer.c: a heap of the moments at which time alone changes something. */
void timer_add(struct router *router, uint32_t slot, int64_t due_ns);
void timer_remove(struct router *router, uint32_t slot);
void timer_set(struct router *router, uint32_t slot, int64_t due_ns);

/* router_pace.c */
uint64_t pace_used(const struct router_relay *relay);
/* How many listeners the traffic that is left allows. */
uint32_t pace_slots(const struct router *router, const struct router_relay *relay);
int pace_spent(const struct router *router, const struct router_relay *relay);
void pace_tick(struct router *router, int64_t now_ns, int64_t wall_s);
void pace_recall(struct router_relay *relay, double pacing);

#endif
