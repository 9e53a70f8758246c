/* The root's books: the ledger of each relay, over losses on either side, months and clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "common/json.h"
#include "root/air/books.h"
#include "root/air/overview.h"
#include "root/air/series_ask.h"

#define DAY INT64_C(86400)

static struct relay_terms terms = {.name = "ams", .reset_day = 5};

static int64_t at(int year, int month, int day, int hour)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour};
    return timegm(&tm);
}

static void told(struct book *book, int64_t since, int64_t bytes, int64_t now)
{
    char text[96];
    struct json_flat cells[4];
    snprintf(text, sizeof text, "{\"since\":%lld,\"bytes\":%lld}", (long long)since, (long long)bytes);
    assert_int_equal(json_flat_read(text, strlen(text), cells, 4, NULL), 0);
    book_told(book, &terms, cells, now);
}

static uint64_t sent(const struct book *book, int64_t now)
{
    struct registry_month month;
    book_month(book, &terms, now, &month);
    return month.sent_bytes;
}

static void counted(struct book *book, uint64_t bytes_out, int64_t now)
{
    struct registry_view view = {.name = "ams", .bytes_out = bytes_out};
    book_count(book, &view, now);
}

static void the_larger_of_two_ledgers(void **state)
{
    (void)state;
    struct books *books = books_new();
    struct book *book = books_get(books, "ams");
    int64_t now = at(2026, 11, 20, 12), since = at(2026, 11, 5, 0);
    counted(book, 1000000, now); /* at first sight it is not known when that was sent */
    assert_int_equal(sent(book, now), 0);
    counted(book, 2000000, now);
    assert_int_equal(sent(book, now), 1050000);
    told(book, since, 1200000, now); /* it has reports and requests to count, too */
    assert_int_equal(sent(book, now), 1200000);
    told(book, since, 1000, now); /* it has lost its file */
    told(book, at(2026, 10, 5, 0), 99000000, now);
    told(book, at(2026, 11, 6, 0), 99000000, now);
    book_told(book, &terms, NULL, now);
    assert_int_equal(sent(book, now), 1200000);
    struct registry_month this_one;
    struct json_write answer = {0};
    char expected[96];
    book_month(book, &terms, now, &this_one);
    json_write_begin(&answer);
    book_answer(&this_one, &terms, &answer);
    snprintf(expected, sizeof expected, ",\"ledger\":{\"since\":%lld,\"bytes\":1200000,\"reset_day\":5}",
             (long long)since);
    assert_string_equal(answer.text, expected + 1);
    json_write_free(&answer);
    counted(book, 1000, now); /* enrolled anew: it counts from there */
    assert_int_equal(sent(book, now), 1200000);
    /* the month ends: what comes then is the next one's */
    int64_t next = at(2026, 12, 5, 0);
    counted(book, 2000, next - 1);
    assert_int_equal(sent(book, next - 1), 1201050);
    counted(book, 3000, next);
    assert_int_equal(sent(book, next), 1050);
    struct registry_month month;
    book_month_before(book, &terms, next, &month);
    assert_int_equal(month.sent_bytes, 1201050);
    assert_int_equal(month.ends_s, next);
    /* its clock is behind: what it says is of the old month, what it has sent is counted here */
    told(book, since, 1300000, next);
    counted(book, 4000, next);
    assert_int_equal(sent(book, next), 2100);
    /* the clock of the root goes back for a moment */
    assert_int_equal(sent(book, next - 5), 1201050);
    books_free(books);
}

