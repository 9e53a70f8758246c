/* Who may sit: each limit at its threshold, with the clock in the test's hands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "common/limits.h"
#include "tests/unit/addr.h"

#define S          INT64_C(1000000000)
#define MOST_SEATS 64

static struct limits *limits;
static struct limits_seat seats[MOST_SEATS];
static unsigned taken;
static int64_t now;

static void start(const struct limits_conf *conf)
{
    limits = limits_new(conf);
    taken = 0;
    now = 1000 * S;
}

static enum limits_verdict enter_spare(const char *mount, unsigned kbps, const char *peer, unsigned spare)
{
    struct net_addr a = addr(peer);
    enum limits_verdict judged = limits_judge(limits, mount, kbps, &a, spare, now);
    assert_true(taken < MOST_SEATS);
    enum limits_verdict verdict = limits_enter(limits, mount, kbps, &a, spare, now, &seats[taken]);
    assert_int_equal(judged, verdict); /* to ask and to do are of one mind */
    taken += verdict == LIMITS_OK;
    return verdict;
}

static enum limits_verdict enter(const char *mount, unsigned kbps, const char *peer)
{
    return enter_spare(mount, kbps, peer, 0);
}

static void leave_last(void)
{
    limits_leave(limits, seats[--taken]);
}

static void stop(void)
{
    while (taken)
        leave_last();
    assert_int_equal(limits_counts(limits)->seats, 0);
    assert_int_equal(limits_counts(limits)->used_bps, 0);
    limits_free(limits);
}

static void test_capacity(void **state)
{
    (void)state;
    start(&(struct limits_conf){.listeners = 4});
    limits_mount(limits, "low", 2);
    assert_int_equal(enter("low", 64, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("low", 64, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("low", 64, "192.0.2.1"), LIMITS_MOUNT);
    assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_OK);
    assert_string_equal(limits_seat_mount(limits, seats[2]), "stream");
    assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_NODE);
    assert_int_equal(enter("low", 64, "192.0.2.1"), LIMITS_NODE); /* the node's comes before the mount's */
    /* who comes back while its old connection still seems to sit */
    assert_int_equal(enter_spare("stream", 192, "192.0.2.1", 1), LIMITS_OK);
    assert_int_equal(enter_spare("stream", 192, "192.0.2.1", 1), LIMITS_NODE);
    leave_last();
    leave_last();
    assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_OK);
    limits_leave(limits, (struct limits_seat){0}); /* no seat */
    stop();
}

static void test_uplink(void **state)
{
    (void)state;
    start(&(struct limits_conf){.uplink_bps = 1000000});
    /* 192 kbit/s are 199,680 with their packets: five of them are 998,400 */
    for (int i = 0; i < 5; i++)
        assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(limits_counts(limits)->used_bps, 998400);
    assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_UPLINK);
    assert_int_equal(enter("tiny", 1, "192.0.2.1"), LIMITS_OK); /* a smaller one still fits */
    leave_last();
    leave_last();
    assert_int_equal(enter("stream", 192, "192.0.2.1"), LIMITS_OK);
    stop();
}

static void test_joins(void **state)
{
    (void)state;
    start(&(struct limits_conf){.joins_per_s = 5});
    for (int i = 0; i < 5 * LIMITS_JOIN_BUCKET_S; i++)
        assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_JOINS);
    assert_int_equal(limits_retry_s(limits, LIMITS_JOINS), 1);
    now += S / 5 - 1;
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_JOINS);
    now += 2;
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_JOINS);
    now += 3600 * S; /* the bucket does not overflow */
    for (int i = 0; i < 5 * LIMITS_JOIN_BUCKET_S; i++)
        assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_JOINS);
    stop();
    start(&(struct limits_conf){.joins_per_s = 0.1}); /* less than one a second: still one at a time */
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_JOINS);
    assert_int_equal(limits_retry_s(limits, LIMITS_JOINS), 11);
    now += 10 * S + 1;
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    stop();
}

