/* watch: which directories inotify tells of, by path. Used by folder.c. */
#ifndef FOREVER_ROOT_SOURCE_WATCH_H
#define FOREVER_ROOT_SOURCE_WATCH_H

struct watch;

enum watch_kind {
    WATCH_FILE,      /* written and closed, or moved in */
    WATCH_CREATED,   /* a name appeared: a link is whole at once, a copy is written yet */
    WATCH_DIRECTORY, /* made or moved in */
    WATCH_GONE,      /* something went away */
    WATCH_MISSED,    /* the kernel's queue ran over */
};
typedef int (*watch_event)(void *context, enum watch_kind kind, const char *path);

struct watch *watch_new(void); /* works without inotify too, watching nothing */
void watch_free(struct watch *watch);
int watch_fd(const struct watch *watch); /* -1 when there is no inotify */
/* 0; -1 when the system allows no more watches. */
int watch_add(struct watch *watch, const char *directory);
/* All events there are now; ends early with -1 when the function returns not 0. */
int watch_read(struct watch *watch, watch_event event, void *context);

#endif
