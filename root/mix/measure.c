#include "root/mix/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/audio/pcm.h"

#define BASS_DB        (-9.0)
#define ENVELOPE_HZ    1000
#define SMOOTH         21 /* taps: a Hann window of 20 ms, over a period of the lowest kick */
#define RISE           6  /* ms over which a rise is taken */
#define LAG_MAX        40 /* ms */
#define AGREE_MIN      0.5
#define NEAR           60 /* ms around a beat */
#define DRIFT_BARS     6
#define FOLD           24  /* parts of a beat */
#define BANDS          2   /* the kick's, and what changes fast */
#define LOG_RANGE      300 /* 25 dB below the loudest counts as nothing */
#define ONSETS_MIN     0.5 /* sum of squared rises: one clear onset */
#define SOUND          1e-2f
#define APART_REACH    0.2 /* of a beat: nearer than the next sixteenth */
#define APART_REACH_MS 100.0
#define APART_MS       20  /* that are heard */
#define STRIKE_MIN     0.3 /* of a rise */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile of values, which are sorted in place; linear between neighbours. */
static double quantile(double *values, int count, double q)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    double at = q * (count - 1);
    int low = (int)at;
    return low + 1 < count ? values[low] + (at - low) * (values[low + 1] - values[low]) : values[count - 1];
}

/* --- beats --- */

static size_t low_at(int64_t sample, const struct stem *stem)
{
    size_t at = (size_t)sample / STEM_LOW_BY;
    return at < stem->lows ? at : stem->lows;
}

/* A band's power, a value a millisecond. */
struct power {
    float *values;
    size_t count;
};

/* Of the kick band. */
static struct power low_power(const struct stem *stem)
{
    struct power out = {.count = (size_t)stem->samples * ENVELOPE_HZ / PCM_RATE};
    out.values = xcalloc(out.count + 1, sizeof *out.values);
    for (size_t i = 0; i < out.count; i++) {
        /* squares between the values of the low band, which is sampled every 0.36 ms */
        double at = (double)i * PCM_RATE / ENVELOPE_HZ / STEM_LOW_BY;
        size_t k = (size_t)at;
        double u = at - (double)k;
        if (k + 1 >= stem->lows) break;
        double value = (1 - u) * stem->dry_low[k] + u * stem->dry_low[k + 1];
        out.values[i] = (float)(value * value);
    }
    return out;
}

/* Of what changes fast: claps, hats, the click of a kick. The thinned copy's aliases are welcome, its power
 * is that of the whole sound; its difference weighs it by frequency. */
static struct power high_power(const struct stem *stem)
{
    struct power out = {.count = (size_t)stem->samples * ENVELOPE_HZ / PCM_RATE};
    out.values = xcalloc(out.count + 1, sizeof *out.values);
    for (size_t i = 1; i < stem->thins; i++) {
        float left = stem->thin[2 * i] - stem->thin[2 * i - 2],
              right = stem->thin[2 * i + 1] - stem->thin[2 * i - 1];
        size_t ms = (size_t)((double)i * STEM_THIN * ENVELOPE_HZ / PCM_RATE);
        if (ms < out.count) out.values[ms] += left * left + right * right;
    }
    return out;
}

/* Rises of the smoothed log power, in the place of it. */
static void to_rises(struct power *power)
{
    size_t n = power->count;
    float *smooth = xcalloc(n + 1, sizeof *smooth), peak = 0, weight[SMOOTH];
    for (size_t k = 0; k < SMOOTH; k++)
        weight[k] = 0.5f - 0.5f * cosf(2 * (float)M_PI * (float)(k + 1) / (SMOOTH + 1));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < SMOOTH; k++) {
            size_t at = i + k < SMOOTH / 2 ? 0 : i + k - SMOOTH / 2;
            smooth[i] += weight[k] * power->values[at < n ? at : n - 1];
        }
        if (smooth[i] > peak) peak = smooth[i];
    }
    for (size_t i = 0; i < n; i++) {
        smooth[i] = peak > 0 ? logf(1 + LOG_RANGE * smooth[i] / peak) : 0;
        power->values[i] = i >= RISE ? fmaxf(0, smooth[i] - smooth[i - RISE]) : 0;
    }
    free(smooth);
}

