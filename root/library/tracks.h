/* tracks: the files of the library, by path, and what became of them. */
#ifndef FOREVER_ROOT_LIBRARY_TRACKS_H
#define FOREVER_ROOT_LIBRARY_TRACKS_H
#include <stdint.h>

struct library;

enum track_state {
    TRACK_NEW,      /* waits for analysis */
    TRACK_ANALYSED, /* has features, is played */
    TRACK_FAILED,   /* has a reason; tried again only when the file changes */
};

struct track_file {
    int64_t id;
    char *path; /* bytes */
    int64_t size, mtime_ns;
    enum track_state state;
    int present;  /* 0: gone; its state comes back with the same file */
    char *reason; /* of a failure */
    char *hash;   /* of its content when it was last analysed, else NULL */
    int attempts; /* analyses that were lost with their worker, by the version tried last */
};
void track_file_free(struct track_file *file);

enum tracks_change {
    TRACKS_SAME,
    TRACKS_ADDED,
    TRACKS_CHANGED, /* other size or time: it is TRACK_NEW again */
    TRACKS_BACK,    /* was gone, is the same */
};
/* A file found below root: 0 with *id and *change. */
int tracks_found(struct library *library, const char *root, const char *path, int64_t size, int64_t mtime_ns,
                 int64_t *id, enum tracks_change *change);
/* 1 with *out; 0: no such track; -1. */
int tracks_get(struct library *library, int64_t id, struct track_file *out);
/* The same, by path: its id; 0: none. */
int64_t tracks_id(struct library *library, const char *path);
int tracks_set_failed(struct library *library, int64_t id, const char *reason);
int tracks_set_gone(struct library *library, int64_t id);
/* The file on disk is another one now. */
int tracks_set_changed(struct library *library, int64_t id, int64_t size, int64_t mtime_ns);
/* Its analysis was lost: counted, and failed for good at the limit. The state after, or -1. */
int tracks_set_lost(struct library *library, int64_t id, const char *reason, int limit);
/* Up to `room` present tracks of a root above `after`, in id order: how many, or -1. */
int tracks_of_root(struct library *library, const char *root, int64_t after, int64_t *ids, int room);
/* Tracks of roots that are none of these are gone. How many, or -1. */
int tracks_keep_roots(struct library *library, char *const *roots, unsigned count);

struct tracks_count {
    int64_t total, analysed, failed, pending; /* of the present ones */
    int64_t outdated; /* of the analysed ones: by an older version, and to be analysed again */
};
int tracks_count(struct library *library, struct tracks_count *out);
/* In id order, oldest first; 0: none above `after`. */
int64_t tracks_next_pending(struct library *library, int64_t after);
/* Those analysed by an older version, the oldest version first. *after: where the last call left off, zeros
 * at first. */
struct tracks_outdated {
    int64_t version, track;
};
int64_t tracks_next_outdated(struct library *library, struct tracks_outdated *after);
/* The pending track with this many others before it; 0: none. */
int64_t tracks_pending_at(struct library *library, int64_t index);
/* Among present analysed tracks of the same content one is played: the one with the lowest id. 0: none. */
int64_t tracks_played_of(struct library *library, const char *hash);
/* Others of this content that are present and analysed: the first above `after`; 0: none. */
int64_t tracks_next_of(struct library *library, const char *hash, int64_t after);

#endif
