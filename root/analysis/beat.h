/* beat: the beats of a piece, and how far they can be trusted. */
#ifndef FOREVER_ROOT_ANALYSIS_BEAT_H
#define FOREVER_ROOT_ANALYSIS_BEAT_H
#include "root/analysis/clues.h"
#include "root/analysis/regions.h"

struct beats {
    double *time_s; /* owned */
    size_t count;
    double bpm;             /* NAN unknown */
    double confidence;      /* 0..1 */
    struct region *regions; /* owned; one where a constant tempo fits, none without beats */
    size_t region_count;
};

/* Beats lie in [from_s, to_s], where there is music, or a moment before. */
struct beats beats_find(const struct clues *clues, double from_s, double to_s);
void beats_free(struct beats *beats);

#endif
