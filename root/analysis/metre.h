/* metre: how many beats make a bar. */
#ifndef FOREVER_ROOT_ANALYSIS_METRE_H
#define FOREVER_ROOT_ANALYSIS_METRE_H
#include "root/analysis/clues.h"

#define METRE_LAGS 64
/* How much beats so far apart are alike, 0 for as much as any: lag i + 1 at i. At least two beats. */
void metre_likeness(const struct clues *clues, const double *time_s, size_t beats,
                    double likeness[METRE_LAGS]);
/* How much more alike than any beats are those a multiple of so many beats apart. */
double metre_worth(const double likeness[METRE_LAGS], int beats);
/* 3, 4, 5, 6 or 7 beats. */
int metre_of(const double likeness[METRE_LAGS]);

#endif
