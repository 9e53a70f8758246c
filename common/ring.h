/* ring: the programme of one mount as a file, shared by every reader through an absolute position.
 *
 * The file holds the encoded frames [tail, head): some that have aired (for bursts and resumes) and the
 * lead, ahead of the air. A frame's place is its byte offset in the endless stream (mp3_frame_offset) modulo
 * the capacity; the data is mapped twice in a row, so any stretch of it is one piece of memory and a
 * listener's write is one send() with nothing copied. Nobody holds a reference into it: a reader keeps a
 * position, and one that falls behind the tail has lost (its owner decides what then).
 *
 * Beside the frames lie marks (JSON at positions), branches (where the future was retracted) and clock
 * anchors. Blocks of 49 frames are checksummed (CRC-32C), so that after a crash of the machine opening keeps
 * exactly the good ones; after a crash of the process everything is there. A single process writes.
 *
 * Invariants: tail <= head; head - tail frames fit the capacity; marks lie in order of position; a mark is
 * kept while its position >= tail, and the last one of each kind before the tail is kept too (it still
 * holds there). What has aired never changes: ring_retract refuses a position before `floor`, which the
 * pacer moves on with the air. */
#ifndef FOREVER_COMMON_RING_H
#define FOREVER_COMMON_RING_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct ring;

#define RING_POSITION_MAX   (UINT64_C(1) << 38) /* 228 years: its time in ns and its bytes fit 63 bits */
#define RING_MARKS_MAX      10000u
#define RING_MARK_MAX_BYTES (256u << 10) /* as a line of JSON */
#define RING_KIND_MAX       31           /* bytes of a kind: a-z 0-9 - _ */

struct ring_conf {
    const char *path; /* of the data file; marks are kept beside it, in PATH.marks */
    unsigned kbps;
    double past_s; /* kept behind the air */
    double lead_s; /* held ahead of it */
    /* The ring whose marks and forks are also this one's: the same programme at another bit rate. It outlives
     * this one, which keeps no marks of its own (its mark functions read those; none can be added). NULL: its
     * own. */
    struct ring *marks_of;
    int resting; /* a fresh file begins at rest: see ring_rest */
    int foreign; /* frames of other encoders, which may use the bit reservoir (mp3_frames_check_foreign) */
};

/* Opens, or makes afresh when there is none, or when bit rate or version differ (the old one is renamed
 * PATH.old: nothing is lost). A different capacity is taken over by copying. Without path the ring lives in
 * memory only (relay in a test). 0, or -1 with an owned *cause. */
int ring_open(struct ring **out, const struct ring_conf *conf, char **cause);
void ring_close(struct ring *ring);

unsigned ring_kbps(const struct ring *ring);
uint64_t ring_tail(const struct ring *ring);
uint64_t ring_head(const struct ring *ring);
uint32_t ring_branch(const struct ring *ring);
/* How many frames it can hold. */
uint64_t ring_capacity(const struct ring *ring);
/* A station's identity: random, made with the file, the same at the root and its relays. 32 hex digits. */
const char *ring_station(const struct ring *ring);

/* 1 when opening found that frames may be lost which were here (blocks damaged, or an earlier state after a
 * crash of the machine): others may hold other bytes under the names from (branch, head) on. A root then
 * starts a new branch at head; a relay's next link tells it what is void. */
int ring_lost(const struct ring *ring);

/* Empties the ring and starts it at (branch, position), of that station: a relay that joins.
 * Marks, forks and anchor go; the floor is position (at most RING_POSITION_MAX). */
void ring_reset(struct ring *ring, const char *station, uint32_t branch, uint64_t position);

/* Gives up all frames and their room, on disk and in memory; the file, its size and the mapping stay. */
void ring_rest(struct ring *ring);
int ring_resting(const struct ring *ring);
/* Takes the room back, before the first frame: 0, or -1 with *cause when the disk is full. Nothing when it
 * does not rest. */
