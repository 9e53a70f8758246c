/* Calling a relay back: each way in which it fails, and the words for it. A script stands in for what
 * answers. */
#include <math.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/fetch.h"
#include "common/http.h"
#include "common/json.h"
#include "common/mem.h"
#include "root/air/dial.h"
#include "tests/unit/loop.h"
#include "tests/unit/tls_pair.h"

static struct fetch_client *client;
static struct http_server *server;
static int port, tls_port[4];
static struct tls *certificates[4];
enum { ITS_OWN, OTHER_NAME, EXPIRED, UNKNOWN };

static unsigned char keys[2][ENROL_HASH_BYTES];
static const char *script, *its_name = "fra";
static int its_key;
static double its_clock_s;

static void on_challenge(void *context, struct http_request *request)
{
    (void)context;
    char nonce[80], proof[ENROL_PROOF_TEXT], text[512];
    if (!strcmp(script, "silent")) {
        http_defer(request, NULL, NULL);
        return;
    }
    if (!strcmp(script, "away")) {
        http_add_header(request, "Location", "https://elsewhere.example/x");
        http_reply_text(request, 302, "there");
        return;
    }
    if (!strcmp(script, "stranger") || !http_query_get(request, "nonce", nonce, sizeof nonce)) {
        http_reply_text(request, 200, "<h1>It works!</h1>");
        return;
    }
    if (!strcmp(script, "large")) {
        char *body = xcalloc(1, 10001);
        memset(body, 'x', 10000);
        http_reply(request, 200, "text/plain", body, 10000);
        free(body);
        return;
    }
    if (!strcmp(script, "not enrolled")) {
        http_reply(request, 404, "application/json", "{\"forever\":\"relay\",\"error\":\"no credential\"}",
                   43);
        return;
    }
    assert_true(enrol_nonce_is_sound(nonce));
    enrol_proof(keys[its_key], its_name, nonce, proof);
    snprintf(text, sizeof text, "{\"forever\":\"relay\",\"name\":\"%s\",\"proof\":\"%s\",\"clock\":%.3f}",
             its_name, proof, its_clock_s + (double)clock_wall_ns() / 1e9);
    http_reply(request, 200, "application/json", text, strlen(text));
}

static const struct http_route routes[] = {{HTTP_GET, "/api/relay/challenge", on_challenge, 0, ""}};

/* Signed by itself, for 127.0.0.1, until a day ago. */
static void make_cert(const char *file, const char *alternative, int days)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509V3_CTX ctx;
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_time_adj_ex(X509_getm_notBefore(cert), -9, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, NULL);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)file,
                               -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, alternative);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(cert, key, EVP_sha256()));
    char name[64];
    snprintf(name, sizeof name, "%s.pem", file);
    FILE *f = fopen(tls_path(name), "w");
    PEM_write_X509(f, cert);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    if (strcmp(file, "unknown") != 0) {
        f = fopen(tls_path("ca.pem"), "a");
        PEM_write_X509(f, cert);
        fclose(f);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int setup(void **state)
{
    static const struct {
        const char *file, *alternative;
        int days;
    } made[4] = {{"own", "IP:127.0.0.1", 9},
                 {"other", "DNS:other.example", 9},
                 {"expired", "IP:127.0.0.1", -1},
                 {"unknown", "IP:127.0.0.1", 9}};
    if (loop_setup(state)) return -1;
    tls_folder_make();
    client = fetch_client_new(base);
    server = http_server_new(base, &(struct http_limits){0}, "test");
    http_server_routes(server, routes, 1, NULL);
    if (http_server_listen(server, "127.0.0.1", 0, &port, NULL)) return -1;
    for (int i = 0; i < 4; i++) {
        make_cert(made[i].file, made[i].alternative, made[i].days);
        char name[64];
        snprintf(name, sizeof name, "%s.pem", made[i].file);
        const char *certs[1] = {tls_path(name)}, *no_keys[1] = {NULL};
        certificates[i] = tls_new(&(struct tls_conf){.certs = certs, .keys = no_keys, .count = 1}, NULL);
        if (!certificates[i] ||
            http_server_listen_tls(server, certificates[i], "127.0.0.1", 0, &tls_port[i], NULL))
            return -1;
    }
    memset(keys[1], 7, sizeof keys[1]);
    return 0;
}

static int teardown(void **state)
{
    fetch_client_free(client);
    http_server_free(server);
    for (int i = 0; i < 4; i++)
        tls_free(certificates[i]);
    tls_folder_remove();
    return loop_teardown(state);
}

static int ended;
static struct dial_result got;

static void on_done(void *context, const struct dial_result *result)
{
    (void)context;
    ended++;
    got = *result;
}

static struct dial *begin(const char *url, size_t key_count)
{
    char *cause = NULL;
    ended = 0;
    struct dial *d = dial_start(client,
                                &(struct dial_conf){.url = url,
                                                    .name = "fra",
                                                    .keys = (const unsigned char(*)[ENROL_HASH_BYTES])keys,
                                                    .key_count = key_count,
                                                    .ca_file = tls_path("ca.pem"),
                                                    .connect_ms = 300,
                                                    .total_ms = 600,
                                                    .done = on_done},
                                &cause);
    if (!d) fail_msg("%s: %s", url, cause);
    return d;
}

static void dial(const char *url, int reached, const char *says)
{
    begin(url, 1);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !ended && net_now_ms() < end;)
        net_turn(base);
    assert_int_equal(ended, 1);
    if (got.reached != reached || !strstr(got.words, says))
        fail_msg("%s: %d, %s", url, got.reached, got.words);
}

