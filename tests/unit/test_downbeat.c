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

static size_t first_heard(struct sound *s)
{
    struct heard h = hear(s);
    assert_int_equal(h.downbeats.metre, 4);
    size_t first = h.downbeats.first;
    beats_free(&h.beats);
    free(s->pcm);
    return first;
}

/* Where bars may as well begin in their middle, as the kicks have it, they begin where the piece does; not
 * where more than that speaks against it. */
static void test_begin(void **unused)
{
    (void)unused;
    state = 5;
    double beat = 60.0 / 124;
    struct sound s = drums(124, 0, 4, LENGTH_S);
    for (double t = 2 * beat; t < LENGTH_S; t += 4 * beat)
        kick(&s, t, 0.4);
    assert_int_equal(first_heard(&s), 0);
    s = drums(124, 2 * beat, 4, LENGTH_S);
    harmony(&s, 4 * beat, 2 * beat);
    for (int half = 0; half < 4; half++)
        burst(&s, half * beat / 2, 0.1, 0.015);
    assert_int_equal(first_heard(&s), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
