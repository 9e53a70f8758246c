/* Icecast servers that carry our stream: what their status pages say, and asking for them again and again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <cmocka.h>

#include "common/net.h"
#include "root/air/icecast_poll.h"
#include "tests/unit/loop.h"

/* As Debian's Icecast 2.4.4 writes it with one mount. */
static const char one[] =
    "{\"icestats\":{\"admin\":\"icemaster@localhost\",\"host\":\"127.0.0.1\",\"location\":\"Earth\",\"server_"
    "id\":"
    "\"Icecast 2.4.4\",\"server_start_iso8601\":\"2026-01-01T00:00:00+0000\",\"source\":{\"audio_info\":"
    "\"ice-samplerate=44100;ice-bitrate=128;ice-channels=2\",\"bitrate\":128,\"genre\":\"various\","
    "\"listener_peak\":"
    "9,\"listeners\":7,\"listenurl\":\"http://127.0.0.1:8000/"
    "ours.mp3\",\"server_name\":\"forever\",\"title\":"
    "\"A \\\"B\\\" - C\",\"dummy\":null}}}";
/* With several, as icecast-kh does: counts as text, limits told. */
static const char several[] =
    "{\"icestats\":{\"source\":[{\"listenurl\":\"http://a.example/x.mp3\",\"listeners\":3},{\"listenurl\":"
    "\"http://a.example:8000/"
    "ours.mp3\",\"listeners\":\"12\",\"max_listeners\":\"250\",\"ice-bitrate\":\"192\"},"
    "{\"mount\":\"/radio/low.mp3\",\"listeners\":1,\"max_listeners\":\"unlimited\"}]}}";

static struct icecast_status read_it(const char *text, const char *mount)
{
    struct icecast_status s;
    char *cause = NULL;
    if (icecast_status_read(text, strlen(text), mount, &s, &cause)) fail_msg("%s", cause);
    return s;
}

static void refused(const char *text, const char *mount, const char *why)
{
    struct icecast_status s;
    char *cause = NULL;
    assert_int_equal(icecast_status_read(text, strlen(text), mount, &s, &cause), -1);
    if (!strstr(cause, why)) fail_msg("%s", cause);
    free(cause);
}

static void test_status(void **state)
{
    (void)state;
    struct icecast_status s = read_it(one, "/ours.mp3");
    assert_int_equal(s.listeners, 7);
    assert_int_equal(s.max_listeners, 0);
    assert_int_equal(s.kbps, 128);
    s = read_it(several, "/ours.mp3");
    assert_int_equal(s.listeners, 12);
    assert_int_equal(s.max_listeners, 250);
    assert_int_equal(s.kbps, 192);
    s = read_it(several, "/radio/low.mp3");
    assert_int_equal(s.listeners, 1);
    assert_int_equal(s.max_listeners, 0);
    refused(one, "/other.mp3", "no mount /other.mp3");
    refused(one, "/s.mp3", "no mount");
    refused("{\"icestats\":{}}", "/ours.mp3", "no mount");
    refused("{\"icestats\":{\"source\":null}}", "/ours.mp3", "no mount");
    refused("{\"icestats\":{\"source\":[1,[],\"x\",null]}}", "/ours.mp3", "no mount");
    refused("{}", "/ours.mp3", "not Icecast's");
    refused("[]", "/ours.mp3", "not Icecast's");
    refused("<html>", "/ours.mp3", "no JSON");
    refused("", "/ours.mp3", "no JSON");
    static const char *const bad[] = {"-1", "1.5", "null", "\"many\"", "\"-1\"", "1e99", "99999999999", "{}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[200];
        snprintf(text, sizeof text,
                 "{\"icestats\":{\"source\":{\"listenurl\":\"http://a/b\",\"listeners\":%s}}}", bad[i]);
        refused(text, "/b", "how many listen");
    }
}