static const char *at(const char *scheme, int number)
{
    static char url[64];
    snprintf(url, sizeof url, "%s://127.0.0.1:%d", scheme, number);
    return url;
}

static void it_is_reached(void **state)
{
    (void)state;
    script = "";
    dial(at("http", port), 1, "reached");
    assert_string_equal(got.words, "reached");
    assert_true(fabs(got.ahead_s) < 1);
    dial(at("https", tls_port[ITS_OWN]), 1, "reached");
    its_key = 1; /* while credentials are exchanged, either counts */
    dial(at("http", port), 0, "can't prove it");
    begin(at("http", port), 2);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !ended && net_now_ms() < end;)
        net_turn(base);
    assert_int_equal(got.reached, 1);
    its_key = 0;
}

static void clocks_differ(void **state)
{
    (void)state;
    script = "";
    its_clock_s = -90;
    dial(at("http", port), 1, "its clock is 90 s behind the root's");
    its_clock_s = 7;
    dial(at("http", port), 1, "its clock is 7 s ahead of the root's");
    its_clock_s = 0;
}

static void somebody_else_answers(void **state)
{
    (void)state;
    char says[64];
    script = "stranger";
    dial(at("http", port), 0, "answers (with 200) but is no forever relay");
    script = "large";
    dial(at("http", port), 0, "is no forever relay");
    script = "away";
    dial(at("http", port), 0, "it redirects to https://elsewhere.example/x");
    script = "not enrolled";
    dial(at("http", port), 0, "has not been enrolled (no credential)");
    script = "";
    its_name = "ams";
    dial(at("http", port), 0, "another relay answers there: it calls itself ams");
    its_name = "fra";
    snprintf(says, sizeof says, "127.0.0.1 port %d answers (with 404)", port);
    char url[80];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/under", port);
    dial(url, 0, says);
}

static void nobody_answers(void **state)
{
    (void)state;
    char says[64];
    script = "silent";
    dial(at("http", port), 0, "takes the connection but says nothing");
    script = "";
    dial("http://127.0.0.1:1", 0, "nothing listens at 127.0.0.1 port 1 (connection refused)");
    dial("http://no-such-name.invalid:8000", 0, "the name no-such-name.invalid is not known");
    snprintf(says, sizeof says, "127.0.0.1 port %d does not speak TLS", port);
    dial(at("https", port), 0, says);
    /* a full backlog drops what comes, as a firewall does */
    int fds[40], l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 0) ||
                         getsockname(l, (struct sockaddr *)&a, &len),
                     0);
    for (int i = 0; i < 40; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fds[i], (struct sockaddr *)&a, sizeof a);
    }
    dial(at("http", ntohs(a.sin_port)), 0, "does not answer (timed out): a firewall");
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    close(l);
}

