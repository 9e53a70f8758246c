#include "root/mix/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/mix/join.h"

#define SAMPLE_MAX  (INT64_C(1) << 52) /* exact in a double, too */
#define GAIN_DB_MAX 60.0
#define RIDE_DB_MAX 12.0
#define ECHO_MAX    0.9
#define RIDE_STEP   64
#define RIDE_FLAT   1e-5 /* nepers in a step */

static int parse_fades(struct fades *out, const json_t *list, int64_t length, double correlation)
{
    static const char *const curves[] = {
        [FADE_POWER] = "power", [FADE_LINEAR] = "linear", [FADE_DROP] = "drop"};
    if (!list) return 0;
    if (!json_is_array(list) || json_array_size(list) > RECIPE_FADES) return -1;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        int bad = 0, known = -1;
        const char *curve = json_str_or(item, "curve", "", &bad), *way = json_str_or(item, "way", "", &bad);
        for (int c = FADE_POWER; c <= FADE_DROP; c++) {
            if (!strcmp(curve, curves[c])) known = c;
        }
        struct fade fade = {.in = !strcmp(way, "in"), .correlation = correlation};
        fade.from = json_int_or(item, "from", -1, 0, length, &bad);
        fade.to = json_int_or(item, "to", -1, 0, length, &bad);
        if (bad || known < 0 || (!fade.in && strcmp(way, "out")) || fade.from < 0 || fade.to < fade.from)
            return -1;
        fade.curve = (enum fade_curve)known;
        out->items[out->count++] = fade;
    }
    return 0;
}

static int parse_map(struct voice *voice, const json_t *map)
{
    size_t count = json_array_size(map), i;
    if (!map) return voice->to - voice->from == voice->samples ? 0 : -1;
    if (count < 2 || count > RECIPE_POINTS) return -1;
    voice->map = xcalloc(count, sizeof *voice->map);
    json_t *point;
    json_array_foreach(map, i, point)
    {
        const json_t *in = json_array_get(point, 0), *out = json_array_get(point, 1);
        if (json_array_size(point) != 2 || !json_is_integer(in) || !json_is_integer(out)) return -1;
        struct stretch_point p = {(double)json_integer_value(in), (double)json_integer_value(out)};
        if (i == 0 ? p.in != 0 || p.out != 0
                   : p.in <= voice->map[i - 1].in || p.out <= voice->map[i - 1].out) {
            return -1;
        }
        voice->map[i] = p;
    }
    voice->points = count;
    const struct stretch_point *last = &voice->map[count - 1];
    return last->in == (double)(voice->to - voice->from) && last->out == (double)voice->samples ? 0 : -1;
}

static int parse_ride(struct ride *out, const json_t *list, int64_t length)
{
    if (!list) return 0;
    if (!json_is_array(list) || json_array_size(list) > RECIPE_RIDES) return -1;
    size_t i;
    json_t *point;
    json_array_foreach(list, i, point)
    {
        const json_t *at = json_array_get(point, 0), *db = json_array_get(point, 1);
        if (!json_is_integer(at) || !json_is_number(db)) return -1;
        struct ride_point p = {json_integer_value(at), json_number_value(db)};
        if (p.at < 0 || p.at > length || !(fabs(p.db) <= RIDE_DB_MAX)) return -1;
        if (i && p.at <= out->points[i - 1].at) return -1;
        out->points[out->count++] = p;
    }
    return 0;
}

static int parse_echo(struct echo *out, const json_t *object, int64_t length)
{
    int bad = 0;
    if (!object) return 0;
    out->from = json_int_or(object, "from", -1, 0, length, &bad);
    out->delay = json_int_or(object, "delay", -1, 1, length, &bad);
    out->gain = json_real_or(object, "gain", -1, &bad);
    return bad || out->from < 0 || out->delay < 1 || !(out->gain >= 0 && out->gain <= ECHO_MAX) ? -1 : 0;
}

