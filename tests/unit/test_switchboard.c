/* The switchboard between fake workers on real channels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>
#include <event2/event.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/air/switchboard.h"

#define WAIT_MS 20000

struct fake {
    struct switch_end *end;
    struct msg_channel *channel; /* the worker's side */
};

static struct event_base *base;
static struct switchboard *board;
static struct switch_end *lost_end;
static char lost_cause[200];
static unsigned air_events, passed_count, undelivered;
static int reject;

static int to_air(void *context, struct switch_end *end, const struct wire_row *row,
                  const struct msg *message, json_t *body, char **cause)
{
    (void)context, (void)end, (void)message;
    air_events++;
    assert_true(row->binary == (body == NULL));
    return reject ? cause_set(cause, "not so") : 0;
}

static void passed(void *context, struct switch_end *from, struct switch_end *to, const struct wire_row *row,
                   const struct msg *message)
{
    (void)context, (void)row, (void)message;
    assert_non_null(from);
    if (to)
        passed_count++;
    else
        undelivered++;
}

static void lost(void *context, struct switch_end *end, const char *cause)
{
    (void)context;
    lost_end = end;
    snprintf(lost_cause, sizeof lost_cause, "%s", cause ? cause : "closed");
    switchboard_remove(end);
}

static struct fake join(enum role role, int serves)
{
    int fds[2];
    assert_int_equal(msg_pair(fds), 0);
    struct fake f = {switchboard_add(board, role, fds[0], NULL), msg_channel_new(fds[1])};
    if (serves) switchboard_serve(board, role, f.end);
    return f;
}

static void leave(struct fake *f)
{
    msg_channel_free(f->channel);
    f->channel = NULL;
}

static int set_up(void **state)
{
    (void)state;
    base = event_base_new();
    struct switchboard_conf conf = {.to_air = to_air, .passed = passed, .lost = lost};
    board = switchboard_new(base, &conf);
    lost_end = NULL;
    lost_cause[0] = '\0';
    air_events = passed_count = undelivered = 0;
    reject = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    switchboard_free(board);
    event_base_free(base);
    return 0;
}

/* Turns the loop until the condition holds; fails after the deadline. */
#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        int turns_ = 0;                                                                                      \
        while (!(condition)) {                                                                               \
            assert_true(turns_++ < WAIT_MS);                                                                 \
            turn();                                                                                          \
        }                                                                                                    \
    } while (0)

static void turn(void)
{
    struct timeval ms = {0, 1000};
    event_base_loopexit(base, &ms);
    event_base_dispatch(base);
}

static int settle(void)
{
    for (int i = 0; i < 5; i++)
        turn();
    return 1;
}

static struct msg receive(struct fake *f)
{
    struct msg m;
    int got;
    UNTIL((got = msg_read(f->channel, &m)) != 0);
    assert_int_equal(got, 1);
    return m;
}

static void say(struct fake *f, enum wire_type type, uint32_t seq, json_t *body)
{
    assert_int_equal(wire_send(f->channel, type, seq, body, -1), 0);
}

static void replies_find_their_way_back(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1), brain = join(ROLE_BRAIN, 1), studio = join(ROLE_STUDIO, 1);
    /* both count from 1, and are not confused */
    say(&brain, WIRE_HISTORY, 1, json_pack("{s:i}", "limit", 1));
    struct msg a = receive(&store);
    uint32_t first = a.seq;
    say(&studio, WIRE_HISTORY, 1, json_pack("{s:i}", "limit", 2));
    struct msg b = receive(&store);
    assert_int_not_equal(first, b.seq);
    say(&store, WIRE_HISTORY_IS, b.seq, json_pack("{s:s}", "for", "studio"));
    say(&store, WIRE_HISTORY_IS, first, json_pack("{s:s}", "for", "brain"));
    struct msg m = receive(&brain);
    json_t *body = wire_body(&m, NULL);
    assert_int_equal(m.seq, 1);
    assert_string_equal(json_str_or(body, "for", "", NULL), "brain");
    json_decref(body);
    m = receive(&studio);
    body = wire_body(&m, NULL);
    assert_string_equal(json_str_or(body, "for", "", NULL), "studio");
    json_decref(body);
    /* a second reply to the same question goes nowhere */
    say(&store, WIRE_HISTORY_IS, first, json_object());
    UNTIL(undelivered == 1);
    leave(&store), leave(&brain), leave(&studio);
}

