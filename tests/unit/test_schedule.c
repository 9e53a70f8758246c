/* Air's talk with the studio: start, credit, retraction, reports. The studio is this test. */
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
#include "common/mem.h"
#include "root/air/schedule.h"
#include "tests/unit/frames.h"

#define KBPS   64
#define LEAD_S 20.0
#define LEAD   766 /* frames of 20 s, rounded up */
#define SECOND 39

static int64_t boot_ns = 1000 * CLOCK_NS_PER_S, wall_ns = 5000 * CLOCK_NS_PER_S;
static struct ring *ring;
static struct schedule *schedule;
static uint64_t air;
static unsigned changes;

/* What each role was told, in order. */
static struct said {
    enum role role;
    enum wire_type type;
    json_t *body;
} said[256];
static unsigned said_count;
static int store_away;

static uint64_t on_air(void *context)
{
    (void)context;
    return air;
}

static int on_tell(void *context, enum role role, enum wire_type type, json_t *body)
{
    (void)context;
    if (role == ROLE_STORE && store_away) {
        json_decref(body);
        return -1;
    }
    assert_in_range(said_count, 0, 255);
    said[said_count++] = (struct said){role, type, body};
    return 0;
}

static void on_changed(void *context)
{
    (void)context;
    changes++;
}

static void forget(void)
{
    while (said_count)
        json_decref(said[--said_count].body);
}

/* The n-th message of a type, counted from the end when n is negative; NULL when there is none. */
static const json_t *told(enum wire_type type, int n)
{
    int count = 0;
    for (unsigned i = 0; i < said_count; i++)
        count += said[i].type == type;
    int want = n < 0 ? count + n : n;
    for (unsigned i = 0; i < said_count; i++) {
        if (said[i].type == type && want-- == 0) return said[i].body;
    }
    return NULL;
}

static int64_t number(const json_t *body, const char *key)
{
    return json_int_or(body, key, -1, 0, INT64_MAX, NULL);
}

static void make(uint64_t aired_from)
{
    schedule = schedule_new(&(struct schedule_conf){.ring = ring,
                                                    .lead_s = LEAD_S,
                                                    .aired_from = aired_from,
                                                    .air = on_air,
                                                    .tell = on_tell,
                                                    .changed = on_changed});
}

