/* wrap: a stretch of sound made into one that goes round. Pure.
 *
 * The stretch is brought to an exact number of samples by a resampling so small that nobody hears it, and its
 * beginning is blended with what followed its end, so that the last sample is followed by the first as it was
 * by the next one. */
#ifndef FOREVER_ROOT_AUDIO_WRAP_H
#define FOREVER_ROOT_AUDIO_WRAP_H
#include <stddef.h>
#include <stdint.h>

#define WRAP_TAPS                                                                                            \
    32 /* of the interpolation: so many samples beyond what is used must be there at the end                 \
        */

/* Samples (stereo) of `in` that wrap_make reads, from the stretch's first one on. */
size_t wrap_needs(double body, size_t want, size_t fade);
/* So many samples behind the beginning of its memory the stretch has to stand. */
size_t wrap_lead(double body, size_t want);
/* In place, of pcm_short values, to save memory: the `body` samples (a fraction may be among them) from
 * wrap_lead on become the first `want`; the blend is `fade` of these long (less than want). power: of equal
 * power, for sound that does not go on as it began; else of equal amplitude, for sound that repeats. */
void wrap_make(int16_t *pcm, double body, size_t want, size_t fade, int power);

#endif
