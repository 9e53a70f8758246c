/* history: the segments that were aired, whole: with plan, file hashes and certificate, for as many days as
 * is wanted, a million of them at most. */
#ifndef FOREVER_ROOT_LIBRARY_HISTORY_H
#define FOREVER_ROOT_LIBRARY_HISTORY_H
#include <stdint.h>
#include <jansson.h>

struct library;

/* body: the segment's; its last track is the one played from here on. The same place on the same branch,
 * told again within the hour, is kept once. maker: what program made its sound, kept as "made_by"; may be
 * NULL. */
int history_add(struct library *library, uint64_t position, uint32_t branch, int64_t wall_ns,
                const json_t *body, const char *maker);
/* Appends {"track","position","wall_s"} of the latest plays, newest first: a row for each time a track
 * began. How many, or -1. */
int history_latest(struct library *library, int limit, json_t *array);
/* The segments that sound in samples [from, to), bodies in the order of the air, of the latest time that
 * frame `position` (within) aired; positions begin anew with a new ring. How many; 0: the history does not
 * hold that frame; -1. Less than all of [from, to) where the history does not reach that far. */
int history_aired(struct library *library, uint64_t position, uint64_t from, uint64_t to, json_t *array);
/* Drops what is too old or too much; the store does so at its start and now and then. */
int history_prune(struct library *library, int64_t now_ns, int days);

#endif
