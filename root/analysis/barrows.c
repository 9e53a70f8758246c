#include "root/analysis/barrows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/timbre.h"

#define CHROMA   12
#define QUIET_DB (-50.0) /* what is below is as good as silence */

/* Kinds of evidence: their dimensions, the least deviation that counts, and their weight. */
enum { LEVELS, ONSETS, HARMONY, BASS, TIMBRE, KINDS };
static const struct kind {
    int from, to, together; /* together: one deviation for all dimensions */
    double least, weight;
} kinds[KINDS] = {
    [LEVELS] = {0, 4, 0, 1.0, 0.5},     /* dB */
    [ONSETS] = {4, 5, 0, 1.0, 1.0},     /* in a bar */
    [HARMONY] = {5, 17, 1, 0.05, 0.29}, /* of the strongest class of all bars */
    [BASS] = {17, 29, 1, 0.05, 0.2},    /* likewise */
    [TIMBRE] = {29, 42, 0, 0.15, 0.29}, /* cepstral */
};
_Static_assert(BARROW_DIMS == 29 + TEXTURE_MFCC, "the rows hold every coefficient");

static double level_db(uint8_t byte)
{
    return fmax(QUIET_DB, -BAR_LU * byte);
}

static void describe(double *row, const struct bar *bar, const struct series *texture, double from_s,
                     double to_s)
{
    long rows = (long)(texture->count / TEXTURE_DIMS), from = lround(from_s * TEXTURE_RATE), seen = 0;
    long to = lround(to_s * TEXTURE_RATE);
    const uint8_t level[4] = {bar->loudness, bar->low, bar->mid, bar->high};
    memset(row, 0, BARROW_DIMS * sizeof *row);
    for (int i = 0; i < 4; i++)
        row[kinds[LEVELS].from + i] = level_db(level[i]);
    row[kinds[ONSETS].from] = bar->onsets;
    for (int c = 0; c < CHROMA; c++) {
        row[kinds[HARMONY].from + c] = bar->chroma[c] / 255.0;
        row[kinds[BASS].from + c] = bar->bass_chroma[c] / 255.0;
    }
    if (to <= from) to = from + 1;
    for (long i = from; i < to && i < rows; i++, seen++) {
        for (int d = 0; d < TEXTURE_MFCC; d++)
            row[kinds[TIMBRE].from + d] += texture->value[i * TEXTURE_DIMS + d];
    }
    for (int d = 0; seen && d < TEXTURE_MFCC; d++)
        row[kinds[TIMBRE].from + d] /= (double)seen;
}

static void standardise(struct barrows *rows, const struct kind *kind)
{
    double mean[BARROW_DIMS] = {0}, square[BARROW_DIMS] = {0}, all = 0, n = (double)rows->count;
    for (size_t b = 0; b < rows->count; b++) {
        for (int d = kind->from; d < kind->to; d++)
            mean[d] += rows->row[b][d] / n;
    }
    for (size_t b = 0; b < rows->count; b++) {
        for (int d = kind->from; d < kind->to; d++)
            square[d] += (rows->row[b][d] - mean[d]) * (rows->row[b][d] - mean[d]) / n;
    }
    for (int d = kind->from; d < kind->to; d++)
        all += square[d] / (kind->to - kind->from);
    for (int d = kind->from; d < kind->to; d++) {
        double deviation = fmax(kind->least, sqrt(kind->together ? all : square[d]));
        for (size_t b = 0; b < rows->count; b++)
            rows->row[b][d] = (rows->row[b][d] - mean[d]) / deviation * kind->weight;
    }
}

struct barrows barrows_make(const struct bar *bars, size_t count, const struct series *texture,
                            const double *start_s, double end_s)
{
    struct barrows rows = {xmalloc((count + 1) * sizeof *rows.row), count};
    for (size_t b = 0; b < count; b++)
        describe(rows.row[b], &bars[b], texture, start_s[b], b + 1 < count ? start_s[b + 1] : end_s);
    for (int k = 0; k < KINDS; k++)
        standardise(&rows, &kinds[k]);
    return rows;
}

void barrows_free(struct barrows *rows)
{
    free(rows->row);
    *rows = (struct barrows){0};
}

double barrows_distance(const double *a, const double *b)
{
    double sum = 0;
    for (int k = 0; k < KINDS; k++) {
        double square = 0;
        for (int d = kinds[k].from; d < kinds[k].to; d++)
            square += (a[d] - b[d]) * (a[d] - b[d]);
        sum += sqrt(square);
    }
    return sum;
}
