/* limit: the ceiling holds under an independent meter, nothing else changes, and the memory is finite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/limit.h"
#include "tests/unit/noise.h"

#define RATE       44100
#define CEILING_DB (-1.5)

static unsigned random_below(unsigned n)
{
    noise();
    return (unsigned)((uint64_t)noise_state * n >> 32);
}

/* True peak in dB by 8 times oversampling: direct sum of a Hann-windowed sinc of 200 samples, in double. The
 * edges, where the signal begins and ends abruptly, are left out. */
static double true_peak_db(const float *pcm, size_t samples)
{
    enum { HALF = 100, PHASES = 8 };
    static double kernel[PHASES][2 * HALF];
    for (int p = 0; p < PHASES; p++) {
        for (int k = 0; k < 2 * HALF; k++) {
            double t = k - (HALF - 1) - p / (double)PHASES;
            kernel[p][k] = (t == 0 ? 1 : sin(M_PI * t) / (M_PI * t)) * (0.5 + 0.5 * cos(M_PI * t / HALF));
        }
    }
    double top = 0;
    for (size_t i = HALF; i + HALF < samples; i++) {
        for (int c = 0; c < 2; c++) {
            /* far from any peak, nothing to look at: saves most of the time */
            if (fabsf(pcm[i * 2 + (size_t)c]) < 0.5 * top && fabsf(pcm[i * 2 + 2 + (size_t)c]) < 0.5 * top)
                continue;
            for (int p = 0; p < PHASES; p++) {
                double y = 0;
                for (int k = 0; k < 2 * HALF; k++)
                    y += kernel[p][k] * pcm[(i - (HALF - 1) + (size_t)k) * 2 + (size_t)c];
                top = fmax(top, fabs(y));
            }
        }
    }
    return 20 * log10(top);
}

static float *limited(const float *in, size_t samples, double *reduction_db)
{
    float *out = xmalloc(samples * 2 * sizeof *out);
    struct limiter *limiter = limiter_new(CEILING_DB);
    /* in pieces of many sizes, which must not matter */
    for (size_t at = 0, n; at < samples; at += n) {
        n = 1 + random_below(700);
        if (n > samples - at) n = samples - at;
        limiter_process(limiter, in + at * 2, out + at * 2, n);
    }
    if (reduction_db) *reduction_db = limiter_reduction_db(limiter);
    limiter_free(limiter);
    return out;
}

enum kind { SQUARE, NOISE, DARK_NOISE, QUARTER_SINE, HIGH_SINE, DRUMS, KINDS };
static const char *const kind_names[] = {"square",         "white noise", "noise to 8 kHz",
                                         "sine at rate/4", "sine 15 kHz", "drums over bass"};

static float *signal_new(enum kind kind, size_t samples)
{
    float *pcm = xcalloc(samples * 2, sizeof *pcm);
    double low = 0, lower = 0, hit = 0;
    for (size_t i = 0; i < samples; i++) {
        double t = (double)i / RATE, x = 0;
        switch (kind) {
        case SQUARE:
            x = i / 100 % 2 ? 1 : -1;
            break;
        case NOISE:
            x = 1.5 * noise();
            break;
        case DARK_NOISE:
            low += 0.6 * (noise() - low);
            lower += 0.6 * (low - lower);
            x = 4 * lower;
            break;
        case QUARTER_SINE:
            x = 1.2 * sin(M_PI / 2 * (double)i + M_PI / 4);
            break;
        case HIGH_SINE:
            x = 1.3 * sin(2 * M_PI * 15000.1 * t);
            break;
        default:
            hit = i % 20000 == 5000 ? 1 : hit * 0.9995;
            x = 0.6 * sin(2 * M_PI * 55 * t) + 1.2 * hit * noise();
        }
        pcm[i * 2] = (float)x;
        pcm[i * 2 + 1] = (float)(0.8 * x);
    }
    return pcm;
}

static void test_ceiling_holds(void **state)
{
    (void)state;
    noise_state = 5;
    for (int kind = 0; kind < KINDS; kind++) {
        size_t samples = 16000;
        double reduction;
        float *in = signal_new(kind, samples), *out = limited(in, samples, &reduction);
        double before = true_peak_db(in, samples), after = true_peak_db(out + 4000, samples - 2000);
        print_message("%-16s %+6.2f dBTP -> %+6.2f dBTP (%.2f dB)\n", kind_names[kind], before, after,
                      reduction);
        assert_true(before > 0);
        assert_true(after <= CEILING_DB + 0.1);
        assert_true(after >= CEILING_DB - 1.5); /* and no more is taken than needed */
        free(out);
        free(in);
    }
}

