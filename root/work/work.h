/* work: what all workers share: configuration, requests, the roles' entry points.
 *
 * `forever-work ROLE` finds its channel at descriptor 3, waits for WIRE_CONFIG, and calls the role, which
 * sends WIRE_READY when it can serve and returns its exit code when it is told to quit or the channel closes.
 * `forever-work tool analyse|render|audition ARGS` are the offline tools (forever-root execs them). */
#ifndef FOREVER_ROOT_WORK_WORK_H
#define FOREVER_ROOT_WORK_WORK_H
#include <stdint.h>
#include <jansson.h>

#include "common/mount.h"
#include "common/msg.h"
#include "root/wire.h"

#define WORK_ASKED_MAX   8
#define HISTORY_DAYS     100 /* kept when nothing says how many */
#define HISTORY_DAYS_MAX 4000

struct work {
    struct msg_channel *channel;
    enum role role;
    int quit; /* set by work_next and work_request when WIRE_QUIT came or the channel closed */
    /* configuration */
    char *state;
    char *fallback; /* the file that the operator names for when there is no programme; NULL */
    char **libraries;
    size_t library_count;
    unsigned bitrate_kbps;
    struct mount_spec mounts[MOUNTS_MAX]; /* the main one first */
    size_t mount_count;
    double lead_s, target_lufs, max_tempo_change_pct, min_play_pct;
    int history_days;
    uint64_t seed;
    unsigned generation; /* of this worker: counts up with each replacement */
    /* messages that came while work_request waited, in order (private to work.c) */
    struct work_pending *pending, **pending_tail;
    uint32_t seq;
    uint32_t asked[WORK_ASKED_MAX]; /* requests of work_ask without reply yet; 0: free */
};

/* A message taken off the channel or the pending ones; owned by the caller until work_message_free. */
struct work_message {
    const struct wire_row *row;
    uint32_t seq;
    json_t *body; /* NULL for binary rows */
    uint8_t *bytes;
    size_t len;
    int fd;
};
void work_message_free(struct work_message *message);

/* Takes over the channel's descriptor and waits for WIRE_CONFIG. 0, or -1 with *cause; work_end either way.
 */
int work_begin(struct work *work, int fd, enum role role, char **cause);
void work_end(struct work *work);
int work_ready(struct work *work); /* sends WIRE_READY */
/* The next message, waiting up to timeout_ms (-1: for ever): 1; 0 on timeout; -1 when it is time to end
 * (work->quit is set). WIRE_QUIT is handled here. */
int work_next(struct work *work, struct work_message *out, int timeout_ms);
/* Sends an event or a reply (seq of the request); consumes body. */
int work_send(struct work *work, enum wire_type type, uint32_t seq, json_t *body, int fd);
int work_send_bytes(struct work *work, enum wire_type type, uint32_t seq, const void *bytes, size_t len);
/* Sends a request and waits for its reply (others are kept for work_next). 0 with *out; -1 with *cause on
 * WIRE_ERROR, timeout or the end. Consumes body. */
int work_request(struct work *work, enum wire_type type, json_t *body, struct work_message *out,
                 char **cause);

/* Sends a request whose reply (of its row's kind, or WIRE_ERROR) comes from work_next with this number. Air
 * answers every one. 0 when it can't be sent or WORK_ASKED_MAX are under way. Consumes body. */
uint32_t work_ask(struct work *work, enum wire_type type, json_t *body);

/* The roles: exit codes. */
int work_store(struct work *work);
int work_scan(struct work *work);
int work_analyse(struct work *work);
int work_brain(struct work *work);
int work_studio(struct work *work);
int work_coder(struct work *work);
int work_live(struct work *work);
/* The tools: argv[0] is the tool's name. */
int tool_analyse(int argc, char **argv);
int tool_render(int argc, char **argv);
int tool_audition(int argc, char **argv);

#endif
