/* series: a growing row of numbers, and a sliding window over a stream of samples. */
#ifndef FOREVER_ROOT_ANALYSIS_SERIES_H
#define FOREVER_ROOT_ANALYSIS_SERIES_H
#include <stddef.h>
#include <stdint.h>

struct series {
    float *value;
    size_t count, room;
};
void series_push(struct series *series, float value);
void series_free(struct series *series); /* leaves it empty */

/* The same of small whole numbers, where an hour at a high rate must not cost much. */
struct bytes {
    uint8_t *value;
    size_t count, room;
};
void bytes_push(struct bytes *bytes, uint8_t value);
void bytes_free(struct bytes *bytes);

/* The value below which `share` (0..1) of the values lie; reorders them. 0 for none. */
double values_quantile(double *values, size_t count, double share);

/* Frame i of a stream is the `window` samples centred on sample i * hop; what lies outside the stream is 0.
 * The last frame's centre lies before the stream's end. */
struct frames {
    size_t window, hop, held;
    float *buffer;
    void (*take)(void *context, const float *window);
    void *context;
};
void frames_init(struct frames *frames, size_t window, size_t hop, void (*take)(void *, const float *),
                 void *context);
void frames_feed(struct frames *frames, const float *samples, size_t count);
void frames_finish(struct frames *frames);
void frames_free(struct frames *frames);

/* Hann's window of that size, periodic. */
void window_hann(float *out, size_t size);

#endif
