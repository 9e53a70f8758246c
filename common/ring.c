#include "common/ring.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/mem.h"
#include "common/mp3.h"
#include "common/ring_file.h"
#include "common/ring_load.h"
#include "common/ring_marks.h"

#define SLACK_FRAMES 64 /* one message beyond past and lead */

struct ring {
    struct ring_file file;
    struct ring_marks marks;
    struct ring *marks_of; /* NULL: its own */
    uint64_t byte_tail, byte_head;
    int lost, foreign;
};

static struct ring_state *state_of(struct ring *ring)
{
    return &ring->file.state;
}

static const struct ring_marks *marks_read(const struct ring *ring)
{
    return ring->marks_of ? &ring->marks_of->marks : &ring->marks;
}

/* Publishes the state and what follows from it. */
static void publish(struct ring *ring)
{
    ring_file_commit(&ring->file);
    ring->byte_tail = mp3_frame_offset(ring->file.kbps, ring->file.state.tail);
    ring->byte_head = mp3_frame_offset(ring->file.kbps, ring->file.state.head);
}

/* Where frames of that branch end: the first fork away from it. */
static uint64_t fork_of(const struct ring *ring, uint32_t branch)
{
    const struct ring_file *file = &ring->file;
    uint64_t end = UINT64_MAX;
    for (uint32_t i = file->state.fork_first; i != file->state.fork_end; i++) {
        const struct ring_fork *fork = &file->forks[i % RING_FORKS];
        if (fork->branch > branch && fork->position < end) end = fork->position;
    }
    return end;
}

/* Whether a mark of the file is still true: its lines don't say. */
static int mark_holds(void *context, const struct ring_mark *mark)
{
    const struct ring *ring = context;
    if (mark->serial < ring->file.state.serial_first || mark->branch > ring_branch(ring)) return 0;
    /* of a branch that is no longer known: the file was written anew when its fork was forgotten */
    return fork_of(ring, mark->branch) > mark->position;
}

int ring_open(struct ring **out, const struct ring_conf *conf, char **cause)
{
    if (!mp3_kbps_valid(conf->kbps)) return cause_set(cause, "no MP3 of %u kbit/s", conf->kbps);
    double frames = (conf->past_s + conf->lead_s) * MP3_RATE / MP3_FRAME_SAMPLES + SLACK_FRAMES;
    if (!(conf->past_s >= 0 && conf->lead_s >= 0 && frames < 1e9))
        return cause_set(cause, "no ring of that length");
    /* one block more: the tail moves by whole blocks */
    uint64_t blocks = ring_file_blocks(conf->kbps, (uint64_t)frames + 1 + MP3_PERIOD_FRAMES);
    struct ring *ring = xcalloc(1, sizeof *ring);
    ring->marks_of = conf->marks_of;
    ring->foreign = conf->foreign;
    if (ring_load(&ring->file, conf->path, conf->kbps, blocks, conf->resting ? RING_RESTS : 0, &ring->lost,
                  cause)) {
        free(ring);
        return -1;
    }
    ring_marks_open(&ring->marks, conf->marks_of ? NULL : conf->path, mark_holds, ring);
    struct ring_state *state = state_of(ring);
    if (ring->marks.count && ring->marks.by_serial[ring->marks.count - 1]->serial >= state->serial_next)
        state->serial_next = ring->marks.by_serial[ring->marks.count - 1]->serial + 1;
    ring_marks_evict(&ring->marks, state->tail);
    state->flags &= ~(uint32_t)RING_CLEAN;
    memset(state->boot, 0, sizeof state->boot);
    snprintf(state->boot, sizeof state->boot, "%s", clock_boot_id());
    publish(ring);
    *out = ring;
    return 0;
}

void ring_close(struct ring *ring)
{
    if (!ring) return;
    state_of(ring)->flags |= RING_CLEAN;
    publish(ring);
    ring_marks_close(&ring->marks);
    ring_file_close(&ring->file);
    free(ring);
}

/* --- reading --- */

unsigned ring_kbps(const struct ring *ring)
{
    return ring->file.kbps;
}

