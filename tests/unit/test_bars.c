/* bars: levels against the standard and against known signals, chroma and onsets bar by bar; the exponent of
 * dance. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/bars.h"
#include "root/analysis/character.h"
#include "root/analysis/course.h"
#include "root/analysis/dance.h"
#include "root/analysis/key.h"
#include "root/analysis/loudness.h"
#include "root/analysis/novelty.h"
#include "root/analysis/timbre.h"
#include "root/analysis/vocal.h"
#include "root/audio/pcm.h"

static uint32_t state = 5;

static double noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (double)(int32_t)state / 2147483648.0;
}

/* Mean of the course over the last half of a second of a stereo sine, LUFS. */
static double course_of_sine(double hz, double left, double right)
{
    struct course *course = course_new();
    static float pcm[2 * PCM_RATE];
    for (size_t i = 0; i < PCM_RATE; i++) {
        double x = sin(2 * M_PI * hz * (double)i / PCM_RATE);
        pcm[2 * i] = (float)(left * x);
        pcm[2 * i + 1] = (float)(right * x);
    }
    for (size_t at = 0; at < PCM_RATE; at += 441)
        course_feed(course, pcm + 2 * at, 441);
    course_finish(course);
    const struct bytes *bytes = course_loudness(course);
    assert_int_equal(bytes->count, (PCM_RATE + COURSE_HOP - 1) / COURSE_HOP);
    double sum = 0;
    size_t from = bytes->count / 2;
    for (size_t i = from; i + 1 < bytes->count; i++)
        sum += course_mean_square(bytes->value[i]) / (double)(bytes->count - 1 - from);
    course_free(course);
    return 10 * log10(sum);
}

static void test_weighting(void **unused)
{
    (void)unused;
    /* the standard's own definition, and the response of its two filters at 48 kHz evaluated at other places
     */
    assert_true(fabs(course_of_sine(997, 1, 0) + 3.01) < 0.2);
    assert_true(fabs(course_of_sine(997, 0.0708, 0.0708) + 23) < 0.2);
    assert_true(fabs(course_of_sine(10000, 0.1, 0) - (-23.01 + 3.34)) < 0.25);
    assert_true(fabs(course_of_sine(60, 0.1, 0) - (-23.01 - 3.7)) < 0.6);
}

/* Noise that is louder in its second half: the course's mean is what libebur128 measures. */
static void test_against_library(void **unused)
{
    (void)unused;
    struct course *course = course_new();
    struct loudness *loudness = loudness_new();
    double sum = 0;
    for (int chunk = 0; chunk < 200; chunk++) {
        static float pcm[2 * 1024];
        for (int i = 0; i < 2 * 1024; i++)
            pcm[i] = (float)((chunk < 100 ? 0.1 : 0.2) * noise());
        course_feed(course, pcm, 1024);
        loudness_feed(loudness, pcm, 1024);
    }
    course_finish(course);
    struct loudness_result result;
    loudness_finish(loudness, &result);
    const struct bytes *bytes = course_loudness(course);
    for (size_t i = 0; i < bytes->count; i++)
        sum += course_mean_square(bytes->value[i]) / (double)bytes->count;
    assert_true(fabs(10 * log10(sum) - result.integrated_lufs) < 0.15);
    course_free(course);
    loudness_free(loudness);
}

static void test_bytes(void **unused)
{
    (void)unused;
    assert_int_equal(course_byte(1), 0);
    assert_int_equal(course_byte(4), 0);
    assert_int_equal(course_byte(0), COURSE_SILENT);
    assert_true(course_mean_square(COURSE_SILENT) == 0);
    for (int i = 0; i < COURSE_SILENT; i++)
        assert_int_equal(course_byte(course_mean_square((uint8_t)i)), i);
}

/* What the extractors make of a piece, as the analysis feeds them. */
struct ears {
    struct onset *onset;
    struct chroma *chroma;
    struct timbre *timbre;
    struct course *course;
    struct vocal *vocal;
    struct series novelty;
    struct accents accents;
    struct bar_sources sources;
};

