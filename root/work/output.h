/* output: programme -> limiter -> encoder, started at any place (the studio's and the offline render's).
 *
 * Both stages give the same result wherever they are started: the limiter is primed with LIMIT_MEMORY
 * samples, the encoder with one to two periods of frames. So frame n has the same bytes in every output over
 * the same programme, and a studio that was killed goes on without a seam.
 *
 * Frame n as a decoder plays it is the programme's samples [n * 1152, n * 1152 + 1152): what LAME and a
 * decoder delay by together is taken out here (of frame 0 of a programme the first OUTPUT_DELAY samples are
 * missing). Before the programme's start lies silence; its end is never passed (unless `ends` is set: silence
 * then). */
#ifndef FOREVER_ROOT_WORK_OUTPUT_H
#define FOREVER_ROOT_WORK_OUTPUT_H
#include <stddef.h>
#include <stdint.h>

#include "root/audio/encode.h"
#include "root/audio/limit.h"
#include "root/mix/render.h"
#include "root/work/spool.h"

#define OUTPUT_CEILING_DBTP (-1.5) /* leaves room for what the codec adds */
#define OUTPUT_DELAY        1105   /* samples: LAME 576, any decoder 529 */
/* Samples after a frame's start that can matter for it: the programme may change there without changing
 * frames before that one, if it changes no earlier than OUTPUT_FORK after it. */
#define OUTPUT_FORK (-1152 + ENCODE_AHEAD + OUTPUT_DELAY + LIMIT_AHEAD)
/* How far before a frame's start the programme is read when an output starts there. */
#define OUTPUT_PAST (2 * 49 * 1152 + LIMIT_MEMORY)

/* PCM after the limiter, from any sample on. The programme is borrowed and may be added to, released before
 * master_position - LIMIT_AHEAD, and truncated where nothing has been read. */
struct master;
struct master *master_new(struct programme *programme, double ceiling_dbtp, uint64_t first_sample, int ends);
void master_free(struct master *master);
/* The next samples. 0; -1 with *cause, and with *bad_track when a file failed (0 otherwise): the master is
 * then of no more use, as part of its input was lost. */
int master_read(struct master *master, float *out, size_t samples, int64_t *bad_track, char **cause);
uint64_t master_position(const struct master *master); /* of the next sample that master_read gives */

struct output;
/* NULL with *cause when the bit rate is none of MPEG-1 Layer III's. */
struct output *output_new(struct programme *programme, unsigned kbps, double ceiling_dbtp,
                          uint64_t first_frame, int ends, char **cause);
void output_free(struct output *output);
/* Puts the PCM of each frame into the spool (borrowed) before the frame comes out: blocks from `from` on, and
 * earlier ones, which prime, where they are missing. */
void output_spool(struct output *output, struct spool *spool, uint64_t from);
uint64_t output_next(const struct output *output); /* the frame that comes next */
/* The programme must reach this sample for `frame` to come out. */
uint64_t output_needs(uint64_t frame);
/* The programme was read up to this sample: where a read that failed began. */
uint64_t output_reached(const struct output *output);
/* The next `count` frames into bytes (MP3_FRAME_MAX_BYTES each are enough), *len bytes in all. 0; -1 as
 * master_read. */
int output_frames(struct output *output, unsigned count, uint8_t *bytes, size_t *len, int64_t *bad_track,
                  char **cause);

#endif
