/* The choice is one pass over the pool: every track has its age (how many others were played since) and its
 * artist's, and the rules of spacing are tried from the strictest to none until one leaves a candidate. Near
 * equals are told apart by a small seeded number added to the distance. A track that lies far from all others
 * would never be the nearest: what has waited longer than the pool is long comes nearer with time. */
#include "root/order/pick.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/order/distance.h"

#define NEAR_EQUAL 0.04 /* distances this close are the same to the ear */
#define WAITING    0.10 /* comes nearer by this for each time the whole pool could have been played since */
#define RUNNERS_UP 3

/* Invariant: items ascend by id. The sums are over the items that know their timbre. */
struct pool {
    struct order_item *items;
    size_t count, room;
    size_t timbre_count;
    double timbre_sum[TIMBRE_DIMS], timbre_squares[TIMBRE_DIMS];
};

/* From strict to none. A spacing of a share of the pool outranks the artist, down to half of the pool; but
 * where one artist made more than two thirds of the pool, the few other tracks do not come early, or after
 * what they do not go with, only to part that artist's. */
static const struct rule {
    double spacing; /* share of the pool that must have been played since */
    int artist;     /* last tracks that must be of other artists */
} rules[] = {{0.8, 3}, {0.8, 1}, {0.5, 1}, {0.8, 0}, {0.5, 0}, {0.25, 0}, {0, 0}};
#define RULES (sizeof rules / sizeof *rules)

struct pool *pool_new(void)
{
    return xcalloc(1, sizeof(struct pool));
}

void pool_free(struct pool *pool)
{
    if (!pool) return;
    free(pool->items);
    free(pool);
}

size_t pool_count(const struct pool *pool)
{
    return pool->count;
}

