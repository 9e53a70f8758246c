/* downbeat: one decision from the whole piece.
 *
 * What marks places in a bar (the kick, the snare, hats, a change of harmony, of the bass note, of texture, a
 * new section) is measured at every beat, standardised over the piece and averaged along each possible bar
 * phase (the fixed trajectories of Vande Veire and De Bie, From raw audio to a seamless mix, 2018). Where the
 * bar has four beats each of its places has weights of its own, for kick and snare take turns; otherwise the
 * first beat is set against all others. A piece that begins on a beat most likely begins a bar with it. */
#include "root/analysis/downbeat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/key.h"
#include "root/analysis/metre.h"
#include "root/analysis/timbre.h"

#define LEAST_BEATS 16
#define MOST        3.0 /* standard deviations */
#define BEGIN_S     0.1 /* a beat this near to the first sample is what the piece begins with */
#define BEGIN_LEAD  1.2 /* log odds: and most pieces begin with a bar */

/* Of beat k; the last is as long as the one before. */
static double length_s(const struct beats *beats, size_t k)
{
    if (k + 1 == beats->count) k--;
    return beats->time_s[k + 1] - beats->time_s[k];
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

static double harmony_change(const struct series *rows, double t, double reach_s)
{
    double before[CHROMA_BINS], after[CHROMA_BINS];
    rows_mean(rows, CHROMA_BINS, CHROMA_RATE, t - reach_s, t, before);
    rows_mean(rows, CHROMA_BINS, CHROMA_RATE, t, t + reach_s, after);
    return angle(before, after, CHROMA_BINS);
}

static double texture_change(const struct series *rows, double t, double reach_s)
{
    double before[TEXTURE_DIMS], after[TEXTURE_DIMS];
    rows_mean(rows, TEXTURE_DIMS, TEXTURE_RATE, t - reach_s, t, before);
    rows_mean(rows, TEXTURE_DIMS, TEXTURE_RATE, t, t + reach_s, after);
    return distance(before, after, TEXTURE_MFCC);
}

static void measure(const struct beats *beats, size_t k, const struct clues *clues, double *out)
{
    const struct rows *rows = &clues->rows;
    const struct series *flux = clues->curves->flux;
    double t = beats->time_s[k], beat = length_s(beats, k);
    out[MARK_KICK] = clues_accent(&flux[0], t);
    out[MARK_BASS] = clues_accent(&flux[1], t);
    out[MARK_SNARE] = clues_accent(&flux[2], t);
    out[MARK_HAT] = clues_accent(&flux[3], t);
    out[MARK_HARMONY] = harmony_change(rows->chroma, t, beat);
    out[MARK_BASS_NOTE] = harmony_change(rows->bass, t, beat);
    out[MARK_HARMONY_LONG] = harmony_change(rows->chroma, t, 2 * beat);
    out[MARK_TEXTURE] = texture_change(rows->texture, t, 4 * beat);
    out[MARK_SECTION] = texture_change(rows->texture, t, 16 * beat);
}

void downbeats_profile(const struct beats *beats, const struct clues *clues, int metre,
                       double place[DOWNBEAT_MARKS][DOWNBEAT_PLACES])
{
    size_t n = beats->count, m = (size_t)metre;
    double *mark = xmalloc(n * DOWNBEAT_MARKS * sizeof *mark);
    for (size_t k = 0; k < n; k++)
        measure(beats, k, clues, mark + k * DOWNBEAT_MARKS);
    for (int i = 0; i < DOWNBEAT_MARKS; i++) {
        double mean = 0, square = 0;
        for (size_t k = 0; k < n; k++) {
            mean += mark[k * DOWNBEAT_MARKS + (size_t)i] / (double)n;
            square += mark[k * DOWNBEAT_MARKS + (size_t)i] * mark[k * DOWNBEAT_MARKS + (size_t)i] / (double)n;
        }
        double deviation = sqrt(fmax(0, square - mean * mean)) + 1e-9;
        for (size_t p = 0; p < m; p++) {
            place[i][p] = 0;
            for (size_t k = p; k < n; k += m)
                place[i][p] += fmin((mark[k * DOWNBEAT_MARKS + (size_t)i] - mean) / deviation, MOST);
            place[i][p] /= (double)((n - p + m - 1) / m);
        }
    }
    free(mark);
}

/* What speaks for the bars beginning at a place. */
static double bar_score(double place[DOWNBEAT_MARKS][DOWNBEAT_PLACES], int metre, int first)
{
    /* logistic regression, as in level.c */
    static const double weight[DOWNBEAT_MARKS][4] = {
        [MARK_KICK] = {0.75, -0.50, 0.34, -0.47},         [MARK_BASS] = {0.32, -0.27, -0.01, 0.04},
        [MARK_SNARE] = {-0.23, 0.03, -0.17, 0.41},        [MARK_HAT] = {0.09, 0.09, -0.24, 0.02},
        [MARK_HARMONY] = {0.82, -0.22, -0.23, -0.34},     [MARK_BASS_NOTE] = {0.29, -0.19, -0.19, 0.09},
        [MARK_HARMONY_LONG] = {1.09, 0.10, -0.96, -0.14}, [MARK_TEXTURE] = {0.18, -0.19, 0.01, 0.04},
        [MARK_SECTION] = {0.07, -0.10, -0.05, 0.08},
    };
    double sum = 0;
    for (int i = 0; i < DOWNBEAT_MARKS; i++) {
        for (int p = 0; p < 4; p++) {
            if (metre == 4 || p == 0) sum += weight[i][p] * place[i][(first + p) % metre];
        }
    }
    return sum;
}

struct downbeats downbeats_find(const struct beats *beats, const struct clues *clues)
{
    struct downbeats result = {0};
    if (beats->count < LEAST_BEATS) return result;
    double likeness[METRE_LAGS], place[DOWNBEAT_MARKS][DOWNBEAT_PLACES], best = -INFINITY;
    metre_likeness(clues, beats->time_s, beats->count, likeness);
    result.metre = metre_of(likeness);
    downbeats_profile(beats, clues, result.metre, place);
    for (int first = 0; first < result.metre; first++) {
        double score = bar_score(place, result.metre, first);
        if (first == 0 && beats->time_s[0] <= BEGIN_S) score += BEGIN_LEAD;
        if (score > best) {
            best = score;
            result.first = (size_t)first;
        }
    }
    return result;
}