static int parse_voice(struct voice *voice, const json_t *object, int64_t length, double correlation)
{
    int bad = 0;
    voice->track = json_int_or(object, "track", -1, 0, INT64_MAX, &bad);
    voice->from = json_int_or(object, "from", -1, 0, SAMPLE_MAX, &bad);
    voice->to = json_int_or(object, "to", -1, 0, SAMPLE_MAX, &bad);
    voice->at = json_int_or(object, "at", -1, 0, length, &bad);
    voice->samples = json_int_or(object, "samples", -1, 0, length, &bad);
    voice->join_in = json_int_or(object, "join_in", 0, 0, length, &bad);
    voice->join_out = json_int_or(object, "join_out", 0, 0, length, &bad);
    double gain_db = json_real_or(object, "gain_db", 0, &bad);
    const char *hash = json_str_or(object, "hash", NULL, &bad);
    if (bad || voice->track < 0 || voice->from < 0 || voice->to < voice->from || voice->at < 0) return -1;
    if (voice->samples < 0 || voice->samples > length - voice->at) return -1;
    if (!(fabs(gain_db) <= GAIN_DB_MAX)) return -1;
    voice->gain = (float)pow(10, gain_db / 20);
    static const char *const bands[] = {"level", "bass", "treble"};
    struct fades *const fades[] = {&voice->level, &voice->bass, &voice->treble};
    for (int i = 0; i < 3; i++) {
        if (parse_fades(fades[i], json_object_get(object, bands[i]), length, correlation) < 0) return -1;
    }
    if (parse_ride(&voice->ride, json_object_get(object, "ride"), length) < 0) return -1;
    if (parse_echo(&voice->echo, json_object_get(object, "echo"), length) < 0) return -1;
    if (parse_map(voice, json_object_get(object, "map")) < 0) return -1;
    int64_t passage = voice->to - voice->from;
    if (voice->join_in > passage || voice->join_in > voice->samples) return -1;
    if (voice->join_out > passage || voice->join_out > voice->samples) return -1;
    if (hash) voice->hash = xstrdup(hash);
    return 0;
}

static int parse(struct recipe *out, const json_t *plan, int64_t length)
{
    int bad = 0;
    if (json_int_or(plan, "version", 0, 1, 1, &bad) != 1 || bad) return -1;
    out->length = length;
    out->bass_hz = json_real_or(plan, "bass_hz", 180, &bad);
    out->treble_hz = json_real_or(plan, "treble_hz", 2500, &bad);
    double correlation = json_real_or(plan, "correlation", 0, &bad);
    if (bad || !(out->bass_hz >= 20 && out->bass_hz <= 1000)) return -1;
    if (!(out->treble_hz > out->bass_hz && out->treble_hz <= 16000)) return -1;
    if (!(fabs(correlation) <= 0.95)) return -1;
    const json_t *voices = json_object_get(plan, "voices"), *voice;
    const json_t *live = json_object_get(plan, "live");
    if (live) {
        out->live = json_int_or(live, "session", 0, 1, INT64_MAX, &bad);
        if (bad || !out->live || parse_fades(&out->live_level, json_object_get(live, "level"), length, 0) < 0)
            return -1;
    }
    if (json_array_size(voices) < !live || json_array_size(voices) > (live ? 0 : RECIPE_VOICES)) return -1;
    size_t i;
    json_array_foreach(voices, i, voice)
    {
        out->voice_count = i + 1;
        if (parse_voice(&out->voices[i], voice, length, correlation) < 0) return -1;
    }
    const json_t *under = json_object_get(plan, "under");
    if (under) {
        out->under = json_object_get(under, "segments");
        if (!json_is_array(out->under)) return -1;
        if (parse_fades(&out->under_level, json_object_get(under, "level"), length, 0) < 0) return -1;
        if (json_array_size(out->under) == 0) out->under = NULL;
    }
    if (recipe_is_simple(out) || (live && !out->under)) return 0;
    if (length > RECIPE_WHOLE_MAX) return -1;
    for (i = 0; i < out->voice_count; i++) {
        if (out->voices[i].to - out->voices[i].from > RECIPE_WHOLE_MAX) return -1;
    }
    return 0;
}

int recipe_parse(struct recipe *out, const json_t *plan, int64_t length, char **cause)
{
    *out = (struct recipe){0};
    if (parse(out, plan, length) == 0) return 0;
    recipe_free(out);
    return cause_set(cause, "a segment's plan can't be read");
}

void recipe_free(struct recipe *recipe)
{
    for (size_t i = 0; i < recipe->voice_count; i++) {
        free(recipe->voices[i].hash);
        free(recipe->voices[i].map);
    }
    *recipe = (struct recipe){0};
}

int recipe_is_simple(const struct recipe *recipe)
{
    const struct voice *voice = &recipe->voices[0];
    return recipe->voice_count == 1 && !recipe->under && voice->points == 0 && voice->bass.count == 0 &&
           voice->treble.count == 0 && voice->echo.delay == 0;
}

