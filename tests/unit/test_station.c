/* The stream as a first request gets it, who is let in, and what is written about it. */
#include "tests/unit/station_end.h"

static void test_stream(void **state)
{
    (void)state;
    start();
    for (int minor = 0; minor < 2; minor++) {
        struct net_bytes b;
        char request[256], line[64];
        snprintf(request, sizeof request, "GET /stream.mp3 HTTP/1.%d\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n",
                 minor);
        int fd = ask(request, "\r\n\r\n", &b);
        snprintf(line, sizeof line, "HTTP/1.%d 200 OK\r\n", minor);
        assert_memory_equal(b.data, line, strlen(line));
        size_t at = body_at(&b), burst = (size_t)(mp3_frame_offset(KBPS, 1000) - mp3_frame_offset(KBPS, 923));
        await_len(fd, &b, at + burst);
        b.data[at - 1] = '\0';
        assert_non_null(strstr(b.data, "Content-Type: audio/mpeg\r\n"));
        assert_non_null(strstr(b.data, "Cache-Control: no-store\r\n"));
        assert_non_null(strstr(b.data, "Connection: close\r\n"));
        assert_non_null(strstr(b.data, "Accept-Ranges: none\r\n"));
        assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
        assert_non_null(strstr(b.data, "X-Forever-Position: 923\r\n"));
        assert_non_null(strstr(b.data, "icy-br: 192\r\n"));
        assert_non_null(
            strstr(b.data, "icy-name: NightX-Evil: 1\r\n")); /* a line end does not make a header */
        assert_null(strstr(b.data, "icy-metaint"));
        assert_null(strstr(b.data, "icy-description"));
        assert_null(strstr(b.data, "Content-Length"));
        assert_null(strstr(b.data, "Transfer-Encoding"));
        size_t len;
        uint8_t *want = frames_make(KBPS, 923, 77, SEED, &len);
        assert_memory_equal(b.data + at, want, len);
        free(want);
        assert_int_equal(fanout_counts(fanout)->listening, 1);
        close(fd);
        free(b.data);
        for (int i = 0; i < 500 && fanout_counts(fanout)->listening; i++)
            net_turn(base);
    }
    assert_int_equal(station_peak(station), 1);
    assert_int_equal(http_server_connections(http), 0);
    stop();
}

static void test_head_is_the_same(void **state)
{
    (void)state;
    start();
    struct net_bytes get, head;
    int fd = ask("GET /stream.mp3 HTTP/1.1\r\nHost: x\r\nIcy-MetaData: 1\r\n\r\n", "\r\n\r\n", &get);
    close(fd);
    fd = ask("HEAD /stream.mp3 HTTP/1.1\r\nHost: x\r\nIcy-MetaData: 1\r\n\r\n", NULL, &head);
    close(fd);
    assert_int_equal(head.ended, 1);
    assert_int_equal(head.len, body_at(&head));
    /* but for the second of the date */
    const char *g = strstr(get.data, "Server:"), *h = strstr(head.data, "Server:");
    assert_non_null(strstr(h, "icy-metaint: 16000\r\n"));
    assert_memory_equal(g, h, strlen(h));
    assert_int_equal(probes, 1);
    assert_int_equal(asked, 2);
    assert_int_equal(fanout_counts(fanout)->opened, 1); /* a probe is no listener */
    free(get.data);
    free(head.data);
    stop();
}

