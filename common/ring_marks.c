#include "common/ring_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define LINE_HEAD    9 /* CRC and space */
#define LINE_MAX     (RING_MARK_MAX_BYTES + 512)
#define LIVE_MAX     (32u << 20)
#define REWRITE_MORE (64u << 10) /* garbage that is never worth a new file */

struct entry {
    struct ring_mark mark; /* first: the arrays point at it */
    size_t bytes;          /* of its line */
};

static void entry_free(struct ring_mark *mark)
{
    free((char *)mark->kind);
    json_decref(mark->body);
    free(mark);
}

static char *line_make(const struct ring_mark *mark, size_t *len)
{
    json_t *object = json_pack("{s:I,s:I,s:I,s:s,s:O}", "serial", (json_int_t)mark->serial, "position",
                               (json_int_t)mark->position, "branch", (json_int_t)mark->branch, "kind",
                               mark->kind, "body", mark->body);
    char *text = json_text(object);
    json_decref(object);
    char *line = xasprintf("%08x %s\n", crc32c(0, text, strlen(text)), text);
    free(text);
    *len = strlen(line);
    return line;
}

/* A mark of a line (owned by the caller), or NULL. */
static struct ring_mark *line_parse(const char *line, size_t len)
{
    char *end;
    if (len <= LINE_HEAD || line[len - 1] != '\n' || line[LINE_HEAD - 1] != ' ') return NULL;
    if (strtoul(line, &end, 16) != crc32c(0, line + LINE_HEAD, len - LINE_HEAD - 1) ||
        end != line + LINE_HEAD - 1)
        return NULL;
    json_t *object = json_parse(line + LINE_HEAD, len - LINE_HEAD - 1, LINE_MAX, NULL);
    int bad = 0;
    struct entry *entry = NULL;
    int64_t serial = json_int_or(object, "serial", 0, 1, INT64_MAX, &bad);
    int64_t position = json_int_or(object, "position", -1, 0, (int64_t)RING_POSITION_MAX, &bad);
    int64_t branch = json_int_or(object, "branch", -1, 0, UINT32_MAX, &bad);
    const char *kind = json_str_or(object, "kind", NULL, &bad);
    json_t *body = json_object_get(object, "body");
    if (!bad && serial > 0 && position >= 0 && branch >= 0 && kind && json_is_object(body)) {
        entry = xcalloc(1, sizeof *entry);
        entry->mark = (struct ring_mark){(uint64_t)serial, (uint64_t)position, (uint32_t)branch,
                                         xstrdup(kind), json_incref(body)};
        entry->bytes = len;
    }
    json_decref(object);
    return entry ? &entry->mark : NULL;
}

size_t ring_marks_upto(const struct ring_marks *marks, uint64_t position)
{
    size_t low = 0, high = marks->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (marks->by_position[mid]->position <= position)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void insert(struct ring_marks *marks, struct entry *entry)
{
    if (marks->count == marks->room) {
        marks->room = marks->room ? 2 * marks->room : 64;
        marks->by_position = xrealloc(marks->by_position, marks->room * sizeof(struct ring_mark *));
        marks->by_serial = xrealloc(marks->by_serial, marks->room * sizeof(struct ring_mark *));
    }
    size_t at = ring_marks_upto(marks, entry->mark.position);
    memmove(marks->by_position + at + 1, marks->by_position + at,
            (marks->count - at) * sizeof(struct ring_mark *));
    marks->by_position[at] = &entry->mark;
    marks->by_serial[marks->count++] = &entry->mark;
    marks->live_bytes += entry->bytes;
}

/* Removes the marks whose serial was set to 0 by the caller. */
static void sweep(struct ring_marks *marks)
{
    size_t kept = 0, kept_serial = 0;
    for (size_t i = 0; i < marks->count; i++) {
        if (marks->by_serial[i]->serial) marks->by_serial[kept_serial++] = marks->by_serial[i];
    }
    for (size_t i = 0; i < marks->count; i++) {
        struct ring_mark *mark = marks->by_position[i];
        if (mark->serial) {
            marks->by_position[kept++] = mark;
        } else {
            marks->live_bytes -= ((struct entry *)mark)->bytes;
            entry_free(mark);
        }
    }
    marks->count = kept;
    if (marks->file_bytes > 2 * marks->live_bytes + REWRITE_MORE) ring_marks_rewrite(marks);
}

static void write_failed(struct ring_marks *marks, const char *what)
{
    if (!marks->failed)
        log_warn("ring", "marks are not kept for a restart: %s %s: %s", what, marks->path, strerror(errno));
    marks->failed = 1;
    if (marks->fd >= 0) close(marks->fd);
    marks->fd = -1;
}

void ring_marks_rewrite(struct ring_marks *marks)
{
    if (!marks->path) return;
    char *fresh = xasprintf("%s.new", marks->path);
    if (marks->fd >= 0) close(marks->fd);
    marks->fd = -1;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out) {
        write_failed(marks, "can't write");
        if (fd >= 0) close(fd);
        free(fresh);
        return;
    }
    marks->file_bytes = 0;
    for (size_t i = 0; i < marks->count; i++) {
        size_t len;
        char *line = line_make(marks->by_serial[i], &len);
        fwrite(line, 1, len, out);
        marks->file_bytes += len;
        free(line);
    }
    int bad = fflush(out) || ferror(out) || fdatasync(fileno(out));
    bad |= fclose(out);
    if (bad || rename(fresh, marks->path) ||
        (marks->fd = open(marks->path, O_WRONLY | O_APPEND | O_CLOEXEC)) < 0)
        write_failed(marks, "can't write");
    else
        marks->failed = 0;
    free(fresh);
}

