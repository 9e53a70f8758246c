#include "root/air/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/mem.h"

#define BUCKETS       4096
#define ALIVE_NS      (TREE_ALIVE_S * CLOCK_NS_PER_S)
#define GRACE_NS      (6 * CLOCK_NS_PER_S) /* for the one above to report, after the root's start */
#define PROVE_NS      (20 * CLOCK_NS_PER_S) /* for a relay to pull from where it was put, or to go back there */
#define AVOID_NS      (300 * CLOCK_NS_PER_S)
#define SETTLE_NS     (30 * CLOCK_NS_PER_S) /* before it is moved again without need */
#define CARRY_NS      (60 * CLOCK_NS_PER_S) /* the same with all that are below it */
#define PROMOTE_NS    (60 * CLOCK_NS_PER_S)
#define FULL_NS       CLOCK_NS_PER_S
#define MOVE_NS       (10 * CLOCK_NS_PER_S) /* between moves that are not needed */
#define USABLE_TENTHS 9                     /* of an uplink */
#define FILL_TIMES    2

/* Invariants: parent NULL: the root feeds it, and it counts in `direct`; fed_bps is the sum of its children's
 * wants_bps; it is in its parent's list of children, in both tables, in `all` by the time of its last report,
 * and in `feeders` exactly when it has an url. */
struct node {
    TAILQ_ENTRY(node) in_all;
    LIST_ENTRY(node) by_name, by_id, sibling, in_feeders;
    LIST_HEAD(, node) children;
    struct node *parent;
    char name[TREE_NAME_MAX], id[TREE_ID_MAX], *url, *pin;
    uint64_t uplink_bps, used_bps, wants_bps, fed_bps;
    char upstream[TREE_ID_MAX]; /* as it said last */
    int draining, pulls;
    /* placed 0: it is new; tried: there was no place under another */
    int64_t first_ns, seen_ns, placed_ns, tried_ns, shed_ns;
    int64_t astray_ns;         /* since when it pulls from elsewhere; 0: it does not */
    char avoid[TREE_NAME_MAX]; /* could not be pulled from */
    int64_t avoid_until_ns;
};

LIST_HEAD(node_list, node);

struct tree {
    struct tree_conf conf;
    struct node_list names[BUCKETS], ids[BUCKETS], feeders;
    TAILQ_HEAD(, node) all; /* the longest silent one first */
    unsigned count, direct;
    int64_t first_ns, moved_ns; /* the first report; the last move that was not needed */
    int64_t full_ns;            /* when there was no place for so much; 0: there was one since */
    uint64_t full_bps;
    uint64_t moves, looks;
};

static unsigned bucket_of(const char *text)
{
    uint32_t sum = 2166136261u;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        sum = (sum ^ *c) * 16777619u;
    return sum % BUCKETS;
}

struct tree *tree_new(const struct tree_conf *conf)
{
    struct tree *t = xcalloc(1, sizeof *t);
    t->conf = *conf;
    TAILQ_INIT(&t->all);
    return t;
}

static struct node *find_name(const struct tree *t, const char *name)
{
    struct node *n;
    LIST_FOREACH(n, &t->names[bucket_of(name)], by_name)
    {
        if (!strcmp(n->name, name)) return n;
    }
    return NULL;
}

static struct node *find_id(const struct tree *t, const char *id)
{
    struct node *n;
    LIST_FOREACH(n, &t->ids[bucket_of(id)], by_id)
    {
        if (!strcmp(n->id, id)) return n;
    }
    return NULL;
}

/* Places */

static unsigned depth_of(const struct node *n)
{
    unsigned hops = 1;
    while ((n = n->parent))
        hops++;
    return hops;
}

static unsigned height_of(const struct node *n)
{
    unsigned most = 0;
    const struct node *child;
    LIST_FOREACH(child, &n->children, sibling)
    {
        unsigned height = height_of(child) + 1;
        if (height > most) most = height;
    }
    return most;
}

static int is_below(const struct node *n, const struct node *top)
{
    while (n && n != top)
        n = n->parent;
    return n != NULL;
}

static int64_t spare_of(const struct node *n)
{
    return (int64_t)(n->uplink_bps / 10 * USABLE_TENTHS) - (int64_t)(n->used_bps + n->fed_bps);
}

static void place(struct tree *t, struct node *n, struct node *parent, int64_t now)
{
    if (n->parent) {
        n->parent->fed_bps -= n->wants_bps;
        LIST_REMOVE(n, sibling);
    } else {
        t->direct--;
    }
    t->moves += n->placed_ns && n->parent != parent;
    n->parent = parent;
    n->placed_ns = now;
    if (parent) {
        parent->fed_bps += n->wants_bps;
        LIST_INSERT_HEAD(&parent->children, n, sibling);
    } else {
        t->direct++;
    }
}

