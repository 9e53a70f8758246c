#include "root/air/router_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define NS_PER_S 1000000000.0
/* Of a line's rate, and what of it a stream's bytes are: packet headers, and room for what else there is. */
#define UPLINK_SHARE 0.92
#define UPLINK_HEADS 1.062
/* Joins where the relay names no limit: their bursts may take half the line. */
#define JOIN_SHARE   0.5
#define JOIN_BURST_S 4
#define BUCKET_S     2
#define JOIN_MARGIN  0.95 /* of the relay's own limit, since the two buckets are not in step */
/* The price of use: USE_PRICE at the last slot, next to nothing at half of them. */
#define USE_PRICE 0.02
#define USE_STEEP 1e8
/* Once full, a relay gets nobody until so many of its slots are free. */
#define FULL_SHARE 64
#define OWED_NS    INT64_C(60000000000)
/* A new relay's share of used tickets, believed as if it had been seen that often. */
#define Q_MEMORY 64.0
#define Q_LEAST  0.05
/* Buckets of cost: fine near 0, some 1.5 % wide above. */
#define COST_UNIT  0.002
#define COST_STEPS 48

const char *const router_why_names[ROUTER_WHYS] = {"",     "unheard", "unreachable", "draining",
                                                   "full", "traffic", "joins"};

/* Life */

struct router *router_new(const struct router_conf *conf)
{
    struct router *r = xcalloc(1, sizeof *r);
    r->conf = *conf;
    if (!r->conf.suspect_ns) r->conf.suspect_ns = (int64_t)(ROUTER_SUSPECT_S * NS_PER_S);
    if (!r->conf.dead_ns) r->conf.dead_ns = (int64_t)(ROUTER_DEAD_S * NS_PER_S);
    r->stay_s = 1800;
    r->residual_s = 3600;
    router_week_clear(r->week);
    for (int i = 0; i < 2; i++)
        r->of[i].largest = ROUTER_NONE_SLOT;
    for (unsigned b = 0; b < INDEX_BUCKETS; b++)
        r->bucket_low[b] = COST_UNIT * (exp2((double)b / COST_STEPS) - 1);
    return r;
}

void router_free(struct router *r)
{
    if (!r) return;
    for (int s = 0; s < 2; s++) {
        for (int c = 0; c < REGION_CONTINENTS; c++)
            index_clear(&r->continents[s][c]);
        for (int c = 0; c < REGION_COUNTRIES; c++) {
            if (r->countries[s][c]) index_clear(r->countries[s][c]);
            free(r->countries[s][c]);
        }
    }
    free(r->relays);
    free(r->vacant);
    free(r->heap);
    free(r);
}

static unsigned bucket_of(double cost)
{
    double b = COST_STEPS * log2(1 + cost / COST_UNIT);
    return b >= INDEX_BUCKETS - 1 ? INDEX_BUCKETS - 1 : (unsigned)b;
}

/* NULL when the country is not known. */
static struct router_index *country(struct router *r, struct relay_region region, int secure)
{
    struct router_index **index = &r->countries[secure][region.country];
    if (region.country && !*index) *index = xcalloc(1, sizeof **index);
    return *index;
}

/* Indexes */

static void leave(struct router *r, struct router_relay *relay)
{
    if (!relay->indexed) return;
    uint32_t moved = index_take(relay->wide, relay->bucket, relay->wide_place);
    if (moved != INDEX_NONE) r->relays[moved].wide_place = relay->wide_place;
    if (relay->near) {
        moved = index_take(relay->near, relay->bucket, relay->near_place);
        if (moved != INDEX_NONE) r->relays[moved].near_place = relay->near_place;
    }
    relay->indexed = 0;
}

static void enter(struct router *r, uint32_t slot, unsigned bucket)
{
    struct router_relay *relay = &r->relays[slot];
    if (relay->indexed && relay->bucket == bucket) return;
    leave(r, relay);
    relay->bucket = (uint16_t)bucket;
    relay->wide_place = index_put(relay->wide, bucket, slot);
    if (relay->near) relay->near_place = index_put(relay->near, bucket, slot);
    relay->indexed = 1;
}

