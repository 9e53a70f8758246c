/* Lives of worker processes. This program is its own worker: started as `test_workers ROLE` with a channel it
 * plays one, as the environment variable FAKE says. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/proc.h"
#include "root/air/workers.h"

#define DEADLINE_S 30

/* The worker's side */

static int fake_main(const char *role)
{
    struct msg_channel *channel = msg_channel_new(PROC_CHANNEL_FD);
    struct msg m;
    if (msg_wait(channel, &m, 5000) != 1 || m.type != WIRE_CONFIG) return 3;
    json_t *body = wire_body(&m, NULL);
    const char *how = json_str_or(body, "how", "", NULL);
    int dies = !strcmp(how, "die"), late_quit = !strcmp(how, "deaf");
    double deadline_s = !strcmp(how, "hurry") ? 0.2 : 60;
    json_decref(body);
    if (dies) {
        msg_channel_free(channel);
        return 4;
    }
    wire_send(channel, WIRE_READY, 0, json_pack("{s:s}", "role", role), -1);
    if (!strcmp(role, "analyse")) wire_send(channel, WIRE_JOB, 1, json_object(), -1);
    while (msg_wait(channel, &m, -1) == 1) {
        if (m.type == WIRE_QUIT && !late_quit) break;
        if (m.type == WIRE_JOB)
            wire_send(channel, WIRE_JOB_IS, m.seq,
                      json_pack("{s:i,s:f}", "track", 7, "deadline_s", deadline_s), -1);
        /* what the store hears of a lost job it tells air in a way air can see */
        if (m.type == WIRE_JOB_LOST) wire_send(channel, WIRE_PROGRESS, 0, json_pack("{s:i}", "lost", 7), -1);
    }
    msg_channel_free(channel);
    return 0;
}

/* Air's side */

static struct event_base *base;
static struct workers *workers;
static const char *how; /* the next workers behave so */
static enum role how_role;
static unsigned ups[ROLE_COUNT], downs[ROLE_COUNT], lost_jobs;
static int stopped;

static json_t *configure(void *context, enum role role, unsigned generation)
{
    (void)context;
    return json_pack("{s:i,s:s}", "generation", (int)generation, "how", how && role == how_role ? how : "");
}

static void on_up(void *context, enum role role, struct switch_end *end)
{
    (void)context;
    assert_ptr_equal(switchboard_serving(workers_switchboard(workers), role), end);
    ups[role]++;
}

static void on_down(void *context, enum role role)
{
    (void)context;
    downs[role]++;
}

static int on_event(void *context, struct switch_end *end, const struct wire_row *row,
                    const struct msg *message, json_t *body, char **cause)
{
    (void)context, (void)end, (void)message, (void)cause;
    if (row->type == WIRE_PROGRESS) lost_jobs += json_int_or(body, "lost", 0, 0, 100, NULL) == 7;
    return 0;
}

static void on_stopped(void *context)
{
    (void)context;
    stopped = 1;
}

static void turn(void)
{
    struct timeval ms = {0, 2000};
    event_base_loopexit(base, &ms);
    event_base_dispatch(base);
}

#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        int64_t end_ = clock_boot_ns() + DEADLINE_S * CLOCK_NS_PER_S;                                        \
        while (!(condition)) {                                                                               \
            assert_true(clock_boot_ns() < end_);                                                             \
            turn();                                                                                          \
        }                                                                                                    \
    } while (0)

static int64_t member(enum role role, const char *key)
{
    json_t *list = workers_json(workers), *one;
    int64_t value = 0;
    size_t i;
    json_array_foreach(list, i, one)
    {
        if (!strcmp(json_str_or(one, "role", "", NULL), role_name(role)))
            value = json_int_or(one, key, 0, 0, INT64_MAX, NULL);
    }
    json_decref(list);
    return value;
}

static pid_t pid_of(enum role role)
{
    return (pid_t)member(role, "pid");
}

static int all_serve(void)
{
    for (int role = ROLE_STORE; role < ROLE_LIVE; role++) {
        if (!ups[role]) return 0;
    }
    return 1;
}

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    base = event_base_new();
    how = NULL;
    memset(ups, 0, sizeof ups);
    memset(downs, 0, sizeof downs);
    lost_jobs = 0;
    stopped = 0;
    struct workers_conf conf = {.path = "/proc/self/exe",
                                .coder = 1,
                                .analysers = 1,
                                .drain_ms = 300,
                                .job_grace_ms = 100,
                                .configure = configure,
                                .up = on_up,
                                .down = on_down,
                                .event = on_event,
                                .stopped = on_stopped};
    workers = workers_new(base, &conf);
    UNTIL(all_serve());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    workers_stop(workers);
    UNTIL(stopped);
    workers_free(workers);
    event_base_free(base);
    return 0;
}

