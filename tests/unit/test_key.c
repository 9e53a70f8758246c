/* key: cadences in several keys and tunings, and what has no key. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "root/analysis/key.h"
#include "root/audio/pcm.h"

#define CHORD_S 1.0

static void note(float *pcm, size_t from, size_t samples, double midi, double tuning_cents)
{
    double hz = 440 * pow(2, (midi - 69 + tuning_cents / 100) / 12);
    for (size_t i = 0; i < samples; i++) {
        double t = (double)i / PCM_RATE, envelope = fmin(1, t / 0.01) * exp(-t / 0.8), value = 0;
        for (int h = 1; h <= 6; h++)
            value += sin(2 * M_PI * hz * h * t) / (h * h);
        pcm[from + i] += (float)(0.1 * envelope * value);
    }
}

/* I IV V I, or i iv V i, twice, with the root in the bass. */
static struct key_result cadence(int tonic, int minor, double tuning_cents)
{
    static const int root[4] = {0, 5, 7, 0};
    size_t chord = (size_t)(CHORD_S * PCM_RATE), samples = 8 * chord;
    float *pcm = calloc(samples, sizeof *pcm);
    for (int c = 0; c < 8; c++) {
        int step = c % 4, third = minor && root[step] != 7 ? 3 : 4;
        double low = 48 + tonic + root[step];
        size_t from = (size_t)c * chord;
        note(pcm, from, chord, low - 12, tuning_cents);
        note(pcm, from, chord, low + 12, tuning_cents);
        note(pcm, from, chord, low + 12 + third, tuning_cents);
        note(pcm, from, chord, low + 19, tuning_cents);
    }
    struct chroma *chroma = chroma_new();
    chroma_feed(chroma, pcm, samples);
    chroma_finish(chroma);
    assert_int_equal(chroma_rows(chroma)->count % CHROMA_BINS, 0);
    struct key_result result = key_find(chroma);
    chroma_free(chroma);
    free(pcm);
    return result;
}

static void test_cadences(void **unused)
{
    (void)unused;
    for (int key = 0; key < 24; key += 5) {
        struct key_result result = cadence(key % 12, key >= 12, 0);
        if (result.key != key) fail_msg("key %d heard as %d", key, result.key);
        assert_true(result.confidence > 0.2);
        assert_true(fabs(result.tuning_cents) < 6);
    }
}

static void test_tuning(void **unused)
{
    (void)unused;
    struct key_result result = cadence(2, 0, 30);
    assert_int_equal(result.key, 2);
    assert_true(fabs(result.tuning_cents - 30) < 6);
    result = cadence(9, 1, -35);
    assert_int_equal(result.key, 21);
    assert_true(fabs(result.tuning_cents + 35) < 6);
}

static void test_no_key(void **unused)
{
    (void)unused;
    struct chroma *chroma = chroma_new();
    float silence[4096] = {0};
    for (int i = 0; i < 20; i++)
        chroma_feed(chroma, silence, 4096);
    chroma_finish(chroma);
    assert_int_equal(key_find(chroma).key, -1);
    chroma_free(chroma);
    chroma = chroma_new();
    uint32_t state = 7;
    for (int i = 0; i < 50; i++) {
        float chunk[4096];
        for (int k = 0; k < 4096; k++) {
            state = state * 1664525u + 1013904223u;
            chunk[k] = (float)(int32_t)state / 4294967296.0f;
        }
        chroma_feed(chroma, chunk, 4096);
    }
    chroma_finish(chroma);
    assert_true(key_find(chroma).confidence < 0.3);
    chroma_free(chroma);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cadences),
        cmocka_unit_test(test_tuning),
        cmocka_unit_test(test_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
