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

#define STIFFNESS                                                                                            \
    6.0 /* cost of an interval wrong by a factor e, squared, in units of the mean novelty peak */
#define REACH_S       0.025
#define LEAST_ATTACKS 16
#define LOOSE_S       0.020 /* spread of the attacks about a grid that is none */
#define UNSTEADY_S    0.015 /* spread from which the tempo is taken to move after all */
#define EARLY_S       0.05  /* a beat this much before the first sound is its beat */
#define UNSTEADY_MOST 0.45  /* confidence of a path */

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

static void from_grid(struct beats *beats, const struct beatgrid *grid)
{
    size_t room = 0;
    for (size_t k = 0;; k++) {
        double t = grid->first_s + (double)k * grid->period_s;
        if (t >= grid->end_s) break;
        push(beats, &room, t < 0 ? 0 : t);
    }
    beats->bpm = 60 / grid->period_s;
    beats->steady = 1;
}

/* Best last frame of a path, then back along it. */
static void from_path(struct beats *beats, const struct series *novelty, const struct series *course,
                      const struct onset_curves *curves)
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
            double value = score[j] - 20 * STIFFNESS * wrong * wrong;
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
    for (int i = (int)last; i >= 0; i = before[i]) {
        double height, t = i / ONSET_RATE, attack = beatgrid_attack(curves, t, REACH_S, &height);
        push(beats, &room, isnan(attack) ? t : attack);
    }
    for (size_t i = 0; i < beats->count / 2; i++) {
        double t = beats->time_s[i];
        beats->time_s[i] = beats->time_s[beats->count - 1 - i];
        beats->time_s[beats->count - 1 - i] = t;
    }
    /* neighbours may have been timed by the same attack */
    size_t kept = 0;
    for (size_t i = 0; i < beats->count; i++) {
        if (!kept || beats->time_s[i] > beats->time_s[kept - 1] + 0.1)
            beats->time_s[kept++] = beats->time_s[i];
    }
    beats->count = kept;
    free(score);
    free(before);
}

static double path_bpm(const struct beats *beats)
{
    if (beats->count < 3) return NAN;
    double *interval = xmalloc(beats->count * sizeof *interval), middle;
    for (size_t i = 0; i + 1 < beats->count; i++)
        interval[i] = beats->time_s[i + 1] - beats->time_s[i];
    middle = values_quantile(interval, beats->count - 1, 0.5);
    free(interval);
    return 60 / middle;
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

struct beats beats_find(const struct onset_curves *curves, const struct series *novelty,
                        const struct series *harmony)
{
    struct beats beats = {.bpm = NAN};
    double period = tempo_period(novelty);
    if (period <= 0) return beats;
    struct beatgrid grid = beatgrid_fit(curves, novelty, harmony, period);
    if (grid.support >= BEATGRID_STEADY && !(grid.spread_s > UNSTEADY_S)) {
        from_grid(&beats, &grid);
        beats.confidence = grid_confidence(&grid);
        return beats;
    }
    struct series course = tempo_course(novelty, period);
    from_path(&beats, novelty, &course, curves);
    series_free(&course);
    beats.bpm = path_bpm(&beats);
    beats.confidence = fmin(UNSTEADY_MOST, grid_confidence(&grid));
    return beats;
}

void beats_trim(struct beats *beats, double from_s, double to_s)
{
    size_t kept = 0;
    for (size_t i = 0; i < beats->count; i++) {
        if (beats->time_s[i] >= from_s - EARLY_S && beats->time_s[i] <= to_s) {
            beats->time_s[kept++] = beats->time_s[i];
        }
    }
    beats->count = kept;
}

void beats_free(struct beats *beats)
{
    free(beats->time_s);
    *beats = (struct beats){.bpm = NAN};
}
