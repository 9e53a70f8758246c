/* Relays by their reports: counters, order, health, routing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "root/air/registry.h"
#include "tests/report_json.h"

static int64_t boot_ns = 1000 * CLOCK_NS_PER_S, wall_ns = 2000 * CLOCK_NS_PER_S;

static int set_clock(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    clock_fake(&boot_ns, &wall_ns);
    return 0;
}

static json_t *report(const char *name, const char *session, int64_t seq, int64_t listeners, int64_t bytes)
{
    char url[64];
    snprintf(url, sizeof url, "http://%s.example:8000", name);
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:f,s:I,s:i,s:I,s:I,s:I,s:I,s:{s:i},s:n,s:n,s:f,s:b,s:b,s:f,s:i}",
                     "name", name, "public_url", url, "version", "0.1.0", "session", session, "seq",
                     (json_int_t)seq, "uptime_s", 5.0, "listeners", (json_int_t)listeners, "max_listeners",
                     10, "accepted", (json_int_t)(listeners + 2), "closed", (json_int_t)2, "bytes_in",
                     (json_int_t)(bytes / 10), "bytes_out", (json_int_t)bytes, "agents", "player",
                     (int)listeners, "position", "lag_s", "lead_s", 12.5, "pulling", 1, "draining", 0,
                     "cpu_s", 0.25, "rss_bytes", 5000000);
}

static struct registry *fresh(void)
{
    return registry_new(
        &(struct registry_conf){.router = {.rate_bps = 128000, .no_reserve = 1}, .master = "m"});
}

static int route(struct registry *r, uint64_t random, int probe, int secure, char *location, size_t size)
{
    struct registry_choice choice;
    const struct registry_ask ask = {.random = random, .probe = probe, .secure = secure};
    return registry_route(r, &ask, boot_ns, location, size, &choice) == ROUTER_TO ? 0 : -1;
}

static int has_room(struct registry *r, int secure)
{
    char location[256];
    return !route(r, 1, 1, secure, location, sizeof location);
}

static int tell(struct registry *r, json_t *body)
{
    char *cause = NULL;
    int result = report_json(r, NULL, body, boot_ns, &cause);
    assert_true((result < 0) == (cause != NULL));
    free(cause);
    json_decref(body);
    return result;
}

static void counters_survive_loss_repetition_and_restarts(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_totals t;
    assert_int_equal(tell(r, report("ams", "one", 1, 3, 100)), 1);
    assert_int_equal(tell(r, report("ams", "one", 1, 9, 900)), 0); /* twice */
    assert_int_equal(tell(r, report("ams", "one", 4, 4, 400)), 1); /* two were lost */
    assert_int_equal(tell(r, report("ams", "one", 3, 1, 300)), 0); /* late */
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.known, 1);
    assert_int_equal(t.listeners, 4);
    assert_int_equal(t.bytes_out, 400);
    assert_int_equal(tell(r, report("ams", "two", 1, 1, 50)), 1); /* the program started again */
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.known, 1);
    assert_int_equal(t.listeners, 1);
    assert_int_equal(t.bytes_out, 450);
    assert_int_equal(t.bytes_in, 45);
    assert_int_equal(t.agents[2], 1);
    registry_free(r);
}

static void health_is_a_fresh_report(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_totals t;
    char where[256];
    tell(r, report("ams", "one", 1, 3, 100));
    boot_ns += 4900000000LL;
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.healthy, 1);
    assert_true(has_room(r, 0));
    boot_ns += 200000000LL;
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.healthy, 0);
    assert_int_equal(t.listeners, 0);
    assert_false(has_room(r, 0));
    assert_int_equal(route(r, 1, 0, 0, where, sizeof where), -1);
    json_t *list = registry_json(r, 0, 10, boot_ns);
    assert_false(json_is_true(json_object_get(json_array_get(list, 0), "healthy")));
    json_decref(list);
    tell(r, report("ams", "one", 2, 3, 100));
    assert_int_equal(route(r, 1, 0, 0, where, sizeof where), 0);
    assert_ptr_equal(strstr(where, "http://ams.example:8000/stream.mp3?ticket="), where);
    registry_free(r);
}

