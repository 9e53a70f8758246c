/* executable: notices that the program at a path has been replaced by another one.
 *
 * Another one counts when it has been left alone from one look to the next, so that none is started that is
 * still being written, and when it can be executed. */
#ifndef FOREVER_ROOT_AIR_EXECUTABLE_H
#define FOREVER_ROOT_AIR_EXECUTABLE_H
#include <sys/types.h>
#include <time.h>

/* What tells one from another; all 0: there was none. */
struct executable_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

struct executable {
    const char *path;
    struct executable_stamp running, seen;
};

/* What is there now is what runs. The path is borrowed for as long as looks are taken. */
void executable_init(struct executable *executable, const char *path);
/* 1, once for each, when another one is there than the one that runs: that is then the one that runs. */
int executable_look(struct executable *executable);

#endif
