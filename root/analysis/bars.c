/* bars: rows of the extractors gathered from downbeat to downbeat.
 *
 * The extractors keep rows of fixed length, because downbeats are known only at the end; a row belongs to the
 * bar in which its middle lies. Chroma rows are of unit length; here they count by how tonal their frame was,
 * so that the hum of a drum roll makes no chord. */
#include "root/analysis/bars.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/course.h"
#include "root/analysis/key.h"
#include "root/analysis/timbre.h"
#include "root/analysis/vocal.h"

#define LONGEST_S 60.0 /* no bar is longer; past a long rest the last one before it ends here */

double bars_end_s(const double *downbeats_s, size_t count, size_t i, double music_end_s)
{
    double start = downbeats_s[i];
    if (i + 1 < count) return fmin(downbeats_s[i + 1], start + LONGEST_S);
    double length = i ? start - downbeats_s[i - 1] : LONGEST_S;
    return fmax(fmin(start + length, music_end_s), start);
}

/* Rows whose middles, at (i + shift) / rate, lie in [from_s, to_s): [*first, *end). */
static void rows_between(double from_s, double to_s, double rate, double shift, size_t rows, size_t *first,
                         size_t *end)
{
    double a = ceil(from_s * rate - shift), b = ceil(to_s * rate - shift);
    *first = a <= 0 ? 0 : a >= (double)rows ? rows : (size_t)a;
    *end = b <= 0 ? 0 : b >= (double)rows ? rows : (size_t)b;
}

static uint8_t level_between(const struct bytes *bytes, size_t dims, size_t dim, double shift, double from_s,
                             double to_s)
{
    size_t first, end;
    double sum = 0;
    rows_between(from_s, to_s, COURSE_RATE, shift, bytes->count / dims, &first, &end);
    for (size_t i = first; i < end; i++)
        sum += course_mean_square(bytes->value[i * dims + dim]);
    return end > first ? course_byte(sum / (double)(end - first)) : COURSE_SILENT;
}

static void sum_chroma(const struct series *rows, const struct series *tonality, double from_s, double to_s,
                       double *out)
{
    size_t first, end;
    memset(out, 0, CHROMA_BINS * sizeof *out);
    rows_between(from_s, to_s, CHROMA_RATE, 0, tonality->count, &first, &end);
    for (size_t i = first; i < end; i++) {
        for (int c = 0; c < CHROMA_BINS; c++)
            out[c] += rows->value[i * CHROMA_BINS + (size_t)c] * tonality->value[i] / (double)(end - first);
    }
}

static void scale_chroma(const double *chroma, double most, uint8_t *out)
{
    for (int c = 0; c < CHROMA_BINS; c++)
        out[c] = most > 0 ? (uint8_t)lround(255 * chroma[c] / most) : 0;
}

/* A row's window is longer than many a bar: the nearest row speaks for a bar in which no row's middle lies.
 */
static uint8_t vocal_between(const struct bytes *vocal, double from_s, double to_s)
{
    size_t first, end;
    double sum = 0;
    rows_between(from_s, to_s, VOCAL_RATE, 0.5, vocal->count, &first, &end);
    if (first == end && first < vocal->count) end++;
    for (size_t i = first; i < end; i++)
        sum += vocal->value[i];
    return end > first ? (uint8_t)lround(sum / (double)(end - first)) : 0;
}

struct bar *bars_measure(const struct bar_sources *s, const double *downbeats_s, size_t count,
                         double music_end_s)
{
    if (!count) return NULL;
    struct bar *bars = xcalloc(count, sizeof *bars);
    double(*chroma)[2][CHROMA_BINS] = xcalloc(count, sizeof *chroma), most[2] = {0};
    for (size_t i = 0; i < count; i++) {
        double from = downbeats_s[i], to = bars_end_s(downbeats_s, count, i, music_end_s);
        size_t onsets = accents_between(s->accents, from, to);
        bars[i].loudness = level_between(s->loudness, 1, 0, 0.5, from, to);
        bars[i].low = level_between(s->levels, LEVEL_BANDS, 0, 0, from, to);
        bars[i].mid = level_between(s->levels, LEVEL_BANDS, 1, 0, from, to);
        bars[i].high = level_between(s->levels, LEVEL_BANDS, 2, 0, from, to);
        bars[i].vocal = vocal_between(s->vocal, from, to);
        bars[i].onsets = (uint8_t)(onsets > 255 ? 255 : onsets);
        sum_chroma(s->chroma, s->tonality, from, to, chroma[i][0]);
        sum_chroma(s->bass, s->tonality, from, to, chroma[i][1]);
        for (int b = 0; b < 2; b++) {
            for (int c = 0; c < CHROMA_BINS; c++)
                most[b] = fmax(most[b], chroma[i][b][c]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        scale_chroma(chroma[i][0], most[0], bars[i].chroma);
        scale_chroma(chroma[i][1], most[1], bars[i].bass_chroma);
    }
    free(chroma);
    return bars;
}