static void descriptors_travel_with_replies(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1), analyser = join(ROLE_ANALYSE, 0);
    say(&analyser, WIRE_JOB, 5, json_object());
    struct msg m = receive(&store);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(wire_send(store.channel, WIRE_JOB_IS, m.seq, json_pack("{s:i}", "track", 1), fds[0]), 0);
    m = receive(&analyser);
    assert_true(m.fd >= 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    char c;
    assert_int_equal(read(m.fd, &c, 1), 1);
    close(m.fd), close(fds[0]), close(fds[1]);
    leave(&store), leave(&analyser);
}

static void a_question_waits_for_its_role_and_survives_one_death(void **state)
{
    (void)state;
    struct fake brain = join(ROLE_BRAIN, 1);
    say(&brain, WIRE_HISTORY, 9, json_object());
    settle();
    struct fake store = join(ROLE_STORE, 0);
    switchboard_serve(board, ROLE_STORE, store.end);
    struct msg m = receive(&store);
    assert_int_equal(m.type, WIRE_HISTORY);
    leave(&store); /* dies over it */
    UNTIL(lost_end == store.end);
    struct fake second = join(ROLE_STORE, 1);
    m = receive(&second);
    say(&second, WIRE_HISTORY_IS, m.seq, json_object());
    m = receive(&brain);
    assert_int_equal(m.type, WIRE_HISTORY_IS);
    assert_int_equal(m.seq, 9);
    /* a question that two died over is not asked a third time */
    say(&brain, WIRE_HISTORY, 10, json_object());
    receive(&second);
    leave(&second);
    UNTIL(lost_end == second.end);
    struct fake third = join(ROLE_STORE, 1);
    receive(&third);
    leave(&third);
    m = receive(&brain);
    assert_int_equal(m.type, WIRE_ERROR);
    assert_int_equal(m.seq, 10);
    leave(&brain);
}

static void the_dead_leave_nothing_behind(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1), analyser = join(ROLE_ANALYSE, 0);
    say(&analyser, WIRE_JOB, 1, json_object());
    struct msg m = receive(&store);
    uint32_t seq = m.seq;
    leave(&analyser);
    UNTIL(lost_end == analyser.end);
    say(&store, WIRE_JOB_IS, seq, json_pack("{s:i}", "track", 4));
    UNTIL(undelivered == 1); /* and the observer hears of it, so that the job is not lost */
    leave(&store);
}

static void expect_lost(enum role role, enum wire_type type, uint32_t seq, const void *body, size_t len)
{
    struct fake f = join(role, 1);
    assert_int_equal(msg_send(f.channel, (uint16_t)type, seq, body, len, -1), 0);
    UNTIL(lost_end == f.end);
    assert_string_not_equal(lost_cause, "closed");
    leave(&f);
    lost_end = NULL;
}

static void who_breaks_the_table_is_lost(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1);
    static char large[70 << 10];
    memset(large, ' ', sizeof large);
    expect_lost(ROLE_SCAN, (enum wire_type)999, 0, "{}", 2);       /* unknown */
    expect_lost(ROLE_SCAN, WIRE_FEATURES, 0, "{}", 2);             /* not its to say */
    expect_lost(ROLE_BRAIN, WIRE_HISTORY, 1, large, sizeof large); /* too large */
    expect_lost(ROLE_BRAIN, WIRE_HISTORY, 0, "{}", 2);             /* a request without number */
    expect_lost(ROLE_STUDIO, WIRE_MARK, 0, "[]", 2);               /* no object */
    expect_lost(ROLE_STUDIO, WIRE_MARK, 0, "{", 1);                /* no JSON */
    expect_lost(ROLE_STUDIO, WIRE_QUIT, 0, "{}", 2);               /* air's own word */
    reject = 1;
    expect_lost(ROLE_STUDIO, WIRE_MARK, 0, "{}", 2); /* air has judged it */
    assert_int_equal(air_events, 1);
    /* a reply of the wrong kind */
    struct fake brain = join(ROLE_BRAIN, 1);
    say(&brain, WIRE_HISTORY, 1, json_object());
    struct msg m = receive(&store);
    say(&store, WIRE_POOL_IS, m.seq, json_object());
    UNTIL(lost_end == store.end);
    leave(&store), leave(&brain);
}

