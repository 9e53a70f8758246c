#include "root/mix/voice.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/split.h"

#define SEAM      ((int64_t)(PCM_RATE * 15 / 1000)) /* length of a seam */
#define SEAM_STEP (PCM_RATE / 1000)                 /* of the search for its place */

/* Where within [from, to) two renderings of the same music differ least, for as long as a seam takes. */
static int64_t best_seam(const float *a, const float *b, int64_t from, int64_t to)
{
    int64_t best = from;
    double least = DBL_MAX;
    for (int64_t at = from; at + SEAM <= to; at += SEAM_STEP) {
        double difference = 0;
        for (int64_t i = at * PCM_CHANNELS; i < (at + SEAM) * PCM_CHANNELS; i++) {
            double d = (double)a[i] - b[i];
            difference += d * d;
        }
        if (difference < least) least = difference, best = at;
    }
    return best;
}

/* The first becomes the second within [at, at + SEAM). */
static void cross(float *out, const float *first, const float *second, int64_t at)
{
    for (int64_t i = 0; i < SEAM; i++) {
        float u = (float)(i + 1) / (float)(SEAM + 1);
        for (int64_t k = (at + i) * PCM_CHANNELS; k < (at + i + 1) * PCM_CHANNELS; k++) {
            out[k] = first[k] + u * (second[k] - first[k]);
        }
    }
}

/* The ends that meet what plays alone there are taken from the source itself, so that the joint is exact; the
 * stretched music takes over where nobody hears it. */
static void seams(const struct voice *voice, const float *source, float *stretched)
{
    int64_t in = voice->to - voice->from, out = voice->samples;
    const size_t sample_bytes = PCM_CHANNELS * sizeof *source;
    if (voice->join_in >= SEAM) {
        int64_t at = best_seam(source, stretched, 0, voice->join_in);
        memcpy(stretched, source, (size_t)at * sample_bytes);
        cross(stretched, source, stretched, at);
    }
    if (voice->join_out >= SEAM) {
        const float *tail = source + (in - voice->join_out) * PCM_CHANNELS;
        float *end = stretched + (out - voice->join_out) * PCM_CHANNELS;
        int64_t at = best_seam(end, tail, 0, voice->join_out), rest = at + SEAM;
        cross(end, end, tail, at);
        memcpy(end + rest * PCM_CHANNELS, tail + rest * PCM_CHANNELS,
               (size_t)(voice->join_out - rest) * sample_bytes);
    }
}

/* The passage at the speed of the segment; owned by the caller. NULL with *cause. */
static float *passage(const struct voice *voice, struct decks *decks, char **cause)
{
    size_t in = (size_t)(voice->to - voice->from), out = (size_t)voice->samples;
    float *source = xmalloc((in + 1) * PCM_CHANNELS * sizeof *source);
    if (decks_read(decks, voice->track, voice->hash, voice->from, source, in, cause) < 0) {
        free(source);
        return NULL;
    }
    if (voice->points == 0) return source;
    float *stretched = xmalloc(out * PCM_CHANNELS * sizeof *stretched);
    stretch_passage(source, in, voice->map, voice->points, stretched, out);
    seams(voice, source, stretched);
    free(source);
    return stretched;
}

int voice_add(const struct voice *voice, double bass_hz, struct decks *decks, float *mix, char **cause)
{
    if (voice->samples == 0) return 0;
    float *pcm = passage(voice, decks, cause);
    if (!pcm) return -1;
    size_t samples = (size_t)voice->samples;
    float *low = voice->bass.count ? xmalloc(samples * sizeof *low) : NULL;
    mix += voice->at * PCM_CHANNELS;
    for (int channel = 0; channel < PCM_CHANNELS; channel++) {
        if (low) split_low(pcm + channel, PCM_CHANNELS, samples, bass_hz, PCM_RATE, low);
        for (size_t i = 0; i < samples; i++) {
            int64_t at = voice->at + (int64_t)i;
            size_t k = i * PCM_CHANNELS + (size_t)channel;
            float level = voice->gain * (float)fades_gain(&voice->level, at);
            mix[k] += level * pcm[k];
            if (low) mix[k] += (voice->gain * (float)fades_gain(&voice->bass, at) - level) * low[i];
        }
    }
    free(low);
    free(pcm);
    return 0;
}