uint64_t ring_tail(const struct ring *ring)
{
    return ring->file.state.tail;
}

uint64_t ring_head(const struct ring *ring)
{
    return ring->file.state.head;
}

uint32_t ring_branch(const struct ring *ring)
{
    return ring->file.state.branch;
}

uint64_t ring_floor(const struct ring *ring)
{
    return ring->file.state.floor;
}

uint64_t ring_capacity(const struct ring *ring)
{
    return (ring->file.blocks - 1) * MP3_PERIOD_FRAMES;
}

const char *ring_station(const struct ring *ring)
{
    return ring->file.state.station;
}

int ring_lost(const struct ring *ring)
{
    return ring->lost;
}

uint64_t ring_byte_tail(const struct ring *ring)
{
    return ring->byte_tail;
}

uint64_t ring_byte_head(const struct ring *ring)
{
    return ring->byte_head;
}

const uint8_t *ring_bytes(const struct ring *ring, uint64_t from, uint64_t to)
{
    if (from > to || from < ring->byte_tail || to > ring->byte_head) return NULL;
    return ring->file.data + ring_file_at(&ring->file, from);
}

/* A ring that follows knows where it was cut itself, which may be earlier than the fork: the leader knows
 * that. */
static const struct ring *forks_read(const struct ring *ring)
{
    return ring->marks_of ? ring->marks_of : ring;
}

int ring_fork_after(const struct ring *ring, uint32_t branch, uint64_t position, uint64_t *out)
{
    ring = forks_read(ring);
    const struct ring_state *state = &ring->file.state;
    if (branch > state->branch || branch < state->branch_oldest) return -1;
    uint64_t fork = fork_of(ring, branch);
    *out = fork < position ? fork : UINT64_MAX;
    return 0;
}

uint32_t ring_branch_at(const struct ring *ring, uint64_t position)
{
    ring = forks_read(ring);
    const struct ring_file *file = &ring->file;
    for (uint32_t i = file->state.fork_end; i != file->state.fork_first; i--) {
        const struct ring_fork *fork = &file->forks[(i - 1) % RING_FORKS];
        if (fork->position <= position) return fork->branch;
    }
    return file->state.branch_oldest;
}

/* --- changing --- */

void ring_reset(struct ring *ring, const char *station, uint32_t branch, uint64_t position)
{
    struct ring_state *state = state_of(ring);
    if (position > RING_POSITION_MAX) position = RING_POSITION_MAX;
    state->tail = state->head = state->floor = position;
    state->branch = state->branch_oldest = branch;
    state->fork_first = state->fork_end;
    state->partial_crc = 0;
    state->serial_first = state->serial_next;
    state->flags &= ~(uint32_t)RING_HAS_ANCHOR;
    memset(state->station, 0, sizeof state->station);
    snprintf(state->station, sizeof state->station, "%s", station);
    publish(ring);
    ring_marks_clear(&ring->marks);
}

void ring_rest(struct ring *ring)
{
    struct ring_state *state = state_of(ring);
    if (state->flags & RING_RESTS) return;
    state->tail = state->floor = state->head;
    state->partial_crc = 0;
    state->flags |= RING_RESTS;
    publish(ring); /* nothing is held any more: then its room may go */
    ring_file_punch(&ring->file);
    ring_marks_evict(&ring->marks, state->tail);
}

int ring_resting(const struct ring *ring)
{
    return (ring->file.state.flags & RING_RESTS) != 0;
}

int ring_rouse(struct ring *ring, char **cause)
{
    if (!ring_resting(ring)) return 0;
    if (ring_file_fill(&ring->file, cause)) return -1;
    state_of(ring)->flags &= ~(uint32_t)RING_RESTS;
    publish(ring);
    return 0;
}

int ring_align(struct ring *ring, const struct ring *lead)
{
    struct ring_state *state = state_of(ring);
    uint64_t fork = UINT64_MAX;
    int lost = strcmp(ring_station(ring), ring_station(lead)) != 0 ||
               ring_fork_after(lead, state->branch, state->head, &fork);
    if (!lost && fork < state->floor) lost = 1;
    if (lost) {
        ring_reset(ring, ring_station(lead), ring_branch(lead), state->head);
        return 1;
    }
    if (state->branch != ring_branch(lead))
        return ring_retract(ring, ring_branch(lead), fork < state->head ? fork : state->head, NULL) ? 1 : 0;
    ring_set_floor(ring, ring_floor(lead));
    return 0;
}

