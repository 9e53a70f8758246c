/* Who tries in vain is slowed down, alone and with all others; who succeeds is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "root/air/attempts.h"
#include "tests/unit/addr.h"

static void one_address(void **state)
{
    (void)state;
    struct attempts *l = attempts_new(ATTEMPTS_IN_ALL);
    struct net_addr a = addr("192.0.2.1"), b = addr("192.0.2.2");
    struct net_addr c = addr("2001:db8:0:1::1"), d = addr("2001:db8:0:1::2");
    int64_t now = 5 * CLOCK_NS_PER_S;
    for (int i = 0; i < ATTEMPTS_PER_NETWORK; i++)
        assert_int_equal(attempts_take(l, &a, now), 0);
    assert_int_equal(attempts_take(l, &a, now), 6);
    assert_int_equal(attempts_take(l, &b, now), 0);
    assert_int_equal(attempts_take(l, &a, now + 5 * CLOCK_NS_PER_S), 1);
    assert_int_equal(attempts_take(l, &a, now + 6 * CLOCK_NS_PER_S), 0);
    /* a network of IPv6 is one */
    for (int i = 0; i < ATTEMPTS_PER_NETWORK; i++)
        assert_int_equal(attempts_take(l, i % 2 ? &c : &d, now), 0);
    assert_true(attempts_take(l, &c, now) > 0);
    for (int i = 0; i < 3 * ATTEMPTS_PER_NETWORK; i++) {
        assert_int_equal(attempts_take(l, &b, now), 0);
        attempts_refund(l, &b, now);
    }
    assert_int_equal(attempts_log(l, &a, now), 1);
    assert_int_equal(attempts_log(l, &a, now + CLOCK_NS_PER_S), 0);
    assert_int_equal(attempts_log(l, &b, now), 1);
    assert_int_equal(attempts_log(l, &a, now + ATTEMPTS_LOG_S * CLOCK_NS_PER_S), 1);
    attempts_free(l);
}

static void all_together(void **state)
{
    (void)state;
    struct attempts *l = attempts_new(ATTEMPTS_IN_ALL);
    int64_t now = 5 * CLOCK_NS_PER_S;
    int taken = 0;
    struct net_addr a = addr("10.0.0.0");
    for (int i = 0; i < 5000; i++) {
        a.bytes[14] = (uint8_t)(i >> 8);
        a.bytes[15] = (uint8_t)i;
        taken += attempts_take(l, &a, now) == 0;
    }
    assert_int_equal(taken, ATTEMPTS_IN_ALL);
    int lines = 0;
    for (int i = 0; i < 5000; i++) {
        a.bytes[14] = (uint8_t)(i >> 8);
        a.bytes[15] = (uint8_t)i;
        lines += attempts_log(l, &a, now);
    }
    assert_int_equal(lines, ATTEMPTS_LINES);
    assert_int_equal(attempts_take(l, &a, now), 1);
    assert_int_equal(attempts_take(l, &a, now + CLOCK_NS_PER_S), 0);
    attempts_free(l);
}

static void each_for_itself(void **state)
{
    (void)state;
    struct attempts *l = attempts_new(0);
    int64_t now = 5 * CLOCK_NS_PER_S;
    int taken = 0;
    struct net_addr a = addr("10.0.0.0"), b = addr("192.0.2.1");
    for (int i = 0; i < 1000; i++) {
        a.bytes[15] = (uint8_t)(i % 8);
        taken += attempts_take(l, &a, now) == 0;
    }
    assert_int_equal(taken, 8 * ATTEMPTS_PER_NETWORK);
    assert_int_equal(attempts_take(l, &b, now), 0);
    attempts_refund(l, &b, now);
    attempts_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_address), cmocka_unit_test(each_for_itself),
                                       cmocka_unit_test(all_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