static void certificates_are_wrong(void **state)
{
    (void)state;
    script = "";
    dial(at("https", tls_port[OTHER_NAME]), 0, "is for another name than 127.0.0.1");
    dial(at("https", tls_port[EXPIRED]), 0, "has expired, or is not valid yet");
    dial(at("https", tls_port[UNKNOWN]), 0, "nobody known has signed the certificate");
    dial(at("http", tls_port[ITS_OWN]), 0, "127.0.0.1 port");
}

static void it_can_be_cancelled(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "fra.example", "ftp://a",   "http://",
                                      "http:///x", "http://a/?b", "http://a b"};
    char *cause = NULL;
    script = "silent";
    struct dial *d = begin(at("http", port), 1);
    net_turn(base);
    dial_cancel(d);
    dial_cancel(NULL);
    assert_int_equal(ended, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(dial_url_is_sound(bad[i]));
    assert_null(dial_start(client, &(struct dial_conf){.url = "x"}, &cause));
    assert_non_null(strstr(cause, "http:// or https://"));
    free(cause);
}

/* The pin is what counts: not the name, not who signed; and with another one nothing is sent. */
static int pinned_ended, pinned_status;
static enum fetch_failure pinned_failure;

static void on_pinned_failure(void *context, enum fetch_failure why)
{
    (void)context;
    pinned_failure = why;
}

static void on_pinned_end(void *context, int status, const char *error, const void *body, size_t len)
{
    (void)context, (void)error, (void)body, (void)len;
    pinned_ended = 1;
    pinned_status = status;
}

static unsigned done_requests;

static void on_request_done(void *context, const char *route, int status)
{
    (void)context, (void)route, (void)status;
    done_requests++;
}

static void fetch_pinned(const char *url, const char *pin)
{
    char *cause = NULL;
    pinned_ended = pinned_status = 0;
    pinned_failure = FETCH_FAILED;
    if (!fetch_start(client,
                     &(struct fetch_conf){.url = url,
                                          .pin = pin,
                                          .total_ms = 2000,
                                          .max_bytes = 4096,
                                          .bearer = "secret",
                                          .on_failure = on_pinned_failure,
                                          .on_end = on_pinned_end},
                     &cause))
        fail_msg("%s", cause);
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; !pinned_ended && net_now_ms() < end;)
        net_turn(base);
    assert_true(pinned_ended);
}

static void a_pin_stands_for_name_and_issuer(void **state)
{
    (void)state;
    char *pin = tls_pin(tls_path("unknown.pem"), NULL), *other = tls_pin(tls_path("own.pem"), NULL);
    script = "stranger";
    http_server_on_done(server, on_request_done, NULL);
    done_requests = 0;
    fetch_pinned(at("https", tls_port[UNKNOWN]), pin);
    assert_int_equal(pinned_status, 404);
    assert_int_equal(done_requests, 1);
    fetch_pinned(at("https", tls_port[UNKNOWN]), other);
    assert_int_equal(pinned_status, 0);
    assert_int_equal(pinned_failure, FETCH_PIN);
    fetch_pinned(at("http", port), pin); /* never without TLS */
    assert_int_equal(pinned_status, 0);
    assert_int_equal(done_requests, 1);
    http_server_on_done(server, NULL, NULL);
    free(pin);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_reached),
        cmocka_unit_test(clocks_differ),
        cmocka_unit_test(somebody_else_answers),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(certificates_are_wrong),
        cmocka_unit_test(it_can_be_cancelled),
        cmocka_unit_test(a_pin_stands_for_name_and_issuer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
