/* structure: intro, main, breakdown, drop, outro. */
#ifndef FOREVER_ROOT_ANALYSIS_STRUCTURE_H
#define FOREVER_ROOT_ANALYSIS_STRUCTURE_H
#include "root/analysis/series.h"
#include "root/track.h"

/* Boundaries are snapped to bars_s (downbeats, count of them; without any, to whole seconds). texture: rows
 * as of timbre.h; chroma: rows as of key.h. Sections cover [start_s, end_s) without a gap. Returns an array
 * the caller frees; *count is 0 when the piece is too short to have parts. */
struct section *structure_find(const struct series *texture, const struct series *chroma,
                               const double *bars_s, size_t bar_count, double start_s, double end_s,
                               size_t *count);

#endif
