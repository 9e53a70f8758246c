/* voice: one voice of a segment as PCM, as a whole: its passage at the segment's speed, in three bands with
 * fades of their own, its ride and its echo. */
#ifndef FOREVER_ROOT_MIX_VOICE_H
#define FOREVER_ROOT_MIX_VOICE_H
#include "root/mix/decks.h"
#include "root/mix/passages.h"
#include "root/mix/recipe.h"
#include "root/mix/stem.h"

/* Adds the voice to mix, the segment from its start; and to stem, unless NULL. passages: kept ones may serve
 * (a rehearsal); NULL: never. 0, or -1 with *cause. Takes up to three times the passage's memory for the time
 * being. */
int voice_add(const struct voice *voice, const struct recipe *recipe, struct decks *decks,
              struct passages *passages, float *mix, struct stem *stem, char **cause);

#endif
