/* true_peak: 4 times oversampling by a windowed sinc, only where it can matter.
 *
 * No interpolated value exceeds the filter's largest sum of magnitudes (about 2) times the samples it covers.
 * So a stretch whose samples stay below the peak known so far divided by that is left out: the result is the
 * same, and most of the music is skipped once a loud moment has been seen. */
#include "root/audio/true_peak.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define TAPS 16
#define PHASES                                                                                               \
    3 /* a quarter, a half and three quarters of a sample; the samples themselves are the fourth             \
       */
#define BLOCK  8
#define SPAN   (TAPS + BLOCK) /* samples that matter to a block */
#define CHUNK  1024
#define KAISER 6.0

typedef float v4 __attribute__((vector_size(16)));

struct true_peak {
    float filter[PHASES][TAPS];
    float limit; /* 1 / largest sum of magnitudes */
    float peak;
    float held[PCM_CHANNELS][TAPS + CHUNK]; /* the last TAPS samples, then `fill` not yet looked at */
    size_t fill;                            /* < BLOCK between calls */
};

/* fmaxf is a call; here neither is NAN. */
static float greater(float a, float b)
{
    return a > b ? a : b;
}

static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int k = 1; k < 40; k++) {
        term *= x / (2 * k);
        sum += term * term;
    }
    return sum;
}

struct true_peak *true_peak_new(void)
{
    struct true_peak *tp = xcalloc(1, sizeof *tp);
    double most = 1;
    for (int p = 0; p < PHASES; p++) {
        double tap[TAPS], sum = 0, magnitude = 0;
        for (int i = 0; i < TAPS; i++) {
            /* from the place between taps TAPS/2 - 1 and TAPS/2 */
            double x = i - (TAPS / 2 - 1) - (p + 1) / 4.0, edge = x / (TAPS / 2.0);
            tap[i] = sin(M_PI * x) / (M_PI * x) * bessel_i0(KAISER * sqrt(fmax(0, 1 - edge * edge))) /
                     bessel_i0(KAISER);
            sum += tap[i];
        }
        for (int i = 0; i < TAPS; i++) {
            tp->filter[p][i] = (float)(tap[i] / sum);
            magnitude += fabs(tap[i] / sum);
        }
        most = fmax(most, magnitude);
    }
    tp->limit = (float)(1 / (most * 1.0001));
    return tp;
}

void true_peak_free(struct true_peak *tp)
{
    free(tp);
}

/* Largest magnitude of BLOCK samples. */
static float block_peak(const float *x)
{
    float most = 0;
    for (int i = 0; i < BLOCK; i++)
        most = greater(most, fabsf(x[i]));
    return most;
}

/* The largest interpolated value of a block; x holds SPAN samples. */
static float interpolate(const struct true_peak *tp, const float *x)
{
    float most = 0;
    for (int p = 0; p < PHASES; p++) {
        v4 low = {0}, high = {0};
        for (int i = 0; i < TAPS; i++) {
            v4 a, b;
            memcpy(&a, x + i, sizeof a);
            memcpy(&b, x + i + 4, sizeof b);
            low += a * tp->filter[p][i];
            high += b * tp->filter[p][i];
        }
        for (int i = 0; i < 4; i++)
            most = greater(most, greater(fabsf(low[i]), fabsf(high[i])));
    }
    return most;
}

/* count: a multiple of BLOCK; the samples stand behind the TAPS held. */
static void scan(struct true_peak *tp, const float *held, size_t count)
{
    float recent[SPAN / BLOCK];
    for (int i = 0; i < SPAN / BLOCK - 1; i++)
        recent[i + 1] = block_peak(held + i * BLOCK);
    for (size_t at = 0; at < count; at += BLOCK) {
        float most = 0;
        memmove(recent, recent + 1, sizeof recent - sizeof *recent);
        recent[SPAN / BLOCK - 1] = block_peak(held + TAPS + at);
        for (int i = 0; i < SPAN / BLOCK; i++)
            most = greater(most, recent[i]);
        tp->peak = greater(tp->peak, recent[SPAN / BLOCK - 1]);
        if (most > tp->peak * tp->limit) tp->peak = greater(tp->peak, interpolate(tp, held + at));
    }
}

void true_peak_feed(struct true_peak *tp, const float *pcm, size_t samples)
{
    while (samples) {
        size_t n = samples < CHUNK - tp->fill ? samples : CHUNK - tp->fill;
        size_t whole = (tp->fill + n) / BLOCK * BLOCK, rest = tp->fill + n - whole;
        for (int c = 0; c < PCM_CHANNELS; c++) {
            float *held = tp->held[c];
            for (size_t i = 0; i < n; i++)
                held[TAPS + tp->fill + i] = pcm[i * PCM_CHANNELS + (size_t)c];
            scan(tp, held, whole);
            memmove(held, held + whole, (TAPS + rest) * sizeof *held);
        }
        tp->fill = rest;
        pcm += n * PCM_CHANNELS;
        samples -= n;
    }
}

double true_peak_finish(struct true_peak *tp)
{
    static const float silence[2 * SPAN * PCM_CHANNELS];
    true_peak_feed(tp, silence, 2 * SPAN);
    return tp->peak;
}