static int set_up(void **state)
{
    (void)state;
    clock_fake(&boot_ns, &wall_ns);
    log_set_level(LOG_LEVEL_ERROR); /* one test logs an error on purpose */
    char *cause = NULL;
    struct ring_conf conf = {.kbps = KBPS, .past_s = 30, .lead_s = LEAD_S + 10};
    assert_int_equal(ring_open(&ring, &conf, &cause), 0);
    air = 0;
    changes = 0;
    store_away = 0;
    make(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    forget();
    schedule_free(schedule);
    ring_close(ring);
    return 0;
}

static int send_frames(uint32_t branch, uint64_t position, unsigned count)
{
    size_t len;
    uint8_t *frames = frames_make(KBPS, position, count, branch, &len),
            *body = xmalloc(WIRE_FRAMES_HEAD + len);
    wire_frames_encode(body, position, branch, count);
    memcpy(body + WIRE_FRAMES_HEAD, frames, len);
    struct msg message = {.type = WIRE_FRAMES, .body = body, .len = WIRE_FRAMES_HEAD + len, .fd = -1};
    char *cause = NULL;
    int result = schedule_frames(schedule, &message, &cause);
    assert_true((result < 0) == (cause != NULL));
    free(cause);
    free(body);
    free(frames);
    return result;
}

/* Sends up to `end`, in items as a studio does. */
static void fill(uint32_t branch, uint64_t end)
{
    while (ring_head(ring) < end) {
        uint64_t left = end - ring_head(ring);
        assert_int_equal(send_frames(branch, ring_head(ring), left > 64 ? 64 : (unsigned)left), 0);
    }
}

static int send_segment(uint32_t branch, uint64_t from, uint64_t to, int track)
{
    json_t *body = json_pack("{s:i,s:I,s:s,s:{s:s,s:I,s:I,s:[{s:i,s:s,s:s}],s:{s:i}}}", "branch", (int)branch,
                             "position", (json_int_t)from, "kind", "segment", "body", "technique", "play",
                             "start_sample", (json_int_t)from * 1152, "end_sample", (json_int_t)to * 1152,
                             "tracks", "track", track, "title", "T", "artist", "A", "plan", "x", track);
    char *cause = NULL;
    int result = schedule_mark(schedule, body, &cause);
    json_decref(body);
    free(cause);
    return result;
}

/* Moves the air as the pacer does. */
static void go(uint64_t position)
{
    air = position;
    ring_set_floor(ring, position);
    schedule_tick(schedule);
}

static void credit_keeps_the_lead(void **state)
{
    (void)state;
    schedule_studio_up(schedule);
    assert_int_equal(number(told(WIRE_START, 0), "next"), 0);
    assert_int_equal(json_array_size(json_object_get(told(WIRE_START, 0), "segments")), 0);
    assert_int_equal(number(told(WIRE_CREDIT, 0), "until"), LEAD);
    fill(0, LEAD);
    assert_true(changes > 0);
    assert_int_equal(send_frames(0, LEAD, 1), -1); /* beyond it */
    forget();
    /* one credit for about a second of air, not one for each frame; one at once when the studio stands still
     */
    for (uint64_t p = 1; p <= 10 * SECOND; p++) {
        go(p);
        fill(0, schedule_credit(schedule) - SECOND / 2);
    }
    assert_in_range(said_count, 9, 12);
    assert_in_range(number(told(WIRE_CREDIT, -1), "until"), LEAD + 9 * SECOND, LEAD + 10 * SECOND);
    fill(0, schedule_credit(schedule));
    unsigned before = said_count;
    go(air + 1);
    assert_in_range(said_count, before, before + 1);
    assert_int_equal(schedule_credit(schedule), LEAD + air);
}

static void nobody_is_told_while_the_studio_is_away(void **state)
{
    (void)state;
    schedule_studio_up(schedule);
    schedule_studio_down(schedule);
    forget();
    go(100);
    assert_null(told(WIRE_CREDIT, 0));
}

static void frames_must_follow_each_other(void **state)
{
    (void)state;
    schedule_studio_up(schedule);
    fill(0, 10);
    assert_int_equal(send_frames(0, 9, 2), -1);  /* again */
    assert_int_equal(send_frames(0, 12, 2), -1); /* a gap */
    assert_int_equal(send_frames(1, 10, 2), -1); /* a branch nobody began */
    struct msg empty = {.type = WIRE_FRAMES, .body = (const uint8_t *)"", .len = 0, .fd = -1};
    char *cause = NULL;
    assert_int_equal(schedule_frames(schedule, &empty, &cause), -1);
    free(cause);
    assert_int_equal(ring_head(ring), 10);
    assert_int_equal(schedule_frames_received(schedule), 10);
}

static void a_new_studio_goes_on_at_the_head(void **state)
{
    (void)state;
    schedule_studio_up(schedule);
    assert_int_equal(send_segment(0, 0, 300, 1), 0);
    assert_int_equal(send_segment(0, 300, 900, 2), 0);
    assert_int_equal(send_segment(0, 900, 1500, 3), 0);
    fill(0, 760);
    go(690);
    schedule_studio_down(schedule);
    forget();
    schedule_studio_up(schedule);
    const json_t *start = told(WIRE_START, 0);
    assert_int_equal(number(start, "next"), 760);
    /* the first ended 10.2 s before the air; the others are whole, with what is needed to make them again */
    const json_t *segments = json_object_get(start, "segments");
    assert_int_equal(json_array_size(segments), 2);
    assert_int_equal(number(json_array_get(segments, 0), "start_sample"), 300 * 1152);
    assert_non_null(json_object_get(json_array_get(segments, 0), "plan"));
    assert_int_equal(number(told(WIRE_CREDIT, 0), "until"), 690 + LEAD);
    assert_int_equal(send_segment(0, 900, 1500, 3), 0); /* told again: no harm */
    fill(0, LEAD);
}

static void a_skip_starts_a_branch_ahead_of_the_air(void **state)
{
    (void)state;
    uint64_t at;
    char *cause = NULL;
    schedule_studio_up(schedule);
    assert_int_equal(schedule_skip(schedule, &at, &cause), -1); /* nothing on air */
    free(cause);
    cause = NULL;
    send_segment(0, 0, 5000, 1);
    fill(0, LEAD);
    go(100);
    fill(0, schedule_credit(schedule));
    forget();
    assert_int_equal(schedule_skip(schedule, &at, &cause), 0);
    assert_int_equal(at, 100 + 230); /* 6 s, rounded up to a frame */
    assert_int_equal(ring_head(ring), at);
    assert_int_equal(ring_branch(ring), 1);
    const json_t *retract = told(WIRE_RETRACT, 0);
    assert_int_equal(number(retract, "branch"), 1);
    assert_int_equal(number(retract, "position"), at);
    assert_true(json_is_true(json_object_get(retract, "skip")));
    assert_int_equal(number(told(WIRE_CREDIT, -1), "branch"), 1);
    assert_int_equal(number(told(WIRE_CREDIT, -1), "until"), 100 + LEAD);
    /* what the studio had under way comes to nothing */
    assert_int_equal(send_frames(0, 866, 2), 0);
    assert_int_equal(send_segment(0, 5000, 6000, 2), 0);
    assert_int_equal(ring_head(ring), at);
    assert_int_equal(schedule_skip(schedule, &at, &cause), -1); /* one at a time */
    free(cause);
    cause = NULL;
    assert_int_equal(send_segment(1, at, at + 1000, 3), 0);
    fill(1, at + 10);
    /* what is shown: the old one ends where the new one begins */
    go(200);
    assert_int_equal(schedule_skip(schedule, &at, &cause), 0);
    /* little lead: at its end, never nearer */
    assert_int_equal(at, 340);
    assert_int_equal(ring_branch(ring), 2);
}

static void a_file_that_fails_forks_where_the_studio_says(void **state)
{
    (void)state;
    char *cause = NULL;
    schedule_studio_up(schedule);
    send_segment(0, 0, 5000, 1);
    fill(0, LEAD);
    go(100);
    fill(0, schedule_credit(schedule));
    forget();
    json_t *fork = json_pack("{s:i,s:i}", "branch", 0, "position", 500);
    assert_int_equal(schedule_fork(schedule, fork, &cause), 0);
    assert_int_equal(ring_head(ring), 500);
    assert_int_equal(number(told(WIRE_RETRACT, 0), "position"), 500);
    assert_true(json_is_false(json_object_get(told(WIRE_RETRACT, 0), "skip")));
    assert_int_equal(schedule_fork(schedule, fork, &cause), 0); /* of the old branch: done already */
    assert_int_equal(ring_branch(ring), 1);
    json_decref(fork);
    /* too near to the air: as soon as may be */
    fork = json_pack("{s:i,s:i}", "branch", 1, "position", 150);
    assert_int_equal(schedule_fork(schedule, fork, &cause), 0);
    assert_int_equal(ring_head(ring), 100 + 192); /* 5 s */
    json_decref(fork);
    fork = json_pack("{s:i}", "branch", 2);
    assert_int_equal(schedule_fork(schedule, fork, &cause), -1);
    json_decref(fork);
    free(cause);
}

static void a_live_source_has_a_short_lead(void **state)
{
    (void)state;
    uint64_t at;
    char *cause = NULL;
    assert_int_equal(schedule_live(schedule, 7, &at, &cause), -1); /* no studio */
    free(cause);
    cause = NULL;
    schedule_studio_up(schedule);
    send_segment(0, 0, 5000, 1);
    fill(0, LEAD);
    go(100);
    fill(0, schedule_credit(schedule));
    forget();
    assert_int_equal(schedule_live(schedule, 7, &at, &cause), 0);
    assert_int_equal(at, 100 + 230);
    assert_int_equal(number(told(WIRE_RETRACT, 0), "live"), 7);
    /* nothing may be made before the air is near enough */
    assert_int_equal(schedule_credit(schedule), at);
    assert_null(told(WIRE_CREDIT, 0));
    assert_true(schedule_lead_s(schedule) == SCHEDULE_LIVE_LEAD_S);
    send_segment(1, at, 5000, 2);
    go(300);
    assert_int_equal(schedule_credit(schedule), 300 + 115); /* 3 s, rounded up */
    fill(1, 415);
    schedule_live_over(schedule);
    assert_int_equal(schedule_credit(schedule), 300 + LEAD);
    assert_true(schedule_lead_s(schedule) == LEAD_S);
    /* a studio that dies takes it along */
    assert_int_equal(schedule_live(schedule, 8, &at, &cause), 0);
    schedule_studio_down(schedule);
    forget();
    schedule_studio_up(schedule);
    assert_int_equal(number(told(WIRE_RETRACT, 0), "live"), -1);
    assert_true(schedule_lead_s(schedule) == LEAD_S);
}

static void a_skip_survives_the_studio(void **state)
{
    (void)state;
    uint64_t at;
    char *cause = NULL;
    schedule_studio_up(schedule);
    send_segment(0, 0, 5000, 1);
    fill(0, LEAD);
    go(50);
    assert_int_equal(schedule_skip(schedule, &at, &cause), 0);
    schedule_studio_down(schedule); /* it died before it could act */
    forget();
    schedule_studio_up(schedule);
    assert_int_equal(number(told(WIRE_START, 0), "next"), at);
    assert_int_equal(number(told(WIRE_RETRACT, 0), "position"), at);
    assert_int_equal(number(told(WIRE_RETRACT, 0), "branch"), 2);
    assert_int_equal(number(told(WIRE_CREDIT, -1), "branch"), 2);
    send_segment(2, at, 5000, 2);
    schedule_studio_down(schedule);
    forget();
    schedule_studio_up(schedule);
    assert_null(told(WIRE_RETRACT, 0)); /* it has been acted on */
}

static void a_plan_that_kills_studios_is_given_up(void **state)
{
    (void)state;
    schedule_studio_up(schedule);
    send_segment(0, 0, 5000, 1);
    fill(0, 300);
    schedule_studio_down(schedule); /* after frames: an accident */
    for (int i = 0; i < 4; i++) {
        forget();
        schedule_studio_up(schedule);
        assert_int_equal(number(told(WIRE_START, 0), "branch"), 0);
        assert_int_equal(json_array_size(json_object_get(told(WIRE_START, 0), "segments")), 1);
        schedule_studio_down(schedule);
    }
    forget();
    schedule_studio_up(schedule);
    assert_int_equal(number(told(WIRE_START, 0), "branch"), 1);
    assert_int_equal(number(told(WIRE_START, 0), "next"), 300);
    assert_int_equal(json_array_size(json_object_get(told(WIRE_START, 0), "segments")), 0);
    assert_null(told(WIRE_RETRACT, 0));
    assert_int_equal(send_segment(1, 300, 900, 2), 0);
    fill(1, 400);
    schedule_studio_down(schedule);
    forget();
    schedule_studio_up(schedule);
    assert_int_equal(number(told(WIRE_START, 0), "branch"), 1);
    /* the cut one is told again too, since a studio may fade it out */
    assert_int_equal(json_array_size(json_object_get(told(WIRE_START, 0), "segments")), 2);
}

static int collect(void *context, const struct schedule_segment *s)
{
    json_array_append_new(context, schedule_public(s));
    return 0;
}

static void segments_are_shown_as_they_stand(void **state)
{
    (void)state;
    uint64_t at;
    schedule_studio_up(schedule);
    send_segment(0, 0, 500, 1);
    send_segment(0, 500, 5000, 2);
    fill(0, LEAD);
    go(400);
    fill(0, schedule_credit(schedule));
    assert_int_equal(schedule_skip(schedule, &at, NULL), 0);
    send_segment(1, at, 2000, 3);
    json_t *list = json_array();
    schedule_segments(ring, 0, UINT64_MAX, collect, list);
    assert_int_equal(json_array_size(list), 3);
    assert_int_equal(number(json_array_get(list, 1), "end_sample"), at * 1152);
    assert_int_equal(number(json_array_get(list, 2), "start_sample"), at * 1152);
    assert_null(json_object_get(json_array_get(list, 0), "plan"));
    json_array_clear(list);
    schedule_segments(ring, 550, at, collect, list);
    assert_int_equal(json_array_size(list), 1);
    json_decref(list);
}

static void what_aired_is_reported_once_and_in_order(void **state)
{
    (void)state;
    schedule_studio_up(schedule);
    send_segment(0, 0, 200, 1);
    send_segment(0, 200, 400, 2);
    send_segment(0, 400, 900, 3);
    assert_int_equal(number(told(WIRE_PLANNED, 0), "track"), 1);
    assert_int_equal(number(told(WIRE_PLANNED, 2), "track"), 3);
    fill(0, LEAD);
    forget();
    go(0);
    assert_int_equal(number(told(WIRE_AIRED, 0), "position"), 0);
    store_away = 1;
    go(250);
    assert_null(told(WIRE_AIRED, 1));
    store_away = 0;
    go(450);
    go(460);
    assert_int_equal(number(told(WIRE_AIRED, 1), "position"), 200);
    const json_t *last = told(WIRE_AIRED, 2);
    assert_int_equal(number(last, "position"), 400);
    assert_null(told(WIRE_AIRED, 3));
    /* 50 frames ago by the wall clock */
    assert_true(5000.0 - json_real_or(last, "wall_s", 0, NULL) - 50 * 1152 / 44100.0 < 0.001);
    assert_string_equal(json_str_or(last, "kind", "", NULL), "segment");
    assert_non_null(json_object_get(last, "body"));
    /* a later life is told where reports stand */
    schedule_free(schedule);
    make(400);
    forget();
    go(470);
    assert_int_equal(number(told(WIRE_AIRED, 0), "position"), 400);
    assert_null(told(WIRE_AIRED, 1));
}

static void malformed_marks_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "{}",
        "{\"branch\":0,\"position\":0,\"kind\":\"title\"}",
        "{\"branch\":0,\"position\":-1,\"kind\":\"title\",\"body\":{}}",
        "{\"branch\":0,\"position\":0,\"kind\":\"\",\"body\":{}}",
        "{\"branch\":0,\"position\":0,\"kind\":\"a name that is longer than any\",\"body\":[]}",
        "{\"branch\":7,\"position\":0,\"kind\":\"title\",\"body\":{}}",
        "{\"branch\":0,\"position\":0,\"kind\":\"segment\",\"body\":{}}",
        /* one string */
        ("{\"branch\":0,\"position\":0,\"kind\":\"segment\","
         "\"body\":{\"start_sample\":5,\"end_sample\":5,\"tracks\":[]}}"),
    };
    schedule_studio_up(schedule);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *cause = NULL;
        json_t *body = json_parse(wrong[i], strlen(wrong[i]), 1000, NULL);
        assert_non_null(body);
        assert_int_equal(schedule_mark(schedule, body, &cause), -1);
        assert_non_null(cause);
        free(cause);
        json_decref(body);
    }
    assert_null(ring_mark(ring, 0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(credit_keeps_the_lead),
        TEST(nobody_is_told_while_the_studio_is_away),
        TEST(frames_must_follow_each_other),
        TEST(a_new_studio_goes_on_at_the_head),
        TEST(a_skip_starts_a_branch_ahead_of_the_air),
        TEST(a_file_that_fails_forks_where_the_studio_says),
        TEST(a_live_source_has_a_short_lead),
        TEST(a_skip_survives_the_studio),
        TEST(a_plan_that_kills_studios_is_given_up),
        TEST(segments_are_shown_as_they_stand),
        TEST(what_aired_is_reported_once_and_in_order),
        TEST(malformed_marks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
