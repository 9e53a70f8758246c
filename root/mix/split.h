/* split: a zero-phase low-pass, Linkwitz-Riley of fourth order: a second-order Butterworth over the sound
 * forwards, then backwards. Of the whole sound only the filters' states at block boundaries are kept; the
 * blocks of the result then come from the last to the first, so that they may take the place of the sound. */
#ifndef FOREVER_ROOT_MIX_SPLIT_H
#define FOREVER_ROOT_MIX_SPLIT_H
#include <stddef.h>

#define SPLIT_BLOCK 512 /* samples */
#define SPLIT_MAX   2   /* corners */

struct split;

/* Both corners' filters run over the same sound; count: of corners, 1 or 2. in: `samples` values, which stay
 * as they are in each block until split_block has been there. */
struct split *split_new(const float *in, size_t samples, const double corners_hz[], int count, double rate);
void split_free(struct split *split);
size_t split_blocks(const struct split *split);
/* What lies below the corners in block `index`, which comes one before that of the last call (the last one in
 * the first call). low[k]: room for SPLIT_BLOCK values. How many there are. */
size_t split_block(struct split *split, size_t index, float low[][SPLIT_BLOCK]);

#endif
