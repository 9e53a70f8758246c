/* render: the programme as PCM at any station sample, a pure function of its segments and their files.
 *
 * A programme is a row of segments without gaps or overlaps. programme_read at any position gives, to the
 * bit, what reading from the start would give there (decoding is exact, passages are stretched whole, gains
 * follow the position): this is what lets a killed studio go on with the same bytes. It is before the
 * limiter. */
#ifndef FOREVER_ROOT_MIX_RENDER_H
#define FOREVER_ROOT_MIX_RENDER_H
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "root/mix/stem.h"

struct programme;

/* Gives a fresh descriptor of a track's file, read-only; -1 with *cause when it can't be had (gone, changed:
 * hash may be NULL). Called when a segment first needs the file. May block for some seconds (a request). */
typedef int (*programme_open_track)(void *context, int64_t track, const char *hash, char **cause);

/* Puts what is known of a live session's sound from a station sample on into out, which is silent before.
 * Unlike a file it is there once: what its listener has no more (a studio that began anew) stays silent. */
typedef void (*programme_live)(void *context, int64_t session, uint64_t sample, float *out, size_t samples);

struct programme *programme_new(programme_open_track open, void *context);
/* One to try transitions on: stretched passages are kept from one to the next (passages.h), and what it makes
 * of several voices is good for listening, not for the air. */
struct programme *programme_new_rehearsal(programme_open_track open, void *context);
void programme_free(struct programme *programme);
void programme_set_live(struct programme *programme, programme_live live, void *context);
/* Adds a segment (the body of a "segment" mark with its "plan"), which starts where the last one ends, or
 * earlier: the programme is truncated there first (a skip cuts a segment short; its body stays whole).
 * Anywhere when there is none. 0, or -1 with *cause. Takes a reference. */
int programme_add(struct programme *programme, json_t *segment, char **cause);
/* Forgets all that starts at or after sample; a segment that spans it is played up to there. */
void programme_truncate(struct programme *programme, uint64_t sample);
/* Forgets segments that end before sample (and closes what only they used). */
void programme_release(struct programme *programme, uint64_t sample);
uint64_t programme_start(const struct programme *programme); /* of what is held; 0 when empty */
uint64_t programme_end(const struct programme *programme);
size_t programme_count(const struct programme *programme);
json_t *programme_segment(const struct programme *programme, size_t index); /* borrowed */
/* Exactly `samples` stereo samples from `sample` on, all within [start, end). Sequential reads are cheap.
 * 0; -1 with *cause and *bad_track (may be NULL) when a file fails: the caller re-plans. */
int programme_read(struct programme *programme, uint64_t sample, float *out, size_t samples,
                   int64_t *bad_track, char **cause);

/* Renders the segment that starts at `start` as a whole, with the stems of its first two voices (stem_free;
 * none when it fails) and how many voices it has. The mix itself is then read, once. */
int programme_stems(struct programme *programme, uint64_t start, struct stem stems[2], int *voices,
                    int64_t *bad_track, char **cause);

#endif
