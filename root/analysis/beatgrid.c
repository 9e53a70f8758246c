#include "root/analysis/beatgrid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/key.h"
#include "root/analysis/tempo.h"

#define HARMONICS     4
#define BLOCK_BEATS   16
#define SEARCH        0.012 /* of the coarse period, to either side */
#define BINS          48    /* of a folded beat */
#define AGREE         0.08  /* of a beat: a block whose phase is nearer than this agrees */
#define ALIKE         0.25 /* correlation with the whole piece's fold from which a block has a phase at all */
#define PEAK_SHARE    0.4  /* of the highest: a peak of the fold that could be the beat */
#define SAME          0.6  /* of its best correlation: a block as well explained by the grid */
#define SAME_PHASE    0.06
#define UNHEARD_S     0.001 /* a shift that neither the ear nor the attacks can tell */
#define TURNED_S      0.015 /* nor one that is explained by layers */
#define TIGHT_S       0.006 /* attacks this near to a line are on it */
#define SNAP_SHARE    0.97
#define SHIFT_S       0.0005
#define SHIFTS        40
#define REACH_S       0.035 /* attacks looked for around a beat */
#define LEAST_RISE_DB 6.0
#define BEGUN         0.17 /* of a rise: a note begins when so much of it has happened */
#define ROUNDS        12
#define NARROW_S      0.010
#define BEGIN_S       0.030 /* a beat this near to the first sample is what the piece begins with, */
#define BEGIN_LEAD    0.7   /* log odds: as most do */

static const double band_weight[ONSET_BANDS] = {1, 1, 1, 0.5};
#define HARMONY_WEIGHT 2.0

/* ---- step 1: the period ---- */

/* Blocks' complex amplitudes at the coarse beat frequency's harmonics; the caller frees. */
static double *demodulate(const struct series *x, double period, size_t block, size_t blocks)
{
    double *amplitude = xcalloc(blocks * HARMONICS * 2, sizeof *amplitude);
    for (int h = 1; h <= HARMONICS; h++) {
        double turn = -2 * M_PI * h / period;
        for (size_t b = 0; b < blocks; b++) {
            double re = 0, im = 0, cr = cos(turn * (double)(b * block)), ci = sin(turn * (double)(b * block));
            double sr = cos(turn), si = sin(turn);
            for (size_t i = b * block; i < (b + 1) * block && i < x->count; i++) {
                re += x->value[i] * cr;
                im += x->value[i] * ci;
                double t = cr * sr - ci * si;
                ci = cr * si + ci * sr;
                cr = t;
            }
            amplitude[(b * HARMONICS + (size_t)h - 1) * 2] = re;
            amplitude[(b * HARMONICS + (size_t)h - 1) * 2 + 1] = im;
        }
    }
    return amplitude;
}

/* How well the blocks line up when the beat frequency is off by `shift` cycles a frame. */
static double alignment(const double *amplitude, size_t blocks, size_t block, double shift)
{
    double total = 0;
    for (int h = 1; h <= HARMONICS; h++) {
        double re = 0, im = 0, turn = -2 * M_PI * h * shift * (double)block;
        double sr = cos(turn), si = sin(turn), cr = 1, ci = 0;
        for (size_t b = 0; b < blocks; b++) {
            const double *a = amplitude + (b * HARMONICS + (size_t)h - 1) * 2;
            re += a[0] * cr - a[1] * ci;
            im += a[0] * ci + a[1] * cr;
            double t = cr * sr - ci * si;
            ci = cr * si + ci * sr;
            cr = t;
        }
        total += re * re + im * im;
    }
    return total;
}

