/* ring_file: the file under a ring: layout, mapping, and the state that is published as one.
 *
 *   0      what never changes: magic, version, bit rate, number of blocks, with a CRC
 *   512    two copies of struct ring_state, written in turn
 *   2048   forks: the last RING_FORKS retractions
 *   8192   one CRC-32C for each block
 *   then, from a page's start, the data: block b (frames 49b to 49b+48, always 160 bytes for each kbit/s)
 * lies in slot b modulo the number of blocks.
 *
 * A change is made in working memory (file->state) and published by ring_file_commit, which writes the older
 * of the two copies with a higher sequence and a CRC. A process killed at any instruction leaves the other
 * copy whole, so what is read back is the state before or after a change and nothing between. Data is
 * written before the state that counts it, and is overwritten only after a state that no longer does; that
 * order holds between processes, since they share the page cache. After a crash of the machine pages may be
 * of different ages: the CRCs of the blocks tell.
 *
 * Invariants: tail <= floor <= head; head - tail <= blocks * 49; tail is a block's start, or the position
 * where the ring was begun. */
#ifndef FOREVER_COMMON_RING_FILE_H
#define FOREVER_COMMON_RING_FILE_H
#include <stddef.h>
#include <stdint.h>

#include "common/mp3.h"

#define RING_FORKS      256
#define RING_BOOT_BYTES 40

enum { RING_HAS_ANCHOR = 1, RING_CLEAN = 2, RING_RESTS = 4 };

struct ring_state {
    uint64_t sequence;
    uint64_t tail, head, floor;
    uint64_t serial_first, serial_next; /* marks below the first are void */
    uint64_t anchor_position;
    int64_t anchor_boot_ns, anchor_wall_ns;
    uint32_t branch, branch_oldest; /* forks from the oldest on are known */
    uint32_t fork_first, fork_end;  /* counters, modulo RING_FORKS */
    uint32_t partial_crc;           /* of head's block, as far as it goes */
    uint32_t flags;
    char station[RING_BOOT_BYTES];
    char boot[RING_BOOT_BYTES];        /* of the last opening */
    char anchor_boot[RING_BOOT_BYTES]; /* of the anchor */
    uint32_t spare;
    uint32_t crc; /* of all before; last */
};

struct ring_fork {
    uint64_t position;
    uint32_t branch; /* the one that starts there */
    uint32_t crc;
};

struct ring_file {
    struct ring_state state; /* working copy */
    unsigned kbps;
    uint64_t blocks;
    size_t block_bytes, data_bytes, head_bytes;
    int fd;
    uint8_t *head; /* mapped */
    uint8_t *data; /* mapped twice in a row */
    uint32_t *block_crc;
    struct ring_fork *forks;
};

/* Makes a file (in memory when path is NULL) with that state as its first; 0, or -1 with *cause. With
 * RING_RESTS in its flags the data has no room yet. */
int ring_file_create(struct ring_file *file, const char *path, unsigned kbps, uint64_t blocks,
                     const struct ring_state *state, char **cause);
/* 0; 1 when there is no such file; 2 with *cause when it can't be used as a ring of kbps; -1 with *cause when
 * the system refuses. */
int ring_file_open(struct ring_file *file, const char *path, unsigned kbps, char **cause);
void ring_file_close(struct ring_file *file);
void ring_file_commit(struct ring_file *file);
/* Gives the data's room back (what is read there then is zero), and takes it again: 0, or -1 with *cause. */
void ring_file_punch(struct ring_file *file);
int ring_file_fill(struct ring_file *file, char **cause);
/* To the disk, before a rename. */
int ring_file_sync(struct ring_file *file, char **cause);

/* The least number of blocks that holds `frames` and can be mapped twice. */
uint64_t ring_file_blocks(unsigned kbps, uint64_t frames);
/* Byte offset in the data of a byte of the endless stream. */
static inline size_t ring_file_at(const struct ring_file *file, uint64_t byte)
{
    return (size_t)(byte % file->data_bytes);
}
static inline uint64_t ring_block_start(uint64_t position)
{
    return position - position % MP3_PERIOD_FRAMES;
}
/* CRC of head's block so far, 0 when head is at a block's start. */
uint32_t ring_file_partial_crc(const struct ring_file *file);
/* CRC of frames [from, to), which lie in one block. */
uint32_t ring_file_crc(const struct ring_file *file, uint64_t from, uint64_t to);
void ring_file_put_fork(struct ring_file *file, uint64_t position, uint32_t branch);

#endif
