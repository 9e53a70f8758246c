/* folder: a directory tree as a source.
 *
 * The walk keeps the directories it has yet to read on a stack of its own, so depth costs no stack, and
 * remembers (device, inode) of each it has read, so a loop of links ends. Links to directories wait until the
 * real tree is done: what lies in the tree keeps its own path however it is linked. Entries are taken in
 * order of name, so that two walks of one tree agree. Names beginning with a dot are hidden. */
#include "root/source/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "root/source/watch.h"

#define PATH_BYTES_MAX  4096
#define DIRECTORIES_MAX (1u << 20)

struct folder {
    char *root;
    struct watch *watch;
};

struct names {
    char **items;
    size_t count, room;
};

/* (device, inode) pairs, open addressing; ino 0 marks a free place. Invariant: at most half full. */
struct seen {
    struct seen_entry {
        dev_t dev;
        ino_t ino;
    } * entries;
    size_t count, room;
};

struct walk {
    struct folder *folder;
    source_found found;
    void *context;
    struct source_report *report;
    struct names stack, links; /* directories to read; links to directories */
    struct seen seen;
};

static void push(struct names *n, char *item)
{
    if (n->count == n->room) {
        n->room = n->room ? n->room * 2 : 32;
        n->items = xrealloc(n->items, n->room * sizeof *n->items);
    }
    n->items[n->count++] = item;
}

static void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->items[i]);
    free(n->items);
}

static size_t seen_place(const struct seen *s, dev_t dev, ino_t ino)
{
    size_t at = (size_t)((ino * UINT64_C(0x9e3779b97f4a7c15)) ^ dev) & (s->room - 1);
    while (s->entries[at].ino && (s->entries[at].ino != ino || s->entries[at].dev != dev))
        at = (at + 1) & (s->room - 1);
    return at;
}

/* 1 when it is new. */
static int seen_add(struct seen *s, dev_t dev, ino_t ino)
{
    if (s->count * 2 >= s->room) {
        struct seen bigger = {.room = s->room ? s->room * 2 : 64};
        bigger.entries = xcalloc(bigger.room, sizeof *bigger.entries);
        for (size_t i = 0; i < s->room; i++) {
            if (s->entries[i].ino)
                bigger.entries[seen_place(&bigger, s->entries[i].dev, s->entries[i].ino)] = s->entries[i];
        }
        free(s->entries);
        s->entries = bigger.entries;
        s->room = bigger.room;
    }
    size_t at = seen_place(s, dev, ino);
    if (s->entries[at].ino) return 0;
    s->entries[at] = (struct seen_entry){dev, ino};
    s->count++;
    return 1;
}

static char *join(const char *directory, const char *name)
{
    return xasprintf("%s%s%s", directory, strcmp(directory, "/") ? "/" : "", name);
}

static int tell_file(const struct stat *st, const char *path, source_found found, void *context)
{
    return found(context, path, st->st_size, (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec);
}

static void unreadable(struct walk *w, const char *path, int error)
{
    if (!w->report->unreadable++) w->report->first_unreadable = xasprintf("%s: %s", path, strerror(error));
}

/* One entry: a directory goes to a stack, a music file is told. Not 0: stop. */
static int entry(struct walk *w, int dir_fd, const char *directory, const char *name, unsigned char type)
{
    struct stat st;
    if (type == DT_REG && !source_is_music(name)) return 0; /* no need to look */
    int linked = type == DT_LNK;
    if (type == DT_UNKNOWN) {
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW)) return 0;
        linked = S_ISLNK(st.st_mode);
    }
    if (fstatat(dir_fd, name, &st, 0)) return 0; /* a dead link, or gone already */
    if (strlen(directory) + strlen(name) + 2 > PATH_BYTES_MAX) return 0;
    if (S_ISDIR(st.st_mode)) {
        push(linked ? &w->links : &w->stack, join(directory, name));
        return 0;
    }
    if (!S_ISREG(st.st_mode) || !source_is_music(name)) return 0;
    char *path = join(directory, name);
    w->report->files++;
    int stop = tell_file(&st, path, w->found, w->context);
    free(path);
    return stop;
}

struct item {
    unsigned char type;
    char name[];
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct item *const *)a)->name, (*(struct item *const *)b)->name);
}