static void what_the_store_has_comes_late(void **state)
{
    (void)state;
    struct books *books = books_new();
    struct book *book = books_get(books, "ams");
    int64_t now = at(2026, 11, 20, 12), today = now / DAY;
    counted(book, 0, now);
    counted(book, 1000, now);
    assert_false(books_are_loaded(books));
    json_t *days = json_pack("[I,I,I,I,I,I,I,I]", (json_int_t)(today - 100), (json_int_t)7,
                             (json_int_t)(today - 30), (json_int_t)11, (json_int_t)(today - 1),
                             (json_int_t)500, (json_int_t)today, (json_int_t)200);
    books_load(books, "ams", days, now);
    books_load(books, "ber", days, now);
    assert_int_equal(sent(book, now), 700 + 1050);
    books_load(books, "ams", days, now); /* once is enough */
    books_loaded(books);
    assert_int_equal(sent(book, now), 700 + 1050);
    assert_int_equal(sent(books_find(books, "ber"), now), 700);
    struct sample_day unsaved[SAMPLE_DAYS_MAX];
    assert_int_equal(book_unsaved(book, unsaved), 1); /* today's alone has changed */
    assert_int_equal(unsaved[0].day, today);
    assert_int_equal(unsaved[0].bytes, 1250);
    assert_int_equal(book_unsaved(book, unsaved), 0);
    books_all_unsaved(books); /* a new store */
    assert_int_equal(book_unsaved(book, unsaved), 3);
    struct book *late = books_get(books, "cgn"); /* unknown to the store */
    counted(late, 5, now);
    counted(late, 1005, now);
    assert_int_equal(sent(late, now), 1050);
    assert_int_equal(book_unsaved(late, unsaved), 1);
    json_decref(days);
    books_free(books);
}

/* Counters as they grow from look to look; a relay that was away for one has no sample there, and none that
 * is made up for the time it was away. */
static void looks_make_samples(void **state)
{
    (void)state;
    struct books *books = books_new();
    struct book *book = books_get(books, "ams");
    struct registry_view v = {.name = "ams",
                              .healthy = 1,
                              .bytes_out = 1000,
                              .accepted = 50,
                              .closed = 40,
                              .listeners = 10,
                              .cpu_s = 5,
                              .lag_s = NAN,
                              .rss_bytes = 8192 << 10};
    struct sample s;
    assert_false(book_look(book, &v, 1, 0, &s)); /* the first one: since when? */
    v.bytes_out = 4000;
    v.accepted = 53;
    v.closed = 42;
    v.listeners = 11;
    v.cpu_s = 5.5;
    assert_true(book_look(book, &v, 2, 1, &s));
    assert_int_equal(s.n, 1);
    assert_int_equal(s.counters[SAMPLE_BYTES_OUT], 3000);
    assert_int_equal(s.counters[SAMPLE_ACCEPTED], 3);
    assert_int_equal(s.counters[SAMPLE_CLOSED], 2);
    assert_int_equal(s.gauges[SAMPLE_LISTENERS].max, 11);
    assert_int_equal(s.gauges[SAMPLE_CPU].max, 50);
    assert_int_equal(s.gauges[SAMPLE_LAG].n, 0);
    assert_int_equal(s.gauges[SAMPLE_RSS].max, 8192);
    v.healthy = 0;
    assert_false(book_look(book, &v, 3, 1, &s));
    v.healthy = 1;
    v.bytes_out = 9000;
    v.cpu_s = 0.1; /* it has started again */
    v.lag_s = -0.25;
    assert_false(book_look(book, &v, 4, 1, &s));
    v.bytes_out = 9500;
    v.cpu_s = 0.2;
    assert_true(book_look(book, &v, 5, 1, &s));
    assert_int_equal(s.counters[SAMPLE_BYTES_OUT], 500);
    assert_int_equal(s.gauges[SAMPLE_LAG].min, -250000);
    assert_int_equal(s.gauges[SAMPLE_CPU].max, 10);
    assert_false(book_look(book, &v, 6, 0, &s)); /* the clock jumped */
    v.bytes_out = 100;                           /* forgotten, and known again */
    assert_true(book_look(book, &v, 7, 1, &s));
    assert_int_equal(s.counters[SAMPLE_BYTES_OUT], 0);
    books_free(books);
}

static void assert_words(struct overview *o, enum overview_level level, const char *words)
{
    overview_judge(o);
    assert_string_equal(o->words, words);
    assert_int_equal(o->level, level);
    json_t *row = overview_json(o), *line = overview_ledger_json(o);
    assert_string_equal(json_string_value(json_object_get(json_object_get(row, "health"), "words")), words);
    assert_true(json_object_size(row) > 20 && json_object_size(line) > 8);
    json_decref(row);
    json_decref(line);
}

