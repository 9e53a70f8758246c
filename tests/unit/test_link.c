/* The link: a server whose peer's ring becomes its own. */
#include "tests/unit/link_stage.h"

#include <math.h>

static void test_wake_and_fill(void **state)
{
    (void)state;
    struct relay r = new_relay();
    for (int i = 0; i < 30; i++)
        mark(ring, (uint64_t)i * 100, i % 3 ? "title" : "segment", i);
    append(ring, 3000, 1);
    set_air(999);
    relay_connect(&r, 0);
    exchange(&r, SIZE_MAX);
    /* 5 s behind the air, at once up to 1.5 s ahead of it, marks that hold and all that come */
    assert_int_equal(r.resets, 1);
    assert_int_equal(r.hello_position, 1000 - 191);
    assert_at_start(&r, 1000);
    assert_int_equal(r.clocks, 1);
    assert_int_equal(r.clock_position, 999);
    assert_int_equal(r.marks, 2 + 21); /* title 800, segment 600, then 900 to 2900 */
    /* then at twice real time, with a word about the clock each second */
    for (int second = 1; second <= 20; second++) {
        for (int tenth = 0; tenth < 10; tenth++) {
            boot_ns += S / 10;
            set_air(999 +
                    (uint64_t)((second - 1) * 10 + tenth + 1) * 3828 / 1000); /* 38.28 frames a second */
            wake(&r);
        }
        double filled = (double)ring_head(r.ring) - 1000, want = second * 2 * 38.28125;
        assert_true(filled <= fmax(want, 57 + want / 2) + 1 &&
                    filled >= want - 33); /* a record may wait until it is worth it */
        assert_int_equal(r.clocks, 1 + second);
    }
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.repeated, 0);
    /* in step: what comes goes on at once */
    boot_ns += S;
    append(ring, 64, 1);
    wake(&r);
    assert_int_equal(ring_head(r.ring), ring_head(ring));
    on_air = UINT64_MAX; /* no clock while the air stands */
    unsigned clocks = r.clocks;
    boot_ns += 2 * S;
    wake(&r);
    assert_int_equal(r.clocks, clocks);
    assert_int_equal(r.commands, 1); /* but a word that it lives */
    assert_int_equal(link_server_count(server), 1);
    assert_true(link_server_bytes(server) > frames_bytes(KBPS, 809, 3064 - 809));
    relay_end(&r);
    exchange(&(struct relay){.fd = -1}, 1);
    assert_int_equal(closed_count, 1);
    assert_ptr_equal(closed_peer, &r);
    assert_int_equal(link_server_count(server), 0);
}

static void test_limit(void **state)
{
    (void)state;
    struct relay r = new_relay();
    append(ring, 1000, 1);
    set_air(299);
    r.ahead_s = 4; /* 153 frames */
    relay_connect(&r, 0);
    catch_up(&r);
    assert_int_equal(ring_head(r.ring), 300 + 153);
    set_air(399);
    catch_up(&r);
    assert_int_equal(ring_head(r.ring), 400 + 153);
    relay_end(&r);
}

static void test_empty_ring(void **state)
{
    (void)state;
    struct relay r = new_relay();
    relay_connect(&r, 0);
    exchange(&r, SIZE_MAX);
    assert_int_equal(r.hello_position, 0);
    assert_int_equal(r.clocks, 0);
    mark(ring, 0, "title", 1);
    append(ring, 70, 1);
    wake(&r);
    assert_at_start(&r, 0);
    catch_up(&r);
    assert_same(&r);
    relay_end(&r);
}

static void test_slow_peer(void **state)
{
    (void)state;
    struct relay r = new_relay(), good = new_relay();
    append(ring, 2000, 1);
    set_air(1500);
    relay_connect(&r, 0);
    relay_connect(&good, 0);
    exchange(&good, SIZE_MAX);
    /* takes nothing: the socket fills, then the buffer, then it is dropped; the other one goes on */
    int64_t since = boot_ns;
    for (int i = 0; closed_count == 0 && i < 1000; i++) {
        boot_ns += S;
        append(ring, 38, 1);
        set_air(on_air + 38);
        wake(&good);
        assert_true(closed_count || link_server_count(server) == 2);
    }
    assert_int_equal(closed_count, 1);
    assert_ptr_equal(closed_peer, &r);
    assert_true(boot_ns - since > 10 * S);
    assert_int_equal(link_server_count(server), 1);
    catch_up(&good);
    assert_same(&good);
    exchange(&r, SIZE_MAX); /* what it was sent is still whole, then ends */
    assert_true(r.ended);
    relay_end(&r);
    relay_end(&good);
}

static void test_lagging_peer(void **state)
{
    (void)state;
    struct relay r = new_relay();
    append(ring, 2000, 1);
    set_air(1500);
    relay_connect(&r, 0);
    /* takes a little all the time, but less than there is: until the ring has moved past it */
    for (int i = 0; !closed_count && i < 4000; i++) {
        boot_ns += S;
        append(ring, 38, 1);
        set_air(on_air + 38);
        link_server_wake(server);
        exchange(&r, 6000);
        ring_set_floor(r.ring, ring_head(r.ring));
    }
    assert_int_equal(closed_count, 1);
    assert_true(ring_tail(ring) > ring_head(r.ring));
    relay_end(&r);
}

static void test_close(void **state)
{
    (void)state;
    struct relay a = new_relay(), b = new_relay();
    append(ring, 300, 1);
    set_air(100);
    relay_connect(&a, 0);
    relay_connect(&b, 0);
    exchange(&a, SIZE_MAX);
    exchange(&b, SIZE_MAX);
    link_server_close_peer(server, &a);
    assert_int_equal(link_server_count(server), 1);
    assert_int_equal(closed_count, 0);
    exchange(&a, SIZE_MAX);
    assert_int_equal(closed_count, 1);
    assert_ptr_equal(closed_peer, &a);
    assert_true(a.ended);
    /* the ring begun anew, as a relay's is that feeds others */
    ring_reset(ring, "another", 1, 7);
    wake(&b);
    assert_int_equal(closed_count, 2);
    assert_true(b.ended);
    relay_end(&a);
    relay_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wake_and_fill, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_limit, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_empty_ring, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_slow_peer, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_lagging_peer, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_close, server_setup, server_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
