/* vocal: a voice made of formants, alone and over music, against music alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/timbre.h"
#include "root/analysis/vocal.h"
#include "root/audio/pcm.h"

#define SECONDS 12
#define SAMPLES ((size_t)SECONDS * PCM_RATE)

static uint32_t state = 3;

static double noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (double)(int32_t)state / 2147483648.0;
}

/* Steady chords, plucked, and drums. */
static void play(float *pcm, double level)
{
    static const double chord[4][3] = {
        {220, 277.2, 329.6}, {196, 246.9, 293.7}, {174.6, 220, 261.6}, {196, 246.9, 392}};
    for (size_t i = 0; i < SAMPLES; i++) {
        double t = (double)i / PCM_RATE, in = fmod(t, 0.5), x = 0;
        for (int n = 0; n < 3; n++) {
            for (int h = 1; h <= 5; h++)
                x += sin(2 * M_PI * h * chord[(int)(t / 2) % 4][n] * t) / (h * h) * exp(-in / 0.4);
        }
        x += 1.5 * sin(2 * M_PI * 55 * in) * exp(-in / 0.1) + 0.8 * noise() * exp(-fmod(t, 0.25) / 0.02);
        pcm[i] += (float)(level * x / 4);
    }
}

/* Notes of half a second on changing vowels, gliding from one to the next, with vibrato. */
static void sing(float *pcm, double level)
{
    static const double note[6] = {262, 294, 330, 294, 349, 262};
    static const double vowel[3][3] = {{800, 1150, 2900}, {300, 2250, 3000}, {450, 800, 2830}};
    double phase = 0, hz = note[0];
    for (size_t i = 0; i < SAMPLES; i++) {
        double t = (double)i / PCM_RATE, in = fmod(t, 0.5), x = 0;
        const double *formant = vowel[(int)(t / 0.5) % 3];
        hz += (note[(int)(t / 0.5) % 6] - hz) * 0.0006;
        double now = hz * pow(2, 40.0 / 1200 * sin(2 * M_PI * 5.5 * t) * fmin(1, in / 0.2));
        phase += now / PCM_RATE;
        for (int h = 1; h <= 16; h++) {
            double gain = 0;
            for (int f = 0; f < 3; f++)
                gain += 1 / (1 + pow((h * now - formant[f]) / (90 + 40 * f), 2)) / (f + 1);
            x += gain * sin(2 * M_PI * h * phase);
        }
        pcm[i] += (float)(level * x * fmin(1, in / 0.03) * fmin(1, (0.5 - in) / 0.05) / 2);
    }
}

static double share_of(double music, double voice, size_t *rows)
{
    float *pcm = calloc(SAMPLES, sizeof *pcm);
    play(pcm, music);
    if (voice > 0) sing(pcm, voice);
    struct timbre *timbre = timbre_new();
    struct vocal *vocal = vocal_new();
    timbre_listen(timbre, vocal_spectrum, vocal);
    timbre_feed(timbre, pcm, SAMPLES);
    timbre_finish(timbre);
    vocal_finish(vocal);
    double share = vocal_share(vocal, 0, SECONDS);
    *rows = vocal_rows(vocal)->count;
    assert_true(isnan(vocal_share(vocal, SECONDS + 1, SECONDS + 2)));
    vocal_free(vocal);
    timbre_free(timbre);
    free(pcm);
    return share;
}

static void test_voices(void **unused)
{
    (void)unused;
    size_t rows;
    double music = share_of(0.3, 0, &rows), voice = share_of(0.0, 0.3, &rows),
           both = share_of(0.3, 0.3, &rows);
    assert_in_range(rows, (size_t)(SECONDS * VOCAL_RATE), (size_t)(SECONDS * VOCAL_RATE) + 1);
    if (!(music < 0.15)) fail_msg("a voice in %.2f of music without one", music);
    if (!(voice > 0.8)) fail_msg("a voice alone is heard in %.2f of it", voice);
    if (!(both > 0.6)) fail_msg("a voice over music is heard in %.2f of it", both);
}

static void test_nothing(void **unused)
{
    (void)unused;
    struct vocal *vocal = vocal_new();
    float power[1025] = {0};
    vocal_finish(vocal);
    assert_int_equal(vocal_rows(vocal)->count, 0);
    vocal_free(vocal);
    vocal = vocal_new();
    for (int i = 0; i < 100; i++)
        vocal_spectrum(vocal, power);
    vocal_finish(vocal);
    assert_int_equal(vocal_rows(vocal)->count, (100 + VOCAL_FRAMES - 1) / VOCAL_FRAMES);
    assert_true(vocal_share(vocal, 0, 100) == 0);
    vocal_free(vocal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_voices),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
