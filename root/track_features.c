/* Features as JSON. Rows of small whole numbers are base64 of their bytes: a track of three hours stays below
 * a megabyte. */
#include "root/track_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

#define FIRST_BEAT_MAX ((json_int_t)1 << 30)

_Static_assert(sizeof(struct bar) == 30, "a bar is 30 bytes in the order of its members, docs/API.md");

/* To JSON */

static void put_int(json_t *object, const char *key, int value, int unknown)
{
    if (value != unknown) json_object_set_new(object, key, json_integer(value));
}

static void put_reals(json_t *object, const char *key, const double *values, size_t count)
{
    if (!count) return;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_finite(values[i]));
    json_object_set_new(object, key, array);
}

static void put_floats(json_t *object, const char *key, const float *values, size_t count)
{
    if (isnan(values[0])) return;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_finite(values[i]));
    json_object_set_new(object, key, array);
}

static void put_bytes(json_t *object, const char *key, const void *bytes, size_t count)
{
    if (!count) return;
    char *text = base64_encode(bytes, count);
    json_object_set_new(object, key, json_string(text));
    free(text);
}

static void put_regions(json_t *object, const struct features *f)
{
    if (!f->region_count) return;
    json_t *array = json_array();
    for (size_t i = 0; i < f->region_count; i++) {
        const struct region *r = &f->regions[i];
        json_array_append_new(array, json_pack("[I,I,o,o]", (json_int_t)r->first_beat, (json_int_t)r->beats,
                                               json_finite(r->start_s), json_finite(r->period_s)));
    }
    json_object_set_new(object, "regions", array);
}

static void put_sections(json_t *object, const struct features *f)
{
    if (!f->section_count) return;
    json_t *array = json_array();
    for (size_t i = 0; i < f->section_count; i++) {
        const struct section *s = &f->sections[i];
        json_t *section = json_object();
        put_real(section, "start_s", s->start_s);
        put_real(section, "end_s", s->end_s);
        put_text(section, "label", s->label);
        json_array_append_new(array, section);
    }
    json_object_set_new(object, "sections", array);
}

static void put_colours(json_t *object, const struct features *f)
{
    if (!f->colour_count) return;
    json_t *array = json_array();
    for (size_t i = 0; i < f->colour_count; i++) {
        char text[8];
        snprintf(text, sizeof text, "#%06x", (unsigned)(f->colours[i] & 0xffffff));
        json_array_append_new(array, json_string(text));
    }
    json_object_set_new(object, "colours", array);
}

json_t *features_summary_to_json(const struct features *f)
{
    json_t *object = json_object();
    json_object_set_new(object, "version", json_integer(f->version));
    put_real(object, "duration_s", f->duration_s);
    put_real(object, "music_start_s", f->music_start_s);
    put_real(object, "music_end_s", f->music_end_s);
    put_real(object, "fade_in_s", f->fade_in_s);
    put_real(object, "fade_out_s", f->fade_out_s);
    put_real(object, "tempo_bpm", f->tempo_bpm);
    put_real(object, "tempo_confidence", f->tempo_confidence);
    put_real(object, "steady_from_s", f->steady_from_s);
    put_real(object, "steady_to_s", f->steady_to_s);
    put_int(object, "metre", f->metre, 0);
    put_real(object, "phrase_confidence", f->phrase_confidence);
    put_text(object, "key", key_name(f->key));
    put_text(object, "camelot", key_camelot(f->key));
    put_real(object, "key_confidence", f->key_confidence);
    put_real(object, "loudness_lufs", f->loudness_lufs);
    put_real(object, "loudness_range_lu", f->loudness_range_lu);
    put_real(object, "loud_part_lufs", f->loud_part_lufs);
    put_real(object, "true_peak_dbtp", f->true_peak_dbtp);
    put_real(object, "energy", f->energy);
    put_real(object, "danceability", f->danceability);
    put_real(object, "onset_density", f->onset_density);
    put_real(object, "vocal", f->vocal);
    put_floats(object, "timbre", f->timbre, TIMBRE_DIMS);
    return object;
}

