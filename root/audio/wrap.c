#include "root/audio/wrap.h"

#include <math.h>
#include <string.h>

#include "root/audio/pcm.h"
#include "root/audio/sinc.h"

#define HALF   (WRAP_TAPS / 2)
#define PHASES 256
#define BETA   8.0

struct table {
    float tap[PHASES + 1][WRAP_TAPS];
};

/* Taps of a phase: those of the samples from HALF - 1 before to HALF after. */
static void table_fill(struct table *t)
{
    for (int p = 0; p <= PHASES; p++) {
        for (int k = 0; k < WRAP_TAPS; k++)
            t->tap[p][k] = (float)sinc_kaiser(k - (HALF - 1) - (double)p / PHASES, HALF, BETA);
    }
}

static void sample_at(const struct table *t, const int16_t *in, double at, float out[PCM_CHANNELS])
{
    long whole = (long)floor(at);
    double phase = (at - (double)whole) * PHASES;
    int p = (int)phase;
    float share = (float)(phase - p), sum[PCM_CHANNELS] = {0};
    for (int k = 0; k < WRAP_TAPS; k++) {
        long i = whole + k - (HALF - 1);
        if (i < 0) continue; /* before the stretch: its first samples are blended anyway */
        float tap = t->tap[p][k] + share * (t->tap[p + 1][k] - t->tap[p][k]);
        for (int c = 0; c < PCM_CHANNELS; c++)
            sum[c] += tap * (float)in[i * PCM_CHANNELS + c];
    }
    memcpy(out, sum, sizeof sum);
}

size_t wrap_needs(double body, size_t want, size_t fade)
{
    return (size_t)ceil(body / (double)want * (double)(want + fade)) + WRAP_TAPS + 1;
}

size_t wrap_lead(double body, size_t want)
{
    return WRAP_TAPS + (size_t)ceil(fmax(0, (double)want - body));
}

static int16_t rounded(float x)
{
    return (int16_t)(x >= INT16_MAX ? INT16_MAX : x <= INT16_MIN ? INT16_MIN : lrintf(x));
}

/* What is written never reaches what is still to be read: the taps begin half of WRAP_TAPS before their
 * place, and a place falls behind what it becomes by no more than the rest of the lead. */
void wrap_make(int16_t *pcm, double body, size_t want, size_t fade, int power)
{
    struct table table;
    double step = body / (double)want;
    const int16_t *in = pcm + wrap_lead(body, want) * PCM_CHANNELS;
    float sample[PCM_CHANNELS];
    table_fill(&table);
    for (size_t i = 0; i < want; i++) {
        sample_at(&table, in, (double)i * step, sample);
        for (size_t c = 0; c < PCM_CHANNELS; c++)
            pcm[i * PCM_CHANNELS + c] = rounded(sample[c]);
    }
    for (size_t i = 0; i < fade; i++) {
        int16_t *begin = pcm + i * PCM_CHANNELS;
        double share = (double)i / (double)fade;
        float up = (float)(power ? sin(share * M_PI / 2) : share);
        float down = (float)(power ? cos(share * M_PI / 2) : 1 - share);
        sample_at(&table, in, (double)(want + i) * step, sample);
        for (size_t c = 0; c < PCM_CHANNELS; c++)
            begin[c] = rounded(up * begin[c] + down * sample[c]);
    }
}
