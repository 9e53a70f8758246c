/* The short-term loudness is had from the energies of tenths of a second: a window of three seconds at every
 * step would be summed thirty times over. */
#include "root/mix/listen.h"

#include <ebur128.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/audio/true_peak.h"
#include "root/mix/measure.h"

#define STEP_MS         100
#define STEP            ((size_t)PCM_RATE * STEP_MS / 1000)
#define SHORT_STEPS     30 /* in the short-term loudness */
#define HALF            (SHORT_STEPS * STEP / 2)
#define TAIL            (40 * STEP) /* of the prelude, that short-term loudness and the filters can know of */
#define SILENCE         1e-3f
#define SILENCE_SAMPLES (PCM_RATE / 20)

static ebur128_state *meter_new(int mode)
{
    ebur128_state *meter = ebur128_init(PCM_CHANNELS, PCM_RATE, mode);
    if (!meter) abort(); /* memory, as everywhere in a worker */
    return meter;
}

static void meter_add(ebur128_state *meter, const float *pcm, size_t samples)
{
    if (samples && ebur128_add_frames_float(meter, pcm, samples) != EBUR128_SUCCESS) abort();
}

static double integrated(ebur128_state *meter)
{
    double lufs;
    return ebur128_loudness_global(meter, &lufs) == EBUR128_SUCCESS && isfinite(lufs) ? lufs : NAN;
}

struct prelude {
    ebur128_state *meter;
    size_t samples;                  /* heard */
    float tail[TAIL * PCM_CHANNELS]; /* the last of them; sample n at n % TAIL */
};

struct prelude *prelude_new(void)
{
    struct prelude *prelude = xcalloc(1, sizeof *prelude);
    prelude->meter = meter_new(EBUR128_MODE_I);
    return prelude;
}

void prelude_feed(struct prelude *prelude, const float *pcm, size_t samples)
{
    meter_add(prelude->meter, pcm, samples);
    for (size_t i = 0; i < samples; i++)
        memcpy(prelude->tail + prelude->samples++ % TAIL * PCM_CHANNELS, pcm + i * PCM_CHANNELS,
               PCM_CHANNELS * sizeof *pcm);
}

void prelude_free(struct prelude *prelude)
{
    if (!prelude) return;
    ebur128_destroy(&prelude->meter);
    free(prelude);
}

struct listen {
    double before_lufs;
    size_t before, samples; /* heard of the prelude, whole steps; of the transition */
    size_t fed;             /* of both and what follows */
    ebur128_state *steps, *after;
    double *energy; /* mean of each step */
    size_t energies, room;
    struct true_peak *true_peak;
    const struct stem *a, *b;
    size_t sound; /* one after the last sample of the transition that is not silent */
    int dropouts;
};

/* Where a window's end may lie. */
static size_t last_end(const struct listen *l)
{
    return l->before + l->samples + HALF;
}

static void step_end(struct listen *l)
{
    double lufs = -HUGE_VAL, energy = 0;
    if (ebur128_loudness_window(l->steps, STEP_MS, &lufs) == EBUR128_SUCCESS && isfinite(lufs))
        energy = pow(10, (lufs + 0.691) / 10); /* BS.1770-4 */
    if (l->energies == l->room) {
        l->room = l->room ? 2 * l->room : 256;
        l->energy = xrealloc(l->energy, l->room * sizeof *l->energy);
    }
    l->energy[l->energies++] = energy;
}

static void steps_feed(struct listen *l, const float *pcm, size_t samples)
{
    while (samples && l->fed < last_end(l)) {
        size_t left = STEP - l->fed % STEP, n = samples < left ? samples : left;
        meter_add(l->steps, pcm, n);
        l->fed += n;
        pcm += n * PCM_CHANNELS;
        samples -= n;
        if (n == left) step_end(l);
    }
    l->fed += samples;
}