json_t *features_to_json(const struct features *f)
{
    json_t *object = features_summary_to_json(f);
    put_reals(object, "beats_s", f->beats_s, f->beat_count);
    put_reals(object, "downbeats_s", f->downbeats_s, f->downbeat_count);
    put_regions(object, f);
    put_bytes(object, "bars", f->bars, f->bar_count * sizeof *f->bars);
    put_int(object, "phrase_bar", f->phrase_bar, -1);
    put_int(object, "phrase16_bar", f->phrase16_bar, -1);
    put_floats(object, "key_scores", f->key_scores, 24);
    put_bytes(object, "loudness_curve", f->loudness_curve, f->loudness_count);
    put_sections(object, f);
    put_colours(object, f);
    put_text(object, "fingerprint", f->fingerprint);
    return object;
}

/* From JSON */

/* The array's size, 0 when it is absent. */
static size_t take_array(const json_t *object, const char *key, const json_t **array, const char **wrong)
{
    *array = json_object_get(object, key);
    if (*array && !json_is_null(*array) && !json_is_array(*array)) reject(wrong, key);
    return json_array_size(*array);
}

static int take_int(const json_t *object, const char *key, int unknown, int min, int max, const char **wrong)
{
    int bad = 0;
    int value = (int)json_int_or(object, key, unknown, min, max, &bad);
    if (bad) reject(wrong, key);
    return value;
}

static double *take_reals(const json_t *object, const char *key, size_t *count, const char **wrong)
{
    const json_t *array;
    *count = take_array(object, key, &array, wrong);
    if (!*count) return NULL;
    double *values = xcalloc(*count, sizeof *values);
    for (size_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, i);
        values[i] = json_number_value(item);
        if (!json_is_number(item) || !isfinite(values[i]) || (i && values[i] < values[i - 1]))
            reject(wrong, key);
    }
    return values;
}

/* None or exactly `count`. */
static void take_floats(const json_t *object, const char *key, float *out, size_t count, double max,
                        const char **wrong)
{
    const json_t *array;
    size_t size = take_array(object, key, &array, wrong);
    if (!json_is_array(array)) return;
    if (size != count) {
        reject(wrong, key);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        out[i] = (float)json_number_value(item);
        if (!json_is_number(item) || !isfinite(out[i]) || (double)out[i] > max) reject(wrong, key);
    }
}

static void *take_bytes(const json_t *object, const char *key, size_t *count, const char **wrong)
{
    int bad = 0;
    const char *text = json_str_or(object, key, NULL, &bad);
    void *bytes = text ? base64_decode(text, count) : NULL;
    if (bad || (text && !bytes)) reject(wrong, key);
    if (!bytes) *count = 0;
    return bytes;
}

static void take_bars(struct features *out, const json_t *object, const char **wrong)
{
    size_t count;
    out->bars = take_bytes(object, "bars", &count, wrong);
    out->bar_count = count / sizeof *out->bars;
    if (count && (count % sizeof *out->bars || out->bar_count != out->downbeat_count)) reject(wrong, "bars");
}

/* Regions divide the beats among them, or a part that begins and ends anywhere. */
static void take_regions(struct features *out, const json_t *object, const char **wrong)
{
    const json_t *array;
    size_t n = take_array(object, "regions", &array, wrong);
    if (!n) return;
    out->regions = xcalloc(n, sizeof *out->regions);
    out->region_count = n;
    for (size_t i = 0; i < n; i++) {
        struct region *r = &out->regions[i];
        json_int_t first = -1, beats = -1;
        int good = !json_unpack((json_t *)json_array_get(array, i), "[I,I,F,F!]", &first, &beats, &r->start_s,
                                &r->period_s) &&
                   first >= 0 && first < FIRST_BEAT_MAX && beats > 0 && beats < FIRST_BEAT_MAX &&
                   (size_t)(first + beats) <= out->beat_count && isfinite(r->start_s) &&
                   isfinite(r->period_s) && r->period_s > 0 &&
                   (!i || ((size_t)first == r[-1].first_beat + r[-1].beats && r->start_s >= r[-1].start_s));
        if (!good) {
            reject(wrong, "regions");
            return;
        }
        r->first_beat = (size_t)first;
        r->beats = (size_t)beats;
    }
}

