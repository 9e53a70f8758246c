#include "root/analysis/novelty.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "root/analysis/key.h"

#define MEAN_FRAMES     43  /* to either side: a quarter of a second */
#define STRENGTH_FRAMES 861 /* to either side: five seconds */
#define FLOOR_SHARE     0.3 /* of the whole curve's strength: a silent part is not blown up to a loud one */

static const float band_weight[ONSET_BANDS] = {1, 1, 1, 0.6f};

enum average { MEAN, MEAN_SQUARE };

/* Replaces each value by change(value, average of the values within reach of it). */
static void moving(struct series *x, size_t reach, enum average average, double floor,
                   float (*change)(float value, double average, double floor))
{
    size_t span = 2 * reach + 1, n = x->count;
    float *old = xcalloc(span, sizeof *old); /* values already replaced */
    double sum = 0;
    for (size_t i = 0; i < reach && i < n; i++) {
        sum += average == MEAN ? x->value[i] : (double)x->value[i] * x->value[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (i + reach < n) {
            double v = x->value[i + reach];
            sum += average == MEAN ? v : v * v;
        }
        if (i > reach) {
            double v = old[(i - reach - 1) % span];
            sum -= average == MEAN ? v : v * v;
        }
        old[i % span] = x->value[i];
        x->value[i] = change(x->value[i], fmax(0, sum / (double)span), floor);
    }
    free(old);
}

static float stand_out(float value, double average, double floor)
{
    (void)floor;
    return value > average ? (float)(value - average) : 0;
}

static float relate(float value, double average, double floor)
{
    return (float)(value / (sqrt(average) + floor));
}

void novelty_normalise(struct onset_curves *curves)
{
    for (int b = 0; b < ONSET_BANDS; b++) {
        struct series *x = &curves->flux[b];
        moving(x, MEAN_FRAMES, MEAN, 0, stand_out);
        double square = 0;
        for (size_t i = 0; i < x->count; i++)
            square += (double)x->value[i] * x->value[i];
        double strength = x->count ? sqrt(square / (double)x->count) : 0;
        moving(x, STRENGTH_FRAMES, MEAN_SQUARE, FLOOR_SHARE * strength + 1e-9, relate);
    }
}

struct series novelty_sum(const struct onset_curves *curves)
{
    struct series sum = {0};
    for (size_t i = 0; i < curves->flux[0].count; i++) {
        float value = 0;
        for (int b = 0; b < ONSET_BANDS; b++)
            value += band_weight[b] * curves->flux[b].value[i];
        series_push(&sum, value);
    }
    return sum;
}

struct series novelty_harmony(const struct series *rows)
{
    struct series change = {0};
    long n = (long)(rows->count / CHROMA_BINS), reach = 3;
    for (long i = 0; i < n; i++) {
        double before[CHROMA_BINS] = {0}, after[CHROMA_BINS] = {0}, dot = 0, bb = 0, aa = 0;
        if (i >= reach && i + reach <= n) {
            for (long j = 0; j < reach; j++) {
                for (int c = 0; c < CHROMA_BINS; c++) {
                    before[c] += rows->value[(i - 1 - j) * CHROMA_BINS + c];
                    after[c] += rows->value[(i + j) * CHROMA_BINS + c];
                }
            }
        }
        for (int c = 0; c < CHROMA_BINS; c++) {
            dot += before[c] * after[c];
            bb += before[c] * before[c];
            aa += after[c] * after[c];
        }
        series_push(&change, bb > 0 && aa > 0 ? (float)(1 - dot / sqrt(bb * aa)) : 0);
    }
    return change;
}
