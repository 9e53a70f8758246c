/* stage: renders and measures transitions that somebody else planned, by the station's own renderer and
 * meters.
 *
 *     bench-mix --state DIR LIBRARY...
 *
 * One JSON object a line, in and out:
 *   {"do":"tracks"}                           {"tracks":[{"track","path","features"}...]}: numbered as render
 * does
 *   {"do":"measure", "segments":[...], "at":SAMPLE, "bars":N, "files":{"1000":"/a/file.wav"}}
 *                                             measures the segment that starts at SAMPLE: see docs/MIX.md
 *   anything that fails                       {"error"} */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "root/audio/pcm.h"
#include "root/mix/plan.h"
#include "root/mix/certificate.h"
#include "root/mix/join.h"
#include "root/mix/listen.h"
#include "root/mix/measure.h"
#include "root/mix/recipe.h"
#include "root/mix/render.h"
#include "root/work/crate.h"

#define LINE_MAX_BYTES (16 << 20)
#define ROOTS_MAX      8
#define PIECE          1024

struct stage {
    struct crate *crate;
    const json_t *files;
};

static int open_file(void *context, int64_t number, const char *hash, char **cause)
{
    const struct stage *stage = context;
    const struct track *track = crate_track(stage->crate, number);
    char key[32];
    (void)hash;
    snprintf(key, sizeof key, "%lld", (long long)number);
    const char *path = json_string_value(json_object_get(stage->files, key));
    if (!path && track) path = track->path;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    return fd >= 0 ? fd : cause_set(cause, "track %s can't be opened", key);
}

static json_t *tell_tracks(const struct stage *stage)
{
    json_t *list = json_array();
    for (size_t i = 1; i <= crate_count(stage->crate); i++)
        json_array_append_new(list, track_to_json(crate_track(stage->crate, (int64_t)i)));
    return json_pack("{s:o}", "tracks", list);
}

/* Reads [from, to) to the prelude or, where that is NULL, to the listener. */
static int hear(struct programme *p, uint64_t from, uint64_t to, struct prelude *prelude,
                struct listen *listener, char **cause)
{
    float pcm[PIECE * PCM_CHANNELS];
    for (size_t n; from < to; from += n) {
        n = to - from < PIECE ? (size_t)(to - from) : PIECE;
        if (programme_read(p, from, pcm, n, NULL, cause)) return -1;
        if (prelude)
            prelude_feed(prelude, pcm, n);
        else
            listen_feed(listener, pcm, n);
    }
    return 0;
}

static json_t *measured(struct programme *p, json_t *transition, int bars, char **cause)
{
    static int64_t beat[JOIN_BEATS_MAX + 1];
    uint64_t start = (uint64_t)json_integer_value(json_object_get(transition, "start_sample"));
    uint64_t end = (uint64_t)json_integer_value(json_object_get(transition, "end_sample"));
    struct stem stems[2] = {{0}, {0}};
    struct certificate c = {.beats = {0, NAN, NAN, NAN, NAN},
                            .offbeat = NAN,
                            .apart_beats = -1,
                            .low_band_correlation = NAN,
                            .correlation = NAN,
                            .consonance = NAN,
                            .consonance_sigmas = NAN};
    int64_t bad;
    int voices;
    uint64_t around = (uint64_t)(LISTEN_AROUND_S * PCM_RATE), first = programme_start(p),
             last = programme_end(p);
    struct prelude *prelude = start > first ? prelude_new() : NULL;
    json_t *out = NULL;
    int result =
        prelude ? hear(p, start > first + around ? start - around : first, start, prelude, NULL, cause) : 0;
    if (result == 0 && programme_stems(p, start, stems, &voices, &bad, cause) == 0) {
        struct listen *listener = listen_new(prelude, (size_t)(end - start), &stems[0], &stems[1]);
        result = hear(p, start, last < end + around ? last : end + around, NULL, listener, cause);
        listen_finish(listener, &c.loudness, &c.dropouts);
        int count = voices == 2 ? recipe_beats(transition, beat) : 0;
        if (count && bars) {
            measure_beats(&stems[0], &stems[1], beat, count, count / bars, &c.beats);
            c.apart_beats = measure_apart(&stems[0], &stems[1], beat, count);
            c.bass_overlap_beats = measure_bass_overlap(&stems[0], &stems[1], beat, count);
        }
        certificate_judge(&c);
        if (result == 0) out = certificate_to_json(&c, transition);
    }
    for (int i = 0; i < 2; i++)
        stem_free(&stems[i]);
    prelude_free(prelude);
    return out;
}

static json_t *tell_measures(struct stage *stage, const json_t *order, char **cause)
{
    struct programme *p = programme_new(open_file, stage);
    json_t *segment, *transition = NULL, *out = NULL;
    size_t i;
    int bad = 0, result = 0;
    int64_t at = json_int_or(order, "at", -1, 0, INT64_MAX, &bad);
    int bars = (int)json_int_or(order, "bars", 0, 0, 128, &bad);
    stage->files = json_object_get(order, "files");
    json_array_foreach(json_object_get(order, "segments"), i, segment)
    {
        if (result == 0) result = programme_add(p, segment, cause);
        if (json_integer_value(json_object_get(segment, "start_sample")) == at) transition = segment;
    }
    if (result == 0 && (bad || !transition)) cause_set(cause, "no segment starts at that sample");
    if (!*cause) out = measured(p, transition, bars, cause);
    programme_free(p);
    return out;
}

static json_t *answer(struct stage *stage, const char *line, size_t length)
{
    char *cause = NULL;
    json_t *out = NULL, *order = json_parse(line, length, LINE_MAX_BYTES, &cause);
    const char *what = order ? json_str_or(order, "do", "", NULL) : "";
    if (order && !strcmp(what, "tracks"))
        out = tell_tracks(stage);
    else if (order && !strcmp(what, "measure"))
        out = tell_measures(stage, order, &cause);
    else if (order)
        cause_set(&cause, "unknown order \"%s\"", what);
    if (!out) out = json_pack("{s:s}", "error", cause ? cause : "?");
    free(cause);
    json_decref(order);
    return out;
}

int main(int argc, char **argv)
{
    struct stage stage = {0};
    struct crate_report report;
    char *cause = NULL, *line = NULL;
    size_t room = 0;
    ssize_t length;
    if (argc < 4 || strcmp(argv[1], "--state") || argc - 3 > ROOTS_MAX) {
        fprintf(stderr, "usage: bench-mix --state DIR LIBRARY...\n");
        return 64;
    }
    if (crate_open(&stage.crate, argv + 3, (size_t)argc - 3, argv[2], &report, &cause)) {
        fprintf(stderr, "bench-mix: %s\n", cause);
        free(cause);
        return 66;
    }
    while ((length = getline(&line, &room, stdin)) > 0) {
        json_t *out = answer(&stage, line, (size_t)length);
        char *text = json_text(out);
        printf("%s\n", text);
        fflush(stdout);
        free(text);
        json_decref(out);
    }
    free(line);
    crate_free(stage.crate);
    return 0;
}