static void places_sent_since_the_report_are_taken(void **state)
{
    (void)state;
    struct registry *r = fresh();
    char where[256];
    tell(r, report("ams", "one", 1, 8, 100));
    for (int i = 0; i < 5; i++)
        assert_int_equal(route(r, (uint64_t)i, 1, 0, where, sizeof where), 0); /* probes take no place */
    assert_int_equal(route(r, 7, 0, 0, where, sizeof where), 0);
    assert_int_equal(route(r, 8, 0, 0, where, sizeof where), 0);
    assert_int_equal(route(r, 9, 0, 0, where, sizeof where), -1);
    tell(r, report("ams", "one", 2, 9, 100)); /* one of the two has left again */
    assert_int_equal(route(r, 10, 0, 0, where, sizeof where), 0);
    assert_int_equal(route(r, 11, 0, 0, where, sizeof where), -1);
    json_t *drains = report("ams", "one", 3, 2, 100);
    json_object_set_new(drains, "draining", json_true());
    tell(r, drains);
    assert_int_equal(route(r, 12, 0, 0, where, sizeof where), -1);
    char small[8];
    tell(r, report("ams", "one", 4, 2, 100));
    assert_int_equal(route(r, 13, 0, 0, small, sizeof small), -1);
    registry_free(r);
}

static json_t *report_at(const char *name, const char *url, int64_t listeners)
{
    json_t *o = report(name, "one", 1, listeners, 1);
    json_object_set_new(o, "public_url", json_string(url));
    return o;
}

/* A listener who asked over http is never sent to https, nor the other way round. */
static void the_scheme_is_kept(void **state)
{
    (void)state;
    struct registry *r = fresh();
    char where[256];
    tell(r, report_at("safe", "https://safe.example", 0));
    assert_false(has_room(r, 0));
    assert_true(has_room(r, 1));
    assert_int_equal(route(r, 1, 0, 0, where, sizeof where), -1);
    assert_int_equal(route(r, 1, 0, 1, where, sizeof where), 0);
    assert_ptr_equal(strstr(where, "https://safe.example/stream.mp3?ticket="), where);
    tell(r, report_at("plain", "http://plain.example", 0));
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(route(r, i * 0x123456789abcdULL, 1, 0, where, sizeof where), 0);
        assert_string_equal(where, "http://plain.example/stream.mp3");
    }
    registry_free(r);
}

static void others_come_by_use_without_the_one_that_asks(void **state)
{
    (void)state;
    struct registry *r = fresh();
    const char *urls[4];
    unsigned rooms[4];
    tell(r, report("ams", "one", 1, 5, 1));
    tell(r, report("fra", "one", 1, 2, 1));
    tell(r, report("osl", "one", 1, 10, 1)); /* full */
    tell(r, report_at("safe", "https://safe.example", 0));
    assert_int_equal(registry_others(r, NULL, 0, 7, boot_ns, urls, rooms, 4), 2);
    assert_string_equal(urls[0], "http://fra.example:8000");
    assert_string_equal(urls[1], "http://ams.example:8000");
    assert_int_equal(registry_others(r, "fra", 0, 7, boot_ns, urls, rooms, 4), 1);
    assert_string_equal(urls[0], "http://ams.example:8000");
    assert_int_equal(registry_others(r, NULL, 1, 7, boot_ns, urls, rooms, 4), 1);
    assert_string_equal(urls[0], "https://safe.example");
    /* of what is free a share may be sent there before the next word */
    json_t *large = report("ber", "one", 1, 20, 1);
    json_object_set_new(large, "max_listeners", json_integer(200));
    tell(r, large);
    assert_int_equal(registry_others(r, NULL, 0, 7, boot_ns, urls, rooms, 4), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rooms[i], strstr(urls[i], "ber") ? 180 / REGISTRY_ROOM_SHARE : 1);
    registry_free(r);
}

