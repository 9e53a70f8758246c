/* libebur128 weighs the sound and gates it (by histogram, so that the length of the recording does not
 * matter); the energy of every quarter second is kept, from which the short-term loudness, its curve and the
 * fades follow. */
#include "root/analysis/loudness.h"

#include <ebur128.h>
#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/analysis/fade.h"
#include "root/analysis/series.h"
#include "root/audio/true_peak.h"
#include "root/audio/pcm.h"
#include "root/track.h"

#define STEP               (PCM_RATE / 4) /* samples of a quarter second */
#define SHORT_STEPS        12             /* in the window of the short-term loudness */
#define ABSOLUTE_GATE_LUFS (-70.0)
#define FADE_STEP_S        0.5

/* Invariant: energy has one value for every STEP samples fed, until_step lack to the next. */
struct loudness {
    ebur128_state *state;
    struct true_peak *true_peak; /* libebur128's own takes most of its time */
    struct series energy;        /* mean squares, K-weighted */
    size_t until_step, position, first, last;
    int heard;
    float threshold;
};

struct loudness *loudness_new(void)
{
    struct loudness *loudness = xcalloc(1, sizeof *loudness);
    loudness->state =
        ebur128_init(PCM_CHANNELS, PCM_RATE, EBUR128_MODE_I | EBUR128_MODE_LRA | EBUR128_MODE_HISTOGRAM);
    if (!loudness->state) abort(); /* out of memory: there is no other cause for these arguments */
    loudness->true_peak = true_peak_new();
    loudness->until_step = STEP;
    loudness->threshold = (float)pow(10, LOUDNESS_SILENCE_DB / 20);
    return loudness;
}

void loudness_free(struct loudness *loudness)
{
    if (!loudness) return;
    ebur128_destroy(&loudness->state);
    true_peak_free(loudness->true_peak);
    series_free(&loudness->energy);
    free(loudness);
}

static void note_ends(struct loudness *loudness, const float *pcm, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        if (fabsf(pcm[2 * i]) <= loudness->threshold && fabsf(pcm[2 * i + 1]) <= loudness->threshold)
            continue;
        if (!loudness->heard) loudness->first = loudness->position + i;
        loudness->heard = 1;
        loudness->last = loudness->position + i + 1;
    }
    loudness->position += samples;
}

static double lufs_of(double energy)
{
    return -0.691 + 10 * log10(energy); /* BS.1770-4 */
}

/* The energy of the last `samples`, at most a quarter second, as a mean over a quarter second. */
static void end_step(struct loudness *loudness, size_t samples)
{
    double lufs = -HUGE_VAL, energy = 0;
    unsigned long ms = samples * 1000 / PCM_RATE;
    if (ms && ebur128_loudness_window(loudness->state, ms, &lufs) == EBUR128_SUCCESS && isfinite(lufs))
        energy = pow(10, (lufs + 0.691) / 10) * (double)samples / STEP;
    series_push(&loudness->energy, (float)energy);
    loudness->until_step = STEP;
}

void loudness_feed(struct loudness *loudness, const float *pcm, size_t samples)
{
    true_peak_feed(loudness->true_peak, pcm, samples);
    while (samples) {
        size_t n = samples < loudness->until_step ? samples : loudness->until_step;
        if (ebur128_add_frames_float(loudness->state, pcm, n) != EBUR128_SUCCESS) abort(); /* memory again */
        note_ends(loudness, pcm, n);
        pcm += n * PCM_CHANNELS;
        samples -= n;
        loudness->until_step -= n;
        if (!loudness->until_step) end_step(loudness, STEP);
    }
}

/* LUFS of the steps [from, to), of which those outside the recording are silent. */
static double level_of(const struct loudness *loudness, long from, long to)
{
    double sum = 0;
    for (long i = from; i < to; i++) {
        if (i >= 0 && (size_t)i < loudness->energy.count) sum += (double)loudness->energy.value[i];
    }
    return lufs_of(sum / (double)(to - from));
}

/* 95th percentile of the short-term loudness every half second, where it passes the absolute gate. */
static double loud_part(const struct loudness *loudness)
{
    size_t n = 0, steps = loudness->energy.count;
    double *level = xcalloc(steps / 2 + 1, sizeof *level);
    for (size_t end = 2; end <= steps; end += 2) {
        level[n] = level_of(loudness, (long)end - SHORT_STEPS, (long)end);
        n += level[n] > ABSOLUTE_GATE_LUFS;
    }
    double loud = n ? values_quantile(level, n, 0.95) : NAN;
    free(level);
    return loud;
}

static void find_fades(const struct loudness *loudness, struct loudness_result *out)
{
    size_t count = (loudness->energy.count + 1) / 2;
    float *level = xcalloc(count + 1, sizeof *level);
    for (size_t i = 0; i < count; i++) /* of a second, so that slow beats don't count as steps */
        level[i] = (float)fmax(ABSOLUTE_GATE_LUFS, level_of(loudness, 2 * (long)i - 1, 2 * (long)i + 3));
    fade_find(level, count, FADE_STEP_S, out->start_s, out->end_s, &out->fade_in_s, &out->fade_out_s);
    free(level);
}

void loudness_finish(struct loudness *loudness, struct loudness_result *out)
{
    double value;
    *out = (struct loudness_result){NAN, NAN, NAN, NAN, 0, 0, NAN, NAN};
    if (loudness->until_step < STEP) end_step(loudness, STEP - loudness->until_step);
    if (ebur128_loudness_global(loudness->state, &value) == EBUR128_SUCCESS && isfinite(value)) {
        out->integrated_lufs = value;
        if (ebur128_loudness_range(loudness->state, &value) == EBUR128_SUCCESS) out->range_lu = value;
    }
    double peak = true_peak_finish(loudness->true_peak);
    if (peak > 0 && isfinite(peak)) out->true_peak_dbtp = 20 * log10(peak);
    out->loud_lufs = loud_part(loudness);
    out->start_s = (double)loudness->first / PCM_RATE;
    out->end_s = (double)loudness->last / PCM_RATE;
    find_fades(loudness, out);
}

uint8_t *loudness_curve(const struct loudness *loudness, size_t *count)
{
    long per = lround(LOUDNESS_STEP_S * PCM_RATE / STEP), steps = (long)loudness->energy.count;
    *count = (size_t)((steps + per - 1) / per);
    uint8_t *curve = xmalloc(*count + 1);
    for (size_t i = 0; i < *count; i++) {
        long centre = (long)i * per;
        double lufs = level_of(loudness, centre - SHORT_STEPS / 2, centre + SHORT_STEPS / 2);
        curve[i] = (uint8_t)lround(fmin(255, fmax(0, -lufs / BAR_LU)));
    }
    return curve;
}
