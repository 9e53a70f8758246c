/* tempo: how long a beat is, from the periodicity of the novelty. */
#ifndef FOREVER_ROOT_ANALYSIS_TEMPO_H
#define FOREVER_ROOT_ANALYSIS_TEMPO_H
#include "root/analysis/series.h"

#define TEMPO_MIN_BPM 40.0
#define TEMPO_MAX_BPM 240.0

/* The beat period in frames of ONSET_RATE, to about 0.3 %; 0 when nothing repeats. */
double tempo_period(const struct series *novelty);
/* The period's course: one value for each TEMPO_STEP frames, smooth, near `period` or a simple multiple of
 * it. The caller frees it. */
#define TEMPO_STEP 172 /* about a second */
struct series tempo_course(const struct series *novelty, double period);

#endif
