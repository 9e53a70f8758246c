#include "root/work/again.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "root/audio/pcm.h"
#include "root/library/history.h"
#include "root/library/library.h"
#include "root/library/tracks.h"
#include "root/source/source.h"
#include "root/work/examine.h"
#include "root/work/maker.h"
#include "root/work/output.h"

#define FRAME     MP3_FRAME_SAMPLES
#define FILES_MAX 4096 /* of one rendering: two days of music */

/* A file that plans name, and where it is now. */
struct file {
    int64_t track;
    char *hash;  /* NULL: not known when it was planned */
    char *path;  /* of the file that has it; NULL: not found */
    char *said;  /* what the database says its path is, or was */
    char *other; /* hash of what is there instead; NULL: nothing is */
};

struct state {
    const struct again *again;
    struct library *library;
    json_t *segments; /* of the history, in order */
    struct file *files;
    size_t file_count, file_room;
};

static uint64_t sample_of(const json_t *segment, const char *key)
{
    return (uint64_t)json_int_or(segment, key, 0, 0, INT64_MAX, NULL);
}

/* Files */

static void note_plan(struct state *s, const json_t *segment)
{
    const json_t *plan = json_object_get(segment, "plan"), *voice, *below;
    size_t i;
    json_array_foreach(json_object_get(plan, "voices"), i, voice)
    {
        int64_t track = json_int_or(voice, "track", 0, 0, INT64_MAX, NULL);
        const char *hash = json_str_or(voice, "hash", NULL, NULL);
        size_t k = 0;
        while (k < s->file_count && (s->files[k].track != track ||
                                     strcmp(s->files[k].hash ? s->files[k].hash : "", hash ? hash : "")))
            k++;
        if (k < s->file_count || k == FILES_MAX) continue;
        if (k == s->file_room) {
            s->file_room = k ? 2 * k : 16;
            s->files = xrealloc(s->files, s->file_room * sizeof *s->files);
        }
        s->files[s->file_count++] = (struct file){.track = track, .hash = hash ? xstrdup(hash) : NULL};
    }
    json_array_foreach(json_object_get(json_object_get(plan, "under"), "segments"), i, below)
    {
        note_plan(s, below); /* as deep as skips nest: render.c has a limit */
    }
}

/* Whether the file at path is the one: then it is taken. */
static int is_it(struct file *f, const char *path, int expected)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0) return 0;
    char *hash = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? examine_hash(fd, NULL) : NULL;
    close(fd);
    int good = hash && (!f->hash || !strcmp(hash, f->hash));
    if (good) f->path = xstrdup(path);
    if (!good && expected && !f->other) {
        f->other = hash;
        hash = NULL;
    }
    free(hash);
    return good;
}

