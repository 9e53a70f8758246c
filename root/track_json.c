/* Tags and tracks as JSON; features are in track_features.c. */
#include "root/track_json.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

void put_text(json_t *object, const char *key, const char *text)
{
    if (text) json_object_set_new(object, key, json_text_lossy(text));
}

void put_real(json_t *object, const char *key, double value)
{
    if (isfinite(value)) json_object_set_new(object, key, json_real(value));
}

void reject(const char **wrong, const char *key)
{
    if (!*wrong) *wrong = key;
}

char *take_text(const json_t *object, const char *key, const char **wrong)
{
    int bad = 0;
    const char *text = json_str_or(object, key, NULL, &bad);
    if (bad) reject(wrong, key);
    return text ? xstrdup(text) : NULL;
}

double take_real(const json_t *object, const char *key, double min, double max, const char **wrong)
{
    int bad = 0;
    double value = json_real_or(object, key, NAN, &bad);
    if (bad || value < min || value > max) reject(wrong, key);
    return value;
}

int track_verdict(const char *what, const char *wrong, char **cause)
{
    return wrong ? cause_set(cause, "%s: %s is wrong", what, wrong) : 0;
}

/* Bytes */

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *bytes, size_t count)
{
    const uint8_t *in = bytes;
    char *text = xmalloc((count + 2) / 3 * 4 + 1), *out = text;
    for (size_t i = 0; i < count; i += 3) {
        size_t n = count - i < 3 ? count - i : 3;
        uint32_t word = (uint32_t)in[i] << 16;
        if (n > 1) word |= (uint32_t)in[i + 1] << 8;
        if (n > 2) word |= in[i + 2];
        for (size_t k = 0; k < 4; k++)
            *out++ = k <= n ? digits64[word >> (18 - 6 * k) & 63] : '=';
    }
    *out = '\0';
    return text;
}

void *base64_decode(const char *text, size_t *count)
{
    size_t len = strlen(text), pad = 0;
    *count = 0;
    if (!len || len % 4) return NULL;
    while (pad < 2 && text[len - 1 - pad] == '=')
        pad++;
    uint8_t *bytes = xmalloc(len / 4 * 3), *out = bytes;
    uint32_t word = 0;
    for (size_t i = 0; i < len; i++) {
        const char *digit = i < len - pad ? strchr(digits64, text[i]) : digits64;
        if (!digit) goto malformed;
        word = word << 6 | (uint32_t)(digit - digits64);
        if (i % 4 != 3) continue;
        for (int k = 16; k >= 0; k -= 8)
            *out++ = (uint8_t)(word >> k);
        word = 0;
    }
    *count = (size_t)(out - bytes) - pad;
    for (size_t k = 0; k < pad; k++) {
        if (bytes[*count + k]) goto malformed; /* one text for the same bytes, no other */
    }
    return bytes;
malformed:
    free(bytes);
    *count = 0;
    return NULL;
}

/* Tags */

json_t *tags_to_json(const struct tags *tags)
{
    json_t *object = json_object();
    put_text(object, "title", tags->title);
    put_text(object, "artist", tags->artist);
    put_text(object, "album", tags->album);
    put_text(object, "genre", tags->genre);
    put_text(object, "date", tags->date);
    return object;
}

int tags_from_json(struct tags *out, const json_t *object, char **cause)
{
    const char *wrong = json_is_object(object) ? NULL : "the value";
    out->title = take_text(object, "title", &wrong);
    out->artist = take_text(object, "artist", &wrong);
    out->album = take_text(object, "album", &wrong);
    out->genre = take_text(object, "genre", &wrong);
    out->date = take_text(object, "date", &wrong);
    if (wrong) tags_free(out);
    return track_verdict("tags", wrong, cause);
}

/* Tracks */

static json_t *track_with(const struct track *track, json_t *features)
{
    json_t *object = json_object();
    json_object_set_new(object, "track", json_integer(track->id));
    if (track->path) {
        char *text = path_to_text(track->path);
        json_object_set_new(object, "path", json_string(text));
        free(text);
    }
    put_text(object, "hash", track->hash);
    json_object_set_new(object, "tags", tags_to_json(&track->tags));
    json_object_set_new(object, "features", features);
    return object;
}

json_t *track_to_json(const struct track *track)
{
    return track_with(track, features_to_json(&track->features));
}

json_t *track_summary_to_json(const struct track *track)
{
    return track_with(track, features_summary_to_json(&track->features));
}

int track_from_json(struct track *out, const json_t *object, char **cause)
{
    const char *wrong = json_is_object(object) ? NULL : "the value";
    int bad = 0;
    out->id = json_int_or(object, "track", 0, 1, INT64_MAX, &bad);
    if (bad || !out->id) reject(&wrong, "track");
    char *path = take_text(object, "path", &wrong);
    out->path = path ? path_from_text(path) : NULL;
    free(path);
    out->hash = take_text(object, "hash", &wrong);
    const json_t *tags = json_object_get(object, "tags"), *features = json_object_get(object, "features");
    int failed = track_verdict("track", wrong, cause);
    if (!failed && tags) failed = tags_from_json(&out->tags, tags, cause);
    if (!failed && features) failed = features_from_json(&out->features, features, cause);
    if (failed) track_free(out);
    return failed;
}
