/* hold: from where to where a piece keeps to its grid.
 *
 * Endings slow down, introductions are free: the grid goes on straight there, and what is mixed on it is
 * heard apart. */
#ifndef FOREVER_ROOT_ANALYSIS_HOLD_H
#define FOREVER_ROOT_ANALYSIS_HOLD_H
#include "root/analysis/accents.h"
#include "root/analysis/beat.h"

struct hold {
    double from_s, to_s; /* beats; NAN: from the first one on, to the last one */
};

/* accents: of the novelty in clues. What has more than one region is not looked at: its beats follow the
 * music. */
struct hold hold_find(const struct beats *beats, const struct clues *clues, const struct accents *accents);

#endif
