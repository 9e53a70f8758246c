#include "root/track.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

void tags_free(struct tags *tags)
{
    free(tags->title);
    free(tags->artist);
    free(tags->album);
    free(tags->genre);
    free(tags->date);
    *tags = (struct tags){0};
}

void features_init(struct features *f)
{
    *f = (struct features){
        .duration_s = NAN,
        .music_start_s = NAN,
        .music_end_s = NAN,
        .tempo_bpm = NAN,
        .tempo_confidence = NAN,
        .key = -1,
        .phrase_bar = -1,
        .phrase16_bar = -1,
        .phrase_confidence = NAN,
        .key_confidence = NAN,
        .key_scores = {NAN},
        .loudness_lufs = NAN,
        .loudness_range_lu = NAN,
        .loud_part_lufs = NAN,
        .true_peak_dbtp = NAN,
        .energy = NAN,
        .danceability = NAN,
        .fade_in_s = NAN,
        .fade_out_s = NAN,
        .onset_density = NAN,
        .vocal = NAN,
    };
    for (int i = 0; i < TIMBRE_DIMS; i++)
        f->timbre[i] = NAN;
}

void features_free(struct features *f)
{
    free(f->beats_s);
    free(f->downbeats_s);
    free(f->sections);
    free(f->regions);
    free(f->bars);
    free(f->loudness_curve);
    free(f->fingerprint);
    features_init(f);
}

void track_init(struct track *track)
{
    *track = (struct track){0};
    features_init(&track->features);
}

void track_free(struct track *track)
{
    free(track->path);
    free(track->hash);
    tags_free(&track->tags);
    features_free(&track->features);
    track_init(track);
}

/* Keys */

static const char *const key_names[24] = {
    "C major",  "C# major", "D major",  "Eb major", "E major",  "F major",  "F# major", "G major",
    "Ab major", "A major",  "Bb major", "B major",  "C minor",  "C# minor", "D minor",  "Eb minor",
    "E minor",  "F minor",  "F# minor", "G minor",  "G# minor", "A minor",  "Bb minor", "B minor",
};
static const char *const key_camelots[24] = {
    "8B", "3B",  "10B", "5B", "12B", "7B", "2B",  "9B", "4B", "11B", "6B", "1B",
    "5A", "12A", "7A",  "2A", "9A",  "4A", "11A", "6A", "1A", "8A",  "3A", "10A",
};

const char *key_name(int key)
{
    return key >= 0 && key < 24 ? key_names[key] : NULL;
}

const char *key_camelot(int key)
{
    return key >= 0 && key < 24 ? key_camelots[key] : NULL;
}

int key_parse(const char *name)
{
    static const int naturals[7] = {9, 11, 0, 2, 4, 5, 7}; /* A..G */
    int letter = toupper((unsigned char)name[0]);
    if (letter < 'A' || letter > 'G') return -1;
    int pitch = naturals[letter - 'A'];
    const char *rest = name + 1;
    if (*rest == '#') {
        pitch++;
        rest++;
    } else if (*rest == 'b') {
        pitch--;
        rest++;
    }
    pitch = (pitch + 12) % 12;
    if (!strcmp(rest, " major")) return pitch;
    return strcmp(rest, " minor") ? -1 : pitch + 12;
}

/* Paths */

#define RAW_FIRST 0x10F780u /* stands for byte 0x80 */

static unsigned utf8_code(const unsigned char *s, size_t len)
{
    static const unsigned masks[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned code = s[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (s[i] & 0x3fu);
    return code;
}

static int is_raw(const unsigned char *s, size_t len)
{
    return len == 4 && utf8_code(s, len) >= RAW_FIRST && utf8_code(s, len) < RAW_FIRST + 0x80;
}

char *path_to_text(const char *path)
{
    char *out = xmalloc(strlen(path) * 4 + 1);
    size_t n = 0;
    for (const unsigned char *s = (const unsigned char *)path; *s;) {
        size_t len = utf8_len(s);
        if (len && !is_raw(s, len)) {
            memcpy(out + n, s, len);
            n += len;
            s += len;
        } else { /* the next byte alone; those after it take the same way */
            unsigned code = RAW_FIRST + (*s++ - 0x80u);
            out[n++] = (char)(0xf0 | code >> 18);
            out[n++] = (char)(0x80 | (code >> 12 & 0x3f));
            out[n++] = (char)(0x80 | (code >> 6 & 0x3f));
            out[n++] = (char)(0x80 | (code & 0x3f));
        }
    }
    out[n] = '\0';
    return out;
}

char *path_from_text(const char *text)
{
    char *out = xmalloc(strlen(text) + 1);
    size_t n = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        size_t len = utf8_len(s);
        if (is_raw(s, len)) {
            out[n++] = (char)(utf8_code(s, len) - RAW_FIRST + 0x80);
            s += len;
        } else {
            out[n++] = (char)*s++;
        }
    }
    out[n] = '\0';
    return out;
}

/* To JSON: what is unknown is left out. */

static void put_text(json_t *object, const char *key, const char *text)
{
    if (text) json_object_set_new(object, key, json_text_lossy(text));
}

static void put_real(json_t *object, const char *key, double value)
{
    if (isfinite(value)) json_object_set_new(object, key, json_real(value));
}

static void put_reals(json_t *object, const char *key, const double *values, size_t count)
{
    if (!count) return;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_finite(values[i]));
    json_object_set_new(object, key, array);
}

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

