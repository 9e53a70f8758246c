/* decks: the few decoders a programme needs at a time.
 *
 * A read goes to the deck that already stands nearest before the place wanted, so a track that is played,
 * joined and played on is decoded once, from front to back; anything else opens the file anew (the decoder
 * gives the same samples either way). */
#ifndef FOREVER_ROOT_MIX_DECKS_H
#define FOREVER_ROOT_MIX_DECKS_H
#include <stddef.h>
#include <stdint.h>

#include "root/mix/render.h"

struct decks;

struct decks *decks_new(programme_open_track open, void *context);
void decks_free(struct decks *decks);
/* Source samples [from, from + samples) of a track. What lies up to half a second behind its end is silence
 * (plans round); more is an error. 0, or -1 with *cause. */
int decks_read(struct decks *decks, int64_t track, const char *hash, int64_t from, float *out, size_t samples,
               char **cause);
/* The same, each channel by itself. */
int decks_read_apart(struct decks *decks, int64_t track, const char *hash, int64_t from,
                     float *const channels[2], size_t samples, char **cause);
/* The sound of a live session at a station sample: as programme_live says. */
void decks_set_live(struct decks *decks, programme_live live, void *context);
void decks_live(struct decks *decks, int64_t session, uint64_t sample, float *out, size_t samples);
/* Closes those whose track `wanted` does not want. */
void decks_keep(struct decks *decks, int (*wanted)(const void *context, int64_t track), const void *context);

#endif
