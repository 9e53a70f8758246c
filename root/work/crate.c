#include "root/work/crate.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/proc.h"
#include "root/library/features.h"
#include "root/library/library.h"
#include "root/library/tracks.h"
#include "root/source/source.h"
#include "root/work/crate_jobs.h"

struct found {
    char *path;
    int64_t size, mtime_ns, id;
    const char *root;
};

struct crate {
    struct found *found;
    size_t found_count, found_room;
    const char *root; /* of the walk under way */
    struct track *tracks;
    size_t count;
    struct library *library;
};

static int note_file(void *context, const char *path, int64_t size, int64_t mtime_ns)
{
    struct crate *crate = context;
    if (crate->found_count == crate->found_room) {
        crate->found_room = crate->found_room ? 2 * crate->found_room : 256;
        crate->found = xrealloc(crate->found, crate->found_room * sizeof *crate->found);
    }
    crate->found[crate->found_count++] = (struct found){xstrdup(path), size, mtime_ns, 0, crate->root};
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

static int walk(struct crate *crate, const char *root, char **cause)
{
    struct source_report report = {0};
    struct source *source = source_open(root);
    crate->root = root;
    int result = source_walk(source, note_file, crate, &report, cause);
    if (result == 0 && report.first_unreadable) {
        fprintf(stderr, "left out: %s\n", report.first_unreadable);
    }
    free(report.first_unreadable);
    source_close(source);
    return result;
}

/* Sorted by path, each path once (roots may lie in each other). */
static void sort_found(struct crate *crate)
{
    size_t kept = 0;
    if (crate->found_count) qsort(crate->found, crate->found_count, sizeof *crate->found, by_path);
    for (size_t i = 0; i < crate->found_count; i++) {
        if (kept && !strcmp(crate->found[kept - 1].path, crate->found[i].path)) {
            free(crate->found[i].path);
        } else {
            crate->found[kept++] = crate->found[i];
        }
    }
    crate->found_count = kept;
}

static int enter_found(struct crate *crate, char **cause)
{
    if (library_begin(crate->library) < 0) return cause_set(cause, "the database can't be written");
    int result = 0;
    for (size_t i = 0; i < crate->found_count && result == 0; i++) {
        struct found *f = &crate->found[i];
        enum tracks_change change;
        result = tracks_found(crate->library, f->root, f->path, f->size, f->mtime_ns, &f->id, &change);
    }
    if (library_commit(crate->library) < 0) result = -1;
    return result < 0 ? cause_set(cause, "the database can't be written") : 0;
}

/* Whether the file waits for analysis, or was analysed by an older version. */
static int is_due(struct crate *crate, const struct found *f)
{
    struct track_file file;
    if (tracks_get(crate->library, f->id, &file) <= 0) return 0;
    int due = file.state == TRACK_NEW;
    if (file.state == TRACK_ANALYSED) {
        struct track track;
        due = features_load(crate->library, f->id, &track) <= 0 || track.features.version < ANALYSIS_VERSION;
        track_free(&track);
    }
    track_file_free(&file);
    return due;
}

static void analyse_due(struct crate *crate, struct crate_report *report)
{
    size_t due = 0;
    struct crate_job *jobs = xcalloc(crate->found_count + 1, sizeof *jobs);
    for (size_t i = 0; i < crate->found_count; i++) {
        const struct found *f = &crate->found[i];
        if (is_due(crate, f)) jobs[due++] = (struct crate_job){f->id, f->path, f->size};
    }
    if (due) crate_jobs_run(crate->library, jobs, due, &report->analysed, &report->failed);
    report->known = crate->found_count - due;
    free(jobs);
}

static void take_playable(struct crate *crate, struct crate_report *report)
{
    crate->tracks = xcalloc(crate->found_count + 1, sizeof *crate->tracks);
    json_t *contents = json_object();
    for (size_t i = 0; i < crate->found_count; i++) {
        struct track_file file;
        if (tracks_get(crate->library, crate->found[i].id, &file) <= 0) continue;
        int analysed = file.state == TRACK_ANALYSED;
        track_file_free(&file);
        struct track *track = &crate->tracks[crate->count];
        if (!analysed || features_load(crate->library, crate->found[i].id, track) <= 0) continue;
        if (track->hash && json_object_get(contents, track->hash)) {
            track_free(track);
            report->same++;
            continue;
        }
        if (track->hash) json_object_set_new(contents, track->hash, json_true());
        track->id = (int64_t)++crate->count;
        free(track->path);
        track->path = xstrdup(crate->found[i].path);
    }
    json_decref(contents);
}

static int gather(struct crate *crate, char *const *roots, size_t root_count, struct crate_report *report,
                  char **cause)
{
    for (size_t i = 0; i < root_count; i++) {
        if (walk(crate, roots[i], cause) < 0) return -1;
    }
    sort_found(crate);
    report->files = crate->found_count;
    if (enter_found(crate, cause) < 0) return -1;
    analyse_due(crate, report);
    take_playable(crate, report);
    return 0;
}

int crate_open(struct crate **out, char *const *roots, size_t root_count, const char *state,
               struct crate_report *report, char **cause)
{
    struct crate *crate = xcalloc(1, sizeof *crate);
    char **real = xcalloc(root_count + 1, sizeof *real);
    int result = 0;
    *report = (struct crate_report){0};
    /* paths as the station would know them, whatever the working directory */
    for (size_t i = 0; i < root_count && result == 0; i++) {
        real[i] = realpath(roots[i], NULL);
        if (!real[i]) result = cause_set(cause, "%s can't be read: %s", roots[i], strerror(errno));
    }
    if (result == 0 && state) result = proc_make_dir(state, cause);
    if (result == 0) result = library_open(&crate->library, state, cause);
    if (result == 0) result = gather(crate, real, root_count, report, cause);
    library_close(crate->library);
    crate->library = NULL;
    for (size_t i = 0; i < root_count; i++)
        free(real[i]);
    free(real);
    if (result < 0) {
        crate_free(crate);
        return -1;
    }
    *out = crate;
    return 0;
}

void crate_free(struct crate *crate)
{
    if (!crate) return;
    for (size_t i = 0; i < crate->found_count; i++)
        free(crate->found[i].path);
    for (size_t i = 0; i < crate->count; i++)
        track_free(&crate->tracks[i]);
    free(crate->found);
    free(crate->tracks);
    free(crate);
}

size_t crate_count(const struct crate *crate)
{
    return crate->count;
}

const struct track *crate_track(const struct crate *crate, int64_t number)
{
    return number >= 1 && (uint64_t)number <= crate->count ? &crate->tracks[number - 1] : NULL;
}
