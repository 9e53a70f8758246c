/* stretch: time-stretching of one passage, both channels phase-coherent, exactly as long as asked.
 *
 * Rubber Band R2 offline with a key-frame map; where the map stays within 0.5 % of unity speed, plain
 * windowed-sinc resampling instead (pitch moves by at most 9 cents, and nothing else changes). The result is
 * a pure function of the input: it always starts at the start of its passage (R2 can't be primed). */
#ifndef FOREVER_ROOT_AUDIO_STRETCH_H
#define FOREVER_ROOT_AUDIO_STRETCH_H
#include <stddef.h>

struct stretch_point {
    double in,
        out; /* samples from the passage's start; both strictly increasing; first 0,0; last the lengths */
};
/* So many samples behind the beginning of its channel the input of such a map has to stand. */
size_t stretch_lead(const struct stretch_point *map, size_t points);
/* In place, to save memory: of each channel, which is PCM of its own, [lead, lead + in_samples) becomes
 * [0, out_samples); there is room for the longer of both. */
void stretch_passage(float *const channels[2], size_t in_samples, const struct stretch_point *map,
                     size_t points, size_t out_samples);
/* 1 when the map will be resampled rather than stretched. */
int stretch_is_resampling(const struct stretch_point *map, size_t points);
const char *stretch_library(void); /* "rubberband 3.1.2" */

#endif