/* The second of two that call themselves alike is told so, as long as the first one is there. */
static void a_name_is_one_relays(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_view v;
    json_t *other = report("ams", "two", 1, 2, 1);
    json_object_set_new(other, "public_url", json_string("http://elsewhere.example"));
    tell(r, report("ams", "one", 1, 5, 1));
    assert_int_equal(tell(r, json_incref(other)), -1);
    assert_int_equal(tell(r, report("ams", "three", 1, 6, 1)), 1); /* it started anew where it was */
    boot_ns += 5 * CLOCK_NS_PER_S;
    assert_int_equal(tell(r, other), 1);
    registry_find(r, "ams", boot_ns, &v);
    assert_string_equal(v.url, "http://elsewhere.example");
    registry_free(r);
}

static void malformed_reports_change_nothing(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct {
        const char *key;
        json_t *value;
    } wrong[] = {
        {"public_url", json_string("ftp://x")},
        {"public_url", json_string("http://x/\r\nSet-Cookie: a=b")},
        {"public_url", json_string("http://x?a")},
        {"public_url", json_string("http://")},
        {"name", json_string("")},
        {"name", json_string("a\nb")},
        {"session", json_integer(1)},
        {"seq", json_integer(0)},
        {"listeners", json_integer(-1)},
        {"listeners", json_string("many")},
        {"bytes_out", json_real(1.5)},
        {"draining", json_integer(0)},
        {"agents", json_pack("{s:s}", "player", "x")},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *body = report("ams", "one", 1, 1, 1);
        json_object_set_new(body, wrong[i].key, wrong[i].value);
        assert_int_equal(tell(r, body), -1);
    }
    assert_int_equal(tell(r, json_array()), -1);
    struct registry_totals t;
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.known, 0);
    registry_free(r);
}

static void an_enrolled_relay_is_there_before_it_reports(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_view v;
    struct registry_totals t;
    char where[256], *cause = NULL;
    const struct relay_terms terms = {
        .name = "ams", .region = "eu-nl", .allotment_bytes = UINT64_C(5000000000000)};
    assert_int_equal(registry_set_reachable(r, "ams", 0, boot_ns), -1);
    assert_int_equal(registry_enrol(r, &terms, NULL, REGISTRY_FOREVER, boot_ns, &cause), 0);
    assert_int_equal(registry_find(r, "ams", boot_ns, &v), 0);
    assert_true(v.enrolled && !v.healthy && v.terms->allotment_bytes == UINT64_C(5000000000000) &&
                !strcmp(v.terms->region, "eu-nl"));
    assert_int_equal(registry_enrol(r, &terms, "gopher://x", REGISTRY_FOREVER, boot_ns, &cause), -1);
    free(cause);
    cause = NULL;
    tell(r, report("other", "one", 1, 3, 100));
    /* a credential's name counts, not what the report says */
    json_t *body = report("other", "two", 1, 3, 100);
    assert_int_equal(report_json(r, "ams", body, boot_ns, &cause), 1);
    json_decref(body);
    assert_int_equal(registry_find(r, "ams", boot_ns, &v), 0);
    assert_int_equal(v.listeners, 3);
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.known, 2);
    assert_int_equal(registry_unenrol(r, "other"), 0);
    assert_int_equal(registry_set_reachable(r, "ams", 0, boot_ns), 0);
    assert_int_equal(route(r, 1, 0, 0, where, sizeof where), -1);
    assert_int_equal(registry_set_reachable(r, "ams", 1, boot_ns), 0);
    assert_int_equal(route(r, 1, 0, 0, where, sizeof where), 0);
    /* silence never makes it go */
    boot_ns += 100000 * CLOCK_NS_PER_S;
    tell(r, report("third", "one", 1, 3, 100));
    assert_int_equal(registry_find(r, "ams", boot_ns, &v), 0);
    assert_int_equal(registry_unenrol(r, "ams"), 0);
    assert_int_equal(registry_find(r, "ams", boot_ns, &v), -1);
    registry_free(r);
}

