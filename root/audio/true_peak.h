/* true_peak: the highest value of the signal between its samples (ITU-R BS.1770-4, annex 2). */
#ifndef FOREVER_ROOT_AUDIO_TRUE_PEAK_H
#define FOREVER_ROOT_AUDIO_TRUE_PEAK_H
#include <stddef.h>

struct true_peak;
struct true_peak *true_peak_new(void);
void true_peak_free(struct true_peak *true_peak);
void true_peak_feed(struct true_peak *true_peak, const float *pcm, size_t samples);
/* Linear, of the louder channel; takes what is still in the filter with it. */
double true_peak_finish(struct true_peak *true_peak);

#endif
