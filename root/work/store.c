/* store: the only process that opens the database and the media files.
 *
 * It answers one message at a time, each in a short transaction. What analysis said is believed for the track
 * and the file it was given, and for nothing else. Whenever a track's fate changes, the brain hears of it:
 * see announce. A file that is not what it was when it was analysed is not handed out: it is analysed anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/art.h"
#include "root/library/features.h"
#include "root/library/history.h"
#include "root/library/library.h"
#include "root/library/tracks.h"
#include "root/work/store_jobs.h"
#include "root/work/work.h"

#define PROGRESS_EVERY_NS CLOCK_NS_PER_S
#define POOL_PAGE         500
#define HISTORY_MAX       50000
#define LOST_MAX          2  /* analyses lost with their worker before a track has failed */
#define JOB_TRIES         20 /* files that turn out to be gone, for one request */
#define REASON_BYTES_MAX  300
/* Results of jobs a former store gave out are taken for so long. */
#define ORPHANS_NS (300 * CLOCK_NS_PER_S)

/* One walk of scan: which of the tracks it found. */
struct walk {
    char *root;
    int64_t generation;
    int64_t *ids;
    size_t count, room;
};

struct store {
    struct work *work;
    struct library *library;
    struct jobs *jobs;
    struct walk *walks; /* by root, as configured */
    int64_t started_ns, progress_ns;
    int progress_due;
};

/* Announcing */

static json_t *track_body(int64_t id)
{
    return json_pack("{s:I}", "track", (json_int_t)id);
}

static void tell_ready(struct store *s, int64_t id)
{
    json_t *summary = features_summary(s->library, id);
    if (summary) work_send(s->work, WIRE_TRACK_READY, 0, summary, -1);
}

static void tell_gone(struct store *s, int64_t id)
{
    work_send(s->work, WIRE_TRACK_GONE, 0, track_body(id), -1);
}

/* Brings the brain in step after track id changed. Of equal contents one is played: when it goes, the next
 * takes its place; when one comes before it, it steps back. */
static void announce(struct store *s, int64_t id)
{
    struct track_file file;
    s->progress_due = 1;
    int known = tracks_get(s->library, id, &file);
    if (known < 0) return;
    int playable = known && file.present && file.state == TRACK_ANALYSED;
    int64_t played = file.hash ? tracks_played_of(s->library, file.hash) : playable ? id : 0;
    if (!playable || played != id) tell_gone(s, id);
    if (played > 0) tell_ready(s, played);
    if (played == id && file.hash) {
        int64_t next = tracks_next_of(s->library, file.hash, id);
        if (next > 0) tell_gone(s, next);
    }
    track_file_free(&file);
}

static void set_failed(struct store *s, int64_t id, const char *reason)
{
    char *text = xstrndup(reason, REASON_BYTES_MAX);
    log_warn("store", "track %lld is skipped: %s", (long long)id, text);
    if (!tracks_set_failed(s->library, id, text)) announce(s, id);
    free(text);
}

static void progress(struct store *s)
{
    int64_t now_ns = clock_boot_ns();
    struct tracks_count n;
    if (!s->progress_due || now_ns < s->progress_ns + PROGRESS_EVERY_NS || tracks_count(s->library, &n))
        return;
    s->progress_due = 0;
    s->progress_ns = now_ns;
    work_send(s->work, WIRE_PROGRESS, 0,
              json_pack("{s:I,s:I,s:I,s:I}", "total", (json_int_t)n.total, "analysed", (json_int_t)n.analysed,
                        "failed", (json_int_t)n.failed, "pending", (json_int_t)n.pending),
              -1);
}

/* Files */

static int64_t body_track(const json_t *body)
{
    return json_int_or(body, "track", 0, 1, INT64_MAX, NULL);
}

static int below(const char *root, const char *path)
{
    size_t n = strlen(root);
    if (n && root[n - 1] == '/') n--;
    return !strncmp(path, root, n) && path[n] == '/' && !strstr(path, "/../");
}

/* Opens a track's file, and notes what the attempt shows: that it is gone, or no file to play. The descriptor
 * with *st; -1 with *cause. */