/* It is of another region or scheme from now on. */
static void settle(struct router *r, struct router_relay *relay, struct relay_region region, int secure)
{
    struct router_index *wide = &r->continents[secure][region.continent];
    struct router_index *near = country(r, region, secure);
    if (wide == relay->wide && near == relay->near) return;
    leave(r, relay);
    relay->region = region;
    relay->wide = wide;
    relay->near = near;
}

/* What is known of a relay */

uint64_t router_pending(const struct router_relay *relay)
{
    return relay->issued + 1 - relay->floor - relay->redeemed_from;
}

double router_slot_rate(const struct router *r, const struct router_relay *relay)
{
    return relay->listeners && relay->load_bps > 0 ? relay->load_bps / relay->listeners : r->conf.rate_bps;
}

/* share: of the line. */
static uint32_t slots_of(const struct router *r, const struct router_relay *relay, double share)
{
    double slots = relay->max_listeners;
    if (relay->terms_listeners && (slots == 0 || relay->terms_listeners < slots))
        slots = relay->terms_listeners;
    if (relay->uplink_bps > 0) {
        double line = floor(share * relay->uplink_bps / UPLINK_HEADS / router_slot_rate(r, relay));
        if (line < slots) slots = line;
    }
    return (uint32_t)slots;
}

static double join_rate(const struct router *r, const struct router_relay *relay)
{
    if (relay->joins_per_s > 0) return JOIN_MARGIN * relay->joins_per_s;
    return JOIN_SHARE * relay->uplink_bps / (JOIN_BURST_S * r->conf.rate_bps);
}

static void refill(const struct router *r, struct router_relay *relay, int64_t now_ns)
{
    double rate = join_rate(r, relay), most = rate * BUCKET_S > 1 ? rate * BUCKET_S : 1;
    relay->tokens += rate * (double)(now_ns - relay->tokens_ns) / NS_PER_S;
    if (relay->tokens > most) relay->tokens = most;
    relay->tokens_ns = now_ns;
}

static enum router_why why_not(struct router *r, struct router_relay *relay, int64_t now_ns)
{
    if (relay->state != ROUTER_ALIVE) return ROUTER_UNHEARD;
    if (relay->unreachable) return ROUTER_UNREACHABLE;
    if (relay->draining || relay->drained) return ROUTER_DRAINING;
    if (relay->filled || relay->estimate >= relay->slots) return ROUTER_FULL_UP;
    if (relay->estimate >= relay->traffic_slots) return ROUTER_TRAFFIC;
    if (join_rate(r, relay) <= 0) return ROUTER_FEASIBLE;
    refill(r, relay, now_ns);
    return relay->tokens >= 1 ? ROUTER_FEASIBLE : ROUTER_JOINS;
}

/* takes: it is alive and could be sent listeners, but for want of room. */
static void count_free(struct router *r, uint32_t slot, int takes, unsigned secure)
{
    struct router_relay *relay = &r->relays[slot];
    uint32_t most = relay->slots < relay->traffic_slots ? relay->slots : relay->traffic_slots;
    uint32_t spare = takes && most > relay->estimate ? most - relay->estimate : 0;
    r->of[secure].free += (uint64_t)spare - relay->free_counted;
    relay->free_counted = spare;
    uint32_t largest = r->of[secure].largest;
    if (largest == slot)
        r->of[secure].dirty = 1;
    else if (relay->state == ROUTER_ALIVE &&
             (largest == ROUTER_NONE_SLOT || relay->estimate > r->relays[largest].estimate))
        r->of[secure].largest = slot;
}

