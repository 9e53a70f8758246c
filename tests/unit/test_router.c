/* Which relay a listener is sent to, and who is let in. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "root/air/router.h"
#include "root/air/router_internal.h"

#define S INT64_C(1000000000)

static uint64_t seed = 88172645463325252ULL;
static int64_t now = 1000 * S;

static uint64_t draw_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct router *fresh(int no_reserve)
{
    return router_new(&(struct router_conf){.rate_bps = 128000, .no_reserve = no_reserve});
}

static uint32_t add(struct router *r, const char *region, double price)
{
    struct relay_terms terms = {.price_per_gb = price};
    snprintf(terms.region, sizeof terms.region, "%s", region);
    return router_add(r, &terms, now);
}

static void heard(struct router *r, uint32_t slot, unsigned listeners, unsigned max)
{
    router_heard(r, slot, &(struct router_report){.listeners = listeners, .max_listeners = max}, now);
}

static enum router_answer ask_from(struct router *r, const char *region, uint32_t *slot)
{
    struct router_ask ask = {.random = draw_random(), .but = ROUTER_NONE_SLOT};
    struct router_choice choice;
    assert_int_equal(region_parse(region, &ask.region), 0);
    enum router_answer answer = router_choose(r, &ask, now, &choice);
    *slot = choice.slot;
    return answer;
}

static uint32_t one(struct router *r)
{
    uint32_t slot;
    ask_from(r, "", &slot);
    return slot;
}

static uint32_t send_one(struct router *r)
{
    uint32_t slot = one(r);
    if (slot != ROUTER_NONE_SLOT) router_issue(r, slot, 0, now);
    return slot;
}

static enum router_why why(struct router *r, uint32_t slot)
{
    struct router_view v;
    router_view(r, slot, now, &v);
    return v.why;
}

static uint64_t estimate(struct router *r, uint32_t slot)
{
    struct router_view v;
    router_view(r, slot, now, &v);
    return v.estimate;
}

static void only_feasible_relays_get_listeners(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    assert_int_equal(one(r), ROUTER_NONE_SLOT);
    uint32_t a = add(r, "", 0);
    assert_int_equal(why(r, a), ROUTER_UNHEARD);
    assert_int_equal(one(r), ROUTER_NONE_SLOT);
    heard(r, a, 0, 0);
    assert_int_equal(why(r, a), ROUTER_FULL_UP);
    heard(r, a, 0, 10);
    assert_int_equal(one(r), a);
    router_set_reachable(r, a, 0, now);
    assert_int_equal(why(r, a), ROUTER_UNREACHABLE);
    assert_int_equal(one(r), ROUTER_NONE_SLOT);
    router_set_reachable(r, a, 1, now);
    router_set_terms(r, a, &(struct relay_terms){.drained = 1}, now);
    assert_int_equal(why(r, a), ROUTER_DRAINING);
    router_set_terms(r, a, &(struct relay_terms){.drained = 0}, now);
    router_heard(r, a, &(struct router_report){.max_listeners = 10, .draining = 1}, now);
    assert_int_equal(one(r), ROUTER_NONE_SLOT);
    router_heard(r, a, &(struct router_report){.max_listeners = 10, .secure = 1}, now);
    assert_int_equal(one(r), ROUTER_NONE_SLOT);
    struct router_choice c;
    const struct router_ask tls = {.secure = 1, .but = ROUTER_NONE_SLOT}, other = {.secure = 1, .but = a};
    assert_int_equal(router_choose(r, &tls, now, &c), ROUTER_TO);
    assert_int_equal(router_choose(r, &other, now, &c), ROUTER_NOBODY);
    router_remove(r, a);
    assert_int_equal(router_choose(r, &tls, now, &c), ROUTER_NOBODY);
    router_free(r);
}

static void silence_ends_it_by_the_clock_alone(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    struct router_view v;
    uint32_t a = add(r, "", 0);
    heard(r, a, 3, 10);
    now += 5 * S - 1;
    assert_int_equal(one(r), a);
    now += 1;
    assert_int_equal(one(r), ROUTER_NONE_SLOT);
    router_view(r, a, now, &v);
    assert_int_equal(v.state, ROUTER_SUSPECT);
    now += 5 * S;
    router_view(r, a, now, &v);
    assert_int_equal(v.state, ROUTER_DEAD);
    heard(r, a, 3, 10);
    assert_int_equal(one(r), a);
    router_free(r);
}

static void load_is_spread(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    for (int i = 0; i < 10; i++)
        heard(r, add(r, "", 0), 0, 100);
    for (int n = 0; n < 500; n++)
        assert_true(send_one(r) != ROUTER_NONE_SLOT);
    for (uint32_t i = 0; i < 10; i++)
        assert_in_range(estimate(r, i), 45, 55);
    for (int n = 0; n < 500; n++)
        assert_true(send_one(r) != ROUTER_NONE_SLOT);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(estimate(r, i), 100);
    assert_int_equal(send_one(r), ROUTER_NONE_SLOT);
    /* one that was full gets somebody again when a slot is free */
    router_heard(r, 4, &(struct router_report){.listeners = 99, .max_listeners = 100}, now);
    assert_int_equal(send_one(r), 4);
    router_free(r);
}

