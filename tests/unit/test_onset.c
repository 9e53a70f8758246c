/* onset and series: windows over a stream, the same curves however it is fed, attacks to the millisecond. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/beatgrid.h"
#include "root/analysis/novelty.h"
#include "root/analysis/onset.h"
#include "root/audio/pcm.h"

static uint32_t state = 5;

static float noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state / 2147483648.0f;
}

/* ---- windows ---- */

struct seen {
    size_t count;
    float middle[64];
};

static void take(void *context, const float *window)
{
    struct seen *seen = context;
    assert_true(seen->count < 64);
    seen->middle[seen->count++] = window[8];
}

static void test_frames(void **unused)
{
    (void)unused;
    for (size_t length = 0; length <= 70; length++) {
        for (size_t portion = 1; portion <= 33; portion += 8) {
            struct frames frames;
            struct seen seen = {0};
            float ramp[70];
            for (size_t i = 0; i < length; i++)
                ramp[i] = (float)i + 1;
            frames_init(&frames, 16, 4, take, &seen);
            for (size_t at = 0; at < length; at += portion) {
                frames_feed(&frames, ramp + at, length - at < portion ? length - at : portion);
            }
            frames_finish(&frames);
            /* one window for every centre before the end, each holding its own sample in the middle */
            assert_int_equal(seen.count, (length + 3) / 4);
            for (size_t i = 0; i < seen.count; i++)
                assert_true(seen.middle[i] == (float)(4 * i + 1));
            frames_free(&frames);
        }
    }
}

static void test_quantile(void **unused)
{
    (void)unused;
    double values[5] = {5, 1, 4, 2, 3};
    assert_true(values_quantile(values, 5, 0.5) == 3);
    assert_true(values_quantile(values, 5, 0) == 1);
    assert_true(values_quantile(values, 5, 1) == 5);
    assert_true(fabs(values_quantile(values, 5, 0.625) - 3.5) < 1e-12);
    assert_true(values_quantile(values, 0, 0.5) == 0);
}

/* ---- onsets ---- */

static struct onset *listen(const float *pcm, size_t samples, size_t portion)
{
    struct onset *onset = onset_new();
    for (size_t at = 0; at < samples; at += portion) {
        onset_feed(onset, pcm + at, samples - at < portion ? samples - at : portion);
    }
    onset_finish(onset);
    return onset;
}

static void test_portions(void **unused)
{
    (void)unused;
    size_t samples = 2 * PCM_RATE;
    float *pcm = malloc(samples * sizeof *pcm);
    for (size_t i = 0; i < samples; i++)
        pcm[i] = 0.3f * noise() * (float)((i / 5000) % 2);
    struct onset *whole = listen(pcm, samples, samples), *parts = listen(pcm, samples, 777);
    struct onset_curves *a = onset_curves(whole), *b = onset_curves(parts);
    for (int band = 0; band < ONSET_BANDS; band++) {
        assert_int_equal(a->flux[band].count, b->flux[band].count);
        assert_memory_equal(a->flux[band].value, b->flux[band].value, a->flux[band].count * sizeof(float));
    }
    assert_int_equal(a->rise.count, b->rise.count);
    assert_memory_equal(a->rise.value, b->rise.value, a->rise.count);
    onset_free(whole);
    onset_free(parts);
    free(pcm);
}

/* Strokes at known samples: the flux peaks within a frame and a half of each; attacks are timed alike to 2
 * ms, and a hop early on average: strokes out of silence set in at once, where music's notes take some ms to
 * rise, and it is their beginning that is meant. */
static void test_times(void **unused)
{
    (void)unused;
    size_t samples = 12 * PCM_RATE, strokes = 0;
    float *pcm = calloc(samples, sizeof *pcm);
    double stroke_s[32];
    for (size_t at = 10000; at + 10000 < samples; at += 17171, strokes++) {
        stroke_s[strokes] = (double)at / PCM_RATE;
        for (size_t i = 0; i < 8000; i++)
            pcm[at + i] += 0.5f * noise() * (float)exp(-(double)i / 1500);
    }
    struct onset *onset = listen(pcm, samples, 4096);
    struct onset_curves *curves = onset_curves(onset);
    double least = INFINITY, most = -INFINITY, mean = 0;
    for (size_t s = 0; s < strokes; s++) {
        double height, error = beatgrid_attack(curves, stroke_s[s] + 0.01, 0.035, &height) - stroke_s[s];
        assert_true(height > 20);
        least = fmin(least, error);
        most = fmax(most, error);
        mean += error / (double)strokes;
    }
    if (most - mean > 0.002 || mean - least > 0.002 || mean < -0.004 || mean > 0)
        fail_msg("attacks off by %.2f to %.2f ms, on average %.2f", least * 1e3, most * 1e3, mean * 1e3);
    double height;
    assert_true(isnan(beatgrid_attack(curves, stroke_s[0] + 0.25, 0.035, &height)));

    novelty_normalise(curves);
    struct series novelty = novelty_sum(curves);
    for (size_t s = 0; s < strokes; s++) {
        long centre = lround(stroke_s[s] * ONSET_RATE), best = centre - 8;
        for (long i = centre - 8; i <= centre + 8; i++) {
            if (novelty.value[i] > novelty.value[best]) best = i;
        }
        if (labs(best - centre) > 3) fail_msg("stroke %zu: the flux peaks %ld frames off", s, best - centre);
    }
    series_free(&novelty);
    onset_free(onset);
    free(pcm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_quantile),
        cmocka_unit_test(test_portions),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
