/* analysis: PCM to features, one pass, memory bounded whatever the length. */
#ifndef FOREVER_ROOT_ANALYSIS_ANALYSIS_H
#define FOREVER_ROOT_ANALYSIS_ANALYSIS_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

struct analysis;

struct analysis *analysis_new(void);
void analysis_free(struct analysis *analysis);
/* Recordings of more samples get no beats and parts; two hours unless this is called before the first. */
void analysis_limit(struct analysis *analysis, size_t longest);
/* Any number of stereo samples at 44.1 kHz, in order. */
void analysis_feed(struct analysis *analysis, const float *pcm, size_t samples);
/* All that is known; out is freshly initialised. 0; -1 with an owned *cause when there was no sound at all.
 */
int analysis_finish(struct analysis *analysis, struct features *out, char **cause);
/* At the end, once: the waveform (wave.h), owned, of *len bytes. */
uint8_t *analysis_wave(struct analysis *analysis, size_t *len);

#endif
