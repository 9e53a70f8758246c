#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "common/http.h"
#include "common/http_parse.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

#include <event2/buffer.h>

static struct http_server *server;
static int port;
static struct http_request *held;
static int cancelled, detached_fd = -1, done_count, done_status;
static unsigned most_at_once;
static char seen[512];

static void on_echo(void *context, struct http_request *r)
{
    (void)context;
    size_t len;
    const char *body = http_body(r, &len);
    char from[64];
    const char *value = http_query_get(r, "from", from, sizeof from);
    http_add_header(r, "X-From", value ? value : "none");
    snprintf(seen, sizeof seen, "%u %s ?%s v%d %s", http_method(r), http_path(r), http_query(r),
             http_minor(r), http_peer(r));
    http_reply(r, 200, "text/plain", len ? body : "hello", len ? len : 5);
}

static void on_cancelled(void *context)
{
    (void)context;
    held = NULL;
    cancelled++;
}

static void on_hold(void *context, struct http_request *r)
{
    (void)context;
    held = r;
    http_defer(r, on_cancelled, NULL);
}

static void on_detach(void *context, struct http_request *r)
{
    (void)context;
    if (detached_fd >= 0) close(detached_fd);
    unsigned now = http_server_connections(http_request_server(r));
    if (now > most_at_once) most_at_once = now;
    detached_fd = http_detach(r);
}

static void on_nothing(void *context, struct http_request *r)
{
    (void)context;
    (void)r;
}

static void on_big(void *context, struct http_request *r)
{
    (void)context;
    struct evbuffer *b = evbuffer_new();
    static const char block[65536];
    for (int i = 0; i < 128; i++)
        evbuffer_add(b, block, sizeof block);
    http_reply_buffer(r, 200, "application/octet-stream", b);
    evbuffer_free(b);
}

static int upload_chunked, upload_expects;
static uint64_t upload_length;
static char upload_input[64];

static void on_upload(void *context, struct http_request *r)
{
    (void)context;
    size_t len;
    if (http_header(r, "X-Refuse")) {
        http_reply_error(r, 403, "not now");
        return;
    }
    http_body_framing(r, &upload_chunked, &upload_length);
    upload_expects = http_expects_continue(r);
    assert_false(http_is_tls(r));
    char *bytes = http_take_input(r, &len);
    snprintf(upload_input, sizeof upload_input, "%.*s", (int)len, bytes ? bytes : "");
    free(bytes);
    detached_fd = http_detach(r);
}

static const struct http_route routes[] = {
    {HTTP_PUT | HTTP_SOURCE | HTTP_UPLOAD, "/upload", on_upload, 0, "upload"},
    {HTTP_GET | HTTP_POST, "/echo", on_echo, 1, "echo"},
    {HTTP_GET, "/static/*", on_echo, 0, "files"},
    {HTTP_GET, "/static/exact", on_hold, 0, "held"},
    {HTTP_GET, "/hold", on_hold, 0, "held"},
    {HTTP_GET, "/detach", on_detach, 0, "detach"},
    {HTTP_GET, "/nothing", on_nothing, 0, "a broken handler"},
    {HTTP_GET, "/big", on_big, 0, "8 MiB"},
};

static void on_done(void *context, const char *route, int status)
{
    (void)context;
    (void)route;
    done_count++;
    done_status = status;
}

static void start(const struct http_limits *limits)
{
    char *cause = NULL;
    server = http_server_new(base, limits, "forever-test");
    http_server_routes(server, routes, sizeof routes / sizeof *routes, NULL);
    http_server_on_done(server, on_done, NULL);
    assert_int_equal(http_server_listen(server, "127.0.0.1", 0, &port, &cause), 0);
    held = NULL;
    cancelled = done_count = done_status = 0;
}

static void stop(void)
{
    http_server_free(server);
    server = NULL;
}

/* Sends the request, returns the status of the answer (0: none); *out keeps all bytes until the end when
 * the server closes, or until `expect` came. */
static int ask(const char *request, const char *expect, struct net_bytes *out)
{
    struct net_bytes local = {0}, *b = out ? out : &local;
    int fd = net_connect(port, 0);
    assert_true(fd >= 0);
    net_send(fd, request);
    net_until(base, fd, b, expect, NET_DEADLINE_MS);
    int status = net_status(b);
    close(fd);
    if (!out) free(local.data);
    return status;
}

static int expect_close(const char *request)
{
    struct net_bytes b = {0};
    int status = ask(request, NULL, &b);
    assert_int_equal(b.ended, 1); /* an orderly end, so that the answer is not lost */
    if (status) assert_non_null(strstr(b.data, "Connection: close"));
    free(b.data);
    return status;
}

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

