/* filler: what is on the tape when the programme is missing, by a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/filler.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/mp3_gain.h"
#include "tests/unit/frames.h"

#define KBPS    128
#define LOOP    (3 * MP3_PERIOD_FRAMES)
#define STATION "0123456789abcdef0123456789abcdef"

static struct ring *ring;
static struct filler *filler;
static uint64_t air;
static int64_t now = INT64_C(1000) * CLOCK_NS_PER_S;
static int runs;

/* All of full gain, so that what was taken away can be seen. */
static void gain_full(uint8_t *frame)
{
    for (unsigned at = 9 + 3 + 8 + 21, i = 0; i < 4; i++, at += 59) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t mask = (uint8_t)(0x80 >> (at + bit) % 8);
            if (0xc8 >> (7 - bit) & 1) frame[4 + (at + bit) / 8] |= mask;
        }
    }
}

static unsigned gain_of(const uint8_t *frame)
{
    unsigned at = 9 + 3 + 8 + 21, gain = 0;
    for (unsigned bit = 0; bit < 8; bit++)
        gain = gain << 1 | (frame[4 + (at + bit) / 8] >> (7 - (at + bit) % 8) & 1);
    return gain;
}

static uint8_t *make(uint64_t frame, unsigned count, uint64_t seed, size_t *len)
{
    uint8_t *bytes = frames_make(KBPS, frame, count, seed, len), *at = bytes;
    for (unsigned i = 0; i < count; i++, at += mp3_frame_bytes(KBPS, frame + i - 1))
        gain_full(at);
    return bytes;
}

/* Frames of the programme come. */
static void come(unsigned count)
{
    size_t len;
    uint8_t *bytes = make(ring_head(ring), count, 1, &len);
    char *cause = NULL;
    if (ring_append(ring, ring_branch(ring), ring_head(ring), count, bytes, len, &cause))
        fail_msg("%s", cause);
    free(bytes);
}

static void start(uint64_t from)
{
    char *cause = NULL;
    const struct ring_conf conf = {.kbps = KBPS, .past_s = 30, .lead_s = 30};
    if (ring_open(&ring, &conf, &cause)) fail_msg("%s", cause);
    ring_reset(ring, STATION, 0, from);
    filler = filler_new(ring);
    size_t len;
    uint8_t *bytes = make(0, LOOP, 2, &len);
    struct loop *loop = loop_new(KBPS, bytes, len, &cause);
    if (!loop) fail_msg("%s", cause);
    free(bytes);
    filler_set_loop(filler, loop);
    air = from;
    runs = 1;
}

static void stop(void)
{
    filler_free(filler);
    ring_close(ring);
}

/* A quarter of a second: the air moves on as far as there is something. What the turn was of. */
static uint64_t turn(void)
{
    now += CLOCK_NS_PER_S / 4;
    uint64_t head = ring_head(ring);
    air = air + 9 < head ? air + 9 : head;
    ring_set_floor(ring, air);
    return filler_air(filler, air, runs && air < head, now);
}

static const uint8_t *tape_frame(uint64_t n)
{
    return ring_bytes(filler_tape(filler), mp3_frame_offset(KBPS, n), mp3_frame_offset(KBPS, n + 1));
}

/* The payload says whose it is; the gain is changed. */
static int is_frame(const uint8_t *bytes, uint64_t tape, uint64_t frame, uint64_t seed)
{
    uint8_t want[MP3_FRAME_MAX_BYTES];
    size_t len = frames_one(want, KBPS, frame, seed);
    if (len != mp3_frame_bytes(KBPS, tape)) return 0;
    return !memcmp(bytes + FRAMES_HEAD_BYTES, want + FRAMES_HEAD_BYTES, len - FRAMES_HEAD_BYTES);
}

static void the_programme_fades_into_the_loop_and_back(void **state)
{
    (void)state;
    for (uint64_t from = 1000; from < 1060; from += 7) {
        start(from);
        come(400);
        for (int i = 0; i < 20; i++) {
            uint64_t due = turn();
            assert_int_equal(due, air);
            assert_false(filler_on(filler));
        }
        while (!filler_on(filler))
            turn();
        uint64_t fork = filler_fork(filler), head = ring_head(ring);
        assert_true(fork >= head - FILLER_FADE_FRAMES - 40 && fork <= head - FILLER_FADE_FRAMES + 10);
        for (int i = 0; i < 100; i++) {
            uint64_t due = turn();
            assert_int_equal(due, ring_head(filler_tape(filler)));
        }
        assert_true(filler_loops(filler));

        /* what was held, softer and softer, then the loop, louder and louder, frame after frame */
        uint64_t at = fork;
        for (unsigned gain = 0xc8; at < head; at++) {
            assert_true(is_frame(tape_frame(at), at, at, 1));
            unsigned here = gain_of(tape_frame(at));
            assert_true(here <= gain && here + 2 > gain);
            gain = here;
        }
        assert_true(gain_of(tape_frame(head - 1)) < 0xc8 - MP3_GAIN_SILENT + 3);
        uint64_t first = head / MP3_PERIOD_FRAMES * MP3_PERIOD_FRAMES;
        for (unsigned gain = 0xc8 - MP3_GAIN_SILENT; at < ring_head(filler_tape(filler)); at++) {
            assert_true(is_frame(tape_frame(at), at, (at - first) % LOOP, 2));
            unsigned here = gain_of(tape_frame(at));
            assert_true(here >= gain && here <= gain + 2);
            gain = here;
        }
        assert_int_equal(gain_of(tape_frame(at - 1)), 0xc8);

        /* it is back: not a frame of it is left out, and from `join` on the ring's own bytes follow */
        uint64_t join, to;
        while (filler_on(filler)) {
            come(9);
            if (ring_head(ring) < head + 60) come(51);
            turn();
        }
        filler_join(filler, &join, &to);
        assert_int_equal(join % MP3_PERIOD_FRAMES, to % MP3_PERIOD_FRAMES);
        for (uint64_t n = head; n < to; n++)
            assert_true(is_frame(tape_frame(join - to + n), join - to + n, n, 1));
        assert_int_equal(gain_of(tape_frame(join - 1)), 0xc8);
        assert_true(gain_of(tape_frame(join - to + head)) <= 0xc8 - MP3_GAIN_SILENT + 1);
        assert_true(is_frame(tape_frame(join - to + head - 1), join - to + head - 1,
                             (join - to + head - 1 - first) % LOOP, 2));
        assert_true(air >= to && air - to < 4 * 38);
        stop();
    }
}

