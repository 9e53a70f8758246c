/* mel: the spectrum as the network hears it: 50 frames a second of log magnitudes in bands of equal width on
 * the mel scale (Stevens, Volkmann, Newman, 1937). */
#ifndef FOREVER_ROOT_ANALYSIS_MEL_H
#define FOREVER_ROOT_ANALYSIS_MEL_H
#include <stddef.h>

#define MEL_BANDS 40
#define MEL_HOP   882 /* samples: exactly 20 ms */
#define MEL_RATE  50

struct mel;
/* take: frame i, which belongs to the time i / MEL_RATE: MEL_BANDS values from 0 up. */
struct mel *mel_new(void (*take)(void *context, const float *bands), void *context);
void mel_free(struct mel *mel);
/* mono at 44.1 kHz */
void mel_feed(struct mel *mel, const float *mono, size_t samples);
void mel_finish(struct mel *mel);

#endif
