/* features: what analysis found, by track. */
#ifndef FOREVER_ROOT_LIBRARY_FEATURES_H
#define FOREVER_ROOT_LIBRARY_FEATURES_H
#include <stdint.h>
#include <jansson.h>

#include "root/track.h"

struct library;

/* Keeps id's hash, tags and features; the track is TRACK_ANALYSED from now on. */
int features_store(struct library *library, const struct track *track);
/* The whole track: 1 with *out (track_free); 0: not known or never analysed; -1. */
int features_load(struct library *library, int64_t id, struct track *out);
/* Appends up to `limit` summaries (track_summary_to_json) of playable tracks (present, analysed, each content
 * once) above `after` to array, in id order: how many, or -1. */
int features_pool(struct library *library, int64_t after, int limit, json_t *array);
/* One summary, playable or not; NULL when never analysed. */
json_t *features_summary(struct library *library, int64_t id);

#endif
