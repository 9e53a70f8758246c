/* examine: all that one file tells: content hash, tags, picture, features. Shared by the analyse role and the
 * analyse tool. */
#ifndef FOREVER_ROOT_WORK_EXAMINE_H
#define FOREVER_ROOT_WORK_EXAMINE_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

struct examine_art {
    uint8_t *bytes; /* owned; NULL when there is no picture */
    size_t len;
    char *mime; /* owned */
};

/* Takes over fd, also on failure. path is only read for its name, which stands in for missing tags (and left
 * unset in out). out is initialised here, art may be NULL. 0, or -1 with an owned *cause; out is then empty.
 */
int examine_file(int fd, const char *path, struct track *out, struct examine_art *art, char **cause);
/* Whether the mix can use it: 0, or -1 with an owned *cause. */
int examine_judge(const struct track *track, char **cause);
void examine_art_free(struct examine_art *art);

#endif
