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

/* Adds the low band of a sound that begins at sample `at`, a value for STEM_LOW_BY samples: its corner is far
 * below half the new rate. */
static void add_low(float *out, size_t lows, int64_t at, const float *in, size_t samples, float factor)
{
    const double corner = STEM_LOW_HZ;
    float low[1][SPLIT_BLOCK];
    struct split *split = split_new(in, samples, &corner, 1, PCM_RATE);
    for (size_t block = split_blocks(split); block-- > 0;) {
        size_t n = split_block(split, block, low), from = (size_t)at + block * SPLIT_BLOCK;
        for (size_t i = (from + STEM_LOW_BY - 1) / STEM_LOW_BY; i < lows && i * STEM_LOW_BY < from + n; i++)
            out[i] += factor * low[0][i * STEM_LOW_BY - from];
    }
    split_free(split);
}

void stem_add_wet(struct stem *stem, int64_t at, const float *channel, size_t samples)
{
    add_low(stem->wet_low, stem->lows, at, channel, samples, 1.0f / PCM_CHANNELS);
}

void stem_add_mono(struct stem *stem, int64_t at, const float *mono, float gain, size_t samples)
{
    add_low(stem->dry_low, stem->lows, at, mono, samples, gain);
}

void stem_add_dry(struct stem *stem, int64_t at, int c, const float *channel, float gain, size_t samples)
{
    for (size_t i = ((size_t)at + STEM_THIN - 1) / STEM_THIN; i < stem->thins; i++) {
        size_t k = i * STEM_THIN - (size_t)at;
        if (k >= samples) break;
        stem->thin[i * PCM_CHANNELS + (size_t)c] += gain * channel[k];
    }
}
