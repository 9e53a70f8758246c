/* The relays' door and its key: made once, kept, known by its pin; and whoever has another key is told
 * nothing. */
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "common/fetch.h"
#include "common/link_door.h"
#include "common/log.h"
#include "tests/unit/tls_pair.h"

static struct event_base *base;
static struct fetch_client *client;

static struct answer {
    int ended, status;
    char error[256];
} answer;

static void on_end(void *context, int status, const char *error, const void *body, size_t len)
{
    (void)context, (void)body, (void)len;
    answer.ended = 1;
    answer.status = status;
    snprintf(answer.error, sizeof answer.error, "%s", error ? error : "");
}

/* A server of another key, which takes down all it is told. */
static struct thief {
    int fd;
    struct tls *tls;
    struct tls_conn *conn;
    struct event *event;
    size_t wire, told;
    int shaken;
} thief;

static void ask(const char *scheme, int port, const char *pin)
{
    char url[64], *cause = NULL;
    snprintf(url, sizeof url, "%s://127.0.0.1:%d/link", scheme, port);
    answer = (struct answer){0};
    const struct fetch_conf conf = {.url = url,
                                    .pin = pin,
                                    .bearer = "a-secret-that-nobody-else-may-see",
                                    .body = "report",
                                    .body_len = 6,
                                    .connect_ms = 2000,
                                    .total_ms = 2500,
                                    .max_bytes = 1000,
                                    .on_end = on_end};
    struct fetch *fetch = fetch_start(client, &conf, &cause);
    if (!fetch) fail_msg("%s", cause);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !answer.ended;) {
        if (net_now_ms() > end) fail_msg("no end");
        event_base_loop(base, EVLOOP_ONCE);
        if (!answer.ended && thief.told) { /* it will not answer */
            fetch_cancel(fetch);
            return;
        }
    }
}

static int setup(void **state)
{
    (void)state;
    tls_folder_make();
    base = event_base_new();
    client = fetch_client_new(base);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fetch_client_free(client);
    event_base_free(base);
    tls_folder_remove();
    return 0;
}

static unsigned asked;

static void on_link(void *context, struct http_request *request)
{
    (void)context;
    asked++;
    assert_true(http_is_tls(request));
    http_reply(request, 200, NULL, NULL, 0);
}

static const struct http_route routes[] = {{HTTP_POST, "/link", on_link, 0, ""}};

static struct link_door *open_door(void)
{
    char *cause = NULL, address[] = "127.0.0.1:0", *items[] = {address};
    const struct link_door_conf conf = {.base = base, .state = tls_folder, .server_name = "door"};
    struct link_door *door = link_door_new(&conf, &cause);
    if (!door) fail_msg("%s", cause);
    const struct conf_list list = {.items = items, .count = 1};
    if (link_door_listen(door, &list, &cause)) fail_msg("%s", cause);
    http_server_routes(link_door_server(door), routes, 1, NULL);
    return door;
}

static void a_door_is_known_by_its_key(void **state)
{
    (void)state;
    struct stat st;
    asked = 0;
    struct link_door *door = open_door();
    assert_int_equal(stat(tls_path("link.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char pin[64], other[64];
    snprintf(pin, sizeof pin, "%s", link_door_pin(door));
    snprintf(other, sizeof other, "%s", pin);
    other[20] = other[20] == 'A' ? 'B' : 'A';
    ask("https", link_door_port(door), pin);
    assert_int_equal(answer.status, 200);
    /* the kept connection is of no use to who expects another key */
    ask("https", link_door_port(door), other);
    assert_int_equal(answer.status, 0);
    assert_non_null(strstr(answer.error, "pinned"));
    assert_int_equal(asked, 1);
    ask("https", link_door_port(door), NULL); /* nobody has signed it */
    assert_int_equal(answer.status, 0);
    ask("http", link_door_port(door), pin); /* a pin says that it must be TLS */
    assert_int_equal(answer.status, 0);
    assert_int_equal(asked, 1);
    link_door_free(door);
    door = open_door(); /* the same key in its next life */
    assert_string_equal(link_door_pin(door), pin);
    ask("https", link_door_port(door), pin);
    assert_int_equal(answer.status, 200);
    link_door_free(door);
}

static void on_thief(evutil_socket_t fd, short what, void *context)
{
    char text[1024];
    size_t got;
    (void)what, (void)context;
    SSL *ssl = tls_conn_ssl(thief.conn);
    if (!SSL_is_init_finished(ssl)) SSL_do_handshake(ssl);
    thief.shaken |= SSL_is_init_finished(ssl);
    while (SSL_read_ex(ssl, text, sizeof text, &got))
        thief.told += got;
    int why = SSL_get_error(ssl, 0);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ) return;
    event_del(thief.event);
    (void)fd;
}

static void on_accept(evutil_socket_t fd, short what, void *context)
{
    (void)what, (void)context;
    thief.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
    thief.conn = tls_conn_new(thief.tls, thief.fd);
    thief.event = event_new(base, thief.fd, EV_READ | EV_PERSIST, on_thief, NULL);
    event_add(thief.event, NULL);
}

static void another_key_is_told_nothing(void **state)
{
    (void)state;
    tls_make("thief", "forever");
    const char *certs[] = {tls_path("thief.crt")}, *keys[] = {tls_path("thief.key")};
    thief.tls = tls_new(&(struct tls_conf){.certs = certs, .keys = keys, .count = 1}, NULL);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4) ||
                         getsockname(fd, (struct sockaddr *)&a, &len),
                     0);
    struct event *listening = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, NULL);
    event_add(listening, NULL);
    struct link_door *door = open_door(); /* whose pin it is not */
    char *pin = tls_pin(tls_path("thief.crt"), NULL);
    for (int right = 0; right < 2; right++) {
        thief.told = 0;
        thief.shaken = 0;
        ask("https", ntohs(a.sin_port), right ? pin : link_door_pin(door));
        assert_int_equal(answer.status, 0);
        for (int i = 0; i < 5; i++)
            event_base_loop(base, EVLOOP_NONBLOCK);
        assert_true(thief.shaken); /* it had its chance */
        assert_int_equal(thief.told > 0, right);
        event_free(thief.event);
        tls_conn_free(thief.conn, 1);
        close(thief.fd);
    }
    free(pin);
    link_door_free(door);
    event_free(listening);
    close(fd);
    tls_free(thief.tls);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    log_init("test", LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {TEST(a_door_is_known_by_its_key), TEST(another_key_is_told_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
