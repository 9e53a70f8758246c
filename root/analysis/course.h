/* course: how loud the stream is, by the fortieth of a second, as bytes: BAR_LU steps down from 0. */
#ifndef FOREVER_ROOT_ANALYSIS_COURSE_H
#define FOREVER_ROOT_ANALYSIS_COURSE_H
#include "root/analysis/series.h"

#define COURSE_HOP    1024 /* samples: 23 ms */
#define COURSE_RATE   (44100.0 / COURSE_HOP)
#define COURSE_SILENT 255 /* -63.75 dB or less */

/* A mean square as a byte, and back; silence is 0. */
uint8_t course_byte(double mean_square);
double course_mean_square(uint8_t byte);

/* K-weighted mean square of both channels summed, as BS.1770 says: 0 is 0 LUFS. */
struct course;
struct course *course_new(void);
void course_free(struct course *course);
void course_feed(struct course *course, const float *pcm, size_t samples); /* stereo */
void course_finish(struct course *course);
/* Value i is of the samples from i * COURSE_HOP on. Owned by course. */
const struct bytes *course_loudness(const struct course *course);

#endif