static void requests_under_way_are_bounded(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1), brain = join(ROLE_BRAIN, 1);
    for (uint32_t i = 1; i <= SWITCHBOARD_PENDING_MAX + 1; i++)
        say(&brain, WIRE_HISTORY, i, json_object());
    struct msg m = receive(&brain);
    assert_int_equal(m.type, WIRE_ERROR);
    assert_int_equal(m.seq, SWITCHBOARD_PENDING_MAX + 1);
    leave(&store), leave(&brain);
}

static char answer[200];

static void on_reply(void *context, const struct msg *message, const char *error)
{
    (void)context;
    snprintf(answer, sizeof answer, "%s", message ? (const char *)message->body : error);
}

static void air_asks_too(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1);
    switchboard_request(board, WIRE_ART_GET, json_pack("{s:i}", "track", 1), on_reply, NULL);
    struct msg m = receive(&store);
    answer[0] = '\0';
    assert_int_equal(msg_send(store.channel, WIRE_ART_IS, m.seq, "image/png\0bytes", 15, -1), 0);
    UNTIL(answer[0]);
    assert_string_equal(answer, "image/png");
    switchboard_request(board, WIRE_ART_GET, json_object(), on_reply, NULL);
    m = receive(&store);
    say(&store, WIRE_ERROR, m.seq, json_pack("{s:s}", "error", "no picture"));
    UNTIL(!strcmp(answer, "no picture"));
    /* cancelled: no answer */
    uint32_t handle = switchboard_request(board, WIRE_ART_GET, json_object(), on_reply, NULL);
    m = receive(&store);
    switchboard_cancel(board, handle);
    answer[0] = '\0';
    say(&store, WIRE_ERROR, m.seq, json_pack("{s:s}", "error", "late"));
    UNTIL(undelivered == 1);
    assert_string_equal(answer, "");
    /* what is still open ends with the switchboard */
    switchboard_request(board, WIRE_ART_GET, json_object(), on_reply, NULL);
    leave(&store);
}

/* scan is not read while the store does not keep up: nothing piles up here. */
static void producers_wait_for_a_slow_store(void **state)
{
    (void)state;
    struct fake store = join(ROLE_STORE, 1), scan = join(ROLE_SCAN, 1);
    static char text[60000];
    memset(text, 'x', sizeof text - 1);
    unsigned sent = 0, received = 0, want = 400; /* 24 MB, far more than sockets hold */
    int stalled = 0;
    struct msg m;
    while (received < want) {
        while (sent < want && stalled < 3) {
            char *body = xasprintf("{\"n\":%u,\"root\":\"%s\"}", sent, text);
            int r = msg_send(scan.channel, WIRE_FOUND, 0, body, strlen(body), -1);
            free(body);
            assert_int_equal(r, 0);
            sent++;
            if (msg_flush(scan.channel) == 1) stalled++;
            if (stalled && !received) settle();
        }
        msg_flush(scan.channel);
        event_base_loop(base, EVLOOP_NONBLOCK);
        /* one at a time is taken, in order */
        int got = msg_read(store.channel, &m);
        assert_true(got >= 0);
        if (got != 1) continue;
        json_t *body = wire_body(&m, NULL);
        assert_int_equal(json_int_or(body, "n", -1, 0, 100000, NULL), received);
        json_decref(body);
        received++;
        if (received > 3) stalled = 0;
    }
    assert_null(lost_end);
    leave(&store), leave(&scan);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(replies_find_their_way_back),
        TEST(descriptors_travel_with_replies),
        TEST(a_question_waits_for_its_role_and_survives_one_death),
        TEST(the_dead_leave_nothing_behind),
        TEST(who_breaks_the_table_is_lost),
        TEST(requests_under_way_are_bounded),
        TEST(air_asks_too),
        TEST(producers_wait_for_a_slow_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