static void test_from(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        uint64_t position;
    } cases[] = {{"?from=500", 500},
                 {"?x=1&from=990", 990},
                 {"?from=5000", 1000},
                 {"?from=", 923},
                 {"?from=-1", 923},
                 {"?from=12x", 923},
                 {"?from=99999999999999999999999", 923}};
    start();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_bytes b;
        char request[128], line[64];
        snprintf(request, sizeof request, "GET /stream.mp3%s HTTP/1.0\r\nUser-Agent: esp32\r\n\r\n",
                 cases[i].query);
        snprintf(line, sizeof line, "X-Forever-Position: %d\r\n", (int)cases[i].position);
        int fd = ask(request, "\r\n\r\n", &b);
        if (!strstr(b.data, line)) fail_msg("%s: %.*s", cases[i].query, (int)body_at(&b), b.data);
        if (cases[i].position < 1000) {
            size_t at = body_at(&b), len;
            await_len(fd, &b, at + 1000);
            uint8_t *want = frames_make(KBPS, cases[i].position, 2, SEED, &len);
            assert_memory_equal(b.data + at, want, 1000);
            free(want);
        }
        close(fd);
        free(b.data);
    }
    stop();
}

static void test_redirect(void **state)
{
    (void)state;
    start();
    verdict = STATION_REDIRECT;
    struct net_bytes b;
    close(ask("GET /stream.mp3?a=1&b=%20 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_int_equal(net_status(&b), 302);
    assert_non_null(strstr(b.data, "Location: http://other.example:8000/stream.mp3?a=1&b=%20&hop=1\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
    assert_non_null(strstr(b.data, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(b.data, "Content-Length: 0\r\n"));
    assert_int_equal(b.len, body_at(&b));
    free(b.data);
    close(ask("HEAD /stream.mp3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_non_null(strstr(b.data, "Location: http://other.example:8000/stream.mp3?hop=1\r\n"));
    free(b.data);
    verdict = STATION_FULL;
    close(ask("GET /stream.mp3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_int_equal(net_status(&b), 503);
    assert_non_null(strstr(b.data, "Retry-After: 10\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
    free(b.data);
    assert_int_equal(fanout_counts(fanout)->opened, 0);
    stop();
}

static void test_wait(void **state)
{
    (void)state;
    start();
    verdict = STATION_WAIT;
    /* served at the wake that brings music, not at one that brings none */
    struct net_bytes b = {0};
    int fd = net_connect(port, 0), other = net_connect(port, 0);
    net_send(fd, "GET /stream.mp3 HTTP/1.1\r\nHost: x\r\n\r\n");
    net_send(other, "GET /stream.mp3 HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200 && station_waiting(station) < 2; i++)
        net_turn(base);
    assert_int_equal(station_waiting(station), 2);
    station_wake(station);
    assert_int_equal(station_waiting(station), 2);
    close(other);
    for (int i = 0; i < 100 && station_waiting(station) > 1; i++)
        net_turn(base);
    assert_int_equal(station_waiting(station), 1); /* one gave up */
    verdict = STATION_SERVE;
    station_wake(station);
    assert_int_equal(station_waiting(station), 0);
    assert_true(net_until(base, fd, &b, "\r\n\r\n", NET_DEADLINE_MS));
    assert_int_equal(net_status(&b), 200);
    close(fd);
    free(b.data);
    /* the wait has an end */
    verdict = STATION_WAIT;
    int64_t begin = net_now_ms();
    close(ask("GET /stream.mp3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_int_equal(net_status(&b), 503);
    assert_non_null(strstr(b.data, "Retry-After: 10\r\n"));
    assert_in_range(net_now_ms() - begin, 180, NET_DEADLINE_MS);
    free(b.data);
    assert_int_equal(station_waiting(station), 0);
    /* and so has the station */
    fd = net_connect(port, 0);
    net_send(fd, "GET /stream.mp3 HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200 && station_waiting(station) < 1; i++)
        net_turn(base);
    stop();
    close(fd);
}

static void test_pages(void **state)
{
    (void)state;
    start();
    struct net_bytes b;
    close(ask("GET /stream.m3u HTTP/1.1\r\nHost: radio.example:8000\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_string_equal(b.data + body_at(&b),
                        "#EXTM3U\n#EXTINF:-1,Night  X-Evil: 1\nhttp://radio.example:8000/stream.mp3\n");
    assert_non_null(strstr(b.data, "Content-Type: audio/x-mpegurl\r\n"));
    free(b.data);
    close(ask("GET /stream.pls HTTP/1.1\r\nHost: r\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
              NULL, &b));
    assert_non_null(strstr(b.data, "\r\n\r\n[playlist]\nNumberOfEntries=1\nFile1=https://r/stream.mp3\n"));
    free(b.data);
    json_t *value = get_json("/status-json.xsl", 200);
    json_t *stats = json_object_get(value, "icestats"), *source = json_object_get(stats, "source");
    assert_string_equal(json_str_or(stats, "host", "", NULL), "radio.example");
    assert_string_equal(json_str_or(source, "listenurl", "", NULL), "http://radio.example:8000/stream.mp3");
    assert_string_equal(json_str_or(source, "title", "", NULL), "T");
    assert_string_equal(json_str_or(source, "artist", "", NULL), "A");
    assert_string_equal(json_str_or(source, "server_type", "", NULL), "audio/mpeg");
    assert_int_equal(json_int_or(source, "bitrate", 0, 0, 999, NULL), KBPS);
    assert_int_equal(json_int_or(source, "listeners", -1, 0, 999, NULL), 0);
    assert_true(json_is_null(json_object_get(source, "dummy")));
    assert_non_null(json_object_get(source, "stream_start_iso8601"));
    assert_non_null(json_object_get(stats, "server_start_iso8601"));
    json_decref(value);
    value = get_json("/health", 200);
    assert_string_equal(json_str_or(value, "status", "", NULL), "ok");
    json_decref(value);
    well = 0;
    value = get_json("/health", 503);
    assert_string_equal(json_str_or(value, "reason", "", NULL), "the studio is silent");
    json_decref(value);
    stop();
}

/* A further mount has pages of its own and stands beside the main one in what Icecast's clients read. */
static void test_further_mount(void **state)
{
    (void)state;
    start();
    struct station_conf low = conf;
    low.mount = "low";
    low.main = station;
    struct station *further = station_new(base, http, ring, fanout, &low);
    struct net_bytes b;
    close(ask("GET /low.m3u HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_non_null(strstr(b.data, "\nhttp://r/low.mp3\n"));
    free(b.data);
    int fd = ask("GET /low.mp3 HTTP/1.1\r\nHost: r\r\n\r\n", "\r\n\r\n", &b);
    assert_memory_equal(b.data, "HTTP/1.1 200 OK\r\n", 17);
    free(b.data);
    json_t *value = get_json("/status-json.xsl", 200);
    json_t *list = json_object_get(json_object_get(value, "icestats"), "source");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_str_or(json_array_get(list, 0), "listenurl", "", NULL),
                        "http://radio.example:8000/stream.mp3");
    assert_string_equal(json_str_or(json_array_get(list, 1), "listenurl", "", NULL),
                        "http://radio.example:8000/low.mp3");
    json_decref(value);
    close(fd);
    station_free(further);
    close(ask("GET /low.m3u HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n", NULL, &b));
    assert_memory_equal(b.data, "HTTP/1.1 404 ", 13);
    free(b.data);
    stop();
}

static void test_agents(void **state)
{
    (void)state;
    assert_true(station_agent_stays("ESP8266HTTPClient"));
    assert_true(station_agent_stays("ESP32HTTPClient"));
    assert_false(station_agent_stays("Mozilla/5.0"));
    assert_false(station_agent_stays("VLC/3.0.18 LibVLC/3.0.18"));
    assert_false(station_agent_stays(""));
    assert_false(station_agent_stays(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream), cmocka_unit_test(test_head_is_the_same),
        cmocka_unit_test(test_from),   cmocka_unit_test(test_redirect),
        cmocka_unit_test(test_wait),   cmocka_unit_test(test_pages),
        cmocka_unit_test(test_agents), cmocka_unit_test(test_further_mount),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