/* Counts bytes [from, to) of the stream into the checksums of their blocks. */
static void checksum(struct ring_file *file, uint64_t from, uint64_t to)
{
    while (from < to) {
        uint64_t block = from / file->block_bytes, end = (block + 1) * file->block_bytes;
        uint64_t stop = end < to ? end : to;
        uint32_t crc =
            crc32c(file->state.partial_crc, file->data + ring_file_at(file, from), (size_t)(stop - from));
        if (stop == end) file->block_crc[block % file->blocks] = crc;
        file->state.partial_crc = stop == end ? 0 : crc;
        from = stop;
    }
}

int ring_append(struct ring *ring, uint32_t branch, uint64_t position, unsigned count, const uint8_t *bytes,
                size_t len, char **cause)
{
    struct ring_state *state = state_of(ring);
    if (branch != state->branch || position != state->head)
        return cause_set(cause,
                         "frames of branch %" PRIu32 " position %" PRIu64 ", expected %" PRIu32 " %" PRIu64,
                         branch, position, state->branch, state->head);
    if (position + count > RING_POSITION_MAX) return cause_set(cause, "the end of all positions");
    if (ring_resting(ring)) return cause_set(cause, "frames for a ring at rest");
    if (ring->foreign ? mp3_frames_check_foreign(ring->file.kbps, position, count, bytes, len, cause)
                      : mp3_frames_check(ring->file.kbps, position, count, bytes, len, cause))
        return -1;
    if (count == 0) return 0;
    uint64_t blocks = (position + count - 1) / MP3_PERIOD_FRAMES + 1;
    uint64_t tail = blocks > ring->file.blocks ? (blocks - ring->file.blocks) * MP3_PERIOD_FRAMES : 0;
    if (tail > state->floor)
        return cause_set(cause, "no room: frames up to %" PRIu64 " with the air at %" PRIu64,
                         position + count, state->floor);
    if (tail > state->tail) {
        state->tail = tail;
        publish(ring); /* before they are overwritten */
        ring_marks_evict(&ring->marks, tail);
    }
    memcpy(ring->file.data + ring_file_at(&ring->file, ring->byte_head), bytes, len);
    checksum(&ring->file, ring->byte_head, ring->byte_head + len);
    state->head += count;
    publish(ring);
    return 0;
}

/* The oldest fork goes; before that the file of marks, whose truth may hang on it. */
static void fork_forget(struct ring *ring)
{
    struct ring_state *state = state_of(ring);
    ring_marks_rewrite(&ring->marks);
    state->branch_oldest = ring->file.forks[state->fork_first % RING_FORKS].branch;
    state->fork_first++;
    publish(ring);
}

int ring_retract(struct ring *ring, uint32_t branch, uint64_t position, char **cause)
{
    struct ring_state *state = state_of(ring);
    if (branch <= state->branch)
        return cause_set(cause, "branch %" PRIu32 " does not follow %" PRIu32, branch, state->branch);
    if (position < state->floor || position > state->head)
        return cause_set(cause,
                         "can't retract at %" PRIu64 ": the air is at %" PRIu64 " and the end at %" PRIu64,
                         position, state->floor, state->head);
    if (state->fork_end - state->fork_first == RING_FORKS) fork_forget(ring);
    ring_file_put_fork(&ring->file, position, branch);
    state->fork_end++;
    state->branch = branch;
    state->head = position;
    state->partial_crc = ring_file_partial_crc(&ring->file);
    publish(ring);
    ring_marks_retract(&ring->marks, position);
    return 0;
}

void ring_set_floor(struct ring *ring, uint64_t position)
{
    struct ring_state *state = state_of(ring);
    if (position > state->head) position = state->head;
    if (position <= state->floor) return;
    state->floor = position;
    publish(ring);
}