static void the_killed_come_back(void **state)
{
    (void)state;
    pid_t store = pid_of(ROLE_STORE), brain = pid_of(ROLE_BRAIN), scan = pid_of(ROLE_SCAN);
    assert_true(store > 0 && brain > 0);
    assert_int_equal(kill(brain, SIGKILL), 0);
    UNTIL(ups[ROLE_BRAIN] == 2);
    assert_int_equal(downs[ROLE_BRAIN], 1);
    assert_int_not_equal(pid_of(ROLE_BRAIN), brain);
    assert_int_equal(pid_of(ROLE_STORE), store);
    assert_int_equal(workers_restarts(workers, ROLE_BRAIN), 1);
    /* scan begins anew with the store */
    assert_int_equal(pid_of(ROLE_SCAN), scan);
    assert_int_equal(kill(store, SIGKILL), 0);
    UNTIL(ups[ROLE_STORE] == 2 && ups[ROLE_SCAN] == 2);
    assert_int_not_equal(pid_of(ROLE_SCAN), scan);
}

static void a_dead_analysers_job_is_reported(void **state)
{
    (void)state;
    UNTIL(member(ROLE_ANALYSE, "job") == 7);
    assert_int_equal(kill(pid_of(ROLE_ANALYSE), SIGKILL), 0);
    UNTIL(lost_jobs == 1);
    UNTIL(ups[ROLE_ANALYSE] == 2);
}

/* One that hangs, here stopped so that it can't even be asked to end, is replaced when its deadline passes.
 */
static void a_stopped_analyser_is_replaced(void **state)
{
    (void)state;
    UNTIL(member(ROLE_ANALYSE, "job") == 7);
    how = "hurry";
    how_role = ROLE_STORE;
    assert_int_equal(kill(pid_of(ROLE_STORE), SIGKILL), 0);
    UNTIL(ups[ROLE_STORE] == 2);
    pid_t first = pid_of(ROLE_ANALYSE);
    assert_int_equal(kill(first, SIGKILL), 0); /* the next one gets the short deadline */
    UNTIL(lost_jobs >= 1 && member(ROLE_ANALYSE, "job") == 7 && pid_of(ROLE_ANALYSE) != first);
    pid_t stopped_one = pid_of(ROLE_ANALYSE);
    assert_int_equal(kill(stopped_one, SIGSTOP), 0);
    UNTIL(lost_jobs >= 2);
    UNTIL(kill(stopped_one, 0) != 0);
    how = NULL;
}

static void a_swap_is_never_without(void **state)
{
    (void)state;
    for (int role = ROLE_STORE; role < ROLE_LIVE; role++) {
        UNTIL(workers_serving(workers, (enum role)role)); /* scan began anew with the store */
        pid_t old = pid_of((enum role)role);
        unsigned before = ups[role];
        assert_int_equal(workers_swap(workers, (enum role)role, NULL), 0);
        char *cause = NULL;
        assert_int_equal(workers_swap(workers, (enum role)role, &cause), -1); /* one at a time */
        free(cause);
        UNTIL(ups[role] > before);
        assert_int_not_equal(pid_of((enum role)role), old);
        assert_int_equal(downs[role], 0);
        UNTIL(kill(old, 0) != 0); /* the old one went by itself */
    }
}

static void a_swap_that_fails_changes_nothing(void **state)
{
    (void)state;
    pid_t old = pid_of(ROLE_STUDIO);
    how = "die";
    how_role = ROLE_STUDIO;
    assert_int_equal(workers_swap(workers, ROLE_STUDIO, NULL), 0);
    UNTIL(member(ROLE_STUDIO, "generation") &&
          workers_swap(workers, ROLE_STUDIO, NULL) == 0); /* over when another may begin */
    how = NULL;
    assert_int_equal(pid_of(ROLE_STUDIO), old);
    assert_int_equal(ups[ROLE_STUDIO], 1);
    assert_int_equal(downs[ROLE_STUDIO], 0);
}

static void the_deaf_are_killed(void **state)
{
    (void)state;
    how = "deaf";
    how_role = ROLE_STUDIO;
    pid_t first = pid_of(ROLE_STUDIO);
    kill(first, SIGKILL);
    UNTIL(ups[ROLE_STUDIO] == 2);
    how = NULL;
    pid_t deaf = pid_of(ROLE_STUDIO);
    assert_int_equal(workers_swap(workers, ROLE_STUDIO, NULL), 0);
    /* the new one takes over only when the old one's frames can't come any more */
    UNTIL(ups[ROLE_STUDIO] == 3);
    UNTIL(kill(deaf, 0) != 0);
    assert_int_equal(downs[ROLE_STUDIO], 1);
}

int main(int argc, char **argv)
{
    if (argc > 1) return fake_main(argv[1]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_killed_come_back),
        TEST(a_dead_analysers_job_is_reported),
        TEST(a_stopped_analyser_is_replaced),
        TEST(a_swap_is_never_without),
        TEST(the_deaf_are_killed),
        TEST(a_swap_that_fails_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
