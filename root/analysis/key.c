/* key: which of 24 keys, from the pitch classes of the whole piece.
 *
 * Spectral peaks between 55 and 3500 Hz are placed by parabolic interpolation and summed into pitch classes a
 * tenth of a semitone fine, after a logarithm so that a loud part does not outvote the rest (as in Gomez,
 * Tonal Description of Polyphonic Audio, 2006). At the end the tuning is the phase of that histogram's first
 * circular moment within a semitone, and the twelve classes are correlated with key profiles rotated to each
 * tonic. The profiles are Temperley's from the Kostka-Payne corpus (Music and Probability, 2007): they hold
 * for classical and popular harmony alike. The bass counts once more on its own, because it names the tonic
 * more often than not. */
#include "root/analysis/key.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/fft.h"
#include "root/audio/pcm.h"

#define WINDOW    16384
#define BINS      (WINDOW / 2 + 1)
#define FINE      10 /* parts of a semitone */
#define FINE_BINS (CHROMA_BINS * FINE)
#define FROM_HZ   55.0
#define TO_HZ     3500.0
#define BASS_HZ   220.0
#define FLOOR     1e-5f /* of full scale: below lies no note */

struct chroma {
    struct frames frames;
    struct fft *fft;
    float *window, *work, *power;
    struct series rows, bass;
    double fine[FINE_BINS], fine_bass[FINE_BINS];
};

static void add_peak(double *fine, double pitch, double weight)
{
    /* pitch in semitones above some C; shared between the two nearest fine bins */
    double place = pitch * FINE, low = floor(place), part = place - low;
    long bin = (long)low % FINE_BINS;
    if (bin < 0) bin += FINE_BINS;
    fine[bin] += weight * (1 - part);
    fine[(bin + 1) % FINE_BINS] += weight * part;
}

/* Folds fine bins to semitones, shifted by the tuning. */
static void fold(const double *fine, double tuning_semitones, double *out)
{
    memset(out, 0, CHROMA_BINS * sizeof *out);
    for (int i = 0; i < FINE_BINS; i++) {
        double pitch = (double)i / FINE - tuning_semitones;
        double nearest = floor(pitch + 0.5), off = pitch - nearest;
        int bin = (((int)nearest % CHROMA_BINS) + CHROMA_BINS) % CHROMA_BINS;
        out[bin] += fine[i] * cos(M_PI / 2 * off * 2) * cos(M_PI / 2 * off * 2);
    }
}

static void push_row(struct series *series, const double *fine)
{
    double row[CHROMA_BINS], norm = 0;
    fold(fine, 0, row);
    for (int i = 0; i < CHROMA_BINS; i++)
        norm += row[i] * row[i];
    norm = norm > 0 ? 1 / sqrt(norm) : 0;
    for (int i = 0; i < CHROMA_BINS; i++)
        series_push(series, (float)(row[i] * norm));
}

static void take(void *context, const float *samples)
{
    struct chroma *chroma = context;
    double whole[FINE_BINS] = {0}, bass[FINE_BINS] = {0};
    for (size_t i = 0; i < WINDOW; i++)
        chroma->work[i] = samples[i] * chroma->window[i];
    fft_power(chroma->fft, chroma->work, chroma->power);
    const float *p = chroma->power;
    size_t from = (size_t)(FROM_HZ / PCM_RATE * WINDOW), to = (size_t)(TO_HZ / PCM_RATE * WINDOW);
    for (size_t k = from; k < to; k++) {
        if (p[k] <= p[k - 1] || p[k] < p[k + 1] || p[k] < FLOOR * FLOOR) continue;
        double a = log(p[k - 1] + 1e-20), b = log(p[k]), c = log(p[k + 1] + 1e-20);
        double offset = 0.5 * (a - c) / (a - 2 * b + c);
        double hz = ((double)k + offset) * PCM_RATE / WINDOW;
        double pitch = 12 * log2(hz / 440) + 69, weight = log(1 + 300 * sqrt(p[k]));
        /* high partials say less about the harmony */
        if (hz > 1000) weight *= 1000 / hz;
        add_peak(whole, pitch, weight);
        if (hz < BASS_HZ) add_peak(bass, pitch, weight);
    }
    push_row(&chroma->rows, whole);
    push_row(&chroma->bass, bass);
    double sum = 1e-9, bass_sum = 1e-9;
    for (int i = 0; i < FINE_BINS; i++) {
        sum += whole[i];
        bass_sum += bass[i];
    }
    /* half-way between every frame alike and every frame by its strength */
    for (int i = 0; i < FINE_BINS; i++) {
        chroma->fine[i] += whole[i] / sqrt(sum);
        chroma->fine_bass[i] += bass[i] / sqrt(bass_sum);
    }
}

