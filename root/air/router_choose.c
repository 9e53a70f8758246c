/* The choice. A listener's own country and the continents each have their relays in buckets of cost; the one
 * whose cheapest bucket is least, with the distance to it, is drawn from. */
#include "root/air/router_internal.h"

#define PLACES       (1 + REGION_CONTINENTS)
#define DRAWS_MAX    64
#define DRAWS_BUCKET 4
#define UPLINK_SHARE (0.92 / 1.062)
#define HOLD_MIN_NS  20000000
#define HOLD_MAX_NS  2000000000

struct place {
    const struct router_index *index;
    double distance;
    unsigned bucket; /* of it, INDEX_BUCKETS: none is left */
};

static unsigned places_of(const struct router *r, const struct router_ask *ask, struct place *places)
{
    unsigned n = 0, s = ask->secure != 0;
    const struct router_index *own = r->countries[s][ask->region.country];
    if (own) places[n++] = (struct place){own, 0, 0};
    for (unsigned c = 0; c < REGION_CONTINENTS; c++)
        places[n++] = (struct place){&r->continents[s][c], region_between(ask->region.continent, c), 0};
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        places[i].bucket = index_first(places[i].index, 0);
        if (places[i].bucket < INDEX_BUCKETS) places[kept++] = places[i];
    }
    return kept;
}

static struct place *cheapest(const struct router *r, struct place *places, unsigned count)
{
    struct place *best = NULL;
    double least = 0;
    for (unsigned i = 0; i < count; i++) {
        if (places[i].bucket >= INDEX_BUCKETS) continue;
        double cost = places[i].distance + r->bucket_low[places[i].bucket];
        if (best && cost >= least) continue;
        best = &places[i];
        least = cost;
    }
    return best;
}

/* For this very listener: its mount may have more bits than the one that slots are counted in. */
static int fits(const struct router *r, uint32_t slot, const struct router_ask *ask)
{
    const struct router_relay *relay = &r->relays[slot];
    if (slot == ask->but || (ask->further && relay->single)) return 0;
    if (ask->rate_bps <= r->conf.rate_bps || relay->uplink_bps <= 0) return 1;
    double load = (double)relay->estimate * router_slot_rate(r, relay);
    return load + ask->rate_bps <= UPLINK_SHARE * relay->uplink_bps;
}

static double use_of(const struct router_relay *relay)
{
    return relay->slots ? (double)relay->estimate / relay->slots : 1;
}

static uint64_t mix(uint64_t *random)
{
    *random = (*random ^ *random >> 30) * UINT64_C(0xbf58476d1ce4e5b9) + UINT64_C(0x9e3779b97f4a7c15);
    return *random >> 32;
}

/* Two drawn at random from a bucket, different ones, that fit: the less used. */
static uint32_t draw(const struct router *r, const struct index_bucket *b, const struct router_ask *ask,
                     uint64_t *random)
{
    uint32_t found = ROUTER_NONE_SLOT;
    uint32_t at = (uint32_t)(mix(random) * b->count >> 32);
    for (unsigned i = 0; i < DRAWS_BUCKET && i < b->count; i++) {
        uint32_t slot = b->items[at];
        at = i + 1 < b->count && b->count > DRAWS_BUCKET ? (uint32_t)(mix(random) * b->count >> 32)
                                                         : (at + 1) % b->count;
        if (slot == found || !fits(r, slot, ask)) continue;
        if (found == ROUTER_NONE_SLOT) {
            found = slot;
            continue;
        }
        return use_of(&r->relays[slot]) < use_of(&r->relays[found]) ? slot : found;
    }
    return found;
}

static void find_largest(struct router *r, unsigned s)
{
    uint32_t largest = ROUTER_NONE_SLOT;
    for (uint32_t i = 0; i < r->high; i++) {
        const struct router_relay *relay = &r->relays[i];
        if (!relay->taken || relay->secure != s || relay->state != ROUTER_ALIVE) continue;
        if (largest == ROUTER_NONE_SLOT || relay->estimate > r->relays[largest].estimate) largest = i;
    }
    r->of[s].largest = largest;
    r->of[s].dirty = 0;
}

