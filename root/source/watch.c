#include "root/source/watch.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/mem.h"

#define WATCHED                                                                                              \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF |  \
     IN_EXCL_UNLINK | IN_ONLYDIR)
#define EVENTS_BYTES (64 << 10)

struct entry {
    int wd;
    char *path;
};

/* Invariant: entries ascend by wd (the kernel counts them up), and no two are equal. */
struct watch {
    int fd;
    size_t count, room;
    struct entry *entries;
    _Alignas(struct inotify_event) char events[EVENTS_BYTES];
};

struct watch *watch_new(void)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return w;
}

void watch_free(struct watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->entries[i].path);
    free(w->entries);
    if (w->fd >= 0) close(w->fd);
    free(w);
}

int watch_fd(const struct watch *w)
{
    return w->fd;
}

/* The first entry with a descriptor of at least wd. */
static size_t place(const struct watch *w, int wd)
{
    size_t low = 0, high = w->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (w->entries[middle].wd < wd)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int watch_add(struct watch *w, const char *directory)
{
    int wd = w->fd < 0 ? -1 : inotify_add_watch(w->fd, directory, WATCHED);
    if (wd < 0) return -1;
    size_t at = place(w, wd);
    if (at < w->count && w->entries[at].wd == wd) { /* known, perhaps by a former name */
        if (strcmp(w->entries[at].path, directory)) {
            free(w->entries[at].path);
            w->entries[at].path = xstrdup(directory);
        }
        return 0;
    }
    if (w->count == w->room) {
        w->room = w->room ? w->room * 2 : 64;
        w->entries = xrealloc(w->entries, w->room * sizeof *w->entries);
    }
    memmove(w->entries + at + 1, w->entries + at, (w->count - at) * sizeof *w->entries);
    w->entries[at] = (struct entry){wd, xstrdup(directory)};
    w->count++;
    return 0;
}

static void forget(struct watch *w, size_t at)
{
    free(w->entries[at].path);
    w->count--;
    memmove(w->entries + at, w->entries + at + 1, (w->count - at) * sizeof *w->entries);
}

static int tell(struct watch *w, const struct inotify_event *e, watch_event event, void *context)
{
    if (e->mask & IN_Q_OVERFLOW) return event(context, WATCH_MISSED, "");
    size_t at = place(w, e->wd);
    if (at == w->count || w->entries[at].wd != e->wd) return 0;
    if (e->mask & IN_IGNORED) {
        forget(w, at);
        return 0;
    }
    /* event() may add watches and so move the entries */
    char *path = e->len ? xasprintf("%s/%s", w->entries[at].path, e->name) : xstrdup(w->entries[at].path);
    int result = 0;
    if (e->mask & (IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF))
        result = event(context, WATCH_GONE, path);
    else if (e->mask & IN_ISDIR)
        result = event(context, WATCH_DIRECTORY, path);
    else if (e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO))
        result = event(context, WATCH_FILE, path);
    else if (e->mask & IN_CREATE)
        result = event(context, WATCH_CREATED, path);
    free(path);
    return result;
}

int watch_read(struct watch *w, watch_event event, void *context)
{
    ssize_t n;
    while (w->fd >= 0 && (n = read(w->fd, w->events, sizeof w->events)) > 0) {
        for (char *p = w->events; p < w->events + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)p;
            if (tell(w, e, event, context)) return -1;
            p += sizeof *e + e->len;
        }
    }
    return 0;
}
