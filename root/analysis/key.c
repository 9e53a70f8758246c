/* key: which of 24 keys, from the pitch classes of the whole piece.
 *
 * Spectral peaks between 55 and 3500 Hz are placed by parabolic interpolation and summed into pitch classes a
 * tenth of a semitone fine (as in Gomez, Tonal Description of Polyphonic Audio, 2006). A peak counts by its
 * magnitude over the square root of that of the spectrum around it, two semitones to either side: half-way to
 * a white spectrum, which keeps drums and noise, which are broad, from drowning notes, and yet raises no
 * noise to a note. From 500 Hz up peaks count less the higher they are: most of those are overtones.
 *
 * The tuning is the phase of that histogram's first circular moment within a semitone. At the end the twelve
 * classes are correlated with key profiles rotated to each tonic. The profiles are those of Faraldo, Jorda
 * and Herrera (A multi-profile method for key estimation in EDM, 2017), in which the classes foreign to the
 * key are nothing at all: neither mode gains by a chroma that is merely flat. The bass counts once more on
 * its own, because it names the tonic more often than not. Weights are round numbers in the middle of what
 * did alike on pieces of other packages than those that the benchmark (tests/bench/ears/keys.py) tests on. */
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
#define FULL_HZ   500.0 /* above, a peak counts in inverse proportion to its frequency */
#define AROUND    1.12  /* the spectrum around a peak: to this ratio below and above */
#define FLOOR     1e-5f /* of full scale: below lies no note */

struct chroma {
    struct frames frames;
    struct fft *fft;
    float *window, *work, *power;
    double *below; /* sum of the square roots of the magnitudes of all bins before */
    struct series rows, bass, tonality;
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

/* Of A against 440 Hz, in semitones from -0.5 to 0.5; 0 without any note. */
static double tuning_of(const double *fine)
{
    double re = 0, im = 0;
    for (int i = 0; i < FINE_BINS; i++) {
        double angle = 2 * M_PI * (i % FINE) / FINE;
        re += fine[i] * cos(angle);
        im += fine[i] * sin(angle);
    }
    return re == 0 && im == 0 ? 0 : atan2(im, re) / (2 * M_PI);
}

/* The row's length before it became 1. */
static double push_row(struct series *series, const double *fine, double tuning)
{
    double row[CHROMA_BINS], norm = 0;
    fold(fine, tuning, row);
    for (int i = 0; i < CHROMA_BINS; i++)
        norm += row[i] * row[i];
    norm = sqrt(norm);
    for (int i = 0; i < CHROMA_BINS; i++)
        series_push(series, norm > 0 ? (float)(row[i] / norm) : 0);
    return norm;
}

/* The peaks of one frame's spectrum, as they count. */
static void add_peaks(struct chroma *chroma, double *whole, double *bass)
{
    const float *p = chroma->power;
    double *below = chroma->below;
    size_t from = (size_t)(FROM_HZ / PCM_RATE * WINDOW), to = (size_t)(TO_HZ / PCM_RATE * WINDOW);
    below[0] = 0;
    for (size_t k = 0; k < (size_t)((double)to * AROUND) + 3; k++)
        below[k + 1] = below[k] + sqrtf(sqrtf(p[k]));
    for (size_t k = from; k < to; k++) {
        if (p[k] <= p[k - 1] || p[k] < p[k + 1] || p[k] < FLOOR * FLOOR) continue;
        double a = log(p[k - 1] + 1e-20), b = log(p[k]), c = log(p[k + 1] + 1e-20);
        double offset = 0.5 * (a - c) / (a - 2 * b + c);
        double hz = ((double)k + offset) * PCM_RATE / WINDOW;
        double pitch = 12 * log2(hz / 440) + 69;
        size_t low = (size_t)((double)k / AROUND) - 2, high = (size_t)((double)k * AROUND) + 3;
        double around = (below[high] - below[low]) / (double)(high - low);
        double weight = sqrt(p[k]) / around;
        if (hz > FULL_HZ) weight *= FULL_HZ / hz;
        add_peak(whole, pitch, weight);
        if (hz < BASS_HZ) add_peak(bass, pitch, weight);
    }
}

static void take(void *context, const float *samples)
{
    struct chroma *chroma = context;
    double whole[FINE_BINS] = {0}, bass[FINE_BINS] = {0};
    for (size_t i = 0; i < WINDOW; i++)
        chroma->work[i] = samples[i] * chroma->window[i];
    fft_power(chroma->fft, chroma->work, chroma->power);
    add_peaks(chroma, whole, bass);
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
    /* by the tuning as far as it is known: within seconds it is */
    double tuning = tuning_of(chroma->fine);
    series_push(&chroma->tonality, (float)push_row(&chroma->rows, whole, tuning));
    push_row(&chroma->bass, bass, tuning);
}

struct chroma *chroma_new(void)
{
    struct chroma *chroma = xcalloc(1, sizeof *chroma);
    chroma->fft = fft_new(WINDOW);
    chroma->window = xmalloc(WINDOW * sizeof(float));
    chroma->work = xmalloc(WINDOW * sizeof(float));
    chroma->power = xmalloc(BINS * sizeof(float));
    chroma->below = xmalloc((BINS + 1) * sizeof *chroma->below);
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
    free(chroma->below);
    series_free(&chroma->rows);
    series_free(&chroma->bass);
    series_free(&chroma->tonality);
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

const struct series *chroma_tonality(const struct chroma *chroma)
{
    return &chroma->tonality;
}

static const double profile[2][CHROMA_BINS] = {
    {1.00, 0, 0.42, 0, 0.53, 0.37, 0, 0.77, 0, 0.38, 0.21, 0.30},
    {1.00, 0, 0.36, 0.39, 0, 0.38, 0, 0.74, 0.27, 0, 0.42, 0.23},
};
#define BASS_WEIGHT 0.3
#define SURE_LEAD                                                                                            \
    0.15 /* over the second best: of 116 renderings with a known key, from here on 98 % were right */

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
    double whole[CHROMA_BINS], bass[CHROMA_BINS], sum = 0, bass_sum = 0;
    double tuning = tuning_of(chroma->fine);
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
    double margin = (best - second) / SURE_LEAD;
    result.confidence = fmin(1, margin) * fmin(1, best / 0.7);
    return result;
}
