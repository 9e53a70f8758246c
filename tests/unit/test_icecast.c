/* relay/icecast: a foreign stream joins the ring at a frame boundary, goes on where it was cut, and brings
 * its titles. What it tells goes through the link's decoder and relay/follow, as in a relay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <event2/buffer.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "relay/follow.h"
#include "relay/icecast.h"
#include "relay/icecast_frame.h"
#include "relay/icecast_meta.h"
#include "tests/unit/frames.h"

#define KBPS 128
#define SEED 5
#define URL  "http://radio.example/live"

static struct ring *ring;
static struct pacer *pacer;
static struct follow follow;
static struct icecast *icecast;
static struct link_decoder *decoder;
static struct evbuffer *out;
static char *cause;
static unsigned rate_changes;
static int64_t boot_ns, wall_ns;

static void open_ring(unsigned kbps)
{
    const struct ring_conf conf = {.kbps = kbps, .past_s = 30, .lead_s = 60, .foreign = 1};
    const struct pacer_conf pace = {.start_lead_s = 0.5};
    if (ring_open(&ring, &conf, &cause)) fail_msg("%s", cause);
    pacer = pacer_new(ring, &pace);
}

static void close_ring(void)
{
    pacer_free(pacer);
    ring_close(ring);
}

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    boot_ns = INT64_C(50000000000);
    wall_ns = INT64_C(1700000000000000000);
    clock_fake(&boot_ns, &wall_ns);
    rate_changes = 0;
    cause = NULL;
    out = evbuffer_new();
    open_ring(KBPS);
    return 0;
}

static void hang_up(void)
{
    icecast_free(icecast);
    link_decoder_free(decoder);
    icecast = NULL;
    decoder = NULL;
    evbuffer_drain(out, evbuffer_get_length(out));
}

static int tear_down(void **state)
{
    (void)state;
    if (icecast) hang_up();
    evbuffer_free(out);
    close_ring();
    free(cause);
    clock_fake(NULL, NULL);
    return 0;
}

static void dial(size_t metaint)
{
    char text[32];
    icecast = icecast_new(URL, ring);
    decoder = link_decoder_new();
    follow = (struct follow){.ring = ring, .pacer = pacer, .asked_from = 1};
    icecast_field(icecast, "icy-name", "Caf\xe9");
    icecast_field(icecast, "Content-Type", "audio/mpeg");
    snprintf(text, sizeof text, "%zu", metaint);
    if (metaint) icecast_field(icecast, "icy-metaint", text);
}

static void take(void)
{
    struct link_record record;
    int more;
    size_t len = evbuffer_get_length(out);
    link_decoder_feed(decoder, evbuffer_pullup(out, -1), len);
    while ((more = link_decoder_next(decoder, &record, &cause)) > 0) {
        enum follow_result result = follow_record(&follow, &record, &cause);
        if (result == FOLLOW_RATE) {
            rate_changes++;
            close_ring();
            open_ring(follow.kbps);
            follow.ring = ring;
            follow.pacer = pacer;
            result = follow_record(&follow, &record, &cause);
        }
        if (result != FOLLOW_ON) fail_msg("%s", cause);
    }
    if (more < 0) fail_msg("%s", cause);
    evbuffer_drain(out, len);
}

/* In pieces of odd sizes. -1 when it was refused. */
static int feed(const uint8_t *bytes, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        n = 1 + (size_t)(frames_hash(at) % 5000);
        if (n > len - at) n = len - at;
        if (icecast_feed(icecast, bytes + at, n, out, &cause)) return -1;
        take();
    }
    return 0;
}

static void feed_frames(uint64_t from, unsigned count)
{
    size_t len;
    uint8_t *bytes = frames_make(KBPS, from, count, SEED, &len);
    if (feed(bytes, len)) fail_msg("%s", cause);
    free(bytes);
}

/* The ring's last `count` frames are those that the source numbers up to `end`. */
static void expect_end(uint64_t end, unsigned count)
{
    size_t len;
    uint64_t head = ring_head(ring);
    assert_true(head - ring_tail(ring) >= count);
    assert_true(head % MP3_PERIOD_FRAMES == end % MP3_PERIOD_FRAMES);
    uint8_t *want = frames_make(KBPS, end - count, count, SEED, &len);
    const uint8_t *got = ring_bytes(ring, mp3_frame_offset(KBPS, head - count), ring_byte_head(ring));
    assert_non_null(got);
    assert_memory_equal(got, want, len);
    free(want);
}

