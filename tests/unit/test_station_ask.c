/* What a request for the stream asks for, from what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/mp3.h"
#include "common/station_ask.h"

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        uint64_t offset;
    } cases[] = {
        {NULL, 0},
        {"bytes=0-", 0},
        {"bytes=0-1", 0},
        {"bytes=1-", 1},
        {"bytes=123456-", 123456},
        {"Bytes = 77- ", 77},
        {"bytes=100-199", 100},
        {"bytes=100-99", 0},
        {"bytes=-500", 0},
        {"bytes=-", 0},
        {"bytes=", 0},
        {"bytes", 0},
        {"", 0},
        {"bytes=1-2,5-", 0},
        {"bytes=12x-", 0},
        {"bytes=12-x", 0},
        {"bytes=+5-", 0},
        {"frames=5-", 0},
        {"bytes=1099511627774-", 1099511627774},
        {"bytes=1099511627775-", 0}, /* nothing would be left before the end that answers name */
        {"bytes=18446744073709551616-", 0},
        {"bytes=99999999999999999999999999-", 0},
    };
    struct station_ask ask;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        station_ask_read(&ask, "1000", NULL, NULL, cases[i].range);
        assert_true(ask.has_from && ask.from == 1000);
        if (ask.offset != cases[i].offset) fail_msg("%s", cases[i].range);
        assert_true(station_ask_byte(&ask, 128) == mp3_frame_offset(128, 1000) + cases[i].offset);
        station_ask_read(&ask, NULL, NULL, NULL, cases[i].range); /* nothing to go on with */
        assert_true(!ask.has_from && ask.offset == 0);
    }
}

static void positions(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "-1", "12x", "1e3", " 5", "99999999999999999999999", "274877906945"};
    struct station_ask ask;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        station_ask_read(&ask, bad[i], NULL, NULL, "bytes=500-");
        if (ask.has_from || ask.offset) fail_msg("%s", bad[i]);
    }
    station_ask_read(&ask, "274877906944", NULL, NULL, "bytes=1099511627774-"); /* the greatest fit 64 bits */
    assert_true(ask.has_from);
    assert_true(station_ask_byte(&ask, 320) > mp3_frame_offset(320, ask.from));
}

static void bursts_and_clients(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double s;
    } cases[] = {{NULL, -1}, {"15", 15}, {"0", 0},    {"2.5", 2.5}, {"31", 30},    {"9999999", 30},
                 {"", -1},   {"-3", -1}, {"1e9", -1}, {"nan", -1},  {"1.2.3", -1}, {"99999999999", -1}};
    struct station_ask ask, other;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        station_ask_read(&ask, NULL, cases[i].text, NULL, NULL);
        if (ask.burst_s != cases[i].s) fail_msg("%s: %g", cases[i].text, ask.burst_s);
    }
    station_ask_read(&ask, NULL, NULL, "5fe1", NULL);
    station_ask_read(&other, NULL, NULL, "5fe2", NULL);
    assert_true(ask.client && other.client && ask.client != other.client);
    station_ask_read(&other, "7", "3", "5fe1", "bytes=5-");
    assert_true(ask.client == other.client);
    station_ask_read(&ask, NULL, NULL, "", NULL);
    assert_true(ask.client == 0);
    char longest[STATION_CLIENT_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    station_ask_read(&ask, NULL, NULL, longest, NULL);
    assert_true(ask.client == 0);
    longest[sizeof longest - 2] = '\0';
    station_ask_read(&ask, NULL, NULL, longest, NULL);
    assert_true(ask.client != 0);
}

static void queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *value, *want;
    } cases[] = {
        {"", "1", "hop=1"},
        {"", NULL, ""},
        {"a=1", "1", "a=1&hop=1"},
        {"hop=1", "2", "hop=2"},
        {"hop=1&a=%20&hop=7&b", "2", "a=%20&b&hop=2"},
        {"a=1&hop", NULL, "a=1"},
        {"hops=3&xhop=2&&", "2", "hops=3&xhop=2&hop=2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = station_query_set(cases[i].query, "hop", cases[i].value);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(positions),
        cmocka_unit_test(bursts_and_clients),
        cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
