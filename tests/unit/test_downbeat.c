/* downbeat: bars of three to seven beats, and where they begin. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "tests/unit/drums.h"

#define LENGTH_S 30.0

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
    check_bars(130, 5, 0.2);
    check_bars(110, 6, 0.8);
    check_bars(160, 7, 1.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
