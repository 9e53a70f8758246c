#include "root/mix/stem.h"

#include <stdlib.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/split.h"

void stem_init(struct stem *stem, int64_t samples)
{
    *stem = (struct stem){.samples = samples};
    stem->lows = (size_t)samples / STEM_LOW_BY;
    stem->thins = (size_t)samples / STEM_THIN;
    stem->dry_low = xcalloc(stem->lows + 1, sizeof *stem->dry_low);
    stem->wet_low = xcalloc(stem->lows + 1, sizeof *stem->wet_low);
    stem->thin = xcalloc((stem->thins + 1) * PCM_CHANNELS, sizeof *stem->thin);
}

void stem_free(struct stem *stem)
{
    free(stem->dry_low);
    free(stem->wet_low);
    free(stem->thin);
    *stem = (struct stem){0};
}

/* Adds a band, which begins at sample `at`, a value for STEM_LOW_BY samples: its corner is far below half the
 * new rate. */
static void add_low(float *out, size_t lows, int64_t at, const float *band, size_t samples, float factor)
{
    for (size_t i = ((size_t)at + STEM_LOW_BY - 1) / STEM_LOW_BY; i < lows; i++) {
        size_t k = i * STEM_LOW_BY - (size_t)at;
        if (k >= samples) break;
        out[i] += factor * band[k];
    }
}

void stem_add_wet(struct stem *stem, int64_t at, const float *channel, size_t samples, float *scratch)
{
    split_low(channel, 1, samples, STEM_LOW_HZ, PCM_RATE, scratch);
    add_low(stem->wet_low, stem->lows, at, scratch, samples, 1.0f / PCM_CHANNELS);
}

void stem_add_dry(struct stem *stem, int64_t at, const float *dry, float gain, size_t samples, float *scratch)
{
    for (size_t i = 0; i < samples; i++)
        scratch[i] = 0.5f * (dry[2 * i] + dry[2 * i + 1]);
    split_low(scratch, 1, samples, STEM_LOW_HZ, PCM_RATE, scratch);
    add_low(stem->dry_low, stem->lows, at, scratch, samples, gain);
    for (size_t i = ((size_t)at + STEM_THIN - 1) / STEM_THIN; i < stem->thins; i++) {
        size_t k = i * STEM_THIN - (size_t)at;
        if (k >= samples) break;
        for (int c = 0; c < PCM_CHANNELS; c++)
            stem->thin[i * PCM_CHANNELS + (size_t)c] += gain * dry[k * PCM_CHANNELS + (size_t)c];
    }
}
