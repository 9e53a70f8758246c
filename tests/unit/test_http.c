/* HTTP as it is read and answered. */
#include "tests/unit/http_stage.h"

#include "common/http_parse.h"

static void test_answers(void **state)
{
    (void)state;
    start(NULL);
    struct net_bytes b = {0};
    assert_int_equal(ask("GET /echo?a=b&from=%31+2&x HTTP/1.1\r\nHost: x\r\n\r\n", "hello", &b), 200);
    assert_string_equal(seen, "1 /echo ?a=b&from=%31+2&x v1 127.0.0.1");
    assert_non_null(strstr(b.data, "X-From: 1 2\r\n"));
    assert_non_null(strstr(b.data, "Content-Length: 5\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n"));
    assert_non_null(strstr(b.data, "Server: forever-test\r\n"));
    assert_non_null(strstr(b.data, "Date: "));
    assert_null(strstr(b.data, "Connection:"));
    free(b.data);
    b = (struct net_bytes){0};
    assert_int_equal(ask("GET /echo HTTP/1.0\r\n\r\n", NULL, &b), 200);
    assert_memory_equal(b.data, "HTTP/1.0 200", 12);
    assert_non_null(strstr(b.data, "Connection: close\r\n"));
    free(b.data);
    b = (struct net_bytes){0};
    assert_int_equal(ask("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "hello", &b), 200);
    assert_non_null(strstr(b.data, "Connection: keep-alive\r\n"));
    free(b.data);
    b = (struct net_bytes){0};
    assert_int_equal(ask("HEAD /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", NULL, &b), 200);
    assert_non_null(strstr(b.data, "Content-Length: 5\r\n"));
    assert_string_equal(b.data + b.len - 4, "\r\n\r\n");
    free(b.data);
    assert_int_equal(ask("GET http://a:1/echo HTTP/1.1\r\nHost: x\r\n\r\n", "hello", NULL), 200);
    b = (struct net_bytes){0};
    assert_int_equal(
        ask("POST /echo HTTP/1.1\r\nHost:\r\nContent-Length:3\r\nA: \r\nB:\t \r\n\r\nabc", "\r\n\r\nabc", &b),
        200);
    free(b.data);
    assert_int_equal(ask("\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "hello", NULL), 200);
    assert_int_equal(
        ask("GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "hello", NULL),
        200);
    assert_int_equal(ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "no answer", NULL), 500);
    assert_true(done_count > 0);
    stop();
}

static void test_routes(void **state)
{
    (void)state;
    start(NULL);
    struct net_bytes b = {0};
    assert_int_equal(ask("GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "error", NULL), 404);
    assert_int_equal(ask("GET /stati HTTP/1.1\r\nHost: x\r\n\r\n", "error", NULL), 404);
    assert_int_equal(ask("GET /static/a/b HTTP/1.1\r\nHost: x\r\n\r\n", "hello", NULL), 200);
    assert_int_equal(ask("PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "error", &b), 405);
    assert_non_null(strstr(b.data, "Allow: GET, HEAD, POST, OPTIONS\r\n"));
    free(b.data);
    b = (struct net_bytes){0};
    assert_int_equal(ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: y\r\n\r\n", "\r\n\r\n", &b), 204);
    assert_non_null(strstr(b.data, "Allow: GET, HEAD, POST, OPTIONS\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Headers: "));
    assert_null(strstr(b.data, "Content-Length"));
    free(b.data);
    b = (struct net_bytes){0};
    assert_int_equal(ask("OPTIONS /hold HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n", &b), 204);
    assert_null(strstr(b.data, "Access-Control"));
    free(b.data);
    assert_int_equal(ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n", NULL), 204);
    http_server_unroute(server, routes, NULL);
    assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "error", NULL), 404);
    stop();
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *request;
    } cases[] = {
        {400, "GET /echo HTTP/1.1\r\n\r\n"}, /* no Host */
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"},
        {400, "GET /echo HTTP/1.1\r\nHost: a\"b\r\n\r\n"},
        {400, "GET /echo HTTP/1.1\nHost: x\n\n"}, /* bare LF */
        {400, "GET /echo HTTP/1.1\r\nHost: x\n\r\n"},
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"}, /* bare CR */
        {400, "GET /echo HTTP/1.1\r\nHost : x\r\n\r\n"},
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc"},
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"}, /* folding */
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\nA\x01: b\r\n\r\n"},
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n"},
        {400, "GET /echo HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
              "chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: "
              "3\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxZZ0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n"},
        {400, "GET echo HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /a/../echo HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /a/%2e%2e/echo HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /%g1 HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /echo#f HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET * HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "\x16\x03\x01\x02"}, /* TLS on a plain port: answered before a header could end */
        {400, "GET /echo FOO/1.1\r\nHost: x\r\n\r\n"},
        {400, "\r\n\r\n\r\n\r\n\r\n\r\n"},
        {417, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 3\r\n\r\nabc"},
        {501, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        {501, "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n"},
        {501, "PATCH /echo HTTP/1.1\r\nHost: x\r\n\r\n"},
        {501, "FOO /echo HTTP/1.1\r\nHost: x\r\n\r\n"},
        {505, "GET /echo HTTP/1.2\r\nHost: x\r\n\r\n"},
        {505, "GET /echo HTTP/2.0\r\nHost: x\r\n\r\n"},
        {505, "GET /echo\r\n\r\n"},
    };
    start(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = expect_close(cases[i].request);
        if (status != cases[i].status) fail_msg("%d, not %d: %s", status, cases[i].status, cases[i].request);
    }
    for (int i = 0; i < 200 && http_server_connections(server); i++)
        net_turn(base);
    assert_int_equal(http_server_connections(server), 0);
    stop();
}

static void test_bodies(void **state)
{
    (void)state;
    start(NULL);
    struct net_bytes b = {0};
    assert_int_equal(ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
                         "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: 1\r\n\r\n",
                         "abcdefg", &b),
                     200);
    free(b.data);
    b = (struct net_bytes){0};
    int fd = net_connect(port, 0);
    net_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n");
    assert_true(net_until(base, fd, &b, "100 Continue\r\n\r\n", NET_DEADLINE_MS));
    net_send(fd, "123456");
    assert_true(net_until(base, fd, &b, "\r\n\r\n123456", NET_DEADLINE_MS));
    close(fd);
    free(b.data);
    stop();
}

static void test_pipeline(void **state)
{
    (void)state;
    start(NULL);
    struct net_bytes b = {0};
    ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\noneGET /none HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
        "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        NULL, &b);
    assert_int_equal(done_count, 4); /* what follows a close is not read */
    char *one = strstr(b.data, "\r\n\r\none"), *two = strstr(b.data, "404 "),
         *three = strstr(b.data, "\r\n\r\nthree");
    char *four = strstr(b.data, "\r\n\r\nhello");
    assert_true(one && two > one && three > two && four > three);
    assert_int_equal(b.ended, 1);
    free(b.data);
    /* byte by byte */
    const char *text = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    b = (struct net_bytes){0};
    int fd = net_connect(port, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (const char *c = text; *c; c++) {
        assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    assert_true(net_until(base, fd, &b, "\r\n\r\nabc", NET_DEADLINE_MS));
    close(fd);
    free(b.data);
    /* a client that closes its half after the request gets its answer */
    b = (struct net_bytes){0};
    fd = net_connect(port, 0);
    net_send(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR);
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_non_null(strstr(b.data, "hello"));
    close(fd);
    free(b.data);
    stop();
}

static void test_dual_stack(void **state)
{
    (void)state;
    char *cause = NULL;
    int other, third;
    start(NULL);
    assert_int_equal(http_server_listen(server, "", 0, &other, &cause), 0);
    int first = port;
    port = other;
    assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "hello", NULL), 200);
    assert_non_null(strstr(seen, "127.0.0.1")); /* not ::ffff:127.0.0.1 */
    port = first;
    assert_int_equal(http_server_listen(server, "127.0.0.1", first, &third, &cause), -1);
    assert_non_null(strstr(cause, "in use"));
    free(cause);
    http_server_stop(server);
    assert_int_equal(net_connect(first, 0), -1);
    stop();
}

static void test_query(void **state)
{
    (void)state;
    char out[8];
    assert_int_equal(http_query_decode("a%20b", 5, out, sizeof out), 0);
    assert_string_equal(out, "a b");
    assert_int_equal(http_query_decode("a%2", 3, out, sizeof out), -1);
    assert_int_equal(http_query_decode("%00", 3, out, sizeof out), -1);
    assert_int_equal(http_query_decode("12345678", 8, out, sizeof out), -1);
    assert_int_equal(http_query_decode("1234567", 7, out, sizeof out), 0);
    char path[] = "/a%C3%A4/b..c";
    assert_int_equal(http_path_decode(path), 0);
    assert_string_equal(path, "/a\xc3\xa4/b..c");
}

/* Broken requests of all kinds: an answer is always one of the known ones, and no byte is read twice or past
 * the end (the sanitizers watch). */
static void test_mutations(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "GET /echo?a=%41&b HTTP/1.1\r\nHost: x:1\r\nIcy-MetaData: 1\r\n\r\n",
        "POST http://h HTTP/1.1\r\nHost:h\r\nTransfer-Encoding:chunked\r\n\r\n3;q\r\nabc\r\n0\r\nT:\r\n\r\n",
        "POST /e HTTP/1.0\r\nContent-Length: 4\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\nabcd",
    };
    static const char spice[] = "\r\n\t :;%0aZ/?#\xff\x01\x7f";
    unsigned seed = (unsigned)net_now_ms(), read_ok = 0;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 30000; i++) {
        char text[512];
        size_t len = strlen(seeds[i % 3]), used = 0;
        memcpy(text, seeds[i % 3], len);
        for (int k = rand_r(&seed) % 3; k > 0; k--) {
            size_t at = (size_t)rand_r(&seed) % len;
            char c = spice[(size_t)rand_r(&seed) % (sizeof spice - 1)];
            if (rand_r(&seed) % 2) {
                text[at] = c;
            } else {
                memmove(text + at + 1, text + at, len++ - at);
                text[at] = c;
            }
        }
        struct http_scan scan = {0};
        if (http_scan(&scan, (unsigned char *)text, len) != HTTP_SCAN_END) continue;
        assert_true(scan.bytes <= len);
        struct http_parser *parser = http_parser_new(64);
        char *head = malloc(scan.bytes + 1);
        memcpy(head, text, scan.bytes);
        head[scan.bytes] = '\0';
        const char *why = NULL;
        int status = http_parser_head(parser, head, scan.bytes, &why);
        if (status) {
            assert_true(status == 400 || status == 413 || status == 417 || status == 501 || status == 505);
            assert_non_null(why);
        } else {
            const struct http_head *h = http_parser_get(parser);
            assert_true(h->field_count <= HTTP_FIELDS_MAX && h->target[0]);
            if (h->has_body && len > scan.bytes) {
                int result = http_parser_body(parser, text + scan.bytes, len - scan.bytes, &used, &why);
                assert_true(used <= len - scan.bytes);
                assert_true(result == 0 || result == 1 || result == -400 || result == -413);
            }
            read_ok++;
        }
        http_parser_free(parser);
    }
    assert_in_range(read_ok, 5000, 29000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_routes),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bodies),  cmocka_unit_test(test_pipeline),  cmocka_unit_test(test_dual_stack),
        cmocka_unit_test(test_query),   cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