static void listen(struct ears *ears, const float *mono, size_t samples)
{
    *ears = (struct ears){onset_new(), chroma_new(), timbre_new(), course_new(), vocal_new(), {0}, {0}, {0}};
    timbre_listen(ears->timbre, vocal_spectrum, ears->vocal);
    for (size_t i = 0; i < samples; i++) {
        float both[2] = {mono[i], mono[i]};
        course_feed(ears->course, both, 1);
    }
    onset_feed(ears->onset, mono, samples);
    chroma_feed(ears->chroma, mono, samples);
    timbre_feed(ears->timbre, mono, samples);
    onset_finish(ears->onset);
    chroma_finish(ears->chroma);
    timbre_finish(ears->timbre);
    course_finish(ears->course);
    vocal_finish(ears->vocal);
    novelty_normalise(onset_curves(ears->onset));
    ears->novelty = novelty_sum(onset_curves(ears->onset));
    ears->accents = accents_find(&ears->novelty);
    ears->sources = (struct bar_sources){
        .chroma = chroma_rows(ears->chroma),
        .bass = chroma_bass_rows(ears->chroma),
        .tonality = chroma_tonality(ears->chroma),
        .loudness = course_loudness(ears->course),
        .levels = timbre_levels(ears->timbre),
        .vocal = vocal_rows(ears->vocal),
        .accents = &ears->accents,
    };
}

static void forget(struct ears *ears)
{
    onset_free(ears->onset);
    chroma_free(ears->chroma);
    timbre_free(ears->timbre);
    course_free(ears->course);
    vocal_free(ears->vocal);
    series_free(&ears->novelty);
    free(ears->accents.time_s);
}

static int strongest(const uint8_t *chroma)
{
    int best = 0;
    for (int c = 1; c < CHROMA_BINS; c++)
        best = chroma[c] > chroma[best] ? c : best;
    return best;
}

#define BAR_S  2.0
#define BARS   12
#define FIRST  0.5 /* s, the first downbeat */
#define CLICKS 6   /* in a bar of drums */

/* Bars of three kinds in turn: a low C under an E, a low G under a B, half as loud; hiss beaten six times. */
static float *piece(size_t *samples)
{
    *samples = (size_t)((FIRST + BARS * BAR_S) * PCM_RATE);
    float *pcm = calloc(*samples, sizeof *pcm);
    for (size_t i = 0; i < *samples; i++) {
        double t = (double)i / PCM_RATE - FIRST, in = fmod(t, BAR_S);
        if (t < 0) continue;
        int kind = (int)(t / BAR_S) % 3;
        double bass = kind ? 98.0 : 65.41, top = kind ? 493.88 : 329.63, level = kind ? 0.1 : 0.2;
        if (kind < 2) {
            double edge = fmin(1, fmin(in, BAR_S - in) / 0.02);
            pcm[i] = (float)(level * edge * (sin(2 * M_PI * bass * t) + 0.5 * sin(2 * M_PI * top * t)));
        } else {
            pcm[i] = (float)(0.3 * noise() * exp(-fmod(in, BAR_S / CLICKS) / 0.03));
        }
    }
    return pcm;
}

static void test_measured(void **unused)
{
    (void)unused;
    size_t samples;
    float *pcm = piece(&samples);
    struct ears ears;
    listen(&ears, pcm, samples);
    double downbeats[BARS], end = FIRST + BARS * BAR_S;
    for (int i = 0; i < BARS; i++)
        downbeats[i] = FIRST + i * BAR_S;
    assert_null(bars_measure(&ears.sources, downbeats, 0, end));
    struct bar *bars = bars_measure(&ears.sources, downbeats, BARS, end);
    int most = 0;
    for (int i = 0; i < BARS; i++) {
        const struct bar *bar = &bars[i];
        for (int c = 0; c < CHROMA_BINS; c++)
            most = bar->chroma[c] > most ? bar->chroma[c] : most;
        if (i % 3 < 2) {
            assert_int_equal(strongest(bar->bass_chroma), i % 3 ? 7 : 0);
            assert_true(bar->chroma[i % 3 ? 11 : 4] > 60);
            assert_true(bar->chroma[2] < 30);
            /* 0.2 and 0.1 of full scale below 200 Hz, half of it above: mean squares of sines, of steady bars
             */
            double low_db = i % 3 ? -23.01 : -16.99;
            assert_true(fabs(-BAR_LU * bar->low - low_db) < 0.8);
            assert_true(fabs(-BAR_LU * bar->mid - (low_db - 6.02)) < 0.8);
            assert_true(bar->onsets <= 3);
        } else {
            assert_in_range(bar->onsets, CLICKS - 1, CLICKS + 1);
            assert_true(bar->high < bar->low);
            for (int c = 0; c < CHROMA_BINS; c++)
                assert_true(bar->chroma[c] < 100);
        }
    }
    assert_int_equal(most, 255);
    /* twice the amplitude is 6.0 dB; the weighting takes 1.2 dB more off a C of 65 Hz than off a G of 98 Hz
     */
    assert_in_range(bars[1].loudness - bars[0].loudness, 17, 21);
    free(bars);
    forget(&ears);
    free(pcm);
}