static json_t *sections_to_json(const struct features *f)
{
    json_t *array = json_array();
    for (size_t i = 0; i < f->section_count; i++) {
        const struct section *s = &f->sections[i];
        json_t *section = json_object();
        put_real(section, "start_s", s->start_s);
        put_real(section, "end_s", s->end_s);
        put_text(section, "label", s->label);
        json_array_append_new(array, section);
    }
    return array;
}

/* What ordering needs, all of one size. */
static json_t *summary_to_json(const struct features *f)
{
    json_t *object = json_object();
    json_object_set_new(object, "version", json_integer(f->version));
    put_real(object, "duration_s", f->duration_s);
    put_real(object, "music_start_s", f->music_start_s);
    put_real(object, "music_end_s", f->music_end_s);
    put_real(object, "tempo_bpm", f->tempo_bpm);
    put_real(object, "tempo_confidence", f->tempo_confidence);
    if (f->metre > 0) json_object_set_new(object, "metre", json_integer(f->metre));
    put_text(object, "key", key_name(f->key));
    put_text(object, "camelot", key_camelot(f->key));
    put_real(object, "key_confidence", f->key_confidence);
    put_real(object, "loudness_lufs", f->loudness_lufs);
    put_real(object, "loudness_range_lu", f->loudness_range_lu);
    put_real(object, "loud_part_lufs", f->loud_part_lufs);
    put_real(object, "true_peak_dbtp", f->true_peak_dbtp);
    put_real(object, "energy", f->energy);
    put_real(object, "danceability", f->danceability);
    if (!isnan(f->timbre[0])) {
        json_t *timbre = json_array();
        for (int i = 0; i < TIMBRE_DIMS; i++)
            json_array_append_new(timbre, json_finite(f->timbre[i]));
        json_object_set_new(object, "timbre", timbre);
    }
    return object;
}

json_t *features_to_json(const struct features *f)
{
    json_t *object = summary_to_json(f);
    put_reals(object, "beats_s", f->beats_s, f->beat_count);
    put_reals(object, "downbeats_s", f->downbeats_s, f->downbeat_count);
    if (f->section_count) json_object_set_new(object, "sections", sections_to_json(f));
    put_text(object, "fingerprint", f->fingerprint);
    return object;
}

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
    return track_with(track, summary_to_json(&track->features));
}

/* From JSON: everything is read, `bad` counts what is wrong, and the first culprit is named. */

static void reject(const char **wrong, const char *key)
{
    if (!*wrong) *wrong = key;
}

static char *take_text(const json_t *object, const char *key, const char **wrong)
{
    int bad = 0;
    const char *text = json_str_or(object, key, NULL, &bad);
    if (bad) reject(wrong, key);
    return text ? xstrdup(text) : NULL;
}

static double take_real(const json_t *object, const char *key, double min, double max, const char **wrong)
{
    int bad = 0;
    double value = json_real_or(object, key, NAN, &bad);
    if (bad || value < min || value > max) reject(wrong, key);
    return value;
}

static double *take_reals(const json_t *object, const char *key, size_t *count, const char **wrong)
{
    const json_t *array = json_object_get(object, key);
    *count = 0;
    if (!array || json_is_null(array)) return NULL;
    if (!json_is_array(array)) {
        reject(wrong, key);
        return NULL;
    }
    size_t n = json_array_size(array);
    if (!n) return NULL;
    double *values = xcalloc(n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        values[i] = json_number_value(item);
        if (!json_is_number(item) || !isfinite(values[i]) || (i && values[i] < values[i - 1]))
            reject(wrong, key);
    }
    *count = n;
    return values;
}