/* Would the others still hold the listeners of the largest, when one more came? */
static int reserve_holds(struct router *r, unsigned s, int64_t now_ns)
{
    if (r->conf.no_reserve || r->of[s].alive < 2) return 1;
    if (r->of[s].owed && now_ns < r->of[s].owed_until_ns) return 1; /* this is what it was kept for */
    r->of[s].owed = 0;
    if (r->of[s].dirty || r->of[s].largest == ROUTER_NONE_SLOT) find_largest(r, s);
    if (r->of[s].largest == ROUTER_NONE_SLOT) return 1;
    const struct router_relay *largest = &r->relays[r->of[s].largest];
    return r->of[s].free - largest->free_counted >= (uint64_t)largest->estimate + 1;
}

enum router_answer router_choose(struct router *r, const struct router_ask *ask, int64_t now_ns,
                                 struct router_choice *out)
{
    struct place places[PLACES];
    unsigned s = ask->secure != 0, draws = 0;
    uint64_t random = ask->random;
    router_advance(r, now_ns);
    *out = (struct router_choice){.slot = ROUTER_NONE_SLOT};
    unsigned count = places_of(r, ask, places);
    if (count || r->of[s].waits) {
        out->reserved = !reserve_holds(r, s, now_ns);
        if (out->reserved) return ROUTER_NOBODY;
    }
    for (struct place *p; draws < DRAWS_MAX && (p = cheapest(r, places, count)); draws += DRAWS_BUCKET) {
        uint32_t slot = draw(r, &p->index->buckets[p->bucket], ask, &random);
        if (slot == ROUTER_NONE_SLOT) {
            p->bucket = index_first(p->index, p->bucket + 1);
            continue;
        }
        out->slot = slot;
        out->cost = (double)r->relays[slot].cost + region_distance(ask->region, r->relays[slot].region);
        return ROUTER_TO;
    }
    if (!r->of[s].waits) return ROUTER_NOBODY;
    /* the next join that anybody gets, and a random part of as long again */
    int64_t wait = r->heap_count ? r->relays[r->heap[0]].due_ns - now_ns : HOLD_MAX_NS;
    if (wait > HOLD_MAX_NS) wait = HOLD_MAX_NS;
    if (wait < HOLD_MIN_NS) wait = HOLD_MIN_NS;
    out->hold_ns = wait + (int64_t)(mix(&random) * (uint64_t)wait >> 32);
    return ROUTER_HOLD;
}

/* Few of them. */
static void sort_by_use(const struct router *r, uint32_t *slots, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint32_t slot = slots[i];
        size_t k = i;
        for (; k && use_of(&r->relays[slots[k - 1]]) > use_of(&r->relays[slot]); k--)
            slots[k] = slots[k - 1];
        slots[k] = slot;
    }
}

uint32_t router_room(const struct router *r, uint32_t slot)
{
    const struct router_relay *relay = &r->relays[slot];
    return relay->slots > relay->estimate ? relay->slots - relay->estimate : 0;
}

size_t router_several(struct router *r, const struct router_ask *ask, int64_t now_ns, uint32_t *slots,
                      size_t max)
{
    struct place places[PLACES];
    uint64_t random = ask->random;
    size_t n = 0;
    unsigned draws = 0;
    router_advance(r, now_ns);
    unsigned count = places_of(r, ask, places);
    for (struct place *p; n < max && draws < DRAWS_MAX && (p = cheapest(r, places, count));) {
        const struct index_bucket *b = &p->index->buckets[p->bucket];
        uint32_t at = (uint32_t)(mix(&random) * b->count >> 32);
        size_t from = n;
        for (uint32_t i = 0; i < b->count && n < max && draws < DRAWS_MAX; i++, draws++) {
            uint32_t slot = b->items[(at + i) % b->count];
            size_t k = 0;
            while (k < n && slots[k] != slot)
                k++;
            if (k == n && fits(r, slot, ask)) slots[n++] = slot;
        }
        sort_by_use(r, slots + from, n - from);
        p->bucket = index_first(p->index, p->bucket + 1);
    }
    return n;
}