static json_t *ticketed(const char *session, int64_t seq, int64_t listeners, const json_t *told,
                        int64_t redeemed)
{
    json_t *body = report("ams", session, seq, listeners, 1);
    json_object_set_new(body, "tickets",
                        json_pack("{s:O,s:O,s:I,s:I,s:I,s:I}", "epoch", json_object_get(told, "epoch"),
                                  "floor", json_object_get(told, "floor"), "from_floor", (json_int_t)redeemed,
                                  "redeemed", (json_int_t)redeemed, "expired", (json_int_t)0, "refused",
                                  (json_int_t)0));
    return body;
}

/* What a listener is sent with is good under the key that its relay was told, and counts until it is used. */
static void tickets_are_of_the_relays_key(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct ticket_signer *signer = ticket_signer_new();
    struct ticket t;
    struct router_view v;
    struct registry_view view;
    unsigned char key[TICKET_KEY_BYTES], later[TICKET_KEY_BYTES];
    char where[256];
    assert_null(ticket_json(r, "ams", boot_ns));
    tell(r, report("ams", "one", 1, 0, 1));
    json_t *told = ticket_json(r, "ams", boot_ns), *again;
    assert_int_equal(ticket_key_read(json_string_value(json_object_get(told, "key")), key), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(route(r, 5, 0, 0, where, sizeof where), 0);
    const char *text = strstr(where, "?ticket=") + 8;
    assert_int_equal(ticket_read(text, &t), 0);
    assert_true(ticket_is_true(signer, key, text));
    assert_int_equal(t.epoch, json_integer_value(json_object_get(told, "epoch")));
    assert_int_equal(t.sequence, 3);
    assert_int_equal(t.expires_ds, ticket_clock(boot_ns) + 200);
    tell(r, ticketed("one", 2, 2, told, 2));
    registry_find(r, "ams", boot_ns, &view);
    router_view(registry_router(r), view.slot, boot_ns, &v);
    assert_int_equal(v.estimate, 3);
    assert_int_equal(v.pending, 1);
    assert_int_equal(view.redeemed, 2);
    /* a new life of the relay's program, another key; what it says of the old one's tickets is no count */
    tell(r, ticketed("two", 1, 1, told, 1));
    router_view(registry_router(r), view.slot, boot_ns, &v);
    assert_int_equal(v.estimate, 1);
    again = ticket_json(r, "ams", boot_ns);
    assert_int_equal(ticket_key_read(json_string_value(json_object_get(again, "key")), later), 0);
    assert_memory_not_equal(key, later, sizeof key);
    json_decref(told);
    json_decref(again);
    ticket_signer_free(signer);
    registry_free(r);
}

/* Thousands come and go in any order, and each is found by its name alone. */
static void names_are_found_among_thousands(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_view v;
    uint64_t seed = 88172645463325252ULL;
    static unsigned char there[3000];
    for (int n = 0; n < 12000; n++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        unsigned i = (unsigned)(seed % 3000);
        struct relay_terms terms = {0};
        snprintf(terms.name, sizeof terms.name, "r%u", i);
        if (seed >> 40 & 1) {
            assert_int_equal(registry_enrol(r, &terms, "http://x", REGISTRY_FOREVER, boot_ns, NULL), 0);
            there[i] = 1;
        } else {
            assert_int_equal(registry_unenrol(r, terms.name), there[i] ? 0 : -1);
            there[i] = 0;
        }
    }
    unsigned count = 0;
    for (unsigned i = 0; i < 3000; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%u", i);
        assert_int_equal(registry_find(r, name, boot_ns, &v), there[i] ? 0 : -1);
        if (there[i]) assert_string_equal(v.name, name);
        count += there[i];
    }
    assert_int_equal(registry_view(r, count - 1, boot_ns, &v), 0);
    assert_int_equal(registry_view(r, count, boot_ns, &v), -1);
    registry_free(r);
}

/* A server that is no relay of ours is sent to as it stands, for the main mount alone, and has its word in
 * the answers to our questions. */
static void another_server_is_sent_to_as_it_stands(void **state)
{
    (void)state;
    struct registry *r = fresh();
    const struct relay_terms terms = {.name = "rented", .max_listeners = 2};
    const struct mount_spec mounts[] = {{.name = "stream", .kbps = 128}, {.name = "low", .kbps = 48}};
    struct registry_choice choice;
    char where[256];
    registry_set_mounts(r, mounts, 2);
    assert_int_equal(
        registry_enrol(r, &terms, "http://rented.example/radio", REGISTRY_ICECAST, boot_ns, NULL), 0);
    const struct registry_ask main = {.random = 3}, low = {.random = 3, .mount = "low"}, later = {.later = 1};
    assert_int_equal(registry_route(r, &main, boot_ns, where, sizeof where, &choice), ROUTER_NOBODY);
    assert_int_equal(registry_polled(r, "rented", 0, 0, 0, boot_ns), 0);
    assert_int_equal(registry_route(r, &low, boot_ns, where, sizeof where, &choice), ROUTER_NOBODY);
    assert_int_equal(registry_route(r, &later, boot_ns, where, sizeof where, &choice), ROUTER_NOBODY);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(registry_route(r, &main, boot_ns, where, sizeof where, &choice), ROUTER_TO);
        assert_string_equal(where, "http://rented.example/radio");
        assert_true(choice.as_is);
    }
    assert_int_equal(registry_route(r, &main, boot_ns, where, sizeof where, &choice), ROUTER_NOBODY);
    assert_int_equal(registry_polled(r, "rented", 1, 0, 500, boot_ns), 0);
    assert_int_equal(registry_route(r, &main, boot_ns, where, sizeof where, &choice), ROUTER_TO);
    registry_free(r);
}

