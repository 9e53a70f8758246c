/* Who tries in vain is slowed down, alone and with all others; who succeeds is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "root/air/enrol_limit.h"

static struct net_addr address(const char *text)
{
    struct net_addr a;
    assert_int_equal(net_addr_parse(text, strlen(text), &a), 0);
    return a;
}

static void one_address(void **state)
{
    (void)state;
    struct enrol_limit *l = enrol_limit_new();
    struct net_addr a = address("192.0.2.1"), b = address("192.0.2.2");
    struct net_addr c = address("2001:db8:0:1::1"), d = address("2001:db8:0:1::2");
    int64_t now = 5 * CLOCK_NS_PER_S;
    for (int i = 0; i < ENROL_LIMIT_PER_ADDRESS; i++)
        assert_int_equal(enrol_limit_take(l, &a, now), 0);
    assert_int_equal(enrol_limit_take(l, &a, now), 6);
    assert_int_equal(enrol_limit_take(l, &b, now), 0);
    assert_int_equal(enrol_limit_take(l, &a, now + 5 * CLOCK_NS_PER_S), 1);
    assert_int_equal(enrol_limit_take(l, &a, now + 6 * CLOCK_NS_PER_S), 0);
    /* a network of IPv6 is one */
    for (int i = 0; i < ENROL_LIMIT_PER_ADDRESS; i++)
        assert_int_equal(enrol_limit_take(l, i % 2 ? &c : &d, now), 0);
    assert_true(enrol_limit_take(l, &c, now) > 0);
    for (int i = 0; i < 3 * ENROL_LIMIT_PER_ADDRESS; i++) {
        assert_int_equal(enrol_limit_take(l, &b, now), 0);
        enrol_limit_refund(l, &b, now);
    }
    assert_int_equal(enrol_limit_log(l, &a, now), 1);
    assert_int_equal(enrol_limit_log(l, &a, now + CLOCK_NS_PER_S), 0);
    assert_int_equal(enrol_limit_log(l, &b, now), 1);
    assert_int_equal(enrol_limit_log(l, &a, now + ENROL_LIMIT_LOG_S * CLOCK_NS_PER_S), 1);
    enrol_limit_free(l);
}

static void all_together(void **state)
{
    (void)state;
    struct enrol_limit *l = enrol_limit_new();
    int64_t now = 5 * CLOCK_NS_PER_S;
    int taken = 0;
    struct net_addr a = address("10.0.0.0");
    for (int i = 0; i < 5000; i++) {
        a.bytes[14] = (uint8_t)(i >> 8);
        a.bytes[15] = (uint8_t)i;
        taken += enrol_limit_take(l, &a, now) == 0;
    }
    assert_int_equal(taken, ENROL_LIMIT_IN_ALL);
    int lines = 0;
    for (int i = 0; i < 5000; i++) {
        a.bytes[14] = (uint8_t)(i >> 8);
        a.bytes[15] = (uint8_t)i;
        lines += enrol_limit_log(l, &a, now);
    }
    assert_int_equal(lines, ENROL_LIMIT_LINES);
    assert_int_equal(enrol_limit_take(l, &a, now), 1);
    assert_int_equal(enrol_limit_take(l, &a, now + CLOCK_NS_PER_S), 0);
    enrol_limit_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_address), cmocka_unit_test(all_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