static double refine_period(const struct series *x, double period)
{
    size_t block = (size_t)(4 * period), blocks = x->count / block;
    if (blocks < 2) return period;
    double *amplitude = demodulate(x, period, block, blocks);
    double widest = SEARCH / period, step = 1 / (8.0 * HARMONICS * (double)x->count);
    double best = -1, best_shift = 0;
    long steps = (long)(widest / step);
    for (long i = -steps; i <= steps; i++) {
        double value = alignment(amplitude, blocks, block, (double)i * step);
        if (value > best) {
            best = value;
            best_shift = (double)i * step;
        }
    }
    double a = alignment(amplitude, blocks, block, best_shift - step);
    double c = alignment(amplitude, blocks, block, best_shift + step);
    double bend = a - 2 * best + c;
    if (bend < 0) best_shift += 0.5 * (a - c) / bend * step;
    free(amplitude);
    return 1 / (1 / period + best_shift);
}

/* ---- step 2: the phase ---- */

/* Mean of x by phase; times in units of x's frames; count values from `from`. */
static void fold(const struct series *x, size_t from, size_t count, double offset, double period, double *out)
{
    double weight[BINS] = {0};
    memset(out, 0, BINS * sizeof *out);
    for (size_t i = from; i < from + count && i < x->count; i++) {
        double phase = ((double)i + offset) / period;
        size_t bin = (size_t)((phase - floor(phase)) * BINS) % BINS;
        out[bin] += x->value[i];
        weight[bin]++;
    }
    for (int b = 0; b < BINS; b++) {
        if (weight[b] > 0) out[b] /= weight[b];
    }
}

static double mean_of(const double *x)
{
    double sum = 0;
    for (int i = 0; i < BINS; i++)
        sum += x[i];
    return sum / BINS;
}

/* The fold of all evidence, each kind relative to its mean, slightly smoothed. */
static void evidence(const struct clues *clues, double period, double *out)
{
    const struct onset_curves *curves = clues->curves;
    const struct series *harmony = &clues->harmony;
    static const double kernel[5] = {0.1, 0.2, 0.4, 0.2, 0.1};
    double sum[BINS] = {0}, one[BINS];
    for (int b = 0; b <= ONSET_BANDS; b++) {
        if (b < ONSET_BANDS) {
            fold(&curves->flux[b], 0, curves->flux[b].count, 0, period, one);
        } else {
            fold(harmony, 0, harmony->count, -0.5, period * CHROMA_RATE / ONSET_RATE, one);
        }
        double mean = mean_of(one), weight = b < ONSET_BANDS ? band_weight[b] : HARMONY_WEIGHT;
        for (int i = 0; mean > 0 && i < BINS; i++)
            sum[i] += weight * one[i] / mean;
    }
    for (int i = 0; i < BINS; i++) {
        out[i] = 0;
        for (int k = 0; k < 5; k++)
            out[i] += kernel[k] * sum[(i + k - 2 + BINS) % BINS];
    }
}

/* Parabolic place of the peak at bin i, in beats. */
static double peak_place(const double *x, int i)
{
    double a = x[(i + BINS - 1) % BINS], b = x[i], c = x[(i + 1) % BINS], bend = a - 2 * b + c;
    double place = i + 0.5 + (bend < 0 ? 0.5 * (a - c) / bend : 0);
    return place / BINS - floor(place / BINS);
}

/* Adds the level unless it is there. */
static size_t add_level(struct level *levels, size_t count, size_t first_of_period, double phase,
                        double period_s)
{
    phase -= floor(phase);
    for (size_t i = first_of_period; i < count; i++) {
        double apart = fabs(phase - levels[i].first_s / period_s);
        if (fmin(apart, 1 - apart) < SAME_PHASE) return count;
    }
    if (count < BEATGRID_LEVELS) levels[count++] = (struct level){phase * period_s, period_s};
    return count;
}

