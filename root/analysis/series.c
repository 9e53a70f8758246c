#include "root/analysis/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

/* Large blocks grow without being copied (mremap), so that little room needs to be left over. */
static size_t more_room(size_t room)
{
    return room + (room < 32768 ? 4096 : 32768);
}

void series_push(struct series *series, float value)
{
    if (series->count == series->room) {
        series->room = more_room(series->room);
        series->value = xrealloc(series->value, series->room * sizeof *series->value);
    }
    series->value[series->count++] = value;
}

void series_free(struct series *series)
{
    free(series->value);
    *series = (struct series){0};
}

void bytes_push(struct bytes *bytes, uint8_t value)
{
    if (bytes->count == bytes->room) {
        bytes->room = more_room(bytes->room);
        bytes->value = xrealloc(bytes->value, bytes->room);
    }
    bytes->value[bytes->count++] = value;
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->value);
    *bytes = (struct bytes){0};
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double values_quantile(double *values, size_t count, double share)
{
    if (!count) return 0;
    qsort(values, count, sizeof *values, compare);
    double place = share * (double)(count - 1);
    size_t low = (size_t)place;
    if (low + 1 >= count) return values[count - 1];
    return values[low] + (place - (double)low) * (values[low + 1] - values[low]);
}

void frames_init(struct frames *frames, size_t window, size_t hop, void (*take)(void *, const float *),
                 void *context)
{
    *frames = (struct frames){.window = window, .hop = hop, .take = take, .context = context};
    frames->buffer = xcalloc(window, sizeof *frames->buffer);
    frames->held = window / 2;
}

void frames_feed(struct frames *frames, const float *samples, size_t count)
{
    while (count) {
        size_t n = frames->window - frames->held;
        if (n > count) n = count;
        memcpy(frames->buffer + frames->held, samples, n * sizeof *samples);
        frames->held += n;
        samples += n;
        count -= n;
        if (frames->held < frames->window) return;
        frames->take(frames->context, frames->buffer);
        frames->held -= frames->hop;
        memmove(frames->buffer, frames->buffer + frames->hop, frames->held * sizeof *samples);
    }
}

void frames_finish(struct frames *frames)
{
    /* zeros up to the last frame centred before the end */
    size_t half = frames->window / 2;
    while (frames->held > half) {
        memset(frames->buffer + frames->held, 0, (frames->window - frames->held) * sizeof(float));
        frames->take(frames->context, frames->buffer);
        if (frames->held <= half + frames->hop) break;
        frames->held -= frames->hop;
        memmove(frames->buffer, frames->buffer + frames->hop, frames->held * sizeof(float));
    }
    frames->held = 0;
}

void frames_free(struct frames *frames)
{
    free(frames->buffer);
    frames->buffer = NULL;
}

void window_hann(float *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (float)(0.5 - 0.5 * cos(2 * M_PI * (double)i / (double)size));
}