static void it_is_bounded(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_totals t;
    for (int i = 0; i < REGISTRY_MAX + 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%d", i);
        boot_ns += 1000000;
        assert_int_equal(tell(r, report(name, "one", 1, 1, 1)), 1);
    }
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.known, REGISTRY_MAX);
    struct registry_view v;
    int oldest = 0;
    for (size_t i = 0; !registry_view(r, i, boot_ns, &v); i++)
        oldest |= !strcmp(v.name, "r0") || !strcmp(v.name, "r19");
    assert_false(oldest); /* the longest silent ones went */
    registry_free(r);
}

static void counters_of_earlier_lives_are_told_apart(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct registry_totals t;
    registry_tick(r, boot_ns, 2000);
    boot_ns += 10 * CLOCK_NS_PER_S;
    /* one that started since, and one that ran before the root did */
    assert_int_equal(tell(r, report("new", "one", 1, 3, 1000)), 1);
    json_t *said = report("old", "two", 500, 4, 70000);
    json_object_set_new(said, "uptime_s", json_real(1000));
    json_object_set_new(said, "accepted", json_integer(90));
    json_object_set_new(said, "closed", json_integer(86));
    assert_int_equal(tell(r, said), 1);
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.bytes_out, 71000);
    assert_int_equal(t.earlier.bytes_out, 70000);
    assert_int_equal(t.earlier.accepted, 90);
    assert_int_equal(t.earlier.closed, 86);
    /* from then on all is of this life, also what a new session of its program counts */
    assert_int_equal(tell(r, report("old", "three", 1, 1, 50)), 1);
    registry_totals(r, boot_ns, &t);
    assert_int_equal(t.bytes_out - t.earlier.bytes_out, 1050);
    assert_int_equal(t.accepted - t.earlier.accepted - (t.closed - t.earlier.closed), 3 + 1 - 4);
    registry_free(r);
}

