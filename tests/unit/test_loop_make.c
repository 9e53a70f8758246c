/* loop_make, wrap: what goes round does so without a seam, in PCM and in frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/decode.h"
#include "root/audio/pcm.h"
#include "root/audio/wrap.h"
#include "root/work/loop_make.h"
#include "root/work/press.h"

#define PERIOD  (MP3_PERIOD_FRAMES * MP3_FRAME_SAMPLES)
#define PERIODS 3
#define WANT    ((size_t)PERIODS * PERIOD)
#define FRAMES  ((uint64_t)PERIODS * MP3_PERIOD_FRAMES)

/* Tones that come round exactly after `body` samples, at place t of it. */
static double tones(double t, double body)
{
    double turn = 2 * M_PI * t / body;
    return 0.3 * sin(turn * 880) + 0.2 * sin(turn * 1511 + 1) + 0.1 * sin(turn * 9000 + 2);
}

static float *round_new(double body, size_t fade)
{
    size_t needs = wrap_needs(body, WANT, fade), lead = wrap_lead(body, WANT);
    int16_t *pcm = xcalloc((lead + needs) * 2, sizeof *pcm);
    float *out = xmalloc(WANT * 2 * sizeof *out);
    for (size_t i = 0; i < needs; i++) {
        pcm[2 * (lead + i)] = pcm_short((float)tones((double)i, body));
        pcm[2 * (lead + i) + 1] = (int16_t)-pcm[2 * (lead + i)];
    }
    wrap_make(pcm, body, WANT, fade, 0);
    for (size_t i = 0; i < 2 * WANT; i++)
        out[i] = (float)pcm[i] / PCM_SHORT;
    free(pcm);
    return out;
}

static void a_stretch_is_fitted_and_closed(void **state)
{
    (void)state;
    static const double bodies[] = {WANT, WANT * 1.0031, WANT * 0.99 + 0.37};
    for (size_t b = 0; b < 3; b++) {
        float *out = round_new(bodies[b], 882);
        double worst = 0;
        for (size_t i = 0; i < WANT; i++) {
            double off = fabs(out[2 * i] - tones((double)i, WANT));
            /* what was before the stretch is not known, and blended out: half a kernel of it */
            if (i >= WRAP_TAPS) worst = fmax(worst, off);
            assert_true(off < 0.01);
            assert_true(fabs(out[2 * i] + out[2 * i + 1]) < 1e-4);
        }
        if (worst > 0.001) fail_msg("body %.2f: off by %.5f", bodies[b], worst);
        free(out);
    }
}

static uint8_t *press_rounds(const float *pcm, unsigned kbps, unsigned rounds, size_t *len)
{
    struct press *press = press_new(kbps, FRAMES, NULL);
    uint8_t *bytes = xmalloc((size_t)mp3_frame_offset(kbps, FRAMES * rounds));
    *len = 0;
    while (press_next(press) < FRAMES * (rounds + 1)) {
        size_t n;
        if (press_take(press, 1, bytes + *len, &n)) {
            *len += n;
            continue;
        }
        assert_int_equal(press_feed(press, pcm + press_block(press) % FRAMES * PRESS_BLOCK * 2, NULL), 0);
    }
    press_free(press);
    return bytes;
}