static void tickets_count_until_the_relay_does(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    uint32_t a = add(r, "", 0);
    heard(r, a, 5, 100);
    for (int i = 0; i < 8; i++)
        send_one(r);
    assert_int_equal(estimate(r, a), 13);
    struct router_report report = {.listeners = 10,
                                   .max_listeners = 100,
                                   .counts_tickets = 1,
                                   .floor = router_floor(r, a, now),
                                   .redeemed_from_floor = 6,
                                   .redeemed = 6};
    router_heard(r, a, &report, now);
    assert_int_equal(estimate(r, a), 12); /* one has left, two are on their way */
    router_heard(r, a, &report, now);
    assert_int_equal(estimate(r, a), 12);
    report.redeemed_from_floor = 99; /* more than there were: not believed */
    router_heard(r, a, &report, now);
    assert_int_equal(estimate(r, a), 12);
    /* two never came: their time is over, and that is remembered of this relay's listeners */
    now += 31 * S;
    assert_int_equal(router_floor(r, a, now), 9);
    report = (struct router_report){
        .listeners = 10, .max_listeners = 100, .counts_tickets = 1, .floor = 9, .redeemed = 6};
    router_heard(r, a, &report, now);
    assert_int_equal(estimate(r, a), 10);
    struct router_view v;
    router_view(r, a, now, &v);
    assert_true(v.redemption < 0.98 && v.redemption > 0.9);
    /* a report that does not count them: what was sent is among its listeners, and is not counted again */
    for (int i = 0; i < 4; i++)
        send_one(r);
    heard(r, a, 14, 100);
    assert_int_equal(router_floor(r, a, now), 13);
    send_one(r);
    report = (struct router_report){.listeners = 15,
                                    .max_listeners = 100,
                                    .counts_tickets = 1,
                                    .floor = 13,
                                    .redeemed_from_floor = 1,
                                    .redeemed = 1};
    router_heard(r, a, &report, now);
    assert_int_equal(estimate(r, a), 15);
    router_restarted(r, a, now);
    assert_int_equal(router_floor(r, a, now), 14);
    assert_int_equal(router_issue(r, a, 0, now), 14);
    router_free(r);
}

static void the_cheaper_fill_first(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    uint32_t dear = add(r, "", 0.05), cheap = add(r, "", 0.01), slot;
    heard(r, dear, 0, 100);
    heard(r, cheap, 0, 100);
    for (int i = 0; i < 95; i++)
        assert_int_equal(send_one(r), cheap);
    for (int i = 0; i < 60; i++)
        send_one(r);
    assert_int_equal(estimate(r, cheap), 100);
    assert_int_equal(estimate(r, dear), 55);
    router_free(r);

    r = fresh(1);
    uint32_t berlin = add(r, "eu-de", 0.010), paris = add(r, "eu-fr", 0.010), boston = add(r, "na-us", 0.010),
             bargain = add(r, "as-sg", 0.001);
    for (uint32_t i = 0; i < 4; i++)
        heard(r, i, 0, 1000);
    ask_from(r, "eu-de", &slot);
    assert_int_equal(slot, bargain); /* 0.001 and 0.006 for the way */
    router_set_terms(r, bargain, &(struct relay_terms){.region = "as-sg", .price_per_gb = 0.009}, now);
    ask_from(r, "eu-de", &slot);
    assert_int_equal(slot, berlin);
    ask_from(r, "eu-fr", &slot);
    assert_int_equal(slot, paris);
    ask_from(r, "na", &slot);
    assert_int_equal(slot, boston);
    router_free(r);
}

