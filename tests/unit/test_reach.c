/* Who is called when, and what one failure means. A server of this test's answers for all relays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/http.h"
#include "common/mem.h"
#include "root/air/reach.h"
#include "tests/unit/loop.h"
#include "tests/unit/netclient.h"

#define MANY 40

static int64_t boot_ns = 1000 * CLOCK_NS_PER_S, wall_ns = 2000000000 * CLOCK_NS_PER_S;
static char folder[] = "/tmp/forever-reach-XXXXXX", path[64], url[64];
static struct http_server *server;
static struct roster *roster;
static struct reach *reach;
static unsigned char hashes[MANY][ENROL_HASH_BYTES];

/* the server's side */
static int down, hold;
static unsigned calls, held_count;
static struct http_request *held[MANY];

static void on_challenge(void *context, struct http_request *request)
{
    (void)context;
    char nonce[80], name[16], proof[ENROL_PROOF_TEXT], text[256];
    unsigned number = 0;
    calls++;
    if (hold) {
        held[held_count++] = request;
        http_defer(request, NULL, NULL);
        return;
    }
    if (down) {
        http_reply_text(request, 503, "gone");
        return;
    }
    sscanf(http_path(request), "/%u/", &number);
    snprintf(name, sizeof name, "r%u", number);
    enrol_proof(hashes[number], name, http_query_get(request, "nonce", nonce, sizeof nonce), proof);
    snprintf(text, sizeof text, "{\"forever\":\"relay\",\"name\":\"%s\",\"proof\":\"%s\",\"clock\":%lld}",
             name, proof, (long long)(wall_ns / CLOCK_NS_PER_S));
    http_reply(request, 200, "application/json", text, strlen(text));
}

static const struct http_route routes[] = {{HTTP_GET, "/*", on_challenge, 0, ""}};

static int told, told_reached;

static void on_told(void *context, const struct roster_entry *entry, int reached)
{
    (void)context, (void)entry;
    told++;
    told_reached = reached;
}

static void open_all(void)
{
    roster = roster_open(&(struct roster_conf){.path = path}, NULL);
    assert_non_null(roster);
    reach = reach_new(&(struct reach_conf){.base = base, .roster = roster, .told = on_told});
}

static void close_all(void)
{
    reach_free(reach);
    roster_free(roster);
}

/* r0, r1, ...: enrolled; the name of the n-th is in its address. */
static const struct roster_entry *enrol(unsigned n)
{
    struct relay_terms terms = {.reset_day = 1};
    char secret[ENROL_SECRET_TEXT], credential[ENROL_SECRET_TEXT];
    const struct roster_entry *entry = NULL;
    snprintf(terms.name, sizeof terms.name, "r%u", n);
    assert_int_equal(roster_add(roster, &terms, ROSTER_FOREVER, NULL, 1, NULL), 0);
    assert_int_equal(roster_invite(roster, terms.name, 100, secret, NULL), 0);
    assert_int_equal(roster_exchange(roster, secret, 2, credential, &entry, NULL), ROSTER_ENROLLED);
    enrol_secret_hash(credential, hashes[n]);
    return entry;
}

static void report(const struct roster_entry *entry, unsigned n, const char *session)
{
    char address[80];
    snprintf(address, sizeof address, "%s/%u", url, n);
    reach_reported(reach, entry, address, session, boot_ns);
}

/* Ticks, and turns the loop until so many calls came and were answered (or nothing happens for a while). */
static unsigned turn(unsigned expected)
{
    unsigned before = calls, answers = (unsigned)told;
    for (int64_t end = net_now_ms() + (expected ? NET_DEADLINE_MS : 30); net_now_ms() < end;) {
        reach_tick(reach, boot_ns);
        net_turn(base);
        if (expected && calls - before >= expected && (hold || (unsigned)told - answers >= expected)) break;
    }
    return calls - before;
}

static int fresh(void **state)
{
    (void)state;
    down = hold = told = told_reached = 0;
    held_count = 0;
    unlink(path);
    open_all();
    return 0;
}

static int done(void **state)
{
    (void)state;
    close_all();
    return 0;
}