/* The first item with an id of at least this. */
static size_t place(const struct pool *pool, int64_t id)
{
    size_t low = 0, high = pool->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pool->items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The item's index, or -1. */
static long find(const struct pool *pool, int64_t id)
{
    size_t at = place(pool, id);
    return at < pool->count && pool->items[at].id == id ? (long)at : -1;
}

double pool_duration_s(const struct pool *pool, int64_t id)
{
    long at = find(pool, id);
    return at < 0 ? NAN : (double)pool->items[at].duration_s;
}

static void count_timbre(struct pool *pool, const struct order_item *item, int sign)
{
    if (isnan(item->timbre[0])) return;
    pool->timbre_count += (size_t)sign;
    for (int i = 0; i < TIMBRE_DIMS; i++) {
        double value = (double)item->timbre[i];
        pool->timbre_sum[i] += sign * value;
        pool->timbre_squares[i] += sign * value * value;
    }
}

void pool_put(struct pool *pool, const struct track *track)
{
    struct order_item item;
    order_item_from(&item, track);
    size_t at = place(pool, item.id);
    if (at < pool->count && pool->items[at].id == item.id) {
        count_timbre(pool, &pool->items[at], -1);
    } else {
        if (pool->count == pool->room) {
            pool->room = pool->room ? pool->room * 2 : 256;
            pool->items = xrealloc(pool->items, pool->room * sizeof *pool->items);
        }
        memmove(pool->items + at + 1, pool->items + at, (pool->count - at) * sizeof *pool->items);
        pool->count++;
    }
    pool->items[at] = item;
    count_timbre(pool, &item, 1);
}

void pool_remove(struct pool *pool, int64_t id)
{
    long at = find(pool, id);
    if (at < 0) return;
    count_timbre(pool, &pool->items[at], -1);
    pool->count--;
    memmove(pool->items + at, pool->items + at + 1, (pool->count - (size_t)at) * sizeof *pool->items);
}

static void timbre_spread(const struct pool *pool, double scale[TIMBRE_DIMS])
{
    double n = (double)pool->timbre_count;
    for (int i = 0; i < TIMBRE_DIMS; i++) {
        double mean = n > 0 ? pool->timbre_sum[i] / n : 0;
        double variance = n > 1 ? pool->timbre_squares[i] / n - mean * mean : 0;
        scale[i] = variance > 1e-12 ? sqrt(variance) : 0;
    }
}

/* splitmix64 */
static uint64_t mixed(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

struct choice {
    const struct pool *pool;
    const struct order_item *last; /* NULL: nothing to be near to */
    uint32_t *ages;  /* by item: distinct tracks played since, from 1; 0: never, UINT32_MAX: avoided */
    uint32_t *plays; /* by item: plays since, repeats counted; 0: never */
    size_t recent_count;
    uint64_t artists[3]; /* of the last tracks, newest first; 0 unknown */
    uint64_t random;
    double timbre_scale[TIMBRE_DIMS];
};

struct ranked {
    double score;
    size_t item;
    struct order_distance distance;
};

static void gather(struct choice *c, int64_t after, const int64_t *recent, size_t recent_count,
                   const int64_t *avoid, size_t avoid_count, uint64_t seed)
{
    const struct pool *pool = c->pool;
    uint32_t age = 0;
    size_t artists = 0;
    c->random = mixed(seed ^ mixed((uint64_t)after));
    long last = find(pool, after);
    for (size_t i = 0; i <= recent_count; i++) { /* `after` counts as the newest, told in recent or not */
        int64_t id = i ? recent[recent_count - i] : after;
        if (i && i <= 8) c->random = mixed(c->random ^ (uint64_t)id);
        long at = find(pool, id);
        if (at < 0 || c->ages[at]) continue;
        c->ages[at] = ++age;
        c->plays[at] = (uint32_t)i + 1;
        if (artists < 3) c->artists[artists++] = pool->items[at].artist;
    }
    for (size_t i = 0; i < avoid_count; i++) {
        long at = find(pool, avoid[i]);
        if (at >= 0) c->ages[at] = UINT32_MAX;
    }
    c->last = last < 0 ? NULL : &pool->items[last];
    timbre_spread(pool, c->timbre_scale);
}

static size_t spacing_of(const struct pool *pool, const struct rule *rule)
{
    size_t spacing = (size_t)(rule->spacing * (double)pool->count);
    return spacing < pool->count ? spacing : pool->count - 1;
}

static int keeps(const struct choice *c, size_t item, const struct rule *rule, size_t spacing)
{
    uint32_t age = c->ages[item];
    if (age == UINT32_MAX || (age && age <= spacing)) return 0;
    uint64_t artist = c->pool->items[item].artist;
    for (int i = 0; artist && i < rule->artist; i++) {
        if (c->artists[i] == artist) return 0;
    }
    return 1;
}

static double waited(const struct choice *c, size_t item)
{
    size_t plays = c->plays[item] ? c->plays[item] : c->recent_count;
    double rounds = (double)plays / (double)c->pool->count - 1;
    double nearer = rounds > 0 ? rounds * WAITING : 0;
    return nearer < 1 ? nearer : 1;
}

static void rank(const struct choice *c, size_t item, struct ranked best[1 + RUNNERS_UP], size_t *count)
{
    const struct order_item *it = &c->pool->items[item];
    struct ranked r = {.item = item, .distance.total = 0.5};
    for (int i = 0; i < ORDER_TERMS; i++)
        r.distance.terms[i] = NAN;
    if (c->last) order_distance(c->last, it, c->timbre_scale, &r.distance);
    double share = (double)(mixed(c->random ^ (uint64_t)it->id) >> 11) * 0x1p-53;
    r.score = r.distance.total + share * NEAR_EQUAL - waited(c, item);
    size_t at = *count;
    while (at && best[at - 1].score > r.score)
        at--;
    if (at == 1 + RUNNERS_UP) return;
    if (*count < 1 + RUNNERS_UP) ++*count;
    memmove(best + at + 1, best + at, (*count - at - 1) * sizeof *best);
    best[at] = r;
}

static json_t *explain(const struct choice *c, const struct ranked *best, size_t count, size_t candidates,
                       size_t rule)
{
    json_t *why = json_object();
    if (c->last) {
        json_t *terms = json_object();
        for (int i = 0; i < ORDER_TERMS; i++) {
            double term = best->distance.terms[i];
            if (!isnan(term))
                json_object_set_new(terms, order_term_name((enum order_term)i), json_real(term));
        }
        json_object_set_new(why, "distance", json_real(best->distance.total));
        json_object_set_new(why, "terms", terms);
    } else {
        json_object_set_new(why, "first", json_true());
    }
    if (waited(c, best->item) > 0) json_object_set_new(why, "waited", json_real(waited(c, best->item)));
    json_object_set_new(why, "candidates", json_integer((json_int_t)candidates));
    json_object_set_new(why, "pool", json_integer((json_int_t)c->pool->count));
    json_object_set_new(why, "spacing_tracks", json_integer((json_int_t)spacing_of(c->pool, &rules[rule])));
    json_t *relaxed = json_array();
    if (!rules[rule].artist) json_array_append_new(relaxed, json_string("artist"));
    if (rules[rule].spacing < rules[0].spacing) json_array_append_new(relaxed, json_string("spacing"));
    json_object_set_new(why, "relaxed", relaxed);
    json_t *others = json_array();
    for (size_t i = 1; i < count; i++) {
        json_array_append_new(others,
                              json_pack("{s:I,s:f}", "track", (json_int_t)c->pool->items[best[i].item].id,
                                        "distance", best[i].distance.total));
    }
    json_object_set_new(why, "runners_up", others);
    return why;
}

/* 1 when the last track's artist made more than two thirds of the pool. */
static int artist_prevails(const struct choice *c)
{
    if (!c->last || !c->last->artist) return 0;
    size_t own = 0;
    for (size_t i = 0; i < c->pool->count; i++)
        own += c->pool->items[i].artist == c->last->artist;
    return own * 3 > c->pool->count * 2;
}

int64_t order_pick(const struct pool *pool, int64_t after, const int64_t *recent, size_t recent_count,
                   const int64_t *avoid, size_t avoid_count, uint64_t seed, json_t **why)
{
    *why = NULL;
    if (!pool->count) return 0;
    struct choice c = {.pool = pool, .recent_count = recent_count};
    c.ages = xcalloc(pool->count, sizeof *c.ages);
    c.plays = xcalloc(pool->count, sizeof *c.plays);
    gather(&c, after, recent, recent_count, avoid, avoid_count, seed);
    int prevails = artist_prevails(&c);
    int64_t id = 0;
    for (size_t rule = 0; rule < RULES && !id; rule++) {
        if (prevails && rules[rule].artist) continue;
        size_t spacing = spacing_of(pool, &rules[rule]), count = 0, candidates = 0;
        struct ranked best[1 + RUNNERS_UP];
        for (size_t i = 0; i < pool->count; i++) {
            if (!keeps(&c, i, &rules[rule], spacing)) continue;
            candidates++;
            rank(&c, i, best, &count);
        }
        if (!count) continue;
        id = pool->items[best[0].item].id;
        *why = explain(&c, best, count, candidates, rule);
    }
    free(c.ages);
    free(c.plays);
    return id;
}
