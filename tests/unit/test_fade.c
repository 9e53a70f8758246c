/* fade: fades of several shapes are found where they are; other beginnings and ends are none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/analysis/loudness.h"
#include "root/audio/pcm.h"

#define LENGTH_S 60
#define SAMPLES  ((size_t)LENGTH_S * PCM_RATE)

enum shape { LINEAR, COSINE, DECIBEL };

/* The gain of a fade that begins at 0 and is silent at 1. */
static double shape_at(enum shape shape, double x)
{
    if (x <= 0) return 1;
    if (x >= 1) return 0;
    return shape == LINEAR ? 1 - x : shape == COSINE ? cos(M_PI / 2 * x) : pow(10, -60 * x / 20);
}

/* Noise under kicks at 100 BPM, parts of it 1.4 dB softer: as uneven as music. Seeded. */
static float *music(void)
{
    float *mono = xmalloc(SAMPLES * sizeof *mono);
    uint32_t seed = 12345;
    for (size_t i = 0; i < SAMPLES; i++) {
        double t = (double)i / PCM_RATE, beat = fmod(t, 0.6);
        seed = seed * 1664525 + 1013904223;
        double noise = ((double)seed / 2147483648.0 - 1) * 0.1,
               kick = 0.4 * exp(-beat * 20) * sin(380 * beat);
        mono[i] = (float)((noise + kick) * (fmod(t, 16) < 8 ? 1 : 0.85));
    }
    return mono;
}

static struct loudness_result measure(const float *mono)
{
    struct loudness *loudness = loudness_new();
    struct loudness_result result;
    float pcm[2 * 1024];
    for (size_t at = 0; at < SAMPLES; at += 1024) {
        size_t n = SAMPLES - at < 1024 ? SAMPLES - at : 1024;
        for (size_t i = 0; i < n; i++)
            pcm[2 * i] = pcm[2 * i + 1] = mono[at + i];
        loudness_feed(loudness, pcm, n);
    }
    loudness_finish(loudness, &result);
    loudness_free(loudness);
    return result;
}

/* inside_s: how far from its silent end the full level was found. It is nearly reached there (-4.4 dB, of
 * which the music itself has 1.4), and not long since. */
static void assert_place(const char *what, double inside_s, enum shape shape, double length)
{
    double gain = shape_at(shape, 1 - inside_s / length);
    if (!(gain >= 0.6) || inside_s > length + 1)
        fail_msg("%s: %.2f s inside, where the gain is %.2f", what, inside_s, gain);
}

static void test_fades(void **unused)
{
    (void)unused;
    static const double lengths_s[] = {5, 10, 20};
    for (int shape = LINEAR; shape <= DECIBEL; shape++) {
        for (int l = 0; l < 3; l++) {
            double length = lengths_s[l];
            if (shape == DECIBEL && length < 10) continue; /* as fast as the tail of a large room */
            float *mono = music();
            for (size_t i = 0; i < SAMPLES; i++) {
                double t = (double)i / PCM_RATE;
                mono[i] *= (float)(shape_at((enum shape)shape, (t - LENGTH_S + length) / length) *
                                   shape_at((enum shape)shape, (length - t) / length));
            }
            struct loudness_result result = measure(mono);
            char what[64];
            snprintf(what, sizeof what, "shape %d of %.0f s, out", shape, length);
            assert_place(what, LENGTH_S - result.fade_out_s, (enum shape)shape, length);
            snprintf(what, sizeof what, "shape %d of %.0f s, in", shape, length);
            assert_place(what, result.fade_in_s, (enum shape)shape, length);
            free(mono);
        }
    }
}

static void assert_none(const char *what, float *mono)
{
    struct loudness_result result = measure(mono);
    if (!isnan(result.fade_in_s)) fail_msg("%s: a fade-in to %.2f s", what, result.fade_in_s);
    if (!isnan(result.fade_out_s)) fail_msg("%s: a fade-out from %.2f s", what, result.fade_out_s);
    free(mono);
}

/* What gain(t) makes of the music is no fade. */
static void none(const char *what, double (*gain)(double t))
{
    float *mono = music();
    for (size_t i = 0; i < SAMPLES; i++)
        mono[i] *= (float)gain((double)i / PCM_RATE);
    assert_none(what, mono);
}

static double abrupt(double t)
{
    (void)t;
    return 1;
}

static double silent_ends(double t)
{
    return t > 5 && t < 55;
}

static double room(double t) /* stops, and the room dies away: 60 dB in 1.5 s */
{
    return t < 55 ? 1 : pow(10, -2 * (t - 55));
}

static double quick(double t) /* a fade within a second is a stop */
{
    return t < 57 ? 1 : t < 58 ? 58 - t : 0;
}

static double parts(double t) /* parts come and go in steps of 8 dB */
{
    double edge = fmin(t, LENGTH_S - t);
    return edge < 8 ? 0.16 : edge < 16 ? 0.4 : 1;
}

static double swell(double t) /* slow waves in the middle, level at both ends */
{
    return t < 10 || t > 50 ? 1 : 0.55 + 0.45 * cos(2 * M_PI * (t - 10) / 20);
}

static double shallow(double t) /* 6 dB over 20 s: a quiet end */
{
    return t < 40 ? 1 : pow(10, -6 * (t - 40) / 20 / 20);
}

static void test_none(void **unused)
{
    (void)unused;
    none("abrupt", abrupt);
    none("silence at both ends", silent_ends);
    none("a room", room);
    none("a quick fade", quick);
    none("parts", parts);
    none("swell", swell);
    none("shallow", shallow);
    assert_none("silence", xcalloc(SAMPLES, sizeof(float)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fades),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests_name("fade", tests, NULL, NULL);
}