/* Whether p may have n below it, whatever its uplink says. */
static int may_feed(const struct node *p, const struct node *n, int64_t now)
{
    if (!p->url || p->draining || now - p->seen_ns > ALIVE_NS || is_below(p, n)) return 0;
    if (now < n->avoid_until_ns && !strcmp(n->avoid, p->name)) return 0;
    return depth_of(p) + 1 + height_of(n) <= TREE_HOPS_MAX;
}

/* The best place under a relay; NULL when there is none. */
static struct node *choose(struct tree *t, const struct node *n, int64_t now)
{
    struct node *p, *best = NULL;
    unsigned best_depth = 0;
    t->looks++;
    LIST_FOREACH(p, &t->feeders, in_feeders)
    {
        /* one without a place of its own may be moved itself */
        if (p == n->parent || !p->placed_ns || spare_of(p) < (int64_t)(FILL_TIMES * n->wants_bps)) continue;
        unsigned depth = depth_of(p);
        if (best && (depth > best_depth || (depth == best_depth && spare_of(p) <= spare_of(best)))) continue;
        if (!may_feed(p, n, now)) continue;
        best = p;
        best_depth = depth;
    }
    return best;
}

/* Coming and going */

static void set_text(char **text, const char *to)
{
    if (*text && to && !strcmp(*text, to)) return;
    free(*text);
    *text = to ? xstrdup(to) : NULL;
}

static void node_free(struct tree *t, struct node *n, int64_t now)
{
    while (!LIST_EMPTY(&n->children)) {
        struct node *child = LIST_FIRST(&n->children);
        place(t, child, NULL, now);
        child->placed_ns = 0; /* it may be put elsewhere at once */
    }
    if (n->parent) {
        n->parent->fed_bps -= n->wants_bps;
        LIST_REMOVE(n, sibling);
    } else {
        t->direct--;
    }
    if (n->url) LIST_REMOVE(n, in_feeders);
    LIST_REMOVE(n, by_name);
    LIST_REMOVE(n, by_id);
    TAILQ_REMOVE(&t->all, n, in_all);
    t->count--;
    free(n->url);
    free(n->pin);
    free(n);
}

void tree_free(struct tree *t)
{
    if (!t) return;
    struct node *n, *after;
    for (n = TAILQ_FIRST(&t->all); n; n = after) {
        after = TAILQ_NEXT(n, in_all);
        node_free(t, n, 0);
    }
    free(t);
}

static struct node *node_new(struct tree *t, const struct tree_report *r, int64_t now)
{
    struct node *n = xcalloc(1, sizeof *n);
    LIST_INIT(&n->children);
    snprintf(n->name, sizeof n->name, "%s", r->name);
    snprintf(n->id, sizeof n->id, "%s", r->id);
    n->first_ns = now;
    LIST_INSERT_HEAD(&t->names[bucket_of(n->name)], n, by_name);
    LIST_INSERT_HEAD(&t->ids[bucket_of(n->id)], n, by_id);
    TAILQ_INSERT_TAIL(&t->all, n, in_all);
    t->count++;
    t->direct++;
    return n;
}

static void update(struct tree *t, struct node *n, const struct tree_report *r, int64_t now)
{
    if (strncmp(n->id, r->id, sizeof n->id - 1)) {
        LIST_REMOVE(n, by_id);
        snprintf(n->id, sizeof n->id, "%s", r->id);
        LIST_INSERT_HEAD(&t->ids[bucket_of(n->id)], n, by_id);
    }
    if (n->url && !r->url) LIST_REMOVE(n, in_feeders);
    if (!n->url && r->url) LIST_INSERT_HEAD(&t->feeders, n, in_feeders);
    set_text(&n->url, r->url);
    set_text(&n->pin, r->pin);
    if (n->parent) n->parent->fed_bps += r->wants_bps - n->wants_bps;
    n->wants_bps = r->wants_bps;
    n->uplink_bps = r->uplink_bps;
    n->used_bps = r->used_bps;
    n->draining = r->draining;
    n->pulls = r->upstream != NULL;
    snprintf(n->upstream, sizeof n->upstream, "%s", r->upstream ? r->upstream : "");
    n->seen_ns = now;
    TAILQ_REMOVE(&t->all, n, in_all);
    TAILQ_INSERT_TAIL(&t->all, n, in_all);
}

/* Moving */

/* 1 when a new one is to be left where it is until more is known. */
static int adopt(struct tree *t, struct node *n, const struct tree_report *r, int64_t now)
{
    if (n->placed_ns || !r->upstream) return 0;
    if (!*r->upstream) {
        if (now - t->first_ns < GRACE_NS)
            n->placed_ns = now; /* those that it feeds may not have reported yet */
        return 0;
    }
    struct node *above = find_id(t, r->upstream);
    if (above && above != n && may_feed(above, n, now)) {
        place(t, n, above, now);
        return 0;
    }
    return !above && now - n->first_ns < GRACE_NS;
}

