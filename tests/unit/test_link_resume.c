/* A link that is cut and comes again, and one over which the future changes. */
#include "tests/unit/link_stage.h"

static void test_resume(void **state)
{
    (void)state;
    uint64_t seed = frames_seed("LINK_SEED", 424242);
    struct relay r = new_relay();
    mark(ring, 0, "title", 0);
    append(ring, 500, 1);
    set_air(100);
    relay_connect(&r, 0);
    /* cut anywhere, also in mid-record: nothing is lost, nothing comes twice */
    for (unsigned i = 1; i < 60; i++) {
        uint64_t x = frames_hash(seed + i);
        exchange(&r, x % 30000);
        relay_cut(&r);
        exchange(&(struct relay){.fd = -1}, 1);
        if (i % 3 == 0) mark(ring, ring_head(ring) + x % 20, "title", (int)i);
        append(ring, (unsigned)(x >> 20) % 40, 1);
        set_air(on_air + 20);
        boot_ns += S / 2;
        relay_connect(&r, 1);
    }
    exchange(&r, SIZE_MAX);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.repeated, 0);
    assert_int_equal(r.resets, 1);
    relay_end(&r);
}

static void test_retraction_on_line(void **state)
{
    (void)state;
    struct relay r = new_relay();
    mark(ring, 0, "title", 0);
    append(ring, 2000, 1);
    mark(ring, 300, "segment", 1);
    mark(ring, 350, "title", 2);
    mark(ring, 1200, "title", 3);
    mark(ring, 1500, "segment", 4);
    set_air(100);
    relay_connect(&r, 0);
    exchange(&r, SIZE_MAX);
    assert_at_start(&r, 101);
    /* far ahead of what was sent: the marks before the fork, sent already, stay */
    assert_int_equal(ring_retract(ring, 1, 1000, NULL), 0);
    mark(ring, 1100, "title", 5);
    append(ring, 300, 2);
    wake(&r);
    assert_int_equal(r.branches, 1);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.repeated, 0);
    /* within what was sent */
    assert_int_equal(ring_retract(ring, 2, 900, NULL), 0);
    mark(ring, 905, "title", 6);
    append(ring, 500, 3);
    wake(&r);
    catch_up(&r);
    assert_int_equal(r.branches, 2);
    assert_same(&r);
    /* two in a row before the link looks; and one that the relay's air has passed: it keeps its own past */
    ring_set_floor(r.ring, 1000);
    assert_int_equal(ring_retract(ring, 3, 1050, NULL), 0);
    append(ring, 10, 4);
    assert_int_equal(ring_retract(ring, 4, 990, NULL), 0);
    append(ring, 200, 5);
    wake(&r);
    catch_up(&r);
    assert_int_equal(r.branches, 3);
    assert_int_equal(r.repeated, 10);
    assert_int_equal(ring_head(r.ring), ring_head(ring));
    uint64_t from = mp3_frame_offset(KBPS, 1000), to = ring_byte_head(ring);
    assert_memory_equal(ring_bytes(r.ring, from, to), ring_bytes(ring, from, to), (size_t)(to - from));
    assert_int_equal(r.resets, 1);
    assert_int_equal(closed_count, 0);
    relay_end(&r);
}

static void test_resume_over_a_fork(void **state)
{
    (void)state;
    struct relay r = new_relay();
    mark(ring, 0, "title", 0);
    append(ring, 600, 1);
    set_air(100);
    relay_connect(&r, 0);
    catch_up(&r);
    assert_same(&r);
    relay_cut(&r);
    assert_int_equal(ring_retract(ring, 1, 400, NULL), 0);
    mark(ring, 400, "title", 1);
    append(ring, 300, 2);
    relay_connect(&r, 1);
    exchange(&r, SIZE_MAX);
    assert_int_equal(r.void_from, 400);
    assert_int_equal(r.hello_position, 400);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.resets, 1);
    assert_int_equal(r.repeated, 0);

    /* all it has is good, though the branch is another */
    relay_cut(&r);
    assert_int_equal(ring_retract(ring, 7, 700, NULL), 0);
    append(ring, 10, 3);
    relay_connect(&r, 1);
    exchange(&r, SIZE_MAX);
    catch_up(&r);
    assert_same(&r);
    assert_int_equal(r.void_from, UINT64_MAX);

    /* more than the root has: what is beyond will be made anew */
    relay_cut(&r);
    append(r.ring, 50, 9);
    relay_connect(&r, 1);
    exchange(&r, SIZE_MAX);
    assert_int_equal(r.void_from, 710);
    assert_int_equal(r.hello_position, 710);
    catch_up(&r);
    assert_same(&r);

    /* an unknown branch, another station, too far behind: from the burst */
    for (int i = 0; i < 3; i++) {
        unsigned resets = r.resets;
        relay_cut(&r);
        if (i == 0) ring_reset(r.ring, ring_station(ring), 99, 650);
        if (i == 1) ring_reset(r.ring, "0123", 7, 650);
        if (i == 2) {
            append(ring, 2500, 1);
            set_air(3000);
            append(ring, 3000, 1);
            assert_true(ring_tail(ring) > ring_head(r.ring));
        }
        relay_connect(&r, 1);
        exchange(&r, SIZE_MAX);
        assert_int_equal(r.hello_position, on_air + 1 > 191 ? on_air + 1 - 191 : 0);
        assert_true(r.void_from == (i == 0 ? 0 : UINT64_MAX));
        assert_int_equal(r.resets, resets + 1);
        catch_up(&r);
        assert_same(&r);
    }
    relay_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resume, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_retraction_on_line, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(test_resume_over_a_fork, server_setup, server_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
