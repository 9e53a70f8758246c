/* What the root has learned survives its restart: the week from the statistics, and the choice as before. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "root/air/recall.h"
#include "root/air/registry.h"
#include "root/sample.h"
#include "tests/draw.h"

#define S      INT64_C(1000000000)
#define MINUTE 60
#define START  INT64_C(1767225600) /* a first of a month, and of an hour */
#define DAYS   10
#define RELAYS 8

static uint64_t state_of_random;

static int chance(double share)
{
    return (double)(draw_bits(&state_of_random) >> 11) * 0x1p-53 < share;
}

/* The week */

static void put_hour(json_t *columns, int64_t t, unsigned covered, int64_t listeners)
{
    struct sample s = {.n = 0};
    for (unsigned i = 0; i < covered; i++) {
        struct sample one = {.n = 1};
        sample_measure(&one, SAMPLE_LISTENERS, listeners);
        sample_add(&s, &one);
    }
    json_array_append_new(json_object_get(columns, "t"), json_integer(t));
    sample_append(columns, &s);
}

static void hours_are_read_from_the_statistics(void **state)
{
    (void)state;
    json_t *cluster = sample_columns(), *root = sample_columns();
    double week[ROUTER_WEEK_HOURS];
    int64_t hour = START / 3600;
    put_hour(cluster, START, 360, 100);
    put_hour(cluster, START + 3600, 360, 50);
    put_hour(root, START + 3600, 360, 20);      /* of those, at the root */
    put_hour(cluster, START + 7200, 179, 1000); /* less than half of it */
    put_hour(root, START + 7200, 179, 0);
    put_hour(cluster, START + 4 * 3600, 180, 7);
    put_hour(cluster, START + ROUTER_WEEK_HOURS * 3600, 360, 200); /* the first one's next */
    recall_week(cluster, root, week);
    for (int i = 0; i < ROUTER_WEEK_HOURS; i++) {
        double want = i == hour % 168 ? 130 : i == (hour + 1) % 168 ? 30 : i == (hour + 4) % 168 ? 7 : -1;
        assert_float_equal(week[i], want, 1e-9);
    }
    recall_week(NULL, NULL, week);
    assert_true(week[0] < 0 && week[167] < 0);
    json_decref(cluster);
    json_decref(root);
}

/* A network in little: listeners who stay an hour on average, by the hour of the day. */

struct stage {
    struct router *router;
    unsigned listeners[RELAYS];
    uint64_t bytes[RELAYS], joins[RELAYS];
    int64_t wall_s;
};

static int64_t ns(const struct stage *s)
{
    return (s->wall_s - START + 1000) * S;
}

static void terms_of(unsigned i, struct relay_terms *out)
{
    /* half have an allotment and no price: some 100 or 200 listeners all the time; the others cost a little
     */
    *out = (struct relay_terms){.allotment_bytes = i % 2 ? 0 : UINT64_C(4000000000000) << (i / 2 % 2),
                                .price_per_gb = i % 2 ? 0.004 + 0.001 * i : 0};
}

static void report(struct stage *s, unsigned i)
{
    router_heard(s->router, i,
                 &(struct router_report){
                     .listeners = s->listeners[i], .max_listeners = 1200, .bytes_out = s->bytes[i]},
                 ns(s));
    router_set_month(s->router, i, (uint64_t)((double)s->bytes[i] * 1.05), START, START + 30 * 86400, ns(s));
}

/* A root that has just started: it knows the operator's terms, and soon what relays and the ledger say. */
static void start(struct stage *s)
{
    struct relay_terms terms;
    s->router = router_new(&(struct router_conf){.rate_bps = 128000, .no_reserve = 1});
    router_set_stay(s->router, 3600, 7200);
    for (unsigned i = 0; i < RELAYS; i++) {
        terms_of(i, &terms);
        assert_int_equal(router_add(s->router, &terms, ns(s)), i);
        report(s, i);
    }
}

static double wanted(int64_t wall_s)
{
    return 1200 - 960 * cos(2 * M_PI * (double)(wall_s % 86400) / 86400);
}

static void minute(struct stage *s)
{
    unsigned sum = 0;
    s->wall_s += MINUTE;
    for (unsigned i = 0; i < RELAYS; i++) {
        s->bytes[i] += s->listeners[i] * UINT64_C(16000) * MINUTE;
        unsigned gone = 0;
        for (unsigned k = 0; k < s->listeners[i]; k++)
            gone += chance(1 / 60.0) != 0;
        s->listeners[i] -= gone;
        report(s, i);
        sum += s->listeners[i];
    }
    router_tick(s->router, ns(s), s->wall_s);
    while (sum < wanted(s->wall_s)) {
        struct router_choice c;
        assert_int_equal(router_choose(s->router,
                                       &(struct router_ask){.random = draw_bits(&state_of_random),
                                                            .but = ROUTER_NONE_SLOT},
                                       ns(s), &c),
                         ROUTER_TO);
        router_issue(s->router, c.slot, 0, ns(s));
        s->listeners[c.slot]++;
        s->joins[c.slot]++;
        sum++;
    }
}