static void its_frames_repeat_and_so_does_what_is_heard(void **state)
{
    (void)state;
    float *pcm = round_new(WANT, 882);
    static const unsigned rates[] = {64, 192};
    for (size_t r = 0; r < 2; r++) {
        size_t len, one = (size_t)mp3_frame_offset(rates[r], FRAMES);
        uint8_t *bytes = press_rounds(pcm, rates[r], 3, &len);
        assert_int_equal(len, 3 * one);
        assert_memory_equal(bytes, bytes + one, one);
        assert_memory_equal(bytes, bytes + 2 * one, one);
        int fd = memfd_create("loop.mp3", 0);
        struct decoder *decoder;
        char *cause = NULL;
        float *heard = xcalloc(3 * WANT * 2, sizeof *heard);
        assert_int_equal(write(fd, bytes, len), len);
        lseek(fd, 0, SEEK_SET);
        if (decode_open(&decoder, fd, &cause)) fail_msg("%s", cause);
        size_t have = 0;
        for (long n; (n = decode_read(decoder, heard + 2 * have, 3 * WANT - have, &cause)) > 0;)
            have += (size_t)n;
        assert_int_equal(decode_errors(decoder), 0);
        assert_true(have > 2 * WANT + WANT / 2);
        /* the seam lies in the middle of this: no step in it is larger than elsewhere */
        double most = 0, seam = 0;
        for (size_t i = WANT / 2; i < 2 * WANT + WANT / 2 - 1; i++) {
            double step = fabs(heard[2 * i + 2] - heard[2 * i]);
            size_t place = i % WANT;
            if (place < 3000 || place > WANT - 1000)
                seam = fmax(seam, step);
            else
                most = fmax(most, step);
        }
        assert_true(seam <= 1.02 * most);
        for (size_t i = WANT / 2; i < WANT + WANT / 2; i++)
            assert_true(fabs(heard[2 * i] - heard[2 * (i + WANT)]) < 1e-4);
        decode_close(decoder);
        free(heard);
        free(bytes);
    }
    free(pcm);
}

static void track_make(struct track *track, double seconds, double bpm, double confidence)
{
    track_init(track);
    track->features.duration_s = seconds;
    track->features.tempo_bpm = bpm;
    track->features.tempo_confidence = confidence;
    track->features.metre = 4;
    size_t beats = (size_t)((seconds - 1) * bpm / 60);
    track->features.beats_s = xcalloc(beats, sizeof(double));
    track->features.downbeats_s = xcalloc(beats / 4 + 1, sizeof(double));
    track->features.beat_count = beats;
    for (size_t i = 0; i < beats; i++) {
        double at = 0.5 + (double)i * 60 / bpm;
        track->features.beats_s[i] = at;
        if (i % 4 == 0) track->features.downbeats_s[track->features.downbeat_count++] = at;
    }
}

static void a_cut_goes_round_on_the_one(void **state)
{
    (void)state;
    for (double bpm = 80; bpm < 180; bpm += 3.7) {
        struct track track;
        struct loop_cut cut;
        track_make(&track, 240, bpm, 0.9);
        assert_int_equal(loop_make_choose(&track, &cut), 0);
        double bar = 240 / bpm * PCM_RATE, bars = cut.body / bar;
        if (!cut.on_bars) fail_msg("%.1f bpm: not on bars", bpm);
        assert_true(fabs(bars - rint(bars)) < 0.001);
        assert_true(fabs(cut.body / (cut.periods * (double)PERIOD) - 1) <= 0.015);
        double first = ((double)cut.start / PCM_RATE - 0.5) * bpm / 240;
        assert_true(fabs(first - rint(first)) < 0.001);
        assert_true(cut.periods * 1.28 > 23 && cut.periods * 1.28 < 49);
        track_free(&track);
    }
}

static void without_a_beat_it_is_blended(void **state)
{
    (void)state;
    struct track track;
    struct loop_cut cut;
    track_make(&track, 60, 120, 0.1);
    assert_int_equal(loop_make_choose(&track, &cut), 0);
    assert_false(cut.on_bars);
    assert_true(cut.start >= 0 && cut.start + cut.body + PCM_RATE + WRAP_TAPS < 60.0 * PCM_RATE);
    track_free(&track);
    track_make(&track, 9, 120, 0.1);
    assert_int_equal(loop_make_choose(&track, &cut), -1);
    track_free(&track);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stretch_is_fitted_and_closed),
        cmocka_unit_test(its_frames_repeat_and_so_does_what_is_heard),
        cmocka_unit_test(a_cut_goes_round_on_the_one),
        cmocka_unit_test(without_a_beat_it_is_blended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
