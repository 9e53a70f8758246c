/* downbeat: which beats begin a bar. */
#ifndef FOREVER_ROOT_ANALYSIS_DOWNBEAT_H
#define FOREVER_ROOT_ANALYSIS_DOWNBEAT_H
#include "root/analysis/beat.h"

struct downbeats {
    int metre;    /* beats a bar, 3 to 7; 0 unknown */
    size_t first; /* number of the first beat that is a downbeat */
};

struct downbeats downbeats_find(const struct beats *beats, const struct clues *clues);

#endif
