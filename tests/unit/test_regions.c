/* regions: as few lines as describe the beats, and every beat on its line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "root/analysis/regions.h"
#include "tests/unit/drums.h"

#define MOST 4096

static double time_s[MOST], trust[MOST], truth_s[MOST];
static size_t count;

/* Beats with the jitter of attacks, one in twenty far off. */
static void beat_at(double t, double jitter_s)
{
    truth_s[count] = t;
    time_s[count] = t + jitter_s * noise() + (count % 20 == 7 ? 0.045 : 0);
    trust[count++] = 1;
}

static void check_consistent(const struct region *regions, size_t n)
{
    size_t next = 0;
    for (size_t r = 0; r < n; r++) {
        assert_int_equal(regions[r].first_beat, next);
        assert_true(regions[r].beats >= REGION_BEATS || (n == 1 && regions[r].beats == count));
        for (size_t i = 0; i < regions[r].beats; i++, next++)
            assert_true(fabs(regions[r].start_s + (double)i * regions[r].period_s - time_s[next]) < 1e-9);
    }
    assert_int_equal(next, count);
    for (size_t k = 1; k < count; k++)
        assert_true(time_s[k] > time_s[k - 1]);
}

static double worst_s(void)
{
    double worst = 0;
    for (size_t k = 0; k < count; k++)
        worst = fmax(worst, fabs(time_s[k] - truth_s[k]));
    return worst;
}

static void test_constant(void **unused)
{
    (void)unused;
    state = 1;
    for (double bpm = 63.7; bpm < 200; bpm += 31.3) {
        count = 0;
        for (int k = 0; k < 400; k++)
            beat_at(0.2 + k * 60 / bpm, 0.006);
        size_t n;
        struct region *regions = regions_fit(time_s, trust, count, &n);
        if (n != 1) fail_msg("%.1f BPM: %zu regions", bpm, n);
        check_consistent(regions, n);
        if (fabs(60 / regions[0].period_s - bpm) > 0.005)
            fail_msg("%.1f heard as %.4f", bpm, 60 / regions[0].period_s);
        if (worst_s() > 0.004) fail_msg("%.1f BPM: %.1f ms off", bpm, worst_s() * 1e3);
        free(regions);
    }
}

static void test_changes(void **unused)
{
    (void)unused;
    state = 2;
    const double tempo_bpm[] = {120, 150, 150, 90};
    const double rest_beats[] = {0, 0, 1.4, 0};
    double t = 0.1;
    count = 0;
    for (int part = 0; part < 4; part++) {
        t += rest_beats[part] * 60 / tempo_bpm[part];
        for (int k = 0; k < 60; k++, t += 60 / tempo_bpm[part])
            beat_at(t, 0.004);
    }
    size_t n;
    struct region *regions = regions_fit(time_s, trust, count, &n);
    assert_int_equal(n, 4);
    check_consistent(regions, n);
    for (int part = 0; part < 4; part++) {
        assert_true(fabs((double)regions[part].first_beat - 60 * part) <= 1);
        assert_true(fabs(60 / regions[part].period_s - tempo_bpm[part]) < 0.1);
    }
    free(regions);
}

/* A tempo that never rests: regions of 16 beats or a few more, and no beat far from its line. */
static void test_wandering(void **unused)
{
    (void)unused;
    state = 3;
    double t = 0.1;
    count = 0;
    for (int k = 0; k < 600; k++) {
        beat_at(t, 0.004);
        t += 0.5 * (1 + 0.12 * sin(k * 0.03));
    }
    size_t n;
    struct region *regions = regions_fit(time_s, trust, count, &n);
    assert_true(n > 8);
    check_consistent(regions, n);
    if (worst_s() > 0.05) fail_msg("%.1f ms off", worst_s() * 1e3);
    free(regions);
}

/* More beats than places are tried. */
static void test_long(void **unused)
{
    (void)unused;
    state = 4;
    double t = 0;
    count = 0;
    for (size_t k = 0; k < MOST; k++, t += k < 3001 ? 0.5 : 0.48)
        beat_at(t, 0.004);
    size_t n;
    struct region *regions = regions_fit(time_s, trust, count, &n);
    assert_int_equal(n, 2);
    check_consistent(regions, n);
    assert_true(fabs((double)regions[1].first_beat - 3001) <= 3);
    free(regions);
}

static void test_few(void **unused)
{
    (void)unused;
    state = 5;
    for (size_t beats = 0; beats < 40; beats++) {
        count = 0;
        for (size_t k = 0; k < beats; k++)
            beat_at(0.5 * (double)k, 0);
        size_t n;
        struct region *regions = regions_fit(time_s, trust, count, &n);
        assert_int_equal(n, beats ? 1 : 0);
        check_consistent(regions, n);
        free(regions);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant), cmocka_unit_test(test_changes), cmocka_unit_test(test_wandering),
        cmocka_unit_test(test_long),     cmocka_unit_test(test_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
