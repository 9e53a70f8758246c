/* fetch against a server of a few lines on loopback that plays a script for each path. */
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <cmocka.h>

#include "common/fetch.h"
#include "common/mem.h"

static struct event_base *base;
static struct fetch_client *client;
static struct evconnlistener *listener;
static char root[64], last_request[8192];
static unsigned accepted;

static void answer(struct bufferevent *bev, const char *head, const char *body)
{
    struct evbuffer *out = bufferevent_get_output(bev);
    evbuffer_add_printf(out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
}

static void serve(struct bufferevent *bev, const char *path)
{
    struct evbuffer *out = bufferevent_get_output(bev);
    if (!strcmp(path, "/hello")) {
        answer(bev, "200 OK", "hello");
    } else if (!strcmp(path, "/interim")) {
        evbuffer_add_printf(out, "HTTP/1.1 103 Early Hints\r\n\r\n");
        answer(bev, "200 OK", "late");
    } else if (!strcmp(path, "/forbidden")) {
        answer(bev, "403 Forbidden", "who are you");
    } else if (!strcmp(path, "/away")) {
        answer(bev, "302 Found\r\nLocation: /hello", "");
    } else if (!strcmp(path, "/large")) {
        char *body = xcalloc(1, 100001);
        memset(body, 'x', 100000);
        answer(bev, "200 OK", body);
        free(body);
    } else if (!strcmp(path, "/silent")) {
        evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\n\r\nsome");
    } else if (!strcmp(path, "/cut")) {
        evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    }
    /* "/nothing" never answers */
}

static void on_input(struct bufferevent *bev, void *context)
{
    (void)context;
    struct evbuffer *in = bufferevent_get_input(bev);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0) return;
    size_t head = (size_t)end.pos + 4;
    char *text = xcalloc(1, head + 1);
    evbuffer_copyout(in, text, head);
    const char *length = strstr(text, "Content-Length: ");
    size_t body = length ? (size_t)strtoul(length + 16, NULL, 10) : 0;
    if (evbuffer_get_length(in) >= head + body) {
        evbuffer_drain(in, head);
        memcpy(last_request, text, head + 1);
        evbuffer_remove(in, last_request + head, body);
        last_request[head + body] = '\0';
        char *path = strchr(text, ' ') + 1;
        path[strcspn(path, " ")] = '\0';
        serve(bev, path);
    }
    free(text);
}

static void on_gone(struct bufferevent *bev, short what, void *context)
{
    (void)what, (void)context;
    bufferevent_free(bev);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *context)
{
    (void)l, (void)sa, (void)len, (void)context;
    struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    accepted++;
    bufferevent_setcb(bev, on_input, NULL, on_gone, NULL);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static int start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* the server writes to clients that went */
    base = event_base_new();
    client = fetch_client_new(base);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 16,
                                       (struct sockaddr *)&at, sizeof at);
    socklen_t len = sizeof at;
    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&at, &len);
    snprintf(root, sizeof root, "http://127.0.0.1:%d", ntohs(at.sin_port));
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* loopback must not go there */
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fetch_client_free(client);
    evconnlistener_free(listener);
    event_base_free(base);
    return 0;
}

struct result {
    int ends, status, statuses, stop_at_status, stop_at_bytes, cancel_at_bytes, start_another;
    char error[256], body[256];
    size_t len, streamed;
    struct fetch *fetch;
    struct result *another;
};

static struct fetch *begin(struct result *r, const char *path, struct fetch_conf conf);

static int on_status(void *context, int status)
{
    struct result *r = context;
    r->statuses++;
    r->status = status;
    return r->stop_at_status ? -1 : 0;
}

static int on_bytes(void *context, const void *bytes, size_t len)
{
    struct result *r = context;
    (void)bytes;
    r->streamed += len;
    if (r->cancel_at_bytes) fetch_cancel(r->fetch);
    if (r->start_another) {
        r->start_another = 0;
        begin(r->another, "/hello", (struct fetch_conf){.total_ms = 2000, .max_bytes = 100});
    }
    return r->stop_at_bytes ? -1 : 0;
}

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    struct result *r = context;
    r->ends++;
    r->status = status;
    r->len = len;
    snprintf(r->error, sizeof r->error, "%s", error ? error : "");
    snprintf(r->body, sizeof r->body, "%.*s", (int)(len < 200 ? len : 200), (const char *)body);
}

