/* Rubber Band is called once for a whole passage: it studies everything first, then its output is as long as
 * the map says, give or take what rounding leaves (cut, or filled by silence). One thread, so that the same
 * input gives the same samples. */
#include "root/audio/stretch.h"

#include <math.h>
#include <rubberband/rubberband-c.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/audio/sinc.h"

#define RESAMPLE_LIMIT 0.005
#define HALF           24         /* of the taps */
#define TAPS           (2 * HALF) /* of the resampler: flat to 20 kHz */
#define PHASES         512
#define CHUNK          4096
#define WINDOW         2048 /* of R2 at 44.1 kHz */
#define HOP            256  /* its step through the input when that is sped up */

int stretch_is_resampling(const struct stretch_point *map, size_t points)
{
    for (size_t i = 1; i < points; i++) {
        double speed = (map[i].in - map[i - 1].in) / (map[i].out - map[i - 1].out);
        if (fabs(speed - 1) > RESAMPLE_LIMIT) return 0;
    }
    return 1;
}

/* Kaiser-windowed sinc (80 dB); row p interpolates p / PHASES after the sample at HALF - 1. One row more
 * than PHASES, for interpolation between rows. */
static float *kernel_new(void)
{
    const double beta = 8;
    float *kernel = xmalloc((PHASES + 1) * TAPS * sizeof *kernel);
    for (int p = 0; p <= PHASES; p++) {
        for (int k = 0; k < TAPS; k++) {
            double t = k - (HALF - 1) - (double)p / PHASES;
            kernel[p * TAPS + k] = (float)sinc_kaiser(t, HALF, beta);
        }
    }
    return kernel;
}

/* One sample of both channels at `position`; beyond the ends the signal stands still. */
static void interpolate(const float *kernel, const float *in, size_t in_samples, double position, float *out)
{
    double whole = floor(position), phase = (position - whole) * PHASES;
    long first = (long)whole - (HALF - 1);
    int row = (int)phase;
    float part = (float)(phase - row), sum[PCM_CHANNELS] = {0};
    const float *h = kernel + row * TAPS;
    for (int k = 0; k < TAPS; k++) {
        long at = first + k;
        at = at < 0 ? 0 : at >= (long)in_samples ? (long)in_samples - 1 : at;
        float weight = h[k] + part * (h[k + TAPS] - h[k]);
        for (int c = 0; c < PCM_CHANNELS; c++)
            sum[c] += weight * in[at * PCM_CHANNELS + c];
    }
    memcpy(out, sum, sizeof sum);
}

static void resample(const float *in, size_t in_samples, const struct stretch_point *map, size_t points,
                     float *out, size_t out_samples)
{
    float *kernel = kernel_new();
    size_t piece = 1;
    for (size_t i = 0; i < out_samples; i++) {
        while (piece + 1 < points && (double)i >= map[piece].out)
            piece++;
        const struct stretch_point *a = &map[piece - 1], *b = &map[piece];
        double position = a->in + ((double)i - a->out) * (b->in - a->in) / (b->out - a->out);
        interpolate(kernel, in, in_samples, position, out + i * PCM_CHANNELS);
    }
    free(kernel);
}

struct take {
    RubberBandState state;
    float *out;
    size_t samples, done;
};

static void retrieve(struct take *take)
{
    float left[CHUNK], right[CHUNK];
    for (int ready; (ready = rubberband_available(take->state)) > 0;) {
        unsigned n = (unsigned)ready < CHUNK ? (unsigned)ready : CHUNK;
        n = rubberband_retrieve(take->state, (float *const[]){left, right}, n);
        for (unsigned i = 0; i < n && take->done < take->samples; i++, take->done++) {
            take->out[take->done * PCM_CHANNELS] = left[i];
            take->out[take->done * PCM_CHANNELS + 1] = right[i];
        }
        if (n == 0) break;
    }
}

struct key_frames {
    unsigned *from, *to;
    size_t count;
};

/* What R2 steps through its input by, offline. */
static double hop_of(double ratio)
{
    return ratio < 1 ? HOP : floor(floor(WINDOW / 6.0) / ratio);
}

