/* structure: novelty along the diagonal of the self-similarity of bars.
 *
 * A checkerboard kernel eight bars to either side (Foote, Automatic audio segmentation using a measure of
 * audio novelty, 2000), Gaussian tapered, run along the diagonal of the bars' similarity matrix, peaks where
 * one part ends and another begins. Only the band of the matrix under the kernel is computed, so memory and
 * time grow with the length, not its square. A peak counts less away from the beginnings of phrases, the
 * surer those are, and moves to one that is next to it. Labels follow from the levels: a breakdown lacks
 * loudness or the bass, a drop is what sets in after one, or after the intro. */
#include "root/analysis/structure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/course.h"

#define KERNEL_BARS 8
#define LEAST_BARS  4 /* of a part */
#define LEAST_S     6.0
#define FALLBACK_S  2.0  /* a "bar" where none are known */
#define APART_S     0.3  /* nearer to the ends than this begins no bar */
#define PEAK_SHARE  0.25 /* of the highest novelty, below which a peak is none */
#define LIKENESS    4.0  /* distance at which two bars are alike by 1/e */
#define OFF_PHRASE  0.5  /* what a peak is worth within a phrase that is sure, but for its middle: */
#define MID_PHRASE  0.8
#define QUIET_DB    4.0 /* below the piece's loud level: a breakdown */
#define BARE_DB     9.0 /* the low band below its loud level: a breakdown too */
#define DROP_DB     3.0 /* above the part before: a drop */
#define KICK_DB     6.0 /* the low band above the part before: a drop too */
#define LESS_DB     1.0 /* an intro or outro is quieter than its neighbour, or has less bass by: */
#define LESS_LOW_DB 3.0

struct course_bars structure_bars(const double *downbeats_s, size_t downbeat_count, double start_s,
                                  double end_s)
{
    struct course_bars bars = {0};
    double span = fmax(0, end_s - start_s);
    size_t n = 0, known = downbeat_count >= 2;
    bars.start_s =
        xmalloc(((known ? downbeat_count : (size_t)(span / FALLBACK_S)) + 4) * sizeof *bars.start_s);
    bars.start_s[n++] = start_s;
    bars.first = !known || downbeats_s[0] > start_s + APART_S;
    if (known && bars.first) bars.start_s[n++] = downbeats_s[0];
    for (size_t i = 1; known && i < downbeat_count && downbeats_s[i] < end_s - APART_S; i++)
        bars.start_s[n++] = downbeats_s[i];
    for (double t = start_s + FALLBACK_S; !known && t < end_s - FALLBACK_S / 2; t += FALLBACK_S)
        bars.start_s[n++] = t;
    bars.start_s[n] = fmax(end_s, bars.start_s[n - 1]);
    bars.count = n;
    return bars;
}

double *structure_novelty(const struct barrows *rows)
{
    long n = (long)rows->count;
    double *novelty = xcalloc(rows->count + 1, sizeof *novelty);
    for (long b = 1; b < n; b++) {
        double sum = 0, total = 0;
        for (long i = -KERNEL_BARS; i < KERNEL_BARS; i++) {
            for (long j = -KERNEL_BARS; j < i; j++) {
                long x = b + i, y = b + j;
                if (x < 0 || y < 0 || x >= n || y >= n) continue;
                double u = (i + 0.5) / (0.5 * KERNEL_BARS), v = (j + 0.5) / (0.5 * KERNEL_BARS);
                double weight = exp(-0.5 * (u * u + v * v));
                double alike = exp(-barrows_distance(rows->row[x], rows->row[y]) / LIKENESS);
                sum += ((i < 0) == (j < 0) ? 1 : -1) * weight * alike;
                total += weight;
            }
        }
        /* near the ends the kernel's quadrants are unequal: what is left of it must not look like news */
        double whole = b < n - b ? (double)b : (double)(n - b);
        novelty[b] = total > 0 ? fmax(0, sum / total) * fmin(1, whole / LEAST_BARS) : 0;
    }
    return novelty;
}