/* Six hours from where it stands, with chance of its own; what share of those who came each relay got. */
static void evening(struct stage s, double shares[RELAYS])
{
    uint64_t sum = 0;
    memset(s.joins, 0, sizeof s.joins);
    state_of_random = 77;
    for (int m = 0; m < 6 * 60; m++)
        minute(&s);
    for (unsigned i = 0; i < RELAYS; i++)
        sum += s.joins[i];
    for (unsigned i = 0; i < RELAYS; i++)
        shares[i] = (double)s.joins[i] / (double)sum;
    router_free(s.router);
}

/* How much goes to other relays than it would have. */
static double moved(const double a[RELAYS], const double b[RELAYS])
{
    double sum = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        sum += fabs(a[i] - b[i]) / 2;
    return sum;
}

static void the_choice_is_as_before_the_restart(void **state)
{
    (void)state;
    struct stage s = {.wall_s = START};
    json_t *cluster = sample_columns();
    struct router_view known[RELAYS];
    double hour = 0, week[ROUTER_WEEK_HOURS], before[RELAYS], after[RELAYS], anew[RELAYS];
    state_of_random = 1;
    start(&s);
    for (int m = 0; m < DAYS * 1440 - 360; m++) {
        minute(&s);
        for (unsigned i = 0; i < RELAYS; i++)
            hour += s.listeners[i];
        if (s.wall_s % 3600) continue;
        put_hour(cluster, s.wall_s - 3600, 360, (int64_t)lround(hour / 60));
        hour = 0;
    }
    for (unsigned i = 0; i < RELAYS; i++)
        router_view(s.router, i, ns(&s), &known[i]);
    assert_true(known[0].pacing > 0.001);
    struct stage forgetful = s, mindful = s;
    start(&forgetful);
    start(&mindful);
    recall_week(cluster, NULL, week);
    router_set_week(mindful.router, week);
    for (unsigned i = 0; i < RELAYS; i++)
        router_recall(mindful.router, i, known[i].pacing, known[i].redemption, ns(&s));
    evening(s, before);
    evening(mindful, after);
    evening(forgetful, anew);
    print_message("moved by the restart: %.4f, without what was learned: %.4f\n", moved(before, after),
                  moved(before, anew));
    assert_true(moved(before, after) < 0.02);
    assert_true(moved(before, anew) > 0.1);
    json_decref(cluster);
}

static void what_makes_no_sense_is_not_taken(void **state)
{
    (void)state;
    struct registry *g = registry_new(&(struct registry_conf){.router = {.rate_bps = 128000}});
    struct registry_stays stays, first;
    struct router_view v;
    struct registry_view relay;
    assert_int_equal(
        registry_enrol(g, &(struct relay_terms){.name = "a", .allotment_bytes = UINT64_C(1000000000)}, NULL,
                       REGISTRY_FOREVER, S, NULL),
        0);
    assert_int_equal(registry_recall(g, "b", &(struct registry_learned){.pacing = 0.1}, S), -1);
    assert_int_equal(registry_find(g, "a", S, &relay), 0);
    const double bad[] = {NAN, INFINITY, -1, 0, 1e9};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        registry_recall(g, "a", &(struct registry_learned){bad[i], bad[i]}, S);
        router_view(registry_router(g), relay.slot, S, &v);
        assert_float_equal(v.pacing, 0, 0);
        assert_float_equal(v.redemption, 1, 0);
    }
    registry_recall(g, "a", &(struct registry_learned){0.125, 0.5}, S);
    router_view(registry_router(g), relay.slot, S, &v);
    assert_float_equal(v.pacing, 0.125, 0);
    assert_float_equal(v.redemption, 0.5, 0);
    registry_stays(g, &first);
    registry_recall_stays(g, &(struct registry_stays){NAN, 100});
    registry_recall_stays(g, &(struct registry_stays){100, INFINITY});
    registry_stays(g, &stays);
    assert_float_equal(stays.gone, first.gone, 0);
    registry_recall_stays(g, &(struct registry_stays){100, 50000});
    registry_stays(g, &stays);
    assert_float_equal(stays.listened_s / stays.gone, 500, 1e-9);
    registry_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hours_are_read_from_the_statistics),
        cmocka_unit_test(the_choice_is_as_before_the_restart),
        cmocka_unit_test(what_makes_no_sense_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
