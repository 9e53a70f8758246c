/* relay/follow: every way in which a link joins what the relay holds. */
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
#include "common/mem.h"
#include "common/mp3.h"
#include "relay/follow.h"

#define KBPS    128
#define STATION "0123456789abcdef0123456789abcdef"
#define OTHER   "ffffffffffffffffffffffffffffffff"

static struct ring *ring;
static struct pacer *pacer;
static struct follow follow;
static int64_t boot_ns, wall_ns;

static int open_ring(void **state)
{
    (void)state;
    boot_ns = INT64_C(50000000000);
    wall_ns = INT64_C(1700000000000000000);
    clock_fake(&boot_ns, &wall_ns);
    const struct ring_conf conf = {.kbps = KBPS, .past_s = 30, .lead_s = 60};
    char *cause = NULL;
    if (ring_open(&ring, &conf, &cause)) fail_msg("%s", cause);
    const struct pacer_conf pace = {.start_lead_s = 0.5};
    pacer = pacer_new(ring, &pace);
    follow = (struct follow){.ring = ring, .pacer = pacer};
    return 0;
}

static int close_ring(void **state)
{
    (void)state;
    pacer_free(pacer);
    ring_close(ring);
    clock_fake(NULL, NULL);
    return 0;
}

/* Frames whose bytes tell the branch they were made in. */
static uint8_t *make_frames(uint64_t position, unsigned count, uint8_t tag, size_t *len)
{
    *len = (size_t)(mp3_frame_offset(KBPS, position + count) - mp3_frame_offset(KBPS, position));
    uint8_t *bytes = xmalloc(*len), *at = bytes;
    memset(bytes, tag, *len);
    for (unsigned i = 0; i < count; i++) {
        size_t n = mp3_frame_bytes(KBPS, position + i);
        const uint8_t head[6] = {0xff, 0xfb, (uint8_t)(0x90 | (n > 144000u * KBPS / 44100u) << 1),
                                 0x40, 0,    0};
        memcpy(at, head, sizeof head);
        at += n;
    }
    return bytes;
}

static enum follow_result take(const struct link_record *r)
{
    char *cause = NULL;
    enum follow_result result = follow_record(&follow, r, &cause);
    assert_int_equal(result == FOLLOW_BROKEN, cause != NULL);
    free(cause);
    return result;
}

static enum follow_result hello_of(json_t *body)
{
    const struct link_record r = {.type = LINK_HELLO, .body = body};
    enum follow_result result = take(&r);
    if (result == FOLLOW_ON) assert_ptr_equal(follow.identity.name, json_str_or(body, "name", NULL, NULL));
    json_decref(body);
    return result;
}

/* void_from < 0: none */
static enum follow_result hello(const char *station, int branch, int64_t position, int64_t void_from)
{
    follow.greeted = follow.begun_anew = 0;
    json_t *body = json_pack("{s:i,s:s,s:s,s:s,s:i,s:i,s:I,s:I,s:f}", "version", 1, "station", station,
                             "name", "Radio", "mount", "main", "kbps", KBPS, "branch", branch, "position",
                             (json_int_t)position, "air_position", (json_int_t)position, "lead_s", 60.0);
    if (void_from >= 0) json_object_set_new(body, "void_from", json_integer(void_from));
    return hello_of(body);
}

static enum follow_result frames(uint32_t branch, uint64_t position, unsigned count)
{
    size_t len;
    uint8_t *bytes = make_frames(position, count, (uint8_t)branch, &len);
    const struct link_record r = {.type = LINK_FRAMES,
                                  .position = position,
                                  .branch = branch,
                                  .count = count,
                                  .bytes = bytes,
                                  .len = len};
    enum follow_result result = take(&r);
    free(bytes);
    return result;
}

/* The branch in which the frame that is held at position was made. */
static int made_in(uint64_t position)
{
    uint64_t at = mp3_frame_offset(KBPS, position);
    const uint8_t *bytes = ring_bytes(ring, at, at + 100);
    return bytes ? bytes[50] : -1;
}

static void air_at(uint64_t position)
{
    const struct link_record r = {.type = LINK_CLOCK, .position = position};
    assert_int_equal(take(&r), FOLLOW_ON);
    pacer_air(pacer, NULL);
}

/* Holds [1000, 1500) of branch 3, with frame 1100 on air. */
static void fill(void)
{
    assert_int_equal(hello(STATION, 3, 1000, -1), FOLLOW_ON);
    assert_int_equal(frames(3, 1000, 500), FOLLOW_ON);
    air_at(1100);
    assert_int_equal(ring_floor(ring), 1101);
    follow = (struct follow){.ring = ring, .pacer = pacer, .asked_from = 1};
}

static void the_first_link_begins_anew(void **state)
{
    (void)state;
    assert_int_equal(hello(STATION, 3, 1000, -1), FOLLOW_ON);
    assert_true(follow.begun_anew && follow.kbps == KBPS);
    assert_true(follow.identity.name && !follow.identity.genre && !follow.identity.url);
    assert_string_equal(ring_station(ring), STATION);
    assert_true(ring_tail(ring) == 1000 && ring_branch(ring) == 3);
    assert_int_equal(frames(3, 1000, 50), FOLLOW_ON);
    assert_int_equal(ring_head(ring), 1050);
}

