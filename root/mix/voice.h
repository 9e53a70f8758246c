/* voice: one voice of a segment as PCM, as a whole. */
#ifndef FOREVER_ROOT_MIX_VOICE_H
#define FOREVER_ROOT_MIX_VOICE_H
#include "root/mix/decks.h"
#include "root/mix/recipe.h"

/* Adds the voice to mix, the segment from its start. 0, or -1 with *cause. Takes up to three times the
 * passage's memory for the time being. */
int voice_add(const struct voice *voice, double bass_hz, struct decks *decks, float *mix, char **cause);

#endif
