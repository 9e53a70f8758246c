#include "root/air/executable.h"

#include <sys/stat.h>
#include <unistd.h>

static int read_stamp(const char *path, struct executable_stamp *out)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode) || access(path, X_OK)) return -1;
    *out = (struct executable_stamp){
        .dev = st.st_dev, .ino = st.st_ino, .size = st.st_size, .mtime = st.st_mtim};
    return 0;
}

static int same(const struct executable_stamp *a, const struct executable_stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
           a->mtime.tv_nsec == b->mtime.tv_nsec;
}

void executable_init(struct executable *executable, const char *path)
{
    *executable = (struct executable){.path = path};
    read_stamp(path, &executable->running);
    executable->seen = executable->running;
}

int executable_look(struct executable *executable)
{
    struct executable_stamp now;
    if (read_stamp(executable->path, &now)) return 0;
    int settled = same(&now, &executable->seen);
    executable->seen = now;
    if (!settled || same(&now, &executable->running)) return 0;
    executable->running = now;
    return 1;
}
