#include "root/work/audition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/mix/rehearse.h"

#define FRAME MP3_FRAME_SAMPLES

static uint64_t sample_of(const json_t *segment, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(segment, key));
}

int audition_plan(struct audition *out, const struct track *tracks[AUDITION_TRACKS],
                  const struct plan_conf *conf, double from_s, double around_s, programme_open_track open,
                  void *context, int64_t *bad_track, char **cause)
{
    *out = (struct audition){.tracks = {tracks[AUDITION_A], tracks[AUDITION_B]}};
    struct plan_cursor cursor = plan_open(tracks[AUDITION_A], 0);
    json_t *segments[2] = {NULL, NULL};
    if (from_s > cursor.track_s) cursor.track_s = from_s;
    if (rehearse_transition(tracks[AUDITION_A], tracks[AUDITION_B], conf, open, context, &cursor, NULL,
                            segments, NULL, bad_track, cause))
        return -1;
    out->before = segments[0];
    out->transition = segments[1];
    out->after = plan_alone(tracks[AUDITION_B], conf, &cursor, around_s + 1);
    out->start = sample_of(out->transition, "start_sample");
    out->end = sample_of(out->transition, "end_sample");
    uint64_t around = (uint64_t)llround(around_s * PCM_RATE);
    uint64_t last = out->after ? sample_of(out->after, "end_sample") : out->end;
    if (last > out->end + around) last = out->end + around;
    out->first = out->start > around ? (out->start - around) / FRAME : 0;
    out->count = (last + FRAME - 1) / FRAME - out->first;
    return 0;
}

void audition_free(struct audition *audition)
{
    json_decref(audition->before);
    json_decref(audition->transition);
    json_decref(audition->after);
    *audition = (struct audition){0};
}

static int is_of(const json_t *voice, int which)
{
    return which == AUDITION_TRACKS || json_integer_value(json_object_get(voice, "track")) == which + 1;
}

/* The segment with this track's voices alone; new reference. */
static json_t *part_of(const json_t *segment, int which)
{
    json_t *copy = json_deep_copy(segment),
           *voices = json_object_get(json_object_get(copy, "plan"), "voices");
    for (size_t i = json_array_size(voices); i-- > 0;) {
        if (!is_of(json_array_get(voices, i), which)) json_array_remove(voices, i);
    }
    return copy;
}

struct programme *audition_programme(const struct audition *a, int which, programme_open_track open,
                                     void *context, char **cause)
{
    struct programme *programme = programme_new(open, context);
    json_t *const segments[] = {a->before, a->transition, a->after};
    for (int i = 0; i < 3; i++) {
        if (!segments[i]) continue;
        json_t *part = part_of(segments[i], which);
        int result = 0;
        if (json_array_size(json_object_get(json_object_get(part, "plan"), "voices")))
            result = programme_add(programme, part, cause);
        json_decref(part);
        if (result == 0) continue;
        programme_free(programme);
        return NULL;
    }
    return programme;
}

float *audition_read(const struct audition *a, struct programme *programme, size_t *samples,
                     int64_t *bad_track, char **cause)
{
    uint64_t from = a->first * FRAME, to = from + a->count * FRAME;
    uint64_t low = programme_start(programme), high = programme_end(programme);
    *samples = (size_t)(to - from);
    *bad_track = 0;
    float *pcm = xcalloc(*samples * PCM_CHANNELS, sizeof *pcm);
    if (low < from) low = from;
    if (high > to) high = to;
    if (low < high && programme_read(programme, low, pcm + (low - from) * PCM_CHANNELS, (size_t)(high - low),
                                     bad_track, cause)) {
        free(pcm);
        return NULL;
    }
    return pcm;
}

/* Where in its segment a source sample of the voice is heard, between the beats of its map as well. */
static double in_voice(const json_t *voice, double source)
{
    double from = (double)json_integer_value(json_object_get(voice, "from")), in = source - from;
    double at = (double)json_integer_value(json_object_get(voice, "at"));
    const json_t *map = json_object_get(voice, "map");
    size_t count = json_array_size(map), i = 1;
    if (count < 2) return at + in;
    double x[2] = {0, 0}, y[2] = {0, 0};
    for (; i < count; i++) {
        for (int k = 0; k < 2; k++) {
            const json_t *point = json_array_get(map, i - 1 + (size_t)k);
            x[k] = (double)json_integer_value(json_array_get(point, 0));
            y[k] = (double)json_integer_value(json_array_get(point, 1));
        }
        if (in < x[1]) break;
    }
    return at + y[0] + (x[1] > x[0] ? (in - x[0]) * (y[1] - y[0]) / (x[1] - x[0]) : 0);
}

int audition_place(const struct audition *a, int which, double track_s, double *at)
{
    json_t *const segments[] = {a->before, a->transition, a->after}, *voice;
    double source = track_s * PCM_RATE;
    for (int s = 0; s < 3; s++) {
        size_t i;
        json_array_foreach(json_object_get(json_object_get(segments[s], "plan"), "voices"), i, voice)
        {
            if (!is_of(voice, which) || source < (double)json_integer_value(json_object_get(voice, "from")) ||
                source >= (double)json_integer_value(json_object_get(voice, "to")))
                continue;
            *at = (double)sample_of(segments[s], "start_sample") + in_voice(voice, source);
            return 1;
        }
    }
    return 0;
}
