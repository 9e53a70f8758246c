/* draw: what the analysis of a track says, as a picture. */
#ifndef FOREVER_ROOT_WORK_DRAW_H
#define FOREVER_ROOT_WORK_DRAW_H
#include "root/track.h"
#include "root/work/examine.h"

/* Writes an SVG of the track to the file `path`, over what is there. name: stands for a missing title.
 * 0; -1 with an owned *cause. Blocks. */
int draw_track(const char *path, const char *name, const struct track *track,
               const struct examine_pictures *pictures, char **cause);

#endif
