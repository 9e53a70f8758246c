/* Who asks, and who is served when room runs short: the HTTP server's ear. */
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/http.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

static struct http_server *server;
static struct net_prefix near[2];
static const struct net_list trusted = {near, 2};
static int port;
static char seen[128], logged[256];
static struct http_request *held;

static void on_who(void *context, struct http_request *r)
{
    (void)context;
    snprintf(seen, sizeof seen, "%s %s %s", http_peer(r), http_peer_is_loopback(r) ? "here" : "there",
             http_secure(r) ? "secure" : "plain");
    http_reply_text(r, 200, "%s", seen);
}

static void on_gone(void *context)
{
    (void)context;
    held = NULL;
}

static void on_hold(void *context, struct http_request *r)
{
    (void)context;
    held = r;
    http_defer(r, on_gone, NULL);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/who", on_who, 1, "who asks"},
    {HTTP_GET | HTTP_RESERVED, "/admin", on_who, 0, "the same, for the operator"},
    {HTTP_GET, "/hold", on_hold, 0, "held"},
};

static void on_answer(void *context, const struct access_line *line)
{
    (void)context;
    char peer[NET_TEXT_MAX];
    snprintf(logged, sizeof logged, "%s %s %s?%s %d %llu %s %s", net_addr_text(&line->peer, peer),
             line->method ? line->method : "-", line->target ? line->target : "-",
             line->query ? line->query : "-", line->status, (unsigned long long)line->bytes,
             line->agent ? line->agent : "-", line->referer ? line->referer : "-");
}

static void start(const struct http_limits *limits, int trust)
{
    net_prefix_parse("127.0.0.0/8", &near[0], NULL);
    net_prefix_parse("10.0.0.0/8", &near[1], NULL);
    server = http_server_new(base, limits, "forever-test");
    http_server_routes(server, routes, sizeof routes / sizeof *routes, NULL);
    http_server_on_answer(server, on_answer, NULL);
    if (trust) http_server_trust(server, &trusted);
    assert_int_equal(http_server_listen(server, "127.0.0.1", 0, &port, NULL), 0);
    *seen = *logged = '\0';
}

static void stop(void)
{
    http_server_free(server);
}

/* len bytes with a turn of the loop after each piece of them; the status of the answer, 0 when it was closed.
 */
static int ask_bytes(const char *bytes, size_t len, size_t piece)
{
    struct net_bytes b = {0};
    int fd = net_connect(port, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t at = 0; at < len; at += piece) {
        size_t n = piece < len - at ? piece : len - at;
        if (send(fd, bytes + at, n, MSG_NOSIGNAL) <= 0) break;
        net_turn(base);
        net_take(fd, &b, SIZE_MAX);
    }
    net_until(base, fd, &b, "\r\n\r\n", NET_DEADLINE_MS);
    int status = net_status(&b);
    close(fd);
    free(b.data);
    return status;
}

static int ask(const char *text)
{
    return ask_bytes(text, strlen(text), strlen(text));
}

#define WHO "GET /who HTTP/1.1\r\nHost: x\r\n"

static void test_forwarded(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *seen;
    } cases[] = {
        {"", "127.0.0.1 here plain"},
        {"X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7 there plain"},
        {"X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.3.3.3\r\nX-Forwarded-Proto: https\r\n",
         "203.0.113.7 there secure"},
        {"X-Forwarded-For: 1.1.1.1, 203.0.113.7\r\nX-Forwarded-For: 10.3.3.3\r\n", "203.0.113.7 there plain"},
        {"X-Forwarded-For: 1.1.1.1, bad\r\nX-Forwarded-For: 10.3.3.3\r\n", "10.3.3.3 there plain"},
        {"X-Forwarded-For: 127.0.0.1\r\n", "127.0.0.1 there plain"}, /* through a proxy is not from here */
        {"X-Forwarded-For: bad\r\nX-Forwarded-Proto: http\r\n", "127.0.0.1 there plain"},
    };
    start(NULL, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, WHO "%s\r\n", cases[i].fields);
        assert_int_equal(ask(text), 200);
        assert_string_equal(seen, cases[i].seen);
    }
    stop();
    start(NULL, 0); /* nobody is trusted: it is what it is */
    assert_int_equal(ask(WHO "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n"), 200);
    assert_string_equal(seen, "127.0.0.1 here plain");
    assert_int_equal(ask("PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n" WHO "\r\n"), 501); /* no such method */
    stop();
}

