/* beat: tempo, phase, bars and confidence on synthesised drums, and on what has no beat. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/track.h"
#include "tests/unit/drums.h"

#define LENGTH_S 25.0
#define SHORT_S  18.0

/* Largest distance of a heard beat to the grid, s. */
static double worst_phase(const struct beats *beats, double bpm, double offset_s)
{
    double worst = 0, beat = 60 / bpm;
    for (size_t k = 0; k < beats->count; k++) {
        double place = (beats->time_s[k] - offset_s) / beat;
        worst = fmax(worst, fabs(place - round(place)) * beat);
    }
    return worst;
}

static void check_grid(double bpm, double offset_s, int metre)
{
    struct sound s = drums(bpm, offset_s, metre, LENGTH_S);
    struct heard h = hear(&s);
    double phase = worst_phase(&h.beats, bpm, offset_s);
    if (fabs(h.beats.bpm - bpm) > 0.01) fail_msg("%.3f BPM heard as %.4f", bpm, h.beats.bpm);
    if (phase > 0.005) fail_msg("%.3f BPM: off by %.1f ms", bpm, phase * 1e3);
    if (h.beats.confidence < TEMPO_TRUSTED) fail_msg("%.3f BPM: confidence %.2f", bpm, h.beats.confidence);
    if (h.beats.region_count != 1) fail_msg("%.3f BPM: %zu regions", bpm, h.beats.region_count);
    check_regions(&h.beats);
    /* the first one, too, where the line through them all meets it before the first sample */
    double first_s = fmod(offset_s, 60 / bpm);
    if (fabs(h.beats.time_s[0] - first_s) > 0.006)
        fail_msg("%.3f BPM: first beat at %.3f s", bpm, h.beats.time_s[0]);
    /* all of them: one more or less at the ends */
    assert_true(fabs((double)h.beats.count - (LENGTH_S - offset_s) * bpm / 60) <= 1.5);
    beats_free(&h.beats);
    free(s.pcm);
}

/* A layer that sounds before the beat, and only in the second half, does not turn the grid. */
static void test_early_layer(void **unused)
{
    (void)unused;
    state = 3;
    struct sound s = sound_new(60);
    double beat = 60 / 128.0, offset_s = 0.2;
    for (int k = 0; offset_s + k * beat < 60; k++) {
        double t = offset_s + k * beat;
        int layer = t > 30 && k % 4 != 1;
        if (layer) pluck(&s, t - 0.016, k % 8 < 4 ? 220 : 262, 0.3);
        kick(&s, t, layer ? 0.2 : 0.8);
        if (k % 2) burst(&s, t, layer ? 0.1 : 0.4, 0.05);
        burst(&s, t + beat / 2, 0.1, 0.015);
    }
    struct heard h = hear(&s);
    double phase = worst_phase(&h.beats, 128, offset_s);
    if (fabs(h.beats.bpm - 128) > 0.001 || phase > 0.005)
        fail_msg("heard as %.4f BPM, off by %.1f ms", h.beats.bpm, phase * 1e3);
    beats_free(&h.beats);
    free(s.pcm);
}

static void test_tempos(void **unused)
{
    (void)unused;
    state = 1;
    check_grid(64, 0.4, 4);
    check_grid(87.37, 0.1, 4);
    check_grid(100, 0, 4);
    check_grid(120.013, 0.25, 4);
    check_grid(128, 0.333, 4);
    check_grid(141.67, 0.05, 4);
    check_grid(160, 0.2, 4);
    check_grid(174.3, 0.111, 4);
    check_grid(180, 0.3, 4);
}

/* Where the first beat is heard of a piece that begins on its first sample and has hats, and kicks of that
 * gain, on its offbeats. */
static double first_s(double bpm, double gain)
{
    struct sound s = sound_new(SHORT_S);
    double beat = 60 / bpm;
    for (double t = 0; t < SHORT_S; t += beat) {
        kick(&s, t, 0.5);
        kick(&s, t + beat / 2, gain);
        burst(&s, t + beat / 2, 0.2, 0.02);
    }
    struct heard h = hear(&s);
    double first = h.beats.time_s[0];
    assert_true(fabs(h.beats.bpm - bpm) < 0.1);
    beats_free(&h.beats);
    free(s.pcm);
    return first;
}

/* A piece begins with a beat where the offbeats could as well be its beats; not where they clearly are.
 */
static void test_begin(void **unused)
{
    (void)unused;
    state = 9;
    assert_true(first_s(120, 0.5) < 0.01);
    assert_true(first_s(96, 0.9) > 0.2);
}

static void check_no_beat(struct sound *s, const char *what)
{
    struct heard h = hear(s);
    if (h.beats.confidence >= TEMPO_TRUSTED)
        fail_msg("%s: confidence %.2f at %.1f BPM", what, h.beats.confidence, h.beats.bpm);
    beats_free(&h.beats);
    free(s->pcm);
}

static void test_no_beat(void **unused)
{
    (void)unused;
    state = 3;
    struct sound s = sound_new(LENGTH_S);
    for (size_t i = 0; i < s.samples; i++)
        s.pcm[i] = (float)(0.3 * noise());
    check_no_beat(&s, "noise");
    /* a pad that swells and changes now and then */
    s = sound_new(LENGTH_S);
    for (size_t i = 0; i < s.samples; i++) {
        double t = (double)i / PCM_RATE, swell = 0.5 + 0.4 * sin(2 * M_PI * 0.113 * t + sin(0.37 * t));
        double hz = 220 * pow(2, floor(3 * sin(0.31 * t)) / 12);
        s.pcm[i] =
            (float)(0.2 * swell *
                    (sin(2 * M_PI * 220 * t) + sin(2 * M_PI * 277.2 * t) + 0.3 * sin(2 * M_PI * hz * 2 * t)));
    }
    check_no_beat(&s, "pad");
    /* strokes at random */
    s = sound_new(LENGTH_S);
    for (double t = 0.1; t < LENGTH_S; t += 0.15 + 0.5 * fabs(noise()))
        burst(&s, t, 0.5, 0.03);
    check_no_beat(&s, "random strokes");
    /* plucked chords by a player who takes his time */
    s = sound_new(LENGTH_S);
    double slower = 0, t = 0.3;
    for (int k = 0; t < LENGTH_S; k++) {
        static const double chord_hz[4] = {220, 261.6, 293.7, 196};
        pluck(&s, t, chord_hz[k / 4 % 4], 0.3);
        if (k % 2) pluck(&s, t, chord_hz[k / 4 % 4] * 1.5, 0.2);
        slower = 0.85 * slower + 0.15 * noise();
        t += 0.55 * exp(slower);
    }
    check_no_beat(&s, "rubato");
    s = sound_new(2);
    check_no_beat(&s, "silence");
    s = sound_new(0.01);
    check_no_beat(&s, "next to nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tempos),
        cmocka_unit_test(test_early_layer),
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_no_beat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
