/* hold: a test at each end of the piece whether its accents still lie where accents lie in it.
 *
 * Where in a beat a piece has its accents, band by band, is a density; each strong accent then says something
 * for the grid or against it: the logarithm of that density to that of accents that lie anywhere. Summed from
 * an end inwards, what speaks against the grid grows as long as the accents miss it and falls as soon as they
 * meet it, so the sum's maximum is where the grid begins to hold (a change point by its cumulative sum: Page,
 * Continuous inspection schemes, 1954). An accent beside a beat that has none, where the beats around do, is
 * a beat that has moved, and counts more. */
#include "root/analysis/hold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define STRONG       0.8   /* of the median accent: what is weaker is texture */
#define PLACE_S      0.003 /* of a beat's places that are told apart, */
#define SPREAD_S     0.008 /* and how widely an accent counts */
#define SPREADS      4     /* to either side */
#define FLOOR        0.1   /* of the density: anything may happen */
#define MOST_FOR     1.5   /* that one accent says for the grid: a last chord may meet it by chance */
#define NEAR_S       0.030 /* of a beat: its accent */
#define BEATS_AROUND 16
#define MOVED_MOST   1.5
#define MOVED_FROM   (-0.5)
#define BY_CHANCE    0.7 /* share of the beats that have no accent where there is no grid */
#define LEAST        2.5 /* sum from which the end is lost, */
#define LEAST_COUNT  2   /* of so many accents */
#define LEAST_BEATS  1.0 /* over so much time */
#define LEAST_ALL    32  /* accents and beats: fewer are no density */

struct accent {
    double time_s, weight[ONSET_BANDS], says;
};

struct piece {
    struct accent *accents;
    size_t count, places;
    double *density[ONSET_BANDS]; /* of each place, 1 = as anywhere */
    double start_s, period_s;
    uint8_t *heard; /* beat has an accent */
    size_t beats;
};

static const double band_weight[ONSET_BANDS] = {1, 1, 1, 0.6};

static double in_beats(const struct piece *p, double time_s)
{
    return (time_s - p->start_s) / p->period_s;
}

static size_t place_of(const struct piece *p, double time_s)
{
    double at = in_beats(p, time_s);
    return (size_t)((at - floor(at)) * (double)p->places) % p->places;
}

static void take_strong(struct piece *p, const struct clues *clues, const struct accents *accents)
{
    double *height = xmalloc(2 * accents->count * sizeof *height), *sorted = height + accents->count;
    for (size_t i = 0; i < accents->count; i++)
        sorted[i] = height[i] = clues_accent(&clues->novelty, accents->time_s[i]);
    double least = STRONG * values_quantile(sorted, accents->count, 0.5);
    p->accents = xcalloc(accents->count, sizeof *p->accents);
    for (size_t i = 0; i < accents->count; i++) {
        if (height[i] < least) continue;
        struct accent *a = &p->accents[p->count++];
        double sum = 1e-9;
        a->time_s = accents->time_s[i];
        for (int b = 0; b < ONSET_BANDS; b++)
            sum += a->weight[b] = band_weight[b] * clues_accent(&clues->curves->flux[b], a->time_s);
        for (int b = 0; b < ONSET_BANDS; b++)
            a->weight[b] /= sum;
    }
    free(height);
}

/* Where in the beat a band has its accents, smoothed. */
static void estimate(struct piece *p, int band)
{
    double *found = xcalloc(p->places, sizeof *found), all = 1e-9, kernel = 0;
    double spread = SPREAD_S / p->period_s * (double)p->places;
    long reach = (long)(SPREADS * spread), places = (long)p->places;
    p->density[band] = xcalloc(p->places, sizeof *p->density[band]);
    for (size_t i = 0; i < p->count; i++) {
        found[place_of(p, p->accents[i].time_s)] += p->accents[i].weight[band];
        all += p->accents[i].weight[band];
    }
    for (long j = -reach; j <= reach; j++)
        kernel += exp(-0.5 * (double)(j * j) / (spread * spread));
    for (long c = 0; c < places; c++) {
        double sum = 0;
        for (long j = -reach; j <= reach; j++)
            sum +=
                exp(-0.5 * (double)(j * j) / (spread * spread)) * found[((c + j) % places + places) % places];
        p->density[band][c] = sum / kernel * (double)places / all;
    }
    free(found);
}

