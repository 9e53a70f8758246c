#include "common/ring_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/ring.h"

#define SERIAL_JUMP UINT64_C(1000000) /* skipped where serials given out may have been forgotten */

static void state_fresh(struct ring_state *state)
{
    uint8_t random[16];
    memset(state, 0, sizeof *state);
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) abort(); /* can't fail for so few */
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(state->station + 2 * i, 3, "%02x", random[i]);
    state->serial_first = state->serial_next = 1;
    snprintf(state->boot, sizeof state->boot, "%s", clock_boot_id());
}

static int block_good(const struct ring_file *file, uint64_t from)
{
    uint64_t end = ring_block_start(from) + MP3_PERIOD_FRAMES;
    uint32_t want = file->state.partial_crc;
    if (end <= file->state.head)
        want = file->block_crc[from / MP3_PERIOD_FRAMES % file->blocks];
    else
        end = file->state.head;
    return ring_file_crc(file, from, end) == want;
}

/* Keeps what is good and unbroken around the floor: the lead up to the first bad block, the past after the
 * last one. What has aired stays aired: head never falls below the floor. 1 when something went. */
static int verify(struct ring_file *file)
{
    struct ring_state *state = &file->state;
    uint64_t tail = state->tail, head = state->head, from = tail;
    while (from < state->head) {
        uint64_t next = ring_block_start(from) + MP3_PERIOD_FRAMES;
        if (!block_good(file, from)) {
            if (next <= state->floor) {
                tail = next;
            } else if (from < state->floor) { /* the floor's own block: nothing on either side is whole */
                tail = head = state->floor;
                break;
            } else {
                head = from;
                break;
            }
        }
        from = next;
    }
    if (tail == state->tail && head == state->head) return 0;
    log_warn("ring",
             "%" PRIu64 " frames ahead and %" PRIu64 " frames behind the air were damaged and are gone",
             state->head - head, tail - state->tail);
    state->tail = tail;
    state->head = head;
    state->partial_crc = ring_file_partial_crc(file);
    return 1;
}

/* Gives a finished file its name; on failure it is closed and gone. */
static int into_place(struct ring_file *file, const char *beside, const char *path, char **cause)
{
    int rc = ring_file_sync(file, cause);
    if (rc == 0 && rename(beside, path))
        rc = cause_set(cause, "can't rename %s: %s", beside, strerror(errno));
    if (rc == 0) return 0;
    ring_file_close(file);
    unlink(beside);
    return rc;
}

/* Takes what fits of a ring with another number of blocks over into a new file. */
static int resize(struct ring_file *file, const char *path, uint64_t blocks, int *lost, char **cause)
{
    struct ring_file fresh;
    struct ring_state state = file->state;
    char *beside = xasprintf("%s.new", path);
    int rc = -1;
    uint64_t room = blocks * MP3_PERIOD_FRAMES, keep = state.head > room ? state.head - room : 0;
    if (keep > state.tail) {
        keep = ring_block_start(keep + MP3_PERIOD_FRAMES - 1);
        if (keep > state.floor) keep = state.floor;
        if (keep > state.tail) state.tail = keep;
        if (state.head > ring_block_start(state.tail) + room) {
            state.head = ring_block_start(state.tail) + room;
            *lost = 1;
        }
    }
    uint64_t tail = state.tail, head = state.head;
    if (ring_file_create(&fresh, beside, file->kbps, blocks, &state, cause)) goto done;
    for (uint64_t at = tail; at < head;) {
        uint64_t next = ring_block_start(at) + MP3_PERIOD_FRAMES;
        uint64_t to = next < head ? next : head;
        uint64_t byte = mp3_frame_offset(file->kbps, at), end = mp3_frame_offset(file->kbps, to);
        memcpy(fresh.data + ring_file_at(&fresh, byte), file->data + ring_file_at(file, byte),
               (size_t)(end - byte));
        if (to == next) fresh.block_crc[at / MP3_PERIOD_FRAMES % blocks] = ring_file_crc(&fresh, at, to);
        at = to;
    }
    memcpy(fresh.forks, file->forks, RING_FORKS * sizeof *fresh.forks);
    fresh.state.partial_crc = ring_file_partial_crc(&fresh);
    ring_file_commit(&fresh);
    rc = into_place(&fresh, beside, path, cause);
    if (rc == 0) {
        ring_file_close(file);
        *file = fresh;
    }
done:
    free(beside);
    return rc;
}

/* A file that can't be used steps aside with its marks. */
static int set_aside(const char *path, char **cause)
{
    char *old = xasprintf("%s.old", path);
    char *marks = xasprintf("%s.marks", path), *marks_old = xasprintf("%s.old.marks", path);
    int rc = 0;
    if (rename(path, old) || (rename(marks, marks_old) && errno != ENOENT))
        rc = cause_set(cause, "can't rename %s to %s: %s", path, old, strerror(errno));
    free(old);
    free(marks);
    free(marks_old);
    return rc;
}

static int file_fresh(struct ring_file *file, const char *path, unsigned kbps, uint64_t blocks,
                      uint32_t flags, char **cause)
{
    struct ring_state state;
    state_fresh(&state);
    state.flags = flags;
    if (!path) return ring_file_create(file, NULL, kbps, blocks, &state, cause);
    char *beside = xasprintf("%s.new", path);
    int rc = ring_file_create(file, beside, kbps, blocks, &state, cause);
    if (rc == 0) rc = into_place(file, beside, path, cause);
    free(beside);
    return rc;
}

int ring_load(struct ring_file *file, const char *path, unsigned kbps, uint64_t blocks, uint32_t flags,
              int *lost, char **cause)
{
    char *why = NULL;
    *lost = 0;
    int rc = path ? ring_file_open(file, path, kbps, &why) : 1;
    if (rc < 0) {
        if (cause)
            *cause = why;
        else
            free(why);
        return -1;
    }
    if (rc == 2) {
        log_warn("ring", "%s: kept as %s.old, a new one is begun", why, path);
        free(why);
        if (set_aside(path, cause)) return -1;
    }
    if (rc > 0) return file_fresh(file, path, kbps, blocks, flags, cause);
    *lost = verify(file);
    if (!(file->state.flags & RING_CLEAN) && strcmp(file->state.boot, clock_boot_id())) {
        *lost = 1; /* the machine went down: later states may not have reached the disk */
        file->state.serial_next += SERIAL_JUMP;
    }
    if (file->blocks == blocks) return 0;
    if (resize(file, path, blocks, lost, cause) == 0) return 0;
    ring_file_close(file);
    return -1;
}
