/* The way of a sample:
 *
 *   peak      |signal| at 8 points from this sample to the next, by a windowed-sinc interpolator
 *   need      by how much it exceeds the ceiling, in log2, as an integer: 0 nearly always
 *   release   max over k of need[n - k] - k * SLOPE: after a peak the reduction goes back by 36 dB/s
 *   hold      max over HOLD samples back and RISE ahead: no ripple with a bass of 25 Hz and up
 *   smooth    three means in a row, together RISE long: a soft bell instead of corners. Each mean lies within
 *             the reach of `hold`, so that at a peak every term holds at least what that peak needs.
 *
 * Each step sees a bounded window and is exact in integers, which is the whole proof of the finite memory. A
 * reduction of more than RELEASE * SLOPE (12 dB) jumps to what is left at the window's end, smoothed; music
 * that was brought to a loudness never gets there. */
#include "root/audio/limit.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/audio/sinc.h"

#define PHASES   8
#define TAPS     160 /* per phase: flat to 21.5 kHz */
#define REACH    80  /* TAPS / 2: samples after n that the peaks at n..n+1 are made of */
#define BLOCK    64
#define MEAN     143        /* each of three means spans MEAN + 1 samples */
#define RISE     (3 * MEAN) /* samples from the first effect of a peak to the peak */
#define HOLD     480
#define RELEASE  14800
#define ONE_LOG2 (1 << 20) /* fixed point: 6.02 dB */
#define SLOPE    142       /* a sample: 36 dB/s */
#define NEED_MAX (8 * ONE_LOG2)

_Static_assert(TAPS == 2 * REACH, "the kernel lies around the sample");
_Static_assert(RISE + REACH + 1 <= LIMIT_AHEAD, "the look-ahead must fit the latency");
_Static_assert(RELEASE + HOLD + RISE + TAPS + 2 <= LIMIT_MEMORY, "the memory must be as promised");

/* Largest of the last `span` values: those that may still become it wait in order, largest first. */
struct window_max {
    int64_t span, at;     /* at: values seen */
    size_t head, count;   /* of the waiting ones in the ring */
    int64_t *value, *age; /* ring of span entries; age: its `at` */
};

struct window_mean {
    int32_t values[MEAN + 1];
    size_t at;
    int64_t sum;
};

struct limiter {
    float kernel[TAPS][PHASES];
    float ceiling, harmless; /* no interpolated peak can reach the ceiling below this one */
    float past[PCM_CHANNELS][TAPS + BLOCK + 1]; /* TAPS old samples, then the block */
    float line[LIMIT_AHEAD + 1][PCM_CHANNELS];  /* delay of the signal */
    size_t line_at;
    int32_t need_last; /* the interval before: a peak between two samples concerns both */
    int32_t delay[LIMIT_AHEAD - RISE - REACH + 1];
    size_t delay_at;
    struct window_max release, hold;
    struct window_mean mean[3];
    int32_t largest;
};

static void window_max_new(struct window_max *w, int64_t span)
{
    w->span = span;
    w->value = xcalloc((size_t)span, sizeof *w->value);
    w->age = xcalloc((size_t)span, sizeof *w->age);
}

static int64_t window_max_next(struct window_max *w, int64_t value)
{
    size_t span = (size_t)w->span;
    if (w->count && w->age[w->head] <= w->at - w->span) {
        w->head = w->head + 1 == span ? 0 : w->head + 1;
        w->count--;
    }
    while (w->count) {
        size_t last = w->head + w->count - 1;
        if (w->value[last >= span ? last - span : last] > value) break;
        w->count--;
    }
    size_t end = w->head + w->count++;
    end = end >= span ? end - span : end;
    w->value[end] = value;
    w->age[end] = w->at++;
    return w->value[w->head];
}

/* Rounded up, so that means never fall below what all their terms reach. */
static int32_t window_mean_next(struct window_mean *w, int32_t value)
{
    w->sum += value - w->values[w->at];
    w->values[w->at] = value;
    w->at = w->at == MEAN ? 0 : w->at + 1;
    return (int32_t)((w->sum + MEAN) / (MEAN + 1));
}

/* Kaiser-windowed sinc, 53 dB; phase p interpolates at n + p / PHASES from x[n - REACH + 1 .. n + REACH]. */
static void kernel_make(struct limiter *l)
{
    const double beta = 5.0;
    double most = 0;
    for (int p = 0; p < PHASES; p++) {
        double sum = 0, absolute = 0, h[TAPS];
        for (int k = 0; k < TAPS; k++) {
            h[k] = sinc_kaiser((double)k - (REACH - 1) - (double)p / PHASES, REACH, beta);
            sum += h[k];
        }
        for (int k = 0; k < TAPS; k++) {
            l->kernel[k][p] = (float)(h[k] / sum);
            absolute += fabs(h[k] / sum);
        }
        most = fmax(most, absolute);
    }
    l->harmless = (float)(l->ceiling / most * 0.9999);
}

struct limiter *limiter_new(double ceiling_dbtp)
{
    struct limiter *l = xcalloc(1, sizeof *l);
    l->ceiling = (float)pow(10, ceiling_dbtp / 20);
    kernel_make(l);
    window_max_new(&l->release, RELEASE + 1);
    window_max_new(&l->hold, HOLD + RISE + 1);
    return l;
}

