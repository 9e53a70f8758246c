/* A relay's pull: its life, what listeners hear, and what each side says when something is wrong. */
#include "tests/unit/relay_stage.h"

static void one_pull_for_many_none_for_nobody(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    assert_int_equal(ring_kbps(node_ring(node_of(0))), KBPS); /* told by the answer to the report */
    assert_int_equal(link_server_count(root.link), 0);
    struct listener many[20];
    many[0] = listen_to("/stream.mp3");
    int64_t woke_ms = hear(&many[0], 2000);
    assert_true(woke_ms <= 500);
    for (int i = 1; i < 20; i++)
        many[i] = listen_to("/stream.mp3");
    for (int i = 0; i < 20; i++)
        hear(&many[i], 30000);
    assert_int_equal(link_server_count(root.link), 1);
    assert_int_equal(pull_counts(pull_of(0))->attempts, 1);
    for (int i = 0; i < 20; i++) {
        check_bytes(&many[i]);
        assert_non_null(strstr(many[i].in.data, "icy-name: Radio Test\r\n"));
        assert_non_null(
            strstr(many[i].in.data, "icy-description: a test\r\nicy-url: http://radio.example\r\n"));
        assert_null(strstr(many[i].in.data, "icy-genre"));
    }
    UNTIL(json_integer_value(json_object_get(root.last_report, "listeners")) == 20);
    assert_true(json_is_true(json_object_get(root.last_report, "pulling")));
    assert_true(json_integer_value(json_object_get(root.last_report, "bytes_out")) > 20 * 30000);
    assert_true(json_integer_value(json_object_get(root.last_report, "position")) > 300);
    for (int i = 0; i < 20; i++)
        hang_up(&many[i]);
    UNTIL(link_server_count(root.link) == 0);
    assert_false(pull_following(pull_of(0)));
    UNTIL(json_integer_value(json_object_get(root.last_report, "listeners")) == 0);
    assert_int_equal(json_integer_value(json_object_get(root.last_report, "accepted")), 20);
    assert_int_equal(json_integer_value(json_object_get(root.last_report, "closed")), 20);
    assert_int_equal(pull_counts(pull_of(0))->failures, 0);
    /* and again: what it held still reaches the present, so nothing is begun anew */
    struct listener again = listen_to("/stream.mp3");
    assert_true(hear(&again, 2000) <= 500);
    UNTIL(link_server_count(root.link) == 1);
    hear(&again, 3 * BYTES_S);
    check_bytes(&again);
    assert_int_equal(pull_counts(pull_of(0))->resets, 1);
    hang_up(&again);
}

static void a_wrong_token_is_told(void **state)
{
    (void)state;
    start_root();
    start_relay("nonsense", 100);
    UNTIL(strstr(join_trouble(relay.join), "403"));
    struct listener one = listen_to("/stream.mp3");
    assert_true(net_until(base, one.fd, &one.in, "wrong token", 50) == 0);
    assert_true(net_until(base, one.fd, &one.in, "\r\n\r\n", NET_DEADLINE_MS));
    assert_non_null(strstr(one.in.data, "HTTP/1.1 503 "));
    assert_non_null(strstr(one.in.data, "Retry-After: "));
    assert_non_null(strstr(pull_trouble(pull_of(0)), "403 wrong token"));
    assert_int_equal(pull_counts(pull_of(0))->attempts, 1); /* and no busy loop */
    assert_int_equal(link_server_count(root.link), 0);
    hang_up(&one);
}

static void nobody_at_the_roots_address(void **state)
{
    (void)state;
    start_relay(TOKEN, 100); /* of port 1 */
    struct listener one = listen_to("/stream.mp3");
    UNTIL(pull_trouble(pull_of(0)) && join_trouble(relay.join));
    assert_non_null(strstr(pull_trouble(pull_of(0)), "can't be reached"));
    assert_false(pull_refused(pull_of(0)));
    assert_int_equal(node_waiting(node_of(0)), 1); /* it may come yet */
    hang_up(&one);
    UNTIL(!pull_trouble(pull_of(0))); /* nobody waits any more: idle */
    uint64_t attempts = pull_counts(pull_of(0))->attempts;
    assert_true(attempts >= 1 && attempts <= 4);
}

static void a_full_relay_says_so(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 2);
    UNTIL(!join_trouble(relay.join));
    struct listener a = listen_to("/stream.mp3");
    hear(&a, 100);
    struct listener b = listen_to("/stream.mp3");
    hear(&b, 100);
    struct listener c = listen_to("/stream.mp3");
    assert_true(net_until(base, c.fd, &c.in, "\r\n\r\n", NET_DEADLINE_MS));
    assert_non_null(strstr(c.in.data, "HTTP/1.1 503 "));
    assert_non_null(strstr(c.in.data, "Retry-After: "));
    assert_int_equal(node_turned_away(node_of(0)), 1);
    hang_up(&a);
    UNTIL(node_wanted_by(node_of(0)) == 1);
    struct listener d = listen_to("/stream.mp3");
    hear(&d, 100);
    hang_up(&b);
    hang_up(&c);
    hang_up(&d);
}

static void the_rate_is_learned_from_the_link_too(void **state)
{
    (void)state;
    start_root();
    root.told_kbps = 0;
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    assert_int_equal(ring_kbps(node_ring(node_of(0))), 192);
    struct listener one = listen_to("/stream.mp3");
    UNTIL(ring_kbps(node_ring(node_of(0))) == KBPS);
    hear(&one, 20000); /* it waits on meanwhile */
    check_bytes(&one);
    hang_up(&one);
    assert_int_equal(relay.failed, 0);
}

static void metrics_and_health_answer(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3"), page = listen_to("/metrics"),
                    health = listen_to("/health");
    hear(&one, 1000);
    assert_true(net_until(base, page.fd, &page.in, "forever_build_info{role=\"relay\"", NET_DEADLINE_MS));
    assert_non_null(strstr(page.in.data, "text/plain; version=0.0.4"));
    hang_up(&page);
    page = listen_to("/metrics");
    assert_true(net_until(base, page.fd, &page.in, "\nprocess_max_fds ", NET_DEADLINE_MS));
    assert_non_null(strstr(page.in.data, "\nforever_listeners 1\n"));
    assert_non_null(strstr(page.in.data, "\nforever_link_up 1\n"));
    assert_non_null(strstr(page.in.data, "forever_http_requests_total{route=\"/metrics\",code=\"200\"} 1\n"));
    assert_true(net_until(base, health.fd, &health.in, "\r\n\r\n", NET_DEADLINE_MS));
    assert_non_null(strstr(health.in.data, "HTTP/1.1 200 "));
    hang_up(&one);
    hang_up(&page);
    hang_up(&health);
}

static void without_linger_it_ends_with_the_last_listener(void **state)
{
    (void)state;
    start_root();
    start_relay_with(TOKEN, 100, 0);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 4 * BYTES_S + 6000); /* beyond the burst, so for longer than a turn of the pull's clock */
    assert_int_equal(pull_counts(pull_of(0))->attempts, 1);
    assert_true(pull_following(pull_of(0)));
    hang_up(&one);
    UNTIL(link_server_count(root.link) == 0);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(one_pull_for_many_none_for_nobody),
        TEST(a_wrong_token_is_told),
        TEST(nobody_at_the_roots_address),
        TEST(a_full_relay_says_so),
        TEST(the_rate_is_learned_from_the_link_too),
        TEST(metrics_and_health_answer),
        TEST(without_linger_it_ends_with_the_last_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
