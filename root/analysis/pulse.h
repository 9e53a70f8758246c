/* pulse: which of a piece's regular pulses is the beat. */
#ifndef FOREVER_ROOT_ANALYSIS_PULSE_H
#define FOREVER_ROOT_ANALYSIS_PULSE_H
#include "root/analysis/onset.h"

/* Evidence that beats lie at first_s + k * period_s: a sum of logarithms, so that the difference between two
 * phases is about the logarithm of the odds. curves: normalised; harmony: as of novelty_harmony. */
double pulse_evidence(const struct onset_curves *curves, const struct series *harmony, double first_s,
                      double period_s, double end_s);
/* How much every second beat differs in kick, bass and snare from its neighbours: 0 alike, 1 = they are bare.
 * *second is set when the bare ones are those with even numbers. */
double pulse_alternation(const struct onset_curves *curves, double first_s, double period_s, double end_s,
                         int *second);
/* Largest value of a flux curve within 12 ms of a time. */
double pulse_accent(const struct series *flux, double time_s);

#endif
