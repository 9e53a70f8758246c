/* vocal: what voices do and instruments rarely do.
 *
 * A voice glides: all its partials move together by some cents from frame to frame, smoothly, where the notes
 * of keys and sequencers stand still (Lehner, Sonnleitner and Widmer, Towards light-weight, real-time-capable
 * singing voice detection, 2013). Its spectrum between 250 Hz and 4 kHz changes shape with every vowel and
 * consonant (their "vocal variance"), and its level rises and falls with the syllables, about four times a
 * second (Scheirer and Slaney, Construction and evaluation of a robust multifeature speech/music
 * discriminator, 1997). These cues are summed over rows of 16 frames and taken over four rows (1.5 s), and a
 * logistic regression makes one likelihood of them.
 *
 * The weights were fitted to recordings of speech, speech synthesis and synthesised singing mixed into
 * instrumental music at -3 to 6 dB of its level (tests/bench/ears/voices.py, which lists them). On music and
 * voices it was not fitted to it finds 95 % of the rows with a voice and takes 4 % of those without for one
 * (area under the curve 0.986); people's speech over music 86 %. Recorded singing was not to be had: a hint
 * for where to mix, not a fact. Leads that glide, and choirs out of a sampler, are voices to it. */
#include "root/analysis/vocal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define HZ_PER_BIN  (44100.0 / 2048)
#define FROM_BIN    12  /* 258 Hz */
#define TO_BIN      163 /* 3.5 kHz */
#define TOP_BIN     1024
#define BANDS       8
#define PEAKS       40
#define REACH_CENTS 90.0
#define WINDOW_ROWS 4
#define QUIET       1e-8 /* mean square of the range below which nobody sings */
#define GLIDE_LEAST 6.0  /* cents a frame: a voice moves by more, */
#define GLIDE_MOST  60.0 /* by less, */
#define GLIDE_SPAN  20.0 /* and its partials agree within */

struct peak {
    float hz, weight;
};

enum sum { FRAMES, GLIDE, SPREAD, TOGETHER, SHARE, FLAT, MOVE, MOVE_SQUARE, MOVE_NEXT, SUMS };

struct row {
    double sum[SUMS], band[BANDS], square[BANDS], level, level_square;
};

struct vocal {
    struct peak before[PEAKS];
    size_t before_count;
    double moved; /* cents, of the frame before */
    struct row rows[WINDOW_ROWS];
    size_t frame, row;
    double cues[VOCAL_CUES];
    struct bytes likelihood;
};

struct vocal *vocal_new(void)
{
    return xcalloc(1, sizeof(struct vocal));
}

void vocal_free(struct vocal *vocal)
{
    if (!vocal) return;
    bytes_free(&vocal->likelihood);
    free(vocal);
}

/* Peaks that stand out from the range's mean. */
static size_t find_peaks(const float *p, double mean, struct peak *peaks)
{
    size_t count = 0;
    for (int k = FROM_BIN; k < TO_BIN && count < PEAKS; k++) {
        if (p[k] <= p[k - 1] || p[k] < p[k + 1] || p[k] < 0.5 * mean) continue;
        float a = logf(p[k - 1] + 1e-20f), b = logf(p[k]), c = logf(p[k + 1] + 1e-20f), bend = a - 2 * b + c;
        float offset = bend < 0 ? 0.5f * (a - c) / bend : 0;
        peaks[count++] = (struct peak){(float)(((float)k + offset) * HZ_PER_BIN), sqrtf(p[k])};
    }
    return count;
}

/* By how many cents the peaks moved since the frame before, weighted; *spread: how far they disagree. 0 when
 * none goes on. */
static int movement(const struct vocal *vocal, const struct peak *now, size_t count, double *cents,
                    double *spread)
{
    double moved[PEAKS], weight[PEAKS], sum = 0, total = 0, apart = 0;
    size_t pairs = 0, j = 0;
    for (size_t i = 0; i < count; i++) {
        while (j + 1 < vocal->before_count &&
               fabsf(vocal->before[j + 1].hz - now[i].hz) <= fabsf(vocal->before[j].hz - now[i].hz))
            j++;
        if (j >= vocal->before_count) continue;
        double step = 1200 * log2((double)now[i].hz / vocal->before[j].hz);
        if (fabs(step) > REACH_CENTS) continue;
        moved[pairs] = step;
        weight[pairs] = fminf(now[i].weight, vocal->before[j].weight);
        sum += weight[pairs] * step;
        total += weight[pairs++];
    }
    if (total <= 0) return 0;
    *cents = sum / total;
    for (size_t i = 0; i < pairs; i++)
        apart += weight[i] * fabs(moved[i] - *cents);
    *spread = apart / total;
    return 1;
}

static void add_glide(struct vocal *vocal, struct row *row, const float *power, double mean)
{
    struct peak now[PEAKS];
    size_t count = find_peaks(power, mean, now);
    double cents = 0, spread = REACH_CENTS;
    if (movement(vocal, now, count, &cents, &spread)) {
        double size = fabs(cents);
        row->sum[GLIDE] += size;
        row->sum[SPREAD] += spread;
        row->sum[TOGETHER] += size > GLIDE_LEAST && size < GLIDE_MOST && spread < GLIDE_SPAN;
        row->sum[MOVE] += cents;
        row->sum[MOVE_SQUARE] += cents * cents;
        row->sum[MOVE_NEXT] += cents * vocal->moved;
    } else {
        row->sum[SPREAD] += spread;
    }
    vocal->moved = cents;
    memcpy(vocal->before, now, count * sizeof *now);
    vocal->before_count = count;
}

