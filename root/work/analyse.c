/* analyse: asks the store for a track, examines it, reports; one at a time, until told to quit.
 *
 * Nothing here guards against a file that hangs or crashes the decoder: air ends this process then, and the
 * store remembers the track. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "root/work/examine.h"
#include "root/work/work.h"

#define IDLE_MS         500
#define BACKGROUND_NICE 15
#define TRACK_HEAD      8 /* the track's number, little endian */

/* Both rows are dropped by air when they are too large; a picture is not worth a worker. */
static void send_picture(struct work *work, enum wire_type type, int64_t track, const void *head,
                         size_t head_len, const void *bytes, size_t bytes_len)
{
    size_t len = TRACK_HEAD + head_len + bytes_len;
    if (len > wire_find(type)->max_len) {
        log_info("analyse", "track %lld: its picture of %zu bytes is too large to keep", (long long)track,
                 bytes_len);
        return;
    }
    uint8_t *body = xmalloc(len);
    for (int i = 0; i < TRACK_HEAD; i++)
        body[i] = (uint8_t)((uint64_t)track >> (8 * i));
    if (head_len) memcpy(body + TRACK_HEAD, head, head_len);
    memcpy(body + TRACK_HEAD + head_len, bytes, bytes_len);
    work_send_bytes(work, type, 0, body, len);
    free(body);
}

static void fail(struct work *work, int64_t id, const char *path, const char *reason)
{
    log_debug("analyse", "track %lld %s: %s", (long long)id, path, reason);
    work_send(work, WIRE_FAILED, 0,
              json_pack("{s:I,s:o}", "track", (json_int_t)id, "reason", json_text_lossy(reason)), -1);
}

static void do_job(struct work *work, int64_t id, const char *path, int fd)
{
    struct track track;
    struct examine_pictures pictures;
    char *cause = NULL;
    if (examine_file(fd, path, &track, &pictures, &cause)) {
        fail(work, id, path, cause);
        free(cause);
        return;
    }
    if (examine_judge(&track, &cause)) {
        fail(work, id, path, cause);
        free(cause);
        examine_pictures_free(&pictures);
        track_free(&track);
        return;
    }
    if (pictures.art)
        send_picture(work, WIRE_ART, id, pictures.art_mime, strlen(pictures.art_mime) + 1, pictures.art,
                     pictures.art_len);
    send_picture(work, WIRE_WAVE, id, NULL, 0, pictures.wave, pictures.wave_len);
    json_t *body = json_pack("{s:I,s:s,s:o,s:o}", "track", (json_int_t)id, "hash", track.hash, "tags",
                             tags_to_json(&track.tags), "features", features_to_json(&track.features));
    if (work_send(work, WIRE_FEATURES, 0, body, -1) && !work->quit)
        fail(work, id, path, "its analysis is too large to keep");
    examine_pictures_free(&pictures);
    track_free(&track);
}

/* Asks for a job and does it: 1; 0 when there is none. */
static int next_job(struct work *work)
{
    struct work_message reply;
    char *cause = NULL;
    if (work_request(work, WIRE_JOB, json_object(), &reply, &cause)) {
        log_debug("analyse", "%s", cause);
        free(cause);
        return 0;
    }
    const char *path = json_string_value(json_object_get(reply.body, "path"));
    const json_t *id = json_object_get(reply.body, "track");
    int found = json_is_integer(id) && path && reply.fd >= 0;
    if (found) {
        int fd = reply.fd;
        reply.fd = -1;
        /* for good: priority can be given up, not taken back */
        if (!json_is_true(json_object_get(reply.body, "urgent")))
            setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE);
        char *file = path_from_text(path);
        do_job(work, json_integer_value(id), file, fd);
        free(file);
    }
    work_message_free(&reply);
    return found;
}

int work_analyse(struct work *work)
{
    if (work_ready(work)) return 1;
    while (!work->quit) {
        struct work_message message;
        if (next_job(work)) continue;
        /* nothing is sent to this role but QUIT; whatever else comes is dropped */
        if (work_next(work, &message, IDLE_MS) > 0) work_message_free(&message);
    }
    return 0;
}
