/* Who feeds whom: under random loads and losses no relay feeds itself, none is too far, no uplink is promised
 * twice, and where nothing changes nobody is moved. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "root/air/tree.h"
#include "tests/unit/frames.h"

#define S    CLOCK_NS_PER_S
#define RATE 200000
#define MOST 400

/* The relays as they are, apart from what the tree thinks. */
static struct relay {
    char name[20], id[TREE_ID_MAX], url[40];
    uint64_t uplink, used;
    int feeds, alive, draining;
    int parent;   /* index; -1: the root; -2: not asked yet */
    int stubborn; /* it does not go where it is put */
    uint64_t answers;
} relays[MOST];
static int count;
static int64_t now;

static void make(int n, uint64_t uplink)
{
    memset(relays, 0, sizeof relays);
    count = n;
    now = 100 * S;
    for (int i = 0; i < n; i++) {
        snprintf(relays[i].name, sizeof relays[i].name, "relay-%d", i);
        snprintf(relays[i].id, sizeof relays[i].id, "%016x", i + 1);
        snprintf(relays[i].url, sizeof relays[i].url, "https://r%d:8002", i);
        relays[i].uplink = uplink;
        relays[i].feeds = relays[i].alive = 1;
        relays[i].parent = -2;
    }
}

static enum tree_place report(struct tree *tree, int i)
{
    struct relay *r = &relays[i];
    struct tree_parent above;
    const struct tree_report said = {.name = r->name,
                                     .id = r->id,
                                     .upstream = r->parent == -2   ? NULL
                                                 : r->parent == -1 ? ""
                                                                   : relays[r->parent].id,
                                     .url = r->feeds ? r->url : NULL,
                                     .pin = r->feeds ? "sha256//x" : NULL,
                                     .uplink_bps = r->uplink,
                                     .used_bps = r->used,
                                     .wants_bps = RATE,
                                     .draining = r->draining};
    enum tree_place place = tree_reported(tree, &said, now, &above);
    r->answers++;
    if (place == TREE_UNDER) assert_string_equal(above.url, relays[atoi(above.name + 6)].url);
    if (!r->stubborn && place != TREE_AS_IT_IS) r->parent = place == TREE_ROOT ? -1 : atoi(above.name + 6);
    return place;
}

/* Everybody reports every 2 s. */
static void pass(struct tree *tree, int seconds)
{
    for (int i = 0; i < seconds; i += 2, now += 2 * S) {
        for (int k = 0; k < count; k++) {
            if (relays[k].alive) report(tree, k);
        }
    }
}

static int hops(int i)
{
    int n = 1;
    for (; relays[i].alive && relays[i].parent >= 0; i = relays[i].parent) {
        n++;
        assert_true(n <= TREE_HOPS_MAX); /* a loop is endless */
    }
    return n;
}

static int direct(void)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += relays[i].alive && relays[i].parent == -1;
    return n;
}

static void check(void)
{
    uint64_t fed[MOST] = {0};
    for (int i = 0; i < count; i++) {
        if (!relays[i].alive) continue;
        assert_true(hops(i) <= TREE_HOPS_MAX);
        if (relays[i].parent < 0) continue;
        struct relay *p = &relays[relays[i].parent];
        assert_true(p->alive && p->feeds && !p->draining);
        fed[relays[i].parent] += RATE;
    }
    for (int i = 0; i < count; i++) {
        if (fed[i] + relays[i].used > relays[i].uplink)
            fail_msg("%s: %" PRIu64 " of %" PRIu64, relays[i].name, fed[i] + relays[i].used,
                     relays[i].uplink);
    }
}

static void the_root_first_then_the_nearest(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 3});
    make(12, 10 * RATE);
    pass(tree, 4);
    check();
    assert_int_equal(direct(), 3);
    for (int i = 3; i < 12; i++)
        assert_int_equal(hops(i), 2);
    struct tree_counts counts;
    tree_counts(tree, &counts);
    assert_int_equal(counts.known, 12);
    assert_int_equal(counts.direct, 3);
    assert_int_equal(counts.deepest, 2);
    pass(tree, 300);
    tree_counts(tree, &counts);
    assert_int_equal(counts.moves, 0);
    tree_free(tree);
    /* without a limit nobody is put anywhere */
    tree = tree_new(&(struct tree_conf){0});
    make(12, 10 * RATE);
    pass(tree, 10);
    assert_int_equal(direct(), 12);
    tree_free(tree);
}

