/* shelf: the studio's access to tracks: what is known of one, and its file as a descriptor, from the store.
 *
 * The last few descriptors are kept, so that a programme that is rendered from an earlier place again (a
 * skip) finds its files even while the store is away. */
#ifndef FOREVER_ROOT_WORK_SHELF_H
#define FOREVER_ROOT_WORK_SHELF_H
#include "root/track.h"
#include "root/work/work.h"

struct shelf;

struct shelf *shelf_new(struct work *work);
void shelf_free(struct shelf *shelf);
enum shelf_result {
    SHELF_FINE,
    SHELF_AWAY,      /* the store does not answer, or does not have it: *cause */
    SHELF_UNPLAYABLE /* its file can't be decoded: *cause */
};
/* Fills a freshly initialised track, after its file has been opened and found to have sound. Blocks. */
enum shelf_result shelf_track(struct shelf *shelf, int64_t id, struct track *out, char **cause);
/* A programme_open_track; context is the shelf. Waits some seconds for a store that is away. */
int shelf_open(void *context, int64_t id, const char *hash, char **cause);

#endif