static void what_comes_in_time_is_played(void **state)
{
    (void)state;
    start(500);
    come(300);
    while (!filler_on(filler))
        turn();
    for (int i = 0; i < 3; i++)
        turn();
    assert_false(filler_loops(filler));
    come(200);
    while (filler_on(filler))
        turn();
    assert_int_equal(filler_times(filler), 1);
    uint64_t join, to;
    filler_join(filler, &join, &to);
    assert_int_equal(join, to);
    for (uint64_t n = filler_fork(filler); n < to; n++)
        assert_true(is_frame(tape_frame(n), n, n, 1));
    stop();
}

static void a_ring_begun_anew_is_joined_at_its_air(void **state)
{
    (void)state;
    start(500);
    come(100);
    while (!filler_on(filler))
        turn();
    for (int i = 0; i < 400; i++)
        turn();
    ring_reset(ring, STATION, 3, 90000);
    come(200);
    air = 90100;
    turn();
    while (filler_on(filler)) {
        come(9);
        turn();
    }
    uint64_t join, to;
    filler_join(filler, &join, &to);
    assert_true(to > 90100 && to < 90100 + 120);
    assert_int_equal(join % MP3_PERIOD_FRAMES, to % MP3_PERIOD_FRAMES);
    stop();
}

static void it_is_not_begun_in_vain(void **state)
{
    (void)state;
    start(500);
    come(100);
    /* nobody listened for an hour: what was then is no sign of anything */
    turn();
    now += 3600 * CLOCK_NS_PER_S;
    air = ring_head(ring);
    assert_int_equal(filler_air(filler, air, 0, now), air);
    assert_false(filler_on(filler));
    /* without a loop */
    filler_set_loop(filler, NULL);
    for (int i = 0; i < 100; i++)
        turn();
    assert_false(filler_on(filler));
    filler_begin(filler, air, now);
    assert_false(filler_on(filler));
    stop();
}

static void somebody_may_want_it_now(void **state)
{
    (void)state;
    start(0);
    filler_begin(filler, 0, now);
    assert_true(filler_on(filler));
    for (int i = 0; i < 40; i++)
        turn();
    assert_true(filler_loops(filler));
    assert_true(ring_head(filler_tape(filler)) > 9 * 38);
    assert_int_equal(filler_until(filler, ring_head(filler_tape(filler)) + 1, now) / 100000000, 0);
    /* a long pause of the process is no reason to write for long */
    now += 100000 * CLOCK_NS_PER_S;
    filler_air(filler, 0, 0, now);
    assert_true(ring_head(filler_tape(filler)) < 38 * 60);
    stop();
}

static void a_loop_is_whole_periods_of_frames(void **state)
{
    (void)state;
    char *cause = NULL, folder[] = "/tmp/test_filler.XXXXXX";
    size_t len, again;
    uint8_t *bytes = make(0, LOOP, 2, &len);
    struct loop *loop = loop_new(KBPS, bytes, len, &cause);
    assert_non_null(loop);
    assert_int_equal(loop_frames(loop), LOOP);
    assert_int_equal(strlen(loop_version(loop)), 32);
    assert_memory_equal(loop_frame(loop, 2 * LOOP + 7), bytes + mp3_frame_offset(KBPS, 7), 400);
    assert_null(loop_new(KBPS, bytes, len - 417, &cause));
    assert_non_null(strstr(cause, "period"));
    free(cause);
    assert_null(loop_new(192, bytes, len, NULL));
    bytes[1000] ^= 0xff;
    mkdtemp(folder);
    assert_int_equal(loop_save(loop, folder, "low", &cause), 0);
    struct loop *read = loop_load(folder, "low", KBPS, &cause);
    assert_non_null(read);
    assert_string_equal(loop_version(read), loop_version(loop));
    assert_memory_equal(loop_bytes(read, &again), loop_bytes(loop, &len), len);
    assert_null(loop_load(folder, "low", 64, NULL));
    char *path = loop_path(folder, "low");
    unlink(path);
    rmdir(folder);
    free(path);
    free(bytes);
    loop_free(read);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_programme_fades_into_the_loop_and_back),
        cmocka_unit_test(what_comes_in_time_is_played),
        cmocka_unit_test(a_ring_begun_anew_is_joined_at_its_air),
        cmocka_unit_test(it_is_not_begun_in_vain),
        cmocka_unit_test(somebody_may_want_it_now),
        cmocka_unit_test(a_loop_is_whole_periods_of_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