/* It was put under one that it does not pull from. */
static void judge(struct tree *t, struct node *n, const struct tree_report *r, int64_t now)
{
    if (!n->parent || !r->upstream || !strcmp(r->upstream, n->parent->id)) {
        n->astray_ns = 0;
        return;
    }
    if (!n->astray_ns) n->astray_ns = now;
    if (now - n->astray_ns < PROVE_NS) return;
    n->astray_ns = 0;
    snprintf(n->avoid, sizeof n->avoid, "%s", n->parent->name);
    n->avoid_until_ns = now + AVOID_NS;
    place(t, n, NULL, now);
    n->placed_ns = 0;
}

/* 1 when the one above can't feed it any longer. */
static int must_leave(struct node *n, int64_t now)
{
    struct node *p = n->parent;
    if (!p) return 0;
    if (!p->url || p->draining || now - p->seen_ns > ALIVE_NS) return 1;
    if (spare_of(p) >= 0 || now - p->shed_ns < MOVE_NS) return 0;
    p->shed_ns = now; /* one at a time */
    return 1;
}

/* The root feeds too many. Who feeds others stays until those who feed nobody have had their turn: all below
 * it are further from the root then. */
static int may_go(const struct node *n, int64_t now)
{
    int64_t here = n->placed_ns ? now - n->placed_ns : INT64_MAX;
    return LIST_EMPTY(&n->children) ? here >= SETTLE_NS : n->placed_ns && here >= CARRY_NS;
}

/* Looking for a place takes as long as there are relays: where there is none for one, another that wants no
 * less does not look within the same second. */
static int is_worth_looking(const struct tree *t, const struct node *n, int64_t now)
{
    return !t->full_ns || now - t->full_ns >= FULL_NS || n->wants_bps < t->full_bps;
}

static void settle(struct tree *t, struct node *n, int64_t now)
{
    unsigned fanout = t->conf.fanout;
    int crowded = fanout && t->direct > fanout,
        free_places = !fanout || t->direct + 1 <= fanout - fanout / 10;
    if (must_leave(n, now)) {
        place(t, n, choose(t, n, now), now);
    } else if (!n->parent && crowded && may_go(n, now) && (!n->tried_ns || now - n->tried_ns >= SETTLE_NS) &&
               is_worth_looking(t, n, now)) {
        struct node *p = choose(t, n, now);
        n->tried_ns = p ? 0 : now;
        if (p || LIST_EMPTY(&n->children)) { /* for one that brings others there may be less */
            t->full_ns = n->tried_ns;
            t->full_bps = n->wants_bps;
        }
        if (p) place(t, n, p, now);
    } else if (n->parent && free_places && now - n->placed_ns >= PROMOTE_NS && now - t->moved_ns >= MOVE_NS) {
        t->moved_ns = now;
        place(t, n, NULL, now);
    }
    if (!n->placed_ns) n->placed_ns = now;
}

enum tree_place tree_reported(struct tree *t, const struct tree_report *r, int64_t now,
                              struct tree_parent *parent)
{
    while (!TAILQ_EMPTY(&t->all) && now - TAILQ_FIRST(&t->all)->seen_ns > ALIVE_NS)
        node_free(t, TAILQ_FIRST(&t->all), now);
    if (!t->first_ns) t->first_ns = now;
    struct node *n = find_name(t, r->name);
    if (!n && t->count >= TREE_MAX) return TREE_ROOT;
    if (!n) n = node_new(t, r, now);
    update(t, n, r, now);
    if (adopt(t, n, r, now)) return TREE_AS_IT_IS;
    judge(t, n, r, now);
    settle(t, n, now);
    if (!n->parent) return TREE_ROOT;
    const struct node *p = n->parent;
    *parent = (struct tree_parent){.name = p->name, .id = p->id, .url = p->url, .pin = p->pin};
    return TREE_UNDER;
}

int tree_forget(struct tree *t, const char *name, int64_t now, char id[TREE_ID_MAX])
{
    struct node *n = find_name(t, name);
    if (!n) return -1;
    memcpy(id, n->id, TREE_ID_MAX);
    node_free(t, n, now);
    return 0;
}

int tree_view(const struct tree *t, const char *name, int64_t now, struct tree_view *out)
{
    const struct node *n = find_name(t, name), *child;
    if (!n || now - n->seen_ns > ALIVE_NS) return -1;
    const struct node *above = n->pulls && *n->upstream ? find_id(t, n->upstream) : NULL;
    *out = (struct tree_view){.parent = n->parent ? n->parent->name : TREE_OF_ROOT};
    if (n->pulls) out->upstream = above ? above->name : *n->upstream ? n->upstream : TREE_OF_ROOT;
    LIST_FOREACH(child, &n->children, sibling)
    out->feeds++;
    return 0;
}

void tree_counts(const struct tree *t, struct tree_counts *out)
{
    const struct node *n;
    *out = (struct tree_counts){.known = t->count, .direct = t->direct, .moves = t->moves, .looks = t->looks};
    TAILQ_FOREACH(n, &t->all, in_all)
    {
        unsigned depth = depth_of(n);
        if (depth > out->deepest) out->deepest = depth;
    }
}
