#include "root/analysis/clues.h"

#include <math.h>
#include <string.h>

#include "root/analysis/key.h"
#include "root/analysis/novelty.h"
#include "root/analysis/tempo.h"

#define REACH      2 /* frames */
#define LEAST_ODDS (-6.0)

double clues_accent(const struct series *flux, double time_s)
{
    long centre = lround(time_s * ONSET_RATE);
    double most = 0;
    for (long i = centre - REACH; i <= centre + REACH; i++) {
        if (i >= 0 && i < (long)flux->count) most = fmax(most, flux->value[i]);
    }
    return most;
}

double clues_odds(const struct clues *clues, enum net_output which, double time_s)
{
    long centre = lround(time_s * NET_RATE);
    const struct series *odds = &clues->odds->of[which];
    double most = LEAST_ODDS;
    for (long i = centre - 1; i <= centre + 1; i++) {
        if (i >= 0 && i < (long)odds->count) most = fmax(most, odds->value[i]);
    }
    return most;
}

double clues_change(const struct series *change, double time_s)
{
    double place = time_s * CHROMA_RATE + 0.5, low = floor(place);
    long i = (long)low;
    if (i < 0 || i + 1 >= (long)change->count) return 0;
    return change->value[i] + (place - low) * (change->value[i + 1] - change->value[i]);
}

void rows_mean(const struct series *rows, int dims, double rate, double from_s, double to_s, double *out)
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

static double mean_of(const struct series *x)
{
    double sum = 0;
    for (size_t i = 0; i < x->count; i++)
        sum += x->value[i];
    return x->count ? sum / (double)x->count : 0;
}

void clues_init(struct clues *clues, const struct onset_curves *curves, const struct rows *rows,
                const struct net_odds *odds)
{
    *clues = (struct clues){.rows = *rows, .curves = curves, .odds = odds};
    clues->novelty = novelty_sum(curves);
    clues->correlation = tempo_correlation(&clues->novelty);
    clues->harmony = novelty_harmony(rows->chroma);
    clues->harmony_mean = mean_of(&clues->harmony);
    clues->end_s = (double)clues->novelty.count / ONSET_RATE;
}

void clues_free(struct clues *clues)
{
    series_free(&clues->novelty);
    series_free(&clues->correlation);
    series_free(&clues->harmony);
}
