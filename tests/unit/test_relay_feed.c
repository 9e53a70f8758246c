/* Relays that are fed by a relay. */
#include "tests/unit/relay_stage.h"

/* As a relay asks, plainly. */
static struct listener ask_for_link(const char *bearer, const char *node)
{
    struct listener l = {.fd = net_connect(relay.port, 0)};
    char request[400];
    snprintf(request, sizeof request, "GET /link?mount=stream&node=%s HTTP/1.1\r\nHost: x\r\n%s%s\r\n\r\n",
             node, bearer ? "Authorization: Bearer " : "X: ", bearer ? bearer : "");
    net_send(l.fd, request);
    return l;
}

static void assert_answer(struct listener l, const char *status)
{
    assert_true(net_until(base, l.fd, &l.in, "\r\n\r\n", NET_DEADLINE_MS));
    if (strncmp(l.in.data + 9, status, 3)) fail_msg("%s: %s", status, l.in.data);
    hang_up(&l);
}

static void a_relay_is_fed_while_it_wants_to_be(void **state)
{
    (void)state;
    unsigned char key[LINK_GRANT_KEY_BYTES] = "a key";
    char grant[LINK_GRANT_TEXT];
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    assert_answer(ask_for_link(NULL, "aa"), "401");
    assert_answer(ask_for_link("nonsense", "aa"), "403");
    assert_answer(ask_for_link(TOKEN, "aa&less=3001"), "400");
    assert_answer(ask_for_link(TOKEN, "aa&less=-1"), "400");
    assert_answer(ask_for_link(TOKEN, "aa&less="), "400");
    feed_set_key(relay.feed, key, 1000);
    assert_int_equal(link_grant_sign(key, "aa", 2000, grant), 0);
    assert_answer(ask_for_link(grant, "aa"), "403"); /* a grant is not told to everybody on the way */
    assert_int_equal(feed_refused(relay.feed), 2);
    assert_int_equal(link_server_count(root.link), 0);
    struct listener child = ask_for_link(TOKEN, "aa");
    hear(&child, 60000); /* nobody listens, and yet */
    assert_non_null(strstr(child.in.data, "application/x-forever-link"));
    assert_int_equal(link_server_count(root.link), 1);
    assert_int_equal(node_listening(node_of(0)), 0);
    assert_int_equal(feed_links(relay.feed), 1);
    assert_true(feed_bytes(relay.feed) > 60000 && feed_bps(relay.feed) == KBPS * 1000);
    size_t len;
    struct link_decoder *decoder = link_decoder_new();
    struct link_record record;
    link_decoder_feed(decoder, body_of(&child, &len), 2000);
    assert_int_equal(link_decoder_next(decoder, &record, NULL), 1);
    json_t *path = json_object_get(record.body, "path");
    assert_int_equal(json_array_size(path), 1);
    assert_string_equal(json_string_value(json_array_get(path, 0)), ID);
    link_decoder_free(decoder);
    assert_answer(ask_for_link(TOKEN, ID), "508"); /* it would feed itself */
    UNTIL(json_integer_value(json_object_get(root.last_report, "links")) == 1);
    assert_int_equal(json_integer_value(json_object_get(root.last_report, "listeners")), 0);
    assert_string_equal(json_str_or(root.last_report, "upstream", NULL, NULL), "");
    struct listener other = ask_for_link(TOKEN, "bb");
    UNTIL(feed_links(relay.feed) == 2);
    json_t *cut = json_pack("[s,s]", "ab", "aa");
    feed_cut(relay.feed, cut);
    UNTIL(feed_links(relay.feed) == 1);
    assert_true(feed_is_cut(relay.feed, "aa") && feed_is_cut(relay.feed, "ab") &&
                !feed_is_cut(relay.feed, "bb"));
    feed_cut(relay.feed, NULL); /* the root's word counts: it was let in again */
    assert_false(feed_is_cut(relay.feed, "aa"));
    feed_cut(relay.feed, cut);
    json_decref(cut);
    /* a root that has started anew does not know any more whom it cut: their grants may live yet */
    key[0] = 'A';
    feed_set_key(relay.feed, key, 1000);
    feed_cut(relay.feed, NULL);
    assert_true(feed_is_cut(relay.feed, "aa"));
    for (int i = 0; i < 70; i++) { /* more than it can keep: those named now are kept */
        char id[16];
        snprintf(id, sizeof id, "c%d", i);
        cut = json_pack("[s]", id);
        feed_cut(relay.feed, cut);
        json_decref(cut);
        assert_true(feed_is_cut(relay.feed, id));
    }
    assert_true(net_until(base, child.fd, &child.in, "no such text", 10) == 0 && child.in.ended);
    hang_up(&other);
    hang_up(&child);
    UNTIL(link_server_count(root.link) == 0);
    assert_true(feed_bytes(relay.feed) > 60000);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_relay_is_fed_while_it_wants_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
