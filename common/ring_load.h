/* ring_load: from a path to a ring's file that can be trusted: made, found, checked block by block, set aside
 * or taken over into another size. */
#ifndef FOREVER_COMMON_RING_LOAD_H
#define FOREVER_COMMON_RING_LOAD_H
#include "common/ring_file.h"

/* path NULL: in memory. flags: of a fresh file's state. *lost: see ring_lost. 0, or -1 with *cause. The state
 * is not yet published. */
int ring_load(struct ring_file *file, const char *path, unsigned kbps, uint64_t blocks, uint32_t flags,
              int *lost, char **cause);

#endif
