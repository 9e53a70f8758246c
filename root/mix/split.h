/* split: the bands of a whole passage, in phase with it.
 *
 * A Butterworth low pass of second order run forwards and then backwards: the amplitude response of a
 * Linkwitz-Riley crossover of fourth order (-6 dB at the corner, 24 dB per octave) without its phase, so that
 * what is left when the low band is subtracted is the high band of the same crossover, and both together are
 * the input again. Only possible because passages are at hand as a whole. */
#ifndef FOREVER_ROOT_MIX_SPLIT_H
#define FOREVER_ROOT_MIX_SPLIT_H
#include <stddef.h>

/* in: `samples` values, `stride` apart; out: `samples` values. */
void split_low(const float *in, size_t stride, size_t samples, double corner_hz, double rate, float *out);

#endif
