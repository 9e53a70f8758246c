/* fft: against the definition, in double precision. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "root/audio/fft.h"

static uint32_t state = 20240229;

static float noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state / 2147483648.0f;
}

/* Signal to error in dB over bins 0 .. size/2. */
static double error_db(size_t size, const float *in, const float *re, const float *im)
{
    double signal = 0, error = 0;
    for (size_t k = 0; k <= size / 2; k++) {
        double r = 0, i = 0;
        for (size_t n = 0; n < size; n++) {
            double angle = -2 * M_PI * (double)((k * n) % size) / (double)size;
            r += in[n] * cos(angle);
            i += in[n] * sin(angle);
        }
        signal += r * r + i * i;
        error += (r - re[k]) * (r - re[k]) + (i - im[k]) * (i - im[k]);
    }
    return 10 * log10(signal / error);
}

static void test_definition(void **unused)
{
    (void)unused;
    for (size_t size = 16; size <= 2048; size *= 2) {
        float *in = malloc(size * sizeof *in), *re = malloc((size / 2 + 1) * sizeof *re);
        float *im = malloc((size / 2 + 1) * sizeof *im), *power = malloc((size / 2 + 1) * sizeof *power);
        for (size_t i = 0; i < size; i++)
            in[i] = noise();
        struct fft *fft = fft_new(size);
        assert_int_equal(fft_size(fft), size);
        fft_forward(fft, in, re, im);
        double db = error_db(size, in, re, im);
        if (!(db > 120)) fail_msg("size %zu: %.1f dB", size, db);
        fft_power(fft, in, power);
        for (size_t k = 0; k <= size / 2; k++) {
            double want = (double)re[k] * re[k] + (double)im[k] * im[k];
            assert_true(fabs(power[k] - want) <= 1e-5 * (want + (double)size));
        }
        fft_free(fft);
        free(in);
        free(re);
        free(im);
        free(power);
    }
}

static void test_large_sine(void **unused)
{
    (void)unused;
    size_t size = 1 << 17, bin = 12345;
    float *in = malloc(size * sizeof *in), *power = malloc((size / 2 + 1) * sizeof *power);
    for (size_t n = 0; n < size; n++)
        in[n] = (float)cos(2 * M_PI * (double)((bin * n) % size) / (double)size);
    struct fft *fft = fft_new(size);
    fft_power(fft, in, power);
    double peak = power[bin], rest = 0;
    for (size_t k = 0; k <= size / 2; k++) {
        if (k != bin && power[k] > rest) rest = power[k];
    }
    assert_true(fabs(sqrt(peak) - (double)size / 2) < 1);
    assert_true(10 * log10(peak / rest) > 110);
    fft_free(fft);
    free(in);
    free(power);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_large_sine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
