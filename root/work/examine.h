/* examine: all that one file tells: content hash, tags, pictures, features. Shared by the analyse role and
 * the analyse tool. */
#ifndef FOREVER_ROOT_WORK_EXAMINE_H
#define FOREVER_ROOT_WORK_EXAMINE_H
#include <stddef.h>
#include <stdint.h>

#include "root/track.h"

/* What is kept beside the features. */
struct examine_pictures {
    uint8_t *art; /* the cover as it is in the file, owned; NULL when there is none */
    size_t art_len;
    char *art_mime; /* owned */
    uint8_t *wave;  /* the waveform (root/analysis/wave.h), owned */
    size_t wave_len;
};

/* Takes over fd, also on failure. path is only read for its name, which stands in for missing tags (and left
 * unset in out). out is initialised here, pictures may be NULL. 0, or -1 with an owned *cause; out is then
 * empty.
 */
int examine_file(int fd, const char *path, struct track *out, struct examine_pictures *pictures,
                 char **cause);
/* SHA-256 of the file's bytes, in hex, owned; reads by position, so the descriptor's own stays where it is.
 * NULL with *cause. */
char *examine_hash(int fd, char **cause);
/* Whether the mix can use it: 0, or -1 with an owned *cause. */
int examine_judge(const struct track *track, char **cause);
void examine_pictures_free(struct examine_pictures *pictures);

#endif