static void mark_heard(struct piece *p)
{
    p->heard = xcalloc(p->beats, 1);
    for (size_t i = 0; i < p->count; i++) {
        double at = in_beats(p, p->accents[i].time_s), beat = round(at);
        if (beat >= 0 && beat < (double)p->beats && fabs(at - beat) * p->period_s < NEAR_S)
            p->heard[(size_t)beat] = 1;
    }
}

/* Share of the beats with accents on that side of one, where so many are; else 0. */
static double heard_share(const struct piece *p, long beat, int step)
{
    int heard = 0;
    for (int j = 1; j <= BEATS_AROUND; j++) {
        long at = beat + step * j;
        if (at < 0 || at >= (long)p->beats) return 0;
        heard += p->heard[at];
    }
    return (heard + 0.5) / (BEATS_AROUND + 1);
}

/* How much it says that the beat next to an accent has none. */
static double moved(const struct piece *p, const struct accent *a)
{
    double beat = round(in_beats(p, a->time_s));
    if (beat < 0 || beat >= (double)p->beats || p->heard[(size_t)beat]) return 0;
    double share = fmax(heard_share(p, (long)beat, -1), heard_share(p, (long)beat, 1));
    return fmin(MOVED_MOST, fmax(0, log(BY_CHANCE / (1 - share))));
}

static void judge(struct piece *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct accent *a = &p->accents[i];
        size_t place = place_of(p, a->time_s);
        for (int b = 0; b < ONSET_BANDS; b++)
            a->says += a->weight[b] * log((p->density[b][place] + FLOOR) / (1 + FLOOR));
        a->says = fmin(MOST_FOR, a->says);
        if (a->says < MOVED_FROM) a->says -= moved(p, a);
    }
}

/* The innermost accent that an end is lost up to; NAN when it is not. */
static double lost_up_to(const struct piece *p, int from_end)
{
    double sum = 0, most = 0;
    size_t best = 0;
    for (size_t i = 0; i < p->count; i++) {
        sum -= p->accents[from_end ? p->count - 1 - i : i].says;
        if (sum > most) {
            most = sum;
            best = i + 1;
        }
    }
    if (most < LEAST || best < LEAST_COUNT) return NAN;
    const struct accent *outer = &p->accents[from_end ? p->count - 1 : 0];
    const struct accent *inner = &p->accents[from_end ? p->count - best : best - 1];
    return fabs(outer->time_s - inner->time_s) < LEAST_BEATS * p->period_s ? NAN : inner->time_s;
}

static double beat_at(const struct piece *p, double beat)
{
    return fmax(0, p->start_s + beat * p->period_s);
}

struct hold hold_find(const struct beats *beats, const struct clues *clues, const struct accents *accents)
{
    struct hold hold = {NAN, NAN};
    if (beats->region_count != 1 || beats->count < LEAST_ALL || accents->count < LEAST_ALL) return hold;
    struct piece p = {
        .start_s = beats->regions[0].start_s, .period_s = beats->regions[0].period_s, .beats = beats->count};
    p.places = (size_t)lround(p.period_s / PLACE_S);
    take_strong(&p, clues, accents);
    for (int b = 0; b < ONSET_BANDS; b++)
        estimate(&p, b);
    mark_heard(&p);
    judge(&p);
    double head_s = lost_up_to(&p, 0), tail_s = lost_up_to(&p, 1);
    if (isfinite(head_s)) hold.from_s = beat_at(&p, ceil(in_beats(&p, head_s)));
    if (isfinite(tail_s)) hold.to_s = beat_at(&p, floor(in_beats(&p, tail_s)));
    for (int b = 0; b < ONSET_BANDS; b++)
        free(p.density[b]);
    free(p.heard);
    free(p.accents);
    return hold;
}
