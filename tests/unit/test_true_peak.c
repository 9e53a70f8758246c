/* true_peak: against sines known between their samples, and against oversampling everything. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <ebur128.h>
#include <math.h>
#include <stdlib.h>

#include "root/audio/true_peak.h"
#include "root/audio/pcm.h"

static double measure(const float *pcm, size_t samples, size_t portion)
{
    struct true_peak *tp = true_peak_new();
    for (size_t at = 0; at < samples; at += portion) {
        true_peak_feed(tp, pcm + 2 * at, samples - at < portion ? samples - at : portion);
    }
    double peak = true_peak_finish(tp);
    true_peak_free(tp);
    return 20 * log10(peak);
}

/* Half of full scale at several frequencies and phases, faded in and out. EBU Tech 3341 allows +0.2 and -0.4
 * dB. */
static void test_sines(void **unused)
{
    (void)unused;
    size_t samples = 20000;
    float *pcm = malloc(2 * samples * sizeof *pcm);
    for (int divisor = 4; divisor <= 48; divisor += 4) {
        for (int phase = 0; phase < 360; phase += 15) {
            for (size_t i = 0; i < samples; i++) {
                double fade = fmin(1, fmin((double)i, (double)(samples - i)) / 4000);
                double x = 0.5 * fade * sin(2 * M_PI * (double)i / divisor + phase * M_PI / 180);
                pcm[2 * i] = 0;
                pcm[2 * i + 1] = (float)x;
            }
            double error = measure(pcm, samples, 333) - 20 * log10(0.5);
            if (error > 0.2 || error < -0.4)
                fail_msg("1/%d of the rate, %d degrees: %+.2f dB", divisor, phase, error);
        }
    }
    free(pcm);
}

/* Noise below half the band, rising and falling: nothing that matters is skipped, in any portion size. */
static void test_reference(void **unused)
{
    (void)unused;
    size_t samples = 60000;
    float *pcm = malloc(2 * samples * sizeof *pcm);
    uint32_t state = 99;
    for (int round = 0; round < 6; round++) {
        double low[2][3] = {{0}};
        for (size_t i = 0; i < 2 * samples; i++) {
            state = state * 1664525u + 1013904223u;
            double x = (double)(int32_t)state / 2147483648.0, *l = low[i % 2];
            x = (x + l[0] + l[1] + l[2]) / 4;
            l[2] = l[1];
            l[1] = l[0];
            l[0] = x;
            pcm[i] = (float)(x * (0.2 + 0.8 * sin(M_PI * (double)((i * (size_t)(round + 1)) % samples) /
                                                  (double)samples)));
        }
        ebur128_state *meter = ebur128_init(2, PCM_RATE, EBUR128_MODE_TRUE_PEAK);
        ebur128_add_frames_float(meter, pcm, samples);
        double left, right;
        ebur128_true_peak(meter, 0, &left);
        ebur128_true_peak(meter, 1, &right);
        ebur128_destroy(&meter);
        double want = 20 * log10(fmax(left, right)), got = measure(pcm, samples, 7 + 100 * (size_t)round);
        if (fabs(got - want) > 0.2) fail_msg("round %d: %.3f dBTP, libebur128 %.3f", round, got, want);
        assert_true(got == measure(pcm, samples, samples));
    }
    free(pcm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sines),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
