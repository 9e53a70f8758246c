/* bars: what each bar holds, measured from the course of the piece once its downbeats are known. */
#ifndef FOREVER_ROOT_ANALYSIS_BARS_H
#define FOREVER_ROOT_ANALYSIS_BARS_H
#include "root/analysis/accents.h"
#include "root/analysis/series.h"
#include "root/track.h"

/* What the extractors kept; not owned. */
struct bar_sources {
    const struct series *chroma, *bass, *tonality; /* of key.h */
    const struct bytes *loudness;                  /* of course.h */
    const struct bytes *levels;                    /* of timbre.h */
    const struct bytes *vocal;                     /* of vocal.h */
    const struct accents *accents;
};
/* One for each downbeat; NULL for none. The last bar is as long as the one before, or ends with the music.
 * The caller frees it. */
struct bar *bars_measure(const struct bar_sources *sources, const double *downbeats_s, size_t count,
                         double music_end_s);
/* Where bar i ends. */
double bars_end_s(const double *downbeats_s, size_t count, size_t i, double music_end_s);

#endif
