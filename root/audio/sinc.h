/* sinc: the windowed-sinc interpolation kernel that the limiter's meter and the resampler share. */
#ifndef FOREVER_ROOT_AUDIO_SINC_H
#define FOREVER_ROOT_AUDIO_SINC_H

/* sinc(t) under a Kaiser window that ends at t = +-half; beta 5: 53 dB stop band, 8: 80 dB (Kaiser and
 * Schafer 1980). At whole t it is exactly 1 or 0, so that what lies on a sample comes back unchanged. */
double sinc_kaiser(double t, double half, double beta);

#endif