static void test_ends(void **unused)
{
    (void)unused;
    const double downbeats[] = {1, 3, 5};
    assert_true(bars_end_s(downbeats, 3, 0, 20) == 3);
    assert_true(bars_end_s(downbeats, 3, 2, 20) == 7);
    assert_true(bars_end_s(downbeats, 3, 2, 6) == 6);
    assert_true(bars_end_s(downbeats, 1, 0, 6) == 6);
    /* beyond all that is known a bar is empty, not undefined */
    struct ears ears;
    static float silence[PCM_RATE];
    listen(&ears, silence, PCM_RATE);
    struct bar *bars = bars_measure(&ears.sources, downbeats, 3, 20);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bars[i].loudness, COURSE_SILENT);
        assert_int_equal(bars[i].onsets, 0);
        assert_int_equal(bars[i].chroma[0], 0);
    }
    free(bars);
    forget(&ears);
}

static double exponent_of(int kind)
{
    struct dance *dance = dance_new();
    double level = 0.1;
    for (int i = 0; i < 60 * PCM_RATE / 4; i++) {
        float x[4];
        for (int k = 0; k < 4; k++) {
            double t = (4.0 * i + k) / PCM_RATE;
            if (kind == 0) x[k] = (float)(noise() * exp(-fmod(t, 0.5) / 0.1));
            if (kind == 1) x[k] = (float)(noise() * 0.2);
            if (kind == 2) x[k] = (float)(noise() * level);
        }
        level = fmin(0.5, fmax(0.01, level + 0.0005 * noise()));
        dance_feed(dance, x, 4);
    }
    double exponent = dance_exponent(dance);
    dance_free(dance);
    return exponent;
}

static void test_dance(void **unused)
{
    (void)unused;
    double beat = exponent_of(0), even = exponent_of(1), walk = exponent_of(2);
    if (!(beat < 0.25)) fail_msg("a beat's exponent is %.2f", beat);
    if (!(fabs(even - 0.5) < 0.15)) fail_msg("that of noise is %.2f, not a half", even);
    if (!(walk > 1.2)) fail_msg("that of a wandering level is %.2f", walk);
    struct dance *dance = dance_new();
    assert_true(isnan(dance_exponent(dance)));
    dance_free(dance);
}

static void test_character(void **unused)
{
    (void)unused;
    assert_true(character_energy(NAN, 0, NAN) == 0);
    assert_true(fabs(character_energy(-6, 8, 4000) - 1) < 1e-12);
    assert_true(fabs(character_energy(-18, 0, NAN) - 0.25) < 1e-12);
    assert_true(character_danceability(NAN, NAN, NAN, NAN) == 0);
    assert_true(fabs(character_danceability(0.4, 1, 118, 1) - 1) < 1e-12);
    assert_true(character_danceability(0.4, 0, 118, 1) < 0.41);
    assert_true(character_danceability(0.7, 0.8, 118, 1) > character_danceability(0.7, 0.8, 60, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weighting), cmocka_unit_test(test_against_library),
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_measured),
        cmocka_unit_test(test_ends),      cmocka_unit_test(test_dance),
        cmocka_unit_test(test_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