/* Levels at one period: the peaks of the fold and their offbeats. */
static size_t levels_at(const struct clues *clues, double period, struct level *levels, size_t count)
{
    double x[BINS], highest = 0;
    size_t first = count;
    evidence(clues, period, x);
    for (int i = 0; i < BINS; i++)
        highest = fmax(highest, x[i]);
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < BINS; i++) {
            int peak = x[i] >= PEAK_SHARE * highest;
            for (int r = 1; peak && r <= BINS / 8; r++) {
                if (x[(i + r) % BINS] > x[i] || x[(i + BINS - r) % BINS] >= x[i]) peak = 0;
            }
            if (peak)
                count = add_level(levels, count, first, peak_place(x, i) + 0.5 * half, period / ONSET_RATE);
        }
    }
    return count;
}

size_t beatgrid_levels(const struct clues *clues, double period, struct level levels[BEATGRID_LEVELS])
{
    static const double multiple[] = {1, 2, 0.5};
    size_t count = 0;
    period = refine_period(&clues->novelty, period);
    for (size_t m = 0; m < sizeof multiple / sizeof *multiple; m++) {
        double bpm = 60 * ONSET_RATE / (period * multiple[m]);
        if (bpm >= TEMPO_MIN_BPM && bpm <= TEMPO_MAX_BPM)
            count = levels_at(clues, period * multiple[m], levels, count);
    }
    return count;
}

/* ---- does the grid hold throughout? ---- */

/* Whether the whole's fold explains the block's as it stands nearly as well as it would shifted: with beat
 * and offbeat alike, half a beat of shift says nothing. */
static int block_agrees(const double *whole, const double *part)
{
    double mw = mean_of(whole), mp = mean_of(part), ww = 0, pp = 0, best = 0, near = 0;
    for (int i = 0; i < BINS; i++) {
        ww += (whole[i] - mw) * (whole[i] - mw);
        pp += (part[i] - mp) * (part[i] - mp);
    }
    for (int s = 0; s < BINS; s++) {
        double value = 0;
        for (int i = 0; i < BINS; i++)
            value += (whole[i] - mw) * (part[(i + s) % BINS] - mp);
        best = fmax(best, value);
        if (s <= AGREE * BINS || s >= BINS - AGREE * BINS) near = fmax(near, value);
    }
    return ww > 0 && pp > 0 && near >= ALIKE * sqrt(ww * pp) && near >= SAME * best;
}

static double support(const struct series *novelty, double period)
{
    double whole[BINS], part[BINS], rest[BINS], agree = 0, total = 0;
    size_t n = novelty->count, block = (size_t)(BLOCK_BEATS * period);
    if (block > n / 8) block = n / 8;
    if (block < 2 * period) return 0;
    fold(novelty, 0, n, 0, period, whole);
    double mean = mean_of(whole), share = (double)block / (double)n;
    for (size_t from = 0; from + block <= n; from += block / 2) {
        fold(novelty, from, block, 0, period, part);
        /* a block is no witness for itself */
        for (int i = 0; i < BINS; i++)
            rest[i] = (whole[i] - share * part[i]) / (1 - share);
        /* it counts by its activity, up to that of an average one */
        double weight = mean > 0 ? fmin(1, mean_of(part) / mean) : 0;
        total += weight;
        if (block_agrees(rest, part)) agree += weight;
    }
    return total > 0 ? agree / total : 0;
}

/* ---- step 3: attacks ---- */

/* dB */
static double rise(const struct onset_curves *curves, long i)
{
    return i >= 0 && i < (long)curves->rise.count ? curves->rise.value[i] * RISE_DB : 0;
}

double beatgrid_attack(const struct onset_curves *curves, double at_s, double reach_s, double *height_db)
{
    long centre = lround(at_s * ATTACK_RATE - 0.5), reach = (long)ceil(reach_s * ATTACK_RATE), best = 0;
    double most = 0;
    for (long i = centre - reach; i <= centre + reach; i++) {
        double r = rise(curves, i);
        if (r > most) {
            most = r;
            best = i;
        }
    }
    *height_db = most;
    if (most < LEAST_RISE_DB) return NAN;
    double sum = 0, so_far = 0;
    for (long i = best - 3; i <= best + 2; i++)
        sum += rise(curves, i);
    long i = best - 3;
    while (so_far + rise(curves, i) < BEGUN * sum)
        so_far += rise(curves, i++);
    return ((double)i + (BEGUN * sum - so_far) / rise(curves, i)) / ATTACK_RATE;
}