static void test_transparent_below_the_ceiling(void **state)
{
    (void)state;
    noise_state = 6;
    size_t samples = 30000;
    float *in = signal_new(DARK_NOISE, samples);
    for (size_t i = 0; i < samples * 2; i++)
        in[i] *= 0.2f;
    double reduction, peak = true_peak_db(in, samples);
    assert_true(peak < CEILING_DB && peak > CEILING_DB - 6);
    float *out = limited(in, samples, &reduction);
    assert_true(reduction == 0);
    for (size_t i = 0; i < LIMIT_AHEAD * 2; i++)
        assert_true(out[i] == 0);
    assert_memory_equal(out + LIMIT_AHEAD * 2, in, (samples - LIMIT_AHEAD) * 2 * sizeof *in);
    free(out);
    free(in);
}

/* Output at n is the same to the bit when all before n - LIMIT_MEMORY was something else, or nothing. */
static void test_memory_is_finite(void **state)
{
    (void)state;
    noise_state = 7;
    size_t samples = 100000;
    float *in = xcalloc(samples * 2, sizeof *in);
    for (size_t i = 0; i < samples;) {
        size_t end = i + 200 + random_below(9000);
        double level = (double[]){0.3, 1.2, 3, 0, 16}[random_below(5)];
        for (; i < end && i < samples; i++) {
            in[i * 2] = (float)(level * noise());
            in[i * 2 + 1] = (float)(level * noise());
        }
    }
    float *whole = limited(in, samples, NULL);
    struct limiter *limiter = limiter_new(CEILING_DB);
    for (int round = 0; round < 25; round++) {
        size_t n = LIMIT_MEMORY + random_below((unsigned)samples - LIMIT_MEMORY - 3000),
               from = n - LIMIT_MEMORY;
        float out[(LIMIT_AHEAD + 2000) * 2], lost[512 * 2];
        limiter_reset(limiter);
        if (round % 2) { /* another past */
            for (int i = 0; i < 1024; i++)
                lost[i] = (float)(20 * noise());
            limiter_process(limiter, lost, lost, 512);
        }
        for (size_t at = from; at < n; at += 512)
            limiter_process(limiter, in + at * 2, lost, 512);
        limiter_process(limiter, in + n * 2, out, LIMIT_AHEAD + 2000);
        if (memcmp(out + LIMIT_AHEAD * 2, whole + (n + LIMIT_AHEAD) * 2, 2000 * 2 * sizeof(float)))
            fail_msg("differs from sample %zu on", n);
    }
    limiter_free(limiter);
    free(whole);
    free(in);
}

/* A sudden peak: the gain is a smooth curve, down before it and up again after, slowly. */
static void test_gain_is_smooth(void **state)
{
    (void)state;
    enum { SAMPLES = 40000, PEAK = 10000 };
    float *in = xcalloc(SAMPLES * 2, sizeof *in);
    for (size_t i = 0; i < SAMPLES * 2; i++)
        in[i] = 0.25f;
    in[PEAK * 2] = 2.0f;
    float *out = limited(in, SAMPLES, NULL);
    double step = 0, least = 0, last = 0;
    size_t back = 0;
    for (size_t i = LIMIT_AHEAD + 100; i < SAMPLES; i++) {
        double gain_db = 20 * log10(out[i * 2 + 1] / 0.25);
        if (i > LIMIT_AHEAD + 100) step = fmax(step, fabs(gain_db - last));
        if (gain_db < -0.01) back = i - LIMIT_AHEAD;
        least = fmin(least, gain_db);
        last = gain_db;
    }
    print_message("least %.2f dB, steepest %.4f dB a sample, over %zu samples after the peak\n", least, step,
                  back - PEAK);
    assert_true(least < -7.5 && least > -7.7);
    assert_true(step < 0.06); /* 7.5 dB in 10 ms */
    assert_in_range(back - PEAK, 8000, 12000);
    free(out);
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ceiling_holds),
        cmocka_unit_test(test_transparent_below_the_ceiling),
        cmocka_unit_test(test_memory_is_finite),
        cmocka_unit_test(test_gain_is_smooth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
