/* tempo: autocorrelation of the novelty, read through a comb.
 *
 * A beat period is one at whose every multiple up to eight the music resembles itself (the comb of Scheirer,
 * 1998, on an autocorrelation); half of it counts a little as well, because beats are usually divided in two.
 * Counting odd multiples is what tells a beat from three halves of it: 160 from 107. The octave is settled by
 * a wide log-normal preference, centred above the 120 to 130 beats a minute of Moelants (2002) because the
 * comb itself favours the slower of two octaves. */
#include "root/analysis/tempo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/onset.h"
#include "root/audio/fft.h"

#define WINDOW            4096 /* frames: 24 s */
#define LAGS              2112 /* eight of the longest periods */
#define TEETH             8
#define HALF_WEIGHT       0.1
#define PREFERRED_BPM     140.0
#define PREFERRED_OCTAVES 0.9 /* standard deviation */
#define LEAST_LIKENESS    0.02
#define STEP_RATIO        1.002 /* between the periods tried */

struct correlator {
    struct fft *fft;
    size_t window, lags;
    float *work, *power;
};

static void correlator_init(struct correlator *c, size_t window, size_t lags)
{
    *c = (struct correlator){.fft = fft_new(2 * window), .window = window, .lags = lags};
    c->work = xmalloc(2 * window * sizeof *c->work);
    c->power = xmalloc((window + 1) * sizeof *c->power);
}

static void correlator_free(struct correlator *c)
{
    fft_free(c->fft);
    free(c->work);
    free(c->power);
}

/* Adds the window's autocorrelation (1 at lag 0, as much at every lag for a perfectly periodic signal) to
 * sum; 1 when there was anything. The spectrum of the power spectrum, which is even, is the correlation. */
static int correlate(struct correlator *c, const float *x, size_t count, float *sum)
{
    double mean = 0;
    if (count > c->window) count = c->window;
    for (size_t i = 0; i < count; i++)
        mean += x[i];
    mean /= (double)(count ? count : 1);
    memset(c->work, 0, 2 * c->window * sizeof *c->work);
    for (size_t i = 0; i < count; i++)
        c->work[i] = (float)(x[i] - mean);
    fft_power(c->fft, c->work, c->power);
    for (size_t k = 0; k <= c->window; k++) {
        c->work[k] = c->power[k];
        if (k > 0 && k < c->window) c->work[2 * c->window - k] = c->power[k];
    }
    float *im = c->power, *re = xmalloc((c->window + 1) * sizeof *re);
    fft_forward(c->fft, c->work, re, im);
    int any = re[0] > 1e-6f;
    for (size_t lag = 0; any && lag < c->lags; lag++) {
        sum[lag] += re[lag] / re[0] * (float)c->window / (float)(c->window - lag);
    }
    free(re);
    return any;
}

static double at(const float *acf, size_t lags, double lag)
{
    size_t low = (size_t)lag;
    if (low + 1 >= lags) return 0;
    return acf[low] + (lag - (double)low) * (acf[low + 1] - acf[low]);
}

static double comb(const float *acf, size_t lags, int teeth, double period)
{
    double sum = 0;
    for (int k = 1; k <= teeth; k++)
        sum += at(acf, lags, k * period);
    return sum / teeth + HALF_WEIGHT * at(acf, lags, period / 2);
}

static double preference(double period, double preferred, double octaves)
{
    double z = log2(preferred / period) / octaves;
    return exp(-0.5 * z * z);
}

struct series tempo_correlation(const struct series *novelty)
{
    struct series result = {0};
    float *acf = xcalloc(LAGS, sizeof *acf);
    struct correlator c;
    correlator_init(&c, WINDOW, LAGS);
    int windows = 0;
    for (size_t from = 0; from == 0 || from + WINDOW / 2 < novelty->count; from += WINDOW / 2) {
        windows += correlate(&c, novelty->value + from, novelty->count - from, acf);
    }
    correlator_free(&c);
    for (size_t i = 0; windows && i < LAGS; i++)
        series_push(&result, acf[i] / (float)windows);
    free(acf);
    return result;
}

double tempo_salience(const struct series *correlation, double period)
{
    double likeness = correlation->count ? comb(correlation->value, correlation->count, TEETH, period) : 0;
    return fmax(likeness, LEAST_LIKENESS) *
           preference(period, 60 * ONSET_RATE / PREFERRED_BPM, PREFERRED_OCTAVES);
}

double tempo_period(const struct series *correlation)
{
    double best = 0, best_period = 0;
    for (double bpm = TEMPO_MIN_BPM; correlation->count && bpm <= TEMPO_MAX_BPM; bpm *= STEP_RATIO) {
        double period = 60 * ONSET_RATE / bpm, salience = tempo_salience(correlation, period);
        if (salience > best) {
            best = salience;
            best_period = period;
        }
    }
    return best_period;
}

/* The course: Viterbi's best path through the combs of short windows. */
#define COURSE_WINDOW  2048 /* frames: 12 s */
#define COURSE_LAGS    1100
#define COURSE_TEETH   4
#define COURSE_STATES  96
#define COURSE_RATIO   1.02
#define COURSE_OCTAVES 0.5
#define COURSE_STIFF   40.0 /* cost of a change by a factor e a step, against combs of up to 1 */

struct series tempo_course(const struct series *novelty, double period)
{
    struct series course = {0};
    size_t steps = novelty->count / TEMPO_STEP + 1;
    unsigned char *from = xmalloc(steps * COURSE_STATES);
    double score[COURSE_STATES] = {0}, next[COURSE_STATES], state_period[COURSE_STATES];
    for (int s = 0; s < COURSE_STATES; s++) {
        state_period[s] = period * pow(COURSE_RATIO, s - COURSE_STATES / 2);
    }
    struct correlator c;
    correlator_init(&c, COURSE_WINDOW, COURSE_LAGS);
    float *acf = xmalloc(COURSE_LAGS * sizeof *acf);
    for (size_t t = 0; t < steps; t++) {
        size_t centre = t * TEMPO_STEP, start = centre > COURSE_WINDOW / 2 ? centre - COURSE_WINDOW / 2 : 0;
        memset(acf, 0, COURSE_LAGS * sizeof *acf);
        correlate(&c, novelty->value + start, novelty->count - start, acf);
        for (int s = 0; s < COURSE_STATES; s++) {
            double best = -INFINITY;
            for (int r = 0; r < COURSE_STATES; r++) {
                double change = (s - r) * log(COURSE_RATIO),
                       value = score[r] - COURSE_STIFF * change * change;
                if (t && value > best) {
                    best = value;
                    from[t * COURSE_STATES + s] = (unsigned char)r;
                }
            }
            double p = state_period[s];
            next[s] = (t ? best : 0) +
                      comb(acf, COURSE_LAGS, COURSE_TEETH, p) * preference(p, period, COURSE_OCTAVES);
        }
        memcpy(score, next, sizeof score);
    }
    correlator_free(&c);
    free(acf);
    int s = 0;
    for (int r = 1; r < COURSE_STATES; r++) {
        if (score[r] > score[s]) s = r;
    }
    for (size_t t = 0; t < steps; t++)
        series_push(&course, 0);
    for (size_t t = steps; t-- > 0;) {
        course.value[t] = (float)state_period[s];
        if (t) s = from[t * COURSE_STATES + s];
    }
    free(from);
    return course;
}
