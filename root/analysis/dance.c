/* dance: detrended fluctuation analysis, as Streich and Herrera (Detrended fluctuation analysis of music
 * signals: danceability estimation and further semantic characterization, 2005) apply it.
 *
 * The standard deviation of every 10 ms is summed up to a walk; blocks of a length, in steps of half a block,
 * are freed of their straight line, and what is left of them grows with the length to the power of the
 * exponent. A walk that a beat pulls back again and again does not get far: music one dances to has a low
 * one. Sums of s, i s and s s make each block's line a matter of a few operations; the deviations are kept as
 * bytes, an hour in 360 kB. */
#include "root/analysis/dance.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "root/analysis/course.h"
#include "root/analysis/series.h"
#include "root/audio/pcm.h"

#define BLOCK       (PCM_RATE / 100)
#define SHORTEST    31  /* blocks: 310 ms */
#define LONGEST     880 /* 8.8 s */
#define GROWTH      1.1
#define LEAST       1000 /* blocks a recording must have */
#define LEAST_TIMES 4    /* times that the longest must fit in */

struct dance {
    struct bytes variance;
    double sum, square;
    size_t held;
};

struct dance *dance_new(void)
{
    return xcalloc(1, sizeof(struct dance));
}

void dance_free(struct dance *dance)
{
    if (!dance) return;
    bytes_free(&dance->variance);
    free(dance);
}

void dance_feed(struct dance *dance, const float *mono, size_t samples)
{
    for (size_t i = 0; i < samples; i++) {
        dance->sum += mono[i];
        dance->square += (double)mono[i] * mono[i];
        if (++dance->held < BLOCK) continue;
        double mean = dance->sum / BLOCK;
        bytes_push(&dance->variance, course_byte(fmax(0, dance->square / BLOCK - mean * mean)));
        dance->sum = dance->square = 0;
        dance->held = 0;
    }
}

/* Mean square of what a straight line leaves of n values, from their sums: of y, of i y (i from 0), of y y.
 */
static double residual(double y, double iy, double yy, double n)
{
    double mean_i = (n - 1) / 2, ii = n * (n * n - 1) / 12, slope = (iy - mean_i * y) / ii;
    return fmax(0, (yy - y * y / n - slope * slope * ii) / n);
}

/* Root of the mean residual over blocks of a length, half overlapping. */
static double fluctuation(const double *walk, size_t count, size_t length)
{
    double total = 0;
    size_t blocks = 0;
    for (size_t at = 0; at + length <= count; at += length / 2, blocks++) {
        double y = 0, iy = 0, yy = 0, base = walk[at];
        for (size_t i = 0; i < length; i++) {
            double v = walk[at + i] - base;
            y += v;
            iy += (double)i * v;
            yy += v * v;
        }
        total += residual(y, iy, yy, (double)length);
    }
    return sqrt(total / (double)blocks);
}

double dance_exponent(const struct dance *dance)
{
    size_t n = dance->variance.count;
    if (n < LEAST) return NAN;
    double *walk = xmalloc(n * sizeof *walk), mean = 0, at = 0, first = 0, last = 0;
    for (size_t i = 0; i < n; i++)
        mean += sqrt(course_mean_square(dance->variance.value[i])) / (double)n;
    for (size_t i = 0; i < n; i++)
        walk[i] = at += sqrt(course_mean_square(dance->variance.value[i])) - mean;
    /* the mean slope between lengths each GROWTH times the one before is that between the first and the last
     */
    size_t longest = SHORTEST;
    for (double length = SHORTEST; length <= LONGEST && length * LEAST_TIMES <= (double)n; length *= GROWTH) {
        longest = (size_t)length;
    }
    first = fluctuation(walk, n, SHORTEST);
    last = fluctuation(walk, n, longest);
    free(walk);
    if (first <= 0 || last <= 0 || longest == SHORTEST) return NAN;
    /* a line takes two degrees of freedom of each block: three more values, in Streich and Herrera's
     * correction */
    return log(last / first) / log((double)(longest + 3) / (SHORTEST + 3));
}
