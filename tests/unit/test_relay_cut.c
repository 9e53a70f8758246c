/* A relay whose link is cut goes on at the same frame, and at another of its parents. */
#include <math.h>
#include "tests/unit/relay_stage.h"

static void a_cut_is_not_heard(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 30000);
    root.refuse_links = 1;
    link_server_free(root.link);
    link_server_free(root.low_link);
    start_links();
    UNTIL(pull_trouble(pull_of(0)) && strstr(pull_trouble(pull_of(0)), "503 no music yet"));
    hear(&one, one.in.len + 1000); /* it lives on its lead */
    root.refuse_links = 0;
    UNTIL(!pull_trouble(pull_of(0)) && pull_following(pull_of(0)));
    hear(&one, one.in.len + 1000);
    check_bytes(&one);
    assert_int_equal(pull_counts(pull_of(0))->resets, 1); /* the first link */
    assert_int_equal(pull_counts(pull_of(0))->links, 2);
    hang_up(&one);
}

static void listen_again(int port)
{
    char *cause = NULL;
    root.http = http_server_new(base, NULL, "root");
    http_server_routes(root.http, root_routes, 3, NULL);
    if (http_server_listen(root.http, "127.0.0.1", port, &root.port, &cause)) fail_msg("%s", cause);
}

static void the_next_parent_takes_over_and_the_first_comes_back(void **state)
{
    (void)state;
    char url[64];
    int port;
    start_root();
    root.second = http_server_new(base, NULL, "root");
    http_server_routes(root.second, root_routes, 3, NULL);
    assert_int_equal(http_server_listen(root.second, "127.0.0.1", 0, &port, NULL), 0);
    start_relay(TOKEN, 100);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    parents_add(relay.parents, url, NULL, TOKEN);
    UNTIL(!join_trouble(relay.join));
    struct listener one = listen_to("/stream.mp3");
    hear(&one, 30000);
    assert_int_equal(root.at_first, 1);
    http_server_free(root.http); /* and the link with it */
    root.http = NULL;
    link_server_close_peer(root.link, root.last_peer);
    UNTIL(root.at_second == 1 && pull_following(pull_of(0)));
    hear(&one, one.in.len + 3000);
    check_bytes(&one);
    UNTIL(!join_trouble(relay.join)); /* reports go there too */
    /* the first one is back, but rests: nothing happens until it has */
    listen_again(root.port);
    unsigned reports = root.reports;
    UNTIL(root.reports > reports);
    assert_int_equal(root.at_first, 1);
    parents_worked(relay.parents, parents_at(relay.parents, 0)->id, clock_boot_ns());
    UNTIL(root.at_first == 2 && link_server_count(root.link) == 1);
    hear(&one, one.in.len + 3000);
    check_bytes(&one);
    const struct pull_counts *counts = pull_counts(pull_of(0));
    assert_int_equal(counts->switches, 1);
    assert_int_equal(counts->links, 3);
    assert_int_equal(counts->failures, 1);
    assert_int_equal(counts->resets, 1); /* the first link */
    hang_up(&one);
}

static void pauses_follow_the_lead(void **state)
{
    (void)state;
    const struct {
        double behind_s;
        int cap_ms;
    } cases[] = {{-900, 10000}, {-50, 10000}, {-30, 6000}, {-10, 2000},   {-5, 1000},
                 {-1, 1000},    {0, 1000},    {9.9, 1000}, {10.1, 10000}, {INFINITY, 10000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(pull_retry_cap_ms(cases[i].behind_s), cases[i].cap_ms);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_cut_is_not_heard),
        TEST(the_next_parent_takes_over_and_the_first_comes_back),
        TEST(pauses_follow_the_lead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
