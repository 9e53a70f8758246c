/* pick: what next and why. Pure: no I/O, no clock; randomness from the seed and the number of the choice.
 *
 * Among the tracks that keep the spacing (not played within the last share of the pool, not the artist of the
 * last one where the library allows), the nearest to the last by tempo, key, energy and loudness, with a
 * small seeded choice among near equals. An unknown value is left out of the distance, never counted as a
 * match. */
#ifndef FOREVER_ROOT_ORDER_PICK_H
#define FOREVER_ROOT_ORDER_PICK_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "root/track.h"

struct pool; /* tracks by id, with what ordering needs; holds copies */

struct pool *pool_new(void);
void pool_free(struct pool *pool);
void pool_put(struct pool *pool, const struct track *track); /* adds or replaces */
void pool_remove(struct pool *pool, int64_t id);
size_t pool_count(const struct pool *pool);
double pool_duration_s(const struct pool *pool, int64_t id); /* NAN: unknown */

/* after: id of the last track, 0 at the beginning; recent: played or planned tracks, oldest first (may
 * repeat); avoid: tracks that can't be played now. Returns the id and sets *why (new reference: distance,
 * terms, candidates, relaxed spacing, runners-up), or 0 when the pool has nothing to play. A pool of one
 * track repeats it. */
int64_t order_pick(const struct pool *pool, int64_t after, const int64_t *recent, size_t recent_count,
                   const int64_t *avoid, size_t avoid_count, uint64_t seed, json_t **why);

#endif
