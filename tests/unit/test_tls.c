/* TLS: which certificate, reloading, what a flight becomes, and the way through the HTTP server. */
#include <fcntl.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <cmocka.h>

#include "common/http.h"
#include "common/tls.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"
#include "tests/unit/tls_pair.h"

static struct tls *made;

static struct tls *make(const char *a, const char *b, char **cause)
{
    static char cert[2][128], key[2][128];
    const char *certs[2], *keys[2], *names[2] = {a, b};
    size_t n = 0;
    for (; n < 2 && names[n]; n++) {
        snprintf(cert[n], sizeof cert[n], "%s/%s.crt", tls_folder, names[n]);
        snprintf(key[n], sizeof key[n], "%s/%s.key", tls_folder, names[n]);
        certs[n] = cert[n];
        keys[n] = key[n];
    }
    return tls_new(&(struct tls_conf){.certs = certs, .keys = keys, .count = n}, cause);
}

static int setup(void **state)
{
    if (loop_setup(state)) return -1;
    tls_folder_make();
    tls_make("one", "one.example");
    tls_make("two", "*.two.example");
    made = make("one", "two", NULL);
    return made ? 0 : -1;
}

static int teardown(void **state)
{
    tls_free(made);
    tls_folder_remove();
    return loop_teardown(state);
}

/* Both ends of an established connection, without a loop. */
static struct tls_conn *connect_pair(struct tls *tls, struct tls_client *client, int fds[2], const char *name,
                                     const char *protocols)
{
    int on = 1;
    assert_int_equal(net_pair(fds, 4096), 0);
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct tls_conn *c = tls_conn_new(tls, fds[0]);
    assert_non_null(c);
    tls_client_open(client, fds[1], name);
    if (protocols)
        SSL_set_alpn_protos(client->ssl, (const unsigned char *)protocols, (unsigned)strlen(protocols));
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; net_now_ms() < end;) {
        int a = SSL_do_handshake(client->ssl), b = SSL_do_handshake(tls_conn_ssl(c));
        if (a == 1 && b == 1) return c;
        if ((a <= 0 && SSL_get_error(client->ssl, a) == SSL_ERROR_SSL) ||
            (b <= 0 && SSL_get_error(tls_conn_ssl(c), b) == SSL_ERROR_SSL))
            break;
    }
    tls_conn_free(c, 1);
    tls_client_close(client);
    close(fds[0]);
    ERR_clear_error();
    return NULL;
}

static void end_pair(struct tls_conn *c, struct tls_client *client, int fds[2])
{
    tls_conn_free(c, 0);
    tls_client_close(client);
    close(fds[0]);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *saw;
    } cases[] = {
        {NULL, "one.example"},          {"one.example", "one.example"},  {"a.two.example", "*.two.example"},
        {"two.example", "one.example"}, {"else.example", "one.example"}, {"A.Two.Example", "*.two.example"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tls_client client;
        int fds[2];
        struct tls_conn *c = connect_pair(made, &client, fds, cases[i].name, NULL);
        assert_non_null(c);
        assert_string_equal(tls_client_saw(&client), cases[i].saw);
        assert_int_equal(SSL_version(client.ssl), TLS1_3_VERSION);
        end_pair(c, &client, fds);
    }
}

static void test_protocols(void **state)
{
    (void)state;
    struct tls_client client;
    int fds[2];
    const unsigned char *chosen;
    unsigned len;
    struct tls_conn *c = connect_pair(made, &client, fds, NULL, "\x02h2\x08http/1.1");
    assert_non_null(c);
    SSL_get0_alpn_selected(client.ssl, &chosen, &len);
    assert_int_equal(len, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    end_pair(c, &client, fds);
    assert_null(connect_pair(made, &client, fds, NULL, "\x02h2")); /* it would wait for an answer in HTTP/2 */
}

/* What each failure says; the set in use stays. */
static void test_files(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *key, *says;
    } cases[] = {
        {"absent.crt", "one.key", "absent.crt: No such file or directory"},
        {"one.crt", "absent.key", "absent.key: No such file or directory"},
        {"one.crt", "two.key", "two.key: the key does not belong to"},
        {"one.key", "one.key", "one.key: no certificate can be read from it: no start line"},
        {"one.crt", "one.crt", "one.crt: no key can be read from it"},
        {"", "one.key", ": is a folder"},
        {"one.crt", "locked.key", "locked.key: the key is encrypted"},
    };
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *file = fopen(tls_path("locked.key"), "w");
    char password[] = "secret";
    PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), password, 6, NULL, NULL);
    fclose(file);
    EVP_PKEY_free(key);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *cert_path = tls_path(cases[i].cert), *key_path = tls_path(cases[i].key);
        char *cause = NULL;
        assert_null(tls_new(&(struct tls_conf){.certs = &cert_path, .keys = &key_path, .count = 1}, &cause));
        if (!strstr(cause, cases[i].says)) fail_msg("case %zu: %s", i, cause);
        free(cause);
    }
}

