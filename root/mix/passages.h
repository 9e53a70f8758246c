/* passages: stretched passages kept while a transition is rehearsed.
 *
 * Another take of the same way to join differs in fades, gains and a nudge of some milliseconds; stretching
 * is most of the work, so it is done once. A passage that is asked for a little later or earlier in its
 * source is the kept one, moved: near enough for listening, and never used for what airs. Kept as 16 bits, at
 * half the level; all that a rehearsal hears is. */
#ifndef FOREVER_ROOT_MIX_PASSAGES_H
#define FOREVER_ROOT_MIX_PASSAGES_H
#include <stddef.h>
#include <stdint.h>

#include "root/audio/pcm.h"
#include "root/mix/recipe.h"

#define PASSAGES_MOVE_MAX 512 /* samples */

struct passages;
struct passage; /* a kept one; lives until the next is kept */

struct passages *passages_new(void);
void passages_free(struct passages *passages);
/* The voice's passage, when one like it is kept; else NULL. */
const struct passage *passages_find(const struct passages *passages, const struct voice *voice);
/* Keeps the voice's passage, whose channels it frees; of two passages, the older goes. */
const struct passage *passages_keep(struct passages *passages, const struct voice *voice,
                                    float *const channels[PCM_CHANNELS]);
/* One channel of it, as the voice has it, and the mean of them: voice->samples values. */
void passage_channel(const struct passage *passage, const struct voice *voice, int c, float *out);
void passage_mono(const struct passage *passage, const struct voice *voice, float *out);

#endif
