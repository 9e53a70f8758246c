/* beat: the beats of a piece, and how far they can be trusted. */
#ifndef FOREVER_ROOT_ANALYSIS_BEAT_H
#define FOREVER_ROOT_ANALYSIS_BEAT_H
#include "root/analysis/onset.h"

struct beats {
    double *time_s; /* owned */
    size_t count;
    double bpm;        /* NAN unknown */
    double confidence; /* 0..1 */
    int steady;        /* one grid describes the piece */
};

/* curves: normalised (novelty_normalise). */
struct beats beats_find(const struct onset_curves *curves, const struct series *novelty,
                        const struct series *harmony);
/* Drops the beats outside [from_s, to_s], with a little room before from_s. */
void beats_trim(struct beats *beats, double from_s, double to_s);
void beats_free(struct beats *beats);

#endif
