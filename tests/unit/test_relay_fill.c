/* How much a relay holds ahead, and when that is filled. */
#include "tests/unit/relay_stage.h"

static void the_lead_stays_what_the_relay_can_hold(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 20000);
    struct pacer *pacer = node_pacer(node_of(0));
    double most_s = 0;
    for (int64_t end = net_now_ms() + 1200; most_s <= 1.6 || net_now_ms() < end;) {
        net_turn(base);
        double lead_s = pacer_lead_s(pacer);
        if (lead_s > most_s) most_s = lead_s;
        assert_true(net_now_ms() < end + NET_DEADLINE_MS);
    }
    assert_true(most_s < RELAY_S + 0.2);
    /* the root's clock has come a second time by now */
    UNTIL(pacer_offset_s(pacer) > -0.1 && pacer_offset_s(pacer) < 0.1);
    assert_int_equal(pull_counts(pull_of(0))->failures, 0);
    hang_up(&one);
}

static void without_a_listener_nothing_is_filled(void **state)
{
    (void)state;
    start_root();
    start_relay_with(TOKEN, 100, 1.4); /* of which the link stays for half */
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 2000);
    hang_up(&one);
    UNTIL(root.pace == 1);
    /* the relay could hold more: RELAY_S ahead, at once only 1.5 s */
    uint64_t begun = link_server_bytes(root.link);
    UNTIL(link_server_count(root.link) == 0);
    assert_true(link_server_bytes(root.link) - begun < BYTES_S * 0.7 * 1.1 + 3000);
    root.pace = 0;
    one = listen_to("/stream.mp3");
    hear(&one, 2000);
    hang_up(&one);
    UNTIL(root.pace == 1);
    one = listen_to("/stream.mp3"); /* within the linger: the same link fills again */
    UNTIL(root.pace == 2);
    hear(&one, 2000);
    assert_int_equal(root.links_started, 2);
    hang_up(&one);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(the_lead_stays_what_the_relay_can_hold),
        TEST(without_a_listener_nothing_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
