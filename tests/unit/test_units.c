/* Sizes, rates, prices and times as an operator writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "root/air/units.h"

static void bytes_in_both_thousands(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"1TB", 1000000000000},
                {"500GB", 500000000000},
                {"1.5TB", 1500000000000},
                {"900GiB", 966367641600},
                {"2 TiB", 2199023255552},
                {"1mb", 1000000},
                {"0.000001TB", 1000000},
                {"1000PB", 1000000000000000000},
                {"none", 0},
                {"0", 0}};
    uint64_t out;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(units_parse_bytes(good[i].text, &out, NULL), 0);
        if (out != good[i].bytes) fail_msg("%s: %llu", good[i].text, (unsigned long long)out);
    }
    static const char *const bad[] = {"",         "1",     "TB",    "1KB",         "-1TB",
                                      "+1TB",     "1TBx",  "1..TB", "1.TB",        ".5TB",
                                      "1e3GB",    "1  TB", " 1TB",  "0.5MB",       "1Tb/s",
                                      "1000.1PB", "0TB",   "0x1GB", "1.0000001TB", "99999999999999999999TB"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *cause = NULL;
        if (units_parse_bytes(bad[i], &out, &cause) == 0) fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(strstr(cause, "1MB to 1000PB"));
        free(cause);
    }
}

static void rates_prices_and_times(void **state)
{
    (void)state;
    uint64_t bps;
    double price;
    int64_t s;
    char *cause = NULL;
    assert_int_equal(units_parse_rate("1Gbit", &bps, NULL), 0);
    assert_int_equal(bps, 1000000000);
    assert_int_equal(units_parse_rate("2.5Gbps", &bps, NULL), 0);
    assert_int_equal(bps, 2500000000);
    assert_int_equal(units_parse_rate("200Mbit/s", &bps, NULL), 0);
    assert_int_equal(bps, 200000000);
    assert_int_equal(units_parse_rate("none", &bps, NULL), 0);
    assert_int_equal(bps, 0);
    assert_int_equal(units_parse_rate("1GB", &bps, &cause), -1);
    assert_non_null(strstr(cause, "1Mbit to 1000Gbit"));
    free(cause);
    assert_int_equal(units_parse_price("0.01/GB", &price, NULL), 0);
    assert_true(price == 0.01);
    assert_int_equal(units_parse_price("5/TB", &price, NULL), 0);
    assert_true(price == 0.005);
    assert_int_equal(units_parse_price("0/GB", &price, NULL), 0);
    assert_true(price == 0);
    cause = NULL;
    assert_int_equal(units_parse_price("0.01", &price, &cause), -1);
    assert_non_null(strstr(cause, "0/GB to 1000/GB"));
    free(cause);
    cause = NULL;
    assert_int_equal(units_parse_price("1001/GB", &price, &cause), -1);
    free(cause);
    cause = NULL;
    assert_int_equal(units_parse_time("90s", 60, 86400, &s, NULL), 0);
    assert_int_equal(s, 90);
    assert_int_equal(units_parse_time("1.5h", 60, 86400, &s, NULL), 0);
    assert_int_equal(s, 5400);
    assert_int_equal(units_parse_time("10min", 60, 86400, &s, NULL), 0);
    assert_int_equal(s, 600);
    assert_int_equal(units_parse_time("2d", 60, 86400, &s, &cause), -1);
    assert_non_null(strstr(cause, "from 1m to 1d"));
    free(cause);
    cause = NULL;
    assert_int_equal(units_parse_whole("28", 1, 28, &s, NULL), 0);
    assert_int_equal(s, 28);
    static const char *const bad[] = {"", "0", "29", "-1", "1.5", "5 ", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(units_parse_whole(bad[i], 1, 28, &s, &cause), -1);
        free(cause);
        cause = NULL;
    }
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    static const uint64_t values[] = {1000000,       999000000,      1500000000,      1000000000000,
                                      1234000000000, 20000000000000, 1000000000000000};
    char text[UNITS_TEXT_MAX];
    uint64_t out;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_int_equal(units_parse_bytes(units_bytes_text(values[i], text), &out, NULL), 0);
        if (out != values[i]) fail_msg("%llu became %s", (unsigned long long)values[i], text);
    }
    assert_string_equal(units_bytes_text(1500000000000, text), "1.5TB");
    assert_string_equal(units_bytes_text(1234567890123, text), "1.23TB");
    assert_string_equal(units_bytes_text(12, text), "12");
    assert_string_equal(units_rate_text(1000000000, text), "1Gbit");
    assert_string_equal(units_rate_text(250000000, text), "250Mbit");
    assert_string_equal(units_price_text(0.01, text), "0.01/GB");
    assert_string_equal(units_time_text(3600, text), "1h");
    assert_string_equal(units_time_text(90, text), "90s");
    assert_string_equal(units_time_text(600, text), "10m");
    assert_string_equal(units_time_text(172800, text), "2d");
    assert_string_equal(units_time_text(0, text), "0s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_in_both_thousands),
                                       cmocka_unit_test(rates_prices_and_times),
                                       cmocka_unit_test(what_is_written_is_read_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
