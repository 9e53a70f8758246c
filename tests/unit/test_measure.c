/* Stems with known faults: what the meters say must be what was put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/mix/listen.h"
#include "root/mix/measure.h"

#define RATE    44100
#define BARS    8
#define BEATS   (4 * BARS)
#define BEAT    (RATE / 2) /* 120 BPM */
#define SAMPLES ((size_t)BEATS * BEAT)

static int64_t beat[BEATS + 1];

static int set_up(void **state)
{
    (void)state;
    for (int k = 0; k <= BEATS; k++)
        beat[k] = (int64_t)k * BEAT;
    return 0;
}

static double noise(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return (double)*random / 2147483648.0 - 1;
}

/* Adds a sound that begins at that second and dies away. */
static void add_hit(float *mono, double at_s, double hz, double decay, double level)
{
    for (size_t i = (size_t)fmax(0, ceil(at_s * RATE)); i < SAMPLES; i++) {
        double t = (double)i / RATE - at_s;
        if (t > 8 / decay) break;
        mono[i] += (float)(level * exp(-t * decay) * sin(2 * M_PI * hz * t));
    }
}

/* wet: what the mix has of it. */
static void to_stem(struct stem *stem, const float *mono, const float *wet)
{
    stem_init(stem, (int64_t)SAMPLES);
    stem_add_mono(stem, 0, mono, 1, SAMPLES);
    for (int channel = 0; channel < 2; channel++) {
        stem_add_dry(stem, 0, channel, mono, 1, SAMPLES);
        stem_add_wet(stem, 0, wet, SAMPLES);
    }
}

/* A kick and a click on each beat; the last four come later and later, up to late_ms; a ghost of a kick
 * before each eighth one. */
static void kicks_slowing(struct stem *stem, double late_ms)
{
    float *mono = xcalloc(SAMPLES, sizeof *mono);
    for (int k = 0; k < BEATS; k++) {
        double at = (double)beat[k] / RATE + (k < BEATS - 4 ? 0 : late_ms / 1000 * (k - BEATS + 5) / 4);
        add_hit(mono, at, 55, 20, 0.7);
        add_hit(mono, at, 3000, 300, 0.2);
        if (k % 8 == 3) add_hit(mono, at - 0.05, 70, 12, 0.5);
    }
    to_stem(stem, mono, mono);
    free(mono);
}

/* A kick on each beat, late by lag_ms and by drift_ms more at the end; claps; a bass between the beats. */
static void kicks(struct stem *stem, double lag_ms, double drift_ms, int bass)
{
    float *mono = xcalloc(SAMPLES, sizeof *mono);
    for (int k = 0; k < BEATS; k++) {
        double at = (double)beat[k] / RATE + (lag_ms + drift_ms * k / (BEATS - 1)) / 1000;
        add_hit(mono, at, 55, 20, 0.7);
        add_hit(mono, at, 3000, 300, 0.2);
        if (bass) add_hit(mono, at + (k % 3 ? 0.18 : 0.23), 70, 12, 0.5);
    }
    to_stem(stem, mono, mono);
    free(mono);
}

static void a_lag_is_found(void **state)
{
    (void)state;
    static const double lags[] = {7, -4, 0, 25};
    for (size_t i = 0; i < sizeof lags / sizeof *lags; i++) {
        struct stem a, b;
        struct measure_beats m;
        kicks(&a, 0, 0, 0);
        kicks(&b, lags[i], 0, 1);
        measure_beats(&a, &b, beat, BEATS, 4, &m);
        assert_true(m.bars >= BARS - 1);
        assert_true(fabs(m.lag_ms - lags[i]) <= 0.5);
        assert_true(fabs(m.p95_ms - fabs(lags[i])) <= 1.0);
        assert_true(m.drift_ms < 1);
        stem_free(&a);
        stem_free(&b);
    }
}

static void a_drift_is_found(void **state)
{
    (void)state;
    struct stem a, b;
    struct measure_beats m;
    kicks(&a, 0, 0, 0);
    kicks(&b, -6, 12, 0);
    measure_beats(&a, &b, beat, BEATS, 4, &m);
    assert_true(fabs(m.lag_ms) < 1 && m.p95_ms > 4);
    assert_true(fabs(m.drift_ms - 12.0 * (BARS - 1) / BARS) < 2);
    stem_free(&a);
    stem_free(&b);
}