static void append(struct ring_marks *marks, const char *line, size_t len)
{
    if (marks->fd < 0) {
        ring_marks_rewrite(marks); /* the new mark is among the live ones */
        return;
    }
    ssize_t n = write(marks->fd, line, len);
    if (n != (ssize_t)len) {
        if (n >= 0) errno = ENOSPC;
        write_failed(marks, "can't append to");
        return;
    }
    marks->file_bytes += len;
}

void ring_marks_open(struct ring_marks *marks, const char *path,
                     int (*holds)(void *context, const struct ring_mark *mark), void *context)
{
    *marks = (struct ring_marks){.fd = -1};
    if (!path) return;
    marks->path = xasprintf("%s.marks", path);
    FILE *in = fopen(marks->path, "re");
    char *line = NULL;
    size_t room = 0;
    unsigned damaged = 0;
    ssize_t len;
    uint64_t serial = 0;
    while (in && (len = getline(&line, &room, in)) > 0) {
        struct ring_mark *mark = len <= LINE_MAX ? line_parse(line, (size_t)len) : NULL;
        damaged += !mark;
        if (!mark) continue;
        if (mark->serial > serial && holds(context, mark) && marks->count < RING_MARKS_MAX) {
            serial = mark->serial;
            insert(marks, (struct entry *)mark);
        } else {
            entry_free(mark);
        }
    }
    free(line);
    if (in) fclose(in);
    if (damaged) log_warn("ring", "%s: %u damaged lines left out", marks->path, damaged);
    ring_marks_rewrite(marks);
}

void ring_marks_close(struct ring_marks *marks)
{
    for (size_t i = 0; i < marks->count; i++)
        entry_free(marks->by_position[i]);
    free(marks->by_position);
    free(marks->by_serial);
    free(marks->path);
    if (marks->fd >= 0) close(marks->fd);
    *marks = (struct ring_marks){.fd = -1};
}

int ring_marks_add(struct ring_marks *marks, const struct ring_mark *mark, char **cause)
{
    size_t len;
    char *line = line_make(mark, &len);
    int rc = -1;
    if (len > RING_MARK_MAX_BYTES)
        cause_set(cause, "a mark of %zu bytes, at most %u are taken", len, RING_MARK_MAX_BYTES);
    else if (marks->count >= RING_MARKS_MAX || marks->live_bytes + len > LIVE_MAX)
        cause_set(cause, "too many marks (%zu, %zu bytes)", marks->count, marks->live_bytes);
    else
        rc = 0;
    if (rc == 0) {
        struct entry *entry = xcalloc(1, sizeof *entry);
        entry->mark = *mark;
        entry->mark.kind = xstrdup(mark->kind);
        json_incref(mark->body);
        entry->bytes = len;
        insert(marks, entry);
        if (marks->path) append(marks, line, len);
    }
    free(line);
    return rc;
}

void ring_marks_retract(struct ring_marks *marks, uint64_t position)
{
    size_t from = position ? ring_marks_upto(marks, position - 1) : 0;
    if (from == marks->count) return;
    for (size_t i = from; i < marks->count; i++)
        marks->by_position[i]->serial = 0;
    sweep(marks);
}

void ring_marks_evict(struct ring_marks *marks, uint64_t tail)
{
    size_t end = tail ? ring_marks_upto(marks, tail - 1) : 0, kinds = 0;
    if (end == 0) return;
    const char **seen = xmalloc(end * sizeof *seen);
    int dropped = 0;
    for (size_t i = end; i-- > 0;) {
        struct ring_mark *mark = marks->by_position[i];
        size_t k = 0;
        while (k < kinds && strcmp(seen[k], mark->kind))
            k++;
        if (k == kinds) {
            seen[kinds++] = mark->kind;
        } else {
            mark->serial = 0;
            dropped = 1;
        }
    }
    free(seen);
    if (dropped) sweep(marks);
}

void ring_marks_clear(struct ring_marks *marks)
{
    for (size_t i = 0; i < marks->count; i++)
        entry_free(marks->by_position[i]);
    marks->count = marks->live_bytes = 0;
    ring_marks_rewrite(marks);
}
