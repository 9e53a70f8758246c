/* Jobs for the analysers, and what comes of them. What analysis said is believed for the track and the file
 * it was given, and for nothing else. */
#include "root/work/store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/library/art.h"
#include "root/library/features.h"
#include "root/library/waves.h"
#include "root/analysis/wave.h"
#include "root/track.h"
#include "root/work/store_jobs.h"

#define LOST_MAX  2  /* analyses lost with their worker before a track has failed */
#define JOB_TRIES 20 /* files that turn out to be gone, for one request */
/* Results of jobs a former store gave out are taken for so long. */
#define ORPHANS_NS (300 * CLOCK_NS_PER_S)

static void give_job(struct store *s, uint32_t seq, const struct track_file *file, int fd,
                     const struct stat *st)
{
    double deadline_s = jobs_begin(s->jobs, file->id, st->st_size, store_mtime_ns(st));
    char *path = path_to_text(file->path);
    work_send(s->work, WIRE_JOB_IS, seq,
              json_pack("{s:I,s:s,s:I,s:f,s:b}", "track", (json_int_t)file->id, "path", path, "size",
                        (json_int_t)st->st_size, "deadline_s", deadline_s, "urgent", jobs_urgent(s->library)),
              fd);
    free(path);
}

void store_on_job(struct store *s, uint32_t seq)
{
    for (int tries = 0; tries < JOB_TRIES; tries++) {
        int64_t id = jobs_choose(s->jobs, s->library);
        struct track_file file;
        struct stat st;
        if (id <= 0 || tracks_get(s->library, id, &file) <= 0) break;
        char *cause = NULL;
        int fd = store_open_media(s, &file, &st, &cause), given = 0;
        if (fd >= 0) {
            if (!store_unchanged(&file, &st) &&
                !tracks_set_changed(s->library, id, st.st_size, store_mtime_ns(&st)))
                store_announce(s, id);
            give_job(s, seq, &file, fd, &st);
            close(fd);
            given = 1;
        } else if (!tracks_get(s->library, id, &file) || (file.present && file.state == TRACK_NEW)) {
            store_set_failed(s, id, cause); /* unless it is gone, which is noted */
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

void store_on_features(struct store *s, const json_t *body)
{
    struct track track;
    char *cause = NULL;
    track_init(&track);
    if (track_from_json(&track, body, &cause)) {
        log_error("store", "features refused: %s", cause);
        if (jobs_find(s->jobs, store_body_track(body)))
            store_set_failed(s, store_body_track(body), "the analysis made no sense");
        free(cause);
    } else if (wanted(s, track.id) && !features_store(s->library, &track)) {
        store_announce(s, track.id);
    }
    job_done(s, track.id);
    track_free(&track);
}

void store_on_failed(struct store *s, const json_t *body)
{
    int64_t id = store_body_track(body);
    if (wanted(s, id)) store_set_failed(s, id, json_str_or(body, "reason", "no reason given", NULL));
    jobs_end(s->jobs, id);
}

void store_on_job_lost(struct store *s, const json_t *body)
{
    int64_t id = store_body_track(body);
    const char *reason = json_str_or(body, "reason", "the analyser died on it", NULL);
    if (id && wanted(s, id) && tracks_set_lost(s->library, id, reason, LOST_MAX) == TRACK_FAILED)
        store_set_failed(s, id, reason);
    jobs_end(s->jobs, id);
}

static int64_t get_track(const uint8_t bytes[8])
{
    uint64_t id = 0;
    for (int i = 0; i < 8; i++)
        id |= (uint64_t)bytes[i] << (8 * i);
    return (int64_t)id;
}

/* i64 track, mime text, NUL, image */
void store_on_art(struct store *s, const uint8_t *bytes, size_t len)
{
    if (len < 10) return;
    int64_t id = get_track(bytes);
    const uint8_t *mime = bytes + 8, *nul = memchr(mime, 0, len - 8);
    if (!nul || nul + 1 == bytes + len || !wanted(s, id)) return;
    if (art_store(s->library, id, (const char *)mime, nul + 1, (size_t)(bytes + len - nul - 1)))
        log_debug("store", "track %lld: picture of type %s left out", (long long)id, (const char *)mime);
}

/* i64 track, waveform */
void store_on_wave(struct store *s, const uint8_t *bytes, size_t len)
{
    if (len < 8 + WAVE_HEAD || memcmp(bytes + 8, "wave", 4)) return;
    int64_t id = get_track(bytes);
    if (wanted(s, id)) waves_store(s->library, id, bytes + 8, len - 8);
}