/* Attacks near the beats of a grid, and the line first + period * number through them. */
struct line {
    double *number, *time, *weight, *off; /* count of each, one allocation */
    size_t count;
    double period, first, scale; /* s; scale: robust deviation */
};

static struct line collect_attacks(const struct beatgrid *grid, const struct onset_curves *curves)
{
    size_t beats = (size_t)(grid->end_s / grid->period_s) + 1;
    struct line line = {.period = grid->period_s, .first = grid->first_s, .scale = 0.010};
    line.number = xmalloc(4 * beats * sizeof *line.number);
    line.time = line.number + beats;
    line.weight = line.time + beats;
    line.off = line.weight + beats;
    for (size_t k = 0; k < beats; k++) {
        double height, near_s = grid->first_s + (double)k * grid->period_s;
        double t = beatgrid_attack(curves, near_s, REACH_S, &height);
        if (isnan(t)) continue;
        line.number[line.count] = (double)k;
        line.time[line.count] = t;
        line.weight[line.count++] = fmin(height, 30);
    }
    return line;
}

/* One round of weighted least squares, the weights being the biweight of the last round's residuals, at most
 * widest_s wide. 0; -1 when they leave nothing to fit. */
static int reweigh(struct line *line, double widest_s)
{
    double sw = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, reach = fmin(6 * line->scale, widest_s);
    for (size_t i = 0; i < line->count; i++) {
        double r = (line->time[i] - line->first - line->period * line->number[i]) / reach;
        double w = fabs(r) < 1 ? line->weight[i] * (1 - r * r) * (1 - r * r) : 0;
        sw += w;
        sx += w * line->number[i];
        sy += w * line->time[i];
        sxx += w * line->number[i] * line->number[i];
        sxy += w * line->number[i] * line->time[i];
    }
    double det = sw * sxx - sx * sx;
    if (sw <= 0 || det <= 0) return -1;
    line->period = (sw * sxy - sx * sy) / det;
    line->first = (sy - line->period * sx) / sw;
    for (size_t i = 0; i < line->count; i++)
        line->off[i] = fabs(line->time[i] - line->first - line->period * line->number[i]);
    /* (this sorts them, which their number does not mind) */
    line->scale = fmax(0.0015, 1.4826 * values_quantile(line->off, line->count, 0.5));
    return 0;
}

/* How much of the attacks lies on a line. */
static double weight_on(const struct line *line, double first, double period)
{
    double sum = 0;
    for (size_t i = 0; i < line->count; i++) {
        double r = (line->time[i] - first - period * line->number[i]) / TIGHT_S;
        if (fabs(r) < 1) sum += line->weight[i] * (1 - r * r) * (1 - r * r);
    }
    return sum;
}

/* The most attacks on a line of that period near `first`, which becomes where that one begins. */
static double best_line(const struct line *line, double *first, double period)
{
    double most = -1, around = *first;
    for (int i = -SHIFTS; i <= SHIFTS; i++) {
        double at = around + i * SHIFT_S, value = weight_on(line, at, period);
        if (value > most) {
            most = value;
            *first = at;
        }
    }
    return most;
}

/* Sequencers run at whole tempos: one that no beat of the piece can tell from the fitted one is taken, about
 * the middle of the piece; and one that has as many attacks on it, for layers that lie before or behind the
 * beat, and come and go, turn the fitted line. */