/* The PROXY header of a trusted peer, in one piece and byte by byte; what is behind it stays whole. */
static void test_proxy_header(void **state)
{
    (void)state;
    static const char one[] = "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n" WHO "\r\n";
    static const char two[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x08\x0a\0\0\1\xdc\4\1\xbb" WHO "\r\n";
    static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" WHO "\r\n";
    start(NULL, 1);
    for (size_t piece = 1; piece <= 1000; piece += 999) {
        assert_int_equal(ask_bytes(one, sizeof one - 1, piece), 200);
        assert_string_equal(seen, "203.0.113.7 there plain");
        assert_int_equal(ask_bytes(two, sizeof two - 1, piece), 200);
        assert_string_equal(seen, "203.0.113.8 there plain");
        assert_int_equal(ask_bytes(local, sizeof local - 1, piece), 200);
        assert_string_equal(seen, "127.0.0.1 here plain");
        assert_int_equal(ask_bytes(WHO "\r\n", strlen(WHO "\r\n"), piece), 200);
        assert_int_equal(ask_bytes("PUT /who HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 49, piece),
                         405);
    }
    assert_int_equal(http_server_counts(server)->proxy_headers, 6);
    /* who is spoken for is no proxy, and can't speak for others */
    assert_int_equal(ask("PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n" WHO "X-Forwarded-For: 1.1.1.1\r\n\r\n"),
                     200);
    assert_string_equal(seen, "203.0.113.7 there plain");
    assert_int_equal(ask("PROXY TCP4 10.9.9.9 10.0.0.1 1 2\r\n" WHO "X-Forwarded-For: 1.1.1.1\r\n\r\n"), 200);
    assert_string_equal(seen, "1.1.1.1 there plain");
    stop();
}

static void test_broken_proxy_header(void **state)
{
    (void)state;
    const struct http_limits limits = {.header_ms = 60};
    start(&limits, 1);
    assert_int_equal(ask("PROXY TCP4 nonsense\r\n" WHO "\r\n"), 0);
    assert_int_equal(http_server_counts(server)->proxy_broken, 1);
    int fd = net_connect(port, 0); /* ends in the middle: closed at once, not spun on */
    struct net_bytes b = {0};
    net_send(fd, "PROXY TC");
    net_turn(base);
    shutdown(fd, SHUT_WR);
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(http_server_counts(server)->proxy_broken, 2);
    close(fd);
    fd = net_connect(port, 0); /* never ends: the header's deadline */
    net_send(fd, "PROXY TC");
    b.ended = 0;
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    close(fd);
    fd = net_connect(port, 0); /* says nothing */
    b.ended = 0;
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    close(fd);
    assert_int_equal(http_server_connections(server), 0);
    free(b.data);
    stop();
}

/* When connections run out, the operator still is let in; others are told. */
static void test_reserved(void **state)
{
    (void)state;
    const struct http_limits limits = {.connections = 1};
    start(&limits, 0);
    int fd = net_connect(port, 0);
    net_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && !held; i++)
        net_turn(base);
    assert_non_null(held);
    struct net_bytes b = {0};
    int second = net_connect(port, 0);
    net_send(second, "GET /who HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(net_until(base, second, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(net_status(&b), 503);
    assert_non_null(strstr(b.data, "Retry-After: 5\r\n"));
    assert_non_null(strstr(b.data, "Access-Control-Allow-Origin: *\r\n")); /* a page may read why */
    free(b.data);
    close(second);
    assert_int_equal(ask("GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_int_equal(ask("GET /none HTTP/1.1\r\nHost: x\r\n\r\n"), 503);
    assert_int_equal(http_server_counts(server)->over_connections, 3);
    close(fd);
    for (int i = 0; i < 1000 && held; i++)
        net_turn(base);
    assert_int_equal(ask(WHO "\r\n"), 200);
    stop();
    const struct http_limits scarce = {.descriptors = 3}; /* all that come have a higher one */
    start(&scarce, 0);
    assert_int_equal(ask(WHO "\r\n"), 503);
    assert_int_equal(ask("GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_int_equal(http_server_counts(server)->over_descriptors, 2);
    stop();
}

/* Far beyond the limit, nobody is heard: a word and a close, of which the client gets to know. */
static void test_shed(void **state)
{
    (void)state;
    enum { N = 40 };
    const struct http_limits limits = {.connections = 1};
    start(&limits, 0);
    int fds[N], told = 0;
    for (int i = 0; i < N; i++)
        fds[i] = net_connect(port, 0);
    for (int i = 0; i < 50; i++)
        net_turn(base);
    for (int i = 0; i < N; i++) {
        struct net_bytes b = {0};
        net_take(fds[i], &b, SIZE_MAX);
        if (b.ended) {
            assert_int_equal(b.ended, 1);
            assert_int_equal(net_status(&b), 503);
            told++;
        }
        free(b.data);
        close(fds[i]);
    }
    assert_int_equal(told, N - 1 - 16);
    assert_int_equal(http_server_counts(server)->shed, told);
    stop();
}

static void test_logged(void **state)
{
    (void)state;
    start(NULL, 1);
    assert_int_equal(ask("GET http://h/who?a=%20b HTTP/1.1\r\nHost: x\r\nUser-Agent: U/1\r\nReferer: R\r\n"
                         "X-Forwarded-For: 203.0.113.7\r\n\r\n"),
                     200);
    assert_string_equal(logged, "203.0.113.7 GET /who?a=%20b 200 23 U/1 R");
    assert_int_equal(ask("HEAD /who HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_string_equal(logged, "127.0.0.1 HEAD /who? 200 0 - -");
    assert_int_equal(ask("GET /none HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_memory_equal(logged, "127.0.0.1 GET /none? 404 ", 25);
    assert_int_equal(ask("nonsense\r\n\r\n"), 400);
    assert_memory_equal(logged, "127.0.0.1 - -?- 400 ", 20);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_proxy_header),
        cmocka_unit_test(test_broken_proxy_header),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_shed),
        cmocka_unit_test(test_logged),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
