/* loudness: minimum requirements of EBU Tech 3341 and 3342 that a stereo meter can be given, and the ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "root/analysis/loudness.h"
#include "root/audio/pcm.h"

/* Stereo 1 kHz sine at so many dBFS for so long. */
static void tone(struct loudness *loudness, double hz, double dbfs, double phase, double seconds)
{
    size_t samples = (size_t)(seconds * PCM_RATE);
    float *pcm = malloc(samples * 2 * sizeof *pcm);
    double gain = pow(10, dbfs / 20);
    for (size_t i = 0; i < samples; i++) {
        pcm[2 * i] = pcm[2 * i + 1] = (float)(gain * sin(2 * M_PI * hz * (double)i / PCM_RATE + phase));
    }
    loudness_feed(loudness, pcm, samples);
    free(pcm);
}

static struct loudness_result finish(struct loudness *loudness)
{
    struct loudness_result result;
    loudness_finish(loudness, &result);
    loudness_free(loudness);
    return result;
}

static void assert_near(double value, double want, double within)
{
    if (!(fabs(value - want) <= within)) fail_msg("%.3f is not %.3f within %.3f", value, want, within);
}

/* 3341 cases 1 and 2 */
static void test_level(void **unused)
{
    (void)unused;
    struct loudness *loudness = loudness_new();
    tone(loudness, 1000, -23, 0, 20);
    struct loudness_result result = finish(loudness);
    assert_near(result.integrated_lufs, -23, 0.1);
    assert_near(result.loud_lufs, -23, 0.1);
    assert_near(result.true_peak_dbtp, -23, 0.2);
    loudness = loudness_new();
    tone(loudness, 1000, -33, 0, 20);
    assert_near(finish(loudness).integrated_lufs, -33, 0.1);
}

/* 3341 case 3: the relative gate */
static void test_gate(void **unused)
{
    (void)unused;
    struct loudness *loudness = loudness_new();
    tone(loudness, 1000, -36, 0, 10);
    tone(loudness, 1000, -23, 0, 60);
    tone(loudness, 1000, -36, 0, 10);
    assert_near(finish(loudness).integrated_lufs, -23, 0.1);
}

/* 3342 case 1 */
static void test_range(void **unused)
{
    (void)unused;
    struct loudness *loudness = loudness_new();
    tone(loudness, 1000, -20, 0, 20);
    tone(loudness, 1000, -30, 0, 20);
    struct loudness_result result = finish(loudness);
    assert_near(result.range_lu, 10, 1);
    assert_near(result.loud_lufs, -20, 0.2);
}

/* 3341 case 16: a quarter of the rate at 45 degrees: samples at -3 dB of the peak between them. The onset and
 * the stop, which would ring, are faded. */
static void test_true_peak(void **unused)
{
    (void)unused;
    size_t samples = PCM_RATE;
    float *pcm = malloc(samples * 2 * sizeof *pcm);
    for (size_t i = 0; i < samples; i++) {
        double fade = fmin(1, fmin((double)i, (double)(samples - i)) / 4410);
        double value = 0.5 * fade * sin(M_PI / 2 * (double)i + M_PI / 4);
        pcm[2 * i] = (float)value;
        pcm[2 * i + 1] = 0;
    }
    struct loudness *loudness = loudness_new();
    loudness_feed(loudness, pcm, samples);
    double peak = finish(loudness).true_peak_dbtp;
    assert_true(peak > -6.02 - 0.4 && peak < -6.02 + 0.2);
    free(pcm);
}

static void test_ends(void **unused)
{
    (void)unused;
    struct loudness *loudness = loudness_new();
    tone(loudness, 1000, -90, 0, 1.5);
    tone(loudness, 1000, -10, 0, 4);
    tone(loudness, 1000, -70, 0, 2);
    struct loudness_result result = finish(loudness);
    assert_near(result.start_s, 1.5, 0.001);
    assert_near(result.end_s, 5.5, 0.001);
    loudness = loudness_new();
    tone(loudness, 1000, -80, 0, 1);
    result = finish(loudness);
    assert_true(result.start_s == result.end_s);
    assert_true(isnan(result.integrated_lufs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level), cmocka_unit_test(test_gate),      cmocka_unit_test(test_range),
        cmocka_unit_test(test_ends),  cmocka_unit_test(test_true_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
