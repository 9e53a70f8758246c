/* audition_draw: a transition as an SVG picture: both stems' waveforms with their beats and downbeats, the
 * fades of level and bass, the switch, and a close view of it. */
#ifndef FOREVER_ROOT_WORK_AUDITION_DRAW_H
#define FOREVER_ROOT_WORK_AUDITION_DRAW_H
#include "root/work/audition.h"

/* stems: as audition_read gives them, both of that length. The picture's text, owned; below 150 kB. */
char *audition_draw(const struct audition *audition, const float *const stems[AUDITION_TRACKS],
                    size_t samples);

#endif
