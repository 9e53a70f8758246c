/* tempo: how long a beat is, from the periodicity of the novelty. */
#ifndef FOREVER_ROOT_ANALYSIS_TEMPO_H
#define FOREVER_ROOT_ANALYSIS_TEMPO_H
#include "root/analysis/series.h"

#define TEMPO_MIN_BPM 40.0
#define TEMPO_MAX_BPM 240.0

/* How much the novelty resembles itself at each lag, in frames of ONSET_RATE: 1 at lag 0; empty when nothing
 * repeats. The caller frees it. */
struct series tempo_correlation(const struct series *novelty);
/* How much speaks for a period, in frames: more than 0. */
double tempo_salience(const struct series *correlation, double period);
/* The beat period in frames, to about 0.3 %; 0 when nothing repeats. */
double tempo_period(const struct series *correlation);
/* The period's course: one value for each TEMPO_STEP frames, smooth, near `period` or a simple multiple of
 * it. The caller frees it. */
#define TEMPO_STEP 172 /* about a second */
struct series tempo_course(const struct series *novelty, double period);

#endif