static void joins_are_held_back(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    struct router_choice c;
    uint32_t a = add(r, "", 0);
    const struct router_report report = {.max_listeners = 1000, .joins_per_s = 10};
    router_heard(r, a, &report, now);
    int sent = 0;
    while (send_one(r) == a)
        sent++;
    assert_in_range(sent, 18, 20);
    const struct router_ask ask = {.but = ROUTER_NONE_SLOT, .random = 5};
    assert_int_equal(router_choose(r, &ask, now, &c), ROUTER_HOLD);
    assert_in_range(c.hold_ns, S / 100, 2 * S);
    for (int i = 0; i < 20; i++) { /* ten seconds at a relay's pace */
        now += S / 2;
        router_heard(r, a, &report, now);
        while (send_one(r) == a)
            sent++;
    }
    assert_in_range(sent, 110, 120);
    router_free(r);
}

static void an_uplink_is_so_many_slots(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    struct router_view v;
    uint32_t a = router_add(r, &(struct relay_terms){.uplink_bps = 10000000}, now);
    heard(r, a, 0, 1000);
    router_view(r, a, now, &v);
    assert_int_equal(v.slots, (int)(0.92 * 10e6 / (1.062 * 128000)));
    /* by what they really take */
    router_heard(r, a, &(struct router_report){.listeners = 10, .max_listeners = 1000, .load_bps = 3200000},
                 now);
    router_view(r, a, now, &v);
    assert_int_equal(v.slots, (int)(0.92 * 10e6 / (1.062 * 320000)));
    router_free(r);
}

static void an_allotment_is_never_promised_twice(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    struct router_view v;
    const int64_t begins = 1000000, ends = begins + 30 * 86400;
    router_set_stay(r, 1000, 1000);
    router_tick(r, now, begins);
    uint32_t a = router_add(r, &(struct relay_terms){.allotment_bytes = UINT64_C(10000000000)}, now);
    heard(r, a, 0, 100000);
    router_set_month(r, a, UINT64_C(9800000000), begins, ends, now);
    /* 100 MB are left after the margin: 6.25 stays of 16 MB, so 1.7 listeners with four deviations */
    router_view(r, a, now, &v);
    assert_int_equal(v.slots, 1);
    assert_int_equal(send_one(r), a);
    assert_int_equal(send_one(r), ROUTER_NONE_SLOT);
    assert_int_equal(why(r, a), ROUTER_TRAFFIC);
    assert_false(v.spent);
    router_set_month(r, a, UINT64_C(9949900000), begins, ends, now);
    router_view(r, a, now, &v);
    assert_int_equal(v.slots, 0);
    assert_true(v.spent);
    router_set_month(r, a, 0, ends, ends + 30 * 86400, now);
    assert_int_equal(why(r, a), ROUTER_FEASIBLE);
    router_free(r);
}

/* 20 GB for a month are 3.9 listeners all the time: with 20 there its traffic gets dearer by the hour, with
 * none cheaper again. */
static void traffic_ahead_of_its_share_gets_dearer(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    struct router_view v;
    int64_t wall = 1000000;
    uint32_t a = router_add(r, &(struct relay_terms){.allotment_bytes = UINT64_C(160000000000)}, now);
    router_set_month(r, a, 0, wall, wall + 30 * 86400, now);
    double high = 0;
    for (int minute = 0; minute < 60 * 24; minute++, wall += 60) {
        now += 60 * S;
        heard(r, a, minute < 720 ? 40 : 0, 100);
        router_tick(r, now, wall);
        router_view(r, a, now, &v);
        if (minute == 719) high = v.pacing;
    }
    assert_true(high > 0.01);
    assert_true(v.pacing < high / 4);
    router_free(r);
}

