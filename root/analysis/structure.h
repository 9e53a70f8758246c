/* structure: intro, main, breakdown, drop, outro. */
#ifndef FOREVER_ROOT_ANALYSIS_STRUCTURE_H
#define FOREVER_ROOT_ANALYSIS_STRUCTURE_H
#include "root/analysis/bars.h"
#include "root/analysis/phrase.h"
#include "root/analysis/series.h"
#include "root/track.h"

/* The bars that parts are made of: what sounds before the first downbeat is one of its own; without downbeats
 * they are stretches of two seconds. */
struct course_bars {
    double *start_s; /* count + 1 of them, the last is the end */
    size_t count;
    size_t first; /* which of them begins at downbeats_s[0] */
};
struct course_bars structure_bars(const double *downbeats_s, size_t downbeat_count, double start_s,
                                  double end_s);

/* Novelty at the beginning of each bar, 0 or more; rows->count values, the caller frees. */
double *structure_novelty(const struct barrows *rows);

/* Parts begin at bars, at the beginning of a phrase if anything speaks for it (phrases counted in downbeats;
 * NULL unknown). bars, rows: of the bars above. Sections cover [start, end) without a gap. Returns an array
 * the caller frees; *count is 0 when the piece is too short to have parts. */
struct section *structure_find(const struct course_bars *where, const struct bar *bars,
                               const struct barrows *rows, const struct phrases *phrases, size_t *count);

#endif
