#include "root/mix/voice.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/split.h"

#define SEAM      ((int64_t)(PCM_RATE * 15 / 1000)) /* length of a seam */
#define SEAM_STEP (PCM_RATE / 1000)                 /* of the search for its place */

/* A channel's worth of both. */
typedef float *const channels[PCM_CHANNELS];

static void channels_new(float *out[PCM_CHANNELS], size_t samples)
{
    for (int c = 0; c < PCM_CHANNELS; c++)
        out[c] = xmalloc((samples + 1) * sizeof *out[c]);
}

static void channels_free(channels list)
{
    for (int c = 0; c < PCM_CHANNELS; c++)
        free(list[c]);
}

/* Where within [0, to) two renderings of the same music differ least, for as long as a seam takes. */
static int64_t best_seam(channels a, channels b, int64_t to)
{
    int64_t best = 0;
    double least = DBL_MAX;
    for (int64_t at = 0; at + SEAM <= to; at += SEAM_STEP) {
        double difference = 0;
        for (int64_t i = at; i < at + SEAM; i++) {
            for (int c = 0; c < PCM_CHANNELS; c++) {
                double d = (double)a[c][i] - b[c][i];
                difference += d * d;
            }
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
        out[at + i] = first[at + i] + u * (second[at + i] - first[at + i]);
    }
}

/* The ends that meet what plays alone there are taken from the source itself (head, tail), so that the joint
 * is exact; the stretched music takes over where nobody hears it. */
static void seams(const struct voice *voice, channels head, channels tail, channels stretched)
{
    if (voice->join_in >= SEAM) {
        int64_t at = best_seam(head, stretched, voice->join_in);
        for (int c = 0; c < PCM_CHANNELS; c++) {
            memcpy(stretched[c], head[c], (size_t)at * sizeof *head[c]);
            cross(stretched[c], head[c], stretched[c], at);
        }
    }
    if (voice->join_out >= SEAM) {
        int64_t from = voice->samples - voice->join_out;
        float *const end[] = {stretched[0] + from, stretched[1] + from};
        int64_t at = best_seam(end, tail, voice->join_out), rest = at + SEAM;
        for (int c = 0; c < PCM_CHANNELS; c++) {
            cross(end[c], end[c], tail[c], at);
            memcpy(end[c] + rest, tail[c] + rest, (size_t)(voice->join_out - rest) * sizeof *tail[c]);
        }
    }
}

static void copy(channels from, size_t at, size_t samples, channels to)
{
    for (int c = 0; c < PCM_CHANNELS; c++)
        memcpy(to[c], from[c] + at, samples * sizeof *to[c]);
}

/* The source, which stands `lead` behind the beginning of its channels, at the speed of the segment. */
static void stretch(const struct voice *voice, size_t lead, channels pcm)
{
    size_t in = (size_t)(voice->to - voice->from);
    size_t first = (size_t)voice->join_in, last = (size_t)voice->join_out;
    float *head[PCM_CHANNELS], *tail[PCM_CHANNELS];
    channels_new(head, first);
    channels_new(tail, last);
    copy(pcm, lead, first, head);
    copy(pcm, lead + in - last, last, tail);
    stretch_passage(pcm, in, voice->map, voice->points, (size_t)voice->samples);
    seams(voice, head, tail, pcm);
    channels_free(head);
    channels_free(tail);
}

/* The passage at the speed of the segment; the channels are the caller's, none when it fails, with *cause. */
static int passage_read(const struct voice *voice, struct decks *decks, float *out[PCM_CHANNELS],
                        char **cause)
{
    size_t in = (size_t)(voice->to - voice->from), samples = (size_t)voice->samples;
    size_t lead = voice->points ? stretch_lead(voice->map, voice->points) : 0;
    channels_new(out, lead + in > samples ? lead + in : samples);
    float *const source[] = {out[0] + lead, out[1] + lead};
    if (decks_read_apart(decks, voice->track, voice->hash, voice->from, source, in, cause) < 0) {
        channels_free(out);
        return -1;
    }
    if (voice->points) stretch(voice, lead, out);
    return 0;
}

/* The gains of a block. */
struct gains {
    double level[SPLIT_BLOCK], bass[SPLIT_BLOCK], treble[SPLIT_BLOCK], ride[SPLIT_BLOCK];
};

static void gains_fill(const struct voice *voice, int64_t at, size_t n, struct gains *out)
{
    fades_fill(&voice->level, at, n, out->level);
    fades_fill(&voice->bass, at, n, out->bass);
    fades_fill(&voice->treble, at, n, out->treble);
    ride_fill(&voice->ride, at, n, out->ride);
}

/* Makes of one channel of the passage what is mixed: three bands of a zero-phase crossover, whose sum is the
 * passage again, each under its own fades. */
static void channel_mix(const struct voice *voice, const struct recipe *recipe, float *x)
{
    size_t samples = (size_t)voice->samples;
    int bass = voice->bass.count > 0, treble = voice->treble.count > 0;
    const double corners[] = {bass ? recipe->bass_hz : recipe->treble_hz, recipe->treble_hz};
    float low[SPLIT_MAX][SPLIT_BLOCK] = {{0}};
    struct gains g;
    struct split *split = bass || treble ? split_new(x, samples, corners, bass + treble, PCM_RATE) : NULL;
    for (size_t block = (samples + SPLIT_BLOCK - 1) / SPLIT_BLOCK; block-- > 0;) {
        size_t from = block * SPLIT_BLOCK, n = samples - from < SPLIT_BLOCK ? samples - from : SPLIT_BLOCK;
        const float *below_treble = low[bass];
        if (split) split_block(split, block, low);
        gains_fill(voice, voice->at + (int64_t)from, n, &g);
        for (size_t i = 0; i < n; i++) {
            float in = x[from + i], level = (float)g.level[i], out = level * in;
            if (bass) out += ((float)g.bass[i] - level) * low[0][i];
            if (treble) out += ((float)g.treble[i] - level) * (in - below_treble[i]);
            out *= voice->gain;
            if (voice->ride.count) out *= (float)g.ride[i];
            x[from + i] = out;
        }
    }
    split_free(split);
}

/* Adds a channel, which begins at a sample of the mix. */
static void mix_add(const struct voice_mix *mix, int c, int64_t at, const float *in, size_t samples)
{
    size_t first = (size_t)at * PCM_CHANNELS + (size_t)c;
    if (mix->pcm) {
        float *out = mix->pcm + first;
        for (size_t i = 0; i < samples; i++)
            out[i * PCM_CHANNELS] += in[i];
        return;
    }
    int16_t *out = mix->rough + first;
    for (size_t i = 0; i < samples; i++) {
        long sum = out[i * PCM_CHANNELS] + lrintf(in[i] / VOICE_ROUGH);
        out[i * PCM_CHANNELS] = (int16_t)(sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum);
    }
}

/* Adds the repeats of one channel to the mix. in: the channel as mixed. */
static void echo_add(const struct voice *voice, int64_t length, const float *in, int c,
                     const struct voice_mix *mix)
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
        tail[i] = (float)echo->gain * before;
    }
    for (int64_t left = count < echo->delay ? count : echo->delay; left > 0; left--)
        tail[count - left] *= (float)left / (float)echo->delay;
    mix_add(mix, c, echo->from, tail, (size_t)count);
    free(tail);
}

