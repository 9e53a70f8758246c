/* beat: music that changes its tempo, rests or never keeps it, on synthesised drums. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "root/track.h"
#include "tests/unit/drums.h"

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
        cmocka_unit_test(test_drift),
        cmocka_unit_test(test_two_tempos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
