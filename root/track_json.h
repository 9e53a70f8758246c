/* track_json: what the parts of the JSON form of tracks share (track_json.c, track_features.c). */
#ifndef FOREVER_ROOT_TRACK_JSON_H
#define FOREVER_ROOT_TRACK_JSON_H
#include <stddef.h>
#include <jansson.h>

#include "root/track.h"

/* Writing: what is unknown (NULL, NAN) is left out. */
void put_text(json_t *object, const char *key, const char *text);
void put_real(json_t *object, const char *key, double value);

/* Reading: everything is read; *wrong names the first member that is not what it should be. */
void reject(const char **wrong, const char *key);
char *take_text(const json_t *object, const char *key, const char **wrong);
double take_real(const json_t *object, const char *key, double min, double max, const char **wrong);
/* -1 with an owned *cause when something was wrong. */
int track_verdict(const char *what, const char *wrong, char **cause);

json_t *features_summary_to_json(const struct features *f);

/* Bytes as text (RFC 4648, padded); owned. */
char *base64_encode(const void *bytes, size_t count);
/* Owned bytes with *count; NULL when the text is none, or has no bytes. */
void *base64_decode(const char *text, size_t *count);

#endif
