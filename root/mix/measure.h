/* measure: how the tracks of a transition go together, from their stems; pure.
 *
 * A stem is one track's part of the transition. Of each are kept (stem.h): its low band as it is mixed
 * ("wet") and stretched and at its gain, but before fades and filters ("dry"), and a thinned copy of the dry
 * sound. PCM is stereo at 44.1 kHz. */
#ifndef FOREVER_ROOT_MIX_MEASURE_H
#define FOREVER_ROOT_MIX_MEASURE_H
#include <stddef.h>
#include <stdint.h>

#include "root/mix/stem.h"

/* How far b's beats lie from a's, bar by bar: the lag at which the onsets near the common beats agree best,
 * within 40 ms, in bars where they agree at all. Onsets are the rises of the log power (1 kHz) of two bands
 * that count the same: below 150 Hz, and what changes fast. */
struct measure_beats {
    int bars;                 /* that could be measured; the rest is NAN when none */
    double lag_ms;            /* median, positive when b is late */
    double median_ms, p95_ms; /* of |lag| */
    double drift_ms;          /* of the lag over the whole, by robust regression; NAN below six bars */
};
/* beat: count + 1 sample positions in the transition; metre: beats a bar. */
void measure_beats(const struct stem *a, const struct stem *b, const int64_t *beat, int count, int metre,
                   struct measure_beats *out);

/* By how much more both kicks agree when b is moved by half a beat than where it is: the correlation of the
 * rises of their low bands, each folded to one beat; -2 to 2, above 0.5 one of them is likely counted by its
 * offbeats. NAN when either has no such rises. */
double measure_offbeat(const struct stem *a, const struct stem *b, const int64_t *beat, int count);

/* How many beats in a row both stems strike apart, at most: each half as hard as it usually does, in the low
 * band or in what changes fast, and no two strikes within a fifth of the beat, 100 ms at most, nearer than 20
 * ms. A kick's ghost or a grace note is one; two are a tempo that has gone. */
int measure_apart(const struct stem *a, const struct stem *b, const int64_t *beat, int count);

/* Beats in which both stems' basses (below 150 Hz) stand above -9 dB of their own dry median beat. */
int measure_bass_overlap(const struct stem *a, const struct stem *b, const int64_t *beat, int count);
/* Pearson correlation of the dry low bands over [from, to) samples; NAN when either is silent. */
double measure_low_correlation(const struct stem *a, const struct stem *b, int64_t from, int64_t to);
/* Pearson correlation of the dry sound, whole band, both channels; 0 when either is silent. */
double measure_correlation(const struct stem *a, const struct stem *b);
/* Whether the dry sound rises above -40 dBFS within [from, to) samples. */
int measure_sounds(const struct stem *stem, size_t from, size_t to);

#endif