static void take_sections(struct features *out, const json_t *object, const char **wrong)
{
    const json_t *array = json_object_get(object, "sections");
    size_t n = json_array_size(array);
    if (array && !json_is_null(array) && !json_is_array(array)) reject(wrong, "sections");
    if (!n) return;
    out->sections = xcalloc(n, sizeof *out->sections);
    out->section_count = n;
    for (size_t i = 0; i < n; i++) {
        struct section *s = &out->sections[i];
        const json_t *item = json_array_get(array, i);
        const char *label = json_str_or(item, "label", "", NULL);
        s->start_s = json_real_or(item, "start_s", NAN, NULL);
        s->end_s = json_real_or(item, "end_s", NAN, NULL);
        /* written so that NAN is refused */
        int ordered = s->start_s <= s->end_s && (!i || s[-1].start_s <= s->start_s);
        if (!ordered || !isfinite(s->start_s) || !isfinite(s->end_s) || strlen(label) >= sizeof s->label) {
            reject(wrong, "sections");
        } else {
            memcpy(s->label, label, strlen(label) + 1);
        }
    }
}

static void take_timbre(struct features *out, const json_t *object, const char **wrong)
{
    const json_t *array = json_object_get(object, "timbre");
    if (!array || json_is_null(array)) return;
    if (json_array_size(array) != TIMBRE_DIMS) {
        reject(wrong, "timbre");
        return;
    }
    for (size_t i = 0; i < TIMBRE_DIMS; i++) {
        const json_t *item = json_array_get(array, i);
        out->timbre[i] = (float)json_number_value(item);
        if (!json_is_number(item) || !isfinite(out->timbre[i])) reject(wrong, "timbre");
    }
}

static int verdict(const char *what, const char *wrong, char **cause)
{
    return wrong ? cause_set(cause, "%s: %s is wrong", what, wrong) : 0;
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
    return verdict("tags", wrong, cause);
}

int features_from_json(struct features *out, const json_t *object, char **cause)
{
    const char *wrong = json_is_object(object) ? NULL : "the value";
    int bad = 0;
    out->version = (int)json_int_or(object, "version", 0, 0, 1000000, &bad);
    if (bad) reject(&wrong, "version");
    bad = 0;
    out->metre = (int)json_int_or(object, "metre", 0, 0, 64, &bad);
    if (bad) reject(&wrong, "metre");
    out->duration_s = take_real(object, "duration_s", 0, INFINITY, &wrong);
    out->music_start_s = take_real(object, "music_start_s", 0, INFINITY, &wrong);
    out->music_end_s = take_real(object, "music_end_s", 0, INFINITY, &wrong);
    out->tempo_bpm = take_real(object, "tempo_bpm", 1, 1000, &wrong);
    out->tempo_confidence = take_real(object, "tempo_confidence", 0, 1, &wrong);
    out->beats_s = take_reals(object, "beats_s", &out->beat_count, &wrong);
    out->downbeats_s = take_reals(object, "downbeats_s", &out->downbeat_count, &wrong);
    char *key = take_text(object, "key", &wrong);
    out->key = key ? key_parse(key) : -1;
    if (key && out->key < 0) reject(&wrong, "key");
    free(key);
    out->key_confidence = take_real(object, "key_confidence", 0, 1, &wrong);
    out->loudness_lufs = take_real(object, "loudness_lufs", -INFINITY, INFINITY, &wrong);
    out->loudness_range_lu = take_real(object, "loudness_range_lu", 0, INFINITY, &wrong);
    out->loud_part_lufs = take_real(object, "loud_part_lufs", -INFINITY, INFINITY, &wrong);
    out->true_peak_dbtp = take_real(object, "true_peak_dbtp", -INFINITY, INFINITY, &wrong);
    out->energy = take_real(object, "energy", 0, 1, &wrong);
    out->danceability = take_real(object, "danceability", 0, 1, &wrong);
    take_timbre(out, object, &wrong);
    take_sections(out, object, &wrong);
    out->fingerprint = take_text(object, "fingerprint", &wrong);
    if (wrong) features_free(out);
    return verdict("features", wrong, cause);
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
    int failed = verdict("track", wrong, cause);
    if (!failed && tags) failed = tags_from_json(&out->tags, tags, cause);
    if (!failed && features) failed = features_from_json(&out->features, features, cause);
    if (failed) track_free(out);
    return failed;
}
