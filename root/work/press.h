/* press: the PCM of a programme, block by block, to the frames of one mount.
 *
 * Block k of the master is its samples [k * 1152 + OUTPUT_DELAY, (k + 1) * 1152 + OUTPUT_DELAY), so that
 * frame n comes out once blocks up to n + 1 are in. A press that starts at frame n asks for the one to two
 * periods of blocks before it, which prime the encoder (root/audio/encode.h): its frames are those of one
 * that never stopped, whatever the bit rate. */
#ifndef FOREVER_ROOT_WORK_PRESS_H
#define FOREVER_ROOT_WORK_PRESS_H
#include <stddef.h>
#include <stdint.h>

#include "common/mp3.h"

#define PRESS_BLOCK  MP3_FRAME_SAMPLES
#define PRESS_AHEAD  2                       /* a frame's block and this many, less one, must be in */
#define PRESS_BEHIND (2 * MP3_PERIOD_FRAMES) /* blocks before its first frame that it asks for, at most */

struct press;
/* NULL with *cause when the bit rate is none of MPEG-1 Layer III's. */
struct press *press_new(unsigned kbps, uint64_t first_frame, char **cause);
void press_free(struct press *press);
uint64_t press_next(const struct press *press);  /* the frame that comes next */
uint64_t press_block(const struct press *press); /* the block it needs next */
/* Frames that are ready, at most `most` (MP3_FRAME_MAX_BYTES each), *len bytes in all; how many. */
unsigned press_take(struct press *press, unsigned most, uint8_t *bytes, size_t *len);
/* The block it needs next, when none is ready. 0, or -1 with *cause when the encoder fails. */
int press_feed(struct press *press, const float *pcm, char **cause);

#endif