/* What an operator is told, the worst first. */
static void words_for_people(void **state)
{
    (void)state;
    struct relay_terms t = {
        .name = "ams", .allotment_bytes = UINT64_C(1000000000000), .reset_day = 5, .price_per_gb = 0.01};
    struct books *books = books_new();
    struct book *book = books_get(books, "ams");
    struct overview o = {.view = {.name = "ams",
                                  .url = "http://ams.example",
                                  .version = "1",
                                  .terms = &t,
                                  .healthy = 1,
                                  .reachable = 1,
                                  .max_listeners = 100,
                                  .lag_s = NAN,
                                  .age_s = 1},
                         .book = book,
                         .root_up_s = 1000,
                         .now_s = at(2026, 11, 20, 0)};
    assert_words(&o, OVERVIEW_GOOD, "asleep: nobody listens");
    o.view.listeners = 7;
    assert_words(&o, OVERVIEW_GOOD, "plays");
    o.view.lag_s = -0.75;
    assert_words(&o, OVERVIEW_NOTE, "0.8 s ahead");
    o.view.listeners = 100;
    assert_words(&o, OVERVIEW_NOTE, "full");
    told(book, at(2026, 11, 5, 0), 600000000000, o.now_s); /* half of the month has gone */
    assert_words(&o, OVERVIEW_NOTE, "on course for 1.2 TB of 1.0 TB");
    assert_true(o.gone == 0.5 && o.projected_bytes == UINT64_C(1200000000000));
    assert_true(fabs(overview_cost(&t, o.month.sent_bytes) - 6) < 1e-9);
    t.drained = 1;
    assert_words(&o, OVERVIEW_NOTE, "drains: no new listeners");
    o.view.reachable = 0;
    assert_words(&o, OVERVIEW_NOTE, "not called back yet: no listeners so far");
    book->detail.fds = 95;
    book->detail.fd_limit = 100;
    assert_words(&o, OVERVIEW_BAD, "runs out of descriptors: 95 of 100");
    told(book, at(2026, 11, 5, 0), 1000000000000, o.now_s);
    assert_words(&o, OVERVIEW_BAD, "allotment used up: no new listeners until 5 Dec");
    o.reach_words = "nothing listens at port 8001";
    assert_words(&o, OVERVIEW_BAD, "can't be reached: nothing listens at port 8001");
    o.view.healthy = 0;
    o.view.age_s = 200;
    assert_words(&o, OVERVIEW_BAD, "silent for 3 min");
    o.view.age_s = INFINITY;
    assert_words(&o, OVERVIEW_BAD, "silent since the root started");
    o.root_up_s = 5;
    assert_words(&o, OVERVIEW_NOTE, "silent since the root started");
    o.awaited = 1;
    assert_words(&o, OVERVIEW_NOTE, "not enrolled yet");
    o.book = NULL;
    assert_words(&o, OVERVIEW_NOTE, "not enrolled yet");
    books_free(books);
}

static void books_are_found_and_forgotten(void **state)
{
    (void)state;
    struct books *books = books_new();
    char name[32];
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "relay-%d", i);
        assert_non_null(books_get(books, name));
    }
    assert_int_equal(books_count(books), 10000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i += 7) {
            snprintf(name, sizeof name, "relay-%d", i);
            books_get(books, name);
        }
        books_sweep(books);
    }
    assert_int_equal(books_count(books), 10000 / 7 + 1);
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "relay-%d", i);
        assert_true(!books_find(books, name) == (i % 7 != 0));
    }
    for (int i = 0; i < 3 * BOOKS_MAX; i++) {
        snprintf(name, sizeof name, "more-%d", i);
        books_get(books, name);
    }
    assert_int_equal(books_count(books), BOOKS_MAX);
    assert_null(books_get(books, "one-more"));
    books_free(books);
}

