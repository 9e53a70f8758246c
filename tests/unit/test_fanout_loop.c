/* fanout: who hears the loop when there is no programme, and who waits for it. By real time, so not for long:
 * how the tape goes on and ends is test_filler's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/fanout_stage.h"

#define FRAMES (2 * MP3_PERIOD_FRAMES)
#define HEAD   1000
#define LEFT   10 /* frames of the programme at the beginning of the loop */

static struct filler *filler;

static void start_with_loop(void)
{
    const struct ring_conf conf = {.kbps = KBPS, .past_s = 60, .lead_s = 60};
    char *cause = NULL;
    if (ring_open(&ring, &conf, &cause)) fail_msg("%s", cause);
    air = HEAD - LEFT;
    fill(HEAD);
    size_t len;
    uint8_t *bytes = frames_make(KBPS, 0, FRAMES, SEED + 1, &len);
    struct loop *loop = loop_new(KBPS, bytes, len, &cause);
    if (!loop) fail_msg("%s", cause);
    free(bytes);
    filler = filler_new(ring);
    filler_set_loop(filler, loop);
    filler_set_title(filler, filler_title_of("Night"));
    fanout = fanout_new(
        base, ring,
        &(struct fanout_conf){
            .burst_s = 1, .lag_limit_s = 15, .air = get_air, .until = get_until, .filler = filler});
    fanout_on_ended(fanout, on_ended, NULL);
    memset(ended, 0, sizeof ended);
    ended_bytes = 0;
}

static void stop_with_loop(void)
{
    stop(0);
    filler_free(filler);
    filler = NULL;
}

/* Frame `tape` of the tape, but for its gain, which is all zeros here. */
static void assert_tape(const char *data, uint64_t from, uint64_t to)
{
    uint8_t want[MP3_FRAME_MAX_BYTES];
    uint64_t origin = HEAD / MP3_PERIOD_FRAMES * MP3_PERIOD_FRAMES;
    for (uint64_t n = from; n < to; n++) {
        size_t len = n < HEAD ? frames_one(want, KBPS, n, SEED)
                              : frames_one(want, KBPS, (n - origin) % FRAMES, SEED + 1);
        assert_int_equal(len, mp3_frame_bytes(KBPS, n));
        if (memcmp(data, want, len)) fail_msg("frame %u of the tape", (unsigned)n);
        data += len;
    }
}

static void turns_for(int ms)
{
    for (int64_t end = net_now_ms() + ms; net_now_ms() < end;)
        net_turn(base);
}

static void who_does_not_count_hears_it(void **state)
{
    (void)state;
    start_with_loop();
    assert_false(fanout_loops(fanout));
    uint64_t first = fanout_start_position(fanout, 0, 0);
    struct net_bytes plain = {0}, counts = {0}, late = {0};
    int a = add(&(struct fanout_listener_conf){.client = 5}, 0);
    int b = add(&(struct fanout_listener_conf){.has_byte = 1, .byte = offset(first), .resumable = 1}, 0);
    net_until_len(base, a, &plain, (size_t)(offset(air) - offset(first)));
    assert_true(fanout_loop_now(fanout));
    int c = add(&(struct fanout_listener_conf){0}, 0);
    turns_for(550);
    air = HEAD;
    turns_for(550);
    net_take(a, &plain, SIZE_MAX);
    net_take(b, &counts, SIZE_MAX);
    net_take(c, &late, SIZE_MAX);

    /* the programme to the fork, then the tape, frame after frame; 1.1 s of it less one flight at most */
    uint64_t at = mp3_frame_at(KBPS, offset(first) + plain.len);
    assert_int_equal(offset(at) - offset(first), plain.len);
    assert_true(at >= HEAD - LEFT + 42 - 32 && at <= HEAD + 400);
    assert_frames(plain.data, first, HEAD - LEFT);
    assert_tape(plain.data + (offset(HEAD - LEFT) - offset(first)), HEAD - LEFT, at);
    /* one who came meanwhile began a burst before */
    assert_true(late.len > offset(HEAD) - offset(HEAD - 38));
    assert_frames(late.data, first, HEAD - LEFT);
    assert_tape(late.data + (offset(HEAD - LEFT) - offset(first)), HEAD - LEFT, HEAD + 5);
    /* who counts bytes has all there is, and not one more */
    assert_int_equal(counts.len, offset(HEAD) - offset(first));
    assert_frames(counts.data, first, HEAD);
    /* the loop has no place */
    struct fanout_place place;
    assert_true(fanout_find(fanout, 5, &place));
    assert_int_equal(place.sent_byte, offset(HEAD));
    assert_int_equal(fanout_counts(fanout)->skips, 0);
    assert_true(fanout_loop_title(fanout) == filler_title(filler));

    /* it goes on: who counts goes on at its byte */
    fill(HEAD + 50);
    air = HEAD + 40;
    net_until_len(base, b, &counts, (size_t)(offset(HEAD + 8) - offset(first)));
    assert_frames(counts.data, first, mp3_frame_at(KBPS, offset(first) + counts.len));
    close(a);
    close(b);
    close(c);
    free(plain.data);
    free(counts.data);
    free(late.data);
    stop_with_loop();
}

static void the_title_says_so(void **state)
{
    (void)state;
    start_with_loop();
    struct net_bytes b = {0};
    int fd = add(&(struct fanout_listener_conf){.icy = 1}, 0);
    assert_true(fanout_loop_now(fanout));
    for (int64_t end = net_now_ms() + NET_DEADLINE_MS;
         net_now_ms() < end && !(b.len && memmem(b.data, b.len, "back in a moment';", 18));) {
        air = HEAD;
        net_turn(base);
        net_take(fd, &b, SIZE_MAX);
    }
    assert_non_null(memmem(b.data, b.len, "StreamTitle='Night: the programme is back in a moment';", 53));
    close(fd);
    free(b.data);
    stop_with_loop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_count_hears_it),
        cmocka_unit_test(the_title_says_so),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
