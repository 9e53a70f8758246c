/* analysis: what it keeps grows little with the length, and not at all beyond the limit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/analysis.h"
#include "root/analysis/wave.h"
#include "root/audio/pcm.h"

#define PER_S_MAX 6144 /* bytes: two hours make 44 MB, beside 40 for decoder and libraries */

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Clicks and a chord for so many seconds. */
static void feed(struct analysis *analysis, int seconds)
{
    static float pcm[2 * PCM_RATE];
    for (size_t i = 0; i < PCM_RATE; i++) {
        double t = (double)i / PCM_RATE, beat = fmod(t, 0.5);
        pcm[2 * i] = pcm[2 * i + 1] =
            (float)(0.5 * exp(-beat * 40) * sin(380 * beat) + 0.05 * sin(2 * M_PI * 220 * t) +
                    0.05 * sin(2 * M_PI * 330 * t));
    }
    for (int s = 0; s < seconds; s++)
        analysis_feed(analysis, pcm, PCM_RATE);
}

static void test_growth(void **unused)
{
    (void)unused;
    struct analysis *analysis = analysis_new();
    feed(analysis, 10);
    size_t before = in_use();
    feed(analysis, 50);
    size_t grown = in_use() - before;
    /* the sanitizer's allocator does not say */
    if (!SANITIZED && (grown > 50 * PER_S_MAX || !grown)) fail_msg("%zu bytes a second", grown / 50);
    analysis_free(analysis);
}

/* Longer than the limit: what is one value for all is known, what follows from beats is not, and the memory
 * for them is given back. */
static void test_limit(void **unused)
{
    (void)unused;
    char *cause = NULL;
    struct features f;
    struct analysis *analysis = analysis_new();
    features_init(&f);
    analysis_limit(analysis, 20 * PCM_RATE);
    feed(analysis, 20);
    size_t before = in_use();
    feed(analysis, 1);
    if (!SANITIZED) assert_true(in_use() + 20 * 1024 < before);
    before = in_use();
    feed(analysis, 10);
    if (!SANITIZED) assert_true(in_use() < before + 10 * 256);
    assert_int_equal(analysis_finish(analysis, &f, &cause), 0);
    assert_true(fabs(f.duration_s - 31) < 1e-9);
    assert_true(isfinite(f.loudness_lufs) && isfinite(f.timbre[0]) && f.key >= 0 && f.key_scores[f.key] == 1);
    assert_int_equal(f.loudness_count, 31);
    assert_int_equal(f.beat_count + f.downbeat_count + f.bar_count + f.region_count + f.section_count, 0);
    assert_true(isnan(f.tempo_bpm) && isnan(f.tempo_confidence));
    size_t len;
    uint8_t *wave = analysis_wave(analysis, &len);
    assert_int_equal(len, WAVE_HEAD + 31 * 20 * WAVE_BANDS);
    free(wave);
    features_free(&f);
    analysis_free(analysis);

    /* just not longer: everything is known */
    analysis = analysis_new();
    analysis_limit(analysis, 20 * PCM_RATE);
    feed(analysis, 20);
    assert_int_equal(analysis_finish(analysis, &f, &cause), 0);
    assert_true(fabs(f.tempo_bpm - 120) < 0.1 && f.beat_count > 30);
    features_free(&f);
    analysis_free(analysis);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_growth), cmocka_unit_test(test_limit)};
    return cmocka_run_group_tests_name("analysis", tests, NULL, NULL);
}