static void details_of_reports(void **state)
{
    (void)state;
    struct detail d = {0};
    static const char first[] =
        "{\"session\":\"a\",\"lengths\":[1,2,3,4,5,6,7,8,9,9,9,9,9,9,9,9,9,9],\"fds\":12,\"fd_limit\":1024,"
        "\"mounts\":[{\"name\":\"stream\",\"listeners\":3,\"accepted\":12,\"closed\":9,\"bytes_in\":5,"
        "\"bytes_out\":15,"
        "\"pulling\":true,\"agents\":{\"radio\":3}}],\"versions\":{\"openssl\":\"3.0.1\",\"kernel\":\"6.1 "
        "x\"}}",
                      second[] = "{\"session\":\"b\",\"lengths\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2],"
                                 "\"mounts\":7}",
                      third[] = "{\"session\":\"b\",\"lengths\":[3,2],\"versions\":[],\"fds\":\"many\"}";
    const char *const texts[] = {first, second, third};
    for (int i = 0; i < 3; i++) {
        char text[512];
        struct json_flat report[64];
        snprintf(text, sizeof text, "%s", texts[i]);
        assert_int_equal(json_flat_read(text, strlen(text), report, 64, NULL), 0);
        detail_take(&d, report);
        if (i) continue;
        assert_int_equal(d.mount_count, 1);
        assert_int_equal(d.mounts[0].agents[AGENT_RADIO], 3);
        assert_int_equal(d.mounts[0].bytes_out, 15);
        assert_int_equal(d.fds, 12);
    }
    uint64_t sums[FANOUT_LENGTHS] = {0};
    detail_lengths(&d, sums);
    assert_int_equal(sums[0], 1);
    assert_int_equal(sums[FANOUT_LENGTHS - 1], 11);
    assert_string_equal(d.openssl, "3.0.1");
    assert_string_equal(d.kernel, "6.1");
    json_t *o = json_object();
    detail_json(&d, o);
    assert_int_equal(json_array_size(json_object_get(o, "lengths")), FANOUT_LENGTHS);
    json_decref(o);
    detail_free(&d);
}

static void questions(void **state)
{
    (void)state;
    int64_t now = at(2026, 11, 20, 12) + 7;
    struct series_question q;
    assert_int_equal(series_question_read(&q, NULL, NULL, NULL, 1, now, NULL), 0);
    assert_int_equal(q.step_s, 10);
    assert_int_equal(q.from_s, now - 3607);
    assert_int_equal(q.to_s, now + 3);
    assert_int_equal(series_question_read(&q, "-86400", NULL, NULL, 1, now, NULL), 0);
    assert_int_equal(q.step_s, 300);
    assert_int_equal(q.from_s % 300, 0);
    assert_int_equal(series_question_read(&q, "-15552000", NULL, NULL, 1, now, NULL), 0); /* half a year */
    assert_int_equal(q.step_s % 3600, 0);
    assert_int_equal(series_question_read(&q, "-600", "-300", "60", 50, now, NULL), 0);
    assert_int_equal((q.to_s - q.from_s) / q.step_s, 6);
    static const struct {
        const char *from, *to, *step, *why;
        unsigned names;
    } bad[] = {
        {"x", NULL, NULL, "from must be seconds", 1},
        {"", NULL, NULL, "from must be seconds", 1},
        {"1e9", NULL, NULL, "from must be seconds", 1},
        {NULL, "10 ", NULL, "to must be seconds", 1},
        {"-10", "-20", NULL, "from must lie before", 1},
        {"5", "5", NULL, "from must lie before", 1},
        {NULL, NULL, "15", "step must be a multiple", 1},
        {NULL, NULL, "0", "step must be a multiple", 1},
        {NULL, NULL, "-10", "step must be a multiple", 1},
        {NULL, NULL, "99999990", "step must be a multiple", 1},
        {"-86400", NULL, "10", "points", 1},
        {"0", NULL, "3600", "points", 1},
        {"-2000", NULL, "10", "stored stretches", 120},
        {"99999999999999999999", NULL, NULL, "from must be", 1},
        {"100000000001", NULL, NULL, "lies outside", 1},
        {"-9999999999", NULL, NULL, "lies outside", 1},
        {"-1000000", NULL, "1000", "stored stretches", 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *cause = NULL;
        assert_int_equal(
            series_question_read(&q, bad[i].from, bad[i].to, bad[i].step, bad[i].names, now, &cause), -1);
        if (!strstr(cause, bad[i].why)) fail_msg("%zu: %s", i, cause);
        free(cause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_larger_of_two_ledgers),
        cmocka_unit_test(what_the_store_has_comes_late),
        cmocka_unit_test(looks_make_samples),
        cmocka_unit_test(words_for_people),
        cmocka_unit_test(books_are_found_and_forgotten),
        cmocka_unit_test(details_of_reports),
        cmocka_unit_test(questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
