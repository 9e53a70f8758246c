/* fade: where a recording has been faded in and out. */
#ifndef FOREVER_ROOT_ANALYSIS_FADE_H
#define FOREVER_ROOT_ANALYSIS_FADE_H
#include <stddef.h>

/* level: loudness in LU (silence as low as you like) of `count` steps of step_s seconds, the first one
 * beginning at 0; the music lies from start_s to end_s. *in_s: where the fade-in ends; *out_s: where the
 * fade-out begins; NAN where there is none. */
void fade_find(const float *level, size_t count, double step_s, double start_s, double end_s, double *in_s,
               double *out_s);

#endif
