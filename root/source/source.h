/* source: where music files come from. Backends: null (nothing), folder (a directory tree, watched). */
#ifndef FOREVER_ROOT_SOURCE_SOURCE_H
#define FOREVER_ROOT_SOURCE_SOURCE_H
#include <stdint.h>

/* One file: its path (bytes, absolute when the location is), size and time of last change. Not 0: stop. */
typedef int (*source_found)(void *context, const char *path, int64_t size, int64_t mtime_ns);

struct source_report {
    uint64_t files, directories;
    uint64_t unreadable;    /* directories that could not be read, and were left out */
    char *first_unreadable; /* "path: reason", owned by the report's user */
    uint64_t unwatched;     /* directories whose changes only the next walk will show */
};

struct source_backend {
    const char *name;
    void *(*open)(const char *location);
    void (*close)(void *state);
    int (*walk)(void *state, source_found found, void *context, struct source_report *report, char **cause);
    int (*fd)(const void *state);
    int (*changes)(void *state, source_found found, void *context);
};
extern const struct source_backend source_null, source_folder;

struct source;

/* "null:" or a directory, which need not exist yet. Never fails. */
struct source *source_open(const char *location);
void source_close(struct source *source); /* NULL is fine */
const char *source_location(const struct source *source);
/* Names every file there is now, and begins to watch what it passes. Blocks as long as it takes; `found` may
 * stop it. 0: everything was named; -1 with an owned *cause when the source can't be read or it was stopped.
 */
int source_walk(struct source *source, source_found found, void *context, struct source_report *report,
                char **cause);
/* Readable when there may be changes; -1 when the source can't tell. */
int source_fd(const struct source *source);
/* Names the files that came or changed since; does not block on a quiet source. 1 when something went away or
 * was missed, so that a walk is due; 0; -1 when `found` stopped it. */
int source_changes(struct source *source, source_found found, void *context);

/* Whether the name ends like a music file's. */
int source_is_music(const char *name);

#endif