static void the_rules_are_kept(void **state)
{
    (void)state;
    const struct link_record clock = {.type = LINK_CLOCK, .position = 5};
    assert_int_equal(take(&clock), FOLLOW_BROKEN); /* before HELLO */
    static const char *const bad[] = {
        "{}",
        "{\"version\":2,\"station\":\"" STATION "\",\"kbps\":128,\"branch\":0,\"position\":5}",
        "{\"version\":1,\"station\":\"" STATION "\",\"kbps\":128,\"branch\":0}",
        "{\"version\":1,\"station\":\"" STATION "\",\"kbps\":128,\"branch\":-1,\"position\":5}",
        "{\"version\":1,\"station\":\"../../etc\",\"kbps\":128,\"branch\":0,\"position\":5}",
        "{\"version\":1,\"station\":\"" STATION "\",\"kbps\":127,\"branch\":0,\"position\":5}",
        "{\"version\":1,\"station\":\"" STATION "\",\"kbps\":128,\"branch\":0,\"position\":\"5\"}",
        "{\"version\":1,\"station\":\"" STATION
        "\",\"kbps\":128,\"branch\":0,\"position\":5,\"void_from\":-2}",
        "{\"version\":1,\"station\":\"" STATION "\",\"kbps\":128,\"branch\":0,\"position\":5,\"genre\":[]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hello_of(json_loads(bad[i], 0, NULL)), FOLLOW_BROKEN);
    assert_int_equal(hello(STATION, 3, 1000, -1), FOLLOW_ON);
    follow.greeted = 1;
    assert_int_equal(hello_of(json_object()), FOLLOW_BROKEN); /* a second one */
    assert_int_equal(frames(3, 1001, 5), FOLLOW_BROKEN);      /* a gap */
    assert_int_equal(frames(2, 1000, 5), FOLLOW_BROKEN);      /* another branch */
    const struct link_record torn = {.type = LINK_FRAMES,
                                     .position = 1000,
                                     .branch = 3,
                                     .count = 2,
                                     .bytes = (const uint8_t *)"x",
                                     .len = 1};
    assert_int_equal(take(&torn), FOLLOW_BROKEN);
    const struct link_record back = {.type = LINK_BRANCH, .position = 1000, .branch = 3};
    assert_int_equal(take(&back), FOLLOW_BROKEN); /* no new one */
    assert_int_equal(ring_head(ring), 1000);
}

static void another_rate_is_told(void **state)
{
    (void)state;
    fill();
    json_t *body = json_pack("{s:i,s:s,s:s,s:i,s:i,s:i}", "version", 1, "station", STATION, "name", "x",
                             "kbps", 192, "branch", 3, "position", 1500);
    assert_int_equal(hello_of(body), FOLLOW_RATE);
    assert_int_equal(follow.kbps, 192);
    assert_int_equal(ring_head(ring), 1500); /* nothing has happened yet */
}

static void it_goes_on_at_its_head(void **state)
{
    (void)state;
    fill();
    assert_int_equal(hello(STATION, 3, 1500, -1), FOLLOW_ON);
    assert_int_equal(frames(3, 1500, 10), FOLLOW_ON);
    assert_true(!follow.begun_anew && ring_tail(ring) == 1000 && ring_head(ring) == 1510);
    assert_int_equal(follow.frames, 10);
}

static void what_comes_again_is_skipped(void **state)
{
    (void)state;
    fill();
    assert_int_equal(hello(STATION, 3, 1400, -1), FOLLOW_ON);
    assert_int_equal(frames(3, 1400, 64), FOLLOW_ON);
    assert_int_equal(frames(3, 1464, 64), FOLLOW_ON);
    assert_true(!follow.begun_anew && ring_head(ring) == 1528 && follow.frames == 28);
    for (uint64_t p = 1495; p < 1528; p++)
        assert_int_equal(made_in(p), 3);
}

static void a_gap_or_another_station_begins_anew(void **state)
{
    (void)state;
    fill();
    assert_int_equal(hello(STATION, 3, 1501, -1), FOLLOW_ON);
    assert_true(follow.begun_anew && ring_tail(ring) == 1501 && ring_head(ring) == 1501);
    assert_int_equal(hello(OTHER, 3, 1400, -1), FOLLOW_ON);
    assert_true(follow.begun_anew && ring_head(ring) == 1400);
    assert_string_equal(ring_station(ring), OTHER);
    assert_null(ring_mark(ring, 0));
}

static void what_is_void_is_dropped_unless_it_has_aired(void **state)
{
    (void)state;
    fill();
    /* parted ahead of the air */
    assert_int_equal(hello(STATION, 5, 1300, 1300), FOLLOW_ON);
    assert_true(!follow.begun_anew && ring_head(ring) == 1300 && ring_branch(ring) == 5);
    assert_int_equal(frames(5, 1300, 200), FOLLOW_ON);
    assert_true(made_in(1299) == 3 && made_in(1300) == 5);
    /* parted behind it: the past stays ours, the rest is the branch's */
    assert_int_equal(hello(STATION, 6, 1050, 1050), FOLLOW_ON);
    assert_true(!follow.begun_anew && ring_head(ring) == 1101 && ring_branch(ring) == 6);
    assert_int_equal(frames(6, 1050, 64), FOLLOW_ON);
    assert_true(made_in(1100) == 3 && made_in(1101) == 6 && ring_head(ring) == 1114);
}

static void a_later_branch_keeps_all(void **state)
{
    (void)state;
    fill();
    assert_int_equal(hello(STATION, 4, 1500, -1), FOLLOW_ON);
    assert_true(!follow.begun_anew && ring_head(ring) == 1500 && ring_branch(ring) == 4);
    assert_int_equal(frames(4, 1500, 10), FOLLOW_ON);
    /* unless we had not said what we hold: then where it parts is unknown */
    follow.asked_from = 0;
    assert_int_equal(hello(STATION, 5, 1450, -1), FOLLOW_ON);
    assert_true(follow.begun_anew && ring_tail(ring) == 1450 && ring_branch(ring) == 5);
    /* nor is an older branch than ours anything to join */
    follow.asked_from = 1;
    assert_int_equal(hello(STATION, 2, 1450, -1), FOLLOW_ON);
    assert_true(follow.begun_anew && ring_branch(ring) == 2);
}

static void frames_the_root_lost_are_dropped_here_too(void **state)
{
    (void)state;
    fill();
    assert_int_equal(hello(STATION, 3, 1300, 1300), FOLLOW_ON);
    assert_true(follow.begun_anew && ring_head(ring) == 1300);
    assert_int_equal(frames(3, 1300, 10), FOLLOW_ON);
    assert_int_equal(ring_head(ring), 1310);
}

static void a_branch_starts_in_mid_link(void **state)
{
    (void)state;
    fill();
    assert_int_equal(hello(STATION, 3, 1500, -1), FOLLOW_ON);
    const struct link_record ahead = {.type = LINK_BRANCH, .position = 1400, .branch = 4};
    assert_int_equal(take(&ahead), FOLLOW_ON);
    assert_int_equal(ring_head(ring), 1400);
    assert_int_equal(frames(4, 1400, 64), FOLLOW_ON);
    const struct link_record behind = {.type = LINK_BRANCH, .position = 1010, .branch = 5};
    assert_int_equal(take(&behind), FOLLOW_ON);
    assert_int_equal(ring_head(ring), 1101);
    assert_int_equal(frames(5, 1010, 100), FOLLOW_ON);
    assert_true(made_in(1100) == 3 && made_in(1101) == 5 && ring_head(ring) == 1110);
}

static enum follow_result mark(uint64_t position, const char *text)
{
    json_t *body = json_pack("{s:s}", "text", text);
    struct link_record r = {
        .type = LINK_MARK, .position = position, .branch = 1, .kind = "title", .body = body};
    enum follow_result result = take(&r);
    json_decref(body);
    return result;
}

static const char *title(uint64_t position)
{
    const struct ring_mark *m = ring_mark_at(ring, "title", position);
    return m ? json_string_value(json_object_get(m->body, "text")) : "";
}

static void marks_hold_where_they_can(void **state)
{
    (void)state;
    assert_int_equal(hello(STATION, 3, 1000, -1), FOLLOW_ON);
    assert_int_equal(mark(900, "first"), FOLLOW_ON); /* holds at the start; of an older branch */
    assert_int_equal(mark(1200, "second"), FOLLOW_ON);
    assert_int_equal(frames(3, 1000, 500), FOLLOW_ON);
    assert_string_equal(title(1199), "first");
    assert_string_equal(title(1200), "second");
    size_t count = 0;
    while (ring_mark(ring, count))
        count++;
    assert_int_equal(count, 2);
    /* repeated after a cut */
    assert_int_equal(mark(900, "first"), FOLLOW_ON);
    assert_int_equal(mark(1200, "second"), FOLLOW_ON);
    assert_null(ring_mark(ring, count));
    /* of a branch whose start has aired here in the old one: holds from the air on */
    air_at(1300);
    assert_int_equal(mark(1250, "third"), FOLLOW_ON);
    assert_string_equal(title(1299), "second");
    assert_string_equal(title(1301), "third");
    /* what can't be taken does no harm */
    assert_int_equal(mark(1210, "out of order"), FOLLOW_ON);
    assert_string_equal(title(1400), "third");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_ring, close_ring)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_link_begins_anew),
        TEST(the_rules_are_kept),
        TEST(another_rate_is_told),
        TEST(it_goes_on_at_its_head),
        TEST(what_comes_again_is_skipped),
        TEST(a_gap_or_another_station_begins_anew),
        TEST(what_is_void_is_dropped_unless_it_has_aired),
        TEST(a_later_branch_keeps_all),
        TEST(frames_the_root_lost_are_dropped_here_too),
        TEST(a_branch_starts_in_mid_link),
        TEST(marks_hold_where_they_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