static void test_folder(void **state)
{
    (void)state;
    char *cause = NULL, command[512];
    const char *dir = tls_path("dir");
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_null(tls_new(&(struct tls_conf){.dir = dir}, &cause));
    assert_non_null(strstr(cause, "there is no certificate in it"));
    free(cause);
    cause = NULL;
    snprintf(command, sizeof command,
             "cd %s && cp one.crt one.key dir && mkdir dir/site && cp two.crt dir/site/fullchain.pem && "
             "cp two.key dir/site/privkey.pem && echo nothing > dir/README && mkdir dir/empty",
             tls_folder);
    assert_int_equal(system(command), 0);
    struct tls *tls = tls_new(&(struct tls_conf){.dir = dir}, &cause);
    assert_non_null(tls);
    assert_int_equal(tls_count(tls), 2);
    assert_int_equal(tls_changed(tls), 0);
    snprintf(command, sizeof command, "cd %s && cat one.crt one.key > dir/both.pem", tls_folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(tls_changed(tls), 1);
    assert_int_equal(tls_changed(tls), 0); /* said once */
    assert_int_equal(tls_reload(tls, &cause), 0);
    assert_int_equal(tls_count(tls), 3);
    tls_free(tls);
    assert_null(tls_new(&(struct tls_conf){.dir = "/nonexistent"}, &cause));
    assert_non_null(strstr(cause, "/nonexistent: No such file"));
    free(cause);
}

/* A reload changes what the next one is shown, leaves who is there alone, and is all or nothing. */
static void test_reload(void **state)
{
    (void)state;
    struct tls_client client, next;
    int fds[2], more[2], full;
    char *cause = NULL;
    tls_make("moving", "before.example");
    struct tls *tls = make("moving", NULL, NULL);
    struct tls_conn *c = connect_pair(tls, &client, fds, NULL, NULL);
    SSL_SESSION *ticket = NULL;
    struct net_bytes b = {0};
    tls_client_take(&client, &b, 1); /* the ticket comes behind the handshake */
    ticket = SSL_get1_session(client.ssl);
    assert_true(SSL_SESSION_has_ticket(ticket));
    unlink(tls_path("moving.key"));
    assert_int_equal(tls_changed(tls), 1);
    assert_int_equal(tls_reload(tls, &cause), -1);
    assert_non_null(strstr(cause, "moving.key"));
    free(cause);
    tls_make("moving", "after.example");
    assert_int_equal(tls_changed(tls), 1);
    assert_int_equal(tls_reload(tls, NULL), 0);
    const struct iovec piece = {"still here", 10};
    assert_int_equal(tls_conn_write(c, fds[0], &piece, 1, &full), 10);
    tls_client_take(&client, &b, 10);
    assert_memory_equal(b.data, "still here", 10);
    struct tls_conn *d = connect_pair(tls, &next, more, NULL, NULL);
    assert_string_equal(tls_client_saw(&next), "after.example");
    end_pair(d, &next, more);
    /* tickets outlive a reload: their key is the process's */
    assert_int_equal(net_pair(more, 0), 0);
    d = tls_conn_new(tls, more[0]);
    tls_client_open(&next, more[1], NULL);
    SSL_set_session(next.ssl, ticket);
    for (int i = 0; i < 1000 && !(SSL_do_handshake(next.ssl) == 1 && SSL_do_handshake(tls_conn_ssl(d)) == 1);
         i++)
        SSL_do_handshake(tls_conn_ssl(d));
    assert_int_equal(SSL_session_reused(next.ssl), 1);
    end_pair(d, &next, more);
    SSL_SESSION_free(ticket);
    end_pair(c, &client, fds);
    free(b.data);
    tls_free(tls);
}

/* All bytes arrive in order however full the socket is, whatever pieces they came in. */
static void test_flights(void **state)
{
    (void)state;
    struct tls_client client;
    int fds[2], full, fulls = 0, size = 8192;
    struct tls_conn *c = connect_pair(made, &client, fds, NULL, NULL);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    tls_conn_settle(c);
    enum { TOTAL = 600000 };
    unsigned char *bytes = malloc(TOTAL);
    for (int i = 0; i < TOTAL; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    size_t sent = 0;
    unsigned seed = 1;
    int held = 0;
    struct net_bytes b = {0};
    for (int64_t end = net_now_ms() + 2 * NET_DEADLINE_MS; b.len < TOTAL && net_now_ms() < end;) {
        struct iovec pieces[4];
        int count = 0;
        size_t at = sent;
        for (; count < 4 && at < TOTAL; count++) {
            size_t len = (size_t)(rand_r(&seed) % (count == 1 ? 40000 : 9000)) + 1;
            if (len > TOTAL - at) len = TOTAL - at;
            pieces[count] = (struct iovec){bytes + at, len};
            at += len;
        }
        if (count || held) {
            ssize_t n = tls_conn_write(c, fds[0], pieces, count, &full);
            held = full;
            fulls += full;
            if (n > 0) sent += (size_t)n;
            assert_true(n >= 0 || errno == EAGAIN);
        }
        tls_client_take(&client, &b, (size_t)(rand_r(&seed) % 30000));
    }
    assert_int_equal(b.len, TOTAL);
    assert_memory_equal(b.data, bytes, TOTAL);
    assert_true(fulls > 5);
    /* what the listener says is forgotten; that it leaves is told */
    SSL_write(client.ssl, "hello", 5);
    assert_int_equal(tls_conn_drain(c, fds[0]), 0);
    SSL_shutdown(client.ssl);
    assert_int_equal(tls_conn_drain(c, fds[0]), 1);
    free(bytes);
    free(b.data);
    end_pair(c, &client, fds);
}

/* One flight is one record, whatever it is made of. */
static void test_one_record(void **state)
{
    (void)state;
    struct tls_client client;
    int fds[2], full;
    struct tls_conn *c = connect_pair(made, &client, fds, NULL, NULL);
    struct net_bytes b = {0};
    tls_client_take(&client, &b, 1);
    const struct iovec pieces[] = {{"one", 3}, {"two", 3}, {"three", 5}};
    assert_int_equal(tls_conn_write(c, fds[0], pieces, 3, &full), 11);
    assert_int_equal(full, 0);
    unsigned char raw[256];
    ssize_t n = recv(fds[1], raw, sizeof raw, MSG_PEEK | MSG_DONTWAIT);
    assert_int_equal(n, 5 + 11 + 1 + 16); /* head, bytes, content type, tag */
    assert_int_equal(raw[0], 23);
    free(b.data);
    end_pair(c, &client, fds);
}

/* User memory of an established connection at rest: at most 16 KiB. */
static void test_memory(void **state)
{
    (void)state;
    enum { N = 40 };
    struct tls_client clients[N];
    struct tls_conn *conns[N];
    int fds[N][2], full;
    static unsigned char flight[13000];
    size_t server_bytes = 0;
    for (int i = 0; i < N; i++) {
        conns[i] = connect_pair(made, &clients[i], fds[i], "one.example", NULL);
        const struct iovec piece = {flight, 1000};
        tls_conn_settle(conns[i]);
        assert_int_equal(tls_conn_write(conns[i], fds[i][0], &piece, 1, &full), 1000);
        tls_conn_drain(conns[i], fds[i][0]);
    }
    for (int i = 0; i < N; i++) {
        size_t before = mallinfo2().uordblks;
        tls_conn_free(conns[i], 1);
        server_bytes += before - mallinfo2().uordblks;
        tls_client_close(&clients[i]);
        close(fds[i][0]);
    }
    size_t slot = 8192; /* beside the heap: common/tls_memory.c */
    print_message("%zu bytes of user memory for each connection\n", server_bytes / N + slot);
#ifndef __SANITIZE_ADDRESS__
    assert_in_range(server_bytes / N + slot, 2000, 16384);
#endif
}

static void test_identity(void **state)
{
    (void)state;
    char *cause = NULL, *pin, *again;
    assert_int_equal(tls_identity_make(tls_path("own.crt"), tls_path("own.key"), "station", NULL), 0);
    struct stat st;
    assert_int_equal(stat(tls_path("own.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    pin = tls_pin(tls_path("own.crt"), &cause);
    assert_memory_equal(pin, "sha256//", 8);
    assert_int_equal(strlen(pin), 8 + 44);
    /* a lost certificate is made again for the key that peers know */
    unlink(tls_path("own.crt"));
    assert_int_equal(tls_identity_make(tls_path("own.crt"), tls_path("own.key"), "station", NULL), 0);
    again = tls_pin(tls_path("own.crt"), &cause);
    assert_string_equal(pin, again);
    free(pin);
    free(again);
    assert_null(tls_pin(tls_path("own.key"), &cause));
    assert_non_null(strstr(cause, "own.key: no certificate"));
    free(cause);
    cause = NULL;
    assert_int_equal(tls_identity_make("/nonexistent/c", "/nonexistent/k", "x", &cause), -1);
    assert_non_null(strstr(cause, "/nonexistent/k"));
    free(cause);
    struct tls *tls = make("own", NULL, NULL);
    assert_non_null(tls);
    assert_true(tls_not_after(tls) > time(NULL) + 36000 * INT64_C(86400));
    tls_free(tls);
}

/* Through the HTTP server */

static struct http_server *server;
static int port, detached = -1;
static struct tls_conn *taken;

static void on_echo(void *context, struct http_request *r)
{
    (void)context;
    http_reply_text(r, 200, "secure %d", http_secure(r));
}

static void on_take(void *context, struct http_request *r)
{
    (void)context;
    taken = http_take_tls(r);
    detached = http_detach(r);
}

#define MUCH_BYTES 12000
#define MUCH_COUNT 400

static unsigned much;

/* Each of its own: 12,000 bytes that begin with the number. */
static void on_much(void *context, struct http_request *r)
{
    char body[MUCH_BYTES + 1];
    (void)context;
    memset(body, 'a' + (int)(much % 26), sizeof body);
    body[snprintf(body, 32, "<%u>", much)] = '.';
    much++;
    http_reply(r, 200, "text/plain", body, MUCH_BYTES);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/much", on_much, 0, "much"},
    {HTTP_GET, "/echo", on_echo, 0, "echo"},
    {HTTP_GET, "/take", on_take, 0, "a stream"},
};

static void start(const struct http_limits *limits)
{
    server = http_server_new(base, limits, "forever-test");
    http_server_routes(server, routes, sizeof routes / sizeof *routes, NULL);
    assert_int_equal(http_server_listen_tls(server, made, "127.0.0.1", 0, &port, NULL), 0);
}

static void stop(void)
{
    http_server_free(server);
    event_base_loop(base, EVLOOP_NONBLOCK);
}

/* Runs the loop until the text came, or with NULL the end. */
static int until(struct tls_client *client, struct net_bytes *b, const char *text)
{
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; net_now_ms() < end;) {
        tls_client_take(client, b, SIZE_MAX);
        if (text ? b->data && strstr(b->data, text) != NULL : b->ended) return 1;
        if (b->ended) return 0;
        net_turn(base);
    }
    return 0;
}

static void ask(struct tls_client *client, const char *text)
{
    for (int i = 0; i < 1000 && SSL_write(client->ssl, text, (int)strlen(text)) <= 0; i++)
        net_turn(base);
}

static void test_server(void **state)
{
    (void)state;
    start(NULL);
    struct tls_client client;
    struct net_bytes b = {0};
    tls_client_open(&client, net_connect(port, 0), "one.example");
    ask(&client, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(until(&client, &b, "nothing here"));
    assert_non_null(strstr(b.data, "secure 1"));
    assert_null(strstr(b.data, "Connection"));
    ask(&client, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_true(until(&client, &b, NULL));
    assert_int_equal(b.ended, 1); /* with a close_notify */
    assert_int_equal(http_server_counts(server)->handshakes, 1);
    tls_client_close(&client);
    free(b.data);
    stop();
}

/* Answers go straight to the socket until that is full, in the middle of a record: nothing is lost, doubled
 * or out of order, and more is answered only when there is room. */
static void test_server_full(void **state)
{
    (void)state;
    start(NULL);
    much = 0;
    struct tls_client client;
    struct net_bytes b = {0};
    tls_client_open(&client, net_connect(port, 4096), NULL);
    for (int i = 0; i < MUCH_COUNT; i++)
        ask(&client, "GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 300; i++)
        net_turn(base);
    assert_true(much > 1 && much < MUCH_COUNT);
    assert_true(until(&client, &b, "<399>"));
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; net_now_ms() < end && b.data[b.len - 1] != 'j';) {
        net_turn(base); /* the last answer's end */
        tls_client_take(&client, &b, SIZE_MAX);
    }
    const char *at = b.data;
    for (unsigned n = 0; n < MUCH_COUNT; n++) {
        char begin[32];
        snprintf(begin, sizeof begin, "<%u>.", n);
        assert_memory_equal(at, "HTTP/1.1 200 OK", 15);
        at = strstr(at, "\r\n\r\n") + 4;
        assert_memory_equal(at, begin, strlen(begin));
        for (size_t i = strlen(begin); i < MUCH_BYTES; i++)
            assert_int_equal(at[i], 'a' + (int)(n % 26));
        at += MUCH_BYTES;
    }
    assert_ptr_equal(at, b.data + b.len);
    tls_client_close(&client);
    free(b.data);
    stop();
}

static void test_server_take(void **state)
{
    (void)state;
    start(NULL);
    struct tls_client client;
    struct net_bytes b = {0};
    int full;
    tls_client_open(&client, net_connect(port, 0), NULL);
    ask(&client, "GET /take HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 1000 && detached < 0; i++)
        net_turn(base);
    assert_non_null(taken);
    assert_int_equal(http_server_connections(server), 0);
    const struct iovec piece = {"a stream", 8};
    assert_int_equal(tls_conn_write(taken, detached, &piece, 1, &full), 8);
    assert_true(until(&client, &b, "a stream"));
    tls_conn_free(taken, 0);
    close(detached);
    detached = -1;
    assert_true(until(&client, &b, NULL));
    assert_int_equal(b.ended, 1);
    tls_client_close(&client);
    free(b.data);
    stop();
}

/* Plain HTTP on a TLS port, silence, half a handshake: counted, and gone by the deadline. */
static void test_server_strangers(void **state)
{
    (void)state;
    const struct http_limits limits = {.header_ms = 60};
    start(&limits);
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = net_connect(port, 0);
    net_send(fds[1], "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    send(fds[2], "\x16\x03\x01\x02", 4, MSG_NOSIGNAL);
    for (int i = 0; i < 3; i++) {
        struct net_bytes b = {0};
        assert_true(net_until(base, fds[i], &b, NULL, NET_DEADLINE_MS));
        free(b.data);
        close(fds[i]);
    }
    assert_int_equal(http_server_counts(server)->handshakes, 0);
    assert_int_equal(http_server_counts(server)->handshakes_failed, 1);
    assert_int_equal(http_server_counts(server)->handshakes_late, 2);
    assert_int_equal(http_server_connections(server), 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_folder),
        cmocka_unit_test(test_reload),      cmocka_unit_test(test_flights),
        cmocka_unit_test(test_one_record),  cmocka_unit_test(test_memory),
        cmocka_unit_test(test_identity),    cmocka_unit_test(test_server),
        cmocka_unit_test(test_server_take), cmocka_unit_test(test_server_strangers),
        cmocka_unit_test(test_server_full),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