void limiter_free(struct limiter *l)
{
    if (!l) return;
    free(l->release.value);
    free(l->release.age);
    free(l->hold.value);
    free(l->hold.age);
    free(l);
}

void limiter_reset(struct limiter *l)
{
    memset(l->past, 0, sizeof l->past);
    memset(l->line, 0, sizeof l->line);
    memset(l->delay, 0, sizeof l->delay);
    memset(l->mean, 0, sizeof l->mean);
    l->release.head = l->release.count = l->hold.head = l->hold.count = 0;
    l->need_last = l->largest = 0;
}

/* fmaxf is a call; here neither is NAN. */
static float greater(float a, float b)
{
    return a > b ? a : b;
}

/* Raises peak[i] to the largest |x| at the points i + p / PHASES; x points REACH - 1 before sample 0. */
static void interval_peak(const struct limiter *l, const float *x, float *peak)
{
    float y[PHASES] = {0};
    for (int k = 0; k < TAPS; k++) {
        for (int p = 0; p < PHASES; p++)
            y[p] += x[k] * l->kernel[k][p];
    }
    for (int p = 0; p < PHASES; p++)
        *peak = greater(*peak, fabsf(y[p]));
}

/* The points half-way between samples first, of the whole block: a signal within the band rises at most 3 dB
 * between two points half a sample apart, so the finer ones matter only where these come near the ceiling. */
static void peaks_raise(const struct limiter *l, const float *x, float *peak, size_t samples)
{
    float half[BLOCK] = {0};
    for (int k = 0; k < TAPS; k++) {
        for (int i = 0; i < BLOCK; i++)
            half[i] += x[i + k] * l->kernel[k][PHASES / 2];
    }
    const float *here = x + REACH - 1;
    for (size_t i = 0; i < samples; i++) {
        float coarse = greater(fabsf(half[i]), greater(fabsf(here[i]), fabsf(here[i + 1])));
        if (coarse > 0.6f * l->ceiling) interval_peak(l, x + i, &peak[i]);
    }
}

/* The peaks of `samples` samples, the last of which lies REACH before the newest in `past`. */
static void peaks_find(const struct limiter *l, float *peak, size_t samples)
{
    memset(peak, 0, samples * sizeof *peak);
    for (int c = 0; c < PCM_CHANNELS; c++) {
        const float *x = l->past[c] + 1;
        float most = 0;
        for (size_t i = 0; i < TAPS - 1 + samples; i++)
            most = greater(most, fabsf(x[i]));
        if (most > l->harmless) peaks_raise(l, x, peak, samples);
    }
}

static int32_t need_of(const struct limiter *l, float peak)
{
    if (peak <= l->ceiling) return 0;
    double need = ceil(log2((double)peak / l->ceiling) * ONE_LOG2);
    return need < NEED_MAX ? (int32_t)need : NEED_MAX;
}

/* The reduction for the sample LIMIT_AHEAD back, after the peak of the sample REACH back. */
static int32_t reduction_next(struct limiter *l, float peak)
{
    int32_t need = need_of(l, peak), both = need > l->need_last ? need : l->need_last;
    l->need_last = need;
    int64_t now = l->release.at;
    int64_t released = window_max_next(&l->release, both + now * SLOPE) - now * SLOPE;
    int32_t value = (int32_t)window_max_next(&l->hold, released);
    for (int i = 0; i < 3; i++)
        value = window_mean_next(&l->mean[i], value);
    /* what the latency has left over */
    size_t entries = sizeof l->delay / sizeof *l->delay;
    l->delay[l->delay_at] = value;
    l->delay_at = l->delay_at + 1 == entries ? 0 : l->delay_at + 1;
    value = l->delay[l->delay_at];
    if (value > l->largest) l->largest = value;
    return value;
}

static void block_process(struct limiter *l, const float *in, float *out, size_t samples)
{
    float peak[BLOCK];
    for (int c = 0; c < PCM_CHANNELS; c++) {
        /* past holds TAPS old samples, then the block */
        for (size_t i = 0; i < samples; i++)
            l->past[c][TAPS + i] = in[i * PCM_CHANNELS + (size_t)c];
    }
    peaks_find(l, peak, samples);
    for (int c = 0; c < PCM_CHANNELS; c++)
        memmove(l->past[c], l->past[c] + samples, TAPS * sizeof(float));
    for (size_t i = 0; i < samples; i++) {
        memcpy(l->line[l->line_at], in + i * PCM_CHANNELS, sizeof l->line[0]);
        l->line_at = l->line_at == LIMIT_AHEAD ? 0 : l->line_at + 1;
        int32_t reduction = reduction_next(l, peak[i]);
        float gain = reduction ? (float)exp2(-(double)reduction / ONE_LOG2) : 1.0f;
        for (int c = 0; c < PCM_CHANNELS; c++)
            out[i * PCM_CHANNELS + (size_t)c] = l->line[l->line_at][c] * gain;
    }
}

void limiter_process(struct limiter *l, const float *in, float *out, size_t samples)
{
    while (samples) {
        size_t n = samples < BLOCK ? samples : BLOCK;
        block_process(l, in, out, n);
        in += n * PCM_CHANNELS;
        out += n * PCM_CHANNELS;
        samples -= n;
    }
}

double limiter_reduction_db(const struct limiter *l)
{
    return (double)l->largest / ONE_LOG2 * 20 * log10(2);
}
