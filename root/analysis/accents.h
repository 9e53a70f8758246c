/* accents: the onsets one can hear, each once. */
#ifndef FOREVER_ROOT_ANALYSIS_ACCENTS_H
#define FOREVER_ROOT_ANALYSIS_ACCENTS_H
#include "root/analysis/series.h"

struct accents {
    double *time_s; /* in order */
    size_t count;
};
/* novelty: as of novelty_sum. Kicks, notes and hats that fall together are one. The caller frees time_s. */
struct accents accents_find(const struct series *novelty);
/* How many lie in [from_s, to_s). */
size_t accents_between(const struct accents *accents, double from_s, double to_s);

#endif