static void slots_are_kept_for_the_largest_ones_loss(void **state)
{
    (void)state;
    struct router *r = fresh(0);
    int sent = 0;
    for (int i = 0; i < 4; i++)
        heard(r, add(r, "", 0), 0, 100);
    while (send_one(r) != ROUTER_NONE_SLOT)
        sent++;
    assert_in_range(sent, 296, 300);
    struct router_choice kept;
    assert_int_equal(router_choose(r, &(struct router_ask){.but = ROUTER_NONE_SLOT}, now, &kept),
                     ROUTER_NOBODY);
    assert_true(kept.reserved);
    /* one dies: the others take up all it had, and no more than they can */
    unsigned had[4];
    for (uint32_t i = 0; i < 4; i++)
        had[i] = (unsigned)estimate(r, i);
    for (int s = 0; s < 6; s++) {
        now += S;
        for (uint32_t i = 1; i < 4; i++)
            heard(r, i, had[i], 100);
    }
    int back = 0;
    while (send_one(r) != ROUTER_NONE_SLOT)
        back++;
    assert_true((unsigned)back >= had[0]);
    assert_true((unsigned)back <= 300 - had[1] - had[2] - had[3]);
    router_free(r);
}

/* After any history the choice is of the cheapest feasible bucket, and the sums are those of a plain count.
 */
static void the_indexes_say_what_a_scan_says(void **state)
{
    (void)state;
    static const char *const regions[] = {"", "eu-de", "eu-fr", "na-us", "na", "as-jp"};
    struct router *r = fresh(0);
    int64_t wall = 5000000;
    for (int i = 0; i < 60; i++) {
        struct relay_terms t = {.price_per_gb = (double)(draw_random() % 20) / 1000,
                                .allotment_bytes = draw_random() % 3 ? 0 : UINT64_C(100000000000)};
        snprintf(t.region, sizeof t.region, "%s", regions[draw_random() % 6]);
        router_add(r, &t, now);
    }
    for (int step = 0; step < 20000; step++) {
        uint32_t slot = (uint32_t)(draw_random() % 60);
        now += (int64_t)(draw_random() % (S / 5));
        switch (draw_random() % 8) {
        case 0:
            router_set_reachable(r, slot, draw_random() % 8 != 0, now);
            break;
        case 1:
            router_set_month(r, slot, draw_random() % UINT64_C(100000000000), wall, wall + 1000000, now);
            break;
        case 2:
            router_tick(r, now, wall += 30);
            break;
        case 3:
        case 4:
        case 5:
            router_heard(r, slot,
                         &(struct router_report){.listeners = draw_random() % 110,
                                                 .max_listeners = 100,
                                                 .draining = draw_random() % 16 == 0,
                                                 .secure = slot % 7 == 0 && draw_random() % 5,
                                                 .joins_per_s = slot % 3 ? 0 : 2},
                         now);
            break;
        case 6:
            router_remove(r, slot);
            assert_int_equal(router_add(r, &(struct relay_terms){.region = "eu-de"}, now), slot);
            break;
        default:
            send_one(r);
        }
        struct router_ask ask = {.random = draw_random(), .but = ROUTER_NONE_SLOT, .secure = step % 4 == 0};
        region_parse(regions[step % 6], &ask.region);
        struct router_choice c;
        r->conf.no_reserve = 1;
        enum router_answer answer = router_choose(r, &ask, now, &c);
        r->conf.no_reserve = 0;
        double least = INFINITY;
        uint64_t spare[2] = {0}, waits[2] = {0}, alive[2] = {0};
        for (uint32_t i = 0; i < 60; i++) {
            const struct router_relay *x = &r->relays[i];
            spare[x->secure] += x->free_counted;
            waits[x->secure] += x->why == ROUTER_JOINS;
            alive[x->secure] += x->state == ROUTER_ALIVE;
            assert_int_equal(x->indexed, x->why == ROUTER_FEASIBLE);
            if (x->secure != (ask.secure != 0) || x->why != ROUTER_FEASIBLE) continue;
            double cost = r->bucket_low[x->bucket] + region_distance(ask.region, x->region);
            if (cost < least) least = cost;
        }
        for (int s = 0; s < 2; s++) {
            assert_int_equal(spare[s], r->of[s].free);
            assert_int_equal(waits[s], r->of[s].waits);
            assert_int_equal(alive[s], r->of[s].alive);
        }
        assert_int_equal(answer == ROUTER_TO, least < INFINITY);
        if (answer != ROUTER_TO) {
            assert_int_equal(answer, waits[ask.secure != 0] ? ROUTER_HOLD : ROUTER_NOBODY);
            continue;
        }
        const struct router_relay *x = &r->relays[c.slot];
        assert_true(r->bucket_low[x->bucket] + region_distance(ask.region, x->region) <= least + 1e-12);
    }
    router_free(r);
}