static void a_last_bar_that_slows_is_apart(void **state)
{
    (void)state;
    static const struct {
        double late_ms;
        int apart;
    } rows[] = {{0, 0}, {10, 0}, {60, 3}, {96, 4}, {250, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stem a, b;
        kicks_slowing(&a, rows[i].late_ms);
        kicks(&b, 0, 0, 1);
        int apart = measure_apart(&a, &b, beat, BEATS), other = measure_apart(&b, &a, beat, BEATS);
        if (apart != rows[i].apart || other != apart)
            fail_msg("%.0f ms: %d and %d beats, not %d", rows[i].late_ms, apart, other, rows[i].apart);
        stem_free(&a);
        stem_free(&b);
    }
}

static void no_beats_are_no_measure(void **state)
{
    (void)state;
    struct stem a, b;
    struct measure_beats m;
    float *mono = xcalloc(SAMPLES, sizeof *mono);
    kicks(&a, 0, 0, 0);
    to_stem(&b, mono, mono);
    measure_beats(&a, &b, beat, BEATS, 4, &m);
    assert_int_equal(m.bars, 0);
    assert_true(isnan(m.p95_ms) && isnan(m.lag_ms) && isnan(m.drift_ms));
    assert_true(isnan(measure_offbeat(&a, &b, beat, BEATS)));
    assert_int_equal(measure_apart(&a, &b, beat, BEATS), 0);
    free(mono);
    stem_free(&a);
    stem_free(&b);
}

static void half_a_beat_off_is_found(void **state)
{
    (void)state;
    static const double lags[] = {0, 5, 250, 245};
    for (size_t i = 0; i < sizeof lags / sizeof *lags; i++) {
        struct stem a, b;
        kicks(&a, 0, 0, 0);
        kicks(&b, lags[i], 0, 0);
        double lead = measure_offbeat(&a, &b, beat, BEATS);
        if (lags[i] > 100 ? lead < 0.8 : lead > -0.8) fail_msg("%.0f ms: %.2f", lags[i], lead);
        stem_free(&b);
        /* a bass between its beats is no offbeat */
        kicks(&b, lags[i], 0, 1);
        lead = measure_offbeat(&a, &b, beat, BEATS);
        if (lags[i] > 100 ? lead < 0.5 : lead > 0) fail_msg("%.0f ms: %.2f", lags[i], lead);
        stem_free(&a);
        stem_free(&b);
    }
}

/* Noise of that level in dB, beginning at `at` of *pcm. */
static void fill(float *pcm, size_t from, size_t to, double db, uint32_t *random)
{
    float level = (float)pow(10, db / 20);
    for (size_t i = 2 * from; i < 2 * to; i++)
        pcm[i] = level * (float)noise(random);
}

static struct listen *listener(const struct prelude *prelude, size_t samples)
{
    static struct stem none;
    return listen_new(prelude, samples, &none, &none);
}

static void loudness(double mix_db, double after_db, struct listen_loudness *m)
{
    size_t around = 10 * RATE, mix = 8 * RATE;
    float *pcm = xcalloc(2 * (2 * around + mix), sizeof *pcm);
    uint32_t random = 5;
    int dropouts;
    fill(pcm, 0, around, -20, &random);
    fill(pcm, around, around + mix, -20, &random);
    fill(pcm, around + 2 * RATE, around + 6 * RATE, mix_db, &random);
    fill(pcm, around + mix, 2 * around + mix, after_db, &random);
    struct prelude *prelude = prelude_new();
    for (size_t at = 0; at < around; at += 1000)
        prelude_feed(prelude, pcm + 2 * at, 1000);
    struct listen *l = listener(prelude, mix);
    listen_feed(l, pcm + 2 * around, mix + around - 5);
    listen_feed(l, pcm + 2 * (2 * around + mix - 5), 5);
    listen_finish(l, m, &dropouts);
    prelude_free(prelude);
    free(pcm);
}

static void steps_holes_and_bumps(void **state)
{
    (void)state;
    struct listen_loudness m;
    loudness(-20, -20, &m);
    assert_true(m.step_lu < 0.1 && m.hole_lu < 0.2 && m.bump_lu < 0.2);
    loudness(-24, -20, &m);
    assert_true(fabs(m.hole_lu - 4) < 0.2 && m.bump_lu < 0.2 && m.step_lu < 0.1);
    loudness(-17, -20, &m);
    assert_true(fabs(m.bump_lu - 3) < 0.2 && m.hole_lu < 0.2);
    loudness(-20, -17, &m);
    assert_true(fabs(m.step_lu - 3) < 0.1 && m.hole_lu < 0.2 && m.bump_lu < 0.2);
    assert_true(fabs(m.after_lufs - m.before_lufs - 3) < 0.1);
    loudness(-120, -20, &m);
    assert_true(m.hole_lu > 10 && m.hole_lu < 70);
    /* before the limiter: white noise of -17 dB peaks there, or a little above between the samples */
    loudness(-17, -20, &m);
    assert_true(m.true_peak_dbtp > -18 && m.true_peak_dbtp < -10);
    int dropouts;
    listen_finish(listener(NULL, 0), &m, &dropouts);
    assert_true(isnan(m.step_lu) && isnan(m.hole_lu));
}

/* A bass note on each beat; heard in the mix on [from, to). */
static void bass(struct stem *stem, int from, int to, double phase)
{
    float *mono = xcalloc(SAMPLES, sizeof *mono), *wet = xcalloc(SAMPLES, sizeof *wet);
    for (size_t i = 0; i < SAMPLES; i++) {
        mono[i] = (float)(0.3 * sin(2 * M_PI * 60 * (double)i / RATE + phase));
        int k = (int)(i / BEAT);
        if (k >= from && k < to) wet[i] = mono[i];
    }
    to_stem(stem, mono, wet);
    free(mono);
    free(wet);
}

static void overlapping_basses_are_counted(void **state)
{
    (void)state;
    struct stem a, b;
    bass(&a, 0, 18, 0);
    bass(&b, 15, BEATS, 0);
    assert_int_equal(measure_bass_overlap(&a, &b, beat, BEATS), 3);
    stem_free(&b);
    bass(&b, 18, BEATS, M_PI);
    assert_int_equal(measure_bass_overlap(&a, &b, beat, BEATS), 0);
    /* the dry basses lie against each other all the same */
    assert_true(measure_low_correlation(&a, &b, 0, (int64_t)SAMPLES) < -0.99);
    assert_true(measure_correlation(&a, &b) < -0.99);
    assert_true(measure_low_correlation(&a, &a, 0, (int64_t)SAMPLES) > 0.99);
    stem_free(&a);
    stem_free(&b);
}

static int dropouts(const float *mix, const struct stem *a, const struct stem *b)
{
    struct listen_loudness loudness;
    struct listen *l = listen_new(NULL, SAMPLES, a, b);
    int found;
    listen_feed(l, mix, SAMPLES);
    listen_finish(l, &loudness, &found);
    return found;
}

static void dropouts_are_told_from_pauses(void **state)
{
    (void)state;
    struct stem a, b, pause;
    float *mix = xcalloc(2 * SAMPLES, sizeof *mix), *silent = xcalloc(SAMPLES, sizeof *silent);
    bass(&a, 0, BEATS, 0);
    bass(&b, 0, BEATS, 1);
    to_stem(&pause, silent, silent);
    uint32_t random = 3;
    fill(mix, 0, SAMPLES, -20, &random);
    assert_int_equal(dropouts(mix, &a, &b), 0);
    for (size_t i = RATE; i < RATE + RATE / 25; i++) /* 40 ms are none */
        mix[2 * i] = mix[2 * i + 1] = 0;
    assert_int_equal(dropouts(mix, &a, &b), 0);
    for (size_t i = 3 * RATE; i < 3 * RATE + RATE / 10; i++)
        mix[2 * i] = mix[2 * i + 1] = 0;
    assert_int_equal(dropouts(mix, &a, &b), 1);
    assert_int_equal(dropouts(mix, &a, &pause), 0);
    free(mix);
    free(silent);
    stem_free(&a);
    stem_free(&b);
    stem_free(&pause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lag_is_found),
        cmocka_unit_test(a_drift_is_found),
        cmocka_unit_test(a_last_bar_that_slows_is_apart),
        cmocka_unit_test(no_beats_are_no_measure),
        cmocka_unit_test(half_a_beat_off_is_found),
        cmocka_unit_test(steps_holes_and_bumps),
        cmocka_unit_test(overlapping_basses_are_counted),
        cmocka_unit_test(dropouts_are_told_from_pauses),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