static void who_is_too_many_is_moved(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct relay_terms terms = {.name = "ams"};
    int deadline_s = 0;
    assert_int_equal(registry_enrol(r, &terms, NULL, REGISTRY_FOREVER, boot_ns, NULL), 0);
    assert_int_equal(tell(r, report("ams", "one", 1, 9, 100)), 1);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 0);
    assert_int_equal(registry_too_many(r, "nobody", boot_ns, &deadline_s), 0);
    terms.max_listeners = 4;
    assert_int_equal(registry_enrol(r, &terms, NULL, REGISTRY_FOREVER, boot_ns, NULL), 0);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 5);
    assert_int_equal(deadline_s, 60);
    boot_ns += 20 * CLOCK_NS_PER_S;
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 0); /* silent: nobody knows */
    assert_int_equal(tell(r, report("ams", "one", 2, 8, 100)), 1);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 4);
    assert_int_equal(deadline_s, 60);
    boot_ns += 2 * CLOCK_NS_PER_S;
    assert_int_equal(tell(r, report("ams", "one", 3, 7, 100)), 1);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 3);
    assert_int_equal(deadline_s, 58);
    for (int i = 0; i < 40; i++) {
        boot_ns += 2 * CLOCK_NS_PER_S;
        assert_int_equal(tell(r, report("ams", "one", 4 + i, 5, 100)), 1);
        assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 1);
    }
    assert_int_equal(deadline_s, 10); /* who can't be moved stays, and it is not in a hurry for ever */
    assert_int_equal(tell(r, report("ams", "one", 50, 4, 100)), 1);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 0);
    /* the line */
    terms.max_listeners = 0;
    terms.uplink_bps = 10000000;
    assert_int_equal(registry_enrol(r, &terms, NULL, REGISTRY_FOREVER, boot_ns, NULL), 0);
    assert_int_equal(tell(r, report("ams", "one", 51, 10, 100)), 1);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 0);
    terms.uplink_bps = 1000000;
    assert_int_equal(registry_enrol(r, &terms, NULL, REGISTRY_FOREVER, boot_ns, NULL), 0);
    assert_int_equal(registry_too_many(r, "ams", boot_ns, &deadline_s), 10 - 7);
    registry_free(r);
}

static void a_few_more_are_no_matter(void **state)
{
    (void)state;
    struct registry *r = fresh();
    struct relay_terms terms = {.name = "big", .max_listeners = 640};
    int deadline_s;
    const int64_t there[] = {640, 650, 651, 650, 641, 640, 650};
    const unsigned many[] = {0, 0, 11, 10, 1, 0, 0};
    assert_int_equal(registry_enrol(r, &terms, NULL, REGISTRY_FOREVER, boot_ns, NULL), 0);
    for (int i = 0; i < 7; i++) {
        json_t *said = report("big", "one", i + 1, there[i], 100);
        json_object_set_new(said, "max_listeners", json_integer(1000));
        assert_int_equal(tell(r, said), 1);
        assert_int_equal(registry_too_many(r, "big", boot_ns, &deadline_s), many[i]);
    }
    registry_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counters_survive_loss_repetition_and_restarts, set_clock),
        cmocka_unit_test_setup(health_is_a_fresh_report, set_clock),
        cmocka_unit_test_setup(places_sent_since_the_report_are_taken, set_clock),
        cmocka_unit_test_setup(the_scheme_is_kept, set_clock),
        cmocka_unit_test_setup(others_come_by_use_without_the_one_that_asks, set_clock),
        cmocka_unit_test_setup(a_name_is_one_relays, set_clock),
        cmocka_unit_test_setup(malformed_reports_change_nothing, set_clock),
        cmocka_unit_test_setup(an_enrolled_relay_is_there_before_it_reports, set_clock),
        cmocka_unit_test_setup(tickets_are_of_the_relays_key, set_clock),
        cmocka_unit_test_setup(names_are_found_among_thousands, set_clock),
        cmocka_unit_test_setup(another_server_is_sent_to_as_it_stands, set_clock),
        cmocka_unit_test_setup(counters_of_earlier_lives_are_told_apart, set_clock),
        cmocka_unit_test(who_is_too_many_is_moved),
        cmocka_unit_test(a_few_more_are_no_matter),
        cmocka_unit_test_setup(it_is_bounded, set_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