struct listen *listen_new(const struct prelude *prelude, size_t samples, const struct stem *a,
                          const struct stem *b)
{
    struct listen *l = xcalloc(1, sizeof *l);
    l->samples = samples;
    l->a = a;
    l->b = b;
    l->before_lufs = prelude ? integrated(prelude->meter) : NAN;
    l->before = !prelude ? 0 : prelude->samples < TAIL ? prelude->samples / STEP * STEP : TAIL;
    l->steps = meter_new(EBUR128_MODE_M);
    l->after = meter_new(EBUR128_MODE_I);
    l->true_peak = true_peak_new();
    size_t first = prelude ? (prelude->samples - l->before) % TAIL : 0;
    size_t straight = l->before < TAIL - first ? l->before : TAIL - first;
    if (prelude) steps_feed(l, prelude->tail + first * PCM_CHANNELS, straight);
    if (prelude) steps_feed(l, prelude->tail, l->before - straight);
    return l;
}

static void silence_end(struct listen *l, size_t at)
{
    if (at - l->sound > SILENCE_SAMPLES && measure_sounds(l->a, l->sound, at) &&
        measure_sounds(l->b, l->sound, at))
        l->dropouts++;
}

/* Samples of the transition from `at` on. */
static void dropouts_feed(struct listen *l, const float *pcm, size_t at, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        if (fabsf(pcm[2 * i]) < SILENCE && fabsf(pcm[2 * i + 1]) < SILENCE) continue;
        silence_end(l, at + i);
        l->sound = at + i + 1;
    }
    if (at + samples == l->samples) silence_end(l, l->samples);
}

void listen_feed(struct listen *l, const float *pcm, size_t samples)
{
    size_t at = l->fed - l->before, left = at < l->samples ? l->samples - at : 0;
    size_t within = samples < left ? samples : left;
    if (within) dropouts_feed(l, pcm, at, within);
    true_peak_feed(l->true_peak, pcm, within);
    meter_add(l->after, pcm + within * PCM_CHANNELS, samples - within);
    steps_feed(l, pcm, samples);
}

/* The least and the greatest short-term energy whose window is centred in the transition. */
static int extremes(const struct listen *l, double *least, double *most)
{
    *least = HUGE_VAL;
    *most = 0;
    for (size_t end = SHORT_STEPS; end <= l->energies; end++) {
        double sum = 0;
        if (end * STEP < l->before + HALF || end * STEP > last_end(l)) continue;
        for (size_t i = end - SHORT_STEPS; i < end; i++)
            sum += l->energy[i];
        *least = fmin(*least, sum / SHORT_STEPS);
        *most = fmax(*most, sum / SHORT_STEPS);
    }
    return *most > 0;
}

static void loudness(const struct listen *l, struct listen_loudness *out)
{
    double least, most, peak = true_peak_finish(l->true_peak);
    *out = (struct listen_loudness){NAN, NAN, NAN, NAN, NAN, NAN};
    out->before_lufs = l->before_lufs;
    out->after_lufs = integrated(l->after);
    out->true_peak_dbtp = peak > 0 ? 20 * log10(peak) : -INFINITY;
    if (isnan(out->before_lufs) || isnan(out->after_lufs)) return;
    out->step_lu = fabs(out->after_lufs - out->before_lufs);
    if (!extremes(l, &least, &most)) return;
    double low = least > 0 ? 10 * log10(least) - 0.691 : -HUGE_VAL, high = 10 * log10(most) - 0.691;
    /* -70 LUFS is silence to EBU R 128: a hole is no deeper */
    out->hole_lu = fmax(0, fmin(out->before_lufs, out->after_lufs) - fmax(low, -70));
    out->bump_lu = fmax(0, high - fmax(out->before_lufs, out->after_lufs));
}

void listen_finish(struct listen *l, struct listen_loudness *out, int *dropouts)
{
    loudness(l, out);
    *dropouts = l->dropouts;
    ebur128_destroy(&l->steps);
    ebur128_destroy(&l->after);
    true_peak_free(l->true_peak);
    free(l->energy);
    free(l);
}
