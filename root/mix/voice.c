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

/* One channel of the passage, as it is mixed: three bands of a zero-phase crossover, whose sum is the passage
 * again, each under its own fades. scratch and out: `samples` values. */
static void channel_mix(const struct voice *voice, const struct recipe *recipe, const float *pcm,
                        float *scratch, float *out)
{
    size_t samples = (size_t)voice->samples;
    for (size_t i = 0; i < samples; i++)
        out[i] = (float)fades_gain(&voice->level, voice->at + (int64_t)i) * pcm[i * PCM_CHANNELS];
    if (voice->bass.count) {
        split_low(pcm, PCM_CHANNELS, samples, recipe->bass_hz, PCM_RATE, scratch);
        for (size_t i = 0; i < samples; i++) {
            int64_t at = voice->at + (int64_t)i;
            float level = (float)fades_gain(&voice->level, at);
            out[i] += ((float)fades_gain(&voice->bass, at) - level) * scratch[i];
        }
    }
    if (voice->treble.count) {
        /* what lies below the treble's corner */
        split_low(pcm, PCM_CHANNELS, samples, recipe->treble_hz, PCM_RATE, scratch);
        for (size_t i = 0; i < samples; i++) {
            int64_t at = voice->at + (int64_t)i;
            float level = (float)fades_gain(&voice->level, at);
            out[i] += ((float)fades_gain(&voice->treble, at) - level) * (pcm[i * PCM_CHANNELS] - scratch[i]);
        }
    }
    for (size_t i = 0; i < samples; i++) {
        out[i] *= voice->gain;
        if (voice->ride.count) out[i] *= (float)ride_gain(&voice->ride, voice->at + (int64_t)i);
    }
}

/* Adds the repeats of one channel to the mix. in: the channel as mixed. */
static void echo_add(const struct voice *voice, int64_t length, const float *in, float *mix)
{
    const struct echo *echo = &voice->echo;
    int64_t end = voice->at + voice->samples, count = length - echo->from;
    if (count <= 0) return;
    float *tail = xcalloc((size_t)count, sizeof *tail);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = echo->from + i, source = at - echo->delay;
        float before = i >= echo->delay                      ? tail[i - echo->delay]
                       : source >= voice->at && source < end ? in[source - voice->at]
                                                             : 0;
        int64_t left = length - at;
        tail[i] = (float)echo->gain * before;
        float last = left < echo->delay ? (float)left / (float)echo->delay : 1;
        mix[at * PCM_CHANNELS] += last * tail[i];
    }
    free(tail);
}

int voice_add(const struct voice *voice, const struct recipe *recipe, struct decks *decks,
              struct passages *passages, float *mix, struct stem *stem, char **cause)
{
    if (voice->samples == 0) return 0;
    float *pcm = passages ? passages_find(passages, voice) : NULL;
    if (!pcm) {
        pcm = passage(voice, decks, cause);
        if (!pcm) return -1;
        if (passages) passages_keep(passages, voice, pcm);
    }
    size_t samples = (size_t)voice->samples;
    float *scratch = xmalloc(samples * sizeof *scratch), *out = xmalloc(samples * sizeof *out);
    for (int channel = 0; channel < PCM_CHANNELS; channel++) {
        channel_mix(voice, recipe, pcm + channel, scratch, out);
        for (size_t i = 0; i < samples; i++)
            mix[((size_t)voice->at + i) * PCM_CHANNELS + (size_t)channel] += out[i];
        if (stem) stem_add_wet(stem, voice->at, out, samples, scratch);
        if (voice->echo.delay) echo_add(voice, recipe->length, out, mix + channel);
    }
    free(out);
    if (stem) stem_add_dry(stem, voice->at, pcm, voice->gain, samples, scratch);
    free(scratch);
    free(pcm);
    return 0;
}