/* A relay's silence, or its end of it. */
static void set_state(struct router *r, struct router_relay *relay, int64_t now_ns)
{
    int64_t silent = now_ns - relay->heard_ns;
    enum router_state was = relay->state;
    if (was == ROUTER_NEW && !relay->heard_ns) return;
    relay->state = silent < r->conf.suspect_ns ? ROUTER_ALIVE
                   : silent < r->conf.dead_ns  ? ROUTER_SUSPECT
                                               : ROUTER_DEAD;
    if (relay->state == was) return;
    unsigned s = relay->secure;
    if (relay->state == ROUTER_ALIVE) {
        r->of[s].alive++;
        r->of[s].owed -= relay->owed < r->of[s].owed ? relay->owed : r->of[s].owed;
        relay->owed = 0;
    } else if (was == ROUTER_ALIVE) {
        r->of[s].alive--;
        relay->owed = relay->estimate;
        r->of[s].owed += relay->owed;
        r->of[s].owed_until_ns = now_ns + OWED_NS;
    }
}

static int64_t next_moment(const struct router *r, const struct router_relay *relay)
{
    if (relay->state == ROUTER_SUSPECT) return relay->heard_ns + r->conf.dead_ns;
    if (relay->state != ROUTER_ALIVE) return INT64_MAX;
    int64_t silent = relay->heard_ns + r->conf.suspect_ns;
    if (relay->why != ROUTER_JOINS) return silent;
    double wait_ns = (1 - relay->tokens) / join_rate(r, relay) * NS_PER_S;
    if (wait_ns >= (double)(silent - relay->tokens_ns)) return silent;
    return relay->tokens_ns + (int64_t)wait_ns + 1;
}

void router_review(struct router *r, uint32_t slot, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    unsigned s = relay->secure;
    set_state(r, relay, now_ns);
    relay->estimate = relay->listeners + (uint32_t)ceil((double)relay->q * (double)router_pending(relay));
    relay->slots = slots_of(r, relay, UPLINK_SHARE);
    relay->traffic_slots = pace_slots(r, relay);
    if (relay->estimate >= relay->slots)
        relay->filled = 1;
    else if (relay->estimate + (relay->slots / FULL_SHARE ? relay->slots / FULL_SHARE : 1) <= relay->slots)
        relay->filled = 0;
    relay->why = (uint8_t)why_not(r, relay, now_ns);
    count_free(r, slot,
               relay->state == ROUTER_ALIVE && !relay->unreachable && !relay->draining && !relay->drained, s);
    unsigned waits = relay->why == ROUTER_JOINS;
    r->of[s].waits += waits - relay->waits;
    relay->waits = waits & 1;
    double use = relay->slots ? (double)relay->estimate / relay->slots : 1;
    relay->cost = (float)(relay->price + (double)relay->pacing);
    if (relay->why == ROUTER_FEASIBLE)
        enter(r, slot,
              bucket_of((double)relay->cost +
                        USE_PRICE * (pow(USE_STEEP, use < 1 ? use : 1) - 1) / (USE_STEEP - 1)));
    else
        leave(r, relay);
    int64_t due = next_moment(r, relay);
    /* a moment that has moved on is found to have when the old one comes */
    if (due < relay->due_ns || relay->due_ns <= now_ns) timer_set(r, slot, due);
}

void router_advance(struct router *r, int64_t now_ns)
{
    while (r->heap_count && r->relays[r->heap[0]].due_ns <= now_ns)
        router_review(r, r->heap[0], now_ns);
}

/* Coming and going */

static int grow(struct router *r)
{
    if (r->high < r->capacity) return 0;
    if (r->capacity == ROUTER_RELAYS_MAX) return -1;
    r->capacity = r->capacity ? r->capacity * 2 : 16;
    r->relays = xrealloc(r->relays, r->capacity * sizeof *r->relays);
    r->vacant = xrealloc(r->vacant, r->capacity * sizeof *r->vacant);
    r->heap = xrealloc(r->heap, r->capacity * sizeof *r->heap);
    return 0;
}

