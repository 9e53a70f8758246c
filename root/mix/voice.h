/* voice: one voice of a segment as PCM, as a whole: its passage at the segment's speed, in three bands with
 * fades of their own, its ride and its echo. */
#ifndef FOREVER_ROOT_MIX_VOICE_H
#define FOREVER_ROOT_MIX_VOICE_H
#include "root/mix/decks.h"
#include "root/mix/passages.h"
#include "root/mix/recipe.h"
#include "root/mix/stem.h"

#define VOICE_ROUGH (1 / 8192.0f) /* a step of a rough mix: up to 12 dB above full scale */

/* A segment from its start on; one of both. */
struct voice_mix {
    float *pcm;
    int16_t *rough; /* of a rehearsal, which need not be exact to the bit, but should be small */
};

/* Adds the voice to the mix; and to stem, unless NULL. passages: those of a rehearsal, which hears what these
 * keep; NULL: none. 0, or -1 with *cause. Takes twice the passage's memory as PCM for the time being, in a
 * rehearsal half of that beside what is kept. */
int voice_add(const struct voice *voice, const struct recipe *recipe, struct decks *decks,
              struct passages *passages, const struct voice_mix *mix, struct stem *stem, char **cause);

#endif