/* Adds a key frame at the hop that `in` lies in, as far from the map point as in the input. */
static void key_frame_add(struct key_frames *keys, double hop, const struct stretch_point *point, double in)
{
    double from = floor(in / hop) * hop, to = point->out - (point->in - from);
    size_t n = keys->count;
    if (from <= (n ? keys->from[n - 1] : 0) || to <= (n ? keys->to[n - 1] : 0)) return;
    keys->from[n] = (unsigned)lrint(from);
    keys->to[n] = (unsigned)lrint(to);
    keys->count++;
}

/* Two key frames for each map point, with unity speed between them: an attack at the point then lies right
 * whichever of the windows that hold it R2 takes for the one to reset phases in (with a single key frame hits
 * were up to 4 ms off at 6 %). Both lie on R2's hops, as it rounds a key frame's source to these but not its
 * target (7 ms off). What is between the points takes up the change of speed. */
static void key_frames_set(RubberBandState state, const struct stretch_point *map, size_t points,
                           double ratio)
{
    struct key_frames keys = {.from = xmalloc(2 * points * sizeof *keys.from),
                              .to = xmalloc(2 * points * sizeof *keys.to)};
    double hop = hop_of(ratio);
    key_frame_add(&keys, hop, &map[0], hop); /* without it all lies late by the first hop's change */
    for (size_t i = 1; i + 1 < points; i++) {
        double shorter = fmin(map[i].in - map[i - 1].in, map[i + 1].in - map[i].in);
        double steady = fmin(WINDOW, shorter / 5);
        key_frame_add(&keys, hop, &map[i], map[i].in - 1.5 * steady);
        key_frame_add(&keys, hop, &map[i], map[i].in + steady);
    }
    if (keys.count) rubberband_set_key_frame_map(state, (unsigned)keys.count, keys.from, keys.to);
    free(keys.from);
    free(keys.to);
}

static void split(const float *in, size_t samples, float *left, float *right)
{
    for (size_t i = 0; i < samples; i++) {
        left[i] = in[i * PCM_CHANNELS];
        right[i] = in[i * PCM_CHANNELS + 1];
    }
}

/* In one piece: studied by chunks the same music comes out a little different. */
static void study(RubberBandState state, const float *in, size_t in_samples)
{
    float *left = xmalloc(in_samples * sizeof *left), *right = xmalloc(in_samples * sizeof *right);
    split(in, in_samples, left, right);
    rubberband_study(state, (const float *const[]){left, right}, (unsigned)in_samples, 1);
    free(left);
    free(right);
}

static void stretch(const float *in, size_t in_samples, const struct stretch_point *map, size_t points,
                    float *out, size_t out_samples)
{
    double ratio = (double)out_samples / (double)in_samples;
    rubberband_set_default_debug_level(-1); /* it would write to standard error */
    RubberBandState state = rubberband_new(
        PCM_RATE, PCM_CHANNELS,
        RubberBandOptionProcessOffline | RubberBandOptionEngineFaster | RubberBandOptionThreadingNever |
            RubberBandOptionChannelsTogether | RubberBandOptionTransientsCrisp | RubberBandOptionPhaseLaminar,
        ratio, 1);
    struct take take = {.state = state, .out = out, .samples = out_samples};
    rubberband_set_expected_input_duration(state, (unsigned)in_samples);
    rubberband_set_max_process_size(state, CHUNK);
    key_frames_set(state, map, points, ratio);
    study(state, in, in_samples);
    for (size_t at = 0; at < in_samples; at += CHUNK) {
        float left[CHUNK], right[CHUNK];
        size_t n = in_samples - at < CHUNK ? in_samples - at : CHUNK;
        split(in + at * PCM_CHANNELS, n, left, right);
        rubberband_process(state, (const float *const[]){left, right}, (unsigned)n, at + n == in_samples);
        retrieve(&take);
    }
    memset(out + take.done * PCM_CHANNELS, 0, (out_samples - take.done) * PCM_CHANNELS * sizeof *out);
    rubberband_delete(state);
}

void stretch_passage(const float *in, size_t in_samples, const struct stretch_point *map, size_t points,
                     float *out, size_t out_samples)
{
    if (in_samples == 0 || points < 2) {
        memset(out, 0, out_samples * PCM_CHANNELS * sizeof *out);
    } else if (stretch_is_resampling(map, points)) {
        resample(in, in_samples, map, points, out, out_samples);
    } else {
        stretch(in, in_samples, map, points, out, out_samples);
    }
}

const char *stretch_library(void)
{
    return "rubberband " RUBBERBAND_VERSION;
}
