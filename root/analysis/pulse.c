/* pulse: beat or offbeat.
 *
 * Hats and basses between the beats are often louder than what is on them, so strength alone misleads. Snare
 * and body (chords, melody) speak for a phase more than kick and hats do, and the harmony changes at bars: of
 * the four places a bar line could be, the one with the most change counts. The weights are round numbers
 * near those of a logistic regression over pieces with known beats. */
#include "root/analysis/pulse.h"

#include <math.h>

#include "root/analysis/key.h"

#define REACH      2 /* frames */
#define FLOOR      0.05
#define BODY_BANDS 3 /* kick, bass, snare; not the hats */

static const double band_weight[ONSET_BANDS] = {1.5, 2.5, 2.0, 0.5};
#define HARMONY_WEIGHT 5.0
#define HARMONY_FLOOR  0.01

double pulse_accent(const struct series *flux, double time_s)
{
    long centre = lround(time_s * ONSET_RATE);
    double most = 0;
    for (long i = centre - REACH; i <= centre + REACH; i++) {
        if (i >= 0 && i < (long)flux->count) most = fmax(most, flux->value[i]);
    }
    return most;
}

static double change_at(const struct series *harmony, double time_s)
{
    double place = time_s * CHROMA_RATE + 0.5, low = floor(place);
    long i = (long)low;
    if (i < 0 || i + 1 >= (long)harmony->count) return 0;
    return harmony->value[i] + (place - low) * (harmony->value[i + 1] - harmony->value[i]);
}

double pulse_evidence(const struct onset_curves *curves, const struct series *harmony, double first_s,
                      double period_s, double end_s)
{
    double accent[ONSET_BANDS] = {0}, change[4] = {0}, most = 0, sum = 0;
    size_t count = 0;
    for (double t = first_s; t < end_s; t = first_s + (double)count * period_s) {
        for (int b = 0; b < ONSET_BANDS; b++)
            accent[b] += pulse_accent(&curves->flux[b], t);
        change[count % 4] += change_at(harmony, t);
        count++;
    }
    if (count < 4) return 0;
    for (int b = 0; b < ONSET_BANDS; b++)
        sum += band_weight[b] * log(accent[b] / (double)count + FLOOR);
    for (int i = 0; i < 4; i++)
        most = fmax(most, change[i] / ((double)count / 4));
    return sum + HARMONY_WEIGHT * log(most + HARMONY_FLOOR);
}

double pulse_alternation(const struct onset_curves *curves, double first_s, double period_s, double end_s,
                         int *second)
{
    double mean[BODY_BANDS] = {0}, sum[2] = {0};
    size_t count = 0;
    for (double t = first_s; t < end_s; t = first_s + (double)++count * period_s) {
        for (int b = 0; b < BODY_BANDS; b++)
            mean[b] += pulse_accent(&curves->flux[b], t);
    }
    /* a kick on one beat and a snare on the next are both strong, each in its own band */
    for (size_t k = 0; k < count; k++) {
        double most = 0;
        for (int b = 0; b < BODY_BANDS; b++) {
            double accent = pulse_accent(&curves->flux[b], first_s + (double)k * period_s);
            if (mean[b] > 0) most = fmax(most, accent * (double)count / mean[b]);
        }
        sum[k % 2] += most;
    }
    *second = sum[1] > sum[0];
    return sum[0] + sum[1] > 0 ? fabs(sum[0] - sum[1]) / (sum[0] + sum[1]) : 0;
}