static int open_media(struct store *s, const struct track_file *file, struct stat *st, char **cause)
{
    size_t i = 0;
    while (i < s->work->library_count && !below(s->work->libraries[i], file->path))
        i++;
    if (i == s->work->library_count) return cause_set(cause, "it lies outside of the libraries");
    /* links may lead anywhere the operator lets them; a pipe must not make us wait */
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = errno;
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode)) return fd;
    if (fd >= 0) {
        close(fd);
        set_failed(s, file->id, "it is no regular file");
        return cause_set(cause, "it is no regular file");
    }
    if ((error == ENOENT || error == ENOTDIR) && !tracks_set_gone(s->library, file->id))
        announce(s, file->id);
    return cause_set(cause, "%s", strerror(error));
}

static int64_t mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * CLOCK_NS_PER_S + st->st_mtim.tv_nsec;
}

static int unchanged(const struct track_file *file, const struct stat *st)
{
    return file->size == st->st_size && file->mtime_ns == mtime_ns(st);
}

/* scan */

static struct walk *find_walk(struct store *s, const json_t *body)
{
    char *root = path_from_text(json_str_or(body, "root", "", NULL));
    struct walk *walk = NULL;
    for (size_t i = 0; i < s->work->library_count && !walk; i++) {
        if (!strcmp(s->walks[i].root, root)) walk = &s->walks[i];
    }
    free(root);
    if (!walk) return NULL;
    int64_t generation = json_int_or(body, "generation", 0, 0, INT64_MAX, NULL);
    if (walk->generation != generation) {
        walk->generation = generation;
        walk->count = 0;
    }
    return walk;
}

static void walk_add(struct walk *walk, int64_t id)
{
    if (walk->count == walk->room) {
        walk->room = walk->room ? walk->room * 2 : 256;
        walk->ids = xrealloc(walk->ids, walk->room * sizeof *walk->ids);
    }
    walk->ids[walk->count++] = id;
}

