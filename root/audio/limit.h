/* limit: look-ahead true-peak limiter (ITU-R BS.1770-4 annex 2, but 8 times oversampled: at 4 times a tone of
 * 20 kHz may pass 0.6 dB too high), both channels with one gain.
 *
 * Its memory is finite: the output at sample n is a pure function of the input in
 * [n - LIMIT_MEMORY, n + LIMIT_AHEAD], to the bit, wherever processing started. So a studio that restarts
 * feeds LIMIT_MEMORY samples more before the first one it needs. (Gains are fixed-point integers, sums over
 * windows are exact.) Where nothing comes near the ceiling the output is the input, to the bit. */
#ifndef FOREVER_ROOT_AUDIO_LIMIT_H
#define FOREVER_ROOT_AUDIO_LIMIT_H
#include <stddef.h>

#define LIMIT_AHEAD  512   /* latency in samples, enough for the look-ahead and the oversampling filter */
#define LIMIT_MEMORY 16384 /* how far back the input can matter */

struct limiter;
struct limiter *limiter_new(double ceiling_dbtp);
void limiter_free(struct limiter *limiter);
void limiter_reset(struct limiter *limiter); /* as new: all before is silence */
/* in and out: `samples` stereo samples, may be the same buffer; out is in delayed by LIMIT_AHEAD. */
void limiter_process(struct limiter *limiter, const float *in, float *out, size_t samples);
double limiter_reduction_db(const struct limiter *limiter); /* largest since it was new or reset */

#endif
