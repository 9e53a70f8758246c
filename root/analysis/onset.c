#include "root/analysis/onset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/fft.h"
#include "root/audio/pcm.h"

#define WINDOW     2048
#define BINS       (WINDOW / 2 + 1)
#define LAG        2 /* frames between the spectra compared: a quarter of the window, where Hann's has lost half */
#define GAMMA      1000.0f
#define LEVELS     2
#define QUIET_DB   (-70.0f) /* level below which nothing rises */
#define MAX_STRIPS 96

static const double region_from_hz[ONSET_BANDS + 1] = {27.5, 160, 800, 4000, 16000};

/* A strip of the spectrum: bins [from, to) weigh alike. */
struct strip {
    size_t from, to;
    int region;
};

struct onset {
    struct onset_curves curves;
    struct frames frames;
    struct fft *fft;
    float window[WINDOW], work[WINDOW], power[BINS];
    struct strip strips[MAX_STRIPS];
    size_t strip_count;
    float history[LAG + 1][MAX_STRIPS]; /* log magnitudes, ring by frame */
    size_t frame;
    /* rise of the level: of the whole signal, and of its slope, which weighs the high frequencies */
    float last, sum[LEVELS], level[LEVELS][2]; /* dB of the last two hops, the older first */
    size_t held, hops;
};

static void make_strips(struct onset *onset)
{
    double hz_per_bin = (double)PCM_RATE / WINDOW;
    size_t from = (size_t)ceil(region_from_hz[0] / hz_per_bin);
    while (onset->strip_count < MAX_STRIPS) {
        size_t to = (size_t)lround((double)from * pow(2, 1 / 12.0));
        if (to <= from) to = from + 1;
        double centre_hz = ((double)from + (double)to - 1) / 2 * hz_per_bin;
        if (centre_hz >= region_from_hz[ONSET_BANDS] || to > BINS) break;
        int region = 0;
        while (centre_hz >= region_from_hz[region + 1])
            region++;
        onset->strips[onset->strip_count++] = (struct strip){from, to, region};
        from = to;
    }
}

static void take(void *context, const float *samples)
{
    struct onset *onset = context;
    for (size_t i = 0; i < WINDOW; i++)
        onset->work[i] = samples[i] * onset->window[i];
    fft_power(onset->fft, onset->work, onset->power);
    float *now = onset->history[onset->frame % (LAG + 1)];
    for (size_t s = 0; s < onset->strip_count; s++) {
        float sum = 0;
        for (size_t k = onset->strips[s].from; k < onset->strips[s].to; k++)
            sum += onset->power[k];
        now[s] = logf(1 + GAMMA * sqrtf(sum));
    }
    float flux[ONSET_BANDS] = {0};
    if (onset->frame >= LAG) {
        const float *then = onset->history[(onset->frame + 1) % (LAG + 1)];
        size_t last = onset->strip_count - 1;
        for (size_t s = 0; s <= last; s++) {
            float most = then[s];
            if (s > 0 && then[s - 1] > most) most = then[s - 1];
            if (s < last && then[s + 1] > most) most = then[s + 1];
            if (now[s] > most) flux[onset->strips[s].region] += now[s] - most;
        }
    }
    /* the difference over LAG frames belongs to the moment between them */
    if (onset->frame >= LAG / 2) {
        for (int b = 0; b < ONSET_BANDS; b++)
            series_push(&onset->curves.flux[b], flux[b]);
    }
    onset->frame++;
}

struct onset *onset_new(void)
{
    struct onset *onset = xcalloc(1, sizeof *onset);
    onset->fft = fft_new(WINDOW);
    window_hann(onset->window, WINDOW);
    /* a full-scale sine has magnitude 1 */
    for (size_t i = 0; i < WINDOW; i++)
        onset->window[i] *= 4.0f / WINDOW;
    frames_init(&onset->frames, WINDOW, ONSET_HOP, take, onset);
    for (int l = 0; l < LEVELS; l++)
        onset->level[l][0] = onset->level[l][1] = QUIET_DB;
    make_strips(onset);
    return onset;
}

void onset_free(struct onset *onset)
{
    if (!onset) return;
    for (int b = 0; b < ONSET_BANDS; b++)
        series_free(&onset->curves.flux[b]);
    bytes_free(&onset->curves.rise);
    frames_free(&onset->frames);
    fft_free(onset->fft);
    free(onset);
}

static void push_rise(struct onset *onset)
{
    float rise = 0;
    for (int l = 0; l < LEVELS; l++) {
        float now = fmaxf(QUIET_DB, 10 * log10f(onset->sum[l] / ATTACK_HOP + 1e-10f));
        rise += fmaxf(0, now - onset->level[l][0]) / LEVELS;
        onset->level[l][0] = onset->level[l][1];
        onset->level[l][1] = now;
        onset->sum[l] = 0;
    }
    onset->held = 0;
    /* it belongs to the hop before; there is none before the first */
    if (onset->hops++) bytes_push(&onset->curves.rise, (uint8_t)fminf(255, rise / (float)RISE_DB));
}

void onset_feed(struct onset *onset, const float *mono, size_t samples)
{
    frames_feed(&onset->frames, mono, samples);
    for (size_t i = 0; i < samples; i++) {
        float slope = mono[i] - onset->last;
        onset->last = mono[i];
        onset->sum[0] += mono[i] * mono[i];
        onset->sum[1] += slope * slope;
        if (++onset->held == ATTACK_HOP) push_rise(onset);
    }
}

void onset_finish(struct onset *onset)
{
    frames_finish(&onset->frames);
}

struct onset_curves *onset_curves(struct onset *onset)
{
    return &onset->curves;
}
