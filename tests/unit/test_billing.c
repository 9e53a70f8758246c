/* Billing months and tallies: against the system's own calendar, over four centuries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "common/billing.h"
#include "tests/draw.h"

#define DAY INT64_C(86400)

static uint64_t seed;

static int64_t at(int year, int month, int day, int hour, int minute, int second)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    return timegm(&tm);
}

static void assert_month(int64_t now_s, int reset_day, int64_t start_s, int64_t end_s)
{
    struct billing_month m = billing_month(now_s, reset_day);
    assert_int_equal(m.start_s, start_s);
    assert_int_equal(m.end_s, end_s);
}

static void edges_of_months_and_years(void **state)
{
    (void)state;
    /* the last second, the first second */
    assert_month(at(2026, 11, 4, 23, 59, 59), 5, at(2026, 10, 5, 0, 0, 0), at(2026, 11, 5, 0, 0, 0));
    assert_month(at(2026, 11, 5, 0, 0, 0), 5, at(2026, 11, 5, 0, 0, 0), at(2026, 12, 5, 0, 0, 0));
    /* the year ends within the month, and with it */
    assert_month(at(2026, 12, 31, 23, 59, 59), 15, at(2026, 12, 15, 0, 0, 0), at(2027, 1, 15, 0, 0, 0));
    assert_month(at(2027, 1, 3, 0, 0, 0), 15, at(2026, 12, 15, 0, 0, 0), at(2027, 1, 15, 0, 0, 0));
    assert_month(at(2026, 12, 31, 23, 59, 59), 1, at(2026, 12, 1, 0, 0, 0), at(2027, 1, 1, 0, 0, 0));
    /* leap years: 2028 is one, 2100 is none, 2000 was one */
    assert_month(at(2028, 2, 29, 12, 0, 0), 28, at(2028, 2, 28, 0, 0, 0), at(2028, 3, 28, 0, 0, 0));
    assert_int_equal(billing_month(at(2028, 3, 1, 0, 0, 0), 28).end_s -
                         billing_month(at(2028, 3, 1, 0, 0, 0), 28).start_s,
                     29 * DAY);
    assert_month(at(2100, 3, 1, 0, 0, 0), 1, at(2100, 3, 1, 0, 0, 0), at(2100, 4, 1, 0, 0, 0));
    assert_month(at(2100, 2, 28, 23, 59, 59), 1, at(2100, 2, 1, 0, 0, 0), at(2100, 3, 1, 0, 0, 0));
    assert_month(at(2000, 2, 29, 0, 0, 0), 1, at(2000, 2, 1, 0, 0, 0), at(2000, 3, 1, 0, 0, 0));
    /* a clock that was never set, and days that no month surely has */
    assert_month(0, 5, at(1969, 12, 5, 0, 0, 0), at(1970, 1, 5, 0, 0, 0));
    assert_month(at(2026, 11, 30, 0, 0, 0), 31, at(2026, 11, 28, 0, 0, 0), at(2026, 12, 28, 0, 0, 0));
    assert_month(at(2026, 11, 30, 0, 0, 0), 0, at(2026, 11, 1, 0, 0, 0), at(2026, 12, 1, 0, 0, 0));
}

/* Where clocks are put forward and back, a UTC month knows nothing of it. */
static void summer_time_changes_nothing(void **state)
{
    (void)state;
    char *before = getenv("TZ") ? strdup(getenv("TZ")) : NULL;
    static const char *const zones[] = {"CET-1CEST,M3.5.0,M10.5.0/3", "NZST-12NZDT,M9.5.0,M4.1.0/3",
                                        "<-12>12"};
    for (size_t z = 0; z < sizeof zones / sizeof *zones; z++) {
        setenv("TZ", zones[z], 1);
        tzset();
        assert_month(at(2026, 3, 28, 23, 59, 59), 29, at(2026, 3, 28, 0, 0, 0), at(2026, 4, 28, 0, 0, 0));
        assert_month(at(2026, 3, 29, 1, 30, 0), 28, at(2026, 3, 28, 0, 0, 0), at(2026, 4, 28, 0, 0, 0));
        assert_month(at(2026, 10, 25, 1, 30, 0), 25, at(2026, 10, 25, 0, 0, 0), at(2026, 11, 25, 0, 0, 0));
    }
    if (before)
        setenv("TZ", before, 1);
    else
        unsetenv("TZ");
    tzset();
    free(before);
}

