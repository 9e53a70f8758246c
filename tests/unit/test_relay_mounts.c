/* The mounts beside the main one, at a relay. */
#include "tests/unit/relay_stage.h"

/* The root's further mounts are served as soon as it told them, pulled only while somebody listens there, and
 * gone with its next word; a relay that starts anew knows them before the root answers. */
static void further_mounts_are_pulled_when_heard(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 2);
    struct listener early = listen_to("/low.mp3");
    assert_true(net_until(base, early.fd, &early.in, "HTTP/1.1 404 ", NET_DEADLINE_MS));
    hang_up(&early);
    root.has_low = 1;
    UNTIL(bundle_count(relay.bundle) == 2);
    assert_true(ring_resting(node_ring(node_of(1))));
    struct listener low = listen_to("/low.mp3");
    assert_true(hear(&low, 2000) <= 500);
    assert_int_equal(link_server_count(root.low_link), 1);
    assert_int_equal(link_server_count(root.link), 0);
    assert_non_null(strstr(low.in.data, "icy-name: Radio Test\r\n"));
    assert_non_null(strstr(low.in.data, "icy-br: 64\r\n"));
    struct listener main = listen_to("/stream.mp3");
    hear(&main, 30000);
    check_bytes(&main);
    struct listener third = listen_to("/low.mp3"); /* the limit is one for all */
    assert_true(net_until(base, third.fd, &third.in, "HTTP/1.1 503 ", NET_DEADLINE_MS));
    hang_up(&third);
    UNTIL(json_integer_value(json_object_get(root.last_report, "listeners")) == 2);
    const json_t *told = json_array_get(json_object_get(root.last_report, "mounts"), 1);
    assert_string_equal(json_str_or(told, "name", "", NULL), "low");
    assert_int_equal(json_int_or(told, "listeners", 0, 0, 9, NULL), 1);
    assert_true(json_is_true(json_object_get(told, "pulling")));
    hang_up(&main);
    UNTIL(link_server_count(root.link) == 0);
    assert_int_equal(link_server_count(root.low_link), 1);
    hang_up(&low);
    UNTIL(link_server_count(root.low_link) == 0);
    root.has_low = 0;
    UNTIL(bundle_count(relay.bundle) == 1);
    low = listen_to("/low.mp3");
    assert_true(net_until(base, low.fd, &low.in, "HTTP/1.1 404 ", NET_DEADLINE_MS));
    hang_up(&low);
    struct fanout_counts counts;
    bundle_counts(relay.bundle, &counts);
    assert_int_equal(counts.opened, 2);
    assert_int_equal(counts.closed, 2);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(further_mounts_are_pulled_when_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
