/* passages: stretched passages kept while a transition is rehearsed.
 *
 * Another take of the same way to join differs in fades, gains and a nudge of some milliseconds; stretching
 * is most of the work, so it is done once. A passage that is asked for a little later or earlier in its
 * source is the kept one, moved: near enough for listening, and never used for what airs. Kept as 16 bits, at
 * half the level. */
#ifndef FOREVER_ROOT_MIX_PASSAGES_H
#define FOREVER_ROOT_MIX_PASSAGES_H
#include <stddef.h>
#include <stdint.h>

#include "root/mix/recipe.h"

#define PASSAGES_MOVE_MAX 512 /* samples */

struct passages;

struct passages *passages_new(void);
void passages_free(struct passages *passages);
/* The voice's passage as PCM (owned by the caller), when one like it is kept; else NULL. */
float *passages_find(const struct passages *passages, const struct voice *voice);
/* Keeps a copy; of two passages, the older goes. */
void passages_keep(struct passages *passages, const struct voice *voice, const float *pcm);

#endif
