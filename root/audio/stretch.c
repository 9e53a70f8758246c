/* Rubber Band studies a whole passage first, then its output is as long as the map says, give or take what
 * rounding leaves (cut, or filled by silence). One thread, so that the same input gives the same samples. */
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

/* The sum of a channel under the taps from `first` on; beyond the ends the signal stands still. */
static float weigh(const float *weight, const float *in, long in_samples, long first)
{
    float sum = 0;
    if (first >= 0 && first + TAPS <= in_samples) {
        for (int k = 0; k < TAPS; k++)
            sum += weight[k] * in[first + k];
        return sum;
    }
    for (int k = 0; k < TAPS; k++) {
        long at = first + k;
        sum += weight[k] * in[at < 0 ? 0 : at >= in_samples ? in_samples - 1 : at];
    }
    return sum;
}

static void resample(float *const channels[PCM_CHANNELS], size_t lead, size_t in_samples,
                     const struct stretch_point *map, size_t points, size_t out_samples)
{
    float *kernel = kernel_new();
    size_t piece = 1;
    for (size_t i = 0; i < out_samples; i++) {
        while (piece + 1 < points && (double)i >= map[piece].out)
            piece++;
        const struct stretch_point *a = &map[piece - 1], *b = &map[piece];
        double position = a->in + ((double)i - a->out) * (b->in - a->in) / (b->out - a->out);
        double whole = floor(position), phase = (position - whole) * PHASES;
        int row = (int)phase;
        float part = (float)(phase - row), weight[TAPS];
        const float *h = kernel + row * TAPS;
        for (int k = 0; k < TAPS; k++)
            weight[k] = h[k] + part * (h[k + TAPS] - h[k]);
        for (int c = 0; c < PCM_CHANNELS; c++)
            channels[c][i] = weigh(weight, channels[c] + lead, (long)in_samples, (long)whole - (HALF - 1));
    }
    free(kernel);
}

struct take {
    RubberBandState state;
    float *const *channels;
    size_t samples, done;
    size_t room; /* in the channels, up to the input that is still to be read */
};

static void retrieve(struct take *take)
{
    size_t most = take->room < take->samples ? take->room : take->samples;
    for (int ready; take->done < most && (ready = rubberband_available(take->state)) > 0;) {
        size_t n = most - take->done < (size_t)ready ? most - take->done : (size_t)ready;
        float *const to[] = {take->channels[0] + take->done, take->channels[1] + take->done};
        n = rubberband_retrieve(take->state, to, (unsigned)n);
        take->done += n;
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

/* As if in one piece, which would take another copy of the passage. Told that each piece is the last, Rubber
 * Band works off its buffer of two windows as far as half a window, as it does each time the buffer is full;
 * so pieces that fill it make no difference. (It then counts the length wrong, and goes by the one it was
 * told.) */
static void study(RubberBandState state, float *const in[PCM_CHANNELS], size_t samples, double hop)
{
    size_t step = (size_t)hop, held = WINDOW / 2; /* it begins with half a window of silence */
    for (size_t at = 0; at < samples;) {
        size_t room = 2 * WINDOW - held, n = samples - at < room ? samples - at : room;
        rubberband_study(state, (const float *const[]){in[0] + at, in[1] + at}, (unsigned)n, 1);
        at += n;
        held += n;
        if (held >= WINDOW / 2) held -= ((held - WINDOW / 2) / step + 1) * step;
    }
}

static void stretch(float *const channels[PCM_CHANNELS], size_t lead, size_t in_samples,
                    const struct stretch_point *map, size_t points, size_t out_samples)
{
    double ratio = (double)out_samples / (double)in_samples;
    float *const in[] = {channels[0] + lead, channels[1] + lead};
    rubberband_set_default_debug_level(-1); /* it would write to standard error */
    RubberBandState state = rubberband_new(
        PCM_RATE, PCM_CHANNELS,
        RubberBandOptionProcessOffline | RubberBandOptionEngineFaster | RubberBandOptionThreadingNever |
            RubberBandOptionChannelsTogether | RubberBandOptionTransientsCrisp | RubberBandOptionPhaseLaminar,
        ratio, 1);
    struct take take = {.state = state, .channels = channels, .samples = out_samples};
    rubberband_set_expected_input_duration(state, (unsigned)in_samples);
    rubberband_set_max_process_size(state, CHUNK);
    key_frames_set(state, map, points, ratio);
    study(state, in, in_samples, hop_of(ratio));
    for (size_t at = 0; at < in_samples; at += CHUNK) {
        size_t n = in_samples - at < CHUNK ? in_samples - at : CHUNK;
        rubberband_process(state, (const float *const[]){in[0] + at, in[1] + at}, (unsigned)n,
                           at + n == in_samples);
        take.room = at + n == in_samples ? out_samples : lead + at + n;
        retrieve(&take);
    }
    for (int c = 0; c < PCM_CHANNELS; c++)
        memset(channels[c] + take.done, 0, (out_samples - take.done) * sizeof *channels[c]);
    rubberband_delete(state);
}

size_t stretch_lead(const struct stretch_point *map, size_t points)
{
    double most = 0;
    for (size_t i = 0; i < points; i++)
        most = fmax(most, map[i].out - map[i].in);
    return (size_t)ceil(most) + (stretch_is_resampling(map, points) ? TAPS : CHUNK);
}

void stretch_passage(float *const channels[PCM_CHANNELS], size_t in_samples, const struct stretch_point *map,
                     size_t points, size_t out_samples)
{
    if (in_samples == 0 || points < 2) {
        for (int c = 0; c < PCM_CHANNELS; c++)
            memset(channels[c], 0, out_samples * sizeof *channels[c]);
        return;
    }
    size_t lead = stretch_lead(map, points);
    if (stretch_is_resampling(map, points)) {
        resample(channels, lead, in_samples, map, points, out_samples);
    } else {
        stretch(channels, lead, in_samples, map, points, out_samples);
    }
}

const char *stretch_library(void)
{
    return "rubberband " RUBBERBAND_VERSION;
}
