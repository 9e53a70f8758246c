/* mel and net: bands and times of the spectrum, the same odds as the network had when it was trained, beats
 * heard in drums and none in silence. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "root/analysis/net.h"
#include "root/audio/pcm.h"
#include "tests/unit/net_reference.h"

struct seen {
    size_t count;
    float row[256][MEL_BANDS];
};

static void take(void *context, const float *bands)
{
    struct seen *seen = context;
    assert_true(seen->count < 256);
    memcpy(seen->row[seen->count++], bands, sizeof seen->row[0]);
}

static void hear(struct seen *seen, const float *sound, size_t samples, size_t portion)
{
    seen->count = 0;
    struct mel *mel = mel_new(take, seen);
    for (size_t at = 0; at < samples; at += portion)
        mel_feed(mel, sound + at, samples - at < portion ? samples - at : portion);
    mel_finish(mel);
    mel_free(mel);
}

static void test_mel(void **unused)
{
    (void)unused;
    static float sound[2 * PCM_RATE];
    static struct seen a, b;
    /* a second of 1 kHz from 1 s on */
    for (size_t i = PCM_RATE; i < 2 * PCM_RATE; i++)
        sound[i] = (float)(0.5 * sin(2 * M_PI * 1000 * (double)i / PCM_RATE));
    hear(&a, sound, 2 * PCM_RATE, 2 * PCM_RATE);
    hear(&b, sound, 2 * PCM_RATE, 777);
    assert_int_equal(a.count, 2 * MEL_RATE);
    assert_int_equal(b.count, a.count);
    assert_memory_equal(a.row, b.row, a.count * sizeof a.row[0]);
    /* nothing before the window reaches the tone, half of its height in the frame where it begins */
    double loudest = 0;
    int band = 0;
    for (int k = 0; k < MEL_BANDS; k++) {
        assert_true(a.row[MEL_RATE - 2][k] == 0);
        if (a.row[75][k] > loudest) {
            loudest = a.row[75][k];
            band = k;
        }
    }
    /* band centres are equally far apart on the mel scale: 1 kHz is 1000 mel */
    double low = 2595 * log10(1 + 30.0 / 700),
           step = (2595 * log10(1 + 16000.0 / 700) - low) / (MEL_BANDS + 1);
    assert_true(abs(band - (int)lround((1000 - low) / step - 1)) <= 1);
    /* Hann's window spreads a sine's energy over its main lobe, 1.5 bins of it */
    assert_true(fabs(loudest - log(1 + 1000 * 0.5)) < 0.5);
    assert_true(fabs(expm1(a.row[MEL_RATE][band]) / expm1(loudest) - 0.5) < 0.2);
}

/* The noise of export.py. */
static void reference_frame(uint32_t *state, int i, float *bands)
{
    for (int b = 0; b < MEL_BANDS; b++) {
        *state = *state * 1664525u + 1013904223u;
        bands[b] = (float)(*state >> 16) / 65536.0f * (i % REFERENCE_BEAT < 3 ? 4 : 1);
    }
}

static void test_as_trained(void **unused)
{
    (void)unused;
    struct net *net = net_new();
    uint32_t state = 1;
    for (int i = 0; i < REFERENCE_FRAMES; i++) {
        float bands[MEL_BANDS];
        reference_frame(&state, i, bands);
        net_feed(net, bands);
    }
    net_finish(net);
    for (int o = 0; o < NET_OUTPUTS; o++) {
        const struct series *odds = &net_odds(net)->of[o];
        assert_int_equal(odds->count, REFERENCE_FRAMES);
        double square = 0, spread = 0, mean = 0;
        size_t n = REFERENCE_FRAMES / REFERENCE_EVERY;
        for (size_t k = 0; k < n; k++) {
            double off = odds->value[k * REFERENCE_EVERY] - reference_odds[o][k];
            /* what 8 bits a weight cost */
            assert_true(fabs(off) < 0.5);
            square += off * off / (double)n;
            mean += reference_odds[o][k] / (double)n;
        }
        for (size_t k = 0; k < n; k++)
            spread += (reference_odds[o][k] - mean) * (reference_odds[o][k] - mean) / (double)n;
        assert_true(square < 0.01 * spread);
    }
    net_free(net);
}

static void test_lengths(void **unused)
{
    (void)unused;
    static const int lengths[] = {0, 1, 2, 3, 50, 1021};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        struct net *net = net_new();
        uint32_t state = 1;
        for (int i = 0; i < lengths[l]; i++) {
            float bands[MEL_BANDS];
            reference_frame(&state, i, bands);
            net_feed(net, bands);
        }
        net_finish(net);
        for (int o = 0; o < NET_OUTPUTS; o++)
            assert_int_equal(net_odds(net)->of[o].count, lengths[l]);
        net_free(net);
    }
}

/* Kick and snare in turn, hats on the eighths, 0.48 s a beat from 0.24 s on. */
#define BEAT_S  0.48
#define FIRST_S 0.24
#define DRUMS_S 40

static float *drums(void)
{
    float *sound = calloc((size_t)(DRUMS_S + 1) * PCM_RATE, sizeof *sound);
    uint32_t state = 7;
    for (int k = 0; FIRST_S + k * BEAT_S / 2 < DRUMS_S; k++) {
        size_t from = (size_t)((FIRST_S + k * BEAT_S / 2) * PCM_RATE);
        for (size_t i = 0; i < PCM_RATE / 4; i++) {
            double t = (double)i / PCM_RATE;
            state = state * 1664525u + 1013904223u;
            double noise = (double)(int32_t)state / 2147483648.0;
            sound[from + i] += (float)(0.05 * noise * exp(-t / 0.02));
            if (k % 4 == 0) sound[from + i] += (float)(0.6 * sin(2 * M_PI * 55 * t) * exp(-t / 0.08));
            if (k % 4 == 2) sound[from + i] += (float)(0.3 * noise * exp(-t / 0.06));
        }
    }
    return sound;
}

static void test_drums(void **unused)
{
    (void)unused;
    struct net *net = net_new();
    struct mel *mel = mel_new(net_feed, net);
    float *sound = drums();
    mel_feed(mel, sound, (size_t)DRUMS_S * PCM_RATE);
    mel_finish(mel);
    net_finish(net);
    const struct series *odds = &net_odds(net)->of[NET_BEAT];
    int beats = 0, heard = 0, between = 0;
    for (double t = FIRST_S; t < DRUMS_S - 1; t += BEAT_S, beats++) {
        float on = -INFINITY, off = -INFINITY;
        for (long i = -1; i <= 1; i++) {
            on = fmaxf(on, odds->value[lround(t * NET_RATE) + i]);
            off = fmaxf(off, odds->value[lround((t + BEAT_S / 2) * NET_RATE) + i]);
        }
        heard += on > 0;
        between += off > 0;
    }
    assert_true(heard > 0.9 * beats);
    assert_true(between < 0.1 * beats);
    free(sound);
    mel_free(mel);
    net_free(net);
}

static void test_silence(void **unused)
{
    (void)unused;
    struct net *net = net_new();
    float nothing[MEL_BANDS] = {0};
    for (int i = 0; i < 20 * NET_RATE; i++)
        net_feed(net, nothing);
    net_finish(net);
    for (int i = 0; i < 20 * NET_RATE; i++) {
        for (int o = 0; o < NET_OUTPUTS; o++)
            assert_true(net_odds(net)->of[o].value[i] < 0);
    }
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mel),   cmocka_unit_test(test_as_trained), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_drums), cmocka_unit_test(test_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