static void several_are_different_ones(void **state)
{
    (void)state;
    struct router *r = fresh(1);
    uint32_t slots[4];
    for (int i = 0; i < 5; i++)
        heard(r, add(r, i % 2 ? "eu" : "eu-de", i == 3 ? 0.02 : 0), i == 2 ? 100 : 0, 100);
    struct router_ask ask = {.random = draw_random(), .but = 0};
    region_parse("eu-de", &ask.region);
    assert_int_equal(router_several(r, &ask, now, slots, 4), 3);
    assert_int_equal(slots[0], 4);
    assert_int_equal(slots[1], 1);
    assert_int_equal(slots[2], 3);
    assert_int_equal(router_several(r, &ask, now, slots, 1), 1);
    router_free(r);
}

static void regions_are_read(void **state)
{
    (void)state;
    struct relay_region a, b;
    assert_int_equal(region_parse("eu-de", &a), 0);
    assert_int_equal(region_parse("eu-fr", &b), 0);
    assert_true(region_distance(a, a) == 0 && region_distance(a, b) > 0);
    assert_int_equal(region_parse("", &b), 0);
    assert_true(region_distance(b, b) == 0);
    const char *const wrong[] = {"e", "xx", "eu-", "eu-d", "eu-deu", "EU", "eude", "eu_de"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(region_parse(wrong[i], &a), -1);
        assert_int_equal(a.continent, 0);
    }
    for (unsigned i = 0; i < REGION_CONTINENTS; i++) {
        for (unsigned k = 0; k < REGION_CONTINENTS; k++)
            assert_true(region_between(i, k) == region_between(k, i));
    }
}

static void admission_is_exact(void **state)
{
    (void)state;
    /* the 5th is served, the 6th is sent on */
    assert_int_equal(router_admit(4, 5, 10, 0, 1), ROUTER_SERVE);
    assert_int_equal(router_admit(5, 5, 10, 0, 1), ROUTER_REDIRECT);
    /* no relay able: up to the maximum */
    assert_int_equal(router_admit(5, 5, 10, 0, 0), ROUTER_SERVE);
    assert_int_equal(router_admit(9, 5, 10, 0, 0), ROUTER_SERVE);
    assert_int_equal(router_admit(10, 5, 10, 0, 0), ROUTER_FULL);
    assert_int_equal(router_admit(10, 5, 10, 0, 1), ROUTER_REDIRECT);
    /* agents that stay are served all the same, within the maximum */
    assert_int_equal(router_admit(5, 5, 10, 1, 1), ROUTER_SERVE);
    assert_int_equal(router_admit(10, 5, 10, 1, 1), ROUTER_FULL);
    /* 0 sends everybody */
    assert_int_equal(router_admit(0, 0, 10, 0, 1), ROUTER_REDIRECT);
    assert_int_equal(router_admit(0, 0, 10, 0, 0), ROUTER_SERVE);
    /* a limit above the maximum is the maximum */
    assert_int_equal(router_admit(10, 100, 10, 0, 0), ROUTER_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_feasible_relays_get_listeners),
        cmocka_unit_test(silence_ends_it_by_the_clock_alone),
        cmocka_unit_test(load_is_spread),
        cmocka_unit_test(tickets_count_until_the_relay_does),
        cmocka_unit_test(the_cheaper_fill_first),
        cmocka_unit_test(joins_are_held_back),
        cmocka_unit_test(an_uplink_is_so_many_slots),
        cmocka_unit_test(an_allotment_is_never_promised_twice),
        cmocka_unit_test(traffic_ahead_of_its_share_gets_dearer),
        cmocka_unit_test(slots_are_kept_for_the_largest_ones_loss),
        cmocka_unit_test(the_indexes_say_what_a_scan_says),
        cmocka_unit_test(several_are_different_ones),
        cmocka_unit_test(regions_are_read),
        cmocka_unit_test(admission_is_exact),
    };
    printf("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
