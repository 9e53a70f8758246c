/* What a handler may do with a request: answer later, take the body or the connection. */
#include "tests/unit/http_stage.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defer),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_detach),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