static void test_addresses(void **state)
{
    (void)state;
    start(&(struct limits_conf){.address_listeners = 2});
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("low", 64, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_ADDRESS);
    assert_int_equal(enter("stream", 128, "::ffff:192.0.2.1"),
                     LIMITS_ADDRESS); /* the same, on a dual socket */
    assert_int_equal(enter("stream", 128, "192.0.2.2"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "2001:db8:1:2::1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "2001:db8:1:2:ffff::9"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "2001:db8:1:2::3"), LIMITS_ADDRESS); /* of the same /64 */
    assert_int_equal(enter("stream", 128, "2001:db8:1:3::1"), LIMITS_OK);
    assert_int_equal(limits_counts(limits)->addresses, 4);
    leave_last();
    assert_int_equal(enter("stream", 128, "2001:db8:1:3::1"), LIMITS_OK);
    assert_int_equal(limits_is_personal(LIMITS_ADDRESS) + limits_is_personal(LIMITS_ADDRESS_JOINS), 2);
    assert_int_equal(limits_is_personal(LIMITS_NODE) + limits_is_personal(LIMITS_JOINS), 0);
    stop();
    start(&(struct limits_conf){.address_listeners = 1, .address_bits4 = 24, .address_bits6 = 48});
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.200"), LIMITS_ADDRESS);
    assert_int_equal(enter("stream", 128, "192.0.3.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "2001:db8:1:2::1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "2001:db8:1:f::1"), LIMITS_ADDRESS);
    stop();
}

static void test_address_joins(void **state)
{
    (void)state;
    start(&(struct limits_conf){.address_joins_per_min = 3});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
        leave_last(); /* that it went again does not help */
    }
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_ADDRESS_JOINS);
    assert_int_equal(limits_retry_s(limits, LIMITS_ADDRESS_JOINS), 21);
    assert_int_equal(enter("stream", 128, "192.0.2.2"), LIMITS_OK);
    now += 20 * S + 1;
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_OK);
    assert_int_equal(enter("stream", 128, "192.0.2.1"), LIMITS_ADDRESS_JOINS);
    stop();
}

/* However many networks come by, memory stays; those who sit are not forgotten. */
static void test_bounded(void **state)
{
    (void)state;
    start(&(struct limits_conf){.listeners = 8, .address_listeners = 1, .address_joins_per_min = 1});
    unsigned most = 0;
    assert_int_equal(enter("stream", 128, "198.51.100.7"), LIMITS_OK);
    for (uint32_t i = 0; i < 100000; i++) {
        struct net_addr a = {
            {[10] = 0xff, [11] = 0xff, 10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
        struct limits_seat seat;
        assert_int_equal(limits_enter(limits, "stream", 128, &a, 0, now, &seat), LIMITS_OK);
        limits_leave(limits, seat);
        if (limits_counts(limits)->addresses > most) most = limits_counts(limits)->addresses;
    }
    assert_in_range(most, 4096, 16384);
    assert_int_equal(enter("stream", 128, "198.51.100.7"), LIMITS_ADDRESS);
    assert_int_equal(enter("stream", 128, "10.1.134.159"), LIMITS_ADDRESS_JOINS); /* the last is remembered */
    assert_int_equal(enter("stream", 128, "10.0.0.1"), LIMITS_OK); /* the first was forgotten */
    stop();
}

/* Seats against a plain count of them, in any order. */
static void test_any_order(void **state)
{
    (void)state;
    enum { PEERS = 40, PER = 3, NODE = 60 };
    static const char *const mounts[] = {"a", "b", "c"};
    unsigned seed = (unsigned)time(NULL), held[PEERS] = {0}, total = 0;
    struct {
        struct limits_seat seat;
        int peer;
    } sitting[NODE];
    print_message("seed %u\n", seed);
    start(&(struct limits_conf){.listeners = NODE, .address_listeners = PER});
    for (int i = 0; i < 200000; i++) {
        int peer = rand_r(&seed) % PEERS;
        struct net_addr a = {{[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)peer}};
        struct limits_seat seat;
        if (rand_r(&seed) % 2 && total) {
            unsigned k = (unsigned)rand_r(&seed) % total;
            limits_leave(limits, sitting[k].seat);
            held[sitting[k].peer]--;
            sitting[k] = sitting[--total];
            continue;
        }
        enum limits_verdict verdict = limits_enter(limits, mounts[i % 3], 100, &a, 0, now, &seat);
        assert_int_equal(verdict, held[peer] == PER ? LIMITS_ADDRESS
                                  : total == NODE   ? LIMITS_NODE
                                                    : LIMITS_OK);
        if (verdict != LIMITS_OK) continue;
        held[peer]++;
        sitting[total].seat = seat;
        sitting[total++].peer = peer;
        assert_int_equal(limits_counts(limits)->seats, total);
        assert_int_equal(limits_counts(limits)->used_bps, total * 104000);
    }
    while (total)
        limits_leave(limits, sitting[--total].seat);
    stop();
}

static void test_refusals(void **state)
{
    (void)state;
    uint64_t since = 0;
    start(&(struct limits_conf){.listeners = 1});
    assert_int_equal(limits_refused(limits, LIMITS_NODE, now, &since), 1);
    assert_int_equal(since, 1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(limits_refused(limits, LIMITS_NODE, now + i, &since), 0);
    assert_int_equal(limits_refused(limits, LIMITS_ADDRESS, now, &since), 1); /* each reason has its line */
    assert_int_equal(limits_refused(limits, LIMITS_NODE, now + 11 * S, &since), 1);
    assert_int_equal(since, 51);
    assert_int_equal(limits_counts(limits)->refused[LIMITS_NODE], 52);
    assert_int_equal(limits_counts(limits)->refused[LIMITS_ADDRESS], 1);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capacity),      cmocka_unit_test(test_uplink),
        cmocka_unit_test(test_joins),         cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_address_joins), cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_any_order),     cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
