/* downbeat: which beats begin a bar. */
#ifndef FOREVER_ROOT_ANALYSIS_DOWNBEAT_H
#define FOREVER_ROOT_ANALYSIS_DOWNBEAT_H
#include "root/analysis/beat.h"

struct downbeats {
    int metre;    /* beats a bar, 3 or 4; 0 unknown */
    size_t first; /* number of the first beat that is a downbeat */
};

/* curves: normalised. chroma, bass: rows as of key.h; texture: rows as of timbre.h. */
struct downbeats downbeats_find(const struct beats *beats, const struct onset_curves *curves,
                                const struct series *chroma, const struct series *bass,
                                const struct series *texture);

#endif
