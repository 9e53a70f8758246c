/* dance: how regular the course of the loudness is at the time scales of beats and bars. */
#ifndef FOREVER_ROOT_ANALYSIS_DANCE_H
#define FOREVER_ROOT_ANALYSIS_DANCE_H
#include <stddef.h>

struct dance;
struct dance *dance_new(void);
void dance_free(struct dance *dance);
void dance_feed(struct dance *dance, const float *mono, size_t samples);
/* Mean scaling exponent of the loudness between 0.31 and 8.8 s, or as far as the length allows: about 0 for a
 * level that repeats exactly, 0.5 for one without memory, 1.5 for one that wanders. NAN below ten seconds. */
double dance_exponent(const struct dance *dance);

#endif