/* What lies between the beats is the arrangement's: only what is near them is compared. */
static void near_beats(struct power *rises, const int64_t *beat, int count)
{
    size_t at = 0;
    for (int k = 0; k <= count; k++) {
        size_t middle = (size_t)beat[k] * ENVELOPE_HZ / PCM_RATE, from = middle > NEAR ? middle - NEAR : 0;
        for (; at < from && at < rises->count; at++)
            rises->values[at] = 0;
        at = middle + NEAR > at ? middle + NEAR : at;
    }
    for (; at < rises->count; at++)
        rises->values[at] = 0;
}

/* The onsets of a band near the beats. */
static struct power onsets(struct power power, const int64_t *beat, int count)
{
    to_rises(&power);
    near_beats(&power, beat, count);
    return power;
}

/* Adds the correlation of both at every lag; 0 when either has nothing in [from, to) ms. */
static int add_scores(const struct power *a, const struct power *b, size_t from, size_t to, double *score)
{
    double aa = 0, bb = 0;
    for (size_t i = from; i < to; i++) {
        aa += a->values[i] * a->values[i];
        bb += b->values[i] * b->values[i];
    }
    if (aa < ONSETS_MIN || bb < ONSETS_MIN) return 0;
    for (int lag = -LAG_MAX; lag <= LAG_MAX; lag++) {
        double sum = 0;
        for (size_t i = from; i < to; i++) {
            ptrdiff_t k = (ptrdiff_t)i + lag;
            if (k >= 0 && k < (ptrdiff_t)b->count) sum += a->values[i] * b->values[k];
        }
        score[lag + LAG_MAX] += sum / sqrt(aa * bb);
    }
    return 1;
}

/* The lag of b behind a within [from, to) ms at which the bands of both agree best; NAN when they don't
 * agree. */
static double bar_lag(const struct power *a, const struct power *b, size_t from, size_t to)
{
    double score[2 * LAG_MAX + 1] = {0};
    int best = 0, bands = 0;
    for (int band = 0; band < BANDS; band++)
        bands += add_scores(&a[band], &b[band], from, to, score);
    for (int i = 0; i <= 2 * LAG_MAX; i++) {
        if (score[i] > score[best]) best = i;
    }
    if (!bands || score[best] < AGREE_MIN * bands || best == 0 || best == 2 * LAG_MAX) return NAN;
    double left = score[best - 1], right = score[best + 1], bend = left - 2 * score[best] + right;
    double part = bend < 0 ? 0.5 * (left - right) / bend : 0;
    return best - LAG_MAX + part;
}

/* Theil and Sen: the median slope between all pairs, times the whole. */
static double drift_of(const double *at, const double *lag, int count)
{
    if (count < DRIFT_BARS) return NAN;
    double *slopes = xmalloc((size_t)(count * (count - 1) / 2) * sizeof *slopes);
    int n = 0;
    for (int i = 0; i < count; i++) {
        for (int k = i + 1; k < count; k++)
            slopes[n++] = (lag[k] - lag[i]) / (at[k] - at[i]);
    }
    double slope = quantile(slopes, n, 0.5);
    free(slopes);
    return fabs(slope * (at[count - 1] - at[0]));
}

void measure_beats(const struct stem *a, const struct stem *b, const int64_t *beat, int count, int metre,
                   struct measure_beats *out)
{
    *out = (struct measure_beats){0, NAN, NAN, NAN, NAN};
    int bars = metre > 0 ? count / metre : 0, found = 0;
    if (bars == 0) return;
    struct power ra[BANDS] = {onsets(low_power(a), beat, count), onsets(high_power(a), beat, count)};
    struct power rb[BANDS] = {onsets(low_power(b), beat, count), onsets(high_power(b), beat, count)};
    size_t ms = ra[0].count;
    double *at = xcalloc((size_t)bars, sizeof *at), *lag = xcalloc((size_t)bars, sizeof *lag);
    double *size = xcalloc((size_t)bars, sizeof *size);
    for (int i = 0; i < bars; i++) {
        size_t from = (size_t)beat[i * metre] * ENVELOPE_HZ / PCM_RATE;
        size_t to = (size_t)beat[(i + 1) * metre] * ENVELOPE_HZ / PCM_RATE;
        /* from just before the beat, which the rise straddles */
        double found_lag = bar_lag(ra, rb, from > NEAR ? from - NEAR : 0, to < ms ? to : ms);
        if (!isfinite(found_lag)) continue;
        at[found] = i;
        size[found] = fabs(found_lag);
        lag[found++] = found_lag;
    }
    if (found) {
        out->bars = found;
        out->drift_ms = drift_of(at, lag, found);
        out->median_ms = quantile(size, found, 0.5);
        out->p95_ms = quantile(size, found, 0.95);
        out->lag_ms = quantile(lag, found, 0.5);
    }
    for (int band = 0; band < BANDS; band++) {
        free(ra[band].values);
        free(rb[band].values);
    }
    free(at);
    free(lag);
    free(size);
}

