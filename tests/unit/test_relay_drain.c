/* Listeners leave a relay that drains; who finds nothing there hears the loop. */
#include "tests/unit/relay_stage.h"

static int status_of(const char *request)
{
    struct listener l = {.fd = net_connect(relay.port, 0)};
    net_send(l.fd, request);
    UNTIL((net_take(l.fd, &l.in, SIZE_MAX), net_status(&l.in) > 0));
    int status = net_status(&l.in);
    if (status == 302) assert_non_null(strstr(l.in.data, "Location: http://other.example/stream.mp3?from="));
    hang_up(&l);
    return status;
}

#define BEGINS  "GET /stream.mp3?from=300&nearest=1 HTTP/1.1\r\nHost: x\r\n\r\n"
#define RESUMES "GET /stream.mp3?from=300&nearest=1 HTTP/1.1\r\nHost: x\r\nRange: bytes=400-\r\n\r\n"

/* So many may go to another node. */
static void tell_room(unsigned room)
{
    elsewhere_set(relay.elsewhere, (const char *[]){"http://other.example/stream.mp3"}, &room, 1);
}

static void the_root_moves_and_drains(void **state)
{
    (void)state;
    start_root();
    start_relay(TOKEN, 100);
    UNTIL(!join_trouble(relay.join));
    relay.drain = drain_new(&(struct drain_conf){
        .base = base, .bundle = relay.bundle, .changed = on_drain_news, .over = on_drain_news});
    tell_room(1);
    struct listener l[4];
    for (int i = 0; i < 4; i++) {
        l[i] = listen_to(i ? "/stream.mp3?from=300&nearest=1" : "/stream.mp3");
        hear(&l[i], 5000);
    }
    /* moved: so many as asked for, who may not come back at once; others may come */
    root.most = 2;
    join_hurry(relay.join);
    UNTIL(node_listening(node_of(0)) == 3);
    assert_int_equal(status_of(RESUMES), 302);
    /* nobody is moved to where there is no room, nor sent there: who asks is served as before */
    assert_int_equal(status_of(RESUMES), 206);
    unsigned reports = root.reports;
    UNTIL(root.reports > reports + 1);
    assert_int_equal(node_listening(node_of(0)), 3);
    tell_room(2);
    UNTIL(node_listening(node_of(0)) == 2);
    for (int i = 0; i < 20; i++)
        net_turn(base);
    assert_int_equal(node_listening(node_of(0)), 2);
    assert_int_equal(status_of(RESUMES), 302);
    assert_int_equal(status_of(BEGINS), 200);
    /* draining: nobody new comes; who resumes does while it is the only node */
    elsewhere_set(relay.elsewhere, NULL, NULL, 0);
    root.most = 0;
    root.drain_s = 0.8;
    join_hurry(relay.join);
    UNTIL(node_draining(node_of(0)) == NODE_DRAINING);
    UNTIL(json_is_true(json_object_get(root.last_report, "draining")));
    assert_int_equal(status_of(BEGINS), 503);
    assert_int_equal(status_of(RESUMES), 206);
    assert_true(node_listening(node_of(0)) >= 2);
    UNTIL(node_listening(node_of(0)) == 0);
    assert_int_equal(node_draining(node_of(0)), NODE_CLOSED);
    UNTIL((net_take(l[0].fd, &l[0].in, SIZE_MAX), l[0].in.ended));
    assert_int_equal(l[0].in.ended, 1); /* an end, and no cut */
    struct fanout_counts counts;
    node_counts(node_of(0), &counts);
    assert_int_equal(counts.opened, counts.closed);
    assert_int_equal(status_of(RESUMES), 503);
    root.drain_s = 0;
    join_hurry(relay.join);
    UNTIL(node_draining(node_of(0)) == NODE_OPEN);
    assert_int_equal(status_of(BEGINS), 200);
    for (int i = 0; i < 4; i++)
        hang_up(&l[i]);
}

/* Nobody is reached, and nothing is held: who comes hears the loop, told so, and without a place. */
static void the_loop_is_there_for_who_comes(void **state)
{
    (void)state;
    size_t len;
    char *cause = NULL;
    start_relay(TOKEN, 100);
    unsigned kbps = ring_kbps(node_ring(node_of(0)));
    uint8_t *bytes = frames_make(kbps, 0, 2 * MP3_PERIOD_FRAMES, SEED, &len);
    struct loop *loop = loop_new(kbps, bytes, len, &cause);
    if (!loop) fail_msg("%s", cause);
    node_set_loop(node_of(0), loop);
    struct listener l = listen_to("/stream.mp3");
    hear(&l, 10000);
    assert_null(strstr(l.in.data, "X-Forever-Position: "));
    size_t heard;
    const char *body = body_of(&l, &heard);
    assert_memory_equal(body, bytes, heard < len ? heard : len);
    hang_up(&l);
    char path[128];
    snprintf(path, sizeof path, "%s/loop-stream.mp3", relay.state);
    assert_int_equal(unlink(path), 0);
    free(bytes);
}

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(the_root_moves_and_drains),
        TEST(the_loop_is_there_for_who_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