static void every_instant_is_in_its_month(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        int64_t now = (int64_t)(draw_bits(&seed) % (UINT64_C(800) * 366 * 86400)) - 400 * 366 * DAY;
        int day = 1 + (int)(draw_bits(&seed) % 28);
        struct billing_month m = billing_month(now, day);
        assert_true(m.start_s <= now && now < m.end_s);
        for (int k = 0; k < 2; k++) {
            time_t edge = (time_t)(k ? m.end_s : m.start_s);
            struct tm tm;
            gmtime_r(&edge, &tm);
            assert_int_equal(tm.tm_mday, day);
            assert_int_equal(tm.tm_hour + tm.tm_min + tm.tm_sec, 0);
        }
        assert_in_range(m.end_s - m.start_s, 28 * DAY, 31 * DAY);
        /* months lie end to end */
        struct billing_month next = billing_after(&m, day), last = billing_before(&m, day);
        assert_int_equal(next.start_s, m.end_s);
        assert_int_equal(last.end_s, m.start_s);
        /* and all who ask within one agree on it */
        int64_t other = m.start_s + (int64_t)(draw_bits(&seed) % (uint64_t)(m.end_s - m.start_s));
        assert_int_equal(billing_month(other, day).start_s, m.start_s);
        double gone = billing_gone(&m, now);
        assert_true(gone >= 0 && gone < 1);
    }
}

static void shares_and_projections(void **state)
{
    (void)state;
    struct billing_month m = billing_month(at(2026, 11, 16, 0, 0, 0), 1);
    assert_true(billing_gone(&m, m.start_s) == 0 && billing_gone(&m, m.start_s - 5) == 0);
    assert_true(billing_gone(&m, m.end_s) == 1 && billing_gone(&m, m.end_s + 5) == 1);
    assert_true(billing_gone(&m, at(2026, 11, 16, 0, 0, 0)) == 0.5);
    assert_int_equal(billing_projected(&m, at(2026, 11, 16, 0, 0, 0), 1000), 2000);
    assert_int_equal(billing_projected(&m, m.start_s + 60, 1000), 30000); /* as if it had been a day's */
    assert_int_equal(billing_projected(&m, m.end_s, 1000), 1000);
    assert_int_equal(billing_projected(&m, m.start_s, UINT64_MAX), UINT64_MAX);
    assert_int_equal(billing_projected(&m, m.start_s, 0), 0);
}

/* Whatever is added when: any month's sum is what was added in it, as long as it is kept. */
static void tallies_make_any_month(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct billing_tally t = {0};
        int64_t now = at(2020, 1, 1, 0, 0, 0) + (int64_t)(draw_bits(&seed) % (UINT64_C(4000) * 86400));
        struct {
            int64_t s;
            uint64_t bytes;
        } added[400];
        for (int i = 0; i < 400; i++) {
            now += (int64_t)(draw_bits(&seed) % (3 * 3600));
            added[i].s = now;
            added[i].bytes = draw_bits(&seed) % 1000000;
            billing_add(&t, added[i].s, added[i].bytes);
        }
        for (int day = 1; day <= 28; day++) {
            struct billing_month m = billing_month(now, day);
            uint64_t truth = 0;
            for (int i = 0; i < 400; i++)
                truth += added[i].s >= m.start_s && added[i].s < m.end_s ? added[i].bytes : 0;
            assert_int_equal(billing_sum(&t, m.start_s, m.end_s), truth);
        }
    }
}

static void the_larger_wins(void **state)
{
    (void)state;
    struct billing_tally t = {0};
    int64_t now = at(2026, 11, 20, 12, 0, 0);
    struct billing_month m = billing_month(now, 5), before = billing_before(&m, 5);
    billing_add(&t, now - 20 * DAY, 77); /* in October's month */
    billing_add(&t, now, 100);
    assert_false(billing_raise(&t, &m, now, 100));
    assert_false(billing_raise(&t, &m, now, 99));
    assert_true(billing_raise(&t, &m, now, 250));
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), 250);
    assert_int_equal(billing_sum(&t, before.start_s, before.end_s), 77);
    assert_false(billing_raise(&t, &before, now, 1000)); /* not the month of now */
    billing_add(&t, now, 5);
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), 255);
    billing_add(&t, now, UINT64_MAX);
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), UINT64_MAX);
}

static void clocks_that_jump(void **state)
{
    (void)state;
    struct billing_tally t = {0};
    int64_t now = at(2026, 11, 20, 12, 0, 0);
    struct billing_month m = billing_month(now, 1);
    billing_add(&t, now, 100);
    billing_add(&t, now + 20 * DAY, 7); /* ahead for a while, and back */
    billing_add(&t, now, 1);
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), 101);
    billing_add(&t, now + 64 * DAY, 9); /* so far ahead that it takes the place of today */
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), 0);
    billing_add(&t, now, 3); /* counting goes on; the rest is what the other side is for */
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), 3);
    assert_true(billing_raise(&t, &m, now, 104));
    assert_int_equal(billing_sum(&t, m.start_s, m.end_s), 104);
    billing_add(&t, 0, 5); /* the clock of 1970 */
    struct billing_month first = billing_month(0, 1);
    assert_int_equal(billing_sum(&t, first.start_s, first.end_s), 5);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    fprintf(stderr, "seed %llu (%s SEED)\n", (unsigned long long)seed, argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_of_months_and_years),
        cmocka_unit_test(summer_time_changes_nothing),
        cmocka_unit_test(every_instant_is_in_its_month),
        cmocka_unit_test(shares_and_projections),
        cmocka_unit_test(tallies_make_any_month),
        cmocka_unit_test(the_larger_wins),
        cmocka_unit_test(clocks_that_jump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