static void joins_in_mid_frame(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = frames_make(KBPS, 1017, 120, SEED, &len);
    dial(0);
    if (feed(bytes + 200, len - 200)) fail_msg("%s", cause); /* in the middle of frame 1017 */
    free(bytes);
    assert_int_equal(follow.greeted, 1);
    assert_string_equal(ring_station(ring), ring_station(ring));
    expect_end(1137, 119);
    assert_int_equal(ring_head(ring) - ring_tail(ring), 119);
}

static void goes_on_after_a_cut(void **state)
{
    (void)state;
    dial(0);
    feed_frames(500, 100);
    uint64_t head = ring_head(ring);
    hang_up();
    /* the burst brings 80 of them again, from the middle of one on */
    dial(0);
    size_t len;
    uint8_t *bytes = frames_make(KBPS, 519, 200, SEED, &len);
    if (feed(bytes + 11, len - 11)) fail_msg("%s", cause);
    free(bytes);
    boot_ns += 2 * CLOCK_NS_PER_S;
    feed_frames(719, 1);
    expect_end(720, 220);
    assert_true(ring_head(ring) == head + 120); /* none twice, none missing */
    assert_int_equal(follow.begun_anew, 0);
}

static void a_gap_is_a_few_silent_frames(void **state)
{
    (void)state;
    dial(0);
    feed_frames(500, 100);
    uint64_t head = ring_head(ring);
    hang_up();
    dial(0);
    feed_frames(700, 100);
    assert_true(ring_head(ring) == head); /* it may still come */
    boot_ns += 2 * CLOCK_NS_PER_S;
    feed_frames(800, 1);
    expect_end(801, 101);
    assert_true(ring_head(ring) - head >= 101 && ring_head(ring) - head < 101 + MP3_PERIOD_FRAMES);
    assert_int_equal(follow.begun_anew, 0);
    const uint8_t *silent = ring_bytes(ring, mp3_frame_offset(KBPS, head), mp3_frame_offset(KBPS, head + 1));
    assert_true(ring_head(ring) - head == 101 || (silent[0] == 0xff && silent[36] == 0 && silent[200] == 0));
}

static void frames_lost_in_between(void **state)
{
    (void)state;
    dial(0);
    feed_frames(500, 100);
    uint64_t head = ring_head(ring);
    follow.begun_anew = 0;
    static const uint8_t noise[3000] = {1, 2, 3, 0xff, 0xfb, 0x90};
    if (feed(noise, sizeof noise)) fail_msg("%s", cause);
    feed_frames(650, 80);
    expect_end(730, 80);
    assert_true(ring_head(ring) - head < 80 + 2 * MP3_PERIOD_FRAMES);
    assert_int_equal(follow.begun_anew, 0);
}

static void another_bit_rate_begins_anew(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = frames_make(192, 7, 100, SEED, &len);
    dial(0);
    if (feed(bytes, len)) fail_msg("%s", cause);
    free(bytes);
    assert_int_equal(rate_changes, 1);
    assert_int_equal(ring_kbps(ring), 192);
    assert_true(ring_head(ring) - ring_tail(ring) == 100);
}

static void what_is_no_such_stream_is_refused(void **state)
{
    (void)state;
    uint8_t *bytes = xcalloc(1, 200000);
    dial(0);
    assert_int_equal(feed(bytes, 200000), -1);
    assert_non_null(strstr(cause, "no MPEG-1 Layer III"));
    free(cause);
    cause = NULL;
    hang_up();
    /* never padded: no stream of that rate at 44.1 kHz */
    memset(bytes, 0, 200000);
    for (size_t at = 0; at + 417 <= 200000; at += 417) {
        static const uint8_t head[4] = {0xff, 0xfb, 0x90, 0x40};
        memcpy(bytes + at, head, 4);
    }
    dial(0);
    assert_int_equal(feed(bytes, 200000), -1);
    assert_non_null(strstr(cause, "not padded"));
    free(bytes);
}

/* metaint bytes of audio, then a block, over and over. */
static size_t with_titles(uint8_t *to, const uint8_t *audio, size_t len, size_t metaint,
                          const char *const *titles)
{
    size_t n = 0;
    for (size_t at = 0; at + metaint <= len; at += metaint) {
        memcpy(to + n, audio + at, metaint);
        n += metaint;
        char block[256] = "";
        if (*titles) snprintf(block, sizeof block, "StreamTitle='%s';StreamUrl='';", *titles++);
        size_t units = (strlen(block) + 15) / 16;
        to[n++] = (uint8_t)units;
        memcpy(to + n, block, units * 16);
        n += units * 16;
    }
    return n;
}

