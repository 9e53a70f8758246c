/* http_stage: an HTTP server with handlers that do what handlers may. */
#ifndef FOREVER_TESTS_UNIT_HTTP_STAGE_H
#define FOREVER_TESTS_UNIT_HTTP_STAGE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

#include "common/http.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

static struct http_server *server;
static int port;
static struct http_request *held;
static int cancelled, detached_fd = -1, done_count, done_status;
static unsigned most_at_once;
static char seen[512];

static inline void on_echo(void *context, struct http_request *r)
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

static inline void on_cancelled(void *context)
{
    (void)context;
    held = NULL;
    cancelled++;
}

static inline void on_hold(void *context, struct http_request *r)
{
    (void)context;
    held = r;
    http_defer(r, on_cancelled, NULL);
}

static inline void on_detach(void *context, struct http_request *r)
{
    (void)context;
    if (detached_fd >= 0) close(detached_fd);
    unsigned now = http_server_connections(http_request_server(r));
    if (now > most_at_once) most_at_once = now;
    detached_fd = http_detach(r);
}

static inline void on_nothing(void *context, struct http_request *r)
{
    (void)context;
    (void)r;
}

static inline void on_big(void *context, struct http_request *r)
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

static inline void on_upload(void *context, struct http_request *r)
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

static inline void on_done(void *context, const char *route, int status)
{
    (void)context;
    (void)route;
    done_count++;
    done_status = status;
}

static inline void start(const struct http_limits *limits)
{
    char *cause = NULL;
    server = http_server_new(base, limits, "forever-test");
    http_server_routes(server, routes, sizeof routes / sizeof *routes, NULL);
    http_server_on_done(server, on_done, NULL);
    assert_int_equal(http_server_listen(server, "127.0.0.1", 0, &port, &cause), 0);
    held = NULL;
    cancelled = done_count = done_status = 0;
}

static inline void stop(void)
{
    http_server_free(server);
    server = NULL;
}

/* Sends the request, returns the status of the answer (0: none); *out keeps all bytes until the end when
 * the server closes, or until `expect` came. */
static inline int ask(const char *request, const char *expect, struct net_bytes *out)
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

static inline int expect_close(const char *request)
{
    struct net_bytes b = {0};
    int status = ask(request, NULL, &b);
    assert_int_equal(b.ended, 1); /* an orderly end, so that the answer is not lost */
    if (status) assert_non_null(strstr(b.data, "Connection: close"));
    free(b.data);
    return status;
}

#endif