static void take_phrases(struct features *out, const json_t *object, const char **wrong)
{
    out->phrase_bar = take_int(object, "phrase_bar", -1, 0, 7, wrong);
    out->phrase16_bar = take_int(object, "phrase16_bar", -1, 0, 15, wrong);
    if (out->phrase16_bar >= 0 && (out->phrase_bar < 0 || out->phrase16_bar % 8 != out->phrase_bar))
        reject(wrong, "phrase16_bar");
    out->phrase_confidence = take_real(object, "phrase_confidence", 0, 1, wrong);
}

static void take_sections(struct features *out, const json_t *object, const char **wrong)
{
    const json_t *array;
    size_t n = take_array(object, "sections", &array, wrong);
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

static void take_colours(struct features *out, const json_t *object, const char **wrong)
{
    const json_t *array;
    size_t n = take_array(object, "colours", &array, wrong);
    if (n > COLOURS_MAX) {
        reject(wrong, "colours");
        return;
    }
    out->colour_count = n;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text || strlen(text) != 7 || text[0] != '#' || strspn(text + 1, "0123456789abcdef") != 6) {
            reject(wrong, "colours");
        } else {
            out->colours[i] = (uint32_t)strtoul(text + 1, NULL, 16);
        }
    }
}

static void take_key(struct features *out, const json_t *object, const char **wrong)
{
    char *key = take_text(object, "key", wrong);
    out->key = key ? key_parse(key) : -1;
    if (key && out->key < 0) reject(wrong, "key");
    free(key);
    out->key_confidence = take_real(object, "key_confidence", 0, 1, wrong);
    take_floats(object, "key_scores", out->key_scores, 24, 1, wrong);
}

static void take_loudness(struct features *out, const json_t *object, const char **wrong)
{
    out->loudness_lufs = take_real(object, "loudness_lufs", -INFINITY, INFINITY, wrong);
    out->loudness_range_lu = take_real(object, "loudness_range_lu", 0, INFINITY, wrong);
    out->loud_part_lufs = take_real(object, "loud_part_lufs", -INFINITY, INFINITY, wrong);
    out->true_peak_dbtp = take_real(object, "true_peak_dbtp", -INFINITY, INFINITY, wrong);
    out->loudness_curve = take_bytes(object, "loudness_curve", &out->loudness_count, wrong);
    out->fade_in_s = take_real(object, "fade_in_s", 0, INFINITY, wrong);
    out->fade_out_s = take_real(object, "fade_out_s", 0, INFINITY, wrong);
}

int features_from_json(struct features *out, const json_t *object, char **cause)
{
    const char *wrong = json_is_object(object) ? NULL : "the value";
    out->version = take_int(object, "version", 0, 0, 1000000, &wrong);
    out->duration_s = take_real(object, "duration_s", 0, INFINITY, &wrong);
    out->music_start_s = take_real(object, "music_start_s", 0, INFINITY, &wrong);
    out->music_end_s = take_real(object, "music_end_s", 0, INFINITY, &wrong);
    out->tempo_bpm = take_real(object, "tempo_bpm", 1, 1000, &wrong);
    out->tempo_confidence = take_real(object, "tempo_confidence", 0, 1, &wrong);
    out->beats_s = take_reals(object, "beats_s", &out->beat_count, &wrong);
    out->downbeats_s = take_reals(object, "downbeats_s", &out->downbeat_count, &wrong);
    out->steady_from_s = take_real(object, "steady_from_s", 0, INFINITY, &wrong);
    out->steady_to_s = take_real(object, "steady_to_s", 0, INFINITY, &wrong);
    out->metre = take_int(object, "metre", 0, 0, 64, &wrong);
    take_regions(out, object, &wrong);
    take_bars(out, object, &wrong);
    take_phrases(out, object, &wrong);
    take_key(out, object, &wrong);
    take_loudness(out, object, &wrong);
    out->energy = take_real(object, "energy", 0, 1, &wrong);
    out->danceability = take_real(object, "danceability", 0, 1, &wrong);
    out->onset_density = take_real(object, "onset_density", 0, INFINITY, &wrong);
    out->vocal = take_real(object, "vocal", 0, 1, &wrong);
    take_floats(object, "timbre", out->timbre, TIMBRE_DIMS, INFINITY, &wrong);
    take_sections(out, object, &wrong);
    take_colours(out, object, &wrong);
    out->fingerprint = take_text(object, "fingerprint", &wrong);
    if (wrong) features_free(out);
    return track_verdict("features", wrong, cause);
}
