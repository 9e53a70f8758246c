/* store: the only process that opens the database and the media files.
 *
 * It answers one message at a time, each in a short transaction. What analysis said is believed for the track
 * and the file it was given, and for nothing else. Whenever a track's fate changes, the brain hears of it:
 * see store_announce. A file that is not what it was when it was analysed is not handed out: it is analysed
 * anew.
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
#include "root/library/waves.h"
#include "root/work/maker.h"
#include "root/work/store.h"
#include "root/work/store_jobs.h"

#define PROGRESS_EVERY_NS CLOCK_NS_PER_S
#define POOL_PAGE         500
#define HISTORY_MAX       50000
#define PRUNE_EVERY       100 /* segments */
#define REASON_BYTES_MAX  300

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
void store_announce(struct store *s, int64_t id)
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

void store_set_failed(struct store *s, int64_t id, const char *reason)
{
    char *text = xstrndup(reason, REASON_BYTES_MAX);
    log_warn("store", "track %lld is skipped: %s", (long long)id, text);
    if (!tracks_set_failed(s->library, id, text)) store_announce(s, id);
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
              json_pack("{s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)n.total, "analysed",
                        (json_int_t)n.analysed, "failed", (json_int_t)n.failed, "pending",
                        (json_int_t)n.pending, "outdated", (json_int_t)n.outdated),
              -1);
}

/* Files */

int64_t store_body_track(const json_t *body)
{
    return json_int_or(body, "track", 0, 1, INT64_MAX, NULL);
}

int store_is_below(const char *root, const char *path)
{
    size_t n = strlen(root);
    if (n && root[n - 1] == '/') n--;
    return !strncmp(path, root, n) && path[n] == '/' && !strstr(path, "/../");
}

int store_open_media(struct store *s, const struct track_file *file, struct stat *st, char **cause)
{
    size_t i = 0;
    while (i < s->work->library_count && !store_is_below(s->work->libraries[i], file->path))
        i++;
    if (i == s->work->library_count) return cause_set(cause, "it lies outside of the libraries");
    /* links may lead anywhere the operator lets them; a pipe must not make us wait */
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = errno;
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode)) return fd;
    if (fd >= 0) {
        close(fd);
        store_set_failed(s, file->id, "it is no regular file");
        return cause_set(cause, "it is no regular file");
    }
    if ((error == ENOENT || error == ENOTDIR) && !tracks_set_gone(s->library, file->id))
        store_announce(s, file->id);
    return cause_set(cause, "%s", strerror(error));
}

int64_t store_mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * CLOCK_NS_PER_S + st->st_mtim.tv_nsec;
}

int store_unchanged(const struct track_file *file, const struct stat *st)
{
    return file->size == st->st_size && file->mtime_ns == store_mtime_ns(st);
}

/* brain, studio, air */

void store_reply_error(struct store *s, uint32_t seq, const char *text)
{
    work_send(s->work, WIRE_ERROR, seq, json_pack("{s:s}", "error", text), -1);
}

