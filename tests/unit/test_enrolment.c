/* What a relay was given, on disk; and how it proves that it has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/http.h"
#include "common/proc.h"
#include "relay/challenge.h"
#include "relay/enrolment.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

#define CREDENTIAL "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define OTHER      "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define PIN        "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static char folder[] = "/tmp/forever-enrolment-XXXXXX", path[80];

static struct enrolment sample(const char *credential)
{
    struct enrolment e = {.name = "fra",
                          .urls = {"https://radio.example:8001", "https://192.0.2.1:8001"},
                          .url_count = 2,
                          .pin = PIN,
                          .public_url = "http://fra.example:8001"};
    strcpy(e.credential, credential);
    return e;
}

static int fresh(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void it_is_kept(void **state)
{
    (void)state;
    struct enrolment in = sample(CREDENTIAL), out;
    struct stat st;
    char *cause = NULL;
    assert_int_equal(enrolment_load(folder, &out, &cause), 0);
    assert_int_equal(enrolment_load("/nowhere/at/all", &out, &cause), 0);
    assert_int_equal(enrolment_store(folder, &in, &cause), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(enrolment_load(folder, &out, &cause), 1);
    assert_memory_equal(&in, &out, sizeof in);
    assert_int_equal(enrolment_store("/nowhere/at/all", &in, &cause), -1);
    assert_non_null(strstr(cause, "/nowhere/at/all/enrolment.json"));
    free(cause);
}

static void what_is_not_understood_is_an_error(void **state)
{
    (void)state;
#define REST "\"pin\":\"" PIN "\",\"roots\":[\"https://a\"],\"public_url\":\"\""
    static const struct {
        const char *text, *says;
        int mode;
    } rows[] = {
        {"{\"version\":1,", "JSON line", 0600},
        {"{\"version\":2,\"name\":\"fra\",\"credential\":\"" CREDENTIAL "\"," REST "}", "version must be 1",
         0600},
        {"{\"version\":1,\"name\":\"Fra\",\"credential\":\"" CREDENTIAL "\"," REST "}", "name must be", 0600},
        {"{\"version\":1,\"name\":\"fra\",\"credential\":\"short\"," REST "}", "credential is none", 0600},
        {"{\"version\":1,\"name\":\"fra\",\"credential\":\"" CREDENTIAL "\"," REST ",\"more\":1}",
         "a member too many", 0600},
        {"{\"version\":1,\"name\":\"fra\",\"credential\":\"" CREDENTIAL "\",\"pin\":\"" PIN
         "\",\"roots\":[\"http://a\"],\"public_url\":\"\"}",
         "roots[0] must be https://HOST:PORT", 0600},
        {"{\"version\":1,\"name\":\"fra\",\"credential\":\"" CREDENTIAL "\"," REST "}", "chmod 600", 0640},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *cause = NULL;
        struct enrolment out;
        assert_int_equal(
            proc_write_file(path, rows[i].text, strlen(rows[i].text), (mode_t)rows[i].mode, NULL), 0);
        assert_int_equal(enrolment_load(folder, &out, &cause), -1);
        if (!strstr(cause, rows[i].says) || !strstr(cause, path)) fail_msg("%zu: %s", i, cause);
        assert_null(strstr(cause, CREDENTIAL));
        free(cause);
    }
}

static int found;

static void on_found(void *context)
{
    (void)context;
    found++;
}

/* GETs, and gives the answer. */
static const char *ask(int port, const char *query)
{
    static struct net_bytes in;
    char line[256];
    free(in.data);
    in = (struct net_bytes){0};
    snprintf(line, sizeof line, "GET /api/relay/challenge%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             query);
    int fd = net_connect(port, 0);
    net_send(fd, line);
    net_until(base, fd, &in, NULL, NET_DEADLINE_MS);
    close(fd);
    return in.data ? in.data : "";
}

static void it_proves_who_it_is(void **state)
{
    (void)state;
    int64_t boot_ns = CLOCK_NS_PER_S, wall_ns = 1700000000 * CLOCK_NS_PER_S;
    struct enrolment e = sample(CREDENTIAL);
    unsigned char hash[ENROL_HASH_BYTES];
    char proof[ENROL_PROOF_TEXT];
    int port;
    clock_fake(&boot_ns, &wall_ns);
    struct http_server *server = http_server_new(base, &(struct http_limits){0}, "test");
    struct challenge *c = challenge_new(server, folder, on_found, NULL);
    assert_int_equal(http_server_listen(server, "127.0.0.1", 0, &port, NULL), 0);
    const char *got = ask(port, "?nonce=00112233445566778899aabbccddeeff");
    assert_non_null(strstr(got, " 404 "));
    assert_non_null(strstr(got, "\"forever\":\"relay\""));
    assert_non_null(strstr(ask(port, ""), " 400 "));
    assert_non_null(strstr(ask(port, "?nonce=0011"), " 400 "));
    assert_non_null(strstr(ask(port, "?nonce=00112233445566778899AABBCCDDEEFF"), " 400 "));
    assert_int_equal(enrolment_store(folder, &e, NULL), 0);
    boot_ns += CLOCK_NS_PER_S;
    enrol_secret_hash(CREDENTIAL, hash);
    enrol_proof(hash, "fra", "00112233445566778899aabbccddeeff", proof);
    got = ask(port, "?nonce=00112233445566778899aabbccddeeff");
    assert_non_null(strstr(got, proof));
    assert_non_null(strstr(got, "\"clock\":1700000000.0"));
    assert_null(strstr(got, CREDENTIAL));
    assert_int_equal(found, 1);
    /* another one takes its place while it runs */
    e = sample(OTHER);
    assert_int_equal(enrolment_store(folder, &e, NULL), 0);
    assert_non_null(strstr(ask(port, "?nonce=00112233445566778899aabbccddeeff"), proof));
    boot_ns += CLOCK_NS_PER_S;
    assert_null(strstr(ask(port, "?nonce=00112233445566778899aabbccddeeff"), proof));
    assert_int_equal(found, 2);
    challenge_free(c);
    http_server_free(server);
    clock_fake(NULL, NULL);
}

static int set_up(void **state)
{
    if (loop_setup(state) || !mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/enrolment.json", folder);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    rmdir(folder);
    return loop_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(it_is_kept, fresh),
                                       cmocka_unit_test_setup(what_is_not_understood_is_an_error, fresh),
                                       cmocka_unit_test_setup(it_proves_who_it_is, fresh)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
