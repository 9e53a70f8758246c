/* downbeat: one decision from the whole piece.
 *
 * What marks the first beat of a bar (a change of harmony or of the bass note, the kick, a change of texture;
 * and what marks the second and fourth, the snare) is measured at every beat, standardised over the piece and
 * summed along each possible bar phase (the fixed trajectories of Vande Veire and De Bie, From raw audio to a
 * seamless mix, 2018). The metre is the one at whose multiples these marks repeat. */
#include "root/analysis/downbeat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/key.h"
#include "root/analysis/pulse.h"
#include "root/analysis/timbre.h"

enum mark { KICK, BASS, SNARE, HARMONY, BASS_NOTE, TEXTURE, MARKS };
static const double mark_weight[MARKS] = {0.5, 0.3, -0.4, 1.0, 0.6, 1.0};

#define LEAST_BEATS 16
#define TRIPLE_LEAD 0.05 /* by which three must repeat better than four */

/* Mean row over [from_s, to_s). */
static void mean_row(const struct series *rows, int dims, double rate, double from_s, double to_s,
                     double *out)
{
    long n = (long)(rows->count / (size_t)dims), from = lround(from_s * rate), to = lround(to_s * rate);
    if (from < 0) from = 0;
    if (to <= from) to = from + 1;
    memset(out, 0, (size_t)dims * sizeof *out);
    for (long i = from; i < to && i < n; i++) {
        for (int d = 0; d < dims; d++)
            out[d] += rows->value[i * dims + d] / (double)(to - from);
    }
}

static double angle(const double *a, const double *b, int dims)
{
    double ab = 0, aa = 0, bb = 0;
    for (int d = 0; d < dims; d++) {
        ab += a[d] * b[d];
        aa += a[d] * a[d];
        bb += b[d] * b[d];
    }
    return aa > 0 && bb > 0 ? 1 - ab / sqrt(aa * bb) : 0;
}

static double distance(const double *a, const double *b, int dims)
{
    double sum = 0;
    for (int d = 0; d < dims; d++)
        sum += (a[d] - b[d]) * (a[d] - b[d]);
    return sqrt(sum);
}

static void measure(const struct beats *beats, size_t k, const struct onset_curves *curves,
                    const struct series *chroma, const struct series *bass, const struct series *texture,
                    double *out)
{
    double t = beats->time_s[k];
    double beat = k + 1 < beats->count ? beats->time_s[k + 1] - t : t - beats->time_s[k - 1];
    double before[TEXTURE_DIMS], after[TEXTURE_DIMS];
    out[KICK] = pulse_accent(&curves->flux[0], t);
    out[BASS] = pulse_accent(&curves->flux[1], t);
    out[SNARE] = pulse_accent(&curves->flux[2], t);
    mean_row(chroma, CHROMA_BINS, CHROMA_RATE, t - beat, t, before);
    mean_row(chroma, CHROMA_BINS, CHROMA_RATE, t, t + beat, after);
    out[HARMONY] = angle(before, after, CHROMA_BINS);
    mean_row(bass, CHROMA_BINS, CHROMA_RATE, t - beat, t, before);
    mean_row(bass, CHROMA_BINS, CHROMA_RATE, t, t + beat, after);
    out[BASS_NOTE] = angle(before, after, CHROMA_BINS);
    mean_row(texture, TEXTURE_DIMS, TEXTURE_RATE, t - 4 * beat, t, before);
    mean_row(texture, TEXTURE_DIMS, TEXTURE_RATE, t, t + 4 * beat, after);
    out[TEXTURE] = distance(before, after, TEXTURE_MFCC);
}

/* Sum of the standardised marks of each beat; the caller frees. */
static double *weigh(const struct beats *beats, const struct onset_curves *curves,
                     const struct series *chroma, const struct series *bass, const struct series *texture)
{
    size_t n = beats->count;
    double *mark = xmalloc(n * MARKS * sizeof *mark), *sum = xcalloc(n, sizeof *sum);
    for (size_t k = 0; k < n; k++)
        measure(beats, k, curves, chroma, bass, texture, mark + k * MARKS);
    for (int m = 0; m < MARKS; m++) {
        double mean = 0, square = 0;
        for (size_t k = 0; k < n; k++) {
            mean += mark[k * MARKS + m] / (double)n;
            square += mark[k * MARKS + m] * mark[k * MARKS + m] / (double)n;
        }
        double deviation = sqrt(fmax(0, square - mean * mean));
        for (size_t k = 0; deviation > 0 && k < n; k++) {
            double z = (mark[k * MARKS + m] - mean) / deviation;
            sum[k] += mark_weight[m] * fmin(z, 3);
        }
    }
    free(mark);
    return sum;
}

static double repeats(const double *x, size_t n, size_t lag)
{
    double xy = 0, xx = 1e-12;
    for (size_t k = 0; k + lag < n; k++) {
        xy += x[k] * x[k + lag];
        xx += 0.5 * (x[k] * x[k] + x[k + lag] * x[k + lag]);
    }
    return xy / xx;
}

struct downbeats downbeats_find(const struct beats *beats, const struct onset_curves *curves,
                                const struct series *chroma, const struct series *bass,
                                const struct series *texture)
{
    struct downbeats result = {0};
    if (beats->count < LEAST_BEATS) return result;
    double *sum = weigh(beats, curves, chroma, bass, texture);
    double three = repeats(sum, beats->count, 3) + repeats(sum, beats->count, 6);
    double four = repeats(sum, beats->count, 4) + repeats(sum, beats->count, 8);
    result.metre = three > four + TRIPLE_LEAD ? 3 : 4;
    double best = -INFINITY;
    for (size_t phase = 0; phase < (size_t)result.metre; phase++) {
        double score = 0;
        size_t count = 0;
        for (size_t k = phase; k < beats->count; k += (size_t)result.metre, count++)
            score += sum[k];
        score /= (double)count;
        if (score > best) {
            best = score;
            result.first = phase;
        }
    }
    free(sum);
    return result;
}
