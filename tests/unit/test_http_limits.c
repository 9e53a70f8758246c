/* HTTP under load: what is too long, too slow or too many. */
#include "tests/unit/http_stage.h"

#include <sys/resource.h>

#include "common/http_parse.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_descriptors_run_out),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