/* All of a directory's entries that are not hidden, in order. */
static struct item **list(DIR *dir, size_t *count)
{
    struct item **items = NULL;
    size_t room = 0;
    *count = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (*count == room) {
            room = room ? room * 2 : 64;
            items = xrealloc(items, room * sizeof *items);
        }
        size_t size = strlen(e->d_name) + 1;
        struct item *item = xmalloc(sizeof *item + size);
        item->type = e->d_type;
        memcpy(item->name, e->d_name, size);
        items[(*count)++] = item;
    }
    if (*count) qsort(items, *count, sizeof *items, by_name);
    return items;
}

static int read_directory(struct walk *w, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;
    if (!dir || fstat(fd, &st)) {
        unreadable(w, path, errno);
        if (dir)
            closedir(dir);
        else if (fd >= 0)
            close(fd);
        return 0;
    }
    if (!seen_add(&w->seen, st.st_dev, st.st_ino) || w->seen.count > DIRECTORIES_MAX) {
        closedir(dir);
        return 0;
    }
    w->report->directories++;
    /* watched before it is read: what comes in between is told twice rather than never */
    if (watch_add(w->folder->watch, path)) w->report->unwatched++;
    size_t count, base = w->stack.count;
    struct item **items = list(dir, &count);
    int stop = 0;
    for (size_t i = 0; i < count; i++) {
        if (!stop) stop = entry(w, fd, path, items[i]->name, items[i]->type);
        free(items[i]);
    }
    free(items);
    closedir(dir);
    /* the stack gives the last first: turn the new ones round */
    for (size_t low = base, high = w->stack.count; low + 1 < high; low++) {
        char *swap = w->stack.items[low];
        w->stack.items[low] = w->stack.items[--high];
        w->stack.items[high] = swap;
    }
    return stop;
}

/* 1 when it was stopped. */
static int walk_from(struct folder *f, const char *path, source_found found, void *context,
                     struct source_report *report)
{
    struct walk w = {.folder = f, .found = found, .context = context, .report = report};
    int stop = 0;
    push(&w.stack, xstrdup(path));
    while (!stop && (w.stack.count || w.links.count)) {
        struct names *from = w.stack.count ? &w.stack : &w.links;
        char *next = from->items[--from->count];
        stop = read_directory(&w, next);
        free(next);
    }
    names_free(&w.stack);
    names_free(&w.links);
    free(w.seen.entries);
    return stop;
}

static int folder_walk(void *state, source_found found, void *context, struct source_report *report,
                       char **cause)
{
    struct folder *f = state;
    if (walk_from(f, f->root, found, context, report)) return cause_set(cause, "stopped");
    if (report->directories) return 0;
    return cause_set(cause, "%s",
                     report->first_unreadable ? report->first_unreadable : "nothing could be read");
}

struct changes {
    struct folder *folder;
    source_found found;
    void *context;
    int walk_due;
};

static int changed(void *context, enum watch_kind kind, const char *path)
{
    struct changes *c = context;
    struct stat st;
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (kind == WATCH_MISSED) {
        c->walk_due = 1;
    } else if (name[0] == '.') {
        return 0;
    } else if (kind == WATCH_GONE) {
        c->walk_due = 1; /* a directory has no telling name */
    } else if (kind == WATCH_DIRECTORY) {
        struct source_report report = {0};
        int stop = walk_from(c->folder, path, c->found, c->context, &report);
        free(report.first_unreadable);
        return stop;
    } else if (kind == WATCH_CREATED && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
        return 0; /* told when it is written and closed */
    } else if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) c->walk_due = 1; /* a link to a directory: the whole walk knows loops */
        if (S_ISREG(st.st_mode) && source_is_music(name)) return tell_file(&st, path, c->found, c->context);
    }
    return 0;
}

static int folder_changes(void *state, source_found found, void *context)
{
    struct folder *f = state;
    struct changes c = {.folder = f, .found = found, .context = context};
    return watch_read(f->watch, changed, &c) ? -1 : c.walk_due;
}

static int folder_fd(const void *state)
{
    return watch_fd(((const struct folder *)state)->watch);
}

static void *folder_open(const char *location)
{
    struct folder *f = xcalloc(1, sizeof *f);
    f->root = xstrdup(location);
    f->watch = watch_new();
    return f;
}

static void folder_close(void *state)
{
    struct folder *f = state;
    watch_free(f->watch);
    free(f->root);
    free(f);
}

const struct source_backend source_folder = {"folder",    folder_open, folder_close,
                                             folder_walk, folder_fd,   folder_changes};