static void snap(struct line *line)
{
    double whole = 60 / round(60 / line->period), last = line->number[line->count - 1];
    double middle = (line->number[0] + last) / 2, off_s = fabs(whole - line->period) * (last - middle);
    double first = line->first + (line->period - whole) * middle, fitted = line->first;
    if (off_s > TURNED_S) return;
    if (off_s > UNHEARD_S &&
        best_line(line, &first, whole) < SNAP_SHARE * best_line(line, &fitted, line->period))
        return;
    line->first = first;
    line->period = whole;
}

/* Fits the grid to the attacks; how many lie on it, 0 when there are too few to tell. */
static size_t fit_line(struct beatgrid *grid, const struct onset_curves *curves)
{
    struct line line = collect_attacks(grid, curves);
    size_t on_line = 0;
    if (line.count >= 8 && line.number[line.count - 1] - line.number[0] >= 8) {
        /* narrowing: flams and swung notes lie on one side, and would draw a wide fit to theirs */
        for (int round = 0; round < ROUNDS; round++) {
            double widest_s = fmax(NARROW_S, REACH_S * pow(0.8, round));
            if (reweigh(&line, widest_s)) break;
        }
        if (fabs(line.period / grid->period_s - 1) < 0.003) {
            snap(&line);
            grid->period_s = line.period;
            grid->first_s = line.first;
            grid->spread_s = line.scale;
            for (size_t i = 0; i < line.count; i++)
                on_line += line.off[i] <= 3 * line.scale;
        }
    }
    free(line.number);
    return on_line;
}

static double contrast_of(const struct series *novelty, const struct beatgrid *grid)
{
    double on = 0, all = 0;
    size_t beats = 0;
    for (size_t i = 0; i < novelty->count; i++)
        all += novelty->value[i];
    all /= (double)novelty->count;
    for (double t = grid->first_s; t < grid->end_s; t += grid->period_s, beats++) {
        long centre = lround(t * ONSET_RATE);
        double most = 0;
        for (long i = centre - 2; i <= centre + 2; i++) {
            if (i >= 0 && i < (long)novelty->count) most = fmax(most, novelty->value[i]);
        }
        on += most;
    }
    return beats && all > 0 ? on / (double)beats / all : 1;
}

/* Whether the piece begins with a beat of that level. */
static int begins(const struct level *level)
{
    double first_s = level->first_s - floor(level->first_s / level->period_s) * level->period_s;
    return fmin(first_s, level->period_s - first_s) <= BEGIN_S;
}

/* The likeliest level, and by how much. */
static struct level choose_level(const struct clues *clues, double period, double *margin)
{
    struct level levels[BEATGRID_LEVELS], best_level = {0, period / ONSET_RATE};
    double best = -INFINITY, second = -INFINITY, features[LEVEL_FEATURES];
    size_t count = beatgrid_levels(clues, period, levels);
    for (size_t i = 0; i < count; i++) {
        int found = levels[i].period_s == levels[0].period_s;
        if (level_features(clues, &levels[i], found, features)) continue;
        double score = level_score(features) + (begins(&levels[i]) ? BEGIN_LEAD : 0);
        if (score > best) {
            second = best;
            best = score;
            best_level = levels[i];
        } else if (score > second) {
            second = score;
        }
    }
    *margin = isfinite(second) ? tanh((best - second) / 2) : 1;
    return best_level;
}

struct beatgrid beatgrid_fit(const struct clues *clues, double period)
{
    const struct series *novelty = &clues->novelty;
    struct beatgrid grid = {.spread_s = NAN, .end_s = clues->end_s};
    struct level level = choose_level(clues, period, &grid.margin);
    grid.period_s = level.period_s;
    grid.first_s = level.first_s;
    grid.attacks = fit_line(&grid, clues->curves);
    grid.first_s -= floor(grid.first_s / grid.period_s + 1e-6) * grid.period_s;
    grid.support = support(novelty, grid.period_s * ONSET_RATE);
    grid.contrast = contrast_of(novelty, &grid);
    return grid;
}
