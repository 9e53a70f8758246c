/* level: beat, offbeat, half or double of it.
 *
 * A few things that speak for a level are weighed by a conditional logistic regression over the candidates of
 * each piece (McFadden, Conditional logit analysis, 1974). Strength is none of them: hats and basses between
 * the beats are often louder than what is on them. What tells is where the harmony changes, that kick and
 * snare take turns, what the network hears, and how usual the tempo is. One thing the regression cannot know
 * for want of slow pieces is set by hand: a fast level whose every second beat lacks kick, bass and snare. */
#include "root/analysis/level.h"

#include <math.h>

#include "root/analysis/tempo.h"

#define FLOOR         0.2   /* of the mean change */
#define USUAL_BPM     120.0 /* Moelants, Preferred tempo reconsidered, 2002 */
#define USUAL_OCTAVES 0.5
#define BODY          3   /* kick, bass, snare; not the hats */
#define BARE          0.5 /* alternation from which every second beat is none */
#define BARE_FROM_BPM 115.0

static double ratio(double value, double mean)
{
    return log((value + FLOOR * mean + 1e-9) / (mean + 1e-9));
}

/* Mean accent at places `shift` periods after the beats. */
static double accent_at(const struct clues *clues, int band, const struct level *level, double shift)
{
    double sum = 0, first = level->first_s + shift * level->period_s;
    size_t count = 0;
    for (double t = first; t < clues->end_s; t = first + (double)++count * level->period_s)
        sum += clues_accent(&clues->curves->flux[band], t);
    return count ? sum / (double)count : 0;
}

/* Change of harmony on the beats of the best of four bar phases. */
static double change_at(const struct clues *clues, const struct level *level)
{
    double sum[4] = {0}, most = 0;
    size_t count = 0;
    for (double t = level->first_s; t < clues->end_s; t = level->first_s + (double)++count * level->period_s)
        sum[count % 4] += clues_change(&clues->harmony, t);
    for (int i = 0; i < 4; i++)
        most = fmax(most, sum[i]);
    return ratio(4 * most / (double)count, clues->harmony_mean);
}

static double turn(double even, double odd)
{
    return (even - odd) / (even + odd + 1e-9);
}

static double backbeat(const struct clues *clues, const struct level *level)
{
    struct level pair = {level->first_s, 2 * level->period_s};
    double kick = turn(accent_at(clues, 0, &pair, 0), accent_at(clues, 0, &pair, 0.5));
    double snare = turn(accent_at(clues, 2, &pair, 0), accent_at(clues, 2, &pair, 0.5));
    return -kick * snare;
}

/* How much every second beat differs in kick, bass and snare from its neighbours: 0 alike, 1 = they are bare.
 * (A kick on one beat and a snare on the next are both strong, each in its own band.) */
static double alternation(const struct clues *clues, const struct level *level)
{
    double mean[BODY], sum[2] = {0};
    size_t count = 0;
    for (int b = 0; b < BODY; b++)
        mean[b] = accent_at(clues, b, level, 0);
    for (double t = level->first_s; t < clues->end_s;
         t = level->first_s + (double)++count * level->period_s) {
        double most = 0;
        for (int b = 0; b < BODY; b++) {
            if (mean[b] > 0) most = fmax(most, clues_accent(&clues->curves->flux[b], t) / mean[b]);
        }
        sum[count % 2] += most;
    }
    return fabs(turn(sum[0], sum[1]));
}

/* The network's odds: on all beats and on those of the best of four bar phases. */
static void odds_at(const struct clues *clues, enum net_output which, const struct level *level, double *best,
                    double *all)
{
    double sum[4] = {0}, total = 0;
    size_t count = 0;
    for (double t = level->first_s; t < clues->end_s; t = level->first_s + (double)++count * level->period_s)
        sum[count % 4] += clues_odds(clues, which, t);
    *best = -INFINITY;
    for (size_t i = 0; i < 4; i++) {
        *best = fmax(*best, sum[i] / ((double)(count - i + 3) / 4));
        total += sum[i];
    }
    *all = total / (double)count;
}

int level_features(const struct clues *clues, const struct level *level, int found,
                   double out[LEVEL_FEATURES])
{
    double period_s = level->period_s, octaves = log2(60 / period_s / USUAL_BPM) / USUAL_OCTAVES, unused;
    if (clues->end_s < 8 * period_s) return -1;
    out[LEVEL_HARMONY] = change_at(clues, level);
    out[LEVEL_BACKBEAT] = backbeat(clues, level);
    odds_at(clues, NET_BEAT, level, &unused, &out[LEVEL_ODDS]);
    odds_at(clues, NET_DOWNBEAT, level, &out[LEVEL_BAR], &unused);
    out[LEVEL_SALIENCE] = log(tempo_salience(&clues->correlation, period_s * ONSET_RATE));
    out[LEVEL_FOUND] = found;
    out[LEVEL_TEMPO] = -0.5 * octaves * octaves;
    out[LEVEL_BARE] = 60 / period_s >= BARE_FROM_BPM && alternation(clues, level) >= BARE;
    return 0;
}

double level_score(const double features[LEVEL_FEATURES])
{
    /* logistic regression over the candidates of pieces with known beats, none of them of the packages that
     * the tests measure on */
    static const double weight[LEVEL_FEATURES] = {
        [LEVEL_HARMONY] = 2.83,  [LEVEL_BACKBEAT] = 2.33, [LEVEL_ODDS] = 0.44,  [LEVEL_BAR] = 0.55,
        [LEVEL_SALIENCE] = 1.17, [LEVEL_FOUND] = 1.89,    [LEVEL_TEMPO] = 0.66, [LEVEL_BARE] = -4,
    };
    double sum = 0;
    for (int i = 0; i < LEVEL_FEATURES; i++)
        sum += weight[i] * features[i];
    return sum;
}
