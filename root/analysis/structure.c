/* structure: novelty along the diagonal of the self-similarity of bars.
 *
 * Each bar is described by its mean timbre, its energy, its bass and its chroma; a checkerboard kernel eight
 * bars to either side (Foote, Automatic audio segmentation using a measure of audio novelty, 2000), Gaussian
 * tapered, run along the diagonal of the bars' similarity matrix, peaks where one part ends and another
 * begins. Only the band of the matrix under the kernel is computed, so memory and time grow with the length,
 * not its square. Labels follow from loudness: a drop is a part that sets in far above the one before. */
#include "root/analysis/structure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/key.h"
#include "root/analysis/timbre.h"

#define KERNEL_BARS   8
#define LEAST_BARS    4 /* of a part */
#define LEAST_S       6.0
#define FALLBACK_S    2.0  /* a "bar" where none are known */
#define PEAK_SHARE    0.35 /* of the highest novelty, below which a peak is none */
#define CHROMA_WEIGHT 3.0
#define DIMS          (TEXTURE_MFCC + 2 + CHROMA_BINS)
#define ENERGY        TEXTURE_MFCC /* dB */
#define BASS          (TEXTURE_MFCC + 1)
#define QUIET_DB      4.0 /* below the piece's loud level: a breakdown */
#define DROP_DB       3.0 /* above the part before: a drop */

struct bars {
    double *start_s; /* count + 1 of them */
    double (*row)[DIMS];
    size_t count;
};

static void place_bars(struct bars *bars, const double *bars_s, size_t bar_count, double start_s,
                       double end_s)
{
    size_t room = bar_count + (size_t)((end_s - start_s) / FALLBACK_S) + 4, n = 0;
    bars->start_s = xmalloc(room * sizeof *bars->start_s);
    bars->start_s[n++] = start_s;
    if (bar_count >= 2) {
        for (size_t i = 0; i < bar_count; i++) {
            if (bars_s[i] > bars->start_s[n - 1] + 0.3 && bars_s[i] < end_s - 0.3)
                bars->start_s[n++] = bars_s[i];
        }
    } else {
        for (double t = start_s + FALLBACK_S; t < end_s - FALLBACK_S / 2; t += FALLBACK_S)
            bars->start_s[n++] = t;
    }
    bars->start_s[n] = end_s;
    bars->count = n;
}

static void describe(double *row, const struct series *texture, const struct series *chroma, double from_s,
                     double to_s)
{
    long rows = (long)(texture->count / TEXTURE_DIMS), from = lround(from_s * TEXTURE_RATE);
    long to = lround(to_s * TEXTURE_RATE), chroma_rows = (long)(chroma->count / CHROMA_BINS), seen = 0;
    double energy = 0, bass = 0;
    if (to <= from) to = from + 1;
    memset(row, 0, DIMS * sizeof *row);
    for (long i = from; i < to && i < rows; i++, seen++) {
        const float *t = texture->value + i * TEXTURE_DIMS;
        for (int d = 0; d < TEXTURE_MFCC; d++)
            row[d] += t[d];
        energy += t[TEXTURE_ALL];
        bass += t[TEXTURE_BASS];
        for (int c = 0; i < chroma_rows && c < CHROMA_BINS; c++) {
            row[TEXTURE_MFCC + 2 + c] += chroma->value[i * CHROMA_BINS + c];
        }
    }
    for (int d = 0; seen && d < DIMS; d++)
        row[d] /= (double)seen;
    row[ENERGY] = 10 * log10(energy / (double)(seen ? seen : 1) + 1e-7);
    row[BASS] = 10 * log10(bass / (double)(seen ? seen : 1) + 1e-7);
}

/* Each dimension in units of its deviation over the piece; chroma together, so that it keeps its shape. */
static double (*standardise(const struct bars *bars))[DIMS]
{
    double(*out)[DIMS] = xmalloc(bars->count * sizeof *out), n = (double)bars->count;
    for (int d = 0; d < DIMS; d++) {
        double mean = 0, square = 0;
        for (size_t b = 0; b < bars->count; b++)
            mean += bars->row[b][d] / n;
        for (size_t b = 0; b < bars->count; b++)
            square += pow(bars->row[b][d] - mean, 2) / n;
        double scale = d >= TEXTURE_MFCC + 2 ? CHROMA_WEIGHT : square > 1e-9 ? 1 / sqrt(square) : 0;
        if (d == 0) scale = 0; /* the zeroth coefficient is the energy again */
        for (size_t b = 0; b < bars->count; b++)
            out[b][d] = (bars->row[b][d] - mean) * scale;
    }
    return out;
}

