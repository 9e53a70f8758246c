/* track: value types shared by the workers, and their JSON form (track.c).
 *
 * Unknown numbers are NAN and unknown keys -1; they are absent from the JSON, never invented. Times in a
 * track are seconds from the first decoded sample at 44.1 kHz (encoder delay removed where the container
 * states it), the same zero for the analysis and for the mix. */
#ifndef FOREVER_ROOT_TRACK_H
#define FOREVER_ROOT_TRACK_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#define ANALYSIS_VERSION 5  /* of the algorithm: a higher one re-analyses in the background */
#define TIMBRE_DIMS      26 /* mean and standard deviation of 13 MFCCs */

struct tags {
    char *title, *artist, *album, *genre, *date; /* UTF-8; NULL when unknown */
};

struct section {
    double start_s, end_s; /* on downbeats where there are any */
    char label[16];        /* intro, main, breakdown, drop, outro */
};

/* A stretch of beats at one tempo: beat i of it lies at start_s + i * period_s. */
struct region {
    size_t first_beat, beats; /* indices into beats_s; regions follow each other without a hole */
    double start_s, period_s;
};

/* One bar, from its downbeat to the next; as small integers, since a track has hundreds. */
struct bar {
    uint8_t chroma[12];      /* C first; the strongest of the track's bars is 255 */
    uint8_t bass_chroma[12]; /* likewise, of what lies below about 260 Hz */
    uint8_t loudness;        /* BS.1770, in steps of BAR_LU down from 0 LUFS */
    uint8_t low, mid,
        high;       /* RMS of the bands of the mix (below 200 Hz, to 2.5 kHz, above), same steps, dBFS */
    uint8_t vocal;  /* likelihood of a voice, 255 certain */
    uint8_t onsets; /* in it */
};
#define BAR_LU 0.25

#define LOUDNESS_STEP_S 1.0 /* of the loudness curve */
#define COLOURS_MAX     5

struct features {
    int version; /* ANALYSIS_VERSION that made it */
    double duration_s;
    double music_start_s, music_end_s;  /* without the silence at both ends */
    double tempo_bpm, tempo_confidence; /* 0..1; the mix beatmatches from TEMPO_TRUSTED up */
    double *beats_s;
    size_t beat_count;
    double *downbeats_s; /* a subset of the beats */
    size_t downbeat_count;
    int metre;                         /* beats per bar, 0 unknown */
    double steady_from_s, steady_to_s; /* beats: before and after, the music leaves the grid; NAN: nowhere */
    struct region *regions;            /* one where a constant tempo fits; none without beats */
    size_t region_count;
    struct bar *bars;         /* one a downbeat, the last one to the end of the music or a bar long */
    size_t bar_count;         /* downbeat_count, or 0 */
    int phrase_bar;           /* phrases of 8 bars begin at bars phrase_bar + 8 i; 0..7, -1 unknown */
    int phrase16_bar;         /* those of 16 bars; phrase_bar or phrase_bar + 8, -1 unknown */
    double phrase_confidence; /* 0..1 */
    int key;                  /* 0..11 C..B major, 12..23 C..B minor, -1 unknown */
    double key_confidence;    /* 0..1 */
    float key_scores[24];     /* of every key, the best 1, uncorrelated 0; first NAN when unknown */
    double loudness_lufs, loudness_range_lu, loud_part_lufs, true_peak_dbtp;
    uint8_t *loudness_curve; /* short-term (3 s) loudness around i * LOUDNESS_STEP_S, in steps of BAR_LU down
                                from 0 LUFS, 255 silence */
    size_t loudness_count;
    double fade_in_s,
        fade_out_s; /* where the fade-in ends and where the fade-out begins; NAN: there is none */
    double energy, danceability; /* 0..1 */
    double onset_density;        /* per second */
    double vocal;                /* 0..1: share of the music in which a voice is likely */
    float timbre[TIMBRE_DIMS];   /* first is NAN when unknown */
    struct section *sections;
    size_t section_count;
    uint32_t colours[COLOURS_MAX]; /* of the cover, 0xRRGGBB, the most prominent first */
    size_t colour_count;
    char *fingerprint; /* chromaprint, compressed text; NULL unknown */
};
#define TEMPO_TRUSTED 0.5

struct track {
    int64_t id; /* of the library; stable while the file's path is known */
    char *path;
    char *hash; /* of the file's content, hex; NULL until analysed */
    struct tags tags;
    struct features features;
};

void tags_free(struct tags *tags);      /* the members, not the struct; leaves it empty */
void features_init(struct features *f); /* everything unknown */
void features_free(struct features *f); /* the members; leaves it as features_init does */
void track_init(struct track *track);
void track_free(struct track *track);

/* New references. Members as in docs/API.md: tempo_bpm, tempo_confidence, beats_s, downbeats_s, metre, key
 * ("A minor"), camelot ("8A"), loudness_lufs, true_peak_dbtp, energy, danceability, sections, ... */
json_t *tags_to_json(const struct tags *tags);
json_t *features_to_json(const struct features *f);
json_t *track_to_json(const struct track *track); /* {"track","path","hash","tags","features"} */
/* The same without beats, downbeats, sections and fingerprint: what ordering needs. */
json_t *track_summary_to_json(const struct track *track);
/* Fill a freshly initialised value; 0, or -1 with an owned *cause (the value is then as initialised). Arrays
 * must be finite and non-decreasing. */
int tags_from_json(struct tags *out, const json_t *object, char **cause);
int features_from_json(struct features *out, const json_t *object, char **cause);
int track_from_json(struct track *out, const json_t *object, char **cause);

const char *key_name(int key);    /* "C major" .. "B minor"; NULL for -1 */
const char *key_camelot(int key); /* "8B"; NULL for -1 */
/* Steps on the Camelot wheel: a fifth up or down, or to the relative key, is one. -1 when either is unknown.
 * Two or more are a clash. */
int key_steps(int a, int b);
int key_parse(const char *name); /* -1 when none */

/* A path is bytes, JSON and the database hold text. Bytes that are no UTF-8 are written as the private
 * characters U+10F780..U+10F7FF (and so are the bytes of such characters themselves), so that every path has
 * one text and comes back the same. Owned by the caller. */
char *path_to_text(const char *path);
char *path_from_text(const char *text);

#endif
