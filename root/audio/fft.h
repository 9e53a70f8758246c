/* fft: the discrete Fourier transform of real signals. */
#ifndef FOREVER_ROOT_AUDIO_FFT_H
#define FOREVER_ROOT_AUDIO_FFT_H
#include <stddef.h>

struct fft;

/* size: a power of two from 16 to 2^24. Holds its own scratch, so one transform at a time. */
struct fft *fft_new(size_t size);
void fft_free(struct fft *fft);
size_t fft_size(const struct fft *fft);
/* X(k) = sum over n of in(n) exp(-2 pi i k n / size), k = 0 .. size/2. in: size values, untouched; re and im:
 * size/2 + 1 values each. */
void fft_forward(struct fft *fft, const float *in, float *re, float *im);
/* |X(k)|^2; power may be in itself where that has room for the size. */
void fft_power(struct fft *fft, const float *in, float *power);

#endif