static struct fetch *begin(struct result *r, const char *path, struct fetch_conf conf)
{
    char url[128], *cause = NULL;
    snprintf(url, sizeof url, "%s%s", root, path);
    conf.url = url;
    conf.on_status = on_status;
    conf.on_end = on_end;
    conf.context = r;
    r->fetch = fetch_start(client, &conf, &cause);
    assert_non_null(r->fetch);
    memset(url, 'x', sizeof url); /* nothing of the configuration is kept by reference */
    return r->fetch;
}

static void on_limit(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    *(int *)context = 1;
}

/* Runs the loop until *flag, at most 3 s. */
static void run_until(const int *flag)
{
    int over = 0;
    struct event *limit = evtimer_new(base, on_limit, &over);
    struct timeval after = {3, 0};
    event_add(limit, &after);
    while (!*flag && !over)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(limit);
    assert_true(*flag);
}

static void an_answer_is_collected(void **state)
{
    (void)state;
    struct result r = {0};
    unsigned before = accepted;
    uint64_t in = fetch_bytes_in(client), out = fetch_bytes_out(client);
    for (int i = 1; i <= 3; i++) {
        r = (struct result){0};
        begin(&r, "/hello", (struct fetch_conf){.total_ms = 2000, .max_bytes = 5, .bearer = "secret"});
        run_until(&r.ends);
        assert_true(r.ends == 1 && r.status == 200 && r.statuses == 1 && r.len == 5 && !*r.error);
        assert_string_equal(r.body, "hello");
    }
    assert_int_equal(accepted, before + 1); /* one connection, kept */
    assert_non_null(strstr(last_request, "\r\nAuthorization: Bearer secret\r\n"));
    assert_non_null(strstr(last_request, "\r\nUser-Agent: forever/" FOREVER_VERSION "\r\n"));
    assert_true(fetch_bytes_in(client) > in + 15 && fetch_bytes_out(client) > out + 30);
    r = (struct result){0};
    begin(&r, "/interim", (struct fetch_conf){.total_ms = 2000, .max_bytes = 100});
    run_until(&r.ends);
    assert_true(r.status == 200 && r.statuses == 1);
    assert_string_equal(r.body, "late");
}

