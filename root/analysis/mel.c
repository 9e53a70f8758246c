#include "root/analysis/mel.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/analysis/series.h"
#include "root/audio/fft.h"
#include "root/audio/pcm.h"

#define WINDOW  2048
#define BINS    (WINDOW / 2 + 1)
#define FROM_HZ 30.0
#define TO_HZ   16000.0
#define GAMMA   1000.0f /* of log(1 + GAMMA magnitude), a full-scale sine having magnitude 1 */

struct mel {
    struct frames frames;
    struct fft *fft;
    float window[WINDOW], work[WINDOW], power[BINS];
    /* a bin lies between the centres of two neighbouring bands and is shared by them */
    int band[BINS];    /* the lower of the two, -1 below the first; MEL_BANDS: above the last */
    float share[BINS]; /* of the upper one */
    float bands[MEL_BANDS];
    void (*take)(void *context, const float *bands);
    void *context;
};

static double mel_of(double hz)
{
    return 2595 * log10(1 + hz / 700);
}

static void make_bands(struct mel *mel)
{
    double low = mel_of(FROM_HZ), step = (mel_of(TO_HZ) - low) / (MEL_BANDS + 1);
    for (int k = 0; k < BINS; k++) {
        double hz = (double)k * PCM_RATE / WINDOW, place = (mel_of(hz) - low) / step - 1;
        int low_enough = hz < TO_HZ, high_enough = hz >= FROM_HZ;
        mel->band[k] = !low_enough ? MEL_BANDS : high_enough ? (int)floor(place) : -1;
        mel->share[k] = low_enough && high_enough ? (float)(place - floor(place)) : 0;
    }
}

static void take(void *context, const float *samples)
{
    struct mel *mel = context;
    float sum[MEL_BANDS + 1] = {0};
    for (size_t i = 0; i < WINDOW; i++)
        mel->work[i] = samples[i] * mel->window[i];
    fft_power(mel->fft, mel->work, mel->power);
    for (int k = 0; k < BINS && mel->band[k] < MEL_BANDS; k++) {
        int b = mel->band[k];
        if (b >= 0) sum[b] += (1 - mel->share[k]) * mel->power[k];
        sum[b + 1] += mel->share[k] * mel->power[k];
    }
    for (int b = 0; b < MEL_BANDS; b++)
        mel->bands[b] = logf(1 + GAMMA * sqrtf(sum[b]));
    mel->take(mel->context, mel->bands);
}

struct mel *mel_new(void (*taker)(void *context, const float *bands), void *context)
{
    struct mel *mel = xcalloc(1, sizeof *mel);
    mel->take = taker;
    mel->context = context;
    mel->fft = fft_new(WINDOW);
    window_hann(mel->window, WINDOW);
    for (size_t i = 0; i < WINDOW; i++)
        mel->window[i] *= 4.0f / WINDOW;
    frames_init(&mel->frames, WINDOW, MEL_HOP, take, mel);
    make_bands(mel);
    return mel;
}

void mel_free(struct mel *mel)
{
    if (!mel) return;
    frames_free(&mel->frames);
    fft_free(mel->fft);
    free(mel);
}

void mel_feed(struct mel *mel, const float *mono, size_t samples)
{
    frames_feed(&mel->frames, mono, samples);
}

void mel_finish(struct mel *mel)
{
    frames_finish(&mel->frames);
}
