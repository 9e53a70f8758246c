/* Which relay a listener is sent to, and who is let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "root/air/router.h"

static uint64_t seed = 88172645463325252ULL;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void nobody_able_means_none(void **state)
{
    (void)state;
    struct router_relay relays[] = {
        {.listeners = 0, .max_listeners = 10, .able = 0},
        {.listeners = 10, .max_listeners = 10, .able = 1},
        {.listeners = 7, .max_listeners = 10, .sent = 3, .able = 1},
        {.listeners = 0, .max_listeners = 0, .able = 1},
    };
    assert_int_equal(router_choose(NULL, 0, draw()), -1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(router_choose(relays, 4, draw()), -1);
    relays[2].sent = 2;
    for (int i = 0; i < 100; i++)
        assert_int_equal(router_choose(relays, 4, draw()), 2);
}

static void of_two_the_less_used(void **state)
{
    (void)state;
    struct router_relay relays[] = {
        {.listeners = 90, .max_listeners = 100, .able = 1},
        {.listeners = 100, .max_listeners = 1000, .able = 1}, /* more listeners, but less used */
    };
    for (int i = 0; i < 200; i++)
        assert_int_equal(router_choose(relays, 2, draw()), 1);
    relays[1].sent = 850; /* what was sent there since its report counts */
    for (int i = 0; i < 200; i++)
        assert_int_equal(router_choose(relays, 2, draw()), 0);
}

static void the_least_used_is_found(void **state)
{
    (void)state;
    struct router_relay relays[] = {
        {.listeners = 0, .max_listeners = 10, .able = 0},
        {.listeners = 5, .max_listeners = 10, .able = 1},
        {.listeners = 40, .max_listeners = 100, .able = 1},
        {.listeners = 30, .max_listeners = 100, .sent = 10, .able = 1},
    };
    assert_int_equal(router_least_used(relays, 0), -1);
    assert_int_equal(router_least_used(relays, 1), -1);
    assert_int_equal(router_least_used(relays, 2), 1);
    assert_int_equal(router_least_used(relays, 4), 2); /* the first of equals */
    relays[3].sent = 9;
    assert_int_equal(router_least_used(relays, 4), 3);
}

/* Two draws keep relays level: filling 10 of 100 places each to the half leaves them close together. */
static void load_is_spread(void **state)
{
    (void)state;
    struct router_relay relays[10];
    for (int i = 0; i < 10; i++)
        relays[i] = (struct router_relay){.max_listeners = 100, .able = 1};
    for (int n = 0; n < 500; n++) {
        int i = router_choose(relays, 10, draw());
        assert_in_range(i, 0, 9);
        relays[i].sent++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(relays[i].sent, 45, 55);
    for (int n = 0; n < 500; n++)
        relays[router_choose(relays, 10, draw())].sent++;
    for (int i = 0; i < 10; i++)
        assert_int_equal(relays[i].sent, 100);
    assert_int_equal(router_choose(relays, 10, draw()), -1);
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
        cmocka_unit_test(nobody_able_means_none),  cmocka_unit_test(of_two_the_less_used),
        cmocka_unit_test(the_least_used_is_found), cmocka_unit_test(load_is_spread),
        cmocka_unit_test(admission_is_exact),
    };
    printf("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
