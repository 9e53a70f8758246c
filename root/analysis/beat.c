/* beat: a constant grid where one holds; else the path of strongest onsets at a flexible period.
 *
 * The path is Ellis's dynamic programme (Beat Tracking by Dynamic Programming, 2007) with the period of each
 * moment from tempo_course. Confidence is meant as the probability that the beats are right: it takes a grid
 * that agrees with the onsets in nearly all of the piece, that stands out from them, and whose offbeat is
 * clearly weaker; a path without a grid stays below TEMPO_TRUSTED. */
#include "root/analysis/beat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/beatgrid.h"
#include "root/analysis/tempo.h"

/* cost of an interval wrong by a factor e, squared, in units of the mean novelty peak */
#define STIFFNESS        120.0
#define REACH_S          0.025
#define LEAST_ATTACKS    16
#define LOOSE_S          0.020 /* spread of the attacks about a grid that is none */
#define UNSTEADY_S       0.015 /* spread from which the tempo may move after all */
#define EARLY_S          0.05  /* a beat this much before the first sound is its beat */
#define BEFORE_S         0.02  /* a beat this much before the first sample is on it */
#define LEAST_INTERVAL_S 0.1
#define UNTIMED          0.2   /* trust in the frame of a beat without an attack */
#define OFF_S            0.030 /* from the grid's beats, offbeats and thirds: on none */
#define LEAVE_GAIN       2.2   /* novelty of a region's beats to that of the grid's there */
#define LEFT_SHARE       0.08  /* of the beats in such regions */
#define BORDER_BEATS     8
#define LEAST_STEP       0.6  /* of the shorter period, between two regions */
#define PATH_GAIN        1.1  /* the same of the whole piece */
#define UNSTEADY_MOST    0.45 /* confidence of a path */

static void push(struct beats *beats, size_t *room, double time_s)
{
    if (beats->count == *room) {
        *room = *room ? 2 * *room : 1024;
        beats->time_s = xrealloc(beats->time_s, *room * sizeof *beats->time_s);
    }
    beats->time_s[beats->count++] = time_s;
}

static double clamp(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* One line for the whole piece. A loop's first beat is its first sample; the line may be fitted a little
 * before. */
static void from_grid(struct beats *beats, const struct beatgrid *grid, double from_s, double to_s)
{
    size_t room = 0;
    double early_s = fmax(from_s - EARLY_S, -BEFORE_S);
    double first = ceil((early_s - grid->first_s) / grid->period_s);
    double start_s = grid->first_s + first * grid->period_s;
    for (size_t k = 0;; k++) {
        double t = start_s + (double)k * grid->period_s;
        if (t >= grid->end_s || t > to_s) break;
        push(beats, &room, fmax(0, t));
    }
    beats->bpm = 60 / grid->period_s;
    if (!beats->count) return;
    beats->regions = xmalloc(sizeof *beats->regions);
    beats->regions[0] = (struct region){0, beats->count, start_s, grid->period_s};
    beats->region_count = 1;
}

/* Best last frame of a path, then back along it. */
static void from_path(struct beats *beats, const struct series *novelty, const struct series *course)
{
    size_t n = novelty->count, room = 0;
    float *score = xmalloc(n * sizeof *score);
    int *before = xmalloc(n * sizeof *before);
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)novelty->value[i] * novelty->value[i];
    double unit = sqrt(square / (double)n) + 1e-9;
    for (size_t i = 0; i < n; i++) {
        double period = course->value[i / TEMPO_STEP], best = 0;
        long from = (long)i - lround(period * 1.6), to = (long)i - lround(period * 0.6);
        before[i] = -1;
        for (long j = from < 0 ? 0 : from; j <= to; j++) {
            double wrong = log((double)((long)i - j) / period);
            double value = score[j] - STIFFNESS * wrong * wrong;
            if (before[i] < 0 || value > best) {
                best = value;
                before[i] = (int)j;
            }
        }
        /* a path may begin anywhere */
        if (best < 0) {
            best = 0;
            before[i] = -1;
        }
        score[i] = (float)(best + novelty->value[i] / unit);
    }
    size_t last = n - 1;
    double period = course->value[(n - 1) / TEMPO_STEP];
    for (size_t i = n - 1; i > 0 && (double)(n - i) < period; i--) {
        if (score[i] > score[last]) last = i;
    }
    for (int i = (int)last; i >= 0; i = before[i])
        push(beats, &room, i / ONSET_RATE);
    for (size_t i = 0; i < beats->count / 2; i++) {
        double t = beats->time_s[i];
        beats->time_s[i] = beats->time_s[beats->count - 1 - i];
        beats->time_s[beats->count - 1 - i] = t;
    }
    free(score);
    free(before);
}

