/* The relay's ledger: over restarts, kills, damage, month edges and clocks that jump. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "relay/ledger.h"

#define DAY INT64_C(86400)

static int64_t boot_ns, wall_ns;
static uint64_t sent;
static char *dir, *path;

static uint64_t on_sent(void *context)
{
    (void)context;
    return sent;
}

static int64_t at(int year, int month, int day, int hour)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour};
    return timegm(&tm);
}

static void set_wall(int64_t s)
{
    wall_ns = s * CLOCK_NS_PER_S;
}

static struct ledger *start(void)
{
    sent = 0;
    return ledger_new(&(struct ledger_conf){.state = dir, .sent = on_sent});
}

static int begin(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    char name[] = "/tmp/forever-ledger-XXXXXX";
    dir = xstrdup(mkdtemp(name));
    path = xasprintf("%s/ledger.json", dir);
    boot_ns = 1000 * CLOCK_NS_PER_S;
    set_wall(at(2026, 11, 20, 12));
    clock_fake(&boot_ns, &wall_ns);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char *beside = xasprintf("%s.new", path);
    unlink(path);
    unlink(beside);
    rmdir(dir);
    free(beside);
    free(path);
    free(dir);
    clock_fake(NULL, NULL);
    return 0;
}

static void told(struct ledger *l, int64_t since, int64_t bytes, int reset_day)
{
    json_t *o = json_pack("{s:I,s:I,s:i}", "since", (json_int_t)since, "bytes", (json_int_t)bytes,
                          "reset_day", reset_day);
    ledger_told(l, o);
    json_decref(o);
}

static void it_goes_on_after_an_orderly_end(void **state)
{
    (void)state;
    int64_t since;
    struct ledger *l = start();
    sent = 1000;
    ledger_tick(l);
    sent = 1234;
    ledger_free(l);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    l = start();
    assert_int_equal(ledger_bytes(l, &since), 1234);
    assert_int_equal(since, at(2026, 11, 1, 0));
    sent = 66;
    json_t *json = ledger_json(l);
    assert_int_equal(json_integer_value(json_object_get(json, "bytes")), 1300);
    assert_int_equal(json_integer_value(json_object_get(json, "since")), at(2026, 11, 1, 0));
    json_decref(json);
    ledger_free(l);
}

/* What was booked more than the writing interval ago is there after a kill. */
static void a_kill_loses_seconds_at_most(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        struct ledger *l = start();
        for (int s = 0; s < 60; s++) { /* 1 MB a second */
            boot_ns += CLOCK_NS_PER_S;
            sent += 1000000;
            ledger_tick(l);
            /* the thread has its time: until the file tells what was due by now */
            for (int i = 0; s % LEDGER_WRITE_S == LEDGER_WRITE_S - 1 && i < 1000; i++) {
                size_t n;
                char *text = proc_read_file(path, 4096, &n, NULL), want[32];
                snprintf(want, sizeof want, ":%llu", (unsigned long long)sent);
                int there = text && strstr(text, want);
                free(text);
                if (there) break;
                usleep(1000);
            }
        }
        kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    struct ledger *l = start();
    assert_in_range(ledger_bytes(l, NULL), (60 - LEDGER_WRITE_S) * 1000000, 60 * 1000000);
    ledger_free(l);
}

static void damage_begins_anew_and_the_root_makes_it_good(void **state)
{
    (void)state;
    static const char *const broken[] = {"",
                                         "{",
                                         "[]",
                                         "{\"format\":2,\"days\":{}}",
                                         "{\"format\":1,\"days\":{\"x\":1}}",
                                         "{\"format\":1,\"days\":{\"20000\":-5}}",
                                         "{\"format\":1,\"reset_day\":40,\"days\":{}}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_int_equal(proc_write_file(path, broken[i], strlen(broken[i]), 0600, NULL), 0);
        struct ledger *l = start();
        assert_int_equal(ledger_bytes(l, NULL), 0);
        sent = 10;
        told(l, at(2026, 11, 1, 0), 5000, 1);
        assert_int_equal(ledger_bytes(l, NULL), 5000);
        sent = 11;
        assert_int_equal(ledger_bytes(l, NULL), 5001);
        ledger_free(l);
        l = start();
        assert_int_equal(ledger_bytes(l, NULL), 5001);
        ledger_free(l);
    }
}

