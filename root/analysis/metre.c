/* metre: a bar is as long as the distance at which everything comes again.
 *
 * Each beat is described by its accents, chroma, bass and timbre; the likeness of beats at each distance is
 * averaged over the piece (a beat-synchronous self-similarity; Foote, Uchihashi, The beat spectrum, 2001). A
 * metre is worth what the multiples of its bar, up to 64 beats, have more of it than all distances: music in
 * four repeats at 8, 16 and 32 beats rather than at 6, 12 and 24. It is one decision for the whole piece,
 * and four is given up for a clear lead only. */
#include "root/analysis/metre.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/key.h"
#include "root/analysis/timbre.h"

#define ACCENTS    (2 * ONSET_BANDS) /* on the beat and half way to the next */
#define FROM_KEY   ACCENTS
#define FROM_BASS  (FROM_KEY + CHROMA_BINS)
#define FROM_MFCC  (FROM_BASS + CHROMA_BINS)
#define DIMS       (FROM_MFCC + TEXTURE_MFCC)
#define MOST       3.0  /* standard deviations */
#define METRE_MOST 4096 /* beats that are looked at */
#define LEAD       0.02 /* of another metre over four */
#define HALF_BARS  0.4  /* of the worth of six: three less than that is no bar */

static void describe(const struct clues *clues, double t, double length, float *out)
{
    const struct rows *rows = &clues->rows;
    double mean[TEXTURE_DIMS];
    for (int b = 0; b < ONSET_BANDS; b++) {
        out[b] = (float)clues_accent(&clues->curves->flux[b], t);
        out[ONSET_BANDS + b] = (float)clues_accent(&clues->curves->flux[b], t + length / 2);
    }
    rows_mean(rows->chroma, CHROMA_BINS, CHROMA_RATE, t, t + length, mean);
    for (int i = 0; i < CHROMA_BINS; i++)
        out[FROM_KEY + i] = (float)mean[i];
    rows_mean(rows->bass, CHROMA_BINS, CHROMA_RATE, t, t + length, mean);
    for (int i = 0; i < CHROMA_BINS; i++)
        out[FROM_BASS + i] = (float)mean[i];
    rows_mean(rows->texture, TEXTURE_DIMS, TEXTURE_RATE, t, t + length, mean);
    for (int i = 0; i < TEXTURE_MFCC; i++)
        out[FROM_MFCC + i] = (float)mean[i];
}

/* Centres each dimension and scales it, so that the four kinds weigh alike. */
static void standardise(float *x, size_t n)
{
    static const int from[5] = {0, FROM_KEY, FROM_BASS, FROM_MFCC, DIMS};
    for (int kind = 0; kind < 4; kind++) {
        for (int d = from[kind]; d < from[kind + 1]; d++) {
            double mean = 0, square = 0, weight = 0.5 / sqrt(from[kind + 1] - from[kind]);
            for (size_t k = 0; k < n; k++)
                mean += x[k * DIMS + (size_t)d] / (double)n;
            for (size_t k = 0; k < n; k++)
                square += pow(x[k * DIMS + (size_t)d] - mean, 2) / (double)n;
            double deviation = sqrt(square) + 1e-9;
            for (size_t k = 0; k < n; k++) {
                double z = (x[k * DIMS + (size_t)d] - mean) / deviation;
                x[k * DIMS + (size_t)d] = (float)(weight * fmax(-MOST, fmin(MOST, z)));
            }
        }
    }
}

void metre_likeness(const struct clues *clues, const double *time_s, size_t beats,
                    double likeness[METRE_LAGS])
{
    size_t n = beats < METRE_MOST ? beats : METRE_MOST;
    float *x = xmalloc(n * DIMS * sizeof *x);
    for (size_t k = 0; k < n; k++) {
        size_t j = k + 1 < beats ? k : k - 1;
        describe(clues, time_s[k], time_s[j + 1] - time_s[j], x + k * DIMS);
    }
    standardise(x, n);
    for (size_t lag = 1; lag <= METRE_LAGS; lag++) {
        double sum = 0;
        for (size_t k = 0; k + lag < n; k++) {
            for (int d = 0; d < DIMS; d++)
                sum += x[k * DIMS + (size_t)d] * x[(k + lag) * DIMS + (size_t)d];
        }
        likeness[lag - 1] = n > lag + METRE_LAGS / 8 ? sum / (double)(n - lag) : 0;
    }
    free(x);
}

/* How much more alike than any beats are those a multiple of so many beats apart. */
double metre_worth(const double likeness[METRE_LAGS], int beats)
{
    double sum = 0, all = 0;
    int multiples = METRE_LAGS / beats;
    for (int m = 1; m <= multiples; m++)
        sum += likeness[m * beats - 1];
    for (int i = 0; i < METRE_LAGS; i++)
        all += likeness[i];
    return sum / multiples - all / METRE_LAGS;
}

int metre_of(const double likeness[METRE_LAGS])
{
    /* two bars of either are worth as much as one */
    double best = fmax(metre_worth(likeness, 4), metre_worth(likeness, 8)) + LEAD;
    double three = metre_worth(likeness, 3), six = metre_worth(likeness, 6), five = metre_worth(likeness, 5),
           seven = metre_worth(likeness, 7);
    int metre = 4;
    if (fmax(three, six) > best) {
        best = fmax(three, six);
        metre = three < HALF_BARS * six ? 6 : 3;
    }
    if (five > best) {
        best = five;
        metre = 5;
    }
    return seven > best ? 7 : metre;
}