/* Novelty of so many beats of a line, above what a beat must bring to be one. */
static double worth(const struct series *novelty, double start_s, double period_s, long beats, double least)
{
    double sum = 0;
    for (long i = 0; i < beats; i++)
        sum += clues_accent(novelty, start_s + (double)i * period_s) - least;
    return sum;
}

/* Moves the border between two regions to where both together find the most; the path is slow to follow. */
static void settle_border(struct region *a, struct region *b, const struct series *novelty, double least)
{
    double best = -INFINITY;
    long best_more = 0, best_early = 0;
    for (long more = -BORDER_BEATS; more <= BORDER_BEATS; more++) {
        long beats = (long)a->beats + more;
        if (beats < REGION_BEATS) continue;
        /* the first beat of b that is no nearer to the last of a than most of an interval */
        double after_s =
            a->start_s + ((double)beats - 1) * a->period_s + LEAST_STEP * fmin(a->period_s, b->period_s);
        long early = (long)floor((b->start_s - after_s) / b->period_s);
        if ((long)b->beats + early < REGION_BEATS || labs(early) > 2 * BORDER_BEATS) continue;
        long from = (long)a->beats - BORDER_BEATS;
        double value =
            worth(novelty, a->start_s + (double)from * a->period_s, a->period_s, beats - from, least) +
            worth(novelty, b->start_s - (double)early * b->period_s, b->period_s, early + 3 * BORDER_BEATS,
                  least);
        if (value > best) {
            best = value;
            best_more = more;
            best_early = early;
        }
    }
    if (isinf(best)) return;
    a->beats = (size_t)((long)a->beats + best_more);
    b->beats = (size_t)((long)b->beats + best_early);
    b->start_s -= (double)best_early * b->period_s;
}

/* Beats outside are dropped, the others timed by their attacks; regions are fitted to them, and the beats are
 * those of the regions. */
static void fit_path(struct beats *beats, const struct onset_curves *curves, const struct series *novelty,
                     double from_s, double to_s)
{
    double *trust = xmalloc((beats->count + 1) * sizeof *trust), heights = 0;
    size_t kept = 0, room = 0;
    for (size_t i = 0; i < beats->count; i++) {
        double height, t = beats->time_s[i], attack = beatgrid_attack(curves, t, REACH_S, &height);
        if (t < from_s - EARLY_S || t > to_s) continue;
        if (!isnan(attack)) t = attack;
        /* neighbours may have been timed by the same attack */
        if (kept && t <= beats->time_s[kept - 1] + LEAST_INTERVAL_S) continue;
        heights += clues_accent(novelty, t);
        trust[kept] = isnan(attack) ? UNTIMED : 1;
        beats->time_s[kept++] = t;
    }
    beats->regions = regions_fit(beats->time_s, trust, kept, &beats->region_count);
    free(trust);
    for (size_t r = 0; r + 1 < beats->region_count; r++) {
        settle_border(&beats->regions[r], &beats->regions[r + 1], novelty, 0.5 * heights / (double)kept);
    }
    free(beats->time_s);
    beats->time_s = NULL;
    beats->count = 0;
    for (size_t r = 0; r < beats->region_count; r++) {
        struct region *region = &beats->regions[r];
        region->first_beat = beats->count;
        for (size_t i = 0; i < region->beats; i++)
            push(beats, &room, region->start_s + (double)i * region->period_s);
    }
}

static int by_period(const void *a, const void *b)
{
    const struct region *x = a, *y = b;
    return (x->period_s > y->period_s) - (x->period_s < y->period_s);
}

