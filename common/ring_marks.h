/* ring_marks: the marks of a ring, in memory and in a file of lines.
 *
 * A line is the CRC-32C of its JSON in hex, a space, the JSON: {"serial","position","branch","kind","body"}.
 * Lines are only appended; when they take more than twice what the live ones need, the file is written anew
 * beside and renamed. Opening does that too, so that a line torn by a crash is gone before the next is added.
 * A line does not say that it died: the ring's state does (its forks, its tail, its first valid serial). A
 * file that can't be written costs the marks of the next start, never the air: it is logged and tried again.
 */
#ifndef FOREVER_COMMON_RING_MARKS_H
#define FOREVER_COMMON_RING_MARKS_H
#include <stddef.h>
#include <stdint.h>

#include "common/ring.h"

struct ring_marks {
    struct ring_mark **by_position; /* equal positions: by serial */
    struct ring_mark **by_serial;
    size_t count, room;
    size_t live_bytes; /* of their lines */
    char *path;        /* NULL: memory only */
    int fd;            /* -1: to be written anew */
    size_t file_bytes;
    int failed; /* logged */
};

/* Reads PATH.marks where there is one and keeps the marks that `holds` accepts. path NULL: memory only. */
void ring_marks_open(struct ring_marks *marks, const char *path,
                     int (*holds)(void *context, const struct ring_mark *mark), void *context);
void ring_marks_close(struct ring_marks *marks);
/* 0, or -1 with *cause when there are too many. */
int ring_marks_add(struct ring_marks *marks, const struct ring_mark *mark, char **cause);
/* Drops what lies at and after position. */
void ring_marks_retract(struct ring_marks *marks, uint64_t position);
/* Drops what lies before tail but the last of each kind. */
void ring_marks_evict(struct ring_marks *marks, uint64_t tail);
void ring_marks_clear(struct ring_marks *marks);
/* Writes the file anew with what is live. */
void ring_marks_rewrite(struct ring_marks *marks);

/* How many marks lie at or before position. */
size_t ring_marks_upto(const struct ring_marks *marks, uint64_t position);

#endif