static int is_track(struct state *s, struct file *f, int64_t id, int expected)
{
    struct track_file row;
    if (id <= 0 || tracks_get(s->library, id, &row) <= 0) return 0;
    int good = is_it(f, row.path, expected);
    if (expected && !f->said) f->said = xstrdup(row.path);
    track_file_free(&row);
    return good;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A walk's: the file that moved has the same name. */
static int see_file(void *context, const char *path, int64_t size, int64_t mtime_ns)
{
    struct file *f = context;
    (void)size, (void)mtime_ns;
    return !strcmp(name_of(path), name_of(f->said)) && is_it(f, path, 0);
}

static void find_file(struct state *s, struct file *f)
{
    if (is_track(s, f, f->track, 1)) return;
    if (f->hash && is_track(s, f, tracks_played_of(s->library, f->hash), 0)) return;
    for (size_t i = 0; f->said && f->hash && i < s->again->library_count && !f->path; i++) {
        struct source_report report = {0};
        char *cause = NULL;
        struct source *source = source_open(s->again->libraries[i]);
        source_walk(source, see_file, f, &report, &cause); /* stops when it is found */
        source_close(source);
        free(report.first_unreadable);
        free(cause);
    }
}

static void describe(const struct file *f, char **text)
{
    const char *path = f->said ? f->said : "a file the library no longer knows";
    const char *hash = f->hash ? f->hash : "unknown";
    char *line = f->other ? xasprintf("%s has changed: its SHA-256 was %s, is %s", path, hash, f->other)
                          : xasprintf("%s is missing: its SHA-256 was %s", path, hash);
    char *both = *text ? xasprintf("%s\n%s", *text, line) : xstrdup(line);
    free(line);
    free(*text);
    *text = both;
}

static enum again_result find_files(struct state *s, char **cause)
{
    char *missing = NULL;
    size_t i;
    json_t *segment;
    json_array_foreach(s->segments, i, segment)
    {
        note_plan(s, segment);
    }
    for (i = 0; i < s->file_count; i++) {
        find_file(s, &s->files[i]);
        if (!s->files[i].path) describe(&s->files[i], &missing);
    }
    if (!missing) return AGAIN_DONE;
    cause_set(cause, "%s", missing);
    free(missing);
    return AGAIN_FILES;
}

static int open_file(void *context, int64_t track, const char *hash, char **cause)
{
    const struct state *s = context;
    for (size_t i = 0; i < s->file_count; i++) {
        const struct file *f = &s->files[i];
        if (f->track != track || strcmp(f->hash ? f->hash : "", hash ? hash : "")) continue;
        int fd = open(f->path, O_RDONLY | O_CLOEXEC);
        return fd >= 0 ? fd : cause_set(cause, "%s can't be opened: %s", f->path, strerror(errno));
    }
    return cause_set(cause, "too many files");
}

/* Segments */

static int begins_at_a_frame(uint64_t start)
{
    return start >= OUTPUT_DELAY && (start - OUTPUT_DELAY) % FRAME == 0;
}

static const char *technique_of(const json_t *segment)
{
    return json_str_or(segment, "technique", "", NULL);
}

/* The programme began anew with this one: a track alone that cuts off what was planned before. */
static int begins_anew(const json_t *before, const json_t *segment)
{
    uint64_t start = sample_of(segment, "start_sample");
    return before && !strcmp(technique_of(segment), "play") && start < sample_of(before, "end_sample") &&
           begins_at_a_frame(start);
}

/* Leaves the segments that led to the wanted frames, from the last new beginning on. */
static enum again_result cut_runs(struct state *s, char **cause)
{
    const struct render_file *file = &s->again->file;
    for (size_t i = 1; i < json_array_size(s->segments); i++) {
        const json_t *segment = json_array_get(s->segments, i);
        if (!begins_anew(json_array_get(s->segments, i - 1), segment)) continue;
        uint64_t frame = (sample_of(segment, "start_sample") - OUTPUT_DELAY) / FRAME;
        if (frame >= file->first + file->frames) {
            while (json_array_size(s->segments) > i)
                json_array_remove(s->segments, json_array_size(s->segments) - 1);
        } else if (frame <= file->first) {
            for (; i; i--)
                json_array_remove(s->segments, 0);
        } else {
            cause_set(cause,
                      "the programme began anew at position %" PRIu64
                      ": ask for what lies before, or from there on",
                      frame);
            return AGAIN_REFUSED;
        }
    }
    return AGAIN_DONE;
}

/* No live input sounds in it, nor in what a skip fades out under it. */
static int is_made_of_files(const json_t *segment)
{
    const json_t *plan = json_object_get(segment, "plan"), *below;
    size_t i;
    if (!json_is_object(plan) || json_object_get(plan, "live") || !strcmp(technique_of(segment), "live"))
        return 0;
    json_array_foreach(json_object_get(json_object_get(plan, "under"), "segments"), i, below)
    {
        if (!is_made_of_files(below)) return 0;
    }
    return 1;
}

/* Whether there is no hole in [from, to), and nothing that can't be rendered. */
static enum again_result check(const struct state *s, uint64_t from, uint64_t to, char **cause)
{
    const json_t *segment;
    uint64_t end = 0;
    size_t i;
    json_array_foreach(s->segments, i, segment)
    {
        uint64_t start = sample_of(segment, "start_sample");
        int known = i ? start <= end : start <= from || begins_at_a_frame(start);
        if (!known) {
            cause_set(cause,
                      "the history has nothing before position %" PRIu64 ", which its sound depends on",
                      start / FRAME + 1);
            return AGAIN_UNKNOWN;
        }
        end = sample_of(segment, "end_sample");
        if (is_made_of_files(segment)) continue;
        cause_set(cause, "live input was on air at position %" PRIu64 ", and is not kept", start / FRAME);
        return AGAIN_REFUSED;
    }
    if (end >= to) return AGAIN_DONE;
    cause_set(cause, "the history reaches to position %" PRIu64 " only", end / FRAME);
    return AGAIN_UNKNOWN;
}

static enum again_result load(struct state *s, char **cause)
{
    const struct render_file *file = &s->again->file;
    uint64_t from = file->first * FRAME, to = output_needs(file->first + file->frames - 1);
    from -= from < OUTPUT_PAST ? from : OUTPUT_PAST;
    char *database = xasprintf("%s/library.db", s->again->state);
    int there = access(database, R_OK);
    if (there) cause_set(cause, "%s: %s", database, strerror(errno));
    free(database);
    if (there || library_open(&s->library, s->again->state, cause)) return AGAIN_UNKNOWN;
    int count = history_aired(s->library, file->first, from, to, s->segments);
    if (count <= 0) {
        cause_set(cause, "the history does not hold position %" PRIu64, file->first);
        return AGAIN_UNKNOWN;
    }
    enum again_result result = cut_runs(s, cause);
    return result ? result : check(s, from, to, cause);
}

static enum again_result render(struct state *s, char **cause)
{
    struct programme *programme = programme_new(open_file, s);
    int64_t bad = 0;
    int result = 0;
    size_t i;
    json_t *segment;
    json_array_foreach(s->segments, i, segment)
    {
        if (result == 0) result = programme_add(programme, segment, cause);
    }
    if (result == 0) result = render_file_write(&s->again->file, programme, &bad, cause);
    programme_free(programme);
    return result ? AGAIN_FAILED : AGAIN_DONE;
}

/* Segments of before this was noted have no maker. */
static char *other_maker(const json_t *segments)
{
    char *own = maker_text(), *other = NULL;
    const json_t *segment;
    size_t i;
    json_array_foreach(segments, i, segment)
    {
        const char *maker = json_str_or(segment, "made_by", own, NULL);
        if (!other && strcmp(maker, own)) other = xstrdup(maker);
    }
    free(own);
    return other;
}

static const char *path_of(const struct state *s, const json_t *entry)
{
    int64_t track = json_int_or(entry, "track", 0, 0, INT64_MAX, NULL);
    const char *hash = json_str_or(entry, "hash", "", NULL);
    for (size_t i = 0; i < s->file_count; i++) {
        const struct file *f = &s->files[i];
        if (f->track == track && !strcmp(f->hash ? f->hash : "", hash)) return f->path;
    }
    return NULL;
}

static void tell_segments(const struct state *s, struct again_told *told)
{
    json_t *segment, *entry;
    size_t i, k;
    told->segments = json_array();
    json_array_foreach(s->segments, i, segment)
    {
        json_t *copy = json_deep_copy(segment);
        json_array_foreach(json_object_get(copy, "tracks"), k, entry)
        {
            const char *path = path_of(s, entry);
            if (path) json_object_set_new(entry, "path", json_text_lossy(path));
        }
        json_array_append_new(told->segments, copy);
    }
    told->maker = other_maker(s->segments);
}

enum again_result again_render(const struct again *again, struct again_told *told, char **cause)
{
    struct state s = {.again = again, .segments = json_array()};
    enum again_result result = load(&s, cause);
    if (!result) result = find_files(&s, cause);
    if (!result) result = render(&s, cause);
    if (!result) tell_segments(&s, told);
    for (size_t i = 0; i < s.file_count; i++) {
        struct file *f = &s.files[i];
        free(f->hash);
        free(f->path);
        free(f->said);
        free(f->other);
    }
    free(s.files);
    json_decref(s.segments);
    library_close(s.library);
    return result;
}
