/* regions: where a piece has no tempo of its own throughout, it has one for a while.
 *
 * A dynamic programme over the places of the cuts finds the segmentation into straight lines (beat number to
 * time) with the least sum of squared errors and a price for each line (Bellman, On the approximation of
 * curves by line segments, 1961; the price is the penalty of Killick, Fearnhead and Eckley, 2012). Squares
 * suffer from outliers, so a beat that its neighbours contradict counts little in it, and the lines taken in
 * the end are fitted anew by Huber's iteratively reweighted least squares. */
#include "root/analysis/regions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/series.h"

#define NOISE_S     0.008 /* of a beat about its line */
#define PRICE       40.0  /* of a region, in squares of that */
#define NEIGHBOURS  4     /* to either side */
#define ODD_S       0.020 /* from what they say: such a beat counts ODD_SHARE */
#define ODD_SHARE   0.05
#define MOST_PLACES 4000 /* of cuts that are tried: more beats, coarser places */
#define HUBER_S     0.005
#define ROUNDS      8
#define LEAST_STEP  0.4 /* of a period: between the last beat of a region and the first of the next */

/* Weighted sums over points (x, y), with the origin near them. */
struct sums {
    double w, x, y, xx, xy, yy;
};

static void add(struct sums *s, double w, double x, double y)
{
    s->w += w;
    s->x += w * x;
    s->y += w * y;
    s->xx += w * x * x;
    s->xy += w * x * y;
    s->yy += w * y * y;
}

/* The line of least squares; -1 when the points do not tell. */
static int line_of(const struct sums *s, double *at_0, double *slope)
{
    double det = s->w * s->xx - s->x * s->x;
    if (s->w <= 0 || det <= 1e-9 * s->w * s->xx) return -1;
    *slope = (s->w * s->xy - s->x * s->y) / det;
    *at_0 = (s->y - *slope * s->x) / s->w;
    return 0;
}

static double squares(const struct sums *s)
{
    double at_0, slope;
    if (line_of(s, &at_0, &slope)) return 0;
    return fmax(0, s->yy - at_0 * s->y - slope * s->xy);
}

/* What each beat counts. The caller frees. */
static double *weigh(const double *time_s, const double *trust, size_t count)
{
    double *weight = xmalloc(count * sizeof *weight);
    for (size_t k = 0; k < count; k++) {
        double middle[NEIGHBOURS];
        size_t n = 0;
        for (size_t j = 1; j <= NEIGHBOURS && j <= k && k + j < count; j++)
            middle[n++] = (time_s[k - j] + time_s[k + j]) / 2;
        weight[k] = trust[k];
        if (n && fabs(values_quantile(middle, n, 0.5) - time_s[k]) > ODD_S) weight[k] *= ODD_SHARE;
    }
    return weight;
}

/* The best cuts: from[b] is where the region that ends before beat b begins. The caller frees. */
static size_t *cut(const double *time_s, const double *weight, size_t count)
{
    size_t step = 1 + count / MOST_PLACES, *from = xcalloc(count + 1, sizeof *from);
    double *price = xmalloc((count + 1) * sizeof *price);
    for (size_t b = 1; b <= count; b++)
        price[b] = INFINITY;
    price[0] = 0;
    for (size_t a = 0; a + REGION_BEATS <= count; a += step) {
        struct sums s = {0};
        if (isinf(price[a])) continue;
        for (size_t b = a + 1; b <= count; b++) {
            add(&s, weight[b - 1], (double)(b - 1 - a), time_s[b - 1] - time_s[a]);
            if (b < a + REGION_BEATS || (b % step && b < count)) continue;
            double value = price[a] + PRICE + squares(&s) / (NOISE_S * NOISE_S);
            if (value < price[b]) {
                price[b] = value;
                from[b] = a;
            }
        }
    }
    free(price);
    return from;
}

/* Fits the line of a region to its beats. */
static void fit(struct region *region, const double *time_s, const double *weight)
{
    const double *t = time_s + region->first_beat, *w = weight + region->first_beat;
    double at_0 = t[0],
           slope = region->beats > 1 ? (t[region->beats - 1] - t[0]) / (double)(region->beats - 1) : 0.5;
    for (int round = 0; round < ROUNDS; round++) {
        struct sums s = {0};
        for (size_t i = 0; i < region->beats; i++) {
            double off = fabs(t[i] - at_0 - slope * (double)i);
            add(&s, round && off > HUBER_S ? w[i] * HUBER_S / off : w[i], (double)i, t[i] - t[0]);
        }
        double a, b;
        if (line_of(&s, &a, &b) || b <= 0) break;
        at_0 = t[0] + a;
        slope = b;
    }
    region->start_s = at_0;
    region->period_s = slope;
}

static double end_s(const struct region *region)
{
    return region->start_s + (double)(region->beats - 1) * region->period_s;
}

/* Joins regions whose lines overlap; -1 when there are none such. */
static int join(struct region *regions, size_t *count, const double *time_s, const double *weight)
{
    for (size_t r = 0; r + 1 < *count; r++) {
        struct region *a = &regions[r], *b = &regions[r + 1];
        if (b->start_s - end_s(a) >= LEAST_STEP * fmin(a->period_s, b->period_s)) continue;
        a->beats += b->beats;
        memmove(b, b + 1, (*count - r - 2) * sizeof *b);
        (*count)--;
        fit(a, time_s, weight);
        return 0;
    }
    return -1;
}

struct region *regions_fit(double *time_s, const double *trust, size_t count, size_t *region_count)
{
    *region_count = 0;
    if (!count) return NULL;
    double *weight = weigh(time_s, trust, count);
    size_t *from = cut(time_s, weight, count), n = 0, end;
    for (end = count; end; end = from[end])
        n++;
    struct region *regions = xmalloc(n * sizeof *regions);
    end = count;
    for (size_t r = n; r-- > 0; end = from[end])
        regions[r] = (struct region){.first_beat = from[end], .beats = end - from[end]};
    free(from);
    for (size_t r = 0; r < n; r++)
        fit(&regions[r], time_s, weight);
    while (!join(regions, &n, time_s, weight)) {
    }
    free(weight);
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < regions[r].beats; i++)
            time_s[regions[r].first_beat + i] = regions[r].start_s + (double)i * regions[r].period_s;
    }
    *region_count = n;
    return regions;
}