struct chroma *chroma_new(void)
{
    struct chroma *chroma = xcalloc(1, sizeof *chroma);
    chroma->fft = fft_new(WINDOW);
    chroma->window = xmalloc(WINDOW * sizeof(float));
    chroma->work = xmalloc(WINDOW * sizeof(float));
    chroma->power = xmalloc(BINS * sizeof(float));
    window_hann(chroma->window, WINDOW);
    for (size_t i = 0; i < WINDOW; i++)
        chroma->window[i] *= 4.0f / WINDOW;
    frames_init(&chroma->frames, WINDOW, CHROMA_HOP, take, chroma);
    return chroma;
}

void chroma_free(struct chroma *chroma)
{
    if (!chroma) return;
    frames_free(&chroma->frames);
    fft_free(chroma->fft);
    free(chroma->window);
    free(chroma->work);
    free(chroma->power);
    series_free(&chroma->rows);
    series_free(&chroma->bass);
    free(chroma);
}

void chroma_feed(struct chroma *chroma, const float *mono, size_t samples)
{
    frames_feed(&chroma->frames, mono, samples);
}

void chroma_finish(struct chroma *chroma)
{
    frames_finish(&chroma->frames);
}

const struct series *chroma_rows(const struct chroma *chroma)
{
    return &chroma->rows;
}

const struct series *chroma_bass_rows(const struct chroma *chroma)
{
    return &chroma->bass;
}

static const double profile[2][CHROMA_BINS] = {
    {0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400},
    {0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330},
};
#define BASS_WEIGHT 0.3

/* Pearson's correlation of the chroma with a profile whose tonic is `tonic`. */
static double correlate(const double *chroma, const double *shape, int tonic)
{
    double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
    for (int i = 0; i < CHROMA_BINS; i++) {
        mx += chroma[i] / CHROMA_BINS;
        my += shape[i] / CHROMA_BINS;
    }
    for (int i = 0; i < CHROMA_BINS; i++) {
        double x = chroma[(i + tonic) % CHROMA_BINS] - mx, y = shape[i] - my;
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    return xx > 0 ? xy / sqrt(xx * yy) : 0;
}

struct key_result key_find(const struct chroma *chroma)
{
    struct key_result result = {.key = -1};
    double re = 0, im = 0, whole[CHROMA_BINS], bass[CHROMA_BINS], sum = 0, bass_sum = 0;
    for (int i = 0; i < FINE_BINS; i++) {
        double angle = 2 * M_PI * (i % FINE) / FINE;
        re += chroma->fine[i] * cos(angle);
        im += chroma->fine[i] * sin(angle);
    }
    if (re == 0 && im == 0) return result;
    double tuning = atan2(im, re) / (2 * M_PI);
    result.tuning_cents = 100 * tuning;
    fold(chroma->fine, tuning, whole);
    fold(chroma->fine_bass, tuning, bass);
    for (int i = 0; i < CHROMA_BINS; i++) {
        sum += whole[i];
        bass_sum += bass[i];
    }
    if (sum <= 0) return result;
    for (int i = 0; i < CHROMA_BINS; i++) {
        whole[i] /= sum;
        if (bass_sum > 0) whole[i] += BASS_WEIGHT * bass[i] / bass_sum;
    }
    double best = -2, second = -2;
    for (int key = 0; key < 24; key++) {
        double score = correlate(whole, profile[key / 12], key % 12);
        result.score[key] = score;
        if (score > best) {
            second = best;
            best = score;
            result.key = key;
        } else if (score > second) {
            second = score;
        }
    }
    if (best <= 0.1) {
        result.key = -1; /* noise: no class stands out */
        return result;
    }
    double margin = (best - second) / 0.2;
    result.confidence = fmin(1, margin) * fmin(1, best / 0.7);
    return result;
}
