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

/* Adds the low band of mono, which begins at sample `at`, a value for STEM_LOW_BY samples: its corner is far
 * below half the new rate. */
static void add_low(float *out, size_t lows, int64_t at, const float *mono, size_t samples, float *scratch)
{
    split_low(mono, 1, samples, STEM_LOW_HZ, PCM_RATE, scratch);
    for (size_t i = ((size_t)at + STEM_LOW_BY - 1) / STEM_LOW_BY; i < lows; i++) {
        size_t k = i * STEM_LOW_BY - (size_t)at;
        if (k >= samples) break;
        out[i] += scratch[k];
    }
}

void stem_add(struct stem *stem, int64_t at, const float *dry, float gain, const float *wet, size_t samples)
{
    float *mono = xmalloc((samples + 1) * sizeof *mono), *scratch = xmalloc((samples + 1) * sizeof *scratch);
    add_low(stem->wet_low, stem->lows, at, wet, samples, scratch);
    for (size_t i = 0; i < samples; i++)
        mono[i] = gain * 0.5f * (dry[2 * i] + dry[2 * i + 1]);
    add_low(stem->dry_low, stem->lows, at, mono, samples, scratch);
    for (size_t i = ((size_t)at + STEM_THIN - 1) / STEM_THIN; i < stem->thins; i++) {
        size_t k = i * STEM_THIN - (size_t)at;
        if (k >= samples) break;
        for (int c = 0; c < PCM_CHANNELS; c++)
            stem->thin[i * PCM_CHANNELS + (size_t)c] += gain * dry[k * PCM_CHANNELS + (size_t)c];
    }
    free(mono);
    free(scratch);
}
