/* regions: a row of beats as stretches of constant tempo. */
#ifndef FOREVER_ROOT_ANALYSIS_REGIONS_H
#define FOREVER_ROOT_ANALYSIS_REGIONS_H
#include <stddef.h>

#include "root/track.h"

#define REGION_BEATS 16 /* the shortest; only a piece of fewer beats has a shorter one */

/* Cuts the beats into as few regions as describe them and puts every beat of a region on its line. time_s:
 * increasing, rewritten, still increasing. trust: 0..1 of each. Returns *regions many, owned by the caller;
 * NULL without beats. */
struct region *regions_fit(double *time_s, const double *trust, size_t count, size_t *regions);

#endif