static void the_root_is_believed_for_the_same_month_only(void **state)
{
    (void)state;
    struct ledger *l = start();
    sent = 100;
    told(l, at(2026, 10, 1, 0), 5000, 1);
    told(l, at(2026, 12, 1, 0), 5000, 1);
    told(l, at(2026, 11, 1, 0), 99, 1); /* less */
    ledger_told(l, NULL);
    json_t *odd = json_pack("{s:s,s:i}", "since", "now", "bytes", 7000);
    ledger_told(l, odd);
    json_decref(odd);
    assert_int_equal(ledger_bytes(l, NULL), 100);
    told(l, at(2026, 11, 1, 0), 99, 29); /* no such day */
    int64_t since;
    ledger_bytes(l, &since);
    assert_int_equal(since, at(2026, 11, 1, 0));
    ledger_free(l);
}

/* Bytes are kept by the day, so another billing day gives that month's sum. */
static void another_billing_day(void **state)
{
    (void)state;
    int64_t since;
    struct ledger *l = start();
    for (int day = 1; day <= 20; day++) {
        set_wall(at(2026, 11, day, 12));
        sent += 100;
        ledger_tick(l);
    }
    assert_int_equal(ledger_bytes(l, &since), 2000);
    told(l, at(2026, 11, 15, 0), 0, 15);
    assert_int_equal(ledger_bytes(l, &since), 600);
    assert_int_equal(since, at(2026, 11, 15, 0));
    ledger_free(l);
    l = start(); /* the day is remembered */
    assert_int_equal(ledger_bytes(l, &since), 600);
    told(l, at(2026, 10, 25, 0), 0, 25);
    assert_int_equal(ledger_bytes(l, &since), 2000);
    ledger_free(l);
}

static void months_end_and_clocks_jump(void **state)
{
    (void)state;
    int64_t since;
    set_wall(at(2026, 11, 30, 23) + 3599);
    struct ledger *l = start();
    sent = 70;
    assert_int_equal(ledger_bytes(l, &since), 70);
    set_wall(at(2026, 12, 1, 0));
    assert_int_equal(ledger_bytes(l, &since), 0);
    assert_int_equal(since, at(2026, 12, 1, 0));
    sent = 75;
    assert_int_equal(ledger_bytes(l, NULL), 5);
    set_wall(at(2026, 11, 30, 23) + 3598); /* the clock was a moment ahead */
    assert_int_equal(ledger_bytes(l, NULL), 70);
    set_wall(at(2026, 12, 1, 0) + 1);
    assert_int_equal(ledger_bytes(l, NULL), 5);
    set_wall(at(2027, 6, 1, 0)); /* far ahead, and back */
    sent = 80;
    assert_int_equal(ledger_bytes(l, NULL), 5);
    set_wall(at(2026, 12, 1, 0) + 2);
    assert_in_range(ledger_bytes(l, NULL), 0, 5); /* what the jump has cost */
    told(l, at(2026, 12, 1, 0), 10, 1);
    assert_int_equal(ledger_bytes(l, NULL), 10);
    ledger_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_goes_on_after_an_orderly_end, begin, end),
        cmocka_unit_test_setup_teardown(a_kill_loses_seconds_at_most, begin, end),
        cmocka_unit_test_setup_teardown(damage_begins_anew_and_the_root_makes_it_good, begin, end),
        cmocka_unit_test_setup_teardown(the_root_is_believed_for_the_same_month_only, begin, end),
        cmocka_unit_test_setup_teardown(another_billing_day, begin, end),
        cmocka_unit_test_setup_teardown(months_end_and_clocks_jump, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