int ring_rouse(struct ring *ring, char **cause);

/* Appends frames at head; position and branch must be head's own and the bytes must pass mp3_frames_check.
 * Old frames go as needed, but none at or after floor: then -1 (the sender ignored its credit). 0, or -1
 * with *cause; on failure nothing has changed. */
int ring_append(struct ring *ring, uint32_t branch, uint64_t position, unsigned count, const uint8_t *bytes,
                size_t len, char **cause);
/* Drops what lies at and after position and starts the given branch there: its number must be greater than
 * the current one, tail <= position, position >= floor. Marks from position on go too. A position after head
 * is fine (it drops nothing; the branch starts there later: head may then not pass position in the old
 * branch, so only head is accepted): pass min(position, head). */
int ring_retract(struct ring *ring, uint32_t branch, uint64_t position, char **cause);
/* Frames below floor have aired. It never goes back. */
void ring_set_floor(struct ring *ring, uint64_t position);
uint64_t ring_floor(const struct ring *ring);

/* Bytes [from, to) of the endless stream as one piece; both must lie within [offset(tail), offset(head)].
 * NULL when they do not. Valid until the ring moves on by as much as it can hold beyond that. */
const uint8_t *ring_bytes(const struct ring *ring, uint64_t from, uint64_t to);
uint64_t ring_byte_tail(const struct ring *ring);
uint64_t ring_byte_head(const struct ring *ring);

/* Where a node that holds (branch, position) parts from the present branch: the position from which its
 * frames are void, UINT64_MAX when all it has is good, and -1 when the branch is not known. Sets *out. */
int ring_fork_after(const struct ring *ring, uint32_t branch, uint64_t position, uint64_t *out);
/* The branch in which the frame at position was made (or will be, at and after head). */
uint32_t ring_branch_at(const struct ring *ring, uint64_t position);

/* Brings a ring at another bit rate into line with the one that leads (same programme, same positions): takes
 * over its branch, dropping what lies after the fork, and its floor. 0; 1 when what it held is of no use
 * (another station, an unknown branch) and it was emptied: it must be reset before frames can come. */
int ring_align(struct ring *ring, const struct ring *lead);

struct ring_mark {
    uint64_t serial; /* counts up, never reused: a reader remembers the last one seen */
    uint64_t position;
    uint32_t branch;
    const char *kind; /* owned by the ring */
    json_t *body;     /* owned by the ring */
};
/* Takes a reference of its own to body, an object. Position must not lie before the last mark of the same
 * kind, nor before floor, unless it lies at or before the tail (what holds there, for a relay that joins).
 * branch: the present one, or one before it when position lies before their fork. A mark that is already
 * there (kind, position, equal body) is taken and changes nothing. */
int ring_mark_add(struct ring *ring, uint32_t branch, uint64_t position, const char *kind, json_t *body,
                  char **cause);
/* The i-th mark in order of position (0 is the oldest), NULL past the end. Valid until the ring changes. */
const struct ring_mark *ring_mark(const struct ring *ring, size_t index);
/* The last mark of that kind at or before position; NULL when there is none. */
const struct ring_mark *ring_mark_at(const struct ring *ring, const char *kind, uint64_t position);
/* The first one with a serial greater than `after`, in order of serial; NULL when there is none. */
const struct ring_mark *ring_mark_since(const struct ring *ring, uint64_t after);

/* The pacer's memory: frame `position` starts at boot_ns of this boot. Kept in the file with the boot id and
 * the wall time. ring_anchor fills what is known: 1 when the anchor is of this boot, 0 when of another one
 * (boot_ns is then void), -1 when there is none. */
struct ring_anchor {
    uint64_t position;
    int64_t boot_ns, wall_ns;
};
void ring_set_anchor(struct ring *ring, const struct ring_anchor *anchor);
int ring_anchor(const struct ring *ring, struct ring_anchor *out);

#endif