uint32_t router_add(struct router *r, const struct relay_terms *terms, int64_t now_ns)
{
    uint32_t slot;
    if (r->vacant_count)
        slot = r->vacant[--r->vacant_count];
    else if (grow(r))
        return ROUTER_NONE_SLOT;
    else
        slot = r->high++;
    struct router_relay *relay = &r->relays[slot];
    *relay = (struct router_relay){.taken = 1, .q = 1, .floor = 1, .tokens = 1e9, .tokens_ns = now_ns};
    for (int i = 0; i < PERIODS; i++)
        relay->starts[i] = 1;
    relay->period = now_ns / ROUTER_PERIOD_NS;
    timer_add(r, slot, INT64_MAX);
    router_set_terms(r, slot, terms, now_ns);
    return slot;
}

void router_remove(struct router *r, uint32_t slot)
{
    struct router_relay *relay = &r->relays[slot];
    unsigned s = relay->secure;
    leave(r, relay);
    timer_remove(r, slot);
    r->of[s].free -= relay->free_counted;
    r->of[s].waits -= relay->waits;
    r->of[s].alive -= relay->state == ROUTER_ALIVE;
    if (r->of[s].largest == slot) {
        r->of[s].largest = ROUTER_NONE_SLOT;
        r->of[s].dirty = 1;
    }
    relay->taken = 0;
    r->vacant[r->vacant_count++] = slot;
}

void router_set_terms(struct router *r, uint32_t slot, const struct relay_terms *terms, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    struct relay_region region;
    region_parse(terms->region, &region);
    relay->price = terms->price_per_gb;
    if (!relay->allotment_bytes && terms->allotment_bytes) relay->pacing = 0;
    relay->allotment_bytes = terms->allotment_bytes;
    relay->terms_uplink_bps = (double)terms->uplink_bps;
    if (terms->uplink_bps) relay->uplink_bps = relay->terms_uplink_bps;
    relay->terms_listeners = terms->max_listeners;
    relay->drained = terms->drained != 0;
    settle(r, relay, region, relay->secure);
    router_review(r, slot, now_ns);
}

void router_set_reachable(struct router *r, uint32_t slot, int reachable, int64_t now_ns)
{
    r->relays[slot].unreachable = !reachable;
    router_review(r, slot, now_ns);
}

/* What it says */

static void take_tickets(struct router_relay *relay, const struct router_report *report)
{
    if (!report->counts_tickets) {
        /* it does not count them: those that came are among its listeners, and the others soon will be */
        relay->floor = relay->issued + 1;
        relay->redeemed_from = 0;
        return;
    }
    if (report->floor < relay->floor || report->floor > relay->issued + 1 ||
        report->redeemed_from_floor > relay->issued + 1 - report->floor ||
        report->redeemed < report->redeemed_from_floor)
        return; /* of an earlier answer, or not of ours */
    uint64_t below = report->redeemed - report->redeemed_from_floor;
    double resolved = (double)(report->floor - relay->floor);
    if (resolved > 0 && below >= relay->below) {
        double used = (double)(below - relay->below);
        if (used > resolved) used = resolved;
        relay->q = (float)(((double)relay->q * Q_MEMORY + used) / (Q_MEMORY + resolved));
        if (relay->q < (float)Q_LEAST) relay->q = (float)Q_LEAST;
    }
    relay->below = below;
    relay->floor = report->floor;
    relay->redeemed_from = report->redeemed_from_floor;
}

void router_heard(struct router *r, uint32_t slot, const struct router_report *report, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    if (relay->secure != (report->secure != 0)) {
        unsigned was = relay->secure;
        leave(r, relay);
        r->of[was].free -= relay->free_counted;
        relay->free_counted = 0;
        r->of[was].waits -= relay->waits;
        relay->waits = 0;
        r->of[was].alive -= relay->state == ROUTER_ALIVE;
        r->of[!was].alive += relay->state == ROUTER_ALIVE;
        r->of[was].dirty = 1;
        if (r->of[was].largest == slot) r->of[was].largest = ROUTER_NONE_SLOT;
        relay->secure = report->secure != 0;
        settle(r, relay, relay->region, relay->secure);
    }
    if (!relay->heard_ns) relay->out_base = report->bytes_out;
    relay->heard_ns = now_ns;
    relay->listeners = report->listeners > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)report->listeners;
    relay->max_listeners =
        report->max_listeners > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)report->max_listeners;
    relay->load_bps = report->load_bps > 0 ? report->load_bps : relay->listeners * r->conf.rate_bps;
    relay->joins_per_s = report->joins_per_s;
    relay->uplink_bps = relay->terms_uplink_bps > 0 ? relay->terms_uplink_bps : report->uplink_bps;
    if (relay->uplink_bps > 0) relay->uplink_bps = fmax(relay->uplink_bps - report->links_bps, 1);
    relay->bytes_out = report->bytes_out;
    relay->draining = report->draining != 0;
    relay->single = report->single != 0;
    take_tickets(relay, report);
    router_review(r, slot, now_ns);
}