static void test_limits(void **state)
{
    (void)state;
    struct http_limits limits = {.header_bytes = 1024, .body_bytes = 100};
    start(&limits);
    char text[8192], *at;
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    text[2000] = '\0';
    assert_int_equal(expect_close(text), 414);
    at = text + sprintf(text, "GET /echo HTTP/1.1\r\nHost: x\r\nX: ");
    memset(at, 'b', 1200);
    strcpy(at + 1200, "\r\n\r\n");
    assert_int_equal(expect_close(text), 431);
    /* exactly the limit is served, one byte more is not */
    int fixed = sprintf(text, "GET /echo HTTP/1.1\r\nHost: x\r\nX: ");
    size_t pad = 1024 - (size_t)fixed - 4;
    memset(text + fixed, 'b', pad);
    strcpy(text + fixed + pad, "\r\n\r\n");
    assert_int_equal(ask(text, "hello", NULL), 200);
    memset(text + fixed, 'b', pad + 1);
    strcpy(text + fixed + pad + 1, "\r\n\r\n");
    assert_int_equal(expect_close(text), 431);
    at = text + sprintf(text, "GET /echo HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < HTTP_FIELDS_MAX; i++)
        at += sprintf(at, "a:b\r\n");
    strcpy(at, "\r\n");
    assert_int_equal(expect_close(text), 431);
    /* bodies: by length before it comes, by chunks as they come */
    assert_int_equal(expect_close("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n"), 413);
    at = text + sprintf(text, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n");
    memset(at, 'c', 101);
    strcpy(at + 101, "\r\n0\r\n\r\n");
    assert_int_equal(expect_close(text), 413);
    at = text + sprintf(text, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
    memset(at, 'd', 100);
    at[100] = '\0';
    assert_int_equal(ask(text, "dddd", NULL), 200);
    /* endless trailers */
    at = text + sprintf(text, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    while (at < text + sizeof text - 16)
        at += sprintf(at, "a: bcdefgh\r\n");
    assert_int_equal(expect_close(text), 413);
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

/* Bytes that keep coming do not move a deadline. */
static void slow(const char *start_text, const char *drip, int expected)
{
    struct net_bytes b = {0};
    int fd = net_connect(port, 0), status = 0;
    int64_t begin = net_now_ms();
    net_send(fd, start_text);
    while (net_now_ms() < begin + NET_DEADLINE_MS && !b.ended && !b.len) {
        send(fd, drip, 1, MSG_NOSIGNAL);
        net_turn(base);
        net_take(fd, &b, SIZE_MAX);
    }
    int64_t took = net_now_ms() - begin;
    if (b.data) sscanf(b.data, "HTTP/1.1 %d", &status);
    assert_int_equal(status, expected);
    assert_in_range(took, 90, NET_DEADLINE_MS);
    close(fd);
    free(b.data);
}

static void test_deadlines(void **state)
{
    (void)state;
    struct http_limits limits = {.header_ms = 100, .body_ms = 100, .idle_ms = 100};
    start(&limits);
    slow("GET /echo HTTP/1.1\r\nX: ", "y", 408);
    slow("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", "y", 408);
    /* an idle connection is closed without a word, before and after a request */
    struct net_bytes b = {0};
    int fd = net_connect(port, 0);
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_int_equal(b.len, 0);
    close(fd);
    fd = net_connect(port, 0);
    b = (struct net_bytes){0};
    net_send(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS));
    assert_non_null(strstr(b.data, "hello"));
    assert_null(strstr(b.data, "408"));
    close(fd);
    free(b.data);
    stop();
}

static void test_slow_reader(void **state)
{
    (void)state;
    struct http_limits limits = {.idle_ms = 50};
    start(&limits);
    int fd = net_connect(port, 4096);
    net_send(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    int64_t end = net_now_ms() + 300;
    while (net_now_ms() < end)
        net_turn(base);
    assert_int_equal(http_server_connections(server), 1); /* 8 MiB at the lowest rate take long */
    close(fd);
    end = net_now_ms() + NET_DEADLINE_MS;
    while (http_server_connections(server) && net_now_ms() < end)
        net_turn(base);
    assert_int_equal(http_server_connections(server), 0);
    stop();
}

static void test_defer(void **state)
{
    (void)state;
    start(NULL);
    struct net_bytes b = {0};
    int fd = net_connect(port, 0);
    net_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200 && !held; i++)
        net_turn(base);
    assert_non_null(held);
    http_reply_text(held, 200, "late %d", 1);
    assert_true(net_until(base, fd, &b, "hello", NET_DEADLINE_MS));
    assert_true(strstr(b.data, "late 1") < strstr(b.data, "hello"));
    close(fd);
    free(b.data);
    held = NULL;
    fd = net_connect(port, 0);
    net_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200 && !held; i++)
        net_turn(base);
    close(fd);
    for (int i = 0; i < 200 && !cancelled; i++)
        net_turn(base);
    assert_int_equal(cancelled, 1);
    /* the end of the server cancels too */
    fd = net_connect(port, 0);
    net_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200 && !held; i++)
        net_turn(base);
    stop();
    assert_int_equal(cancelled, 2);
    close(fd);
}

/* A body that is the handler's own: however long, however framed, with what came along with the header. */
static void test_upload(void **state)
{
    (void)state;
    static const struct {
        const char *request, *input;
        int chunked, expects;
        uint64_t length;
    } cases[] = {
        {"SOURCE /upload ICE/1.0\r\n\r\nbytes", "bytes", 0, 0, 0},
        {"SOURCE /upload HTTP/1.0\r\nContent-Type: audio/mpeg\r\n\r\n", "", 0, 0, 0},
        {"PUT /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "", 0, 1, 0},
        {"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nab", "ab", 0, 0, 99999999999},
        {"PUT /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", "2\r\nab", 1, 0, 0},
    };
    start(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_bytes b = {0};
        int fd = net_connect(port, 0);
        net_send(fd, cases[i].request);
        for (int k = 0; k < 500 && detached_fd < 0; k++)
            net_turn(base);
        assert_true(detached_fd >= 0);
        assert_string_equal(upload_input, cases[i].input);
        assert_int_equal(upload_chunked, cases[i].chunked);
        assert_int_equal(upload_expects, cases[i].expects);
        assert_int_equal(upload_length, cases[i].length);
        assert_int_equal(send(detached_fd, "bare", 4, MSG_NOSIGNAL), 4);
        assert_true(net_until(base, fd, &b, "bare", NET_DEADLINE_MS));
        assert_string_equal(b.data, "bare"); /* not even an interim answer */
        close(detached_fd);
        close(fd);
        free(b.data);
        detached_fd = -1;
    }
    /* refused: what follows is thrown away, and the answer still arrives */
    assert_int_equal(expect_close("PUT /upload HTTP/1.1\r\nHost: x\r\nX-Refuse: 1\r\n\r\nmore and more"),
                     403);
    assert_int_equal(expect_close("SOURCE /upload ICE/1.0\r\nX-Refuse: 1\r\n\r\nmore"), 403);
    /* elsewhere a body is bounded, and the method not known */
    assert_int_equal(expect_close("PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"), 413);
    assert_int_equal(expect_close("SOURCE /echo ICE/1.0\r\n\r\n"), 405);
    stop();
}

static void test_detach(void **state)
{
    (void)state;
    start(NULL);
    for (int round = 0; round < 2; round++) { /* from the handler, and later */
        struct net_bytes b = {0};
        int fd = net_connect(port, 0);
        net_send(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
        net_send(fd, round ? "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nmore"
                           : "GET /detach HTTP/1.1\r\nHost: x\r\n\r\nmore");
        for (int i = 0; i < 500 && detached_fd < 0 && !held; i++)
            net_turn(base);
        if (held) detached_fd = http_detach(held);
        assert_true(detached_fd >= 0);
        assert_int_equal(http_server_connections(server), 0);
        assert_int_equal(send(detached_fd, "bare", 4, MSG_NOSIGNAL), 4);
        assert_true(net_until(base, fd, &b, "bare", NET_DEADLINE_MS));
        assert_string_equal(strstr(b.data, "hello"), "hellobare"); /* nothing between */
        close(detached_fd);
        close(fd);
        free(b.data);
        detached_fd = -1;
        held = NULL;
    }
    stop();
}

static void test_connection_limit(void **state)
{
    (void)state;
    struct http_limits limits = {.connections = 2};
    start(&limits);
    int a = net_connect(port, 0), b = net_connect(port, 0);
    for (int i = 0; i < 200 && http_server_connections(server) < 2; i++)
        net_turn(base);
    struct net_bytes bytes = {0};
    assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", NULL, &bytes), 503);
    assert_non_null(strstr(bytes.data, "Retry-After: 5\r\n"));
    free(bytes.data);
    close(a);
    for (int i = 0; i < 200 && http_server_connections(server) > 1; i++)
        net_turn(base);
    assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "hello", NULL), 200);
    close(b);
    stop();
}

static void test_descriptors_run_out(void **state)
{
    (void)state;
    start(NULL);
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    int fd = net_connect(port, 0);
    low = old;
    low.rlim_cur = (rlim_t)fd + 1; /* the next descriptor is over it */
    setrlimit(RLIMIT_NOFILE, &low);
    struct net_bytes b = {0};
    int64_t begin = net_now_ms();
    assert_true(net_until(base, fd, &b, NULL, NET_DEADLINE_MS)); /* taken in and closed, not left hanging */
    assert_true(net_now_ms() - begin < 5000); /* by itself, not for a deadline of ten seconds */
    assert_int_equal(net_status(&b), 503);    /* and told */
    free(b.data);
    setrlimit(RLIMIT_NOFILE, &old);
    close(fd);
    assert_int_equal(ask("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", "hello", NULL), 200);
    stop();
}

/* Hundreds at once: most wait in the kernel's queue while those taken in are served. */
static void test_storm(void **state)
{
    (void)state;
    enum { N = 300 };
    start(NULL);
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = net_connect(port, 0);
        net_send(fds[i], "GET /detach HTTP/1.0\r\n\r\n");
    }
    most_at_once = 0;
    int64_t end = net_now_ms() + NET_DEADLINE_MS;
    while (done_count < N && net_now_ms() < end) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (detached_fd >= 0) close(detached_fd);
        detached_fd = -1;
    }
    assert_int_equal(done_count, N);
    assert_in_range(most_at_once, 1, 100);
    for (int i = 0; i < N; i++)
        close(fds[i]);
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
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_defer),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_detach),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_descriptors_run_out),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_dual_stack),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