static void a_life(void **state)
{
    (void)state;
    const struct roster_entry *e = enrol(0);
    struct reach_view view;
    assert_int_equal(reach_view(e, &view), -1);
    report(e, 0, "one");
    assert_int_equal(told, 1);
    assert_int_equal(told_reached, 0); /* not before it was called */
    assert_int_equal(turn(1), 1);
    assert_int_equal(told_reached, 1);
    assert_int_equal(reach_view(e, &view), 0);
    assert_true(view.known && view.reached);
    assert_string_equal(view.words, "reached");
    /* now and then */
    report(e, 0, "one");
    assert_int_equal(turn(0), 0);
    boot_ns += (REACH_EVERY_S - 1) * CLOCK_NS_PER_S;
    report(e, 0, "one");
    assert_int_equal(turn(0), 0);
    boot_ns += CLOCK_NS_PER_S;
    report(e, 0, "one");
    assert_int_equal(turn(1), 1);
    /* one failure may be ours; a second one is not */
    boot_ns += REACH_EVERY_S * CLOCK_NS_PER_S;
    down = 1;
    report(e, 0, "one");
    assert_int_equal(turn(1), 1);
    assert_int_equal(told_reached, 1);
    assert_int_equal(turn(0), 0);
    boot_ns += REACH_RETRY_S * CLOCK_NS_PER_S;
    report(e, 0, "one");
    assert_int_equal(turn(1), 1);
    assert_int_equal(told_reached, 0);
    reach_view(e, &view);
    assert_non_null(strstr(view.words, "answers (with 503) but is no forever relay"));
    down = 0;
    boot_ns += REACH_GONE_S * CLOCK_NS_PER_S;
    report(e, 0, "one");
    assert_int_equal(turn(1), 1);
    assert_int_equal(told_reached, 1);
    /* the program started again */
    report(e, 0, "two");
    assert_int_equal(turn(1), 1);
    /* nobody is called who does not report */
    boot_ns += 2 * REACH_EVERY_S * CLOCK_NS_PER_S;
    assert_int_equal(turn(0), 0);
}

static void an_address_is_remembered_over_a_restart(void **state)
{
    (void)state;
    report(enrol(0), 0, "one");
    turn(1);
    close_all();
    open_all();
    const struct roster_entry *e = roster_find(roster, "r0");
    told_reached = 0;
    report(e, 0, "one");
    assert_int_equal(told_reached, 1); /* at once, and called soon */
    assert_int_equal(turn(1), 1);
    report(e, 1, "one"); /* where another relay lives */
    assert_int_equal(told_reached, 0);
    assert_int_equal(turn(1), 1);
    assert_int_equal(told_reached, 0);
}

static void a_crowd_waits_in_line(void **state)
{
    (void)state;
    hold = 1;
    for (unsigned i = 0; i < MANY; i++)
        report(enrol(i), i, "one");
    assert_int_equal(turn(REACH_AT_ONCE), REACH_AT_ONCE);
    assert_int_equal(turn(0), 0);
    hold = 0;
    told = 0;
    for (unsigned i = 0; i < held_count; i++)
        http_reply_text(held[i], 503, "later");
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; told < MANY && net_now_ms() < end;) {
        reach_tick(reach, boot_ns);
        net_turn(base);
    }
    assert_int_equal(told, MANY);
}

static int asked, asked_reached;
static char asked_words[DIAL_WORDS_MAX];

static void on_asked(void *context, const struct dial_result *result)
{
    (void)context;
    asked++;
    asked_reached = result->reached;
    snprintf(asked_words, sizeof asked_words, "%s", result->words);
}

static void wait_asked(int count)
{
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS; asked < count && net_now_ms() < end;)
        net_turn(base);
    assert_int_equal(asked, count);
}

static void whoever_asks_is_told_once(void **state)
{
    (void)state;
    const struct roster_entry *e = enrol(0);
    char address[80], *cause = NULL;
    snprintf(address, sizeof address, "%s/0", url);
    asked = 0;
    assert_int_equal(reach_ask(reach, e, "nowhere", on_asked, NULL, &cause), -1);
    assert_non_null(strstr(cause, "http:// or https://"));
    free(cause);
    assert_int_equal(reach_ask(reach, e, address, on_asked, &asked, NULL), 0);
    assert_int_equal(reach_ask(reach, e, address, on_asked, &told, NULL), 0);
    assert_int_equal(asked, 1);
    assert_string_equal(asked_words, "another call has begun");
    wait_asked(2);
    assert_int_equal(asked_reached, 1);
    /* it went away meanwhile */
    hold = 1;
    assert_int_equal(reach_ask(reach, e, address, on_asked, &asked, NULL), 0);
    reach_unask(reach, e, &told);
    reach_unask(reach, e, &asked);
    reach_forget(reach, e);
    assert_int_equal(asked, 2);
    assert_int_equal(reach_ask(reach, e, address, on_asked, &asked, NULL), 0);
    reach_forget(reach, e);
    assert_int_equal(asked, 3);
    assert_string_equal(asked_words, "the relay is not on the list any more");
    net_turn(base);
}

static int set_up(void **state)
{
    int port;
    if (loop_setup(state) || !mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/relays.json", folder);
    server = http_server_new(base, &(struct http_limits){0}, "test");
    http_server_routes(server, routes, 1, NULL);
    if (http_server_listen(server, "127.0.0.1", 0, &port, NULL)) return -1;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    clock_fake(&boot_ns, &wall_ns);
    return 0;
}

static int tear_down(void **state)
{
    http_server_free(server);
    clock_fake(NULL, NULL);
    unlink(path);
    rmdir(folder);
    return loop_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_life, fresh, done),
        cmocka_unit_test_setup_teardown(an_address_is_remembered_over_a_restart, fresh, done),
        cmocka_unit_test_setup_teardown(a_crowd_waits_in_line, fresh, done),
        cmocka_unit_test_setup_teardown(whoever_asks_is_told_once, fresh, done),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