/* sin(pi/2 u), 0 <= u <= 1: a polynomial (Taylor's, good to 4e-9), since it is asked for at every sample. */
static double quarter_sine(double u)
{
    double x = M_PI_2 * u, z = x * x;
    return x * (1 + z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 - z / 39916800)))));
}

double fades_gain(const struct fades *fades, int64_t at)
{
    double gain = 1;
    for (size_t i = 0; i < fades->count; i++) {
        const struct fade *fade = &fades->items[i];
        double u = at < fade->from  ? 0
                   : at >= fade->to ? 1
                                    : (double)(at - fade->from) / (double)(fade->to - fade->from);
        if (!fade->in) u = 1 - u;
        if (u >= 1) continue;
        if (u <= 0) return 0;
        switch (fade->curve) {
        case FADE_POWER:
            gain *= quarter_sine(u);
            if (fade->correlation != 0)
                gain /= sqrt(1 + fade->correlation * 2 * quarter_sine(u) * quarter_sine(1 - u));
            break;
        case FADE_LINEAR:
            gain *= u;
            break;
        case FADE_DROP:
            gain *= u * u * u;
            break;
        }
    }
    return gain;
}

void fades_fill(const struct fades *fades, int64_t at, size_t count, double *out)
{
    int open = 1, shut = 0;
    for (size_t i = 0; i < fades->count; i++) {
        const struct fade *fade = &fades->items[i];
        int before = at + (int64_t)count <= fade->from, after = at >= fade->to;
        open &= fade->in ? after : before;
        shut |= fade->in ? before : after;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = shut ? 0 : open ? 1 : fades_gain(fades, at + (int64_t)i);
}

/* The points that `at` lies between; the same one twice before the first and behind the last. */
static void ride_between(const struct ride *ride, int64_t at, const struct ride_point **p,
                         const struct ride_point **q)
{
    size_t i = 0;
    while (i < ride->count && ride->points[i].at <= at)
        i++;
    *p = &ride->points[i ? i - 1 : 0];
    *q = &ride->points[i < ride->count ? i : i - 1];
}

static double ride_db(const struct ride_point *p, const struct ride_point *q, int64_t at)
{
    return p == q ? p->db : p->db + (q->db - p->db) * (double)(at - p->at) / (double)(q->at - p->at);
}

double ride_gain(const struct ride *ride, int64_t at)
{
    const struct ride_point *p, *q;
    if (ride->count == 0) return 1;
    ride_between(ride, at, &p, &q);
    return pow(10, ride_db(p, q, at) / 20);
}

/* A power at the beginning of each RIDE_STEP samples of the segment, so that it does not matter where a read
 * begins; between those its series, which is as exact while the ride is that flat. */
void ride_fill(const struct ride *ride, int64_t at, size_t count, double *out)
{
    const struct ride_point *p, *q;
    for (size_t i = 0; i < count;) {
        int64_t here = at + (int64_t)i, base = here - here % RIDE_STEP;
        if (ride->count == 0) {
            out[i++] = 1;
            continue;
        }
        ride_between(ride, here, &p, &q);
        double nepers = p == q ? 0 : (q->db - p->db) / (double)(q->at - p->at) * M_LN10 / 20;
        if (fabs(nepers) * RIDE_STEP > RIDE_FLAT) {
            out[i++] = ride_gain(ride, here);
            continue;
        }
        int64_t end = base + RIDE_STEP;
        if (here < p->at && end > p->at) end = p->at;
        if (q != p && end > q->at) end = q->at;
        double gain = pow(10, ride_db(p, q, base) / 20);
        for (; i < count && at + (int64_t)i < end; i++) {
            double x = nepers * (double)(at + (int64_t)i - base);
            out[i] = gain * (1 + x + x * x / 2);
        }
    }
}

int recipe_beats(const json_t *transition, int64_t *beat)
{
    const json_t *plan = json_object_get(transition, "plan"), *voices = json_object_get(plan, "voices");
    const json_t *map = NULL, *beats = json_object_get(plan, "beats");
    for (size_t i = 0; i < json_array_size(voices) && !map; i++)
        map = json_object_get(json_array_get(voices, i), "map");
    size_t count = json_array_size(map ? map : beats);
    if (count < 2 || count > JOIN_BEATS_MAX + 1) return 0;
    for (size_t i = 0; i < count; i++)
        beat[i] =
            json_integer_value(map ? json_array_get(json_array_get(map, i), 1) : json_array_get(beats, i));
    return (int)count - 1;
}
