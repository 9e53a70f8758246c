/* beat: tempo, phase, bars and confidence on synthesised drums, and on what has no beat. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/beat.h"
#include "root/analysis/downbeat.h"
#include "root/analysis/key.h"
#include "root/analysis/novelty.h"
#include "root/analysis/timbre.h"
#include "root/track.h"
#include "tests/unit/drums.h"

#define LENGTH_S 30.0

/* A bass note and a chord that change at every bar. */
static void harmony(struct sound *s, double bar_s, double offset_s)
{
    static const double root_hz[4] = {110.0, 87.31, 130.81, 98.0};
    for (size_t i = 0; i < s->samples; i++) {
        double t = (double)i / PCM_RATE;
        int bar = (int)floor((t - offset_s) / bar_s + 1e-9);
        double hz = root_hz[((bar % 4) + 4) % 4];
        s->pcm[i] +=
            (float)(0.05 * (sin(2 * M_PI * hz * t) + sin(4 * M_PI * hz * t) + sin(3 * M_PI * hz * t)));
    }
}

/* ---- what is heard ---- */

struct heard {
    struct beats beats;
    struct downbeats downbeats;
};

static struct heard hear(const struct sound *s)
{
    struct onset *onset = onset_new();
    struct chroma *chroma = chroma_new();
    struct timbre *timbre = timbre_new();
    onset_feed(onset, s->pcm, s->samples);
    chroma_feed(chroma, s->pcm, s->samples);
    timbre_feed(timbre, s->pcm, s->samples);
    onset_finish(onset);
    chroma_finish(chroma);
    timbre_finish(timbre);
    struct onset_curves *curves = onset_curves(onset);
    novelty_normalise(curves);
    struct series novelty = novelty_sum(curves), change = novelty_harmony(chroma_rows(chroma));
    struct heard heard = {.beats = beats_find(curves, &novelty, &change, 0, (double)s->samples / PCM_RATE)};
    heard.downbeats = downbeats_find(&heard.beats, curves, chroma_rows(chroma), chroma_bass_rows(chroma),
                                     timbre_rows(timbre));
    series_free(&novelty);
    series_free(&change);
    onset_free(onset);
    chroma_free(chroma);
    timbre_free(timbre);
    return heard;
}

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

/* Regions follow each other, of 16 beats at least, and say where each beat is. */
static void check_regions(const struct beats *beats)
{
    size_t next = 0;
    for (size_t r = 0; r < beats->region_count; r++) {
        const struct region *region = &beats->regions[r];
        assert_int_equal(region->first_beat, next);
        assert_true(region->beats >= REGION_BEATS);
        for (size_t i = 0; i < region->beats; i++)
            assert_true(fabs(region->start_s + (double)i * region->period_s - beats->time_s[next + i]) <
                        1e-6);
        next += region->beats;
    }
    assert_int_equal(next, beats->count);
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
    /* all of them: one more or less at the ends */
    assert_true(fabs((double)h.beats.count - (LENGTH_S - offset_s) * bpm / 60) <= 1.5);
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

static void check_bars(double bpm, int metre, double offset_s)
{
    struct sound s = drums(bpm, offset_s, metre, LENGTH_S);
    harmony(&s, metre * 60 / bpm, offset_s);
    struct heard h = hear(&s);
    assert_int_equal(h.downbeats.metre, metre);
    double place = (h.beats.time_s[h.downbeats.first] - offset_s) / (metre * 60 / bpm);
    if (fabs(place - round(place)) > 0.05)
        fail_msg("%.0f BPM in %d: bar off by %.2f", bpm, metre, place - round(place));
    beats_free(&h.beats);
    free(s.pcm);
}

static void test_bars(void **unused)
{
    (void)unused;
    state = 2;
    check_bars(124, 4, 0.7);
    check_bars(96, 4, 1.9);
    check_bars(140, 3, 0.5);
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
    s = sound_new(2);
    check_no_beat(&s, "silence");
    s = sound_new(0.01);
    check_no_beat(&s, "next to nothing");
}

/* Tempo that goes from 110 to 120: no constant grid, so no trust, but beats on most strokes. */
static void test_drift(void **unused)
{
    (void)unused;
    state = 4;
    struct sound s = sound_new(60);
    double truth[256];
    size_t count = 0;
    for (double t = 0.3; t < 60; t += 60 / (110 + 10 * t / 60)) {
        kick(&s, t, 0.8);
        if (count % 2) burst(&s, t, 0.4, 0.05);
        truth[count++] = t;
    }
    struct heard h = hear(&s);
    assert_true(h.beats.region_count > 1);
    check_regions(&h.beats);
    assert_true(h.beats.confidence < TEMPO_TRUSTED);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < h.beats.count; k++)
            found += fabs(h.beats.time_s[k] - truth[i]) < 0.03;
    }
    assert_true(found > count * 9 / 10);
    assert_true(h.beats.count < count * 11 / 10);
    beats_free(&h.beats);
    free(s.pcm);
}

/* A bar-wise rock beat at two tempos, or at one with a rest of some beats between. */
static void check_two_parts(double first_bpm, double second_bpm, double rest_beats)
{
    struct sound s = sound_new(45);
    double t = 0.3, change_s = 0, beat = 60 / first_bpm;
    size_t count = 0;
    for (; t < 44.5; count++) {
        if (count % 2 == 0) kick(&s, t, 0.8);
        if (count % 2) burst(&s, t, 0.4, 0.05);
        burst(&s, t + beat / 2, 0.1, 0.015);
        t += beat;
        if (count == 47) {
            change_s = t += rest_beats * beat;
            beat = 60 / second_bpm;
        }
    }
    struct heard h = hear(&s);
    check_regions(&h.beats);
    if (h.beats.region_count != 2)
        fail_msg("%.0f, %.0f: %zu regions", first_bpm, second_bpm, h.beats.region_count);
    const struct region *a = &h.beats.regions[0], *b = &h.beats.regions[1];
    if (fabs(60 / a->period_s - first_bpm) > 0.02 || fabs(60 / b->period_s - second_bpm) > 0.02)
        fail_msg("%.0f, %.0f heard as %.3f, %.3f", first_bpm, second_bpm, 60 / a->period_s, 60 / b->period_s);
    double early = (change_s - b->start_s) / b->period_s;
    if (fabs(early - round(early)) * b->period_s > 0.005 || fabs(early) > 2.5)
        fail_msg("%.0f, %.0f: the second begins %.2f beats early", first_bpm, second_bpm, early);
    beats_free(&h.beats);
    free(s.pcm);
}

static void test_two_tempos(void **unused)
{
    (void)unused;
    state = 5;
    check_two_parts(120, 150, 0);
    check_two_parts(128, 122, 0);
    check_two_parts(100, 100, 2.4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tempos), cmocka_unit_test(test_bars),       cmocka_unit_test(test_no_beat),
        cmocka_unit_test(test_drift),  cmocka_unit_test(test_two_tempos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
