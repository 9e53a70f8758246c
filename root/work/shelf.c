#include "root/work/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "root/audio/decode.h"

#define HASH_BYTES 72 /* of its hexadecimal text, with room */
#define ENTRIES    16
#define TRIES      12 /* to get a file that is needed now; an answer that came at once counts for REFUSED */
#define REFUSED    5  /* so a file that is gone costs little time, a store that is away more */
#define AT_ONCE_NS (CLOCK_NS_PER_S / 2)
#define PAUSE_MS   300

struct entry {
    int64_t id;            /* 0: free */
    char hash[HASH_BYTES]; /* of the content as the store knows it; "" unknown */
    int fd;
    uint64_t used;
};

struct shelf {
    struct work *work;
    struct entry entries[ENTRIES];
    uint64_t uses;
};

struct shelf *shelf_new(struct work *work)
{
    struct shelf *shelf = xcalloc(1, sizeof *shelf);
    shelf->work = work;
    return shelf;
}

static void entry_clear(struct entry *entry)
{
    if (entry->id) close(entry->fd);
    *entry = (struct entry){0};
}

void shelf_free(struct shelf *shelf)
{
    if (!shelf) return;
    for (int i = 0; i < ENTRIES; i++)
        entry_clear(&shelf->entries[i]);
    free(shelf);
}

static struct entry *find(struct shelf *shelf, int64_t id)
{
    for (int i = 0; i < ENTRIES; i++) {
        if (shelf->entries[i].id == id) {
            shelf->entries[i].used = ++shelf->uses;
            return &shelf->entries[i];
        }
    }
    return NULL;
}

/* Takes over fd. */
static struct entry *put(struct shelf *shelf, const struct track *track, int fd)
{
    struct entry *entry = find(shelf, track->id);
    for (int i = 0; !entry && i < ENTRIES; i++) {
        if (!shelf->entries[i].id) entry = &shelf->entries[i];
    }
    if (!entry) {
        entry = &shelf->entries[0];
        for (int i = 1; i < ENTRIES; i++) {
            if (shelf->entries[i].used < entry->used) entry = &shelf->entries[i];
        }
    }
    entry_clear(entry);
    *entry = (struct entry){.id = track->id, .fd = fd, .used = ++shelf->uses};
    snprintf(entry->hash, sizeof entry->hash, "%s", track->hash ? track->hash : "");
    return entry;
}

/* Asks the store: the track and, on the shelf, its file. */
static struct entry *fetch(struct shelf *shelf, int64_t id, struct track *out, char **cause)
{
    struct work_message reply;
    if (work_request(shelf->work, WIRE_TRACK, json_pack("{s:I}", "track", (json_int_t)id), &reply, cause))
        return NULL;
    struct entry *entry = NULL;
    if (reply.fd < 0) {
        cause_set(cause, "its file did not come");
    } else if (track_from_json(out, reply.body, cause) == 0) {
        if (out->id == id) {
            entry = put(shelf, out, reply.fd);
            reply.fd = -1;
        } else {
            cause_set(cause, "another track came");
        }
    }
    work_message_free(&reply);
    return entry;
}

static int has_other(const struct entry *entry, const char *hash)
{
    return hash && *entry->hash && strcmp(hash, entry->hash) != 0;
}

static int copy_of(const struct entry *entry, char **cause)
{
    int fd = fcntl(entry->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? cause_set(cause, "%s", strerror(errno)) : fd;
}

enum shelf_result shelf_track(struct shelf *shelf, int64_t id, struct track *out, char **cause)
{
    struct entry *entry = fetch(shelf, id, out, cause);
    if (!entry) {
        track_free(out);
        return SHELF_AWAY;
    }
    struct decoder *decoder = NULL;
    int fd = copy_of(entry, cause);
    if (fd >= 0 && decode_open(&decoder, fd, cause) == 0) {
        decode_close(decoder);
        return SHELF_FINE;
    }
    entry_clear(entry);
    track_free(out);
    return SHELF_UNPLAYABLE;
}

int shelf_open(void *context, int64_t id, const char *hash, char **cause)
{
    struct shelf *shelf = context;
    struct entry *entry = find(shelf, id);
    if (entry && has_other(entry, hash)) {
        entry_clear(entry);
        entry = NULL;
    }
    for (int tries = 0; !entry;) {
        struct track track;
        char *why = NULL;
        int64_t asked_ns = clock_boot_ns();
        track_init(&track);
        entry = fetch(shelf, id, &track, &why);
        track_free(&track);
        tries += clock_boot_ns() - asked_ns < AT_ONCE_NS ? REFUSED : 1;
        if (!entry && (tries >= TRIES || shelf->work->quit)) {
            *cause = why;
            return -1;
        }
        free(why);
        if (!entry) poll(NULL, 0, PAUSE_MS);
    }
    if (has_other(entry, hash)) return cause_set(cause, "the file is no longer the one that was planned");
    return copy_of(entry, cause);
}
