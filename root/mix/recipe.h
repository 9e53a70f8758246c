/* recipe: the "plan" of a segment, checked and ready to render (plan.c says what it means). */
#ifndef FOREVER_ROOT_MIX_RECIPE_H
#define FOREVER_ROOT_MIX_RECIPE_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "root/audio/stretch.h"

#define RECIPE_VOICES 4
#define RECIPE_FADES  4
#define RECIPE_RIDES  8
#define RECIPE_POINTS 1024
#define RECIPE_WHOLE_MAX                                                                                     \
    ((int64_t)72 * 44100) /* longest segment, and passage, that is rendered in one piece */

enum fade_curve { FADE_POWER, FADE_LINEAR, FADE_DROP };

struct fade {
    enum fade_curve curve;
    int in; /* else out */
    int64_t from, to;
    double correlation; /* of the two that a power fade crosses: equal power for the sum of both */
};

struct fades {
    struct fade items[RECIPE_FADES];
    size_t count;
};

struct ride { /* a gain in dB, linear between points, the first one's before and the last one's after */
    struct ride_point {
        int64_t at;
        double db;
    } points[RECIPE_RIDES];
    size_t count;
};

/* From `from` on what was heard `delay` samples before comes again, `gain` times as loud, and so on to the
 * segment's end, where it fades over one delay. */
struct echo {
    int64_t from, delay; /* delay 0: none */
    double gain;
};

struct voice {
    int64_t track;
    char *hash;          /* NULL unknown */
    float gain;          /* a factor */
    int64_t from, to;    /* source samples */
    int64_t at, samples; /* in the segment */
    struct stretch_point *map;
    size_t points; /* 0: at its own speed */
    int64_t join_in, join_out;
    struct fades level;
    struct fades bass, treble; /* none: the band follows the level */
    struct ride ride;
    struct echo echo;
};

struct recipe {
    double bass_hz, treble_hz; /* corners of the bands */
    int64_t length;            /* of the segment */
    struct voice voices[RECIPE_VOICES];
    size_t voice_count;
    const json_t *under; /* segments, borrowed from the plan; NULL none */
    struct fades under_level;
    int64_t live; /* the session whose sound this is, beside no voices; 0: none */
    struct fades live_level;
};

/* length: of the segment. 0, or -1 with *cause and nothing to free. The plan must outlive the recipe. */
int recipe_parse(struct recipe *out, const json_t *plan, int64_t length, char **cause);
void recipe_free(struct recipe *recipe);
/* One voice alone at its own speed: can be read a piece at a time. */
int recipe_is_simple(const struct recipe *recipe);
/* Where the common beats of a blend lie in it, in samples; beat has room for JOIN_BEATS_MAX + 1. How many
 * beats, one less than positions; 0 when the transition has none. */
int recipe_beats(const json_t *transition, int64_t *beat);
/* Product of the fades at a sample of the segment. */
double fades_gain(const struct fades *fades, int64_t at);
/* As a factor. */
double ride_gain(const struct ride *ride, int64_t at);
/* Both at `count` samples from `at` on. */
void fades_fill(const struct fades *fades, int64_t at, size_t count, double *out);
void ride_fill(const struct ride *ride, int64_t at, size_t count, double *out);

#endif
