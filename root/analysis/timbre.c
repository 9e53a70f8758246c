/* timbre: mel-frequency cepstral coefficients (Davis, Mermelstein, 1980) of 46 ms frames.
 *
 * 40 triangular bands from 30 Hz to 16 kHz on Slaney's mel scale, log of their energy, cosine transform; four
 * frames are averaged into one row, which is what the structure is read from. The levels of three bands come
 * from the same spectra. */
#include "root/analysis/timbre.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/course.h"
#include "root/audio/fft.h"
#include "root/audio/pcm.h"

#define WINDOW  2048
#define HOP     COURSE_HOP
#define BINS    (WINDOW / 2 + 1)
#define BANDS   40
#define PER_ROW (TEXTURE_HOP / HOP)
#define SILENT  1e-8 /* mean square: -80 dBFS */
#define BASS_HZ 160.0

struct timbre {
    struct frames frames;
    struct fft *fft;
    float window[WINDOW], work[WINDOW], power[BINS];
    float weight[BINS][2]; /* of the band whose rising, and whose falling slope the bin lies on */
    int band[BINS];        /* the rising one; the falling one is one below; -1 outside */
    float cosine[TEXTURE_MFCC][BANDS];
    double row[TEXTURE_DIMS];
    int held;
    struct series rows;
    struct bytes levels;
    double sum[TEXTURE_MFCC], square[TEXTURE_MFCC], centroid;
    size_t counted;
    void (*listener)(void *context, const float *power);
    void *listener_context;
};

/* Slaney's mel scale: linear to 1 kHz, logarithmic above. */
static double mel_of_hz(double hz)
{
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) / (log(6.4) / 27);
}

static double hz_of_mel(double mel)
{
    return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * (log(6.4) / 27));
}

static void make_bands(struct timbre *timbre)
{
    double low = mel_of_hz(30), high = mel_of_hz(16000), edge[BANDS + 2];
    for (int i = 0; i < BANDS + 2; i++)
        edge[i] = hz_of_mel(low + (high - low) * i / (BANDS + 1));
    for (int k = 0; k < BINS; k++) {
        double hz = (double)k * PCM_RATE / WINDOW;
        timbre->band[k] = -1;
        for (int i = 0; i <= BANDS; i++) {
            if (hz < edge[i] || hz >= edge[i + 1]) continue;
            double part = (hz - edge[i]) / (edge[i + 1] - edge[i]);
            timbre->band[k] = i;
            timbre->weight[k][0] = (float)part;
            timbre->weight[k][1] = (float)(1 - part);
        }
    }
    for (int c = 0; c < TEXTURE_MFCC; c++) {
        for (int b = 0; b < BANDS; b++) {
            timbre->cosine[c][b] = (float)(cos(M_PI * c * (b + 0.5) / BANDS) * sqrt(2.0 / BANDS));
        }
    }
}

static void push_row(struct timbre *timbre)
{
    for (int i = 0; i < TEXTURE_DIMS; i++) {
        series_push(&timbre->rows, (float)(timbre->row[i] / timbre->held));
        timbre->row[i] = 0;
    }
    timbre->held = 0;
}

static void take(void *context, const float *samples)
{
    struct timbre *timbre = context;
    for (size_t i = 0; i < WINDOW; i++)
        timbre->work[i] = samples[i] * timbre->window[i];
    fft_power(timbre->fft, timbre->work, timbre->power);
    if (timbre->listener) timbre->listener(timbre->listener_context, timbre->power);
    float band[BANDS + 1] = {0};
    double all = 0, moment = 0, bass = 0, level[LEVEL_BANDS] = {0};
    size_t bass_bins = (size_t)(BASS_HZ / PCM_RATE * WINDOW);
    int low_end = (int)(LEVEL_LOW_HZ / PCM_RATE * WINDOW), mid_end = (int)(LEVEL_HIGH_HZ / PCM_RATE * WINDOW);
    for (int k = 1; k < BINS; k++) {
        float p = timbre->power[k];
        level[k <= low_end ? 0 : k <= mid_end ? 1 : 2] += p;
        moment += (double)p * k;
        if ((size_t)k <= bass_bins) bass += p;
        int b = timbre->band[k];
        if (b < 0) continue;
        band[b] += p * timbre->weight[k][0];
        if (b > 0) band[b - 1] += p * timbre->weight[k][1];
    }
    for (int b = 0; b < LEVEL_BANDS; b++) {
        all += level[b];
        bytes_push(&timbre->levels, course_byte(level[b]));
    }
    for (int b = 0; b < BANDS; b++)
        band[b] = logf(band[b] + 1e-9f);
    int counts = all > SILENT;
    for (int c = 0; c < TEXTURE_MFCC; c++) {
        float value = 0;
        for (int b = 0; b < BANDS; b++)
            value += timbre->cosine[c][b] * band[b];
        timbre->row[c] += value;
        if (!counts) continue;
        timbre->sum[c] += value;
        timbre->square[c] += (double)value * value;
    }
    if (counts) {
        timbre->centroid += moment / all * PCM_RATE / WINDOW;
        timbre->counted++;
    }
    timbre->row[TEXTURE_BASS] += bass;
    timbre->row[TEXTURE_ALL] += all;
    if (++timbre->held == PER_ROW) push_row(timbre);
}

struct timbre *timbre_new(void)
{
    struct timbre *timbre = xcalloc(1, sizeof *timbre);
    timbre->fft = fft_new(WINDOW);
    window_hann(timbre->window, WINDOW);
    /* so that the bins' sum is the mean square (the window's own is 3/8, and half the bins are kept) */
    for (size_t i = 0; i < WINDOW; i++)
        timbre->window[i] *= (float)(sqrt(2 / 0.375) / WINDOW);
    frames_init(&timbre->frames, WINDOW, HOP, take, timbre);
    make_bands(timbre);
    return timbre;
}

void timbre_free(struct timbre *timbre)
{
    if (!timbre) return;
    frames_free(&timbre->frames);
    fft_free(timbre->fft);
    series_free(&timbre->rows);
    bytes_free(&timbre->levels);
    free(timbre);
}

void timbre_listen(struct timbre *timbre, void (*heard)(void *context, const float *power), void *context)
{
    timbre->listener = heard;
    timbre->listener_context = context;
}

void timbre_feed(struct timbre *timbre, const float *mono, size_t samples)
{
    frames_feed(&timbre->frames, mono, samples);
}

void timbre_finish(struct timbre *timbre)
{
    frames_finish(&timbre->frames);
    if (timbre->held) push_row(timbre);
}

const struct series *timbre_rows(const struct timbre *timbre)
{
    return &timbre->rows;
}

const struct bytes *timbre_levels(const struct timbre *timbre)
{
    return &timbre->levels;
}

void timbre_summary(const struct timbre *timbre, float out[TIMBRE_DIMS])
{
    for (int i = 0; i < TIMBRE_DIMS; i++)
        out[i] = NAN;
    if (!timbre->counted) return;
    double n = (double)timbre->counted;
    for (int c = 0; c < TEXTURE_MFCC; c++) {
        double mean = timbre->sum[c] / n, variance = timbre->square[c] / n - mean * mean;
        out[c] = (float)mean;
        out[TEXTURE_MFCC + c] = (float)sqrt(fmax(0, variance));
    }
}

double timbre_centroid_hz(const struct timbre *timbre)
{
    return timbre->counted ? timbre->centroid / (double)timbre->counted : NAN;
}