void router_recall(struct router *r, uint32_t slot, double pacing, double redemption, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    if (redemption >= Q_LEAST && redemption <= 1) relay->q = (float)redemption;
    if (relay->allotment_bytes) pace_recall(relay, pacing);
    router_review(r, slot, now_ns);
}

void router_restarted(struct router *r, uint32_t slot, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    relay->floor = relay->issued + 1;
    relay->redeemed_from = relay->below = 0;
    for (int i = 0; i < PERIODS; i++)
        relay->starts[i] = relay->floor;
    router_review(r, slot, now_ns);
}

/* Tickets by the period in which they were made */

static void turn_periods(struct router_relay *relay, int64_t now_ns)
{
    int64_t now = now_ns / ROUTER_PERIOD_NS;
    if (now - relay->period > PERIODS) relay->period = now - PERIODS;
    while (relay->period < now)
        relay->starts[++relay->period % PERIODS] = relay->issued + 1;
}

uint64_t router_floor(struct router *r, uint32_t slot, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    turn_periods(relay, now_ns);
    /* 5 whole periods back: 25 s at least, longer than a ticket's life and its way */
    uint64_t oldest = relay->starts[(relay->period + PERIODS - 5) % PERIODS];
    return oldest > relay->floor ? oldest : relay->floor;
}

uint64_t router_issue(struct router *r, uint32_t slot, double rate_bps, int64_t now_ns)
{
    struct router_relay *relay = &r->relays[slot];
    (void)rate_bps;
    turn_periods(relay, now_ns);
    if (join_rate(r, relay) > 0) {
        refill(r, relay, now_ns);
        relay->tokens -= 1;
    }
    relay->issued++;
    unsigned s = relay->secure;
    if (r->of[s].owed) r->of[s].owed--;
    router_review(r, slot, now_ns);
    return relay->issued;
}

void router_view(struct router *r, uint32_t slot, int64_t now_ns, struct router_view *out)
{
    router_advance(r, now_ns);
    const struct router_relay *relay = &r->relays[slot];
    uint32_t slots = relay->slots < relay->traffic_slots ? relay->slots : relay->traffic_slots;
    /* some come without us, as far as the relay itself lets them in: all of the line may be full */
    uint32_t most = slots_of(r, relay, 1);
    int over = relay->state == ROUTER_ALIVE && relay->max_listeners && relay->listeners > most;
    *out = (struct router_view){.state = (enum router_state)relay->state,
                                .why = (enum router_why)relay->why,
                                .estimate = relay->estimate,
                                .slots = slots,
                                .pending = router_pending(relay),
                                .issued = relay->issued,
                                .redemption = (double)relay->q,
                                .pacing = (double)relay->pacing,
                                .cost = (double)relay->cost,
                                .month_bytes = pace_used(relay),
                                .spent = pace_spent(r, relay),
                                .over = over ? relay->listeners - most : 0};
}

enum router_verdict router_admit(uint64_t listening, uint64_t relay_limit, uint64_t max_listeners, int stays,
                                 int any_relay)
{
    int here = listening < max_listeners;
    if (listening < relay_limit && here) return ROUTER_SERVE;
    if (stays && here) return ROUTER_SERVE;
    if (any_relay && !stays) return ROUTER_REDIRECT;
    return here ? ROUTER_SERVE : ROUTER_FULL;
}