static void titles_become_marks(void **state)
{
    (void)state;
    static const char *const titles[] = {"Anna - One", "Anna - One", "Bj\xf6rk - It's - two", "three", NULL};
    size_t len;
    uint8_t *audio = frames_make(KBPS, 49, 196, SEED, &len), *bytes = xmalloc(len * 2);
    dial(16000);
    size_t n = with_titles(bytes, audio, len, 16000, titles);
    if (feed(bytes, n)) fail_msg("%s", cause);
    uint64_t first = ring_tail(ring);
    static const struct {
        unsigned after;
        const char *artist, *title;
    } want[] = {{16000, "Anna", "One"}, {48000, "Bj\xc3\xb6rk", "It's - two"}, {64000, "", "three"}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        uint64_t position = first + mp3_frame_at(KBPS, want[i].after) + 1;
        const struct ring_mark *mark = ring_mark_at(ring, "title", position);
        assert_non_null(mark);
        assert_true(mark->position == position);
        assert_string_equal(json_str_or(mark->body, "artist", "?", NULL), want[i].artist);
        assert_string_equal(json_str_or(mark->body, "title", "?", NULL), want[i].title);
    }
    assert_true(ring_head(ring) - first >=
                mp3_frame_at(KBPS, 80000)); /* nothing of the titles among the audio */
    free(audio);
    free(bytes);
}

/* With what lies before it unknown, data that begins there is silenced; once it is known, nothing is touched.
 */
static void frames_that_lean_on_what_is_missing_are_silenced(void **state)
{
    (void)state;
    uint8_t frame[1045], kept[1045];
    size_t len = frames_one(frame, KBPS, 3, SEED);
    frame[4] = 100; /* main_data_begin 200 */
    frame[10] = 0x55;
    memcpy(kept, frame, len);
    assert_int_equal(icecast_frame_mend(frame, len, 200), len - 36);
    assert_memory_equal(frame, kept, len);
    assert_int_equal(icecast_frame_mend(frame, len, 199), len - 36);
    assert_int_equal(frame[4] | frame[10], 0);
    assert_memory_equal(frame + 36, kept + 36, len - 36);
    /* with a CRC: that of "header bytes 2 and 3 and 32 zeros", worked out bit by bit */
    frame[1] = 0xfa;
    frame[6] = 100;
    frame[20] = 0x77;
    icecast_frame_mend(frame, len, 0);
    unsigned crc = 0xffff;
    for (int bit = 0; bit < (2 + 32) * 8; bit++) {
        unsigned in = bit < 16 ? frame[2 + bit / 8] >> (7 - bit % 8) & 1 : 0;
        unsigned carry = crc >> 15 ^ in;
        crc = (crc << 1 ^ (carry ? 0x8005 : 0)) & 0xffff;
    }
    assert_int_equal(frame[4] << 8 | frame[5], crc);
}

/* The air told keeps its distance from the newest frame, whatever the source's clock does. */
static void the_air_follows_the_source(void **state)
{
    (void)state;
    dial(0);
    feed_frames(0, 150);
    uint64_t next = 150;
    double at = 150;
    for (int i = 0; i < 2400; i++) { /* two minutes, the source 0.5 % fast */
        boot_ns += CLOCK_NS_PER_S / 20;
        for (at += 0.05 * 44100 / 1152 * 1.005; next < (uint64_t)at; next++)
            feed_frames(next, 1);
        pacer_air(pacer, NULL);
    }
    assert_int_equal(pacer_starvations(pacer), 0);
    double lead = pacer_lead_s(pacer);
    if (!(lead > 1.0 && lead < 3.5)) fail_msg("%g s ahead", lead);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(joins_in_mid_frame),           TEST(goes_on_after_a_cut),
        TEST(a_gap_is_a_few_silent_frames), TEST(frames_lost_in_between),
        TEST(another_bit_rate_begins_anew), TEST(what_is_no_such_stream_is_refused),
        TEST(titles_become_marks),          TEST(frames_that_lean_on_what_is_missing_are_silenced),
        TEST(the_air_follows_the_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