static double alike(const double *a, const double *b)
{
    double square = 0;
    for (int d = 0; d < DIMS; d++)
        square += (a[d] - b[d]) * (a[d] - b[d]);
    return exp(-square / DIMS);
}

/* Novelty at the boundary before each bar; the caller frees. */
static double *novelty_of(const struct bars *bars)
{
    double(*row)[DIMS] = standardise(bars), *novelty = xcalloc(bars->count + 1, sizeof *novelty);
    long n = (long)bars->count;
    for (long b = 1; b < n; b++) {
        double sum = 0, total = 0;
        for (long i = -KERNEL_BARS; i < KERNEL_BARS; i++) {
            for (long j = -KERNEL_BARS; j < i; j++) {
                long x = b + i, y = b + j;
                if (x < 0 || y < 0 || x >= n || y >= n) continue;
                double u = (i + 0.5) / (0.5 * KERNEL_BARS), v = (j + 0.5) / (0.5 * KERNEL_BARS);
                double weight = exp(-0.5 * (u * u + v * v));
                sum += ((i < 0) == (j < 0) ? 1 : -1) * weight * alike(row[x], row[y]);
                total += weight;
            }
        }
        /* near the ends the kernel's quadrants are unequal: what is left of it must not look like news */
        double whole = b < n - b ? (double)b : (double)(n - b);
        novelty[b] = total > 0 ? fmax(0, sum / total) * fmin(1, whole / LEAST_BARS) : 0;
    }
    free(row);
    return novelty;
}

/* Bars at which parts begin, the first 0; the caller frees. */
static size_t *boundaries(const struct bars *bars, const double *novelty, size_t *count)
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

/* The part's energy as the mean over its bars of the louder of all and bass against the piece's own. */
static double part_level(const struct bars *bars, size_t from, size_t to)
{
    double sum = 0;
    for (size_t b = from; b < to; b++)
        sum += bars->row[b][ENERGY];
    return sum / (double)(to - from);
}

static void label(struct section *sections, const double *level, size_t count)
{
    double *sorted = xmalloc(count * sizeof *sorted);
    memcpy(sorted, level, count * sizeof *sorted);
    double loud = values_quantile(sorted, count, 0.75);
    free(sorted);
    for (size_t i = 0; i < count; i++) {
        const char *name = "main";
        if (i == 0 && count > 1 && level[0] < level[1] - 1) {
            name = "intro";
        } else if (i + 1 == count && count > 1 && level[i] < level[i - 1] - 1) {
            name = "outro";
        } else if (level[i] < loud - QUIET_DB) {
            name = "breakdown";
        } else if (i > 0 && level[i] > level[i - 1] + DROP_DB) {
            name = "drop";
        }
        snprintf(sections[i].label, sizeof sections[i].label, "%s", name);
    }
}

struct section *structure_find(const struct series *texture, const struct series *chroma,
                               const double *bars_s, size_t bar_count, double start_s, double end_s,
                               size_t *count)
{
    struct bars bars = {0};
    *count = 0;
    if (!(end_s - start_s >= 2 * LEAST_S)) return NULL;
    place_bars(&bars, bars_s, bar_count, start_s, end_s);
    bars.row = xmalloc(bars.count * sizeof *bars.row);
    for (size_t b = 0; b < bars.count; b++) {
        describe(bars.row[b], texture, chroma, bars.start_s[b], bars.start_s[b + 1]);
    }
    double *novelty = novelty_of(&bars);
    size_t *begin = boundaries(&bars, novelty, count);
    struct section *sections = xcalloc(*count, sizeof *sections);
    double *level = xmalloc(*count * sizeof *level);
    for (size_t i = 0; i < *count; i++) {
        size_t to = i + 1 < *count ? begin[i + 1] : bars.count;
        sections[i].start_s = bars.start_s[begin[i]];
        sections[i].end_s = bars.start_s[to];
        level[i] = part_level(&bars, begin[i], to);
    }
    label(sections, level, *count);
    free(level);
    free(begin);
    free(novelty);
    free(bars.row);
    free(bars.start_s);
    return sections;
}