/* The tempo of the middle one of the beats, ordered by theirs. */
static double path_bpm(const struct beats *beats)
{
    if (!beats->region_count) return NAN;
    struct region *sorted = xmalloc(beats->region_count * sizeof *sorted);
    memcpy(sorted, beats->regions, beats->region_count * sizeof *sorted);
    qsort(sorted, beats->region_count, sizeof *sorted, by_period);
    size_t r = 0, seen = sorted[0].beats;
    while (seen <= beats->count / 2 && r + 1 < beats->region_count)
        seen += sorted[++r].beats;
    double bpm = 60 / sorted[r].period_s;
    free(sorted);
    return bpm;
}

static double grid_confidence(const struct beatgrid *grid)
{
    if (grid->attacks < LEAST_ATTACKS) return 0;
    double held = clamp((grid->support - 0.55) / 0.35);
    double clear = clamp((grid->contrast - 1.5) / 2.0);
    double sided = 0.55 + 0.45 * clamp(grid->margin / 0.6);
    double tight = clamp((LOOSE_S - grid->spread_s) / (LOOSE_S / 2));
    return held * clear * sided * tight;
}

/* Mean novelty on the beats. */
static double height_of(const struct beats *beats, const struct series *novelty)
{
    double sum = 0;
    for (size_t i = 0; i < beats->count; i++)
        sum += clues_accent(novelty, beats->time_s[i]);
    return beats->count ? sum / (double)beats->count : 0;
}

/* Whether a region of the path leaves the grid and finds clearly more than it does. That the path hops to the
 * offbeats, straight or swung, which are often the louder ones, is no reason to leave a grid. */
static int leaves(const struct region *region, const struct beats *path, const struct beats *constant,
                  const struct beatgrid *grid, const struct series *novelty)
{
    const double *t = path->time_s + region->first_beat;
    double on_path = 0, on_grid = 0;
    size_t off = 0, of_grid = 0;
    for (size_t i = 0; i < region->beats; i++) {
        double place = (t[i] - grid->first_s) / grid->period_s;
        off += fmin(fabs(2 * place - round(2 * place)) / 2, fabs(3 * place - round(3 * place)) / 3) *
                   grid->period_s >
               OFF_S;
        on_path += clues_accent(novelty, t[i]);
    }
    for (size_t i = 0; i < constant->count; i++) {
        if (constant->time_s[i] < t[0] - OFF_S || constant->time_s[i] > t[region->beats - 1] + OFF_S)
            continue;
        on_grid += clues_accent(novelty, constant->time_s[i]);
        of_grid++;
    }
    return of_grid && off > region->beats / 2 &&
           on_path / (double)region->beats > LEAVE_GAIN * on_grid / (double)of_grid;
}

/* Whether the piece keeps one tempo. A path can always follow syncopations and the grid's errors, so it must
 * be clearly better: in some regions that leave the grid or, where the attacks scatter about the grid,
 * altogether. */
static int is_constant(const struct beatgrid *grid, const struct beats *constant, const struct beats *path,
                       const struct series *novelty)
{
    size_t left = 0;
    for (size_t r = 0; r < path->region_count; r++) {
        if (leaves(&path->regions[r], path, constant, grid, novelty)) left += path->regions[r].beats;
    }
    if ((double)left > LEFT_SHARE * (double)path->count) return 0;
    if (grid->support >= BEATGRID_STEADY && !(grid->spread_s > UNSTEADY_S)) return 1;
    return height_of(path, novelty) < PATH_GAIN * height_of(constant, novelty);
}

struct beats beats_find(const struct clues *clues, double from_s, double to_s)
{
    const struct series *novelty = &clues->novelty;
    struct beats constant = {.bpm = NAN}, path = {.bpm = NAN};
    double period = tempo_period(&clues->correlation);
    if (period <= 0) return constant;
    struct beatgrid grid = beatgrid_fit(clues, period);
    from_grid(&constant, &grid, from_s, to_s);
    constant.confidence = grid_confidence(&grid);
    struct series course = tempo_course(novelty, period);
    from_path(&path, novelty, &course);
    series_free(&course);
    fit_path(&path, clues->curves, novelty, from_s, to_s);
    path.bpm = path_bpm(&path);
    path.confidence = fmin(UNSTEADY_MOST, grid_confidence(&grid));
    if (is_constant(&grid, &constant, &path, novelty)) {
        beats_free(&path);
        return constant;
    }
    beats_free(&constant);
    return path;
}

void beats_free(struct beats *beats)
{
    free(beats->time_s);
    free(beats->regions);
    *beats = (struct beats){.bpm = NAN};
}