static void on_pool(struct store *s, uint32_t seq, const json_t *body)
{
    json_t *tracks = json_array();
    int n = features_pool(s->library, json_int_or(body, "after", 0, 0, INT64_MAX, NULL), POOL_PAGE, tracks);
    if (n < 0) {
        json_decref(tracks);
        store_reply_error(s, seq, "the library can't be read");
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
        store_reply_error(s, seq, "the history can't be read");
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
    } else if ((*fd = store_open_media(s, &file, &st, cause)) >= 0) {
        if (!store_unchanged(&file, &st)) {
            if (!tracks_set_changed(s->library, id, st.st_size, store_mtime_ns(&st))) store_announce(s, id);
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
    if (track_and_file(s, store_body_track(body), &track, &fd, &cause)) {
        store_reply_error(s, seq, cause);
        free(cause);
        return;
    }
    work_send(s->work, WIRE_TRACK_IS, seq, track_to_json(&track), fd);
    close(fd);
    track_free(&track);
}

static void on_unplayable(struct store *s, const json_t *body)
{
    int64_t id = store_body_track(body);
    struct track_file file;
    if (tracks_get(s->library, id, &file) <= 0) return;
    /* one that is gone may come back as good as it was */
    if (file.state == TRACK_ANALYSED && file.present)
        store_set_failed(s, id, json_str_or(body, "reason", "it can't be decoded", NULL));
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
    int64_t wall_ns = (int64_t)(wall_s * 1e9);
    history_add(s->library, (uint64_t)position, (uint32_t)branch, wall_ns, body, s->maker);
    if (++s->aired % PRUNE_EVERY == 0) history_prune(s->library, wall_ns, s->work->history_days);
}

static void on_art_get(struct store *s, uint32_t seq, const json_t *body)
{
    char *mime;
    uint8_t *bytes;
    size_t len;
    if (art_load(s->library, store_body_track(body), &mime, &bytes, &len) <= 0) {
        store_reply_error(s, seq, "no picture");
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

static void on_wave_get(struct store *s, uint32_t seq, const json_t *body)
{
    uint8_t *bytes;
    size_t len;
    if (waves_load(s->library, store_body_track(body), &bytes, &len) <= 0) {
        store_reply_error(s, seq, "no waveform");
        return;
    }
    work_send_bytes(s->work, WIRE_WAVE_IS, seq, bytes, len);
    free(bytes);
}

static void handle(struct store *s, const struct work_message *m)
{
    switch (m->row->type) {
    case WIRE_FOUND:
        store_on_found(s, m->body);
        break;
    case WIRE_SCANNED:
        store_on_scanned(s, m->body);
        break;
    case WIRE_JOB:
        store_on_job(s, m->seq);
        break;
    case WIRE_FEATURES:
        store_on_features(s, m->body);
        break;
    case WIRE_ART:
        store_on_art(s, m->bytes, m->len);
        break;
    case WIRE_WAVE:
        store_on_wave(s, m->bytes, m->len);
        break;
    case WIRE_FAILED:
        store_on_failed(s, m->body);
        break;
    case WIRE_JOB_LOST:
        store_on_job_lost(s, m->body);
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
    case WIRE_SERIES:
        store_on_series(s, m->bytes, m->len);
        break;
    case WIRE_SERIES_GET:
        store_on_series_get(s, m->seq, m->body);
        break;
    case WIRE_LEDGER_DROP:
        store_on_ledger_drop(s, m->body);
        break;
    case WIRE_LEDGER_GET:
        store_on_ledger_get(s, m->seq, m->body);
        break;
    case WIRE_LEARNED:
        store_on_learned(s, m->body);
        break;
    case WIRE_LEARNED_GET:
        store_on_learned_get(s, m->seq, m->body);
        break;
    case WIRE_ART_GET:
        on_art_get(s, m->seq, m->body);
        break;
    case WIRE_WAVE_GET:
        on_wave_get(s, m->seq, m->body);
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
        if (s->series_due) timeout_ms = 0;
        int got = work_next(s->work, &message, timeout_ms);
        if (got < 0) return;
        if (got) {
            handle(s, &message);
            work_message_free(&message);
        } else if (s->series_due) {
            store_series_work(s);
        }
        progress(s);
        if (library_broken(s->library)) return; /* closing sets it aside; the next store begins anew */
    }
}

int work_store(struct work *work)
{
    struct store s = {.work = work, .started_ns = clock_boot_ns(), .progress_due = 1, .maker = maker_text()};
    char *cause = NULL;
    if (library_open(&s.library, work->state, &cause)) {
        log_error("store", "%s", cause);
        free(cause);
        free(s.maker);
        return EX_CANTCREAT;
    }
    store_series_open(&s);
    history_prune(s.library, clock_wall_ns(), work->history_days);
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
    store_series_close(&s);
    jobs_free(s.jobs);
    for (size_t i = 0; i < work->library_count; i++)
        free(s.walks[i].ids);
    free(s.walks);
    free(s.maker);
    return code;
}