/* One dry channel to where it is heard; it does not stay what it is. */
static void channel_add(const struct voice *voice, const struct recipe *recipe, int c, float *x,
                        const struct voice_mix *mix, struct stem *stem)
{
    size_t samples = (size_t)voice->samples;
    if (stem) stem_add_dry(stem, voice->at, c, x, voice->gain, samples);
    channel_mix(voice, recipe, x);
    mix_add(mix, c, voice->at, x, samples);
    if (stem) stem_add_wet(stem, voice->at, x, samples);
    if (voice->echo.delay) echo_add(voice, recipe->length, x, c, mix);
}

/* As heard in a rehearsal: a channel at a time, since there is little memory. */
static void passage_add(const struct voice *voice, const struct recipe *recipe, const struct passage *passage,
                        const struct voice_mix *mix, struct stem *stem)
{
    size_t samples = (size_t)voice->samples;
    float *x = xmalloc(samples * sizeof *x);
    if (stem) {
        passage_mono(passage, voice, x);
        stem_add_mono(stem, voice->at, x, voice->gain, samples);
    }
    for (int c = 0; c < PCM_CHANNELS; c++) {
        passage_channel(passage, voice, c, x);
        channel_add(voice, recipe, c, x, mix, stem);
    }
    free(x);
}

static void mono_add(const struct voice *voice, channels pcm, struct stem *stem)
{
    size_t samples = (size_t)voice->samples;
    float *mono = xmalloc((samples + 1) * sizeof *mono);
    for (size_t i = 0; i < samples; i++)
        mono[i] = 0.5f * (pcm[0][i] + pcm[1][i]);
    stem_add_mono(stem, voice->at, mono, voice->gain, samples);
    free(mono);
}

int voice_add(const struct voice *voice, const struct recipe *recipe, struct decks *decks,
              struct passages *passages, const struct voice_mix *mix, struct stem *stem, char **cause)
{
    float *pcm[PCM_CHANNELS];
    if (voice->samples == 0) return 0;
    const struct passage *kept = passages ? passages_find(passages, voice) : NULL;
    if (!kept && passage_read(voice, decks, pcm, cause)) return -1;
    if (!kept && passages) kept = passages_keep(passages, voice, pcm);
    if (kept) {
        passage_add(voice, recipe, kept, mix, stem);
        return 0;
    }
    if (stem) mono_add(voice, pcm, stem);
    for (int c = 0; c < PCM_CHANNELS; c++) {
        channel_add(voice, recipe, c, pcm[c], mix, stem);
        free(pcm[c]);
    }
    return 0;
}