/* --- marks --- */

static int kind_valid(const char *kind)
{
    size_t n = strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    return n > 0 && n <= RING_KIND_MAX && kind[n] == 0;
}

/* Whether a mark like that is there. */
static int mark_like(const struct ring *ring, uint64_t position, const char *kind, const json_t *body)
{
    for (size_t i = ring->marks.count; i-- > 0;) {
        const struct ring_mark *mark = ring->marks.by_position[i];
        int same = strcmp(mark->kind, kind) == 0;
        if (same && mark->position == position && json_equal(mark->body, body)) return 1;
        if (mark->position < position) return 0;
    }
    return 0;
}

int ring_mark_add(struct ring *ring, uint32_t branch, uint64_t position, const char *kind, json_t *body,
                  char **cause)
{
    struct ring_state *state = state_of(ring);
    uint64_t fork;
    if (ring->marks_of) return cause_set(cause, "this ring's marks are another's");
    if (!kind_valid(kind)) return cause_set(cause, "a mark's kind can't be \"%.40s\"", kind);
    if (!json_is_object(body)) return cause_set(cause, "a mark's body must be an object");
    if (position > RING_POSITION_MAX) return cause_set(cause, "a mark at position %" PRIu64, position);
    if (ring_fork_after(ring, branch, position + 1, &fork) || fork != UINT64_MAX)
        return cause_set(cause, "a mark at %" PRIu64 " of branch %" PRIu32 ", which is no more", position,
                         branch);
    if (mark_like(ring, position, kind, body)) return 0;
    if (position < state->floor && position > state->tail)
        return cause_set(cause, "a mark at %" PRIu64 ", which has aired", position);
    const struct ring_mark *last = ring_mark_at(ring, kind, UINT64_MAX);
    if (last && last->position > position)
        return cause_set(cause, "a %s mark at %" PRIu64 ", before the one at %" PRIu64, kind, position,
                         last->position);
    struct ring_mark mark = {state->serial_next++, position, branch, kind, body};
    publish(ring); /* before the line: a serial is never given twice */
    return ring_marks_add(&ring->marks, &mark, cause);
}

const struct ring_mark *ring_mark(const struct ring *ring, size_t index)
{
    const struct ring_marks *marks = marks_read(ring);
    return index < marks->count ? marks->by_position[index] : NULL;
}

const struct ring_mark *ring_mark_at(const struct ring *ring, const char *kind, uint64_t position)
{
    const struct ring_marks *marks = marks_read(ring);
    for (size_t i = ring_marks_upto(marks, position); i-- > 0;) {
        if (strcmp(marks->by_position[i]->kind, kind) == 0) return marks->by_position[i];
    }
    return NULL;
}

const struct ring_mark *ring_mark_since(const struct ring *ring, uint64_t after)
{
    const struct ring_marks *marks = marks_read(ring);
    size_t low = 0, high = marks->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (marks->by_serial[mid]->serial <= after)
            low = mid + 1;
        else
            high = mid;
    }
    return low < marks->count ? marks->by_serial[low] : NULL;
}

/* --- the pacer's memory --- */

void ring_set_anchor(struct ring *ring, const struct ring_anchor *anchor)
{
    struct ring_state *state = state_of(ring);
    state->anchor_position = anchor->position;
    state->anchor_boot_ns = anchor->boot_ns;
    state->anchor_wall_ns = anchor->wall_ns;
    memset(state->anchor_boot, 0, sizeof state->anchor_boot);
    snprintf(state->anchor_boot, sizeof state->anchor_boot, "%s", clock_boot_id());
    state->flags |= RING_HAS_ANCHOR;
    publish(ring);
}

int ring_anchor(const struct ring *ring, struct ring_anchor *out)
{
    const struct ring_state *state = &ring->file.state;
    if (!(state->flags & RING_HAS_ANCHOR)) return -1;
    out->position = state->anchor_position;
    out->boot_ns = state->anchor_boot_ns;
    out->wall_ns = state->anchor_wall_ns;
    return strcmp(state->anchor_boot, clock_boot_id()) == 0;
}