static void favour_phrases(double *novelty, const struct course_bars *where, const struct phrases *phrases)
{
    if (!phrases || phrases->first8 < 0) return;
    for (size_t b = where->first; b < where->count; b++) {
        size_t place = (b - where->first + 8 - (size_t)phrases->first8) % 8;
        double worth = place == 0 ? 1 : place == 4 ? MID_PHRASE : OFF_PHRASE;
        novelty[b] *= 1 - phrases->confidence * (1 - worth);
    }
}

/* Bars at which parts begin, the first 0; the caller frees. */
static size_t *boundaries(const struct course_bars *bars, const double *novelty, size_t *count)
{
    size_t *begin = xmalloc((bars->count + 1) * sizeof *begin);
    double highest = 0;
    for (size_t b = 1; b < bars->count; b++)
        highest = fmax(highest, novelty[b]);
    begin[0] = 0;
    *count = 1;
    for (size_t b = LEAST_BARS; b + LEAST_BARS <= bars->count; b++) {
        int peak = novelty[b] >= PEAK_SHARE * highest && novelty[b] > 0.02;
        for (size_t r = 1; peak && r < LEAST_BARS; r++) {
            if (novelty[b - r] > novelty[b] || (b + r < bars->count && novelty[b + r] > novelty[b])) peak = 0;
        }
        size_t last = begin[*count - 1];
        if (peak && b - last >= LEAST_BARS && bars->start_s[b] - bars->start_s[last] >= LEAST_S)
            begin[(*count)++] = b;
    }
    return begin;
}

struct level {
    double all, low; /* dB */
};

static struct level part_level(const struct bar *bars, size_t from, size_t to)
{
    double all = 1e-8, low = 1e-8, n = (double)(to - from);
    for (size_t b = from; b < to; b++) {
        all += course_mean_square(bars[b].loudness) / n;
        low += course_mean_square(bars[b].low) / n;
    }
    return (struct level){10 * log10(all), 10 * log10(low)};
}

/* What three quarters of the bars do not exceed. */
static struct level loud_level(const struct bar *bars, size_t count)
{
    double *all = xmalloc(count * sizeof *all), *low = xmalloc(count * sizeof *low);
    for (size_t b = 0; b < count; b++) {
        all[b] = -BAR_LU * bars[b].loudness;
        low[b] = -BAR_LU * bars[b].low;
    }
    struct level loud = {values_quantile(all, count, 0.75), values_quantile(low, count, 0.75)};
    free(all);
    free(low);
    return loud;
}

static int less(struct level a, struct level b)
{
    return a.all < b.all - LESS_DB || a.low < b.low - LESS_LOW_DB;
}

static void label(struct section *sections, const struct level *level, size_t count, struct level loud)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = "main";
        if (i == 0 && count > 1 && less(level[0], level[1])) {
            name = "intro";
        } else if (i + 1 == count && count > 1 && less(level[i], level[i - 1])) {
            name = "outro";
        } else if (level[i].all < loud.all - QUIET_DB || level[i].low < loud.low - BARE_DB) {
            name = "breakdown";
        } else if (i > 0 &&
                   (level[i].all > level[i - 1].all + DROP_DB ||
                    (level[i].low > level[i - 1].low + KICK_DB && level[i].all > level[i - 1].all))) {
            name = "drop";
        }
        snprintf(sections[i].label, sizeof sections[i].label, "%s", name);
    }
}

struct section *structure_find(const struct course_bars *where, const struct bar *bars,
                               const struct barrows *rows, const struct phrases *phrases, size_t *count)
{
    *count = 0;
    if (!(where->start_s[where->count] - where->start_s[0] >= 2 * LEAST_S)) return NULL;
    double *novelty = structure_novelty(rows);
    favour_phrases(novelty, where, phrases);
    size_t *begin = boundaries(where, novelty, count);
    struct section *sections = xcalloc(*count, sizeof *sections);
    struct level *level = xmalloc(*count * sizeof *level);
    for (size_t i = 0; i < *count; i++) {
        size_t to = i + 1 < *count ? begin[i + 1] : where->count;
        sections[i].start_s = where->start_s[begin[i]];
        sections[i].end_s = where->start_s[to];
        level[i] = part_level(bars, begin[i], to);
    }
    label(sections, level, *count, loud_level(bars, where->count));
    free(level);
    free(begin);
    free(novelty);
    return sections;
}
