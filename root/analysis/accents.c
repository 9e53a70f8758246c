/* accents: peaks of the novelty.
 *
 * A peak is the largest value within 30 ms to either side that stands above the mean of the second around it
 * by a share of the piece's own strong onsets (as Boeck, Krebs and Schedl pick theirs, 2012, but from both
 * sides: nothing here is in a hurry). Closer than 30 ms two onsets are heard as one. */
#include "root/analysis/accents.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/analysis/onset.h"

#define APART_FRAMES  5    /* 29 ms */
#define MEAN_FRAMES   86   /* to either side: half a second */
#define ABOVE_SHARE   0.12 /* of the strong onsets' height */
#define STRONG_SAMPLE 32768
#define STRONG_SHARE  0.98 /* of all frames lie below a strong one */

static int is_peak(const struct series *x, size_t i)
{
    size_t from = i < APART_FRAMES ? 0 : i - APART_FRAMES;
    for (size_t j = from; j <= i + APART_FRAMES && j < x->count; j++) {
        if (x->value[j] > x->value[i] || (x->value[j] == x->value[i] && j < i)) return 0;
    }
    return 1;
}

static double strong_of(const struct series *x)
{
    /* some tens of thousands tell as much as all, and an hour's room is saved */
    size_t n = 0, step = 1 + x->count / STRONG_SAMPLE;
    double *sorted = xmalloc((x->count / step + 1) * sizeof *sorted);
    for (size_t i = 0; i < x->count; i += step)
        sorted[n++] = x->value[i];
    double strong = values_quantile(sorted, n, STRONG_SHARE);
    free(sorted);
    return strong;
}

struct accents accents_find(const struct series *novelty)
{
    struct accents found = {0};
    size_t room = 0, n = novelty->count;
    double above = ABOVE_SHARE * strong_of(novelty), sum = 0;
    for (size_t i = 0; i < MEAN_FRAMES && i < n; i++)
        sum += novelty->value[i];
    for (size_t i = 0; i < n; i++) {
        if (i + MEAN_FRAMES < n) sum += novelty->value[i + MEAN_FRAMES];
        if (i > MEAN_FRAMES) sum -= novelty->value[i - MEAN_FRAMES - 1];
        double value = novelty->value[i];
        if (value <= 0 || value < sum / (2 * MEAN_FRAMES + 1) + above || !is_peak(novelty, i)) continue;
        if (found.count == room) {
            room = room ? room + room / 2 : 256;
            found.time_s = xrealloc(found.time_s, room * sizeof *found.time_s);
        }
        found.time_s[found.count++] = (double)i / ONSET_RATE;
    }
    return found;
}

static size_t first_from(const struct accents *accents, double from_s)
{
    size_t low = 0, high = accents->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (accents->time_s[middle] < from_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t accents_between(const struct accents *accents, double from_s, double to_s)
{
    size_t from = first_from(accents, from_s), to = first_from(accents, to_s);
    return to > from ? to - from : 0;
}