/* The rises of a beat on the mean, FOLD parts of one. 0 when there are hardly any. */
static int fold(const struct stem *stem, const int64_t *beat, int count, double *out)
{
    struct power rises = low_power(stem);
    double sum = 0;
    to_rises(&rises);
    memset(out, 0, FOLD * sizeof *out);
    for (int k = 0; k < count; k++) {
        double from = (double)beat[k] * ENVELOPE_HZ / PCM_RATE,
               to = (double)beat[k + 1] * ENVELOPE_HZ / PCM_RATE;
        for (size_t i = (size_t)ceil(from); i < (size_t)to && i < rises.count; i++) {
            size_t part = (size_t)(FOLD * ((double)i - from) / (to - from));
            double value = (double)rises.values[i];
            out[part < FOLD ? part : FOLD - 1] += value;
            sum += value * value;
        }
    }
    free(rises.values);
    return sum >= ONSETS_MIN * count / 4;
}

/* Best Pearson correlation of two folded beats, b turned by about `turn` parts. */
static double turned(const double *a, const double *b, int turn)
{
    double best = -1, ma = 0, mb = 0;
    for (int i = 0; i < FOLD; i++) {
        ma += a[i] / FOLD;
        mb += b[i] / FOLD;
    }
    for (int by = turn - 1; by <= turn + 1; by++) {
        double ab = 0, aa = 0, bb = 0;
        for (int i = 0; i < FOLD; i++) {
            double x = a[i] - ma, y = b[(i + by + FOLD) % FOLD] - mb;
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        best = fmax(best, ab / sqrt(aa * bb + 1e-12));
    }
    return best;
}

double measure_offbeat(const struct stem *a, const struct stem *b, const int64_t *beat, int count)
{
    double fa[FOLD], fb[FOLD];
    if (count < 1 || !fold(a, beat, count, fa) || !fold(b, beat, count, fb)) return NAN;
    return turned(fa, fb, FOLD / 2) - turned(fa, fb, 0);
}

/* The highest rise near beat k; *from, *to: where that is. */
static float strike(const struct power *rises, const int64_t *beat, int k, size_t *from, size_t *to)
{
    double ms = (double)ENVELOPE_HZ / PCM_RATE, reach = APART_REACH * (double)(beat[k + 1] - beat[k]) * ms;
    double at = (double)beat[k] * ms;
    float most = 0;
    reach = fmin(reach, APART_REACH_MS);
    *from = (size_t)fmax(0, at - reach);
    *to = (size_t)fmin((double)rises->count, at + reach + 1);
    for (size_t i = *from; i < *to; i++)
        most = fmaxf(most, rises->values[i]);
    return most;
}

/* Half of what is usual, for a strike to be one. */
static double least_strike(const struct power *rises, const int64_t *beat, int count)
{
    double *height = xcalloc((size_t)count, sizeof *height), least;
    size_t from, to;
    for (int k = 0; k < count; k++)
        height[k] = (double)strike(rises, beat, k, &from, &to);
    least = 0.5 * quantile(height, count, 0.5);
    free(height);
    return fmax(least, STRIKE_MIN);
}

/* Whether the rise is highest here, and high enough. */
static int strikes_at(const struct power *rises, size_t i, double least)
{
    float value = rises->values[i];
    return (double)value >= least && (i == 0 || rises->values[i - 1] < value) &&
           (i + 1 >= rises->count || rises->values[i + 1] <= value);
}

/* Milliseconds between the two strikes nearest to each other in [from, to). */
static size_t nearest_strikes(const struct power *a, double a_least, const struct power *b, double b_least,
                              size_t from, size_t to)
{
    size_t nearest = SIZE_MAX;
    for (size_t i = from; i < to; i++) {
        if (!strikes_at(a, i, a_least)) continue;
        for (size_t j = from; j < to; j++) {
            size_t apart = i > j ? i - j : j - i;
            if (apart < nearest && strikes_at(b, j, b_least)) nearest = apart;
        }
    }
    return nearest;
}

int measure_apart(const struct stem *a, const struct stem *b, const int64_t *beat, int count)
{
    if (count < 1) return 0;
    struct power ra[BANDS] = {low_power(a), high_power(a)}, rb[BANDS] = {low_power(b), high_power(b)};
    double a_least[BANDS], b_least[BANDS];
    int run = 0, most = 0;
    for (int band = 0; band < BANDS; band++) {
        to_rises(&ra[band]);
        to_rises(&rb[band]);
        a_least[band] = least_strike(&ra[band], beat, count);
        b_least[band] = least_strike(&rb[band], beat, count);
    }
    for (int k = 0; k < count; k++) {
        size_t nearest = SIZE_MAX, from, to;
        for (int band = 0; band < BANDS; band++) {
            strike(&ra[band], beat, k, &from, &to);
            size_t here = nearest_strikes(&ra[band], a_least[band], &rb[band], b_least[band], from, to);
            if (here < nearest) nearest = here;
        }
        run = nearest != SIZE_MAX && nearest > APART_MS ? run + 1 : 0;
        if (run > most) most = run;
    }
    for (int band = 0; band < BANDS; band++) {
        free(ra[band].values);
        free(rb[band].values);
    }
    return most;
}

/* --- bass, correlation --- */

/* Mean energy of each beat. */
static double *beat_energies(const struct stem *stem, const float *low, const int64_t *beat, int count)
{
    double *energy = xcalloc((size_t)count + 1, sizeof *energy);
    for (int i = 0; i < count; i++) {
        size_t from = low_at(beat[i], stem), to = low_at(beat[i + 1], stem);
        for (size_t k = from; k < to; k++)
            energy[i] += (double)low[k] * low[k];
        if (to > from) energy[i] /= (double)(to - from);
    }
    return energy;
}

int measure_bass_overlap(const struct stem *a, const struct stem *b, const int64_t *beat, int count)
{
    if (count < 1) return 0;
    double *ea = beat_energies(a, a->wet_low, beat, count), *eb = beat_energies(b, b->wet_low, beat, count);
    double *da = beat_energies(a, a->dry_low, beat, count), *db = beat_energies(b, b->dry_low, beat, count);
    double share = pow(10, BASS_DB / 10);
    double a_least = share * quantile(da, count, 0.5), b_least = share * quantile(db, count, 0.5);
    int both = 0;
    for (int i = 0; i < count; i++)
        both += ea[i] > a_least && eb[i] > b_least && a_least > 0 && b_least > 0;
    free(ea);
    free(eb);
    free(da);
    free(db);
    return both;
}

static double pearson(const float *a, const float *b, size_t count)
{
    double ab = 0, aa = 0, bb = 0, sa = 0, sb = 0, n = (double)count;
    for (size_t i = 0; i < count; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
        sa += a[i];
        sb += b[i];
    }
    double va = aa - sa * sa / n, vb = bb - sb * sb / n;
    return va > 1e-9 * n && vb > 1e-9 * n ? (ab - sa * sb / n) / sqrt(va * vb) : NAN;
}

double measure_low_correlation(const struct stem *a, const struct stem *b, int64_t from, int64_t to)
{
    size_t first = low_at(from, a), end = low_at(to, a);
    return end > first ? pearson(a->dry_low + first, b->dry_low + first, end - first) : NAN;
}

double measure_correlation(const struct stem *a, const struct stem *b)
{
    double r = a->thins ? pearson(a->thin, b->thin, a->thins * PCM_CHANNELS) : NAN;
    return isfinite(r) ? r : 0;
}

int measure_sounds(const struct stem *stem, size_t from, size_t to)
{
    for (size_t i = from / STEM_THIN; i <= to / STEM_THIN && i < stem->thins; i++) {
        if (fabsf(stem->thin[2 * i]) > SOUND || fabsf(stem->thin[2 * i + 1]) > SOUND) return 1;
    }
    return 0;
}