static void on_found(struct store *s, const json_t *body)
{
    struct walk *walk = find_walk(s, body);
    const json_t *files = json_object_get(body, "files"), *item;
    size_t i, count = json_array_size(files), changed = 0;
    if (!walk || !count || library_begin(s->library)) return;
    int64_t *ids = xcalloc(count, sizeof *ids);
    json_array_foreach(files, i, item)
    {
        int bad = 0;
        char *path = path_from_text(json_str_or(item, "path", "", &bad));
        int64_t size = json_int_or(item, "size", 0, 0, INT64_MAX, &bad), id;
        int64_t time_ns = json_int_or(item, "mtime_ns", 0, INT64_MIN, INT64_MAX, &bad);
        enum tracks_change change;
        if (!bad && below(walk->root, path) &&
            !tracks_found(s->library, walk->root, path, size, time_ns, &id, &change)) {
            walk_add(walk, id);
            if (change != TRACKS_SAME) s->progress_due = 1;
            if (change == TRACKS_CHANGED || change == TRACKS_BACK) ids[changed++] = id;
        }
        free(path);
    }
    if (!library_commit(s->library)) {
        for (i = 0; i < changed; i++)
            announce(s, ids[i]);
    }
    free(ids);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* What a whole walk did not find is gone. */
static void on_scanned(struct store *s, const json_t *body)
{
    struct walk *walk = find_walk(s, body);
    if (!walk) return;
    const char *error = json_str_or(body, "error", NULL, NULL);
    if (error) {
        log_warn("store", "%s: %s: its tracks stay as they are", walk->root, error);
        return;
    }
    if (walk->count < (size_t)json_int_or(body, "files", 0, 0, INT64_MAX, NULL)) {
        log_warn("store", "%s: not all of the walk arrived: its tracks stay as they are", walk->root);
        return;
    }
    if (walk->count) qsort(walk->ids, walk->count, sizeof *walk->ids, by_value);
    int64_t ids[500], after = 0;
    int n;
    size_t gone = 0, at = 0;
    while ((n = tracks_of_root(s->library, walk->root, after, ids, 500)) > 0) {
        for (int i = 0; i < n; i++) {
            while (at < walk->count && walk->ids[at] < ids[i])
                at++;
            if (at < walk->count && walk->ids[at] == ids[i]) continue;
            if (!tracks_set_gone(s->library, ids[i])) announce(s, ids[i]);
            gone++;
        }
        after = ids[n - 1];
    }
    struct tracks_count count;
    if (tracks_count(s->library, &count)) return;
    log_info("store", "%s: %zu files found, %zu gone; %lld analysed, %lld to do, %lld failed", walk->root,
             walk->count, gone, (long long)count.analysed, (long long)count.pending, (long long)count.failed);
    walk->count = 0;
    s->progress_due = 1;
}

/* analyse */

static void give_job(struct store *s, uint32_t seq, const struct track_file *file, int fd,
                     const struct stat *st)
{
    double deadline_s = jobs_begin(s->jobs, file->id, st->st_size, mtime_ns(st));
    char *path = path_to_text(file->path);
    work_send(s->work, WIRE_JOB_IS, seq,
              json_pack("{s:I,s:s,s:I,s:f}", "track", (json_int_t)file->id, "path", path, "size",
                        (json_int_t)st->st_size, "deadline_s", deadline_s),
              fd);
    free(path);
}

static void on_job(struct store *s, uint32_t seq)
{
    for (int tries = 0; tries < JOB_TRIES; tries++) {
        int64_t id = jobs_choose(s->jobs, s->library);
        struct track_file file;
        struct stat st;
        if (id <= 0 || tracks_get(s->library, id, &file) <= 0) break;
        char *cause = NULL;
        int fd = open_media(s, &file, &st, &cause), given = 0;
        if (fd >= 0) {
            if (!unchanged(&file, &st) && !tracks_set_changed(s->library, id, st.st_size, mtime_ns(&st)))
                announce(s, id);
            give_job(s, seq, &file, fd, &st);
            close(fd);
            given = 1;
        } else if (!tracks_get(s->library, id, &file) || (file.present && file.state == TRACK_NEW)) {
            set_failed(s, id, cause); /* unless it is gone, which is noted */
        }
        free(cause);
        track_file_free(&file);
        if (given) return;
    }
    work_send(s->work, WIRE_JOB_IS, seq, json_pack("{s:b}", "none", 1), -1);
}

/* Whether what came for this track was asked for, of the file as it is known now. */
static int wanted(struct store *s, int64_t id)
{
    struct track_file file;
    if (tracks_get(s->library, id, &file) <= 0) return 0;
    const struct job *job = jobs_find(s->jobs, id);
    int yes = job ? job->size == file.size && job->mtime_ns == file.mtime_ns
                  : file.state == TRACK_NEW && clock_boot_ns() < s->started_ns + ORPHANS_NS;
    track_file_free(&file);
    return yes;
}

static void job_done(struct store *s, int64_t id)
{
    struct job *job = jobs_find(s->jobs, id);
    if (job) job->done = 1;
}

static void on_features(struct store *s, const json_t *body)
{
    struct track track;
    char *cause = NULL;
    track_init(&track);
    if (track_from_json(&track, body, &cause)) {
        log_error("store", "features refused: %s", cause);
        if (jobs_find(s->jobs, body_track(body)))
            set_failed(s, body_track(body), "the analysis made no sense");
        free(cause);
    } else if (wanted(s, track.id) && !features_store(s->library, &track)) {
        announce(s, track.id);
    }
    job_done(s, track.id);
    track_free(&track);
}

static void on_failed(struct store *s, const json_t *body)
{
    int64_t id = body_track(body);
    if (wanted(s, id)) set_failed(s, id, json_str_or(body, "reason", "no reason given", NULL));
    jobs_end(s->jobs, id);
}

static void on_job_lost(struct store *s, const json_t *body)
{
    int64_t id = body_track(body);
    const char *reason = json_str_or(body, "reason", "the analyser died on it", NULL);
    if (id && wanted(s, id) && tracks_set_lost(s->library, id, reason, LOST_MAX) == TRACK_FAILED)
        set_failed(s, id, reason);
    jobs_end(s->jobs, id);
}

/* i64 track, mime text, NUL, image */
static void on_art(struct store *s, const uint8_t *bytes, size_t len)
{
    uint64_t id = 0;
    if (len < 10) return;
    for (int i = 0; i < 8; i++)
        id |= (uint64_t)bytes[i] << (8 * i);
    const uint8_t *mime = bytes + 8, *nul = memchr(mime, 0, len - 8);
    if (!nul || nul + 1 == bytes + len || !wanted(s, (int64_t)id)) return;
    if (art_store(s->library, (int64_t)id, (const char *)mime, nul + 1, (size_t)(bytes + len - nul - 1)))
        log_debug("store", "track %lld: picture of type %s left out", (long long)id, (const char *)mime);
}

/* brain, studio, air */

static void reply_error(struct store *s, uint32_t seq, const char *text)
{
    work_send(s->work, WIRE_ERROR, seq, json_pack("{s:s}", "error", text), -1);
}

static void on_pool(struct store *s, uint32_t seq, const json_t *body)
{
    json_t *tracks = json_array();
    int n = features_pool(s->library, json_int_or(body, "after", 0, 0, INT64_MAX, NULL), POOL_PAGE, tracks);
    if (n < 0) {
        json_decref(tracks);
        reply_error(s, seq, "the library can't be read");
        return;
    }
    work_send(s->work, WIRE_POOL_IS, seq, json_pack("{s:o,s:b}", "tracks", tracks, "last", n < POOL_PAGE),
              -1);
}

static void on_history(struct store *s, uint32_t seq, const json_t *body)
{
    json_t *plays = json_array();
    int limit = (int)json_int_or(body, "limit", 1000, 1, HISTORY_MAX, NULL);
    if (history_latest(s->library, limit, plays) < 0) {
        json_decref(plays);
        reply_error(s, seq, "the history can't be read");
        return;
    }
    work_send(s->work, WIRE_HISTORY_IS, seq, json_pack("{s:o}", "plays", plays), -1);
}

/* The whole track and its open file; -1 with *cause. */
static int track_and_file(struct store *s, int64_t id, struct track *track, int *fd, char **cause)
{
    struct track_file file;
    struct stat st;
    int known = tracks_get(s->library, id, &file), result = -1;
    if (known <= 0) {
        tell_gone(s, id); /* known from a former library, perhaps */
        return cause_set(cause, "no such track");
    }
    if (!file.present || file.state != TRACK_ANALYSED) {
        tell_gone(s, id);
        cause_set(cause, "the track is %s", file.present ? "not analysed" : "gone");
    } else if ((*fd = open_media(s, &file, &st, cause)) >= 0) {
        if (!unchanged(&file, &st)) {
            if (!tracks_set_changed(s->library, id, st.st_size, mtime_ns(&st))) announce(s, id);
            cause_set(cause, "the file has changed");
        } else if (features_load(s->library, id, track) <= 0) {
            cause_set(cause, "its features can't be read");
        } else {
            result = 0;
        }
        if (result) close(*fd);
    }
    track_file_free(&file);
    return result;
}

static void on_track(struct store *s, uint32_t seq, const json_t *body)
{
    struct track track;
    char *cause = NULL;
    int fd = -1;
    track_init(&track);
    if (track_and_file(s, body_track(body), &track, &fd, &cause)) {
        reply_error(s, seq, cause);
        free(cause);
        return;
    }
    work_send(s->work, WIRE_TRACK_IS, seq, track_to_json(&track), fd);
    close(fd);
    track_free(&track);
}

static void on_unplayable(struct store *s, const json_t *body)
{
    int64_t id = body_track(body);
    struct track_file file;
    if (tracks_get(s->library, id, &file) <= 0) return;
    if (file.state == TRACK_ANALYSED)
        set_failed(s, id, json_str_or(body, "reason", "it can't be decoded", NULL));
    track_file_free(&file);
}

static void on_aired(struct store *s, const json_t *mark)
{
    int bad = 0;
    int64_t position = json_int_or(mark, "position", 0, 0, INT64_MAX, &bad);
    int64_t branch = json_int_or(mark, "branch", 0, 0, UINT32_MAX, &bad);
    double wall_s = json_real_or(mark, "wall_s", 0, &bad);
    const json_t *body = json_object_get(mark, "body");
    if (bad || !json_is_object(body) || !(wall_s >= 0 && wall_s < 9e9)) {
        log_error("store", "an aired segment is malformed");
        return;
    }
    history_add(s->library, (uint64_t)position, (uint32_t)branch, (int64_t)(wall_s * 1e9), body);
}

static void on_art_get(struct store *s, uint32_t seq, const json_t *body)
{
    char *mime;
    uint8_t *bytes;
    size_t len;
    if (art_load(s->library, body_track(body), &mime, &bytes, &len) <= 0) {
        reply_error(s, seq, "no picture");
        return;
    }
    size_t head = strlen(mime) + 1;
    char *reply = xmalloc(head + len);
    memcpy(reply, mime, head);
    memcpy(reply + head, bytes, len);
    work_send_bytes(s->work, WIRE_ART_IS, seq, reply, head + len);
    free(reply);
    free(bytes);
    free(mime);
}

static void handle(struct store *s, const struct work_message *m)
{
    switch (m->row->type) {
    case WIRE_FOUND:
        on_found(s, m->body);
        break;
    case WIRE_SCANNED:
        on_scanned(s, m->body);
        break;
    case WIRE_JOB:
        on_job(s, m->seq);
        break;
    case WIRE_FEATURES:
        on_features(s, m->body);
        break;
    case WIRE_ART:
        on_art(s, m->bytes, m->len);
        break;
    case WIRE_FAILED:
        on_failed(s, m->body);
        break;
    case WIRE_JOB_LOST:
        on_job_lost(s, m->body);
        break;
    case WIRE_POOL:
        on_pool(s, m->seq, m->body);
        break;
    case WIRE_HISTORY:
        on_history(s, m->seq, m->body);
        break;
    case WIRE_TRACK:
        on_track(s, m->seq, m->body);
        break;
    case WIRE_UNPLAYABLE:
        on_unplayable(s, m->body);
        break;
    case WIRE_AIRED:
        on_aired(s, m->body);
        break;
    case WIRE_ART_GET:
        on_art_get(s, m->seq, m->body);
        break;
    default:
        break;
    }
}

static void serve(struct store *s)
{
    struct work_message message;
    for (;;) {
        int timeout_ms = -1;
        if (s->progress_due) {
            int64_t rest_ns = s->progress_ns + PROGRESS_EVERY_NS - clock_boot_ns();
            timeout_ms = rest_ns > 0 ? (int)(rest_ns / 1000000) + 1 : 0;
        }
        int got = work_next(s->work, &message, timeout_ms);
        if (got < 0) return;
        if (got) {
            handle(s, &message);
            work_message_free(&message);
        }
        progress(s);
        if (library_broken(s->library)) return; /* closing sets it aside; the next store begins anew */
    }
}

int work_store(struct work *work)
{
    struct store s = {.work = work, .started_ns = clock_boot_ns(), .progress_due = 1};
    char *cause = NULL;
    if (library_open(&s.library, work->state, &cause)) {
        log_error("store", "%s", cause);
        free(cause);
        return EX_CANTCREAT;
    }
    tracks_keep_roots(s.library, work->libraries, (unsigned)work->library_count);
    s.jobs = jobs_new(work->seed);
    s.walks = xcalloc(work->library_count + 1, sizeof *s.walks);
    for (size_t i = 0; i < work->library_count; i++)
        s.walks[i].root = work->libraries[i];
    if (!work_ready(work)) {
        work_send(work, WIRE_REPOOL, 0, json_object(), -1);
        serve(&s);
    }
    int code = library_broken(s.library) ? EX_IOERR : 0;
    library_close(s.library);
    jobs_free(s.jobs);
    for (size_t i = 0; i < work->library_count; i++)
        free(s.walks[i].ids);
    free(s.walks);
    return code;
}