static void a_body_is_posted(void **state)
{
    (void)state;
    struct result r = {0};
    char body[] = "{\"a\":1}";
    begin(&r, "/hello",
          (struct fetch_conf){.total_ms = 2000,
                              .max_bytes = 100,
                              .body = body,
                              .body_len = 7,
                              .body_type = "application/json"});
    memset(body, 'x', 7);
    run_until(&r.ends);
    assert_int_equal(r.status, 200);
    assert_int_equal(strncmp(last_request, "POST /hello ", 12), 0);
    assert_non_null(strstr(last_request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(last_request, "\r\n\r\n{\"a\":1}"));
    assert_null(strstr(last_request, "Expect:"));
}

static void other_statuses_are_answers(void **state)
{
    (void)state;
    struct result r = {0};
    begin(&r, "/forbidden", (struct fetch_conf){.on_bytes = on_bytes, .stall_ms = 2000});
    run_until(&r.ends);
    assert_true(r.status == 403 && !*r.error && r.streamed == 0);
    assert_string_equal(r.body, "who are you");
    r = (struct result){0};
    begin(&r, "/away", (struct fetch_conf){.total_ms = 2000, .max_bytes = 100});
    run_until(&r.ends);
    assert_true(r.status == 302 && r.len == 0 && !*r.error);
}

static void limits_hold(void **state)
{
    (void)state;
    struct result r = {0};
    begin(&r, "/large", (struct fetch_conf){.total_ms = 2000, .max_bytes = 99999});
    run_until(&r.ends);
    assert_string_equal(r.error, "the answer is too large");
    assert_true(r.status == 200 && r.len <= 99999);
    r = (struct result){0};
    begin(&r, "/large", (struct fetch_conf){.total_ms = 2000, .max_bytes = 100000});
    run_until(&r.ends);
    assert_true(r.len == 100000 && !*r.error);
    r = (struct result){0};
    begin(&r, "/nothing", (struct fetch_conf){.total_ms = 100, .max_bytes = 10});
    run_until(&r.ends);
    assert_true(r.status == 0 && *r.error);
    r = (struct result){0};
    begin(&r, "/silent", (struct fetch_conf){.stall_ms = 100, .on_bytes = on_bytes});
    run_until(&r.ends);
    assert_string_equal(r.error, "nothing came for too long");
    assert_true(r.status == 200 && r.streamed == 4);
    r = (struct result){0};
    begin(&r, "/cut", (struct fetch_conf){.total_ms = 100, .max_bytes = 1000});
    run_until(&r.ends);
    assert_true(*r.error && r.len == 5);
}

static void a_stream_comes_in_pieces(void **state)
{
    (void)state;
    struct result r = {0};
    begin(&r, "/large", (struct fetch_conf){.on_bytes = on_bytes, .stall_ms = 2000});
    run_until(&r.ends);
    assert_true(r.streamed == 100000 && r.len == 0 && !*r.error && r.status == 200);
}

static void callbacks_may_stop_it(void **state)
{
    (void)state;
    struct result r = {.stop_at_status = 1};
    begin(&r, "/large", (struct fetch_conf){.on_bytes = on_bytes, .stall_ms = 2000});
    run_until(&r.ends);
    assert_true(r.ends == 1 && r.streamed == 0);
    assert_string_equal(r.error, "stopped by the receiver");
    r = (struct result){.stop_at_bytes = 1};
    begin(&r, "/large", (struct fetch_conf){.on_bytes = on_bytes, .stall_ms = 2000});
    run_until(&r.ends);
    assert_true(r.ends == 1 && r.streamed > 0 && r.streamed < 100000);
}

static void a_cancelled_fetch_is_silent(void **state)
{
    (void)state;
    /* from within its own callback, starting another one there as well */
    struct result other = {0}, r = {.cancel_at_bytes = 1, .start_another = 1, .another = &other};
    begin(&r, "/silent", (struct fetch_conf){.on_bytes = on_bytes, .stall_ms = 200});
    run_until(&other.ends);
    assert_string_equal(other.body, "hello");
    assert_true(r.ends == 0 && r.streamed == 4);
    /* before anything came, and at any time from outside */
    struct result again = {0};
    r = (struct result){0};
    fetch_cancel(begin(&r, "/silent", (struct fetch_conf){.on_bytes = on_bytes, .stall_ms = 50}));
    begin(&again, "/nothing", (struct fetch_conf){.total_ms = 150, .max_bytes = 10});
    run_until(&again.ends);
    assert_true(r.ends == 0 && r.streamed == 0);
    fetch_cancel(NULL);
}

static void nobody_there_is_an_error(void **state)
{
    (void)state;
    struct result r = {0};
    struct fetch_conf conf = {
        .url = "http://127.0.0.1:1/", .total_ms = 2000, .on_end = on_end, .context = &r};
    assert_non_null(fetch_start(client, &conf, NULL));
    run_until(&r.ends);
    assert_true(r.status == 0 && *r.error);
    static const char *const bad[] = {"", "nonsense", "ftp://host/", "file:///etc/passwd", "http://"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *cause = NULL;
        conf.url = bad[i];
        if (fetch_start(client, &conf, &cause)) fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(cause);
        free(cause);
    }
    char *cause = NULL;
    conf.url = root;
    conf.bearer = "a\r\nHost: b";
    assert_null(fetch_start(client, &conf, &cause));
    assert_string_equal(cause, "the token holds a line break");
    free(cause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_collected),      cmocka_unit_test(a_body_is_posted),
        cmocka_unit_test(other_statuses_are_answers),  cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_stream_comes_in_pieces),    cmocka_unit_test(callbacks_may_stop_it),
        cmocka_unit_test(a_cancelled_fetch_is_silent), cmocka_unit_test(nobody_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