static void it_is_told_who_feeds_whom(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 1});
    struct tree_view v;
    make(3, 10 * RATE);
    assert_int_equal(tree_view(tree, "relay-0", now, &v), -1);
    pass(tree, 60);
    for (int i = 0; i < 3; i++) {
        const char *above = relays[i].parent < 0 ? "root" : relays[relays[i].parent].name;
        unsigned feeds = 0;
        for (int k = 0; k < 3; k++)
            feeds += relays[k].parent == i;
        assert_int_equal(tree_view(tree, relays[i].name, now, &v), 0);
        assert_string_equal(v.parent, above);
        assert_string_equal(v.upstream, above);
        assert_int_equal(v.feeds, feeds);
    }
    /* one says nothing, or something that nobody knows, or something else than it is told */
    struct tree_parent above;
    struct tree_report said = {.name = "other", .id = "ab", .wants_bps = RATE};
    tree_reported(tree, &said, now, &above);
    assert_int_equal(tree_view(tree, "other", now, &v), 0);
    assert_null(v.upstream);
    said.upstream = "0123456789abcdef";
    tree_reported(tree, &said, now, &above);
    assert_int_equal(tree_view(tree, "other", now, &v), 0);
    assert_string_equal(v.upstream, "0123456789abcdef");
    said.upstream = "";
    tree_reported(tree, &said, now, &above);
    assert_int_equal(tree_view(tree, "other", now, &v), 0);
    assert_string_equal(v.upstream, "root");
    assert_string_not_equal(v.parent, "root");
    now += TREE_ALIVE_S * S + 1;
    assert_int_equal(tree_view(tree, "other", now, &v), -1);
    tree_free(tree);
}

static void narrow_uplinks_make_it_deep_and_then_the_root_feeds(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 1});
    make(9, 3 * RATE); /* room for one: twice its rate, of nine tenths */
    pass(tree, 60);
    check();
    int deepest = 0;
    for (int i = 0; i < count; i++)
        deepest = hops(i) > deepest ? hops(i) : deepest;
    assert_int_equal(deepest, TREE_HOPS_MAX);
    assert_true(direct() > 1); /* there is no other place */
    tree_free(tree);
    tree = tree_new(&(struct tree_conf){.fanout = 1});
    make(5, 0); /* nobody knows what they carry */
    pass(tree, 60);
    assert_int_equal(direct(), 5);
    tree_free(tree);
}

/* Hundreds of relays that can feed nobody, and a root that feeds too many: that costs next to nothing, and is
 * over soon after somebody can. */
static void where_there_is_no_place_few_look(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 10});
    struct tree_counts before, after;
    make(MOST, 0);
    pass(tree, 60);
    tree_counts(tree, &before);
    pass(tree, 60);
    tree_counts(tree, &after);
    assert_true(after.looks > before.looks && after.looks - before.looks <= 60);
    assert_int_equal(direct(), MOST);
    for (int i = 0; i < 10; i++)
        relays[i].uplink = 200 * RATE;
    pass(tree, 60);
    check();
    assert_true(direct() <= 10);
    tree_free(tree);
}

static void losses_move_only_whom_they_concern(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 2});
    make(10, 20 * RATE);
    pass(tree, 10);
    assert_int_equal(direct(), 2);
    int first = relays[0].parent == -1 ? 0 : 1, other = relays[1].parent == -1 && first == 0 ? 1 : first;
    for (int i = 0; i < count && other == first; i++)
        other = relays[i].parent == -1 && i != first ? i : other;
    int before[10];
    for (int i = 0; i < count; i++)
        before[i] = relays[i].parent;
    relays[first].alive = 0;
    pass(tree, TREE_ALIVE_S + 6);
    check();
    for (int i = 0; i < count; i++) {
        if (i != first && before[i] == other) assert_int_equal(relays[i].parent, other);
    }
    assert_true(direct() <= 2);
    relays[other].draining = 1;
    pass(tree, 4);
    for (int i = 0; i < count; i++)
        assert_int_not_equal(relays[i].parent, other);
    pass(tree, 200);
    check();
    relays[other].draining = 0;
    pass(tree, 100);
    struct tree_counts a, b;
    tree_counts(tree, &a);
    pass(tree, 300);
    tree_counts(tree, &b);
    assert_int_equal(a.moves, b.moves); /* it has settled */
    tree_free(tree);
}

/* Those it fed have others below them: the root feeds them for a while, and not for ever. */
static void whole_branches_leave_a_crowded_root(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 2});
    make(12, 5 * RATE);
    pass(tree, 30);
    check();
    assert_int_equal(direct(), 2);
    int below = 0;
    for (int i = 0; i < count; i++)
        below += relays[i].parent > 0 && relays[relays[i].parent].parent == 0;
    assert_true(below > 0);
    relays[0].alive = 0;
    pass(tree, 30);
    assert_true(direct() > 2);
    pass(tree, 120);
    check();
    assert_int_equal(direct(), 2);
    tree_free(tree);
}

