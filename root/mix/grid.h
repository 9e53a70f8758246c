/* grid: a track's beats, bars and phrases on whole source samples, as the planner needs them.
 *
 * Phrases are eight bars; which bars start them the analysis says, else the section boundaries vote, else
 * they are counted from the first downbeat. Beats missing from the list at both ends of the music (a loop
 * begins with one, and ends exactly one beat after its last one) are continued at the grid's own period, up
 * to a bar. */
#ifndef FOREVER_ROOT_MIX_GRID_H
#define FOREVER_ROOT_MIX_GRID_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

#define GRID_PHRASE_BARS 8

/* The part of a track worth playing, in source samples: from <= to. */
struct span {
    int64_t from, to;
};

struct grid {
    int64_t *beat; /* strictly increasing, within the music */
    size_t count;
    uint8_t *down; /* per beat: starts a bar */
    size_t *bar;   /* indexes of these beats; none when downbeats are unknown */
    size_t bar_count;
    int metre;     /* beats per bar; 4 when unknown */
    int phrase;    /* bar b starts a phrase when b % GRID_PHRASE_BARS equals it */
    double period; /* median distance of two beats */
};

struct span span_of(const struct track *track);
void grid_make(struct grid *grid, const struct track *track);
void grid_free(struct grid *grid);

#endif
