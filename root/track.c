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
        .steady_from_s = NAN,
        .steady_to_s = NAN,
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

int key_steps(int a, int b)
{
    const char *from = key_camelot(a), *to = key_camelot(b);
    if (!from || !to) return -1;
    int hours = abs(atoi(from) - atoi(to));
    if (hours > 6) hours = 12 - hours;
    return hours + (a / 12 != b / 12);
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