static void who_can_not_pull_from_there_is_put_elsewhere(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 1});
    make(3, 20 * RATE);
    report(tree, 0);
    report(tree, 1);
    assert_int_equal(relays[1].parent, 0);
    relays[2].stubborn = 1;
    report(tree, 2);
    relays[2].parent = -1; /* it pulls from the root, whatever it is told */
    enum tree_place place = TREE_ROOT;
    struct tree_counts counts;
    for (int i = 0; i < 24; i += 2, now += 2 * S) {
        report(tree, 0);
        report(tree, 1);
        place = report(tree, 2);
        /* it may have been elsewhere for a while, and is to go back */
        if (i < 20) assert_int_equal(place, TREE_UNDER);
    }
    tree_counts(tree, &counts);
    assert_int_equal(place, TREE_UNDER); /* the other one: further from the root */
    assert_int_equal(counts.deepest, 3);
    for (int i = 0; i < 30; i += 2, now += 2 * S) {
        report(tree, 0);
        report(tree, 1);
        place = report(tree, 2);
    }
    assert_true(place == TREE_ROOT || place == TREE_UNDER);
    tree_free(tree);
}

static void a_root_that_starts_anew_leaves_all_where_they_are(void **state)
{
    (void)state;
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 4});
    make(40, 6 * RATE);
    pass(tree, 20);
    check();
    int before[40];
    for (int i = 0; i < count; i++)
        before[i] = relays[i].parent;
    tree_free(tree);
    tree = tree_new(&(struct tree_conf){.fanout = 4});
    for (int i = 0; i < 4; i++, now += 2 * S) {
        for (int k = count - 1; k >= 0; k--) /* the lowest report first */
            report(tree, k);
    }
    pass(tree, 50);
    for (int i = 0; i < count; i++)
        assert_int_equal(relays[i].parent, before[i]);
    tree_free(tree);
}

static void whatever_happens_no_way_leads_round(void **state)
{
    (void)state;
    const char *given = getenv("TREE_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : 20261;
    print_message("TREE_SEED=%" PRIu64 "\n", seed);
    struct tree *tree = tree_new(&(struct tree_conf){.fanout = 10});
    make(200, 0);
    for (int i = 0; i < count; i++) {
        relays[i].uplink = frames_hash(seed + (uint64_t)i) % 12 * RATE;
        relays[i].feeds = frames_hash(seed ^ (uint64_t)i) % 4 != 0;
    }
    for (int round = 0; round < 150; round++) {
        for (int k = 0; k < 6; k++) {
            uint64_t x = frames_hash(seed + (uint64_t)(round * 10 + k) * 77);
            struct relay *r = &relays[x % (unsigned)count];
            switch (x >> 20 & 3) {
            case 0:
                r->alive = !r->alive;
                break;
            case 1:
                r->used = r->uplink ? (x >> 30) % (r->uplink / 2) : 0;
                break;
            case 2:
                r->draining = !r->draining;
                break;
            default: /* it has started anew, and takes what it finds */
                snprintf(r->id, sizeof r->id, "%016" PRIx64, x);
                r->parent = -2;
            }
        }
        pass(tree, 2);
        for (int i = 0; i < count; i++) {
            if (relays[i].alive) hops(i);
        }
    }
    pass(tree, 200);
    for (int i = 0; i < count; i++) {
        if (relays[i].alive && relays[i].parent >= 0) assert_true(relays[relays[i].parent].alive);
    }
    check();
    struct tree_counts a, b;
    pass(tree, 100);
    tree_counts(tree, &a);
    pass(tree, 300);
    tree_counts(tree, &b);
    assert_true(b.moves - a.moves <= 2);
    tree_free(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_root_first_then_the_nearest),
        cmocka_unit_test(it_is_told_who_feeds_whom),
        cmocka_unit_test(narrow_uplinks_make_it_deep_and_then_the_root_feeds),
        cmocka_unit_test(where_there_is_no_place_few_look),
        cmocka_unit_test(losses_move_only_whom_they_concern),
        cmocka_unit_test(whole_branches_leave_a_crowded_root),
        cmocka_unit_test(who_can_not_pull_from_there_is_put_elsewhere),
        cmocka_unit_test(a_root_that_starts_anew_leaves_all_where_they_are),
        cmocka_unit_test(whatever_happens_no_way_leads_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
