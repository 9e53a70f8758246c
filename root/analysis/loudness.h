/* loudness: EBU R 128 (libebur128), where the music begins and ends, and its fades. */
#ifndef FOREVER_ROOT_ANALYSIS_LOUDNESS_H
#define FOREVER_ROOT_ANALYSIS_LOUDNESS_H
#include <stddef.h>
#include <stdint.h>

#define LOUDNESS_SILENCE_DB (-60.0) /* dBFS: what is below at both ends is no music */

struct loudness;
struct loudness *loudness_new(void);
void loudness_free(struct loudness *loudness);
void loudness_feed(struct loudness *loudness, const float *pcm, size_t samples);

/* Numbers are NAN when there is too little sound to tell. */
struct loudness_result {
    double integrated_lufs, range_lu;
    double loud_lufs;             /* 95th percentile of the short-term loudness (3 s) */
    double true_peak_dbtp;        /* of the louder channel */
    double start_s, end_s;        /* of what exceeds LOUDNESS_SILENCE_DB; equal when nothing does */
    double fade_in_s, fade_out_s; /* NAN: there is none (fade.h) */
};
void loudness_finish(struct loudness *loudness, struct loudness_result *out);
/* After that: the loudness curve of struct features, owned. */
uint8_t *loudness_curve(const struct loudness *loudness, size_t *count);

#endif