static void test_address(void **state)
{
    (void)state;
    static const char *const good[][3] = {
        {"http://a.example:8000/ours.mp3", "http://a.example:8000/status-json.xsl", "/ours.mp3"},
        {"https://[2001:db8::1]/radio/x", "https://[2001:db8::1]/status-json.xsl", "/radio/x"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *status, *mount;
        assert_int_equal(icecast_status_address(good[i][0], &status, &mount, NULL), 0);
        assert_string_equal(status, good[i][1]);
        assert_string_equal(mount, good[i][2]);
        free(status);
        free(mount);
    }
    static const char *const bad[] = {"http://a", "http://a/", "http:///x",   "ftp://a/x",
                                      "/x",       "",          "http://a/x?y"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *status, *mount, *cause = NULL;
        assert_int_equal(icecast_status_address(bad[i], &status, &mount, &cause), -1);
        assert_non_null(strstr(cause, "must be the address of the stream"));
        free(cause);
    }
}

/* A server that answers what the test says. */
static const char *page = one;
static int page_status = 200, asked, told;
static struct icecast_status last;
static uint64_t sent;

static void answer(struct evhttp_request *request, void *context)
{
    (void)context;
    asked++;
    assert_string_equal(evhttp_request_get_uri(request), "/status-json.xsl");
    evbuffer_add_printf(evhttp_request_get_output_buffer(request), "%s", page);
    evhttp_send_reply(request, page_status, "so", NULL);
}

static void on_polled(void *context, const char *name, const struct icecast_status *status,
                      uint64_t sent_bytes)
{
    assert_ptr_equal(context, &told);
    assert_string_equal(name, "rented");
    told++;
    last = *status;
    sent += sent_bytes;
}

static void until(const int *count, int more)
{
    int goal = *count + more;
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; *count < goal && net_now_ms() < end;)
        net_turn(base);
    assert_true(*count >= goal);
}

static void test_poll(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    struct evhttp *server = evhttp_new(base);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    assert_int_equal(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len), 0);
    evhttp_set_gencb(server, answer, NULL);
    char stream[80];
    snprintf(stream, sizeof stream, "http://127.0.0.1:%d/ours.mp3",
             ntohs(((const struct sockaddr_in *)&address)->sin_port));

    struct icecast_poll *poll = icecast_poll_new(&(struct icecast_poll_conf){
        .base = base, .interval_ms = 20, .kbps = 128, .polled = on_polled, .context = &told});
    struct net_addr here, there;
    net_addr_parse("127.0.0.1", 9, &here);
    net_addr_parse("192.0.2.1", 9, &there);
    char *cause = NULL;
    assert_int_equal(icecast_poll_set(poll, "rented", "nowhere", &cause), -1);
    free(cause);
    assert_int_equal(icecast_poll_set(poll, "rented", stream, NULL), 0);
    assert_false(icecast_poll_pulls(poll, &here, "Icecast 2.4.4")); /* it was not asked yet */
    int64_t began = net_now_ms();
    until(&told, 5);
    assert_int_equal(last.listeners, 7);
    /* an estimate: 7 listeners at 128 kbit/s since the first answer */
    double most = 7 * 16000.0 * (double)(net_now_ms() - began) / 1000;
    assert_true(sent >= (uint64_t)(7 * 16000 * 0.06) && (double)sent <= most);
    assert_true(icecast_poll_pulls(poll, &here, "Icecast 2.4.4"));
    assert_true(icecast_poll_pulls(poll, &here, "icecast-kh"));
    assert_false(icecast_poll_pulls(poll, &there, "Icecast 2.4.4"));
    assert_false(icecast_poll_pulls(poll, &here, "VLC/3.0"));
    assert_false(icecast_poll_pulls(poll, &here, NULL));

    /* without the mount, or with an error, it is silent; then it speaks again */
    page = "{\"icestats\":{}}";
    until(&asked, 2);
    int silent = told;
    until(&asked, 2);
    page = one;
    page_status = 404;
    until(&asked, 3);
    assert_true(told <= silent + 1);
    page_status = 200;
    until(&told, 2);

    /* dropped, in the middle of a question perhaps: nothing is told any more */
    until(&asked, 1);
    icecast_poll_drop(poll, "rented");
    icecast_poll_drop(poll, "nobody");
    silent = told;
    for (int64_t end = net_now_ms() + 60; net_now_ms() < end;)
        net_turn(base);
    assert_int_equal(told, silent);
    assert_false(icecast_poll_pulls(poll, &here, "Icecast 2.4.4"));
    assert_int_equal(icecast_poll_set(poll, "rented", stream, NULL), 0);
    until(&asked, 1);
    icecast_poll_free(poll);
    evhttp_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_poll),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
