/* downbeat: which beats begin a bar. */
#ifndef FOREVER_ROOT_ANALYSIS_DOWNBEAT_H
#define FOREVER_ROOT_ANALYSIS_DOWNBEAT_H
#include "root/analysis/beat.h"

struct downbeats {
    int metre;    /* beats a bar, 3 to 7; 0 unknown */
    size_t first; /* number of the first beat that is a downbeat */
};

/* What is measured at a beat. */
enum downbeat_mark {
    MARK_KICK,
    MARK_BASS,
    MARK_SNARE,
    MARK_HAT,
    MARK_HARMONY, /* from the beat before to this one */
    MARK_BASS_NOTE,
    MARK_HARMONY_LONG, /* two beats before and after */
    MARK_TEXTURE,      /* four */
    MARK_SECTION,      /* sixteen */
    DOWNBEAT_MARKS
};

#define DOWNBEAT_PLACES 8
/* Mean of each mark, standardised over the piece, at each place of bars of so many beats (up to
 * DOWNBEAT_PLACES) that begin with beat 0. */
void downbeats_profile(const struct beats *beats, const struct clues *clues, int metre,
                       double place[DOWNBEAT_MARKS][DOWNBEAT_PLACES]);

struct downbeats downbeats_find(const struct beats *beats, const struct clues *clues);

#endif
