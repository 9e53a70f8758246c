/* phrase: one decision from the whole piece, as for the downbeats, a level up.
 *
 * Wherever a phrase begins something tends to change: an instrument enters or stops, the harmony turns, a
 * fill is over. How much the next bars differ from those before (levels, onsets, harmony, bass, timbre) is
 * measured at every bar line over reaches of two, four and eight bars, sharpened by what its neighbours have
 * too, and summed along each of the eight possible phases (Vande Veire and De Bie, From raw audio to a
 * seamless mix, 2018, who vote with section boundaries alone). Sums are in standard deviations of what eight
 * phases of as many bars would differ by chance. Most pieces begin with a phrase, which counts as a lead for
 * the first bar: it decides only where the music hardly does. */
#include "root/analysis/phrase.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define PHRASE     8
#define LEAST_BARS (2 * PHRASE)
#define SHARPEN    0.9 /* share of the neighbours' mean that is taken off */
#define START_LEAD 1.5 /* deviations in favour of the first bar */
#define START_SURE 0.8 /* of them, what makes anybody surer */
#define SURE_LEAD  2.0 /* over the runner-up, from where on there is no doubt */

static const size_t reaches[] = {2, 4, 8};
#define REACHES (sizeof reaches / sizeof *reaches)

static void mean_of(const struct barrows *rows, size_t from, size_t to, double *out)
{
    memset(out, 0, BARROW_DIMS * sizeof *out);
    for (size_t b = from; b < to; b++) {
        for (int d = 0; d < BARROW_DIMS; d++)
            out[d] += rows->row[b][d] / (double)(to - from);
    }
}

/* How much bars from b on differ from those before it, within reach; less near the ends, where few bars tell.
 */
static double change_at(const struct barrows *rows, size_t b, size_t reach)
{
    double before[BARROW_DIMS], after[BARROW_DIMS];
    size_t left = rows->count - b, nearest = b < left ? b : left;
    mean_of(rows, b > reach ? b - reach : 0, b, before);
    mean_of(rows, b, left > reach ? b + reach : rows->count, after);
    return barrows_distance(before, after) * fmin(1, 2.0 * (double)nearest / (double)reach);
}

static void sharpen(const double *change, size_t n, double *out)
{
    out[0] = 0;
    for (size_t b = 1; b < n; b++) {
        double right = b + 1 < n ? change[b + 1] : change[b];
        out[b] = fmax(0, change[b] - SHARPEN * 0.5 * (change[b - 1] + right));
    }
}

/* Adds to score[p] how far the mean of phase p lies from the mean of all, in deviations by chance. */
static void vote(const double *x, size_t n, size_t phases, double *score)
{
    double mean = 0, square = 0, means[2 * PHRASE], all = 0;
    for (size_t b = 1; b < n; b++) {
        mean += x[b] / (double)(n - 1);
        square += x[b] * x[b] / (double)(n - 1);
    }
    double deviation = sqrt(fmax(0, square - mean * mean));
    if (deviation < 1e-9) return;
    for (size_t p = 0; p < phases; p++) {
        double sum = 0;
        size_t count = 0;
        for (size_t b = p ? p : phases; b < n; b += phases, count++)
            sum += x[b];
        means[p] = count ? sum / (double)count : 0;
        all += means[p] / (double)phases;
    }
    for (size_t p = 0; p < phases; p++)
        score[p] += (means[p] - all) / deviation * sqrt((double)n / (double)phases) / REACHES;
}

struct phrases phrases_find(const struct barrows *rows)
{
    struct phrases found = {-1, -1, 0};
    size_t n = rows->count;
    if (n < LEAST_BARS) return found;
    double eight[PHRASE] = {START_LEAD}, sixteen[2 * PHRASE] = {START_LEAD};
    double *change = xcalloc(n, sizeof *change), *sharp = xmalloc(n * sizeof *sharp);
    for (size_t r = 0; r < REACHES; r++) {
        for (size_t b = 1; b < n; b++)
            change[b] = change_at(rows, b, reaches[r]);
        sharpen(change, n, sharp);
        vote(sharp, n, PHRASE, eight);
        vote(sharp, n, 2 * PHRASE, sixteen);
    }
    free(change);
    free(sharp);
    double second = -INFINITY;
    found.first8 = 0;
    for (int p = 1; p < PHRASE; p++) {
        if (eight[p] > eight[found.first8]) found.first8 = p;
    }
    for (int p = 0; p < PHRASE; p++) {
        if (p != found.first8) second = fmax(second, eight[p]);
    }
    double lead = eight[found.first8] - second;
    if (found.first8 == 0) lead = fmax(0, lead - (START_LEAD - START_SURE));
    found.confidence = fmin(1, lead / SURE_LEAD);
    int later = sixteen[found.first8 + PHRASE] > sixteen[found.first8];
    found.first16 = n < 2 * LEAST_BARS ? -1 : found.first8 + (later ? PHRASE : 0);
    return found;
}