/* Logarithms of the energy in bands a third of an octave and more wide, less their mean. */
static void add_shape(struct row *row, const float *power)
{
    static const int edge[BANDS + 1] = {12, 17, 23, 32, 45, 63, 88, 122, 170};
    double band[BANDS], mean = 0;
    for (int b = 0; b < BANDS; b++) {
        float sum = 1e-10f;
        for (int k = edge[b]; k < edge[b + 1]; k++)
            sum += power[k];
        band[b] = logf(sum);
        mean += band[b] / BANDS;
    }
    for (int b = 0; b < BANDS; b++) {
        row->band[b] += band[b] - mean;
        row->square[b] += (band[b] - mean) * (band[b] - mean);
    }
    row->level += mean;
    row->level_square += mean * mean;
}

static double variance(double sum, double square, double n)
{
    return fmax(0, square / n - sum / n * (sum / n));
}

/* Weights by cue, then the constant; of cues that are standardised by centre and scale. The fit, in which
 * every second row held a voice, gave a constant of 0.9: a false alarm costs more than a voice that is
 * missed. */
static const double centre[VOCAL_CUES] = {11.52, 17.79, 0.2934, -4.686, -0.0759, -0.1452, -3.081, 0.07064};
static const double scale[VOCAL_CUES] = {5.276, 6.915, 0.164, 3.036, 0.6538, 0.4976, 1.039, 0.2932};
static const double weight[VOCAL_CUES + 1] = {2.858,  -1.648, 0.8292, 1.608, -0.7381,
                                              0.1282, 0.3863, 2.616,  0};

static void weigh(struct vocal *vocal)
{
    struct row all = {0};
    for (int r = 0; r < WINDOW_ROWS; r++) {
        const struct row *row = &vocal->rows[r];
        for (int i = 0; i < SUMS; i++)
            all.sum[i] += row->sum[i];
        for (int b = 0; b < BANDS; b++) {
            all.band[b] += row->band[b];
            all.square[b] += row->square[b];
        }
        all.level += row->level;
        all.level_square += row->level_square;
    }
    double n = all.sum[FRAMES], shape = 0, *cue = vocal->cues, z = weight[VOCAL_CUES];
    memset(cue, 0, VOCAL_CUES * sizeof *cue);
    if (n < VOCAL_FRAMES) {
        bytes_push(&vocal->likelihood, 0);
        return;
    }
    for (int b = 0; b < BANDS; b++)
        shape += variance(all.band[b], all.square[b], n) / BANDS;
    cue[0] = all.sum[GLIDE] / n;
    cue[1] = all.sum[SPREAD] / n;
    cue[2] = all.sum[TOGETHER] / n;
    cue[3] = all.sum[SHARE] / n;
    cue[4] = log(shape + 0.01);
    cue[5] = log(sqrt(variance(all.level, all.level_square, n)) + 0.01);
    cue[6] = all.sum[FLAT] / n;
    cue[7] = all.sum[MOVE_NEXT] / (all.sum[MOVE_SQUARE] + 1);
    for (int i = 0; i < VOCAL_CUES; i++)
        z += weight[i] * (cue[i] - centre[i]) / scale[i];
    bytes_push(&vocal->likelihood, (uint8_t)lround(255 / (1 + exp(-z))));
}

/* A row is judged when the one after it is there: by itself, two before and one after. */
static void end_row(struct vocal *vocal)
{
    if (vocal->row++) weigh(vocal);
    vocal->frame = 0;
    memset(&vocal->rows[vocal->row % WINDOW_ROWS], 0, sizeof *vocal->rows);
}

void vocal_spectrum(void *context, const float *power)
{
    struct vocal *vocal = context;
    struct row *row = &vocal->rows[vocal->row % WINDOW_ROWS];
    double range = 0, logs = 0, all = 0;
    for (int k = 1; k < TOP_BIN; k++)
        all += power[k];
    for (int k = FROM_BIN; k < TO_BIN; k++)
        range += power[k];
    if (range > QUIET) {
        double mean = range / (TO_BIN - FROM_BIN);
        /* four bins' product before the logarithm: a quarter of the logarithms */
        for (int k = FROM_BIN; k + 4 <= TO_BIN; k += 4) {
            double p = 1;
            for (int i = 0; i < 4; i++)
                p *= power[k + i] / mean + 1e-6;
            logs += log(p);
        }
        row->sum[FRAMES]++;
        row->sum[SHARE] += 10 * log10(range / all);
        row->sum[FLAT] += logs / (TO_BIN - FROM_BIN);
        add_glide(vocal, row, power, mean);
        add_shape(row, power);
    } else {
        vocal->before_count = 0;
        vocal->moved = 0;
    }
    if (++vocal->frame == VOCAL_FRAMES) end_row(vocal);
}

void vocal_finish(struct vocal *vocal)
{
    if (vocal->frame) end_row(vocal);
    end_row(vocal); /* nothing comes after the last */
}

const struct bytes *vocal_rows(const struct vocal *vocal)
{
    return &vocal->likelihood;
}

double vocal_share(const struct vocal *vocal, double from_s, double to_s)
{
    size_t n = vocal->likelihood.count, voiced = 0, seen = 0;
    for (size_t i = (size_t)fmax(0, from_s * VOCAL_RATE); i < n && (double)i < to_s * VOCAL_RATE; i++, seen++)
        voiced += vocal->likelihood.value[i] > 127;
    return seen ? (double)voiced / (double)seen : NAN;
}

const double *vocal_cues(const struct vocal *vocal)
{
    return vocal->cues;
}
